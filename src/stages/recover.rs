//! `operation: recover`: what interrupted runs left behind is looked at and settled.

use std::sync::Arc;

use super::advance::advance;
use super::audience::Audience;
use super::open;
use super::request::{Job, Request};
use super::target::Target;
use super::visit::Visit;
use super::work::{Seen, Tools, Work};
use crate::ledger::{Acquired, Filter, Head, Ledger};
use crate::promotion::event::Operation;
use crate::promotion::fault::{Code, Fault};
use crate::promotion::identity::DeploymentId;
use crate::promotion::run::Run;
use crate::promotion::stage::Stage;

/// What became of one run.
#[derive(Debug)]
pub struct Recovered {
    /// The run, as it is now.
    pub run: Run,
    /// What was done, or why nothing was.
    pub result: Settling,
}

/// What recovering a run came to.
#[derive(Debug)]
pub enum Settling {
    /// It was settled, and is over.
    Settled,
    /// There is nothing to settle: nothing was changed, or it is over.
    NothingToDo(&'static str),
    /// Its visit may still be at work.
    AtWork,
    /// It could not be settled.
    Failed(Fault),
}

/// Settles the named run, or every run of the scope (or of the whole ledger, without one) that needs it.
///
/// # Errors
/// What the ledger says.
pub async fn recover(
    request: &Request,
    tools: &Tools,
    ledger: Arc<dyn Ledger>,
    audience: Arc<dyn Audience>,
) -> Result<Vec<Recovered>, Fault> {
    let ids = match &request.deployment_id {
        Some(id) => vec![id.clone()],
        None => {
            let filter = Filter { environment: request.environment.clone(), unfinished: true, ..Filter::default() };
            ledger.runs(&filter).await?
        }
    };
    let mut all = Vec::new();
    for id in ids {
        all.push(one(&id, request, tools, Arc::clone(&ledger), Arc::clone(&audience)).await?);
    }
    Ok(all)
}

async fn one(
    id: &DeploymentId,
    request: &Request,
    tools: &Tools,
    ledger: Arc<dyn Ledger>,
    audience: Arc<dyn Audience>,
) -> Result<Recovered, Fault> {
    let records = ledger.load(id).await?;
    let mut visit = Visit::take_up(&records, false, Arc::clone(&ledger), audience)?;
    let nothing = |visit: &Visit, why| Recovered { run: visit.run().clone(), result: Settling::NothingToDo(why) };
    if visit.run().ended.is_some() {
        return Ok(nothing(&visit, "it is over"));
    }
    if !needs_settling(visit.run()) {
        return Ok(nothing(
            &visit,
            "it has changed nothing, or was left in good order; its next visit goes on with it",
        ));
    }
    // A run that holds the lease may be at work this moment: only its own workflow run, or somebody who names it, knows
    // that it is not.
    let named = request.deployment_id.is_some();
    let opening = &visit.run().opening;
    let own = opening
        .workflow
        .as_ref()
        .zip(request.job.workflow.as_ref())
        .is_some_and(|(its, ours)| its.run_id == ours.run_id);
    if !named
        && !own
        && visit.run().lease.is_some()
        && ledger.lease(&opening.scope, &opening.environment).await?.is_some()
    {
        return Ok(Recovered { run: visit.run().clone(), result: Settling::AtWork });
    }
    match ledger.acquire(&Head::of(visit.run())).await? {
        Acquired::Taken(record) => visit.take_in(&[*record])?,
        Acquired::Held { .. } => return Ok(Recovered { run: visit.run().clone(), result: Settling::AtWork }),
    }
    visit.hold_own_lease();
    let settled = settle(&mut visit, tools).await;
    let released = visit.release().await;
    let result = match settled.and(released) {
        Ok(()) => Settling::Settled,
        Err(fault) => Settling::Failed(fault),
    };
    Ok(Recovered { run: visit.run().clone(), result })
}

/// Settles what other runs left behind in the environment whose lease this run has just taken. The fault that keeps this
/// run from going on, where that could not be done.
///
/// # Errors
/// What the ledger says.
pub(super) async fn others(work: &mut Work<'_>) -> Result<Option<Fault>, Fault> {
    let (own, fence) = (work.visit.run().id.clone(), work.visit.fence().cloned());
    let Some(fence) = fence else { return Ok(None) };
    let ledger = Arc::clone(work.visit.ledger());
    for run in ledger.unsettled(&fence.scope, &fence.environment).await? {
        if run.id == own || !needs_settling(&run) {
            continue;
        }
        let records = ledger.load(&run.id).await?;
        let mut other = Visit::take_up(&records, false, Arc::clone(&ledger), Arc::clone(work.visit.audience()))?;
        other.hold(Some(fence.clone()));
        // Boxed, because settling advances a run, which may settle others.
        if let Err(fault) = Box::pin(settle(&mut other, work.tools)).await {
            let text = format!(
                "run {} was interrupted after it had begun to change {}, and could not be settled: {fault}",
                run.id, fence.environment
            );
            let fix = format!("settle it with `operation: recover` and `deployment-id: {}`, then run again", run.id);
            return Ok(Some(Fault::new(Code::RecoveryNeeded, text).with_fix(fix)));
        }
    }
    Ok(None)
}

/// Whether a run was cut off after it had begun to change the world. One that was left in good order, by `until`, goes
/// on with its next visit.
fn needs_settling(run: &Run) -> bool {
    let open = run.unsettled().any(|(_, intended)| intended.act.changes_the_world());
    let cut_off = run.visits.last().is_none_or(|visit| visit.ended.is_none());
    run.ended.is_none() && (open || (run.changed_the_world() && cut_off))
}

/// Advances a run to its end, by its plan alone.
async fn settle(visit: &mut Visit, tools: &Tools) -> Result<(), Fault> {
    let plan = visit.run().plan.as_ref().map(|(plan, _)| plan.clone());
    let plan = plan.ok_or_else(|| Fault::defect("a run without a plan has changed the world"))?;
    if let Some(stage) = plan.stages.iter().find(|stage| **stage > Stage::Copy) {
        return Err(Fault::new(
            Code::RecoveryNeeded,
            format!("run {} has still to go through {stage}, which needs its configuration", visit.run().id),
        )
        .with_fix("run its job again, which goes on with it"));
    }
    let request = request_of(visit.run());
    let target = Target::planned(&plan);
    open::begin(visit, &request).await?;
    let mut work = Work { visit, request: &request, target: &target, tools, seen: Seen::default() };
    advance(&mut work).await
}

/// What a run was asked, as it was opened.
fn request_of(run: &Run) -> Request {
    let opening = &run.opening;
    Request {
        operation: Operation::Recover,
        environment: Some(opening.environment.clone()),
        services: opening.services.clone(),
        image: None,
        to: None,
        digest: None,
        version: None,
        deployment_id: Some(run.id.clone()),
        until: None,
        requestor: opening.requestor.clone(),
        reason: opening.reason.clone(),
        mode: opening.mode.clone(),
        variables: opening.variables.clone(),
        force: false,
        overrides: Vec::new(),
        job: Job::default(),
    }
}
