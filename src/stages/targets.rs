//! That the targets still point to what this run put there: asked before anything is built on it.

use futures_util::future::join_all;

use crate::ledger::{Filter, Ledger};
use crate::promotion::digest::Digest;
use crate::promotion::event::Conclusion;
use crate::promotion::fault::{Code, Fault};
use crate::promotion::image::{Repository, Tag};
use crate::promotion::run::Run;
use crate::promotion::stage::Stage;
use crate::promotion::state::State;
use crate::registry::{Class, Registries};

/// Where a target's tag points; nothing, where there is none. GHCR denies what does not exist yet, so a denial is no
/// more than that here: the push tells whether we may write.
///
/// # Errors
/// What keeps it from looking.
pub(super) async fn place(
    registries: &Registries,
    repository: &Repository,
    tag: &Tag,
) -> Result<Option<Digest>, Fault> {
    match registries.head(&repository.tagged(tag.clone()), Class::Look).await {
        Ok(head) => Ok(head.map(|head| head.digest)),
        Err(error) if error.may_be_absent() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Looks at every tag of a run that has put them in place; one that points elsewhere is a fault, which names the run that
/// came after, where one did. Of a run that has put nothing in place nothing is asked.
///
/// # Errors
/// [`Code::TargetMoved`], and what keeps it from looking.
pub(super) async fn assert(run: &Run, registries: &Registries, ledger: &dyn Ledger) -> Result<(), Fault> {
    let put = run.ended.as_ref().map_or(run.conclusion(Stage::Copy) == Some(Conclusion::Done), |ended| {
        ended.state == State::CompletedSuccessfully
    });
    let Some((plan, _)) = run.plan.as_ref().filter(|_| put) else { return Ok(()) };
    let images = plan.candidates.iter().filter_map(|planned| Some((&planned.service, planned.image.as_ref()?)));
    let looks = images.flat_map(|(service, image)| image.tags.iter().map(move |tag| (service, image, tag))).map(
        |(service, image, tag)| async move {
            let reference = image.target.tagged(tag.tag.clone());
            let head = registries.head(&reference, Class::Look).await;
            let now = head.map_err(|error| Fault::from(error).about(service))?.map(|head| head.digest);
            if now.as_ref() == Some(&image.digest) {
                return Ok(());
            }
            let now = now.map_or_else(|| "nothing".to_owned(), |digest| digest.to_string());
            let text = format!("{reference} points to {now} now, and run {} had put {} there", run.id, image.digest);
            Err(Fault::new(Code::TargetMoved, text).about(service))
        },
    );
    let Some(fault) = join_all(looks).await.into_iter().find_map(Result::err) else { return Ok(()) };
    let filter = Filter { limit: Some(1), ..Filter::history(&run.opening.scope, &run.opening.environment) };
    // Only a better text is lost where the ledger does not say.
    let later =
        ledger.runs(&filter).await.ok().and_then(|runs| runs.into_iter().next()).filter(|later| *later > run.id);
    Err(match later {
        Some(later) => {
            let text = format!("{}; run {later} came after it", fault.message);
            Fault { message: text, ..fault }
                .with_fix("nothing, if the later run is what is wanted; else promote again in a new workflow run")
        }
        None => fault,
    })
}
