//! The stages' logs: `<stage>-<deployment id>.log`, one line for everything that a person wants to know.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::audience::Audience;
use crate::promotion::event::{Event, Record};
use crate::promotion::identity::DeploymentId;
use crate::promotion::run::Run;
use crate::report::lines::lines;

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

    fn append(&self, run: &DeploymentId, stage: &str, text: &str) -> std::io::Result<()> {
        let folder = self.folder.join(run.as_str());
        fs::create_dir_all(&folder)?;
        let mut file = OpenOptions::new().create(true).append(true).open(folder.join(format!("{stage}-{run}.log")))?;
        file.write_all(text.as_bytes())
    }
}

impl Audience for StageLogs {
    fn heard(&self, run: &Run, record: &Record) {
        let Some(stage) = run.stages.last().map(|stage| stage.stage) else { return };
        let mut text = String::new();
        for line in headline(record).into_iter().chain(lines(run, record)) {
            text.push_str(&format!("{} {line}\n", record.at.format("%Y-%m-%dT%H:%M:%S%.3fZ")));
        }
        if !text.is_empty()
            && let Err(error) = self.append(&run.id, stage.name(), &text)
        {
            // The ledger has everything; a log that cannot be written is no reason to stop.
            tracing::warn!(%stage, %error, "the log of stage {stage} cannot be written: {error}");
        }
    }

    fn progress(&self, _text: &str) {}
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
