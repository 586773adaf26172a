//! `operation: report`: runs are told of from the ledger, as they were told of when they ended.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::files::{Files, whole};
use crate::ledger::chain::Entry;
use crate::ledger::{Filter, Ledger};
use crate::promotion::fault::{Code, Fault};
use crate::promotion::identity::DeploymentId;
use crate::promotion::run::Run;
use crate::report;

/// The most runs that one report is about.
const MOST: u32 = 1000;

/// A report of many runs.
#[derive(Debug)]
pub struct Overview {
    /// The report in Markdown.
    pub markdown: String,
    /// Where it lies.
    pub path: PathBuf,
    /// How many runs it is about.
    pub runs: usize,
}

/// Writes all files of one run anew, from its events.
///
/// # Errors
/// What the ledger says; files that cannot be written.
pub async fn one(ledger: &dyn Ledger, id: &DeploymentId, folder: &Path) -> Result<(Run, Files), Fault> {
    let records = ledger.load(id).await?;
    let run = Run::fold(&records)?;
    let trail: Vec<Entry> = records.iter().map(Entry::from).collect();
    let files = Files::of(&run.id, folder);
    files.write(&run, &trail, None).map_err(|error| unwritten(&error))?;
    Ok((run, files))
}

/// Writes the status report of the runs of an environment, or of all, that began at `since` or later.
///
/// # Errors
/// What the ledger says; files that cannot be written.
pub async fn many(
    ledger: &dyn Ledger,
    scope: Option<&str>,
    environment: Option<&str>,
    since: Option<DateTime<Utc>>,
    folder: &Path,
) -> Result<Overview, Fault> {
    let filter = Filter {
        scope: scope.map(ToOwned::to_owned),
        environment: environment.map(ToOwned::to_owned),
        limit: Some(MOST),
        ..Filter::default()
    };
    let mut runs = Vec::new();
    for id in ledger.runs(&filter).await? {
        let run = Run::fold(&ledger.load(&id).await?)?;
        // The newest come first.
        if since.is_some_and(|since| run.opened_at < since) {
            break;
        }
        runs.push(run);
    }
    let place = environment.map_or_else(|| "all environments".to_owned(), ToOwned::to_owned);
    let about = match since {
        Some(since) => format!("{place}, since {}", since.format("%Y-%m-%d %H:%M UTC")),
        None => place,
    };
    let document = report::status::status(&about, &runs);
    let records: Vec<Value> = runs.iter().map(report::record::record).collect();
    let folder = folder.join("reports");
    let name: String = environment
        .unwrap_or("all")
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' })
        .collect();
    let path = folder.join(format!("status-{name}.md"));
    let write = || -> io::Result<()> {
        fs::create_dir_all(&folder)?;
        let json = serde_json::to_string_pretty(&records).map_err(io::Error::other)?;
        whole(&path, |file| io::Write::write_all(file, document.markdown().as_bytes()))?;
        whole(&path.with_extension("html"), |file| io::Write::write_all(file, document.html().as_bytes()))?;
        whole(&path.with_extension("json"), |file| io::Write::write_all(file, json.as_bytes()))
    };
    write().map_err(|error| unwritten(&error))?;
    Ok(Overview { markdown: document.markdown(), path, runs: runs.len() })
}

fn unwritten(error: &io::Error) -> Fault {
    Fault::new(Code::ReportUnwritten, format!("the report cannot be written: {error}"))
}
