//! What is known here of the run in our hands: for when it is taken out of them, and for when the ledger does not answer.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::outputs;
use crate::promotion::event::Record;
use crate::promotion::run::Run;
use crate::stages::audience::Audience;

/// Remembers the run that is in our hands, with all its records.
#[derive(Debug, Default)]
pub(super) struct Witness {
    seen: Mutex<Option<(Run, Vec<Record>)>>,
    /// Where the finaliser is told of the run: at once, because a process that is killed tells nothing any more.
    state_file: Option<PathBuf>,
}

impl Witness {
    /// A witness that tells the finaliser by this file, if there is one.
    #[must_use]
    pub(super) fn telling(state_file: Option<PathBuf>) -> Self {
        Self { seen: Mutex::default(), state_file }
    }

    fn seen(&self) -> MutexGuard<'_, Option<(Run, Vec<Record>)>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The run that was taken into our hands last, as it was when it was last heard of.
    #[must_use]
    pub(super) fn run(&self) -> Option<Run> {
        self.seen().as_ref().map(|(run, _)| run.clone())
    }

    /// Its records.
    #[must_use]
    pub(super) fn records(&self) -> Vec<Record> {
        self.seen().as_ref().map(|(_, records)| records.clone()).unwrap_or_default()
    }
}

impl Audience for Arc<Witness> {
    fn in_hand(&self, run: &Run, records: &[Record]) {
        *self.seen() = Some((run.clone(), records.to_vec()));
        if let Some(path) = &self.state_file {
            let values = [("deployment-id".to_owned(), run.id.to_string())];
            if let Err(error) = outputs::append(path, &values) {
                tracing::warn!(%error, "the finaliser cannot be told of run {}: {error}", run.id);
            }
        }
    }

    fn heard(&self, run: &Run, record: &Record) {
        if let Some((known, records)) = &mut *self.seen()
            && known.id == run.id
            && record.seq == known.seq + 1
        {
            known.clone_from(run);
            records.push(record.clone());
        }
    }

    fn progress(&self, _text: &str) {}
}
