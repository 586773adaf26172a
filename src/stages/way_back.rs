//! The conditions of a rollback: what runs now, what it goes back to, and the plan for that.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::drivers::{deployed_services, planned_release};
use super::take_back::put_back;
use super::target::{Route, Service};
use super::targets;
use super::work::{Outcome, Trouble, Work};
use crate::ledger::Past;
use crate::promotion::act;
use crate::promotion::candidate::Platform;
use crate::promotion::deployment::waves;
use crate::promotion::digest::Digest;
use crate::promotion::event::{Event, Operation};
use crate::promotion::fault::{Code, Fault};
use crate::promotion::health::Grade;
use crate::promotion::plan::{Estimate, Plan, Planned, PlannedImage, PlannedTag};
use crate::promotion::run::Run;
use crate::promotion::stage::Stage;
use crate::promotion::state::State;
use crate::promotion::way_back::{Choice, Former, FormerVersion, PassedOver, Rules, choose, choose_version};
use crate::registry::Inspection;

/// Makes the plan of a rollback.
///
/// # Errors
/// [`Code::NoWayBack`] where there is nothing to go back to, with what was said against each that was there; what keeps it
/// from looking.
pub(super) async fn run(work: &mut Work<'_>) -> Result<Outcome, Trouble> {
    for service in &work.target.services {
        work.visit.number(&service.name).await?;
    }
    let taken_back = taken_back(work).await?;
    let mut candidates = Vec::new();
    let mut faults = Vec::new();
    for service in &work.target.services {
        let planned = match &service.image {
            Some(route) => choose_for(work, service, route, taken_back.as_ref()).await.map(|image| (Some(image), None)),
            None => version(work, &service.name, taken_back.as_ref()).await.map(|version| (None, Some(version))),
        };
        match planned {
            Ok((image, version)) => candidates.push(Planned { service: service.name.clone(), image, version }),
            Err(fault) => faults.push(fault.about(&service.name)),
        }
    }
    Trouble::unless_none(faults)?;
    let images: Vec<&PlannedImage> = candidates.iter().filter_map(|planned| planned.image.as_ref()).collect();
    let stages = stages(work, &images);
    if !is_automatic(work, taken_back.as_ref()) {
        mark_bad(work, &candidates).await?;
    }
    let plan = Plan {
        environment: work.target.environment.clone(),
        candidates,
        stages,
        configuration: work.target.configuration.as_ref().map(|(_, checksum)| checksum.clone()),
        inputs: BTreeMap::new(),
    };
    let hash = plan.hash();
    work.visit.note(Event::Planned { plan: Box::new(plan), hash, estimate: Estimate::default() }).await?;
    Ok(Outcome::done())
}

/// The stages that have something to do; none where everything is back already.
fn stages(work: &Work<'_>, images: &[&PlannedImage]) -> Vec<Stage> {
    let settings = |of: fn(&crate::config::Settings) -> bool| {
        work.target.services.iter().any(|service| of(work.target.settings(&service.name)))
    };
    let deploys = settings(|settings| settings.deploy.is_some());
    if !deploys && images.iter().all(|image| image.is_in_place()) {
        return Vec::new();
    }
    let mut stages = vec![Stage::Copy];
    if deploys {
        stages.push(Stage::Deployment);
    }
    if settings(|settings| settings.health.is_some()) {
        stages.push(Stage::Verification);
    }
    stages
}

/// The run that is taken back.
async fn taken_back(work: &Work<'_>) -> Result<Option<Run>, Fault> {
    let Some(id) = work.visit.run().opening.rolls_back.clone() else { return Ok(None) };
    Ok(Some(Run::fold(&work.visit.ledger().load(&id).await?)?))
}

/// Whether it was that run itself that began this one.
fn is_automatic(work: &Work<'_>, taken_back: Option<&Run>) -> bool {
    taken_back.is_some_and(|run| run.rollback.run.as_ref() == Some(&work.visit.run().id))
}

/// What somebody takes back by hand is bad.
async fn mark_bad(work: &mut Work<'_>, candidates: &[Planned]) -> Result<(), Fault> {
    let run = work.visit.run();
    let because = run.opening.reason.clone().unwrap_or_else(|| "it was rolled back by hand".to_owned());
    let replaced = candidates.iter().filter_map(|planned| {
        let image = planned.image.as_ref()?;
        Some((planned.service.clone(), image.previous().filter(|previous| **previous != image.digest)?.clone()))
    });
    let marks: Vec<Event> = replaced
        .filter(|(service, digest)| !run.bad_digests.iter().any(|bad| bad.service == *service && bad.digest == *digest))
        .map(|(service, digest)| Event::MarkedBad { service, digest, because: because.clone() })
        .collect();
    if marks.is_empty() { Ok(()) } else { work.visit.record(marks).await }
}

/// The version that a service without an image goes back to: the one that is named, or the last that ended well before.
async fn version(work: &Work<'_>, service: &str, taken_back: Option<&Run>) -> Result<String, Fault> {
    if let Some(version) = &work.request.version {
        return Ok(version.clone());
    }
    let past = work.past(service).await?;
    let formers: Vec<FormerVersion> = past
        .into_iter()
        .filter(|one| one.changed_the_world)
        .filter_map(|one| {
            Some(FormerVersion {
                version: one.version?,
                verified: one.state == State::CompletedSuccessfully,
                by_rollback: one.operation == Operation::Rollback.name(),
            })
        })
        .collect();
    // Without a run that is taken back it is what the last one has put there.
    let current = taken_back.and_then(|run| run.version(service));
    let current = current.or_else(|| formers.first().map(|former| former.version.as_str()));
    choose_version(&formers, current).map(ToOwned::to_owned).ok_or_else(|| {
        Fault::new(Code::NoWayBack, format!("no run has ever put another version of {service} in place that lived"))
    })
}

/// That what is taken back is still what is there: what somebody else has put there since is not ours to replace.
fn refuse_other(
    work: &Work<'_>,
    service: &str,
    current: Option<&Digest>,
    known: Option<&Digest>,
    taken_back: Option<&Run>,
) -> Result<(), Fault> {
    let Some(run) = taken_back.filter(|_| is_automatic(work, taken_back)) else { return Ok(()) };
    let bad = run.candidate(service).and_then(|candidate| candidate.digest.as_ref());
    if current == bad || (known.is_some() && current == known) {
        return Ok(());
    }
    let now = current.map_or_else(|| "nothing".to_owned(), ToString::to_string);
    let text = format!("{} runs {now} now, which this run has not put there", work.target.environment);
    Err(Fault::new(Code::TargetMoved, text))
}

/// Chooses what a service goes back to, and sees that it is still there.
async fn choose_for(
    work: &mut Work<'_>,
    service: &Service,
    route: &Route,
    taken_back: Option<&Run>,
) -> Result<PlannedImage, Fault> {
    let name = &service.name;
    let current = targets::place(&work.registries(), &route.repository, &route.tag).await?;
    let known = work.visit.run().candidate(name).and_then(|candidate| candidate.digest.clone());
    refuse_other(work, name, current.as_ref(), known.as_ref(), taken_back)?;
    let (digest, inspection) = match known.or_else(|| route.pinned.clone()) {
        Some(digest) => {
            let inspection = inspected(work, name, route, &digest)
                .await?
                .map_err(|why| Fault::new(Code::NoWayBack, format!("{digest} cannot be gone back to: {why}")))?;
            (digest, inspection)
        }
        None => best(work, name, route, current.clone(), taken_back).await?,
    };
    let reference = route.repository.at(digest.clone());
    let facts = Box::new(inspection.facts.clone().bounded());
    work.seen.remember(name, Arc::new(inspection));
    let mut events = Vec::new();
    if work.visit.run().candidate(name).is_some_and(|candidate| candidate.digest.is_none()) {
        events.push(Event::Resolved { service: name.clone(), reference: reference.clone(), digest: digest.clone() });
    }
    events.push(Event::Inspected { service: name.clone(), facts });
    work.visit.record(events).await?;
    let tag = PlannedTag { tag: route.tag.clone(), immutable: false, previous: current };
    Ok(PlannedImage { source: reference, digest, target: route.repository.clone(), tags: vec![tag] })
}

/// The best target that can still be had.
async fn best(
    work: &mut Work<'_>,
    service: &str,
    route: &Route,
    current: Option<Digest>,
    taken_back: Option<&Run>,
) -> Result<(Digest, Inspection), Fault> {
    let settings = &work.target.settings(service).rollback;
    let formers = formers(work, service, taken_back).await?;
    let bad = bad(work, service).await?;
    let mut rules = Rules { current, lived: settings.lived, depth: settings.depth, bad, lost: BTreeMap::new() };
    loop {
        let Choice { target, passed_over } = choose(&formers, &rules);
        let Some(target) = target else { return Err(none_left(service, &rules, &passed_over)) };
        match inspected(work, service, route, &target.digest).await? {
            Ok(inspection) => {
                let (service, digest) = (service.to_owned(), target.digest.clone());
                let event = Event::TargetChosen { service, digest: digest.clone(), of: target.run, passed_over };
                work.visit.note(event).await?;
                return Ok((digest, inspection));
            }
            Err(why) => {
                rules.lost.insert(target.digest, why);
            }
        }
    }
}

fn none_left(service: &str, rules: &Rules, passed_over: &[PassedOver]) -> Fault {
    let current = rules.current.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
    let told: Vec<String> = passed_over.iter().map(|one| format!("{}: {}", one.digest, one.because)).collect();
    let told = if told.is_empty() { "nothing else was ever put there by a run".to_owned() } else { told.join("; ") };
    Fault::new(Code::NoWayBack, format!("{service} runs {current}, and there is nothing to go back to: {told}"))
}

/// Looks at an image with everything that belongs to it. The inner error is why it will not do.
async fn inspected(
    work: &Work<'_>,
    service: &str,
    route: &Route,
    digest: &Digest,
) -> Result<Result<Inspection, String>, Fault> {
    let inspection = match work.registries().inspect(&route.repository, digest).await {
        Ok(inspection) => inspection,
        Err(error) if error.may_be_absent() => return Ok(Err("the registry does not have it any more".to_owned())),
        Err(error) => return Err(error.into()),
    };
    let has = |wanted: &Platform| inspection.facts.platforms.iter().any(|one| one.platform.satisfies(wanted));
    let policy = &work.target.settings(service).validate.policy;
    let missing: Vec<String> = policy.platforms.iter().filter(|wanted| !has(wanted)).map(ToString::to_string).collect();
    Ok(if missing.is_empty() { Ok(inspection) } else { Err(format!("it is not for {}", missing.join(", "))) })
}

/// What a service has had in this environment, the newest first.
async fn formers(work: &Work<'_>, service: &str, taken_back: Option<&Run>) -> Result<Vec<Former>, Fault> {
    let past = work.past(service).await?;
    let changes: Vec<&Past> = past.iter().filter(|one| one.changed_the_world && one.digest.is_some()).collect();
    let mut formers: Vec<Former> = changes
        .iter()
        .enumerate()
        .filter_map(|(place, one)| {
            // It was there from the end of its run to the beginning of the next one that changed something.
            let since = one.ended_at.unwrap_or(one.updated_at);
            let until = if place == 0 { work.visit.run().opened_at } else { changes[place - 1].opened_at };
            Some(Former {
                digest: one.digest.clone()?,
                run: Some(one.run.clone()),
                verified: one.state == State::CompletedSuccessfully,
                lived: Some((until - since).to_std().unwrap_or_default()),
            })
        })
        .collect();
    if let Some(digest) = taken_back.and_then(|run| answered_before(run, service))
        && !formers.iter().any(|former| former.digest == digest)
    {
        formers.insert(0, Former { digest, run: None, verified: true, lived: None });
    }
    Ok(formers)
}

/// What ran before the run that is taken back, where it answered every probe right before it was replaced.
fn answered_before(taken_back: &Run, service: &str) -> Option<Digest> {
    let baseline = taken_back.health.baseline.as_ref()?;
    let answered = !baseline.is_empty() && baseline.iter().all(|sample| sample.grade == Grade::Pass);
    let (plan, _) = taken_back.plan.as_ref()?;
    plan.candidate(service)?.image.as_ref()?.previous().cloned().filter(|_| answered)
}

/// The digests of a service that turned out bad and have not lived since.
async fn bad(work: &Work<'_>, service: &str) -> Result<BTreeMap<Digest, String>, Fault> {
    let opening = &work.visit.run().opening;
    let marks = work.visit.ledger().bad_digests(&opening.scope, &opening.environment, service).await?;
    let past = work.past(service).await?;
    let lived_since = |digest: &Digest, at| {
        past.iter().any(|one| {
            one.digest.as_ref() == Some(digest) && one.state == State::CompletedSuccessfully && one.opened_at > at
        })
    };
    let marks = marks.into_iter().filter(|mark| !lived_since(&mark.digest, mark.at));
    Ok(marks.map(|mark| (mark.digest, mark.because)).collect())
}

/// Puts the releases of the plan back in place by the drivers, in the reverse of the order in which they are deployed.
///
/// # Errors
/// What the ledger says; every service that could not be put back.
pub(super) async fn redeploy(work: &mut Work<'_>) -> Result<Outcome, Trouble> {
    let run = work.visit.run();
    let undoes = run.opening.rolls_back.clone().unwrap_or_else(|| run.id.clone());
    let needs = |name: &String| work.target.service(name).map(|service| service.needs.clone()).unwrap_or_default();
    let services: Vec<_> = deployed_services(work).into_iter().map(|name| (name.clone(), needs(&name))).collect();
    let order: Vec<String> = waves(&services).into_iter().flatten().collect();
    let mut faults = Vec::new();
    for service in order.iter().rev() {
        let is_back = work
            .visit
            .run()
            .taking_back(service)
            .is_some_and(|(_, one)| one.outcome.as_ref().is_some_and(act::Outcome::is_done));
        if is_back {
            continue;
        }
        let release = planned_release(work, service);
        if let Err(fault) = put_back(work, service, release, undoes.clone()).await? {
            faults.push(fault.about(service));
        }
    }
    Trouble::unless_none(faults)?;
    Ok(Outcome::done())
}
