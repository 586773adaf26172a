//! Stage `conditions`: references become digests, numbers are taken, targets and images are looked at. It ends with the
//! plan.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;

use super::drivers::{deployed_services, driver_of, order, planned_release};
use super::target::Route;
use super::work::{Outcome, Trouble, Work};
use super::{migration, targets};
use crate::checks::{Depth, listing};
use crate::config::{CheckName, CheckSeverity};
use crate::promotion::check::Finding;
use crate::promotion::comparison::{Aspect, Comparison};
use crate::promotion::digest::Digest;
use crate::promotion::event::Event;
use crate::promotion::fault::{Code, Fault};
use crate::promotion::image::{Reference, Tag};
use crate::promotion::plan::{Estimate, Plan, Planned, PlannedImage, PlannedTag};
use crate::promotion::stage::Stage;
use crate::promotion::state::State;
use crate::registry::{Class, Inspection};

/// A candidate with an image, resolved.
struct Resolved {
    service: String,
    route: Route,
    digest: Digest,
    previous: Option<Digest>,
}

/// Makes the plan.
///
/// # Errors
/// Everything that stands in the way, for all candidates together.
pub(super) async fn run(work: &mut Work<'_>) -> Result<Outcome, Trouble> {
    for service in &work.target.services {
        work.visit.number(&service.name).await?;
    }
    let resolved = resolve(work).await?;
    for one in &resolved {
        let known = work.visit.run().candidate(&one.service).is_some_and(|candidate| candidate.digest.is_some());
        if !known {
            let (service, reference, digest) = (one.service.clone(), one.route.source.clone(), one.digest.clone());
            work.visit.note(Event::Resolved { service, reference, digest }).await?;
        }
    }
    work.seen.sources = true;
    let migrations = migration::look(work).await?;
    let pending = migrations.iter().any(|found| !found.pending.is_empty());
    if !pending && nothing_to_do(work, &resolved).await? {
        let plan = plan(work, &resolved, &BTreeMap::new(), Vec::new())?;
        let hash = plan.hash();
        work.visit.note(Event::Planned { plan: Box::new(plan), hash, estimate: Estimate::default() }).await?;
        return Ok(Outcome::done().saying("the target has the digest already"));
    }
    inspect(work, &resolved).await?;
    compare(work, &resolved).await?;
    let immutable = immutable_tags(work, &resolved).await?;
    let stages = stages(work);
    let groups = super::probes::groups(work)?;
    let plan = plan(work, &resolved, &immutable, stages)?;
    let estimate = Estimate { remarks: super::probes::remarks(&groups), ..estimate(work, &plan) };
    let hash = plan.hash();
    let findings = look(work, &resolved).await?;
    work.visit
        .record(vec![Event::Planned { plan: Box::new(plan), hash, estimate }, Event::Checked { findings }])
        .await?;
    super::gates::evaluate(work).await?;
    check_orders(work)?;
    Ok(Outcome::done())
}

/// Resolves every source and looks at every target, all at once.
async fn resolve(work: &Work<'_>) -> Result<Vec<Resolved>, Trouble> {
    let routes = work.target.services.iter().filter_map(|service| Some((service.name.clone(), service.image.clone()?)));
    let looks = routes.map(|(service, route)| async move {
        let registries = work.registries();
        // What was resolved by an earlier visit stays; the source is only asked whether it still is that.
        let known = work.visit.run().candidate(&service).and_then(|candidate| candidate.digest.clone());
        let (source, target) = futures_util::join!(
            source_digest(work, &route, known),
            targets::place(&registries, &route.repository, &route.tag)
        );
        let about = |fault: Fault| fault.about(&service);
        let (digest, previous) = (source.map_err(about)?, target.map_err(about)?);
        Ok::<_, Fault>(Resolved { service: service.clone(), route, digest, previous })
    });
    all(join_all(looks).await)
}

/// What the source points to, held against what it must point to.
async fn source_digest(work: &Work<'_>, route: &Route, known: Option<Digest>) -> Result<Digest, Fault> {
    let reference = Reference { digest: None, ..route.source.clone() };
    let wanted = route.source.digest.as_ref().or(route.pinned.as_ref()).or(known.as_ref());
    // A tag is asked by its name, also where the digest is known: it must not point elsewhere.
    let asked = if reference.tag.is_some() { &reference } else { &route.source };
    let found = work.registries().resolve(asked, Class::Inspect).await?.digest;
    let others = [route.source.digest.as_ref(), route.pinned.as_ref(), known.as_ref()];
    match others.into_iter().flatten().find(|other| **other != found) {
        None => Ok(wanted.cloned().unwrap_or(found)),
        Some(other) => {
            Err(Fault::new(Code::SourceMoved, format!("{asked} points to {found}, and {other} is to be promoted")))
        }
    }
}

/// Whether every target has its digest already. Tags that never move cannot be looked for before the image was looked
/// at, and what runs is more than a tag tells; that they were made, and that it was deployed, is then known from the last
/// run that changed the environment, if that ended well.
async fn nothing_to_do(work: &Work<'_>, resolved: &[Resolved]) -> Result<bool, Fault> {
    let without_image = work.target.services.iter().any(|service| service.image.is_none());
    if without_image || resolved.iter().any(|one| one.previous.as_ref() != Some(&one.digest)) {
        return Ok(false);
    }
    let deployed = deployed_services(work);
    for one in resolved.iter().filter(|one| !one.route.immutable.is_empty() || deployed.contains(&one.service)) {
        let past = work.past(&one.service).await?;
        let last = past.iter().find(|past| past.changed_the_world);
        let made = last.is_some_and(|past| {
            past.state == State::CompletedSuccessfully && past.digest.as_ref() == Some(&one.digest)
        });
        if !made {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Looks at every image, without its layers, and records what was seen.
async fn inspect(work: &mut Work<'_>, resolved: &[Resolved]) -> Result<(), Trouble> {
    let looks = resolved.iter().map(|one| {
        let registries = work.registries();
        async move {
            let inspection = registries.inspect(&one.route.source.repository, &one.digest).await;
            inspection.map_err(|error| Fault::from(error).about(&one.service))
        }
    });
    let inspections: Vec<Inspection> = all(join_all(looks).await)?;
    for (one, inspection) in resolved.iter().zip(inspections) {
        let facts = Box::new(inspection.facts.clone().bounded());
        work.seen.remember(&one.service, Arc::new(inspection));
        work.visit.note(Event::Inspected { service: one.service.clone(), facts }).await?;
    }
    Ok(())
}

/// Compares every image with the one that it replaces, for those who are asked about it. That one may be gone: then there
/// is nothing to compare with.
async fn compare(work: &mut Work<'_>, resolved: &[Resolved]) -> Result<(), Trouble> {
    let looks = resolved.iter().map(|one| {
        let work = &*work;
        async move {
            let previous = one.previous.as_ref().filter(|previous| **previous != one.digest);
            let before = work.look_at_previous(&one.service, &one.route.repository, previous).await.ok()??;
            let after = work.seen.inspection(&one.service)?;
            let comparison = Comparison::of(&before.root.digest, &before.facts, &after.facts);
            Some((one.service.clone(), work.listed(one, comparison, &before, &after).await))
        }
    });
    for (service, comparison) in join_all(looks).await.into_iter().flatten() {
        work.visit.note(Event::Compared { service, comparison: Box::new(comparison) }).await?;
    }
    Ok(())
}

impl Work<'_> {
    /// A comparison with packages and vulnerabilities, where the policy has somebody look at what is attached.
    async fn listed(
        &self,
        one: &Resolved,
        comparison: Comparison,
        before: &Inspection,
        after: &Inspection,
    ) -> Comparison {
        let policy = &self.target.settings(&one.service).validate;
        let is_on = |check| policy.severity(check) != CheckSeverity::Off;
        if !is_on(CheckName::Sbom) && !is_on(CheckName::Scan) {
            return comparison;
        }
        let registries = self.registries();
        let (old, new) = futures_util::join!(
            registries.attachments(&one.route.repository, before),
            registries.attachments(&one.route.source.repository, after)
        );
        let (Ok(old), Ok(new)) = (old, new) else { return comparison };
        let (old, new) = (listing(&old, before), listing(&new, after));
        comparison.with(Aspect::Package, &old.packages, &new.packages).with(
            Aspect::Vulnerability,
            &old.vulnerabilities,
            &new.vulnerabilities,
        )
    }
}

/// The tags that never move, by service: rendered, and looked for. One that exists with another digest is refused.
async fn immutable_tags(work: &Work<'_>, resolved: &[Resolved]) -> Result<BTreeMap<String, Vec<PlannedTag>>, Trouble> {
    let mut faults = Vec::new();
    let mut wanted: Vec<(&Resolved, Tag)> = Vec::new();
    for one in resolved {
        for template in &one.route.immutable {
            match super::target::tag(
                template,
                &super::values::of(work.visit.run(), &one.service, work.request.version.as_deref()),
            ) {
                Ok(tag) if tag == one.route.tag => faults.push(
                    Fault::new(
                        Code::ConfigurationInvalid,
                        format!("the immutable tag `{}` is `{tag}`, which is the environment's own", template.as_str()),
                    )
                    .about(&one.service),
                ),
                Ok(tag) => wanted.push((one, tag)),
                Err(fault) => faults.push(fault.about(&one.service)),
            }
        }
    }
    let looks = wanted.iter().map(|(one, tag)| async move {
        let repository = &one.route.repository;
        let now = targets::place(&work.registries(), repository, tag).await;
        match now.map_err(|fault| fault.about(&one.service))? {
            Some(other) if other != one.digest => Err(Fault::new(
                Code::TagImmutable,
                format!("{}:{tag} exists with {other}, and {} was to get it", repository, one.digest),
            )
            .about(&one.service)),
            previous => Ok(PlannedTag { tag: tag.clone(), immutable: true, previous }),
        }
    });
    let mut tags: BTreeMap<String, Vec<PlannedTag>> = BTreeMap::new();
    for (look, (one, _)) in join_all(looks).await.into_iter().zip(&wanted) {
        match look {
            Ok(tag) => {
                let tags = tags.entry(one.service.clone()).or_default();
                if !tags.contains(&tag) {
                    tags.push(tag);
                }
            }
            Err(fault) => faults.push(fault),
        }
    }
    Trouble::unless_none(faults)?;
    Ok(tags)
}

fn plan(
    work: &Work<'_>,
    resolved: &[Resolved],
    immutable: &BTreeMap<String, Vec<PlannedTag>>,
    stages: Vec<Stage>,
) -> Result<Plan, Fault> {
    let candidates = work.target.services.iter().map(|service| {
        let one = resolved.iter().find(|one| one.service == service.name);
        Planned {
            service: service.name.clone(),
            image: one.map(|one| planned_image(one, immutable.get(&one.service))),
            version: if one.is_none() { work.request.version.clone() } else { None },
        }
    });
    Ok(Plan {
        environment: work.target.environment.clone(),
        candidates: candidates.collect(),
        stages,
        configuration: work.target.configuration.as_ref().map(|(_, checksum)| checksum.clone()),
        inputs: migration::inputs(work)?,
    })
}

/// The stages that have something to do.
fn stages(work: &Work<'_>) -> Vec<Stage> {
    let mut stages = vec![Stage::Validation, Stage::Copy];
    if migration::is_configured(work) {
        stages.push(Stage::Migration);
    }
    if !deployed_services(work).is_empty() {
        stages.push(Stage::Deployment);
    }
    if work.target.services.iter().any(|service| work.target.settings(&service.name).health.is_some()) {
        stages.push(Stage::Verification);
    }
    stages
}

fn planned_image(one: &Resolved, immutable: Option<&Vec<PlannedTag>>) -> PlannedImage {
    let own = PlannedTag { tag: one.route.tag.clone(), immutable: false, previous: one.previous.clone() };
    PlannedImage {
        source: one.route.source.clone(),
        digest: one.digest.clone(),
        target: one.route.repository.clone(),
        tags: std::iter::once(own).chain(immutable.cloned().unwrap_or_default()).collect(),
    }
}

fn estimate(work: &Work<'_>, plan: &Plan) -> Estimate {
    let mut all = Estimate::default();
    for planned in &plan.candidates {
        let (Some(image), Some(inspection)) = (&planned.image, work.seen.inspection(&planned.service)) else {
            continue;
        };
        let one = inspection.estimate(&image.source.repository, &image.target, image.tags.len() as u64);
        all.requests += one.requests;
        all.bytes += one.bytes;
    }
    all
}

/// Evaluates what can be told without the layers, so that nobody is asked about something that cannot be promoted.
async fn look(work: &Work<'_>, resolved: &[Resolved]) -> Result<Vec<Finding>, Trouble> {
    let looks = resolved.iter().filter_map(|one| Some((one, work.seen.inspection(&one.service)?))).map(
        |(one, inspection)| async move {
            work.evaluate(&one.service, &one.route.source.repository, &inspection, Depth::Headers).await
        },
    );
    Ok(all(join_all(looks).await)?.into_iter().flatten().collect())
}

/// Sees that every deployment can be ordered, so that nobody is asked about something that cannot be deployed.
fn check_orders(work: &mut Work<'_>) -> Result<(), Trouble> {
    let mut faults = Vec::new();
    for service in deployed_services(work) {
        let release = planned_release(work, &service);
        let checked = driver_of(work, &service).and_then(|driver| {
            let Some(driver) = driver else { return Ok(()) };
            driver.check(&order(work, &service, release, None, String::new()))
        });
        faults.extend(checked.err().map(|fault| fault.about(&service)));
    }
    Trouble::unless_none(faults)
}

/// All results, or all faults.
fn all<T>(results: Vec<Result<T, Fault>>) -> Result<Vec<T>, Trouble> {
    let mut good = Vec::new();
    let mut faults = Vec::new();
    for result in results {
        match result {
            Ok(one) => good.push(one),
            Err(fault) => faults.push(fault),
        }
    }
    Trouble::unless_none(faults)?;
    Ok(good)
}
