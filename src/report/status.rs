//! The status report: what runs in an environment, and what was done to it.

use super::compliance::result;
use super::document::{Cell, Document};
use super::{outputs, text};
use crate::promotion::event::Operation;
use crate::promotion::run::{Candidate, Run};

/// Whether a run has left a candidate in its place: by success, or without one, where nobody could take it back.
fn is_in_place(run: &Run, candidate: &Candidate) -> bool {
    let found = outputs::status(run) == "SUCCESS" && run.opening.operation != Operation::Verify;
    candidate.moved || candidate.deployed.is_some() || found
}

/// The status of runs, the newest first; `about` says which they are.
#[must_use]
pub fn status(about: &str, runs: &[Run]) -> Document {
    let mut document = Document::new(format!("Status report: {about}"));
    let count = |wanted: &str| runs.iter().filter(|run| outputs::status(run) == wanted).count();
    let (good, bad) = (count("SUCCESS"), count("FAILURE"));
    document.facts(vec![
        ("Runs", Cell::text(runs.len().to_string())),
        ("Succeeded", Cell::text(good.to_string())),
        ("Failed", Cell::text(bad.to_string())),
        ("Under way, or waiting", Cell::text((runs.len() - good - bad).to_string())),
        ("Faults", Cell::text(runs.iter().map(|run| run.faults.len()).sum::<usize>().to_string())),
    ]);
    document.heading("What is in place");
    let mut known: Vec<(&str, &str)> = Vec::new();
    let mut rows = Vec::new();
    for run in runs.iter().filter(|run| run.rollback.good != Some(true)) {
        for candidate in run.candidates.iter().filter(|candidate| is_in_place(run, candidate)) {
            let place = (run.opening.environment.as_str(), candidate.service.as_str());
            if known.contains(&place) {
                continue;
            }
            known.push(place);
            rows.push(vec![
                Cell::text(place.0),
                Cell::code(place.1),
                candidate.digest.as_ref().map_or_else(|| Cell::text("–"), Cell::code),
                Cell::text(candidate.sequence.map(|number| number.to_string()).unwrap_or_default()),
                result(run),
                Cell::code(&run.id),
                Cell::text(text::time(run.ended.as_ref().map_or(run.updated_at, |ended| ended.at))),
            ]);
        }
    }
    let head = ["Environment", "Service", "Digest", "Number", "Result", "Deployment", "Since"];
    document.table(&head, rows, "No run has put anything in place.");
    document.heading("Runs");
    let rows = runs.iter().map(|run| {
        let ended = run.ended.as_ref().map_or(run.updated_at, |ended| ended.at);
        vec![
            Cell::code(&run.id),
            Cell::text(run.opening.operation.name()),
            Cell::text(&run.opening.environment),
            Cell::text(run.opening.services.join(", ")),
            Cell::text(&run.opening.requestor),
            result(run),
            Cell::text(text::time(run.opened_at)),
            Cell::text(text::span(run.opened_at, ended)),
        ]
    });
    let head = ["Deployment", "Operation", "Environment", "Services", "Requested by", "Result", "Began", "Took"];
    document.table(&head, rows.collect(), "There is no run.");
    document
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promotion::stories::outcomes;

    /// What the section says of one run after another, the newest first.
    fn in_place(names: &[&str]) -> String {
        let stories = outcomes();
        let run = |name: &&str| stories.iter().find(|(known, _)| known == name).unwrap().1.run.clone();
        let runs: Vec<Run> = names.iter().map(run).collect();
        let markdown = status("production", &runs).markdown();
        markdown.split("### What is in place").nth(1).unwrap().split("###").next().unwrap().to_owned()
    }

    #[test]
    fn in_place_is_what_was_put_there_last_whether_or_not_that_was_good() {
        for name in ["succeeded", "inconclusive", "rollback failed", "degraded"] {
            assert!(in_place(&[name]).contains("11507a0e2f5e"), "{name}");
        }
        assert!(in_place(&["inconclusive", "succeeded"]).contains("inconclusive"));
        for name in ["rolled back", "validation failed", "drift", "as it should be", "waiting"] {
            assert!(in_place(&[name]).contains("No run has put anything in place"), "{name}");
        }
    }
}
