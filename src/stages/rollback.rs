//! The way back: a run that finds that what it has deployed does not live has it taken back, by a run of its own.
//!
//! Each step is recorded before the next, so that a visit that was cut off goes on where it was: the run that takes back
//! has a key of the one that is taken back, so there is never a second one.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::advance::advance;
use super::files::Files;
use super::request::Request;
use super::visit::Visit;
use super::work::{Seen, Work};
use super::{awaited, deployment_status, failure, open};
use crate::ledger::Opened;
use crate::ledger::chain::Entry;
use crate::promotion::digest::Digest;
use crate::promotion::event::{Event, Opening, Operation};
use crate::promotion::fault::{Code, Exit, Fault};
use crate::promotion::identity::RunKey;
use crate::promotion::run::Run;
use crate::promotion::stage::Stage;
use crate::promotion::state::State;

/// Takes back what this run has deployed, or goes on with that.
///
/// # Errors
/// What the ledger says. That it could not be taken back is recorded, and no error here.
pub(super) async fn automatic(work: &mut Work<'_>) -> Result<(), Fault> {
    mark_bad(work).await?;
    if let Some(why) = forbidden(work) {
        return give_up(work, None, &why).await;
    }
    let mut other = match work.visit.run().rollback.run.clone() {
        Some(id) => {
            let records = work.visit.ledger().load(&id).await?;
            work.visit.enter(State::RollingBack).await?;
            take_up(work, &records, false)?
        }
        None => match begin(work).await {
            Ok(other) => other,
            // What does not live runs on: that is for people now, and not for whoever has the job run again.
            Err(fault) if fault.code == Code::LedgerUnreachable => {
                return give_up(
                    work,
                    None,
                    &format!("the run that takes it back cannot be recorded: {}", fault.message),
                )
                .await;
            }
            Err(fault) => return Err(fault),
        },
    };
    carry_out(work, &mut other).await?;
    deployment_status::end(&mut other, work.target, work.tools.hub.as_ref()).await?;
    let run = other.run().clone();
    leave_files(work, &run).await;
    conclude(work, &run).await
}

/// The digests that are taken back are not promoted here again by mistake.
async fn mark_bad(work: &mut Work<'_>) -> Result<(), Fault> {
    let run = work.visit.run();
    let because = run.health.verdict.as_ref().map_or("it was not found to live in time", |(_, because)| because);
    let marks: Vec<Event> = run
        .candidates
        .iter()
        .filter(|candidate| candidate.moved)
        .filter_map(|candidate| Some((candidate.service.clone(), candidate.digest.clone()?)))
        .filter(|(service, digest)| !run.bad_digests.iter().any(|bad| bad.service == *service && bad.digest == *digest))
        .map(|(service, digest)| Event::MarkedBad { service, digest, because: because.to_owned() })
        .collect();
    if marks.is_empty() { Ok(()) } else { work.visit.record(marks).await }
}

/// Why it must not be taken back without people.
fn forbidden(work: &Work<'_>) -> Option<String> {
    if work.visit.run().rollback.run.is_some() {
        return None;
    }
    let manual: Vec<&str> = work
        .target
        .services
        .iter()
        .map(|service| service.name.as_str())
        .filter(|service| !work.target.settings(service).rollback.automatic)
        .collect();
    (!manual.is_empty()).then(|| format!("`rollback.automatic` is off for {}", manual.join(", ")))
}

/// Opens the run that takes back, and ties the two together.
async fn begin(work: &mut Work<'_>) -> Result<Visit, Fault> {
    let run = work.visit.run();
    let opening = opening(run);
    let commit =
        run.opening.commit.clone().unwrap_or_else(|| run.id.as_str().rsplit('-').next().unwrap_or("0").to_owned());
    let (records, new) = match work.visit.ledger().open(opening, &commit).await? {
        Opened::New(records) => (records, true),
        Opened::Resumed(records) | Opened::Finished(records) => (records, false),
    };
    let other = take_up(work, &records, new)?;
    let id = other.run().id.clone();
    let mut events = vec![Event::RollbackBegun { run: id }];
    if work.visit.run().state != State::RollingBack {
        events.push(Event::StateChanged { to: State::RollingBack });
    }
    work.visit.record(events).await?;
    Ok(other)
}

fn opening(run: &Run) -> Opening {
    let because =
        run.health.verdict.as_ref().map(|(_, because)| because.as_str()).unwrap_or("it was not found to live");
    let services = run.opening.services.iter().map(String::as_str);
    let key = RunKey::new(&run.opening.scope, run.id.as_str(), "take-back", &run.opening.environment, services);
    Opening {
        key: Some(key),
        operation: Operation::Rollback,
        reason: Some(format!("run {} does not live: {because}", run.id)),
        predecessor: None,
        rolls_back: Some(run.id.clone()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..run.opening.clone()
    }
}

fn take_up(work: &Work<'_>, records: &[crate::promotion::event::Record], new: bool) -> Result<Visit, Fault> {
    let mut other = Visit::take_up(records, new, Arc::clone(work.visit.ledger()), Arc::clone(work.visit.audience()))?;
    // Both are written under the one lease that this visit holds.
    other.hold(work.visit.fence().cloned());
    Ok(other)
}

/// Advances the run that takes back to its end.
async fn carry_out(work: &mut Work<'_>, other: &mut Visit) -> Result<(), Fault> {
    if other.run().ended.is_some() {
        return Ok(());
    }
    let request = Request {
        operation: Operation::Rollback,
        image: None,
        to: None,
        digest: None,
        version: None,
        deployment_id: None,
        until: None,
        reason: other.run().opening.reason.clone(),
        force: false,
        overrides: Vec::new(),
        ..work.request.clone()
    };
    open::begin(other, &request).await?;
    // What was begun to be changed is finished, however long it takes.
    let tools = super::Tools { deadline: None, ..work.tools.clone() };
    let mut target = work.target.clone();
    target.unpin();
    let told = work.tools.registries.traffic();
    let told_of_github = tools.asked_of_github();
    let seen = Seen::default();
    let mut inner =
        Work { visit: other, request: &request, target: &target, tools: &tools, seen, told, told_of_github };
    // Boxed, because a rollback is a run that is advanced inside another.
    Box::pin(advance(&mut inner)).await?;
    // What that has cost is in the other run's record.
    work.told = work.tools.registries.traffic();
    work.told_of_github = work.tools.asked_of_github();
    Ok(())
}

/// Writes the other run's own record, report and trail.
async fn leave_files(work: &Work<'_>, run: &Run) {
    let Ok(records) = work.visit.ledger().load(&run.id).await else { return };
    let trail: Vec<Entry> = records.iter().map(Entry::from).collect();
    if let Err(error) = Files::of(&run.id, &work.tools.folder).write(run, &trail, None) {
        tracing::warn!(%error, "the files of run {} cannot be written: {error}", run.id);
    }
}

/// How the other run has ended is how this one does.
async fn conclude(work: &mut Work<'_>, other: &Run) -> Result<(), Fault> {
    let good = other.ended.as_ref().is_some_and(|ended| ended.exit == Exit::Done);
    if good {
        let to: BTreeMap<String, Digest> = other
            .candidates
            .iter()
            .filter_map(|candidate| Some((candidate.service.clone(), candidate.digest.clone()?)))
            .collect();
        let events = vec![
            Event::RollbackEnded { run: Some(other.id.clone()), good, to },
            Event::StateChanged { to: State::RolledBack },
        ];
        return work.visit.record(events).await;
    }
    let why =
        other.decisive_fault().map_or_else(|| "it did not come to its end".to_owned(), |fault| fault.message.clone());
    give_up(work, Some(other), &why).await
}

/// It cannot be taken back here: people are told what to do, word for word.
async fn give_up(work: &mut Work<'_>, other: Option<&Run>, why: &str) -> Result<(), Fault> {
    let run = work.visit.run();
    let environment = &run.opening.environment;
    let by = other.map(|other| format!(" (run {})", other.id)).unwrap_or_default();
    let text = format!("{environment} stays on a version that does not live, and was not rolled back{by}: {why}");
    let fault = Fault::new(Code::RollbackFailed, text).in_stage(Stage::Verification).with_fix(instructions(run, other));
    let good = false;
    let mut events = vec![Event::Faulted(Box::new(fault))];
    if run.state != State::RollingBack {
        events.push(Event::StateChanged { to: State::RollingBack });
    }
    let asking = awaited::asking(work);
    if !asking.is_empty() {
        events.extend(asking);
        work.visit.record(events).await?;
        let hub = work.tools.hub.clone();
        return failure::tell(work.visit, work.target, hub.as_ref()).await;
    }
    events.push(Event::RollbackEnded { run: other.map(|other| other.id.clone()), good, to: BTreeMap::new() });
    events.push(Event::StateChanged { to: State::RollbackFailed });
    work.visit.record(events).await
}

/// What a person does now, as commands that can be copied.
pub(super) fn instructions(run: &Run, other: Option<&Run>) -> String {
    let Some((plan, _)) = &run.plan else { return Code::RollbackFailed.fix().to_owned() };
    let chosen = |service: &str| other.and_then(|other| other.candidate(service)?.digest.clone());
    let mut steps = Vec::new();
    for planned in &plan.candidates {
        let Some(image) = &planned.image else {
            let runs = run.version(&planned.service).unwrap_or("a version that its driver did not name");
            steps.push(format!("{} runs {runs}: put the one before it back in place by hand", planned.service));
            continue;
        };
        let Some(tag) = image.tags.iter().find(|tag| !tag.immutable) else { continue };
        let reference = image.target.tagged(tag.tag.clone());
        let back = chosen(&planned.service).or_else(|| image.previous().cloned());
        steps.push(match back {
            Some(back) => format!(
                "{reference} points to {}; to point it to {back}: `docker buildx imagetools create --tag {reference} {}@{back}`",
                image.digest, image.target
            ),
            None => format!("{reference} points to {}, and nothing was there before it: fix it forward", image.digest),
        });
    }
    format!(
        "{}; or let a rollback choose and verify: `tidegate --operation rollback --environment {} --reason \"...\" --confirm ROLLBACK`; then look what runs",
        steps.join("; "),
        run.opening.environment
    )
}
