//! `operation: recover`: what interrupted runs left behind is looked at and settled.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::advance::advance;
use super::audience::Audience;
use super::request::{Job, Request};
use super::target::Target;
use super::visit::Visit;
use super::work::{Seen, Tools, Work};
use super::{deployment_status, open};
use crate::ledger::{Acquired, Fence, Filter, Head, Heartbeat, Ledger};
use crate::promotion::event::{Event, Operation, Record};
use crate::promotion::fault::{Code, Exit, Fault};
use crate::promotion::identity::DeploymentId;
use crate::promotion::run::Run;
use crate::promotion::stage::Stage;
use crate::promotion::state::State;

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
    /// It needs to be settled, and this was only a look.
    Needed,
    /// There is nothing to settle: nothing was changed, or it is over.
    NothingToDo(&'static str),
    /// Its visit may still be at work.
    AtWork,
    /// It could not be settled.
    Failed(Fault),
}

/// How runs are recovered.
pub struct Recovery<'a> {
    /// What is asked: which runs, and by whose workflow run.
    pub request: &'a Request,
    /// The tools for a run, whose plan tells which registries are met.
    pub tools: &'a (dyn Fn(&Run) -> Result<Tools, Fault> + Sync),
    /// Where a run goes, where the configuration that its plan was made of is at hand.
    pub target: &'a (dyn Fn(&Run) -> Option<Target> + Sync),
    /// Where the runs are.
    pub ledger: Arc<dyn Ledger>,
    /// Who listens.
    pub audience: Arc<dyn Audience>,
    /// Whether it is only told what is to be done.
    pub only_look: bool,
}

impl std::fmt::Debug for Recovery<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recovery").field("request", self.request).field("only_look", &self.only_look).finish()
    }
}

/// Settles the named run, or every run of the environment (or of the whole ledger, without one) that needs it.
///
/// # Errors
/// What the ledger says.
pub async fn recover(recovery: &Recovery<'_>) -> Result<Vec<Recovered>, Fault> {
    let Recovery { request, ledger, .. } = recovery;
    let ids = match &request.deployment_id {
        Some(id) => vec![id.clone()],
        None => {
            let filter = Filter { environment: request.environment.clone(), unfinished: true, ..Filter::default() };
            ledger.runs(&filter).await?
        }
    };
    let mut all = Vec::new();
    for id in ids {
        all.push(recovery.one(&id).await?);
    }
    Ok(all)
}

impl Recovery<'_> {
    async fn one(&self, id: &DeploymentId) -> Result<Recovered, Fault> {
        let records = self.ledger.load(id).await?;
        let visit = Visit::take_up(&records, false, Arc::clone(&self.ledger), Arc::clone(&self.audience))?;
        let visit = self.tell_what_is_left(visit).await?;
        let records = if visit.run().seq == records.len() as u64 { records } else { self.ledger.load(id).await? };
        if visit.run().ended.is_some() {
            return self.let_go(visit.run().clone(), &records, "it is over").await;
        }
        if !needs_settling(visit.run()) {
            let why = "it has changed nothing, or was left in good order; its next visit goes on with it";
            return self.let_go(visit.run().clone(), &records, why).await;
        }
        if !self.is_known_to_be_gone(visit.run()) && self.holds_its_lease(visit.run()).await? {
            return Ok(Recovered { run: visit.run().clone(), result: Settling::AtWork });
        }
        if self.only_look {
            return Ok(Recovered { run: visit.run().clone(), result: Settling::Needed });
        }
        self.take_over(visit, &records).await
    }

    /// Tells people what a visit that was cut off has left to be told, where the run itself is not to be settled: settling
    /// it tells that too. A visit that may be at work tells it itself.
    async fn tell_what_is_left(&self, mut visit: Visit) -> Result<Visit, Fault> {
        let run = visit.run();
        let left = run.notifications.iter().any(|one| one.delivery.is_none());
        let at_work = run.is_visited() && !self.is_known_to_be_gone(run);
        if left && !at_work && !self.only_look && !needs_settling(run) {
            visit.tell_by((self.tools)(run)?.post);
            visit.finish_telling().await?;
        }
        Ok(visit)
    }

    /// Whether a run's process is gone, as far as can be told: a run that holds the lease may be at work this moment. Only
    /// its own workflow run, or somebody who names it, knows that it is not.
    fn is_known_to_be_gone(&self, run: &Run) -> bool {
        let ours = self.request.job.workflow.as_ref();
        let own = run.opening.workflow.as_ref().zip(ours).is_some_and(|(its, ours)| its.run_id == ours.run_id);
        own || self.request.deployment_id.is_some()
    }

    async fn holds_its_lease(&self, run: &Run) -> Result<bool, Fault> {
        let lease = self.ledger.lease(&run.opening.scope, &run.opening.environment).await?;
        Ok(run.lease.is_some() && lease.is_some_and(|(holder, _)| holder == run.id))
    }

    /// Nothing has to be settled; a run that was named, and whose lease keeps others waiting, is let go all the same.
    async fn let_go(&self, run: Run, records: &[Record], why: &'static str) -> Result<Recovered, Fault> {
        if self.request.deployment_id.is_none() || self.only_look || !self.holds_its_lease(&run).await? {
            return Ok(nothing(run, why));
        }
        let (ledger, audience) = (Arc::clone(&self.ledger), Arc::clone(&self.audience));
        self.audience.in_hand(&run, records);
        let run = open::interrupt(records, "recovered", ledger, audience).await?;
        let why = match run.ended {
            Some(_) => "it is over; its lease was given back",
            None => "it has changed nothing; its lease was given back, and its next visit goes on with it",
        };
        Ok(nothing(run, why))
    }

    async fn take_over(&self, mut visit: Visit, records: &[Record]) -> Result<Recovered, Fault> {
        let tools = (self.tools)(visit.run())?;
        visit.announce_in_hand(records);
        match self.ledger.acquire(&Head::of(visit.run())).await? {
            Acquired::Taken(record) => visit.take_in(&[*record])?,
            Acquired::Held { .. } => return Ok(Recovered { run: visit.run().clone(), result: Settling::AtWork }),
        }
        visit.hold_own_lease();
        let heartbeat = visit.fence().map(|fence| Heartbeat::start(Arc::clone(&self.ledger), fence.clone()));
        let target = (self.target)(visit.run());
        let settled = settle(&mut visit, &tools, target).await;
        drop(heartbeat);
        let released = visit.release().await;
        let result = match settled.and(released) {
            Ok(()) => Settling::Settled,
            Err(fault) => Settling::Failed(fault),
        };
        Ok(Recovered { run: visit.run().clone(), result })
    }
}

fn nothing(run: Run, why: &'static str) -> Recovered {
    Recovered { run, result: Settling::NothingToDo(why) }
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
        if is_superseded(work.visit.run(), &run) {
            supersede(work, &run, &fence).await?;
            continue;
        }
        let records = ledger.load(&run.id).await?;
        let mut other = Visit::take_up(&records, false, Arc::clone(&ledger), Arc::clone(work.visit.audience()))?;
        other.hold(Some(fence.clone()));
        let before = work.tools.registries.traffic();
        // Boxed, because settling advances a run, which may settle others.
        let target = target_of(work, &run);
        let settled = Box::pin(settle(&mut other, work.tools, target)).await;
        // What that has cost is in the other run's record.
        work.told.add(&work.tools.registries.traffic_since(&before));
        if let Err(fault) = settled {
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

/// Whether a rollback by hand settles what another run has left behind: everything was put in place, and all that is
/// missing is whether it lives.
fn is_superseded(ours: &Run, other: &Run) -> bool {
    ours.opening.operation == Operation::Rollback && other.unsettled().next().is_none()
}

/// Ends a run that a rollback by hand takes the place of.
async fn supersede(work: &Work<'_>, run: &Run, fence: &Fence) -> Result<(), Fault> {
    let ledger = Arc::clone(work.visit.ledger());
    let records = ledger.load(&run.id).await?;
    let mut other = Visit::take_up(&records, false, ledger, Arc::clone(work.visit.audience()))?;
    other.hold(Some(fence.clone()));
    let mut events = Vec::new();
    if run.is_visited() {
        events.push(Event::Interrupted { cause: format!("rolled back by hand, by run {}", work.visit.run().id) });
    }
    events.push(Event::RunEnded { state: State::Failed, exit: Exit::Failed, reason: None });
    other.record(events).await?;
    deployment_status::end(&mut other, work.target, work.tools.hub.as_ref()).await
}

/// Where another run goes, where it is where ours goes and the configuration says so still.
fn target_of(work: &Work<'_>, run: &Run) -> Option<Target> {
    let (plan, _) = run.plan.as_ref()?;
    let (_, checksum) = work.target.configuration.as_ref()?;
    let same = plan.configuration.as_ref() == Some(checksum)
        && plan.candidates.iter().all(|planned| work.target.service(&planned.service).is_some());
    same.then(|| work.target.only(&run.opening.services))
}

/// Advances a run to its end, by its plan alone, or with what the configuration says of later stages.
async fn settle(visit: &mut Visit, tools: &Tools, target: Option<Target>) -> Result<(), Fault> {
    let plan = visit.run().plan.as_ref().map(|(plan, _)| plan.clone());
    let plan = plan.ok_or_else(|| Fault::defect("a run without a plan has changed the world"))?;
    if let Some(stage) = plan.stages.iter().find(|stage| **stage > Stage::Copy && target.is_none()) {
        return Err(Fault::new(
            Code::RecoveryNeeded,
            format!("run {} has still to go through {stage}, which needs its configuration", visit.run().id),
        )
        .with_fix("run its job again, which goes on with it"));
    }
    let request = request_of(visit.run());
    let target = target.unwrap_or_else(|| Target::planned(&plan));
    open::begin(visit, &request).await?;
    visit.tell_by(tools.post.clone());
    let told = tools.registries.traffic();
    let told_of_github = tools.asked_of_github();
    let mut work = Work {
        visit: &mut *visit,
        request: &request,
        target: &target,
        tools,
        seen: Seen::default(),
        told,
        told_of_github,
    };
    advance(&mut work).await?;
    deployment_status::end(visit, &target, tools.hub.as_ref()).await
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
        files: BTreeMap::new(),
        job: Job::default(),
    }
}
