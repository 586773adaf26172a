//! `operation: audit`: the trails are verified, in the ledger or in an exported file.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use crate::ledger::chain::Entry;
use crate::ledger::lines::Entries;
use crate::ledger::{Audit, Audited, Head, Ledger};
use crate::promotion::fault::{Code, Fault};
use crate::promotion::identity::DeploymentId;

/// Reads an anchor: `deployment-id:number:hash`, as the job summary shows it.
///
/// # Errors
/// [`Code::InputInvalid`] when it is not one.
pub fn anchor(text: &str) -> Result<Head, Fault> {
    let wrong = || {
        Fault::new(
            Code::InputInvalid,
            format!("input `anchor`: `{}` is not an anchor", text.chars().take(120).collect::<String>()),
        )
        .with_fix("copy it whole from the job summary: `deployment-id:number:hash`")
    };
    let mut parts = text.splitn(3, ':');
    let (Some(run), Some(seq), Some(hash)) = (parts.next(), parts.next(), parts.next()) else { return Err(wrong()) };
    let good = hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit());
    let (Ok(run), Ok(seq), true) = (run.parse::<DeploymentId>(), seq.parse::<u64>(), good) else { return Err(wrong()) };
    Ok(Head { run, seq, hash: hash.to_ascii_lowercase() })
}

/// Verifies the trail of one run, of one environment, or of the whole ledger.
///
/// # Errors
/// What the ledger says. What is wrong with the trails is in the result.
pub async fn ledger(
    ledger: &dyn Ledger,
    run: Option<&DeploymentId>,
    environment: Option<&str>,
    anchors: &[Head],
) -> Result<Audited, Fault> {
    let mut audit = Audit::default();
    let mut anchors = anchors.to_vec();
    if let Some(run) = run {
        audit.take(&ledger.entries(run).await?);
        return Ok(audit.finish(false, &anchors));
    }
    for run in ledger.recorded().await? {
        let entries = ledger.entries(&run).await?;
        if environment.is_none_or(|wanted| environment_of(&entries).as_deref() == Some(wanted)) {
            audit.take(&entries);
        }
    }
    if environment.is_none() {
        // Whoever cut a tail off and forgot the derived tables is found by them.
        anchors.extend(ledger.heads().await?);
    }
    Ok(audit.finish(environment.is_none(), &anchors))
}

/// Verifies an exported trail, without any database.
///
/// # Errors
/// When the file cannot be read. What is wrong with the trail is in the result.
pub fn file(path: &Path, anchors: &[Head]) -> Result<Audited, Fault> {
    let unreadable = |error: &dyn std::fmt::Display| {
        Fault::new(Code::InputInvalid, format!("input `audit-file`: {} cannot be read: {error}", path.display()))
            .with_fix("give the path of an `audit.jsonl`, as a run leaves it")
    };
    let opened = File::open(path).map_err(|error| unreadable(&error))?;
    let mut audit = Audit::default();
    let mut trail: Vec<Entry> = Vec::new();
    for entry in Entries::new(BufReader::new(opened)) {
        let entry = entry.map_err(|error| unreadable(&error))?;
        if trail.last().is_some_and(|last| last.run != entry.run) {
            audit.take(&trail);
            trail.clear();
        }
        trail.push(entry);
    }
    if trail.is_empty() {
        return Err(unreadable(&"it is empty"));
    }
    audit.take(&trail);
    Ok(audit.finish(false, anchors))
}

/// The environment that a run's first event names, as far as it can still be read.
fn environment_of(entries: &[Entry]) -> Option<String> {
    let first: serde_json::Value = serde_json::from_str(&entries.first()?.text).ok()?;
    Some(first.get("environment")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_anchor_is_read_as_it_is_shown() {
        let hash = "a".repeat(64);
        let head = anchor(&format!("1732185300-abc123def456:12:{hash}")).unwrap();
        assert_eq!((head.seq, head.hash), (12, hash));
        for text in
            ["", "x", "1732185300-abc123def456:12", "1732185300-abc123def456:x:aa", "1732185300-abc123def456:1:zz"]
        {
            assert_eq!(anchor(text).unwrap_err().code, Code::InputInvalid, "{text}");
        }
    }
}
