//! That the targets still point to what this run put there: asked before anything is built on it.

use futures_util::future::join_all;

use crate::ledger::{Filter, Ledger};
use crate::promotion::fault::{Code, Fault};
use crate::promotion::run::Run;
use crate::registry::{Class, Registries};

/// Looks at every tag of a run that has put them in place; one that points elsewhere is a fault, which names the run that
/// came after, where one did.
///
/// # Errors
/// [`Code::TargetMoved`], and what keeps it from looking.
pub(super) async fn assert(run: &Run, registries: &Registries, ledger: &dyn Ledger) -> Result<(), Fault> {
    let Some((plan, _)) = &run.plan else { return Ok(()) };
    let images = plan.candidates.iter().filter_map(|planned| Some((&planned.service, planned.image.as_ref()?)));
    let looks = images.flat_map(|(service, image)| image.tags.iter().map(move |tag| (service, image, tag))).map(
        |(service, image, tag)| async move {
            let reference = image.target.tagged(tag.tag.clone());
            let head =
                registries.head(&reference, Class::Look).await.map_err(|error| Fault::from(error).about(service))?;
            let now = head.map(|head| head.digest);
            if now.as_ref() == Some(&image.digest) {
                return Ok(());
            }
            let now = now.map_or_else(|| "nothing".to_owned(), |digest| digest.to_string());
            let text = format!("{reference} points to {now} now, and run {} had put {} there", run.id, image.digest);
            Err(Fault::new(Code::TargetMoved, text).about(service))
        },
    );
    let Some(fault) = join_all(looks).await.into_iter().find_map(Result::err) else { return Ok(()) };
    let filter = Filter {
        scope: Some(run.opening.scope.clone()),
        environment: Some(run.opening.environment.clone()),
        limit: Some(1),
        ..Filter::default()
    };
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
