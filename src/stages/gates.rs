//! The gates, looked at for a run: all of them in stage `conditions`, and some once more before the tags move.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio::time::Instant;

use super::work::{Trouble, Work};
use crate::config::Driver;
use crate::gates::{self, Candidate, Evaluated, Job, Subject};
use crate::promotion::event::{Event, Operation};
use crate::promotion::fault::Fault;

/// Looks at all gates, waits for those that say "not yet", and records what was seen.
///
/// # Errors
/// A fault for each that is closed, or could not be looked at.
pub(super) async fn evaluate(work: &mut Work<'_>) -> Result<(), Trouble> {
    // One run waits once, for all of its services.
    let gates = work.target.agreed("gates", |settings| &settings.gates)?;
    work.target.agreed("github", |settings| &settings.github)?;
    if gates.soak.is_some() {
        work.target.agreed("from", |settings| &settings.from)?;
    }
    let subject = subject(work);
    let audience = work.visit.audience().clone();
    // A rehearsal tells how the gates stand, and waits for none.
    let deadline = if work.tools.rehearsal { Some(Instant::now()) } else { work.deadline() };
    let evaluated = gates::evaluate(&subject, deadline, &|text| audience.waiting(text)).await;
    if evaluated.is_empty() {
        return Ok(());
    }
    let findings = evaluated.iter().map(|one| one.finding.clone()).collect();
    work.visit.note(Event::GatesEvaluated { findings }).await?;
    settle(work, evaluated).await
}

/// Looks once more, right before the tags move, at what may have changed since: a check that was run again and is red, a
/// freeze that has begun, a digest that was marked bad. Who passed over a gate passes over it again.
///
/// # Errors
/// A fault for each that is closed now.
pub(super) async fn look_again(work: &mut Work<'_>) -> Result<(), Trouble> {
    // Gates are never in the way of a rollback.
    if work.visit.run().opening.operation == Operation::Rollback {
        return Ok(());
    }
    let evaluated = gates::look_again(&subject(work)).await;
    Trouble::unless_none(evaluated.into_iter().filter_map(|one| one.fault).collect())
}

/// Records what was passed over, and stops at what is closed.
async fn settle(work: &mut Work<'_>, evaluated: Vec<Evaluated>) -> Result<(), Trouble> {
    let (closed, passed): (Vec<Evaluated>, Vec<Evaluated>) =
        evaluated.into_iter().partition(|one| !one.finding.standing.lets_through());
    for fault in passed.into_iter().filter_map(|one| one.fault) {
        work.visit.note(Event::Faulted(Box::new(fault))).await?;
    }
    Trouble::unless_none(closed.into_iter().filter_map(|one| one.fault).collect::<Vec<Fault>>())
}

/// What the gates look at.
fn subject(work: &Work<'_>) -> Subject {
    let run = work.visit.run();
    let opening = &run.opening;
    let job = &work.request.job;
    let candidates = work.target.services.iter().map(|service| {
        let candidate = run.candidate(&service.name);
        let commit = match &service.image {
            Some(_) => {
                candidate.and_then(|one| one.facts.as_ref()).and_then(|facts| facts.revision()).map(str::to_owned)
            }
            None => opening.commit.clone(),
        };
        let hosts = match &work.target.settings(&service.name).deploy {
            Some(Driver::Compose(driver)) => Some(driver.ssh.clone()),
            _ => None,
        };
        Candidate { service: service.name.clone(), digest: candidate.and_then(|one| one.digest.clone()), commit, hosts }
    });
    // What was overridden by an earlier visit of the run stays so.
    let last = run.visits.iter().rfind(|visit| !visit.opening.overrides.is_empty()).map(|visit| &visit.opening);
    Subject {
        run: run.id.clone(),
        scope: opening.scope.clone(),
        environment: opening.environment.clone(),
        settings: work.target.services.first().map_or_else(
            || work.target.environment().settings().clone(),
            |service| work.target.settings(&service.name).clone(),
        ),
        candidates: candidates.collect(),
        hub: work.tools.hub.clone(),
        ledger: work.visit.ledger().clone(),
        secrets: work.tools.secrets.clone(),
        values: BTreeMap::from([
            ("environment", Value::from(opening.environment.as_str())),
            ("deployment_id", run.id.as_str().into()),
            ("mode", opening.mode.as_deref().unwrap_or_default().into()),
            ("vars", serde_json::to_value(&opening.variables).unwrap_or_default()),
        ]),
        job: Job {
            workflow_run: job.workflow.as_ref().and_then(|workflow| workflow.run_id.parse().ok()),
            check_run: job.check_run,
            git_ref: opening.git_ref.clone(),
        },
        overrides: last.map(|opening| opening.overrides.clone()).unwrap_or_default(),
        reason: last.and_then(|opening| opening.reason.clone()),
        workspace: work.tools.workspace.clone(),
    }
}
