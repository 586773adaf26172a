//! What runs before a deployment is asked the same as what is deployed: what is broken already is not blamed on it.

use futures_util::future::join_all;

use super::probes::groups;
use super::verification::in_time;
use super::work::Work;
use crate::health::Prepared;
use crate::promotion::event::{Event, Operation};
use crate::promotion::fault::{Code, Fault};
use crate::promotion::health::{Phase, Sample};
use crate::promotion::stage::Stage;

/// How often a probe is asked before the deployment, where there is no window that says it.
const BASELINE: u32 = 3;

/// Asks what holds for every version before anything is changed, of what runs until then: an outage that is there already is not the
/// deployment's, and slowness is measured against it. Of an environment in which nothing runs yet, nothing is asked.
///
/// # Errors
/// What the ledger says; a probe that cannot be filled in.
pub(super) async fn ask(work: &mut Work<'_>) -> Result<(), Fault> {
    let run = work.visit.run();
    let replaces = run.plan.as_ref().is_some_and(|(plan, _)| {
        plan.includes(Stage::Verification)
            && plan.candidates.iter().any(|one| one.image.as_ref().is_none_or(|image| image.previous().is_some()))
    });
    if !replaces || run.health.baseline.is_some() || run.opening.operation != Operation::Promote {
        return Ok(());
    }
    let groups = groups(work)?;
    let wanted = groups.iter().filter(|group| group.health.baseline);
    let asking = wanted.flat_map(|group| {
        let monitored = group.health.monitor.as_ref().map_or(BASELINE, |monitor| monitor.samples);
        let is_lasting = |probe: &&Prepared| group.lasting.contains(&probe.name);
        let probes = group.probes.iter().filter(is_lasting);
        let probes = probes.map(move |probe| several(probe, probe.samples.unwrap_or(monitored)));
        probes.chain(group.smoke.iter().filter(is_lasting).map(|test| several(test, 1)))
    });
    let samples: Vec<Sample> =
        in_time(work, "what runs now is asked", join_all(asking)).await?.into_iter().flatten().collect();
    if samples.is_empty() {
        return Ok(());
    }
    work.visit.note(Event::Probed { phase: Phase::Baseline, samples }).await?;
    let health = &work.visit.run().health;
    let failing: Vec<&str> = health.probes().into_iter().filter(|probe| health.was_failing(probe)).collect();
    if failing.is_empty() {
        return Ok(());
    }
    let text =
        format!("{} failed before anything was changed: that is not blamed on the candidate", failing.join(", "));
    work.visit.note(Event::Faulted(Box::new(Fault::new(Code::ProbeWarned, text)))).await
}

/// A probe asked several times, one after the other.
async fn several(probe: &Prepared, times: u32) -> Vec<Sample> {
    let mut samples = Vec::new();
    for _ in 0..times.max(1) {
        samples.push(probe.ask(false).await.sample);
    }
    samples
}
