//! The stages' logs: `<stage>-<deployment id>.log`, one line for everything that a person wants to know.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use super::audience::Audience;
use crate::promotion::event::{Event, Record};
use crate::promotion::identity::DeploymentId;
use crate::promotion::run::Run;
use crate::promotion::stage::Stage;
use crate::promotion::state::State;
use crate::promotion::untrusted::line;
use crate::report::lines::lines;

/// How much of a line that others wrote is in a log.
const SAID: usize = 2000;

/// Writes the log of each stage into the run's folder.
#[derive(Debug)]
pub struct StageLogs {
    folder: PathBuf,
}

impl StageLogs {
    /// Logs below `folder`, which holds a folder for each run.
    #[must_use]
    pub fn below(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    fn write(&self, run: &Run, at: DateTime<Utc>, lines: impl Iterator<Item = String>) {
        let Some(name) = log_of(run) else { return };
        let text: String = lines.map(|line| format!("{} {line}\n", at.format("%Y-%m-%dT%H:%M:%S%.3fZ"))).collect();
        if !text.is_empty()
            && let Err(error) = self.append(&run.id, name, &text)
        {
            // The ledger has everything; a log that cannot be written is no reason to stop.
            tracing::warn!(log = name, %error, "the log of {name} cannot be written: {error}");
        }
    }

    fn append(&self, run: &DeploymentId, stage: &str, text: &str) -> std::io::Result<()> {
        let folder = self.folder.join(run.as_str());
        fs::create_dir_all(&folder)?;
        let mut file = OpenOptions::new().create(true).append(true).open(folder.join(format!("{stage}-{run}.log")))?;
        file.write_all(text.as_bytes())
    }
}

impl Audience for StageLogs {
    fn heard(&self, run: &Run, record: &Record) {
        self.write(run, record.at, headline(record).into_iter().chain(lines(run, record)));
    }

    fn said(&self, run: &Run, text: &str) {
        self.write(run, Utc::now(), std::iter::once(line(text, SAID)));
    }

    fn progress(&self, _text: &str) {}
}

/// The name of the log that is written to now: the stage's, and one of its own for what is taken back.
fn log_of(run: &Run) -> Option<&'static str> {
    let stage = run.stages.last()?.stage;
    let back = matches!(run.state, State::RollingBack | State::RolledBack | State::RollbackFailed);
    Some(if back && stage < Stage::Report { "rollback" } else { stage.name() })
}

fn headline(record: &Record) -> Option<String> {
    match &record.event {
        Event::StageStarted { stage } => Some(format!("stage {stage} begins")),
        Event::StageEnded { stage, conclusion, traffic, .. } => {
            Some(format!("stage {stage} is {}, after {} requests", conclusion.name(), traffic.total()))
        }
        Event::StateChanged { to } => Some(format!("state {to}")),
        _ => None,
    }
}
