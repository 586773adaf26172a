//! The report of a run that failed, was cancelled, or was cut off: what happened, what was tried, how the world is now,
//! what to do.

use super::document::{Cell, Document};
use super::{compliance, text};
use crate::promotion::act::{Act, Outcome, TagMove};
use crate::promotion::check::Verdict;
use crate::promotion::event::Operation;
use crate::promotion::fault::Exit;
use crate::promotion::run::Run;
use crate::promotion::stage::Stage;
use crate::promotion::state::State;

/// Whether a run has something to tell here.
#[must_use]
pub fn is_due(run: &Run) -> bool {
    match &run.ended {
        Some(ended) => ended.exit != Exit::Done,
        None => run.state == State::Interrupted || run.faults.iter().any(|one| one.fault.severity.stops()),
    }
}

/// The report of a run that did not succeed.
#[must_use]
pub fn aftermath(run: &Run) -> Document {
    let kind = match run.ended.as_ref().map(|ended| ended.state).unwrap_or(run.state) {
        State::Cancelled | State::Interrupted => "Cancellation report",
        State::Rejected => "Rejection report",
        State::RolledBack | State::RollbackFailed => "Rollback report",
        _ => "Failure report",
    };
    let mut document = Document::new(format!("{kind}: {} into {}", run.id, run.opening.environment));
    document.facts(vec![
        ("Result", compliance::result(run)),
        ("Requested by", Cell::text(&run.opening.requestor)),
        ("Began", Cell::text(text::time(run.opened_at))),
        ("Stopped", Cell::text(text::time(run.ended.as_ref().map_or(run.updated_at, |ended| ended.at)))),
        (
            "Stage",
            Cell::text(
                run.stages.iter().rev().find(|one| one.stage != Stage::Report).map_or("none", |one| one.stage.name()),
            ),
        ),
    ]);
    document.heading("What happened");
    let mut happened: Vec<String> = run
        .faults
        .iter()
        .filter(|one| one.fault.severity.stops())
        .map(|one| {
            let about = one.fault.service.as_deref().map(|service| format!("{service}: ")).unwrap_or_default();
            format!("{about}{} ({}, {})", one.fault.message, one.fault.category, one.fault.code)
        })
        .collect();
    happened.extend(run.findings.iter().filter(|finding| finding.verdict == Verdict::Fail).map(|finding| {
        format!("Check {} of {}: seen {}, wanted {}", finding.check, finding.service, finding.seen, finding.wanted)
    }));
    happened.extend(run.visits.iter().filter_map(|visit| {
        Some(format!("Visit {} was cut off by {}", visit.opening.number, visit.interrupted.as_ref()?))
    }));
    if happened.is_empty() {
        document.text("No error is on record.");
    }
    document.list(happened);

    document.heading("What was tried");
    let mut tried: Vec<String> = run.faults.iter().flat_map(|one| one.fault.tried.clone()).collect();
    tried.extend(
        run.retries.iter().map(|retry| format!("{}: attempt {} failed ({})", retry.what, retry.attempt, retry.because)),
    );
    if tried.is_empty() {
        document.text("Nothing could be tried again.");
    }
    document.list(tried);

    document.heading("How the world is now");
    document.list(world(run));

    document.heading("What to do");
    document.list(steps(run));
    document
}

/// What is known of the environment.
fn world(run: &Run) -> Vec<String> {
    if run.opening.operation == Operation::Verify {
        return vec!["This run has only looked, and changed nothing.".to_owned()];
    }
    if !run.changed_the_world() {
        return vec![format!("{} is as it was: nothing was changed.", run.opening.environment)];
    }
    let back = run.state == State::RolledBack;
    let mut world = Vec::new();
    for intended in run.intents.values() {
        let outcome = intended.outcome.as_ref();
        match &intended.act {
            Act::MoveTags { moves } => world.extend(moves.iter().map(|one| pointed(one, outcome, back))),
            Act::Deploy { service, driver, to, .. } => world.push(match outcome {
                Some(Outcome::NotBegun { .. }) => format!("{service} runs what it ran: {driver} did not begin."),
                Some(Outcome::Failed { .. }) => format!("{service} may run {to}, or what it ran before ({driver})."),
                None => format!("It is not known whether {service} runs {to} or what it ran before ({driver})."),
                Some(_) if back => format!("{service} was deployed as {to}, and taken back."),
                Some(_) => format!("{service} was deployed as {to}."),
            }),
            Act::RollBackDeployment { service, driver, to, .. } => world.push(match outcome {
                Some(outcome) if outcome.is_done() => format!("{service} was put back to {to}."),
                _ => format!("It is not known whether {service} is back at {to} ({driver})."),
            }),
            Act::Migrate { services, tool, .. } => world.push(match outcome {
                Some(Outcome::Migrated { .. }) => {
                    format!("The database of {services} is migrated ({tool}), and is not taken back.")
                }
                Some(Outcome::NotBegun { .. }) => format!("The database of {services} is as it was."),
                _ => format!("The database of {services} may be migrated in part ({tool})."),
            }),
            Act::CopyContent { .. } | Act::KeepPrevious { .. } => {}
        }
    }
    world.extend(run.rollback.to.iter().map(|(service, digest)| format!("{service} is back at {digest}.")));
    if world.is_empty() {
        world.push(format!("{} was changed; the changes are in the audit trail.", run.opening.environment));
    }
    world
}

/// Where a tag points after a move.
fn pointed(one: &TagMove, outcome: Option<&Outcome>, back: bool) -> String {
    let (repository, tag, new) = (&one.repository, &one.tag, one.to.short());
    let old = one.from.as_ref().map_or_else(|| "nothing".to_owned(), |from| from.short().to_owned());
    match outcome {
        Some(Outcome::NotBegun { .. }) => format!("{repository}:{tag} points to {old}, as before."),
        Some(Outcome::Failed { .. }) => format!("{repository}:{tag} may point to {new} or to {old}."),
        None => format!("It is not known whether {repository}:{tag} points to {new} or to {old}."),
        Some(_) if back => format!("{repository}:{tag} was moved to {new}, and taken back."),
        Some(_) => format!("{repository}:{tag} points to {new}; before, to {old}."),
    }
}

fn steps(run: &Run) -> Vec<String> {
    let mut steps: Vec<String> = Vec::new();
    for one in run.faults.iter().filter(|one| one.fault.severity.stops()) {
        if !steps.contains(&one.fault.fix) {
            steps.push(one.fault.fix.clone());
        }
    }
    if run.ended.is_none() {
        steps.push("Run the job again: it goes on where this visit stopped.".to_owned());
    }
    if run.unsettled().next().is_some() {
        steps.push(format!("Settle what is open: `operation: recover` with `deployment-id: {}`.", run.id));
    }
    if steps.is_empty() {
        steps.push("Start a new run when what stopped this one is gone.".to_owned());
    }
    steps
}
