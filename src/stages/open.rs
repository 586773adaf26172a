//! The beginning of a visit: the run is found or made, and taken up.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::audience::Audience;
use super::request::Request;
use super::target::Target;
use super::visit::Visit;
use crate::ledger::{Filter, Ledger, LedgerError, Opened};
use crate::promotion::event::{Event, Opening, Operation, Record, VisitOpening};
use crate::promotion::fault::{Code, Fault};
use crate::promotion::identity::{DeploymentId, RunKey};
use crate::promotion::run::Run;
use crate::promotion::state::State;

/// How often it is tried to record that a visit was stopped, when what it did last comes in between.
const INTERRUPTIONS: u32 = 3;

/// What a visit found.
#[derive(Debug)]
pub(super) enum Found {
    /// A run to go on with.
    ToDo(Visit),
    /// A run that is over.
    Finished(Visit),
}

/// Finds the run that a request belongs to, or makes it.
///
/// # Errors
/// What the ledger says; a run that is about something else than the request.
pub(super) async fn open(
    request: &Request,
    target: &Target,
    ledger: Arc<dyn Ledger>,
    audience: Arc<dyn Audience>,
) -> Result<Found, Fault> {
    let (records, new) = match &request.deployment_id {
        Some(id) => (ledger.load(id).await?, false),
        None => {
            let commit = request.job.commit.clone().unwrap_or_else(|| format!("{:012x}", rand::random::<u64>() >> 16));
            let rolls_back = taken_back(request, target, ledger.as_ref()).await?;
            match ledger.open(Opening { rolls_back, ..opening(request, target) }, &commit).await? {
                Opened::New(records) => (records, true),
                Opened::Resumed(records) | Opened::Finished(records) => (records, false),
            }
        }
    };
    let visit = Visit::take_up(&records, new, ledger, audience)?;
    refuse_other(request, target, visit.run())?;
    visit.announce_in_hand(&records);
    Ok(if visit.run().ended.is_some() { Found::Finished(visit) } else { Found::ToDo(visit) })
}

/// The run that a rollback by hand takes back: the last that has changed the environment.
async fn taken_back(
    request: &Request,
    target: &Target,
    ledger: &dyn Ledger,
) -> Result<Option<DeploymentId>, LedgerError> {
    if request.operation != Operation::Rollback {
        return Ok(None);
    }
    let past = ledger.past(&Filter::history(&request.job.scope(), &target.environment)).await?;
    let is_ours = |service: &str| target.services.iter().any(|one| one.name == service);
    Ok(past.into_iter().find(|one| one.changed_the_world && is_ours(&one.service)).map(|one| one.run))
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

/// A `deployment-id` of another promotion is a mistake, not a wish; and so is another image than the one that this
/// workflow run promotes to the same target.
fn refuse_other(request: &Request, target: &Target, run: &Run) -> Result<(), Fault> {
    let mut differences = Vec::new();
    if run.opening.environment != target.environment {
        differences.push(format!("it goes to {}, not to {}", run.opening.environment, target.environment));
    }
    if run.opening.scope != request.job.scope() {
        differences.push(format!("it belongs to {}, not to {}", run.opening.scope, request.job.scope()));
    }
    let services: BTreeSet<&str> = target.services.iter().map(|service| service.name.as_str()).collect();
    if run.opening.services.iter().map(String::as_str).collect::<BTreeSet<_>>() != services {
        let services = services.into_iter().collect::<Vec<_>>().join(", ");
        differences.push(format!("it is about {}, not about {services}", run.opening.services.join(", ")));
    }
    if run.opening.operation != request.operation {
        differences.push(format!("it is a {}, not a {}", run.opening.operation, request.operation));
    }
    for candidate in &run.candidates {
        let Some(route) = target.service(&candidate.service).and_then(|service| service.image.as_ref()) else {
            continue;
        };
        if let (Some(known), Some(asked)) = (&candidate.reference, &request.image)
            && known != asked
        {
            differences.push(format!("it promotes {known}, not {asked}"));
        }
        if let (Some(known), Some(asked)) = (&candidate.digest, &route.pinned)
            && known != asked
        {
            differences.push(format!("it promotes {known}, not {asked}"));
        }
    }
    if differences.is_empty() {
        return Ok(());
    }
    let fix = match &request.deployment_id {
        Some(_) => "give the same inputs as the step that began the run, or leave `deployment-id` out",
        None => "a workflow run promotes one image to a target: promote the other one in a workflow run of its own",
    };
    Err(Fault::new(Code::InputInvalid, format!("run {} is another: {}", run.id, differences.join("; "))).with_fix(fix))
}

/// Begins the visit in the ledger. One that was cut off before is told of first.
///
/// # Errors
/// What the ledger says.
pub(super) async fn begin(visit: &mut Visit, request: &Request) -> Result<(), Fault> {
    let mut events = Vec::new();
    let last = visit.run().visits.last();
    if visit.run().is_visited() {
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

/// Tells a run that its visit was stopped, and gives its lease back, so that nobody has to wait for it. `known` are the
/// run's records as far as they are known here; they count where the ledger does not answer.
///
/// # Errors
/// What the ledger says.
pub async fn interrupt(
    known: &[Record],
    cause: &str,
    ledger: Arc<dyn Ledger>,
    audience: Arc<dyn Audience>,
) -> Result<Run, Fault> {
    let ours = Run::fold(known)?;
    let mut attempt = 1;
    loop {
        let records = match ledger.load(&ours.id).await {
            Ok(records) => records,
            Err(LedgerError::Unreachable(_)) => known.to_vec(),
            Err(error) => return Err(error.into()),
        };
        let visit = Visit::take_up(&records, false, Arc::clone(&ledger), Arc::clone(&audience))?;
        if visit.run().visits.len() > ours.visits.len() {
            let text = format!("run {} is in the hands of a later visit", ours.id);
            return Err(Fault::new(Code::VisitConflict, text).with_fix("nothing: the later visit goes on with the run"));
        }
        match let_go(visit, cause).await {
            // What was being recorded when the visit was stopped is in the ledger only now.
            Err(fault) if fault.code == Code::VisitConflict && attempt < INTERRUPTIONS => attempt += 1,
            ended => return ended,
        }
    }
}

async fn let_go(mut visit: Visit, cause: &str) -> Result<Run, Fault> {
    visit.hold_own_lease();
    let interrupted = Event::Interrupted { cause: cause.to_owned() };
    let told = visit.run().state == State::Interrupted && !visit.run().is_visited();
    if !told && visit.run().allows(&interrupted).is_ok() {
        match visit.note(interrupted.clone()).await {
            // Another run has the environment since: this one has nothing to give back.
            Err(fault) if fault.code == Code::LeaseLost => {
                visit.hold(None);
                visit.note(interrupted).await?;
            }
            noted => noted?,
        }
    }
    visit.release().await?;
    Ok(visit.run().clone())
}
