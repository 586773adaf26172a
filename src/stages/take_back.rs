//! Taking back: what this run has deployed is put back as it was, in reverse, and the tags with it.

use super::deployment::{key, tell};
use super::drivers::{driver_of, order};
use super::driving::{Begin, Task, carry_out};
use super::targets::place;
use super::work::Work;
use crate::deploy::Setback;
use crate::promotion::act::{self, Act, TagMove};
use crate::promotion::deployment::Release;
use crate::promotion::fault::{Code, Fault};
use crate::promotion::identity::DeploymentId;
use crate::promotion::run::Run;
use crate::promotion::stage::Stage;
use crate::promotion::state::State;

/// Takes back what this run has deployed. `services` are in the order in which they were deployed. Tells what was done.
///
/// It can be called again after a visit that was cut off in it: what was put back stays, the rest follows. A service of
/// which it is not known whether it was deployed is left as it is, and so are its tags.
///
/// # Errors
/// What the ledger says. What cannot be put back is recorded, and the rest is put back all the same.
pub(super) async fn take_back(work: &mut Work<'_>, services: &[String]) -> Result<Option<String>, Fault> {
    let mut told = Vec::new();
    for service in services.iter().rev() {
        let Some(deployment) = to_take_back(work.visit.run(), service) else { continue };
        let Some(before) = deployment else {
            let text = "its deployment is not taken back: nothing is known of what ran before";
            tell(work, Fault::new(Code::NothingToGoBackTo, text).about(service)).await?;
            continue;
        };
        work.visit.enter(State::RollingBack).await?;
        let undoes = work.visit.run().id.clone();
        match put_back(work, service, before.clone(), undoes).await? {
            Ok(()) => told.push(format!("{service} is back at {before}")),
            Err(fault) => {
                let text = format!("{service} could not be put back to {before}: {}", fault.message);
                let fix =
                    format!("a human is needed: put {before} in place by hand for {service}, then look what runs");
                let fault = Fault { tried: fault.tried, ..Fault::new(Code::TakeBackFailed, text) };
                tell(work, fault.with_fix(fix).about(service)).await?;
            }
        }
    }
    put_tags_back(work, &mut told).await?;
    let state = match work.visit.run().took_back() {
        Some(true) => State::RolledBack,
        Some(false) => State::RollbackFailed,
        None => return Ok(None),
    };
    work.visit.enter(State::RollingBack).await?;
    work.visit.enter(state).await?;
    Ok((!told.is_empty()).then(|| told.join("; ")))
}

/// Whether a service's deployment has to be taken back, and to what: `Some(None)` where nothing is known of what was
/// there before.
#[expect(clippy::option_option, reason = "whether, and to what")]
fn to_take_back(run: &Run, service: &str) -> Option<Option<Release>> {
    let (_, deployment) = run.deployment(service)?;
    let Act::Deploy { before, .. } = &deployment.act else { return None };
    let touched = match &deployment.outcome {
        None | Some(act::Outcome::NotBegun { .. }) => false,
        Some(act::Outcome::Failed { code, .. }) => *code != Code::DeploymentUncertain,
        Some(_) => true,
    };
    let is_back = run.taking_back(service).is_some_and(|(_, one)| one.outcome.is_some());
    (touched && !is_back).then(|| before.as_deref().cloned())
}

/// Puts a release back for a service by its driver, or goes on with that: announced, followed to its end, settled.
/// `undoes` is the run whose deployment is taken back.
///
/// # Errors
/// What the ledger says; the inner error is why the release could not be put back.
pub(super) async fn put_back(
    work: &mut Work<'_>,
    service: &str,
    to: Release,
    undoes: DeploymentId,
) -> Result<Result<(), Fault>, Fault> {
    let driver = match driver_of(work, service) {
        Ok(Some(driver)) => driver,
        Ok(None) => return Ok(Err(Fault::defect(format!("{service} has no driver")))),
        Err(fault) => return Ok(Err(fault)),
    };
    let known = work.visit.run().taking_back(service).map(|(intent, one)| (intent, one.clone()));
    let (intent, begin) = match known.filter(|(_, one)| one.outcome.is_none()) {
        Some((intent, one)) => (intent, one.begun.map_or(Begin::Look, Begin::Follow)),
        None => {
            let stage = work.visit.run().stages.last().map_or(Stage::Deployment, |stage| stage.stage);
            let (service, driver, undoes) = (service.to_owned(), driver.name().to_owned(), undoes.clone());
            let act = Act::RollBackDeployment { service, driver, to: Box::new(to.clone()), undoes };
            (work.visit.announce(stage, act).await?, Begin::Anew)
        }
    };
    let key = key(work.visit.run(), service, intent);
    let order = order(work, service, to, Some(undoes), key);
    let task = Task { intent, driver, order, back: true, begin };
    let result = carry_out(work, &[task]).await?.pop();
    Ok(match result {
        Some(Ok(_)) => Ok(()),
        Some(Err(Setback::Untouched(fault) | Setback::Failed(fault) | Setback::Uncertain(fault))) => Err(fault),
        None => Err(Fault::defect("a task without a result")),
    })
}

/// Points the environment's tags back to where they were, as far as they are still where this run has put them.
async fn put_tags_back(work: &mut Work<'_>, told: &mut Vec<String>) -> Result<(), Fault> {
    let run = work.visit.run();
    let unsettled = run.unsettled().find_map(|(seq, one)| match &one.act {
        Act::MoveTags { moves } if one.stage > Stage::Copy => Some((seq, moves.clone())),
        _ => None,
    });
    let was_done = run
        .intents
        .values()
        .any(|one| one.stage > Stage::Copy && matches!(one.act, Act::MoveTags { .. }) && one.outcome.is_some());
    if was_done {
        return Ok(());
    }
    let (intent, moves) = match unsettled {
        Some(known) => known,
        None => {
            let moves = moves_back(run);
            if moves.is_empty() {
                return Ok(());
            }
            work.visit.enter(State::RollingBack).await?;
            let stage = work.visit.run().stages.last().map_or(Stage::Deployment, |stage| stage.stage);
            (work.visit.announce(stage, Act::MoveTags { moves: moves.clone() }).await?, moves)
        }
    };
    let mut failed = Vec::new();
    for one in &moves {
        let registries = work.registries();
        let moved = match place(&registries, &one.repository, &one.tag).await {
            Ok(now) if now.as_ref() == Some(&one.to) => Ok(()),
            Ok(now) if now == one.from => registries
                .move_tag(&one.repository, &one.repository, &one.tag, &one.to)
                .await
                .map_err(|error| Fault::from(error).message),
            Ok(_) => Err("somebody else has moved it since".to_owned()),
            Err(fault) => Err(fault.message),
        };
        let name = format!("{}:{}", one.repository, one.tag);
        match moved {
            Ok(()) => told.push(format!("{name} points to {} again", one.to)),
            Err(why) => failed.push(format!("{name} could not be put back to {}: {why}", one.to)),
        }
    }
    if failed.is_empty() {
        return work.visit.settle(intent, act::Outcome::TagsMoved { found: false }).await;
    }
    let fault = Fault::new(Code::TakeBackFailed, failed.join("; "));
    work.visit.settle(intent, act::Outcome::Failed { code: fault.code, message: fault.message.clone() }).await?;
    tell(work, fault).await
}

/// The environment's own tags that this run has moved, reversed; without those of services of which it is not known what
/// runs, and of those that stay as they were deployed.
fn moves_back(run: &Run) -> Vec<TagMove> {
    let stays = |service: &str| {
        run.deployment(service).is_some_and(|(_, one)| {
            let uncertain = one.outcome.as_ref().and_then(act::Outcome::code) == Some(Code::DeploymentUncertain);
            let unfinished = one.outcome.is_none();
            let touched = !matches!(one.outcome, Some(act::Outcome::NotBegun { .. }));
            let is_back = run
                .taking_back(service)
                .is_some_and(|(_, one)| one.outcome.as_ref().is_some_and(act::Outcome::is_done));
            uncertain || unfinished || (touched && !is_back)
        })
    };
    let moved = run
        .intents
        .values()
        .filter(|one| one.stage == Stage::Copy && one.outcome.as_ref().is_some_and(act::Outcome::is_done));
    let moves = moved.flat_map(|one| match &one.act {
        Act::MoveTags { moves } => moves.as_slice(),
        _ => &[],
    });
    moves
        .filter(|one| !one.immutable && !stays(&one.service))
        .filter_map(|one| {
            let back = one.from.clone()?;
            Some(TagMove { from: Some(one.to.clone()), to: back, ..one.clone() })
        })
        .collect()
}
