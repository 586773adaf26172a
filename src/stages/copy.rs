//! Stage `copy`: content first, then what is replaced is kept alive, then all tags move together.

use std::collections::BTreeMap;

use futures_util::future::join_all;

use super::attend::Attended;
use super::targets::place;
use super::work::{Outcome, Trouble, Work};
use crate::promotion::act::{self, Act, TagMove};
use crate::promotion::digest::Digest;
use crate::promotion::fault::{Code, Fault, Severity};
use crate::promotion::plan::PlannedImage;
use crate::promotion::stage::Stage;
use crate::promotion::state::State;
use crate::registry::{CopyOptions, Registries, RegistryError, keep_tag};

/// Puts the images in place.
///
/// # Errors
/// What keeps content from being brought, a target that was moved by somebody else, tags that could not be moved.
pub(super) async fn run(work: &mut Work<'_>) -> Result<Outcome, Trouble> {
    let images = work.images();
    if images.is_empty() {
        super::baseline::ask(work).await?;
        return Ok(Outcome::skipped("no service has an image").entering(State::PromotionSucceeded));
    }
    if let Some((intent, moves)) = begun_moves(work) {
        go_on(work, intent, moves).await?;
    } else if !has_moved(work) {
        bring_content(work, &images).await?;
        keep_previous(work, &images).await?;
        super::baseline::ask(work).await?;
        super::sources::assert(work).await?;
        super::gates::look_again(work).await?;
        let moves = wanted_moves(work, &images).await?;
        if !moves.is_empty() {
            let intent = work.visit.announce(Stage::Copy, Act::MoveTags { moves: moves.clone() }).await?;
            carry_out(work, intent, &moves, &moves).await?;
        }
    }
    read_back(work, &images).await?;
    Ok(Outcome::done().entering(State::PromotionSucceeded))
}

/// Whether an earlier visit moved the tags, and was cut off after that.
fn has_moved(work: &Work<'_>) -> bool {
    work.visit.run().intents.values().any(|one| matches!(one.outcome, Some(act::Outcome::TagsMoved { .. })))
}

/// Moves that an earlier visit announced, and of which the outcome is not known.
fn begun_moves(work: &Work<'_>) -> Option<(u64, Vec<TagMove>)> {
    work.visit.run().unsettled().find_map(|(seq, intended)| match &intended.act {
        Act::MoveTags { moves } => Some((seq, moves.clone())),
        _ => None,
    })
}

/// Announces an act, or goes on with the same act that an earlier visit announced: doing it again is harmless.
async fn announced(work: &mut Work<'_>, act: Act) -> Result<u64, Fault> {
    let begun = work.visit.run().unsettled().find(|(_, intended)| intended.act == act).map(|(seq, _)| seq);
    match begun {
        Some(seq) => Ok(seq),
        None => work.visit.announce(Stage::Copy, act).await,
    }
}

async fn bring_content(work: &mut Work<'_>, images: &[(String, PlannedImage)]) -> Result<(), Trouble> {
    let mut begun: Vec<(u64, &String, &PlannedImage)> = Vec::new();
    for (service, image) in images {
        let copied = work.visit.run().candidate(service).is_some_and(|candidate| candidate.copied.is_some());
        if image.crosses_repositories() && !copied {
            let from = image.source.repository.at(image.digest.clone());
            let act = Act::CopyContent { service: service.clone(), from, to: image.target.clone() };
            begun.push((announced(work, act).await?, service, image));
        }
    }
    let Attended { registries, attention } = super::attend::attended(&work.registries());
    let copies = begun.iter().map(|(intent, service, image)| {
        let registries = &registries;
        async move {
            let (from, to) = (&image.source.repository, &image.target);
            let copied = registries.copy_content(from, to, &image.digest, CopyOptions::default()).await;
            (*intent, *service, copied)
        }
    });
    let copied = attention.to(work.visit, join_all(copies)).await?;
    let mut faults = Vec::new();
    for (intent, service, result) in copied {
        let outcome = match result {
            Ok(stats) => act::Outcome::ContentCopied(stats),
            Err(error) => {
                let fault = Fault::from(error).about(service);
                let outcome = act::Outcome::Failed { code: fault.code, message: fault.message.clone() };
                faults.push(fault);
                outcome
            }
        };
        work.visit.settle(intent, outcome).await?;
    }
    Trouble::unless_none(faults)
}

/// Keeps what the moving tags point to now, so that going back is one request.
async fn keep_previous(work: &mut Work<'_>, images: &[(String, PlannedImage)]) -> Result<(), Trouble> {
    for (service, image) in images {
        let Some(previous) = image.previous().filter(|previous| **previous != image.digest) else { continue };
        let act = Act::KeepPrevious {
            service: service.clone(),
            repository: image.target.clone(),
            tag: keep_tag(previous),
            digest: previous.clone(),
        };
        let kept = work
            .visit
            .run()
            .intents
            .values()
            .any(|one| one.act == act && one.outcome.as_ref().is_some_and(act::Outcome::is_done));
        if kept {
            continue;
        }
        let intent = announced(work, act).await?;
        let Attended { registries, attention } = super::attend::attended(&work.registries());
        match attention.to(work.visit, registries.keep(&image.target, previous)).await? {
            Ok(_) => work.visit.settle(intent, act::Outcome::PreviousKept).await?,
            Err(error) => {
                let fault = Fault::from(error).about(service);
                let outcome = act::Outcome::Failed { code: fault.code, message: fault.message.clone() };
                work.visit.settle(intent, outcome).await?;
                return Err(fault.into());
            }
        }
    }
    Ok(())
}

/// The tags that have to move, as the world is now. One that somebody else has moved since the plan refuses the run.
async fn wanted_moves(work: &Work<'_>, images: &[(String, PlannedImage)]) -> Result<Vec<TagMove>, Trouble> {
    let registries = &work.registries();
    let looks = images.iter().flat_map(|(service, image)| image.tags.iter().map(move |tag| (service, image, tag))).map(
        |(service, image, tag)| async move {
            let reference = image.target.tagged(tag.tag.clone());
            let now = place(registries, &image.target, &tag.tag).await.map_err(|fault| fault.about(service))?;
            if now.as_ref() == Some(&image.digest) {
                return Ok(None);
            }
            if tag.immutable && now.is_some() {
                let text =
                    format!("{reference} exists with {} now, and {} was to get it", shown(now.as_ref()), image.digest);
                return Err(Fault::new(Code::TagImmutable, text).about(service));
            }
            if now != tag.previous {
                let text = format!(
                    "{reference} points to {} now, and pointed to {} when the plan was made",
                    shown(now.as_ref()),
                    shown(tag.previous.as_ref())
                );
                return Err(Fault::new(Code::TargetMoved, text).about(service));
            }
            Ok(Some(TagMove {
                service: service.clone(),
                repository: image.target.clone(),
                tag: tag.tag.clone(),
                from: now,
                to: image.digest.clone(),
                immutable: tag.immutable,
            }))
        },
    );
    let mut moves = Vec::new();
    let mut faults = Vec::new();
    for look in join_all(looks).await {
        match look {
            Ok(one) => moves.extend(one),
            Err(fault) => faults.push(fault),
        }
    }
    Trouble::unless_none(faults)?;
    Ok(moves)
}

/// Goes on with moves of which the outcome is not known: looks where each tag points, and moves those that are still
/// where they were.
async fn go_on(work: &mut Work<'_>, intent: u64, moves: Vec<TagMove>) -> Result<(), Trouble> {
    let places = places(&work.registries(), &moves).await?;
    let foreign: Vec<String> = moves
        .iter()
        .zip(&places)
        .filter(|(one, now)| now.as_ref() != Some(&one.to) && **now != one.from)
        .map(|(one, now)| format!("{}:{} points to {}", one.repository, one.tag, shown(now.as_ref())))
        .collect();
    if !foreign.is_empty() {
        let message = format!("a visit was cut off while it moved tags, and since then {}", foreign.join("; "));
        work.visit.settle(intent, act::Outcome::Failed { code: Code::TargetMoved, message: message.clone() }).await?;
        return Err(Fault::new(Code::TargetMoved, message).into());
    }
    let left: Vec<TagMove> = moves
        .iter()
        .zip(places)
        .filter(|(one, now)| now.as_ref() != Some(&one.to))
        .map(|(one, _)| one.clone())
        .collect();
    if left.is_empty() {
        work.visit.settle(intent, act::Outcome::TagsMoved { found: true }).await?;
        return Ok(());
    }
    carry_out(work, intent, &moves, &left).await
}

/// Moves tags; `left` are those of `all` that are still to be moved. When one cannot be moved, those that were are put
/// back, so that the environment is not half of each.
async fn carry_out(work: &mut Work<'_>, intent: u64, all: &[TagMove], left: &[TagMove]) -> Result<(), Trouble> {
    let sources: BTreeMap<String, PlannedImage> = work.images().into_iter().collect();
    let Attended { registries, attention } = super::attend::attended(&work.registries());
    // The environment's own tags are the last, and move when all others have: they are what others look at.
    let (immutable, own): (Vec<&TagMove>, Vec<&TagMove>) = left.iter().partition(|one| one.immutable);
    let moving = async {
        move_together(&registries, &sources, &immutable).await?;
        move_together(&registries, &sources, &own).await
    };
    let Err(error) = attention.to(work.visit, moving).await? else {
        work.visit.settle(intent, act::Outcome::TagsMoved { found: false }).await?;
        return Ok(());
    };
    let fault = take_back(&work.registries(), all, Fault::from(error)).await;
    let Some(fault) = fault else {
        // The answer was lost, and the tag was moved.
        work.visit.settle(intent, act::Outcome::TagsMoved { found: true }).await?;
        return Ok(());
    };
    work.visit.settle(intent, act::Outcome::Failed { code: fault.code, message: fault.message.clone() }).await?;
    Err(fault.into())
}

/// Moves tags, all at once and each to the end; those of one service one after the other, because what the first needs
/// the others need too.
async fn move_together(
    registries: &Registries,
    sources: &BTreeMap<String, PlannedImage>,
    moves: &[&TagMove],
) -> Result<(), RegistryError> {
    let services = sources.iter().map(|(service, image)| async move {
        for one in moves.iter().filter(|one| one.service == *service) {
            registries.move_tag(&image.source.repository, &one.repository, &one.tag, &one.to).await?;
        }
        Ok(())
    });
    join_all(services).await.into_iter().collect()
}

/// Puts tags back that were moved when others could not be. Tells what is where in the end; nothing, where all turn out
/// to be at their new place.
async fn take_back(registries: &Registries, moves: &[TagMove], fault: Fault) -> Option<Fault> {
    let Ok(now) = places(registries, moves).await else {
        let text = format!("{}; and where the tags point now cannot be read", fault.message);
        return Some(Fault { message: text, severity: Severity::Critical, ..fault });
    };
    if moves.iter().zip(&now).all(|(one, now)| now.as_ref() == Some(&one.to)) {
        return None;
    }
    let mut told = Vec::new();
    for (one, now) in moves.iter().zip(now) {
        let name = format!("{}:{}", one.repository, one.tag);
        match (&one.from, now.as_ref() == Some(&one.to)) {
            (_, false) => told.push(format!("{name} points to {} as before", shown(now.as_ref()))),
            (Some(from), true) => match registries.move_tag(&one.repository, &one.repository, &one.tag, from).await {
                Ok(()) => told.push(format!("{name} was put back to {from}")),
                Err(error) => {
                    told.push(format!("{name} is at {} and could not be put back to {from} ({error})", one.to))
                }
            },
            (None, true) => told.push(format!("{name} is new and stays at {}", one.to)),
        }
    }
    Some(Fault { message: format!("{}; {}", fault.message, told.join("; ")), severity: Severity::Critical, ..fault })
}

/// Where tags point now.
async fn places(registries: &Registries, moves: &[TagMove]) -> Result<Vec<Option<Digest>>, Fault> {
    let looks = moves.iter().map(|one| async move {
        place(registries, &one.repository, &one.tag).await.map_err(|fault| fault.about(&one.service))
    });
    join_all(looks).await.into_iter().collect()
}

/// Sees that every tag shows its digest to everybody.
async fn read_back(work: &mut Work<'_>, images: &[(String, PlannedImage)]) -> Result<(), Trouble> {
    let Attended { registries, attention } = super::attend::attended(&work.registries());
    let looks = images.iter().flat_map(|(service, image)| image.tags.iter().map(move |tag| (service, image, tag))).map(
        |(service, image, tag)| {
            let registries = &registries;
            async move {
                let read = registries.read_back(&image.target, &tag.tag, &image.digest).await;
                read.map_err(|error| Fault::from(error).about(service))
            }
        },
    );
    let faults = attention.to(work.visit, join_all(looks)).await?.into_iter().filter_map(Result::err).collect();
    Trouble::unless_none(faults)
}

fn shown(digest: Option<&Digest>) -> String {
    digest.map_or_else(|| "nothing".to_owned(), ToString::to_string)
}
