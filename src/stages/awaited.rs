//! What a run cannot take back is asked of people: they are told what to do, it is seen when they have done it, it is
//! verified, and as long as nobody has, those are told who are named for that.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::{Instant, sleep};

use super::drivers::{deployed_release, deployed_services, driver_of, order};
use super::probes::groups;
use super::target::Target;
use super::targets;
use super::work::Work;
use crate::config::{Rollback, WhilePending};
use crate::pace;
use crate::promotion::digest::Digest;
use crate::promotion::event::{Event, Operation};
use crate::promotion::fault::{Code, Fault};
use crate::promotion::health::Grade;
use crate::promotion::run::AskedBack;
use crate::promotion::stage::Stage;
use crate::promotion::state::State;

/// What came of waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waited {
    /// It is over: people have done it, or nobody has in time.
    Over,
    /// Nobody has yet, and this visit does not wait.
    Parked,
}

/// What is seen of the environment.
enum Sight {
    /// It is back, and lives; where each service is.
    Back(BTreeMap<String, Digest>),
    /// It is not, and why.
    NotYet(String),
}

/// How people are asked in a run's environment; none where the run does not wait for them.
pub(super) fn settings(target: &Target) -> Option<(&Rollback, WhilePending)> {
    target.services.iter().find_map(|service| {
        let rollback = &target.settings(&service.name).rollback;
        Some((rollback, rollback.waits()?))
    })
}

/// The events with which people are asked, where they are.
pub(super) fn asking(work: &Work<'_>) -> Vec<Event> {
    let Some((rollback, how)) = settings(work.target) else { return Vec::new() };
    if work.visit.run().opening.operation != Operation::Promote {
        return Vec::new();
    }
    let timeout = TimeDelta::from_std(rollback.timeout).unwrap_or(TimeDelta::MAX);
    let until = Utc::now().checked_add_signed(timeout).unwrap_or(DateTime::<Utc>::MAX_UTC);
    let mut events = vec![Event::RollbackAsked { until }];
    if how == WhilePending::Park && !work.request.files.is_empty() {
        events.push(Event::FilesKept { files: work.request.files.clone() });
    }
    events
}

/// Waits until people have taken back what this run has deployed, or looks once, where the run is parked meanwhile. The
/// lease must not be held: they need it.
///
/// # Errors
/// What the ledger says.
pub(super) async fn wait(work: &mut Work<'_>) -> Result<Waited, Fault> {
    let Some((rollback, how)) = settings(work.target).map(|(rollback, how)| (rollback.clone(), how)) else {
        return give_up(work, "the configuration asks nobody any more").await;
    };
    work.visit.finish_telling().await?;
    let mut told = None;
    loop {
        let asked = asked(work)?;
        let why = match look(work, &asked).await {
            Ok(Sight::Back(to)) => return conclude(work, to).await,
            Ok(Sight::NotYet(why)) => why,
            Err(fault) => format!("it cannot be looked: {}", fault.message),
        };
        if told.as_ref() != Some(&why) {
            let until = asked.until.format("%Y-%m-%d %H:%M:%S UTC");
            work.visit.audience().waiting(&format!("waiting until {until} for people to take it back: {why}"));
            told = Some(why.clone());
        }
        if Utc::now() >= asked.until {
            return give_up(work, &format!("nobody has taken it back in time: {why}")).await;
        }
        escalate(work, &rollback, &asked).await?;
        if how == WhilePending::Park {
            return Ok(Waited::Parked);
        }
        if work.tools.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return give_up(work, &format!("the deadline of this step passed, and nobody has taken it back: {why}"))
                .await;
        }
        sleep(pause(work, &rollback, &asked)).await;
    }
}

fn asked(work: &Work<'_>) -> Result<AskedBack, Fault> {
    work.visit.run().rollback.asked.clone().ok_or_else(|| Fault::defect("nobody is asked to take it back"))
}

/// When those are told next who are told when nobody does anything.
fn next_escalation(rollback: &Rollback, asked: &AskedBack) -> DateTime<Utc> {
    let after = TimeDelta::from_std(rollback.escalate_after).unwrap_or(TimeDelta::MAX);
    let times = i32::try_from(asked.escalations + 1).unwrap_or(i32::MAX);
    after.checked_mul(times).and_then(|after| asked.at.checked_add_signed(after)).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

async fn escalate(work: &mut Work<'_>, rollback: &Rollback, asked: &AskedBack) -> Result<(), Fault> {
    if rollback.escalate.is_empty() || Utc::now() < next_escalation(rollback, asked) {
        return Ok(());
    }
    let event = Event::RollbackEscalated { number: asked.escalations + 1, channels: rollback.escalate.clone() };
    work.visit.note(event).await?;
    work.visit.finish_telling().await
}

/// How long until it is looked again: not past anybody's patience.
fn pause(work: &Work<'_>, rollback: &Rollback, asked: &AskedBack) -> Duration {
    let next = match rollback.escalate.is_empty() {
        true => asked.until,
        false => asked.until.min(next_escalation(rollback, asked)),
    };
    let left = (next - Utc::now()).to_std().unwrap_or_default() + Duration::from_millis(50);
    let pause = pace::gates().min(left);
    work.tools.deadline.map_or(pause, |deadline| pause.min(deadline.saturating_duration_since(Instant::now())))
}

/// Looks whether what this run has deployed is gone, and whether what is there instead lives.
async fn look(work: &mut Work<'_>, asked: &AskedBack) -> Result<Sight, Fault> {
    if let Some(to) = later(work, asked).await? {
        return Ok(Sight::Back(to));
    }
    let mut to = BTreeMap::new();
    for (service, image) in work.images() {
        let Some(tag) = image.tags.iter().find(|tag| !tag.immutable) else { continue };
        match targets::place(&work.registries(), &image.target, &tag.tag).await? {
            Some(now) if now != image.digest => to.insert(service, now),
            found => {
                let reference = image.target.tagged(tag.tag.clone());
                let why = match found {
                    Some(_) => format!("{reference} points to {}", image.digest),
                    None => format!("{reference} does not exist"),
                };
                return Ok(Sight::NotYet(why));
            }
        };
    }
    if let Some(why) = still_runs(work).await? {
        return Ok(Sight::NotYet(why));
    }
    for probe in groups(work)?.iter().flat_map(|group| &group.probes).filter(|probe| probe.critical) {
        if probe.shows_identity() && probe.ask(true).await.sample.grade == Grade::Pass {
            return Ok(Sight::NotYet(format!("{}: the version that was promoted answers still", probe.name)));
        }
        let sample = probe.ask_patiently(false).await.sample;
        if sample.grade != Grade::Pass {
            let why = sample.note.unwrap_or_else(|| "it does not answer".to_owned());
            return Ok(Sight::NotYet(format!("what is there now does not live: {}: {why}", probe.name)));
        }
    }
    Ok(Sight::Back(to))
}

/// What later runs have left of all our services, where each of them has ended well.
async fn later(work: &Work<'_>, asked: &AskedBack) -> Result<Option<BTreeMap<String, Digest>>, Fault> {
    let mut to = BTreeMap::new();
    for service in &work.visit.run().opening.services {
        let past = work.past(service).await?;
        let good = past.iter().find(|one| {
            one.opened_at >= asked.at && one.changed_the_world && one.state == State::CompletedSuccessfully
        });
        let Some(good) = good else { return Ok(None) };
        to.extend(good.digest.clone().map(|digest| (service.clone(), digest)));
    }
    Ok(Some(to))
}

/// What runs that should be gone, by the drivers that can tell. A service without an image whose driver cannot is only
/// taken back by another run.
async fn still_runs(work: &mut Work<'_>) -> Result<Option<String>, Fault> {
    for service in deployed_services(work) {
        let Some(driver) = driver_of(work, &service)? else { continue };
        let release = deployed_release(work, &service);
        let without_image = release.image.is_none();
        let bad = (release.digest.clone(), release.version.clone());
        let asked = order(work, &service, release, None, String::new());
        let running = driver.running(&asked).await.map_err(|fault| fault.about(&service))?;
        if running.is_empty() && without_image {
            return Ok(Some(format!("what runs of {service} cannot be seen; take it back with `operation: rollback`")));
        }
        let is_bad = |digest: &Option<Digest>, version: &Option<String>| {
            (digest.is_some() && *digest == bad.0) || (digest.is_none() && version.is_some() && *version == bad.1)
        };
        if let Some(one) = running.iter().find(|one| is_bad(&one.digest, &one.version)) {
            return Ok(Some(format!("{} runs what was promoted", one.at)));
        }
    }
    Ok(None)
}

async fn conclude(work: &mut Work<'_>, to: BTreeMap<String, Digest>) -> Result<Waited, Fault> {
    let run = work.visit.run().rollback.run.clone();
    work.visit
        .record(vec![Event::RollbackEnded { run, good: true, to }, Event::StateChanged { to: State::RolledBack }])
        .await?;
    Ok(Waited::Over)
}

async fn give_up(work: &mut Work<'_>, why: &str) -> Result<Waited, Fault> {
    let run = work.visit.run();
    let text = format!("{} stays on a version that does not live: {why}", run.opening.environment);
    let fault = Fault::new(Code::RollbackFailed, text)
        .in_stage(Stage::Verification)
        .with_fix(super::rollback::instructions(run, None));
    let run = run.rollback.run.clone();
    work.visit
        .record(vec![
            Event::Faulted(Box::new(fault)),
            Event::RollbackEnded { run, good: false, to: BTreeMap::new() },
            Event::StateChanged { to: State::RollbackFailed },
        ])
        .await?;
    Ok(Waited::Over)
}
