//! Who listens while a run goes on: the console, the stages' logs.

use std::fmt;

use crate::promotion::event::Record;
use crate::promotion::run::Run;

/// Hears what happens. It must not fail: nobody who listens can stop a run.
pub trait Audience: Send + Sync + fmt::Debug {
    /// This run is in our hands now; these are its records so far. Others that are settled on the way are not told of.
    fn in_hand(&self, _run: &Run, _records: &[Record]) {}

    /// An event was recorded; `run` has taken it in.
    fn heard(&self, run: &Run, record: &Record);

    /// Somebody or something is waited for; said when that changes, and now and then.
    fn waiting(&self, _text: &str) {}

    /// Something that belongs into the log of the run's stage, and is in no event: what a driver said (untrusted).
    fn said(&self, _run: &Run, _text: &str) {}

    /// Work is going on; said often, and kept nowhere.
    fn progress(&self, text: &str);
}

/// Several who listen.
#[derive(Debug)]
pub struct Audiences(pub Vec<Box<dyn Audience>>);

impl Audience for Audiences {
    fn in_hand(&self, run: &Run, records: &[Record]) {
        for one in &self.0 {
            one.in_hand(run, records);
        }
    }

    fn heard(&self, run: &Run, record: &Record) {
        for one in &self.0 {
            one.heard(run, record);
        }
    }

    fn waiting(&self, text: &str) {
        for one in &self.0 {
            one.waiting(text);
        }
    }

    fn said(&self, run: &Run, text: &str) {
        for one in &self.0 {
            one.said(run, text);
        }
    }

    fn progress(&self, text: &str) {
        for one in &self.0 {
            one.progress(text);
        }
    }
}
