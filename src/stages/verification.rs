//! Stage `verification`: what was deployed settles, becomes ready, passes its probes, and stays well while it is watched.
//!
//! Everything that was asked is recorded, so a visit that was cut off is taken up where it was: what was sampled counts.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::probes::{Group, ask_the_drivers, groups};
use super::work::{Outcome, Trouble, Work};
use crate::config::{Flapping, Monitor};
use crate::health::{Answer, Prepared};
use crate::promotion::event::{Event, Operation};
use crate::promotion::fault::{Code, Fault};
use crate::promotion::health::{Grade, Health, Phase, Sample, Watched};
use crate::promotion::stage::Stage;
use crate::promotion::window::{self, Rules};

/// How often it is said that it is waited.
const TOLD: Duration = Duration::from_secs(5);

/// How long the samples of a tick are spread over, at the most.
const SPREAD: Duration = Duration::from_secs(5);

/// The longest wait before something that could not be asked is asked again in its tick.
const AGAIN: Duration = Duration::from_secs(10);

/// A verdict, with the probes that brought it about.
struct Verdict {
    health: Health,
    because: String,
    culprits: BTreeSet<String>,
}

/// Finds out whether what was deployed lives.
///
/// # Errors
/// [`Code::Unhealthy`] when it does not, [`Code::HealthUnknown`] when that cannot be told, [`Code::DeadlinePassed`].
pub(super) async fn run(work: &mut Work<'_>) -> Result<Outcome, Trouble> {
    let (groups, unasked) = match everything(work) {
        Ok(everything) => everything,
        // A later job may lack what an earlier one had: that says nothing of what was deployed.
        Err(fault) if work.visit.run().changed_the_world() => {
            let because = fault.message.clone();
            work.visit.note(Event::HealthJudged { health: Health::Inconclusive, because }).await?;
            return Err(fault.into());
        }
        Err(fault) => return Err(fault.into()),
    };
    if groups.is_empty() {
        return Ok(Outcome::not_configured());
    }
    let mut warned = BTreeSet::new();
    for unasked in unasked {
        warn(work, unasked, &mut warned).await?;
    }
    let verdict = match find_out(work, &groups, &mut warned).await? {
        Some(verdict) => attributed(work, verdict),
        None => Verdict { health: Health::Healthy, because: watched(work), culprits: BTreeSet::new() },
    };
    let Verdict { health, because, .. } = verdict;
    work.visit.note(Event::HealthJudged { health, because: because.clone() }).await?;
    match health {
        Health::Healthy => Ok(Outcome::done().saying(because)),
        Health::Unhealthy => Err(Fault::new(Code::Unhealthy, because).into()),
        Health::Inconclusive => Err(Fault::new(Code::HealthUnknown, because).into()),
    }
}

/// Everything that is to be asked, and what keeps a driver from being asked beside it.
fn everything(work: &mut Work<'_>) -> Result<(Vec<Group>, Vec<String>), Fault> {
    let mut groups = groups(work)?;
    // Where it is only looked, what runs is held against what was verified.
    let unasked = match work.visit.run().opening.operation {
        Operation::Verify => Vec::new(),
        _ => ask_the_drivers(work, &mut groups)?,
    };
    Ok((groups, unasked))
}

/// Everything that is asked, one after the other. A verdict as soon as there is a bad one; none where all is well.
async fn find_out(
    work: &mut Work<'_>,
    groups: &[Group],
    warned: &mut BTreeSet<String>,
) -> Result<Option<Verdict>, Trouble> {
    // What has been there for long has settled, and is not watched.
    let only_looks = work.visit.run().opening.operation == Operation::Verify;
    if !only_looks {
        settle(work, groups).await?;
        if let Some(verdict) = ready(work, groups).await? {
            return Ok(Some(verdict));
        }
    }
    // What an earlier visit was answered counts, also where it was cut off before it said so.
    if work.visit.run().health.check.is_none() {
        check(work, groups, warned).await?;
    }
    if let Some(verdict) = checked(work, groups) {
        return Ok(Some(verdict));
    }
    if work.visit.run().health.smoke.is_none() {
        smoke(work, groups).await?;
    }
    if let Some(verdict) = work.visit.run().health.smoke.as_deref().and_then(missed) {
        return Ok(Some(verdict));
    }
    if only_looks { Ok(None) } else { watch(work, groups, warned).await }
}

/// What can be said of a window in which nothing went wrong.
fn watched(work: &Work<'_>) -> String {
    let health = &work.visit.run().health;
    let critical = health.watched.iter().filter(|one| one.critical);
    let told: Vec<String> = critical
        .map(|one| format!("{}: {}", one.probe, window::judge(&one.rules, &health.in_window(&one.probe)).because))
        .collect();
    if told.is_empty() { "every critical probe passed".to_owned() } else { told.join("; ") }
}

/// An outage that was there before the deployment is not blamed on it.
fn attributed(work: &Work<'_>, verdict: Verdict) -> Verdict {
    let health = &work.visit.run().health;
    let old = verdict.health == Health::Unhealthy
        && !verdict.culprits.is_empty()
        && verdict.culprits.iter().all(|probe| health.was_failing(probe));
    if !old {
        return verdict;
    }
    let because = format!("{}; it failed already before the deployment, which is not to blame for it", verdict.because);
    Verdict { health: Health::Inconclusive, because, ..verdict }
}

/// The deadline of the step counts here too: a window that does not fit into it cannot be watched to its end.
fn refuse_when_late(work: &Work<'_>) -> Result<(), Fault> {
    match work.tools.deadline {
        Some(deadline) if deadline <= Instant::now() => Err(Fault::new(
            Code::DeadlinePassed,
            "the deadline passed before it was known whether what was deployed lives",
        )),
        _ => Ok(()),
    }
}

/// Waits, says so, and notices the deadline.
async fn wait(work: &Work<'_>, until: Instant, what: &str) -> Result<(), Fault> {
    loop {
        refuse_when_late(work)?;
        let now = Instant::now();
        if now >= until {
            return Ok(());
        }
        let left = until - now;
        work.visit.audience().progress(&format!("{what}: {} left", whole_seconds(left)));
        let deadline = work.tools.deadline.map_or(left, |deadline| deadline.saturating_duration_since(now));
        tokio::time::sleep(left.min(TOLD).min(deadline.max(Duration::from_millis(1)))).await;
    }
}

fn whole_seconds(time: Duration) -> String {
    humantime::format_duration(Duration::from_secs(time.as_secs())).to_string()
}

/// Lets it settle: from the moment when the stage was first begun.
async fn settle(work: &mut Work<'_>, groups: &[Group]) -> Result<(), Fault> {
    let settle = groups.iter().map(|group| group.health.settle).max().unwrap_or_default();
    let run = work.visit.run();
    if settle.is_zero() || run.health.check.is_some() || run.health.readiness > 0 {
        return Ok(());
    }
    let begun = run.stages.iter().find(|one| one.stage == Stage::Verification).map(|one| one.started_at);
    let passed = begun.and_then(|begun| (run.updated_at - begun).to_std().ok()).unwrap_or_default();
    wait(work, Instant::now() + settle.saturating_sub(passed), "it settles").await
}

/// Waits until the new version answers, where the configuration says so.
async fn ready(work: &mut Work<'_>, groups: &[Group]) -> Result<Option<Verdict>, Fault> {
    let waiting: Vec<_> = groups.iter().filter_map(|group| Some((group, group.health.readiness.as_ref()?))).collect();
    if waiting.is_empty() || work.visit.run().health.ready || work.visit.run().health.check.is_some() {
        return Ok(None);
    }
    for (group, readiness) in waiting {
        let critical: Vec<&Prepared> = group.probes.iter().filter(|probe| probe.critical).collect();
        let until = Instant::now() + readiness.timeout;
        let mut row = 0;
        while row < readiness.consecutive {
            refuse_when_late(work)?;
            let answers = join_all(critical.iter().map(|probe| probe.ask(readiness.identity))).await;
            let samples: Vec<Sample> = answers.into_iter().map(|answer| answer.sample).collect();
            let good = samples.iter().all(|sample| sample.grade == Grade::Pass);
            work.visit.note(Event::Probed { phase: Phase::Readiness, samples: samples.clone() }).await?;
            row = if good { row + 1 } else { 0 };
            if row < readiness.consecutive && Instant::now() + group.health.interval >= until {
                let because = format!("it did not become ready within {}", whole_seconds(readiness.timeout));
                return Ok(Some(not_ready(&samples, because)));
            }
            if row < readiness.consecutive {
                wait(work, Instant::now() + group.health.interval, "it becomes ready").await?;
            }
        }
    }
    work.visit.note(Event::BecameReady).await?;
    Ok(None)
}

/// What samples of critical probes mean that did not pass: what failed counts before what could not be asked.
fn missed(samples: &[Sample]) -> Option<Verdict> {
    let worst = samples.iter().map(|sample| sample.grade).max()?;
    let health = match worst {
        Grade::Pass => return None,
        Grade::Error => Health::Inconclusive,
        Grade::Fail => Health::Unhealthy,
    };
    let of_the_worst = || samples.iter().filter(|sample| sample.grade == worst);
    let told: Vec<String> = of_the_worst()
        .map(|sample| format!("{}: {}", sample.probe, sample.note.as_deref().unwrap_or("it does not answer")))
        .collect();
    Some(Verdict {
        health,
        because: told.join("; "),
        culprits: of_the_worst().map(|sample| sample.probe.clone()).collect(),
    })
}

/// What it means that it did not become ready in time, by what was answered last.
fn not_ready(samples: &[Sample], because: String) -> Verdict {
    match missed(samples) {
        Some(verdict) => Verdict { because: format!("{because}: {}", verdict.because), ..verdict },
        None => Verdict { health: Health::Unhealthy, because, culprits: BTreeSet::new() },
    }
}

/// Asks everything before the window, each probe as patiently as the configuration says.
async fn check(work: &mut Work<'_>, groups: &[Group], warned: &mut BTreeSet<String>) -> Result<(), Fault> {
    let probes: Vec<&Prepared> = groups.iter().flat_map(|group| &group.probes).collect();
    let asking = join_all(probes.iter().map(|probe| probe.ask_patiently(true)));
    let answers = in_time(work, "its probes are asked", asking).await?;
    record(work, Phase::Check, &answers, warned).await?;
    let others = answers.iter().zip(&probes).filter(|(_, probe)| !probe.critical);
    let others: Vec<Sample> = others.map(|(answer, _)| answer.sample.clone()).collect();
    if let Some(other) = missed(&others) {
        warn(work, format!("a probe that is not critical fails: {}", other.because), warned).await?;
    }
    Ok(())
}

/// What the critical probes have answered before the window.
fn checked(work: &Work<'_>, groups: &[Group]) -> Option<Verdict> {
    let is_critical = |name: &str| {
        let mut probes = groups.iter().flat_map(|group| &group.probes);
        probes.any(|probe| probe.critical && probe.name == name)
    };
    let asked = work.visit.run().health.check.iter().flatten();
    let samples: Vec<Sample> = asked.filter(|sample| is_critical(&sample.probe)).cloned().collect();
    missed(&samples)
}

/// Does something, and says that it goes on.
pub(super) async fn in_time<T>(work: &Work<'_>, what: &str, doing: impl Future<Output = T>) -> Result<T, Fault> {
    tokio::pin!(doing);
    loop {
        tokio::select! {
            done = &mut doing => return Ok(done),
            () = tokio::time::sleep(TOLD) => {
                refuse_when_late(work)?;
                work.visit.audience().progress(what);
            }
        }
    }
}

async fn smoke(work: &mut Work<'_>, groups: &[Group]) -> Result<(), Fault> {
    let tests: Vec<&Prepared> = groups.iter().filter_map(|group| group.smoke.as_ref()).collect();
    if tests.is_empty() {
        return Ok(());
    }
    let answers = in_time(work, "the smoke test goes on", join_all(tests.iter().map(|test| test.ask(true)))).await?;
    let samples = answers.into_iter().map(|answer| answer.sample).collect();
    work.visit.note(Event::Probed { phase: Phase::Smoke, samples }).await
}

/// Records what was asked, and what should be known of it, once.
async fn record(
    work: &mut Work<'_>,
    phase: Phase,
    answers: &[Answer],
    warned: &mut BTreeSet<String>,
) -> Result<(), Fault> {
    let samples = answers.iter().map(|answer| answer.sample.clone()).collect();
    work.visit.note(Event::Probed { phase, samples }).await?;
    for answer in answers {
        if let Some(warning) = &answer.warning {
            warn(work, format!("{}: {warning}", answer.sample.probe), warned).await?;
        }
    }
    Ok(())
}

async fn warn(work: &mut Work<'_>, text: String, warned: &mut BTreeSet<String>) -> Result<(), Fault> {
    if !warned.insert(text.clone()) {
        return Ok(());
    }
    let fault = Fault::new(Code::ProbeWarned, text).in_stage(Stage::Verification);
    work.visit.note(Event::Faulted(Box::new(fault))).await
}

/// A group that is watched.
struct Window<'a> {
    probes: &'a [Prepared],
    monitor: &'a Monitor,
    /// How many ticks are over.
    done: u32,
    next: Instant,
}

/// Watches, tick by tick, until the verdict cannot change.
async fn watch(
    work: &mut Work<'_>,
    groups: &[Group],
    warned: &mut BTreeSet<String>,
) -> Result<Option<Verdict>, Trouble> {
    let monitored = || groups.iter().filter_map(|group| Some((group, group.health.monitor.as_ref()?)));
    let Some(every) = monitored().map(|(_, monitor)| monitor.every).min() else { return Ok(None) };
    let begun = !work.visit.run().health.watched.is_empty();
    if !begun {
        let probes = monitored().flat_map(|(group, monitor)| rules(work, group, monitor)).collect();
        let every_ms = u64::try_from(every.as_millis()).unwrap_or(u64::MAX);
        work.visit.note(Event::WatchBegun { every_ms, probes }).await?;
    }
    let mut windows: Vec<Window<'_>> = monitored()
        .map(|(group, monitor)| {
            let done = ticks_of(work, &group.probes);
            // A visit that takes a window up goes on at once.
            let first = if done > 0 { Duration::ZERO } else { monitor.every };
            Window { probes: &group.probes, monitor, done, next: Instant::now() + first }
        })
        .collect();
    loop {
        if let Some(verdict) = judged(work) {
            for warning in remarks(work) {
                warn(work, warning, warned).await?;
            }
            return Ok((verdict.health != Health::Healthy).then_some(verdict));
        }
        let next =
            windows.iter_mut().filter(|window| window.done < planned(window.monitor)).min_by_key(|window| window.next);
        let Some(window) = next else { return Err(Fault::defect("a window without a verdict").into()) };
        wait(work, window.next, "it is watched").await?;
        let answers = in_time(work, "it is watched", tick(window.probes, window.monitor)).await?;
        window.done += 1;
        window.next += window.monitor.every;
        record(work, Phase::Tick(window.done), &answers, warned).await?;
    }
}

/// How many ticks of a group are over.
fn ticks_of(work: &Work<'_>, probes: &[Prepared]) -> u32 {
    let health = &work.visit.run().health;
    let of = |tick: &&Vec<Sample>| tick.iter().any(|one| probes.iter().any(|probe| probe.name == one.probe));
    u32::try_from(health.ticks.iter().filter(of).count()).unwrap_or(u32::MAX)
}

fn planned(monitor: &Monitor) -> u32 {
    let ticks = monitor.r#for.as_millis() / monitor.every.as_millis().max(1);
    u32::try_from(ticks).unwrap_or(u32::MAX).max(1)
}

/// By which rules a group's probes are judged.
fn rules(work: &Work<'_>, group: &Group, monitor: &Monitor) -> Vec<Watched> {
    let health = &work.visit.run().health;
    let slowest = |probe: &str| {
        let (latency, before) = (monitor.latency.as_ref()?, health.baseline_median(probe)?);
        let times = (f64::from(before) * latency.factor).ceil();
        let by = u32::try_from(latency.by.as_millis()).unwrap_or(u32::MAX);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a float's cast to an integer saturates"
        )]
        let times = times as u32;
        Some(times.max(before.saturating_add(by)))
    };
    let one = |probe: &Prepared| Watched {
        probe: probe.name.clone(),
        critical: probe.critical,
        rules: Rules { slowest: slowest(&probe.name), ..rules_of(monitor, probe.samples) },
    };
    group.probes.iter().map(one).collect()
}

/// The rules of a window for a probe that is asked so often in a tick, without what is only known from before the
/// deployment.
pub(super) fn rules_of(monitor: &Monitor, samples: Option<u32>) -> Rules {
    Rules {
        ticks: planned(monitor),
        samples: samples.unwrap_or(monitor.samples),
        consecutive_failures: monitor.consecutive_failures,
        success_rate: monitor.success_rate.basis_points(),
        flaps: monitor.flaps,
        flapping_fails: monitor.flapping == Flapping::Fail,
        slowest: None,
    }
}

/// All probes of a tick, each several times, spread over its first seconds. What could not be asked is asked again as
/// long as there is time: that is no answer, and no failure.
async fn tick(probes: &[Prepared], monitor: &Monitor) -> Vec<Answer> {
    let spread = SPREAD.min(monitor.every / 3);
    let again = AGAIN.min(monitor.every / 6);
    let latest = Instant::now() + monitor.every / 2;
    let asking = probes.iter().flat_map(|probe| {
        let samples = probe.samples.unwrap_or(monitor.samples).max(1);
        (0..samples).map(move |number| async move {
            tokio::time::sleep(spread * number / samples).await;
            loop {
                let answer = probe.ask(true).await;
                if answer.sample.grade != Grade::Error || Instant::now() + again >= latest {
                    return answer;
                }
                tokio::time::sleep(again).await;
            }
        })
    });
    join_all(asking).await
}

/// One probe's samples in a tick.
type Ticked = Vec<(Grade, u32)>;

/// The verdict over all critical probes, as soon as it cannot change.
fn judged(work: &Work<'_>) -> Option<Verdict> {
    let health = &work.visit.run().health;
    let critical: Vec<(&Watched, Vec<Ticked>)> =
        health.watched.iter().filter(|one| one.critical).map(|one| (one, health.in_window(&one.probe))).collect();
    let judgements: Vec<_> =
        critical.iter().map(|(one, ticks)| (*one, window::judge(&one.rules, ticks), ticks)).collect();
    let verdict = window::worst(judgements.iter().map(|(one, judgement, ticks)| {
        judgement.verdict.or_else(|| window::is_lost(&one.rules, ticks).then_some(Health::Inconclusive))
    }))?;
    let decisive: Vec<_> = judgements
        .iter()
        .filter(|(_, judgement, _)| verdict != Health::Unhealthy || judgement.verdict == Some(Health::Unhealthy))
        .collect();
    let told: Vec<String> = decisive
        .iter()
        .filter(|(_, judgement, _)| judgement.verdict == Some(verdict))
        .map(|(one, judgement, _)| format!("{}: {}", one.probe, judgement.because))
        .collect();
    let because = if told.is_empty() { "too much could not be asked to tell".to_owned() } else { told.join("; ") };
    Some(Verdict { health: verdict, because, culprits: decisive.iter().map(|(one, ..)| one.probe.clone()).collect() })
}

/// What should be known of a window beside its verdict.
fn remarks(work: &Work<'_>) -> Vec<String> {
    let health = &work.visit.run().health;
    let mut remarks = Vec::new();
    for one in &health.watched {
        let judgement = window::judge(&one.rules, &health.in_window(&one.probe));
        if judgement.flapping {
            remarks.push(format!("{} changes between well and unwell", one.probe));
        }
        if !one.critical && judgement.verdict == Some(Health::Unhealthy) {
            remarks.push(format!("a probe that is not critical fails: {}: {}", one.probe, judgement.because));
        }
    }
    remarks
}
