//! A visit: the run is advanced from stage to stage, as far as it goes.

use tokio::time::Instant;

use super::awaited::{self, Waited};
use super::lease::{self, Lease};
use super::work::{Outcome, Trouble, Work};
use super::{
    approval, conditions, copy, deployment, deployment_status, migration, report, rollback, validation, verification,
    verify, way_back,
};
use crate::ledger::{Heartbeat, Standing};
use crate::promotion::event::{Conclusion, Decision, Event, Operation};
use crate::promotion::fault::{Code, Fault, Severity};
use crate::promotion::next::{Next, next};
use crate::promotion::run::Run;
use crate::promotion::stage::Stage;
use crate::promotion::state::State;

/// Advances a run until it ends, or this visit does. A lease that was taken is still held then.
///
/// # Errors
/// What keeps it from being recorded: the ledger is away before anything was changed, or somebody else has the run. What
/// goes wrong in a stage is recorded and is no error here.
pub(super) async fn advance(work: &mut Work<'_>) -> Result<(), Fault> {
    let mut heartbeat = None;
    loop {
        match next(work.visit.run(), work.request.until) {
            Next::RollBack if work.visit.run().rollback.asked.is_some() => {
                // Whoever takes it back needs the lease.
                drop(heartbeat.take());
                work.visit.release().await?;
                if awaited::wait(work).await? == Waited::Parked {
                    work.visit.note(Event::VisitEnded { decision: Decision::Wait }).await?;
                    break;
                }
            }
            Next::RollBack => {
                if work.visit.fence().is_none() {
                    // What is taken back is put where it was before: nothing that others did since is asked for.
                    match lease::take(work).await? {
                        Lease::Ours(started) | Lease::OnAnotherPlan(started) => heartbeat = Some(started),
                        Lease::Refused(fault) => return Err(*fault),
                    }
                }
                under(heartbeat.as_ref(), rollback::automatic(work)).await?;
            }
            Next::Begin(stage) => {
                if stage < Stage::Report && work.deadline().is_some_and(|deadline| deadline <= Instant::now()) {
                    refuse(work, too_late(stage)).await?;
                    continue;
                }
                let mut stage = stage;
                if needs_lease(work, stage) {
                    match lease::take(work).await? {
                        Lease::Ours(started) => heartbeat = Some(started),
                        Lease::OnAnotherPlan(started) => {
                            heartbeat = Some(started);
                            stage = Stage::Conditions;
                        }
                        Lease::Refused(fault) => {
                            refuse(work, *fault).await?;
                            continue;
                        }
                    }
                }
                if stage == Stage::Copy {
                    deployment_status::begin(work).await?;
                }
                if let Flow::Parked = under(heartbeat.as_ref(), stage_of(work, stage)).await? {
                    work.visit.note(Event::VisitEnded { decision: Decision::Wait }).await?;
                    break;
                }
            }
            Next::Leave(decision) => {
                leave(work).await?;
                // A later visit may come in a day: people are told now.
                work.visit.finish_telling().await?;
                work.visit.note(Event::VisitEnded { decision }).await?;
                break;
            }
            Next::End(ending) => {
                let decision =
                    if ending.state == State::CompletedSuccessfully { Decision::Proceed } else { Decision::Stop };
                let (state, exit, reason) = (ending.state, ending.exit, ending.reason);
                work.visit
                    .record(vec![Event::RunEnded { state, exit, reason }, Event::VisitEnded { decision }])
                    .await?;
                break;
            }
            Next::Over => break,
        }
    }
    Ok(())
}

/// What is said when a run is left to a later visit: after its conditions that people are asked, after its promotion that
/// this much is done. The states of both are those of the documents in which a job of its own waits, or deploys.
///
/// # Errors
/// What the ledger says.
async fn leave(work: &mut Work<'_>) -> Result<(), Fault> {
    let run = work.visit.run();
    match run.stages.last().map(|last| last.stage) {
        Some(Stage::Conditions) => approval::announce(work).await,
        Some(Stage::Copy) if run.state == State::PromotionSucceeded => {
            work.visit.enter(State::GeneratingReports).await?;
            work.visit.enter(State::NotificationsSent).await
        }
        _ => Ok(()),
    }
}

/// The lease is taken after the approval: a day of waiting must not keep others from an emergency. A run that has failed
/// or has nothing to do needs none, nor has one that only looks.
fn needs_lease(work: &Work<'_>, stage: Stage) -> bool {
    work.visit.run().opening.operation != Operation::Verify
        && stage > Stage::Approval
        && stage < Stage::Report
        && work.visit.fence().is_none()
}

fn too_late(stage: Stage) -> Fault {
    Fault::new(Code::DeadlinePassed, format!("the deadline passed before {stage} was begun"))
}

/// Stops a run before its next stage.
///
/// # Errors
/// What the ledger says.
pub(super) async fn refuse(work: &mut Work<'_>, fault: Fault) -> Result<(), Fault> {
    let stage = match next(work.visit.run(), None) {
        Next::Begin(stage) => stage,
        _ => Stage::Report,
    };
    let conclusion = Trouble::from(fault.clone()).conclusion();
    let traffic = work.traffic();
    work.visit
        .record(vec![
            Event::StageStarted { stage },
            Event::Faulted(Box::new(fault.in_stage(stage))),
            Event::StageEnded { stage, conclusion, note: None, traffic },
        ])
        .await
}

/// Does something only as long as the lease is held.
async fn under<T>(heartbeat: Option<&Heartbeat>, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    let Some(heartbeat) = heartbeat else { return work.await };
    tokio::pin!(work);
    tokio::select! {
        done = &mut work => done,
        standing = heartbeat.lost() => match standing {
            Standing::Gone => Err(Fault::new(Code::LeaseLost, "another visit has taken over this environment")),
            // The ledger is away, and nobody is known to have taken the lease: what was begun is finished. Whoever has
            // taken it is met at the next event.
            Standing::Unrenewed | Standing::Held => work.await,
        },
    }
}

/// Whether a stage has something to do in this run. Nobody is asked for a rollback, and nothing is validated for it: it
/// is what was validated before.
fn is_work(work: &Work<'_>, stage: Stage) -> bool {
    let optional = match work.visit.run().opening.operation {
        Operation::Rollback | Operation::Verify => !matches!(stage, Stage::Conditions | Stage::Report),
        _ => matches!(stage, Stage::Migration | Stage::Deployment | Stage::Verification),
    };
    !optional || work.visit.run().plan.as_ref().is_some_and(|(plan, _)| plan.includes(stage))
}

/// The state in which a stage of this run does its work.
fn working(run: &Run, stage: Stage) -> State {
    let back = run.opening.operation == Operation::Rollback;
    match stage {
        Stage::Copy | Stage::Migration | Stage::Deployment if back => State::RollingBack,
        stage => State::working(stage),
    }
}

/// What a rollback has come to, before its reports.
fn back(run: &Run) -> Option<State> {
    if run.opening.operation != Operation::Rollback || !matches!(run.state, State::RollingBack | State::Verifying) {
        return None;
    }
    let good = Stage::ALL.into_iter().all(|stage| run.conclusion(stage).is_none_or(Conclusion::lets_go_on));
    Some(if good { State::RolledBack } else { State::RollbackFailed })
}

async fn begin(work: &mut Work<'_>, stage: Stage) -> Result<(), Fault> {
    let state = working(work.visit.run(), stage);
    let mut events = Vec::new();
    if let Some(to) = back(work.visit.run()).filter(|_| stage == Stage::Report) {
        events.push(Event::StateChanged { to });
    }
    // Whether somebody has to be asked, the stage finds out itself; and what is not configured is no work.
    if work.visit.run().state != state && stage != Stage::Approval && is_work(work, stage) {
        events.push(Event::StateChanged { to: state });
    }
    events.push(Event::StageStarted { stage });
    work.visit.record(events).await
}

/// Whether a visit goes on after a stage.
enum Flow {
    On,
    Parked,
}

/// Runs a stage and records how it ended.
async fn stage_of(work: &mut Work<'_>, stage: Stage) -> Result<Flow, Fault> {
    begin(work, stage).await?;
    let operation = work.visit.run().opening.operation;
    let (rollback, verify) = (operation == Operation::Rollback, operation == Operation::Verify);
    let result = match stage {
        stage if !is_work(work, stage) => Ok(Outcome::not_configured()),
        Stage::Conditions if verify => Box::pin(verify::conditions(work)).await,
        Stage::Verification if verify => Box::pin(verify::run(work)).await,
        Stage::Conditions if rollback => Box::pin(way_back::run(work)).await,
        Stage::Deployment if rollback => Box::pin(way_back::redeploy(work)).await,
        // Boxed, because each is as large as all that it may do.
        Stage::Conditions => Box::pin(conditions::run(work)).await,
        Stage::Approval => Box::pin(approval::run(work)).await,
        Stage::Validation => Box::pin(validation::run(work)).await,
        Stage::Copy => Box::pin(copy::run(work)).await,
        Stage::Deployment => Box::pin(deployment::run(work)).await,
        Stage::Migration => Box::pin(migration::run(work)).await,
        Stage::Verification => Box::pin(verification::run(work)).await,
        Stage::Report => report::run(work).await,
    };
    match result {
        Ok(outcome) if outcome.parked => return Ok(Flow::Parked),
        Ok(outcome) => {
            let mut events = Vec::new();
            // The states of a promotion on its way forward are not those of a rollback.
            let state = outcome.state.filter(|_| !rollback || stage == Stage::Report);
            if let Some(to) = state.filter(|to| *to != work.visit.run().state) {
                events.push(Event::StateChanged { to });
            }
            let (conclusion, note, traffic) = (outcome.conclusion, outcome.note, work.traffic());
            events.push(Event::StageEnded { stage, conclusion, note, traffic });
            work.visit.record(events).await?;
        }
        Err(trouble) => end_badly(work, stage, trouble).await?,
    }
    Ok(Flow::On)
}

/// Records what went wrong in a stage. What the ledger itself refuses cannot be recorded, and ends the visit.
async fn end_badly(work: &mut Work<'_>, stage: Stage, trouble: Trouble) -> Result<(), Fault> {
    let conclusion = trouble.conclusion();
    let ledgers = trouble.is_the_ledgers();
    let mut faults: Vec<Fault> = trouble.faults().into_iter().map(|fault| fault.in_stage(stage)).collect();
    if ledgers {
        faults.sort_by_key(|fault| std::cmp::Reverse(fault.severity));
        return Err(faults.into_iter().next().unwrap_or_else(|| Fault::defect("a trouble without a fault")));
    }
    let mut events: Vec<Event> = faults
        .into_iter()
        .map(|fault| {
            let severity = fault.severity.max(Severity::High);
            Event::Faulted(Box::new(fault.at_severity(severity)))
        })
        .collect();
    let state = match stage {
        Stage::Validation => Some(State::ValidationFailed),
        Stage::Copy => Some(State::PromotionFailed),
        _ => None,
    };
    if let Some(to) = state.filter(|to| work.visit.run().state.may_become(*to)) {
        events.push(Event::StateChanged { to });
    }
    events.push(Event::StageEnded { stage, conclusion, note: None, traffic: work.traffic() });
    work.visit.record(events).await
}

/// Whether the plan of an earlier visit still holds. One that does not ends the run; one that was begun to be carried
/// out is finished, with a warning.
///
/// # Errors
/// What the ledger says.
pub(super) async fn hold_to_the_plan(work: &mut Work<'_>) -> Result<(), Fault> {
    let run = work.visit.run();
    let Some((plan, _)) = &run.plan else { return Ok(()) };
    if run.ended.is_none()
        && !run.changed_the_world()
        && let Err(fault) = migration::hold_to_plan(work)
    {
        return refuse(work, fault).await;
    }
    let now = work.target.configuration.as_ref().map(|(_, checksum)| checksum);
    if run.ended.is_some() || plan.configuration.as_ref() == now {
        return Ok(());
    }
    let text = format!("the configuration of {} has changed since the plan was made", plan.environment);
    let fault = Fault::new(Code::PlanChanged, text);
    if run.changed_the_world() {
        let fault =
            fault.at_severity(Severity::Medium).with_fix("nothing now: what was begun is finished as it was planned");
        return work.visit.note(Event::Faulted(Box::new(fault))).await;
    }
    refuse(work, fault).await
}
