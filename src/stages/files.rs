//! The files of a run: its record, its report, its trail; written when a visit is over, from the events alone.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use crate::ledger::chain::Entry;
use crate::ledger::lines;
use crate::promotion::identity::DeploymentId;
use crate::promotion::run::Run;
use crate::report::aftermath::{aftermath, is_due};
use crate::report::compliance::compliance;
use crate::report::errors::errors;
use crate::report::metrics::{Usage, metrics};
use crate::report::record::record;
use crate::report::summary::summary;

/// The names of the files that outputs name.
const RECORD: &str = "record.json";
const REPORT: &str = "report.md";
const AUDIT: &str = "audit.jsonl";

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
        Self { record: folder.join(RECORD), report: folder.join(REPORT), audit: folder.join(AUDIT), folder }
    }

    /// The name and content of every file that tells of a run; `usage` is what this visit has used.
    ///
    /// # Errors
    /// When the trail cannot be written out.
    pub fn contents(run: &Run, trail: &[Entry], usage: Option<Usage>) -> io::Result<Vec<(&'static str, Vec<u8>)>> {
        let json = serde_json::to_string_pretty(&record(run)).map_err(io::Error::other)?;
        let mut audit = Vec::new();
        trail.iter().try_for_each(|entry| lines::write(&mut audit, entry))?;
        let compliance = compliance(run);
        let mut files = vec![
            (RECORD, format!("{json}\n").into_bytes()),
            (REPORT, summary(run).into_bytes()),
            (AUDIT, audit),
            ("errors.jsonl", errors(run).into_bytes()),
            ("compliance.md", compliance.markdown().into_bytes()),
            ("compliance.html", compliance.html().into_bytes()),
            ("metrics.txt", metrics(run, usage).into_bytes()),
        ];
        if is_due(run) {
            let failure = aftermath(run);
            files.push(("failure.md", failure.markdown().into_bytes()));
            files.push(("failure.html", failure.html().into_bytes()));
        }
        Ok(files)
    }

    /// Writes them all. Each is whole, or as it was before.
    ///
    /// # Errors
    /// When one cannot be written; the ledger has everything that would be in it.
    pub fn write(&self, run: &Run, trail: &[Entry], usage: Option<Usage>) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        for name in ["failure.md", "failure.html"] {
            // What an earlier visit failed in, this one may have done.
            match fs::remove_file(self.folder.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        for (name, content) in Self::contents(run, trail, usage)? {
            whole(&self.folder.join(name), |file| file.write_all(&content))?;
        }
        Ok(())
    }
}

/// Writes a file beside its place and moves it there.
pub(super) fn whole(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    let beside = path.with_extension("tmp");
    let mut file = BufWriter::new(File::create(&beside)?);
    write(&mut file)?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    fs::rename(beside, path)
}
