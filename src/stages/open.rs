//! The beginning of a visit: the run is found or made, and taken up.

use std::sync::Arc;

use super::audience::Audience;
use super::request::Request;
use super::target::Target;
use super::visit::Visit;
use crate::ledger::{Ledger, Opened};
use crate::promotion::event::{Event, Opening, VisitOpening};
use crate::promotion::fault::{Code, Fault};
use crate::promotion::identity::{DeploymentId, RunKey};
use crate::promotion::run::Run;

/// What a visit found.
#[derive(Debug)]
pub(super) enum Found {
    /// A run to go on with.
    ToDo(Visit),
    /// A run that was finished by an earlier visit.
    Finished(Run),
}

/// Finds the run that a request belongs to, or makes it.
///
/// # Errors
/// What the ledger says; a `deployment-id` that names another environment's or scope's run.
pub(super) async fn open(
    request: &Request,
    target: &Target,
    ledger: Arc<dyn Ledger>,
    audience: Arc<dyn Audience>,
) -> Result<Found, Fault> {
    if let Some(id) = &request.deployment_id {
        let records = ledger.load(id).await?;
        let visit = Visit::take_up(&records, false, ledger, audience)?;
        refuse_other(request, target, visit.run())?;
        return Ok(if visit.run().ended.is_some() { Found::Finished(visit.run().clone()) } else { Found::ToDo(visit) });
    }
    let commit = request.job.commit.clone().unwrap_or_else(|| format!("{:012x}", rand::random::<u64>() >> 16));
    match ledger.open(opening(request, target), &commit).await? {
        Opened::New(records) => Ok(Found::ToDo(Visit::take_up(&records, true, ledger, audience)?)),
        Opened::Resumed(records) => Ok(Found::ToDo(Visit::take_up(&records, false, ledger, audience)?)),
        Opened::Finished(records) => Ok(Found::Finished(Run::fold(&records)?)),
    }
}

fn opening(request: &Request, target: &Target) -> Opening {
    let services: Vec<String> = target.services.iter().map(|service| service.name.clone()).collect();
    let scope = request.job.scope();
    let key = request.job.workflow.as_ref().map(|workflow| {
        let operation = request.operation.name();
        RunKey::new(&scope, &workflow.run_id, operation, &target.environment, services.iter().map(String::as_str))
    });
    Opening {
        key,
        scope,
        operation: request.operation,
        environment: target.environment.clone(),
        services,
        requestor: request.requestor.clone(),
        actor: request.job.actor.clone(),
        reason: request.reason.clone(),
        mode: request.mode.clone(),
        variables: request.variables.clone(),
        commit: request.job.commit.clone(),
        git_ref: request.job.git_ref.clone(),
        workflow: request.job.workflow.clone(),
        configuration: target.configuration.as_ref().map(|(path, _)| path.clone()),
        predecessor: None,
        rolls_back: None,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// A `deployment-id` of another promotion is a mistake, not a wish.
fn refuse_other(request: &Request, target: &Target, run: &Run) -> Result<(), Fault> {
    let mut differences = Vec::new();
    if run.opening.environment != target.environment {
        differences.push(format!("it goes to {}, not to {}", run.opening.environment, target.environment));
    }
    if run.opening.scope != request.job.scope() {
        differences.push(format!("it belongs to {}, not to {}", run.opening.scope, request.job.scope()));
    }
    let services: Vec<&str> = target.services.iter().map(|service| service.name.as_str()).collect();
    if run.opening.services != services {
        differences.push(format!("it is about {}, not about {}", run.opening.services.join(", "), services.join(", ")));
    }
    if run.opening.operation != request.operation {
        differences.push(format!("it is a {}, not a {}", run.opening.operation, request.operation));
    }
    if differences.is_empty() {
        return Ok(());
    }
    Err(Fault::new(Code::InputInvalid, format!("run {} is another: {}", run.id, differences.join("; ")))
        .with_fix("give the same inputs as the step that began the run, or leave `deployment-id` out"))
}

/// Begins the visit in the ledger. One that was cut off before is told of first.
///
/// # Errors
/// What the ledger says.
pub(super) async fn begin(visit: &mut Visit, request: &Request) -> Result<(), Fault> {
    let mut events = Vec::new();
    let last = visit.run().visits.last();
    if last.is_some_and(|last| last.ended.is_none() && last.interrupted.is_none()) {
        events.push(Event::Interrupted { cause: "crash".to_owned() });
    }
    events.push(Event::VisitStarted(VisitOpening {
        number: last.map_or(0, |last| last.opening.number) + 1,
        attempt: request.job.attempt.clone(),
        job: request.job.name.clone(),
        until: request.until,
        force: request.force,
        overrides: request.overrides.clone(),
        reason: request.reason.clone(),
    }));
    visit.record(events).await
}

/// Tells a run that its visit was stopped, and gives its lease back, so that nobody has to wait for it.
///
/// # Errors
/// What the ledger says.
pub async fn interrupt(
    id: &DeploymentId,
    cause: &str,
    ledger: Arc<dyn Ledger>,
    audience: Arc<dyn Audience>,
) -> Result<Run, Fault> {
    let records = ledger.load(id).await?;
    let mut visit = Visit::take_up(&records, false, ledger, audience)?;
    visit.hold_own_lease();
    if visit.run().allows(&Event::Interrupted { cause: cause.to_owned() }).is_ok() {
        visit.note(Event::Interrupted { cause: cause.to_owned() }).await?;
    }
    visit.release().await?;
    Ok(visit.run().clone())
}
