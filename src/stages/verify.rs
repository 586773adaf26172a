//! `operation: verify`: whether an environment lives, and whether it still is what was verified there.

use super::drivers::{deployed_services, driver_of, last_verified, order};
use super::targets;
use super::verification;
use super::work::{Outcome, Trouble, Work};
use crate::promotion::deployment::{Release, Running};
use crate::promotion::event::Event;
use crate::promotion::fault::{Code, Fault};
use crate::promotion::plan::{Estimate, Plan, Planned, PlannedImage, PlannedTag};
use crate::promotion::stage::Stage;

/// Looks where every tag points. Nothing is going to be changed.
///
/// # Errors
/// [`Code::ImageAbsent`] for a tag that is not there; what keeps it from looking.
pub(super) async fn conditions(work: &mut Work<'_>) -> Result<Outcome, Trouble> {
    let mut candidates = Vec::new();
    let mut faults = Vec::new();
    for service in &work.target.services {
        let mut planned = Planned { service: service.name.clone(), image: None, version: work.request.version.clone() };
        if let Some(route) = &service.image {
            let reference = route.repository.tagged(route.tag.clone());
            let Some(digest) = targets::place(&work.registries(), &route.repository, &route.tag).await? else {
                faults.push(Fault::new(Code::ImageAbsent, format!("{reference} does not exist")).about(&service.name));
                continue;
            };
            let (service, digest_too) = (service.name.clone(), digest.clone());
            if work.visit.run().candidate(&service).is_some_and(|candidate| candidate.digest.is_none()) {
                let event = Event::Resolved { service, reference: reference.clone(), digest: digest_too };
                work.visit.note(event).await?;
            }
            let tag = PlannedTag { tag: route.tag.clone(), immutable: false, previous: Some(digest.clone()) };
            let target = route.repository.clone();
            planned.image = Some(PlannedImage { source: reference, digest, target, tags: vec![tag] });
            planned.version = None;
        }
        candidates.push(planned);
    }
    Trouble::unless_none(faults)?;
    let plan = Plan {
        environment: work.target.environment.clone(),
        candidates,
        stages: vec![Stage::Verification],
        configuration: work.target.configuration.as_ref().map(|(_, checksum)| checksum.clone()),
        inputs: std::collections::BTreeMap::new(),
    };
    let hash = plan.hash();
    work.visit.note(Event::Planned { plan: Box::new(plan), hash, estimate: Estimate::default() }).await?;
    Ok(Outcome::done())
}

/// Asks every probe once, with retries, and holds what is there against what was verified there.
///
/// # Errors
/// As the stage `verification`; [`Code::Drift`] for what is another than what was verified.
pub(super) async fn run(work: &mut Work<'_>) -> Result<Outcome, Trouble> {
    let health = Box::pin(verification::run(work)).await;
    // Who cannot tell what runs does not hide that it does not live.
    let mut faults = drift(work).await.unwrap_or_else(|fault| vec![fault]);
    match health {
        Ok(outcome) => {
            Trouble::unless_none(faults)?;
            Ok(outcome)
        }
        Err(trouble) => {
            faults.splice(0..0, trouble.faults());
            Trouble::unless_none(faults)?;
            Ok(Outcome::done())
        }
    }
}

async fn drift(work: &mut Work<'_>) -> Result<Vec<Fault>, Fault> {
    let mut faults = Vec::new();
    for (service, image) in work.images() {
        let Some((verified, run)) = last_verified(work, &service).await? else { continue };
        let Some(verified) = verified.digest.filter(|verified| image.digest != *verified) else { continue };
        let reference = image.target.tagged(image.tags[0].tag.clone());
        let text = format!("{reference} points to {}, and {verified} was verified there by run {run}", image.digest);
        faults.push(Fault::new(Code::Drift, text).about(&service));
    }
    for service in deployed_services(work) {
        let Some((verified, run)) = last_verified(work, &service).await? else { continue };
        let Some(driver) = driver_of(work, &service)? else { continue };
        let asked = order(work, &service, verified.clone(), None, String::new());
        let running = driver.running(&asked).await.map_err(|fault| fault.about(&service))?;
        for other in running.iter().filter_map(|one| another(&verified, one)) {
            let text = format!("{service} runs {other}, and {verified} was verified there by run {run}");
            faults.push(Fault::new(Code::Drift, text).about(&service));
        }
    }
    Ok(faults)
}

/// What runs, where it is known to be another than what was verified.
fn another(verified: &Release, running: &Running) -> Option<String> {
    match (&verified.digest, &running.digest) {
        (Some(verified), Some(digest)) => (digest != verified).then(|| digest.to_string()),
        (None, _) => {
            let version = running.version.as_ref().filter(|version| Some(*version) != verified.version.as_ref())?;
            Some(format!("version {version}"))
        }
        _ => None,
    }
}
