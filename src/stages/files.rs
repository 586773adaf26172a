//! The files of a run: its record, its report, its trail; written when a visit is over, from the events alone.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use crate::ledger::chain::Entry;
use crate::ledger::lines;
use crate::promotion::identity::DeploymentId;
use crate::promotion::run::Run;
use crate::report::{record::record, summary::summary};

/// Where the files of a run are.
#[derive(Debug, Clone)]
pub struct Files {
    /// Their folder, with the stages' logs.
    pub folder: PathBuf,
    /// `record.json`.
    pub record: PathBuf,
    /// `report.md`.
    pub report: PathBuf,
    /// `audit.jsonl`.
    pub audit: PathBuf,
}

impl Files {
    /// The files of a run below the program's folder.
    #[must_use]
    pub fn of(run: &DeploymentId, folder: &Path) -> Self {
        let folder = folder.join(run.as_str());
        Self {
            record: folder.join("record.json"),
            report: folder.join("report.md"),
            audit: folder.join("audit.jsonl"),
            folder,
        }
    }

    /// Writes them all. Each is whole, or as it was before.
    ///
    /// # Errors
    /// When one cannot be written; the ledger has everything that would be in it.
    pub fn write(&self, run: &Run, trail: &[Entry]) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let json = serde_json::to_string_pretty(&record(run)).map_err(io::Error::other)?;
        whole(&self.record, |file| file.write_all(format!("{json}\n").as_bytes()))?;
        whole(&self.report, |file| file.write_all(summary(run).as_bytes()))?;
        whole(&self.audit, |file| trail.iter().try_for_each(|entry| lines::write(file, entry)))
    }
}

/// Writes a file beside its place and moves it there.
fn whole(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    let beside = path.with_extension("tmp");
    let mut file = BufWriter::new(File::create(&beside)?);
    write(&mut file)?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    fs::rename(beside, path)
}
