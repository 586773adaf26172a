//! The action's outputs, and the files through which the runner takes them.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;

use uuid::Uuid;

/// One output of the action.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// Its name, in kebab-case.
    pub name: &'static str,
    /// What it means.
    pub about: &'static str,
}

const fn output(name: &'static str, about: &'static str) -> Output {
    Output { name, about }
}

/// All outputs.
pub const OUTPUTS: &[Output] = &[
    output("deployment-id", "The run's id. A later job goes on with it by the input of the same name."),
    output("state", "The run's state, e.g. `completed-successfully`."),
    output("decision", "What a later job is to do: `proceed`, `wait` or `stop`."),
    output(
        "reason-code",
        "What decided a run that did not succeed, e.g. `check-failed`; see the troubleshooting page.",
    ),
    output("result", "All of this as JSON, with its `schema` version."),
    output("status", "`SUCCESS` or `FAILURE`; empty while the run is parked or stopped by `until`."),
    output("sequence", "The sequence number in the environment. Empty with several services: see `images`."),
    output("digest", "What was promoted. Empty with several services."),
    output("previous-digest", "What it replaced. Empty with several services."),
    output("images", "JSON: each service with its digest, previous digest, sequence number and tags."),
    output("approved-by", "Who said yes, by comma."),
    output("health", "The verdict of the probes: `healthy`, `unhealthy`, `inconclusive`, or empty without probes."),
    output("success-rate", "The share of probes that succeeded in the window, in percent."),
    output("rolled-back", "`true` where an earlier digest was put back."),
    output("rollback-digest", "The digest that was put back."),
    output("failed-stage", "The stage in which the run failed."),
    output("error-category", "The category of what decided a failed run, e.g. `network`."),
    output("error-count", "How many faults were recorded."),
    output("errors", "JSON: the faults counted by category and by severity."),
    output("log-path", "The folder with the logs of the stages, below the workspace."),
    output("record-path", "The deployment record, `record.json`."),
    output("audit-path", "The audit trail, `audit.jsonl`."),
    output("report-path", "The job summary as a file, `report.md`."),
];

/// Appends values to one of the runner's files (`GITHUB_OUTPUT`, `GITHUB_STATE`), each between delimiters that nobody
/// can guess, so that no value can end itself and begin another.
///
/// # Errors
/// When the file cannot be written.
pub fn append(path: &Path, values: &[(String, String)]) -> io::Result<()> {
    let mut text = String::new();
    for (name, value) in values {
        let delimiter = format!("ghadelimiter_{}", Uuid::new_v4());
        text.push_str(&format!("{name}<<{delimiter}\n{value}\n{delimiter}\n"));
    }
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_end_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("output");
        append(&path, &[("a".to_owned(), "x\nghadelimiter_1\nb=c".to_owned()), ("d".to_owned(), String::new())])
            .unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let first = text.lines().next().unwrap();
        let delimiter = first.strip_prefix("a<<").unwrap();
        assert_eq!(text.matches(&format!("\n{delimiter}\n")).count(), 1);
        assert!(text.contains("d<<ghadelimiter_"));
    }
}
