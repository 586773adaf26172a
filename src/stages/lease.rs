//! The lease on the environment: waited for, taken, and what may have changed until it was ours.

use std::time::Duration;

use tokio::time::Instant;

use super::work::Work;
use crate::ledger::{Acquired, Fence, Filter, Head, Heartbeat, Past};
use crate::promotion::fault::{Code, Fault};
use crate::promotion::identity::DeploymentId;
use crate::promotion::stage::Stage;

/// How often a lease that somebody else holds is asked for.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// What came of asking for the lease.
#[derive(Debug)]
pub(super) enum Lease {
    /// It is ours.
    Ours(Heartbeat),
    /// It is ours, and an earlier run has changed the environment since the plan was made: it must be made anew.
    OnAnotherPlan(Heartbeat),
    /// The run must not go on.
    Refused(Box<Fault>),
}

/// Takes the lease, waiting for whoever has it as long as the configuration and the deadline allow; then settles what
/// others left behind in the environment.
///
/// # Errors
/// What the ledger says.
pub(super) async fn take(work: &mut Work<'_>) -> Result<Lease, Fault> {
    let heartbeat = match wait(work).await? {
        Ok(heartbeat) => heartbeat,
        Err(fault) => return Ok(Lease::Refused(Box::new(fault))),
    };
    if let Some(fault) = super::recover::others(work).await? {
        return Ok(Lease::Refused(Box::new(fault)));
    }
    let changes = changes_since_the_plan(work).await?;
    let run = work.visit.run();
    if let Some(later) = changes.iter().find(|past| past.opened_at > run.opened_at) {
        return Ok(Lease::Refused(Box::new(superseded(&later.run, &later.service))));
    }
    Ok(if changes.is_empty() { Lease::Ours(heartbeat) } else { Lease::OnAnotherPlan(heartbeat) })
}

async fn wait(work: &mut Work<'_>) -> Result<Result<Heartbeat, Fault>, Fault> {
    let begin = Instant::now();
    let patience = begin + work.target.environment().settings().gates.lock.wait;
    let deadline = work.deadline();
    let until = deadline.map_or(patience, |deadline| deadline.min(patience));
    loop {
        let (by, held_until) = match work.visit.ledger().acquire(&Head::of(work.visit.run())).await? {
            Acquired::Taken(record) => {
                work.visit.take_in(&[*record])?;
                return ours(work).map(Ok);
            }
            Acquired::Held { by, until } => (by, until),
        };
        let now = Instant::now();
        if now >= until {
            let waited = match begin.elapsed().as_secs() {
                0 => String::new(),
                seconds => format!(", after waiting {}", humantime::format_duration(Duration::from_secs(seconds))),
            };
            let text = format!(
                "{} is being changed by run {by}, which holds it until {} at the least{waited}",
                work.target.environment,
                held_until.format("%H:%M:%S UTC")
            );
            return Ok(Err(if until < patience { out_of_time(&text) } else { taken(text, &by) }));
        }
        work.visit.audience().progress(&format!("waiting for run {by}, which holds {}", work.target.environment));
        tokio::time::sleep(ASK_AGAIN.min(until - now).max(Duration::from_millis(200))).await;
    }
}

fn taken(text: String, by: &DeploymentId) -> Fault {
    Fault::new(Code::LockTaken, text).with_fix(format!(
        "wait for it, or raise `gates.lock.wait`; if its process is gone for good, settle it with `operation: recover` and `deployment-id: {by}`"
    ))
}

fn out_of_time(text: &str) -> Fault {
    Fault::new(Code::DeadlinePassed, format!("the deadline has passed: {text}"))
        .with_fix("raise `timeout`, or wait for the other run")
}

/// The lease that was just taken: everything is written under it, and it is kept.
fn ours(work: &mut Work<'_>) -> Result<Heartbeat, Fault> {
    let opening = &work.visit.run().opening;
    let token = work.visit.run().lease.ok_or_else(|| Fault::defect("a lease without a token"))?;
    let fence = Fence { scope: opening.scope.clone(), environment: opening.environment.clone(), token };
    work.visit.hold(Some(fence.clone()));
    Ok(Heartbeat::start(work.visit.ledger().clone(), fence))
}

/// What other runs did to our services in this environment since our plan was made. A run that has begun to carry out its
/// plan goes on with it.
async fn changes_since_the_plan(work: &Work<'_>) -> Result<Vec<Past>, Fault> {
    let run = work.visit.run();
    let planned = run.stages.iter().rfind(|stage| stage.stage == Stage::Conditions).map(|stage| stage.started_at);
    let Some(planned) = planned.filter(|_| !run.changed_the_world()) else { return Ok(Vec::new()) };
    let history = Filter::history(&run.opening.scope, &run.opening.environment);
    let mut past = work.visit.ledger().past(&history).await?;
    past.retain(|one| {
        one.run != run.id
            && one.changed_the_world
            && one.updated_at >= planned
            && run.opening.services.contains(&one.service)
    });
    Ok(past)
}

fn superseded(later: &DeploymentId, service: &str) -> Fault {
    Fault::new(
        Code::PlanChanged,
        format!("run {later} was begun later, and has changed this environment since the plan was made"),
    )
    .about(service)
    .with_fix("nothing, if the later run is what is wanted; else promote again in a new workflow run")
}
