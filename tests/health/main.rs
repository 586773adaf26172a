//! What was deployed is asked, watched and taken back: the real program against a service that behaves as told.



mod scene;
mod verdicts;
