//! The files of a spool: one run's records each, chained, locked while they are written, gone once they are imported.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufReader};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use chrono::Utc;

use super::chain::{self, Entry};
use super::lines::{self, Unreadable};
use super::{Head, LedgerError};
use crate::promotion::event::{Event, Record};
use crate::promotion::identity::DeploymentId;
use crate::promotion::run::Run;

/// The most bytes of a spool file that are imported. A run's events are far less.
const MAX_FILE: u64 = 256 * 1024 * 1024;

/// The most files of one run.
const MAX_FILES: u32 = 100;

/// The file of a run and what is in it.
#[derive(Debug)]
pub(super) struct Spool {
    file: File,
    pub(super) path: PathBuf,
    pub(super) records: Vec<Record>,
}

impl Spool {
    /// Makes the run's file.
    pub(super) fn create(folder: &Path, run: &DeploymentId) -> Result<Self, LedgerError> {
        std::fs::create_dir_all(folder).map_err(|error| unusable(folder, &error))?;
        for number in 1..=MAX_FILES {
            let name = if number == 1 { format!("{run}.jsonl") } else { format!("{run}-{number}.jsonl") };
            let path = folder.join(name);
            match OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path) {
                // Somebody who imports may have taken the empty file before us.
                Ok(file) if file.try_lock().is_ok() && is_at(&file, &path) => {
                    sync_folder(&path).map_err(|error| unusable(&path, &error))?;
                    return Ok(Self { file, path, records: Vec::new() });
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(unusable(&path, &error)),
            }
        }
        Err(LedgerError::Corrupt(format!("{}: run {run} has {MAX_FILES} files here", folder.display())))
    }

    /// Adds events that follow `head`, or recognises that they are there.
    pub(super) fn add(&mut self, run: &mut Run, head: &Head, events: &[Event]) -> Result<Vec<Record>, LedgerError> {
        if Head::of(run) != *head {
            let there = self.records.iter().skip_while(|record| record.seq <= head.seq).take(events.len());
            let same = there.clone().map(|record| &record.event).eq(events)
                && there.clone().next().is_some_and(|first| first.previous == head.hash);
            return if same { Ok(there.cloned().collect()) } else { Err(LedgerError::Conflict(head.run.clone())) };
        }
        self.keep(run, sealed(run, events)?)
    }

    /// Writes records that follow the run. When it returns they are on the disk.
    pub(super) fn keep(&mut self, run: &mut Run, records: Vec<Record>) -> Result<Vec<Record>, LedgerError> {
        let mut after = run.clone();
        let mut text = Vec::new();
        for record in &records {
            let told = after.apply(record).map_err(|illegal| illegal.to_string());
            told.and_then(|()| lines::write(&mut text, &Entry::from(record)).map_err(|error| error.to_string()))
                .map_err(|why| LedgerError::Corrupt(format!("run {}: {why}", record.run)))?;
        }
        let before = self.file.metadata().map_err(|error| unusable(&self.path, &error))?.len();
        if let Err(error) = io::Write::write_all(&mut self.file, &text).and_then(|()| self.file.sync_all()) {
            // What was written of it would stand in the way of what comes next.
            let _ = self.file.set_len(before);
            return Err(unusable(&self.path, &error));
        }
        *run = after;
        self.records.extend(records.iter().cloned());
        Ok(records)
    }
}

/// The records that follow a run, by the clock of this machine.
pub(super) fn sealed(run: &Run, events: &[Event]) -> Result<Vec<Record>, LedgerError> {
    let corrupt = |why: String| LedgerError::Corrupt(format!("run {}: {why}", run.id));
    let mut after = run.clone();
    let mut records = Vec::with_capacity(events.len());
    for event in events {
        let at = chain::to_millisecond(Utc::now()).max(after.updated_at);
        let record = chain::seal(&Head::of(&after), at, event).map_err(|error| corrupt(error.to_string()))?;
        after.apply(&record).map_err(|illegal| corrupt(illegal.to_string()))?;
        records.push(record);
    }
    Ok(records)
}

/// The error of a file that cannot stand in for the ledger.
pub(super) fn unusable(path: &Path, error: &io::Error) -> LedgerError {
    LedgerError::Unreachable(format!("{} cannot be used in its place: {error}", path.display()))
}

/// The spool files of a folder, in the order in which they were begun for each run.
pub(super) fn files_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    files.sort_by_key(|path| (path.file_stem().map_or(0, std::ffi::OsStr::len), path.clone()));
    Ok(files)
}

/// Opens a file and keeps others from writing to it; `None` when it is in use or gone.
pub(super) fn take(path: &Path) -> io::Result<Option<File>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    match file.try_lock() {
        Ok(()) => Ok(is_at(&file, path).then_some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether a path still leads to an open file.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(there)) => (open.dev(), open.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

/// Reads a file's records; a last line that was cut off was never recorded.
pub(super) fn read(file: &File) -> Result<Vec<Record>, String> {
    if file.metadata().map_err(|error| error.to_string())?.len() > MAX_FILE {
        return Err(format!("it has more than {MAX_FILE} bytes"));
    }
    let mut records = Vec::new();
    for entry in lines::Entries::new(BufReader::new(file)) {
        match entry {
            Ok(entry) => records.push(entry.read().map_err(|broken| broken.to_string())?),
            Err(error) if matches!(error.why, Unreadable::Torn) => break,
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(records)
}

/// Removes a file for good.
pub(super) fn remove(path: &Path) -> Result<(), LedgerError> {
    let removed = match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.and_then(|()| sync_folder(path)),
    };
    removed.map_err(|error| unusable(path, &error))
}

/// Makes a file's coming or going durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}
