//! Every report of the most common outcomes, held to what it was before; and that nothing that others write gets through.

use super::aftermath::{aftermath, is_due};
use super::compliance::compliance;
use super::document::Document;
use super::errors::errors;
use super::status::status;
use super::summary::summary;
use crate::promotion::run::Run;
use crate::promotion::stories::{hostile, outcomes};

/// The reports of a run that are documents.
fn documents(run: &Run) -> Vec<Document> {
    let mut documents = vec![compliance(run)];
    documents.extend(is_due(run).then(|| aftermath(run)));
    documents
}

/// What is between the head and the end of a page.
fn main_of(html: &str) -> &str {
    let from = html.find("<body>").unwrap();
    &html[from..]
}

#[test]
fn reports_are_what_they_were() {
    for (name, story) in outcomes() {
        let run = &story.run;
        let mut shown = format!("--- summary\n{}\n--- errors\n{}", summary(run), errors(run));
        for document in documents(run) {
            shown.push_str(&format!(
                "--- markdown\n{}\n--- html\n{}\n",
                document.markdown(),
                main_of(&document.html())
            ));
        }
        // A plan's hash covers what the plan may hold in later versions.
        if let Some((_, hash)) = &run.plan {
            shown = shown.replace(&hash.to_string(), "PLAN").replace(&hash.short().to_string(), "PLAN");
        }
        let shown = shown.replace(env!("CARGO_PKG_VERSION"), "VERSION");
        insta::assert_snapshot!(name.replace(' ', "-"), shown);
    }
    let runs: Vec<Run> = outcomes().into_iter().map(|(_, story)| story.run).collect();
    insta::assert_snapshot!("status", status("production", &runs).markdown());
}

#[test]
fn nothing_that_others_write_gets_through_and_nothing_is_too_long() {
    let run = hostile().run;
    let mut all: Vec<String> = vec![summary(&run)];
    for document in documents(&run).into_iter().chain([status("all", std::slice::from_ref(&run))]) {
        let html = document.html();
        for sequence in ["<b onload", "<!channel>", "<@U123>", "<script"] {
            assert!(!html.contains(sequence), "{sequence}");
        }
        all.extend([document.markdown(), html]);
    }
    for text in &all {
        assert!(text.len() < 200_000, "{} bytes", text.len());
        assert!(!text.contains('\u{202e}') && !text.contains('\u{1b}'), "a mark that turns or colours text");
        assert!(!text.contains("##[") && !text.lines().any(|line| line.starts_with("::")), "a workflow command");
    }
    for markdown in all.iter().filter(|text| !text.starts_with("<!DOCTYPE")) {
        let outside: String = markdown.split('`').step_by(2).collect();
        for sequence in ["@everyone", "@acme/team", "<b onload", "](https://evil.test)"] {
            assert!(!outside.contains(sequence), "{sequence}");
        }
    }
    // The log is for machines, which unescape it: each line is whole JSON.
    for line in errors(&run).lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
}
