//! What was deployed is asked, watched and taken back: the real program against a service that behaves as told.

#![allow(clippy::unwrap_used, reason = "tests may give up with a clear message")]

mod awaited;
mod probes;
mod running;
mod scenarios;
mod scene;
mod taken_back;
mod trouble;
mod verdicts;
