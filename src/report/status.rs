//! The status report: what runs in an environment, and what was done to it.

use super::compliance::result;
use super::document::{Cell, Document};
use super::{outputs, text};
use crate::promotion::run::Run;

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
    for run in runs.iter().filter(|run| outputs::status(run) == "SUCCESS") {
        for candidate in &run.candidates {
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
                Cell::code(&run.id),
                Cell::text(text::time(run.ended.as_ref().map_or(run.updated_at, |ended| ended.at))),
            ]);
        }
    }
    let head = ["Environment", "Service", "Digest", "Number", "Deployment", "Since"];
    document.table(&head, rows, "No run has succeeded.");
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
