//! The drivers of a run's services, and what they are told.

use std::sync::Arc;

use super::work::Work;
use crate::config;
use crate::deploy::{self, Driver, Facts, Order};
use crate::promotion::deployment::{Release, Running, uniform};
use crate::promotion::digest::Digest;
use crate::promotion::fault::Fault;
use crate::promotion::identity::DeploymentId;
use crate::promotion::state::State;

/// A service's driver. Services whose settings are the same share one, and so its tokens.
///
/// # Errors
/// A secret that is not set, a file that is not there; nothing where the service is not deployed is [`None`].
pub(super) fn driver_of(work: &mut Work<'_>, service: &str) -> Result<Option<Arc<dyn Driver>>, Fault> {
    let Some(settings) = &work.target.settings(service).deploy else { return Ok(None) };
    if let Some((_, known)) = work.seen.drivers.iter().find(|(known, _)| known == settings) {
        return Ok(Some(Arc::clone(known)));
    }
    let driver: Arc<dyn Driver> =
        deploy::driver(settings, &work.tools.kit()).map_err(|fault| fault.about(service))?.into();
    work.seen.drivers.push((settings.clone(), Arc::clone(&driver)));
    Ok(Some(driver))
}

/// A driver as it was built once.
pub(super) type Known = (config::Driver, Arc<dyn Driver>);

/// The services of the run that are deployed, in the order of the configuration.
pub(super) fn deployed_services(work: &Work<'_>) -> Vec<String> {
    let is_deployed = |name: &&String| work.target.settings(name).deploy.is_some();
    work.target.services.iter().map(|service| &service.name).filter(is_deployed).cloned().collect()
}

/// What a run puts in place for a service, by its plan.
pub(super) fn planned_release(work: &Work<'_>, service: &str) -> Release {
    let plan = work.visit.run().plan.as_ref();
    let Some(planned) = plan.and_then(|(plan, _)| plan.candidate(service)) else { return Release::default() };
    let image = planned.image.as_ref();
    Release {
        digest: image.map(|image| image.digest.clone()),
        image: image.map(|image| image.target.at(image.digest.clone())),
        version: planned.version.clone().or_else(|| image.and_then(|_| labelled_version(work, service))),
    }
}

/// What a run has put in place for a service, with the version that its driver has named.
pub(super) fn deployed_release(work: &Work<'_>, service: &str) -> Release {
    let release = planned_release(work, service);
    let deployed = || work.visit.run().candidate(service).and_then(|one| one.deployed.as_ref()?.version.clone());
    Release { version: release.version.clone().or_else(deployed), ..release }
}

/// The version that an image says it is.
fn labelled_version(work: &Work<'_>, service: &str) -> Option<String> {
    let given = work.request.version.clone();
    let facts = work.visit.run().candidate(service).and_then(|candidate| candidate.facts.as_ref());
    given.or_else(|| facts?.label("org.opencontainers.image.version").map(ToOwned::to_owned))
}

/// What a driver is told. `key` names the act.
pub(super) fn order(
    work: &Work<'_>,
    service: &str,
    release: Release,
    undoes: Option<DeploymentId>,
    key: String,
) -> Order {
    let run = work.visit.run();
    let opening = &run.opening;
    let candidate = run.candidate(service);
    let facts = candidate.and_then(|candidate| candidate.facts.as_ref());
    let planned = run.plan.as_ref().and_then(|(plan, _)| plan.candidate(service)).and_then(|one| one.image.as_ref());
    let is_candidate = release.digest.is_some() && release.digest == candidate.and_then(|one| one.digest.clone());
    let platforms = facts.filter(|_| is_candidate).map(|facts| facts.platforms.as_slice()).unwrap_or_default();
    let names: Vec<Digest> = platforms.iter().map(|one| one.manifest.clone()).collect();
    let order = Order {
        service: service.to_owned(),
        names,
        platforms: platforms.iter().map(|one| one.platform.clone()).collect(),
        run: run.id.clone(),
        undoes,
        key,
        fence: work.visit.fence().map_or(0, |fence| fence.token),
        values: serde_json::Map::new(),
        release,
    };
    order.with(&Facts {
        environment: &opening.environment,
        revision: facts.and_then(|facts| facts.revision()).or(opening.commit.as_deref()),
        sequence: candidate.and_then(|candidate| candidate.sequence),
        mode: opening.mode.as_deref(),
        variables: &opening.variables,
        previous: planned.and_then(|image| image.previous()),
        requestor: &opening.requestor,
        reason: opening.reason.as_deref(),
    })
}

/// What is put back when a deployment is taken back: what ran before, as the driver says; else what the environment's tag
/// pointed to; else what the last run that ended well has put there. None where nothing is known, or it is the same.
///
/// # Errors
/// What the ledger says.
pub(super) async fn before(
    work: &Work<'_>,
    service: &str,
    running: &[Running],
    to: &Release,
) -> Result<Option<Release>, Fault> {
    let run = work.visit.run();
    let planned = run.plan.as_ref().and_then(|(plan, _)| plan.candidate(service)).and_then(|one| one.image.as_ref());
    let at = |digest: Digest| Release {
        image: planned.map(|image| image.target.at(digest.clone())),
        digest: Some(digest),
        version: None,
    };
    let by_driver = uniform(running).map(|ran| match ran.digest {
        Some(digest) => Release { version: ran.version, ..at(digest) },
        None => ran,
    });
    let by_tag = planned.and_then(|image| image.previous()).cloned().map(at);
    let found = match by_driver.or(by_tag) {
        Some(found) => Some(found),
        None => last_verified(work, service).await?.map(|(found, _)| match found.digest {
            Some(digest) => at(digest),
            None => found,
        }),
    };
    let is_same = |one: &Release| match (&one.digest, &to.digest) {
        (Some(one), Some(to)) => one == to,
        _ => one.version.is_some() && one.version == to.version,
    };
    Ok(found.filter(|found| !found.is_unknown() && !is_same(found)))
}

/// What the last run that changed a service and ended well has left there, an image or a version, and which run that was.
///
/// # Errors
/// What the ledger says.
pub(super) async fn last_verified(work: &Work<'_>, service: &str) -> Result<Option<(Release, DeploymentId)>, Fault> {
    let past = work.past(service).await?;
    let good = past.into_iter().find(|one| one.changed_the_world && one.state == State::CompletedSuccessfully);
    let found = good.map(|one| (Release { digest: one.digest, image: None, version: one.version }, one.run));
    Ok(found.filter(|(release, _)| !release.is_unknown()))
}
