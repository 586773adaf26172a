//! What was migrated and deployed: for the job summary, the record and the plan.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::promotion::act::{Act, Outcome};
use crate::promotion::deployment::Running;
use crate::promotion::run::{Intended, Run};
use crate::promotion::untrusted::{code, line, markdown};

/// How much of a text that others wrote is shown in one place.
const CELL: usize = 240;

/// The sections of the job summary.
pub(super) fn sections(out: &mut String, run: &Run) {
    migrations(out, run);
    deployments(out, run);
}

fn migrations(out: &mut String, run: &Run) {
    if run.migrations.is_empty() {
        return;
    }
    let _ =
        writeln!(out, "### Migrations\n\n| Service | By | Migration | Applied | Adds only |\n|---|---|---|---|---|");
    for (services, found) in &run.migrations {
        let (services_cell, tool) = (code(services, 100), code(&found.tool, 60));
        let done = outcome_of(run, services);
        if found.pending.is_empty() {
            let what = if found.untold { "what it does it does not tell" } else { "none is pending" };
            let _ = writeln!(out, "| {services_cell} | {tool} | {what} | {} | – |", told(done));
        }
        for one in &found.pending {
            let applied = match done {
                Some(Outcome::Migrated { applied }) => {
                    if applied.contains(&one.name) {
                        "yes"
                    } else {
                        "no"
                    }
                }
                _ => told(done),
            };
            let adds =
                one.contracts.as_deref().map_or_else(|| "yes".to_owned(), |why| format!("no: {}", markdown(why, CELL)));
            let _ = writeln!(out, "| {services_cell} | {tool} | {} | {applied} | {adds} |", code(&one.name, 200));
        }
    }
    let _ = writeln!(out, "\n{}\n", markdown(&way_back(run), 600));
}

fn outcome_of<'a>(run: &'a Run, wanted: &str) -> Option<&'a Outcome> {
    let of_these = |intended: &&Intended| matches!(&intended.act, Act::Migrate { services, .. } if services == wanted);
    run.intents.values().rev().find(of_these).and_then(|intended| intended.outcome.as_ref())
}

const fn told(outcome: Option<&Outcome>) -> &'static str {
    match outcome {
        None => "not yet",
        Some(outcome) if outcome.is_done() => "yes",
        Some(_) => "failed",
    }
}

/// Whether it is possible to go back to what was there before, and why not.
#[must_use]
pub(super) fn way_back(run: &Run) -> String {
    let before: Vec<String> = run
        .plan
        .iter()
        .flat_map(|(plan, _)| &plan.candidates)
        .filter_map(|planned| Some(planned.image.as_ref()?.previous()?.to_string()))
        .collect();
    let before = if before.is_empty() { "the version from before".to_owned() } else { before.join(", ") };
    match run.bars_the_way_back() {
        None => format!("Going back to {before} is possible: the migrations only add."),
        Some(why) => format!("Going back to {before} is not possible, because {}.", line(&why, 400)),
    }
}

fn deployments(out: &mut String, run: &Run) {
    let all: Vec<&Intended> = acts(run).collect();
    if all.is_empty() {
        return;
    }
    let _ = writeln!(
        out,
        "### Deployments\n\n| | Service | By | What | Ran before | Runs now | Says |\n|---|---|---|---|---|---|---|"
    );
    for intended in all {
        let (service, driver, to, from, back) = match &intended.act {
            Act::Deploy { service, driver, to, from, .. } => (service, driver, to, from.as_slice(), false),
            Act::RollBackDeployment { service, driver, to, .. } => (service, driver, to, [].as_slice(), true),
            _ => continue,
        };
        let (mark, now, says) = match &intended.outcome {
            None => ("⏳", String::new(), "it is not known how it ended".to_owned()),
            Some(Outcome::Deployed(deployed)) => {
                let says = [&deployed.state, &deployed.version, &deployed.message, &deployed.url];
                let says: Vec<&str> = says.into_iter().filter_map(Option::as_deref).collect();
                ("✅", places(&deployed.running), says.join(", "))
            }
            Some(Outcome::Failed { message, .. } | Outcome::NotBegun { message, .. }) => {
                ("❌", String::new(), message.clone())
            }
            Some(_) => continue,
        };
        let _ = writeln!(
            out,
            "| {mark} | {} | {} | {}{} | {} | {} | {} |",
            code(service, 100),
            code(driver, 20),
            if back { "put back " } else { "" },
            code(&to.to_string(), 200),
            cell(&places(from)),
            cell(&now),
            if says.is_empty() { "–".to_owned() } else { markdown(&says, CELL) },
        );
    }
    let _ = writeln!(out);
}

fn cell(text: &str) -> String {
    if text.is_empty() { "–".to_owned() } else { code(text, 400) }
}

fn places(running: &[Running]) -> String {
    running.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn acts(run: &Run) -> impl Iterator<Item = &Intended> {
    run.intents.values().filter(|one| matches!(one.act, Act::Deploy { .. } | Act::RollBackDeployment { .. }))
}

/// What the record says of deployments.
pub(super) fn record(run: &Run) -> Value {
    acts(run)
        .map(|intended| {
            let (service, driver, to, kind) = match &intended.act {
                Act::Deploy { service, driver, to, .. } => (service, driver, to, "deploy"),
                Act::RollBackDeployment { service, driver, to, .. } => (service, driver, to, "roll-back"),
                _ => return Value::Null,
            };
            let mut one =
                json!({ "service": service, "driver": driver, "kind": kind, "release": to, "succeeded": null });
            match &intended.outcome {
                Some(Outcome::Deployed(deployed)) => {
                    one["succeeded"] = true.into();
                    one["deployed"] = json!(deployed);
                }
                Some(Outcome::Failed { code, message } | Outcome::NotBegun { code, message }) => {
                    one["succeeded"] = false.into();
                    one["reason_code"] = json!(code);
                    one["message"] = message.as_str().into();
                }
                _ => {}
            }
            one
        })
        .collect()
}

/// What the record says of migrations.
pub(super) fn migrations_record(run: &Run) -> Value {
    run.migrations
        .iter()
        .map(|(services, found)| {
            let applied = match outcome_of(run, services) {
                Some(Outcome::Migrated { applied }) => json!(applied),
                _ => Value::Null,
            };
            json!({ "services": services, "tool": found.tool, "found": found, "applied": applied })
        })
        .collect()
}

/// What a plan says of migrations and deployments, in plain text.
pub(super) fn plan_lines(out: &mut String, run: &Run) {
    for (services, found) in &run.migrations {
        if found.untold {
            let _ = writeln!(out, "- {services}: run {}, which does not tell what it migrates", line(&found.tool, 100));
        }
        for one in &found.pending {
            let adds = one.contracts.as_deref().map_or_else(|| "only adds".to_owned(), |why| line(why, CELL));
            let _ = writeln!(out, "- {services}: apply the migration {} ({adds})", line(&one.name, 200));
        }
    }
    let migrates = run.migrations.values().any(|found| found.untold || !found.pending.is_empty());
    if migrates {
        let _ = writeln!(out, "{}", way_back(run));
    }
}
