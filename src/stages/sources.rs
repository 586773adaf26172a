//! That the sources still point to what is promoted: asked before they are read, and again before the tags move.

use futures_util::future::join_all;

use super::work::{Trouble, Work};
use crate::promotion::fault::{Code, Fault};
use crate::promotion::image::Reference;
use crate::registry::Class;

/// Looks at each source's tag; one that points elsewhere refuses the run.
///
/// # Errors
/// [`Code::SourceMoved`], and what keeps it from looking.
pub(super) async fn assert(work: &mut Work<'_>) -> Result<(), Trouble> {
    let images = work.images();
    let registries = &work.registries();
    let looks = images.iter().filter(|(_, image)| image.source.tag.is_some()).map(|(service, image)| async move {
        let reference = Reference { digest: None, ..image.source.clone() };
        let head =
            registries.head(&reference, Class::Inspect).await.map_err(|error| Fault::from(error).about(service))?;
        match head.map(|head| head.digest) {
            Some(found) if found == image.digest => Ok(()),
            found => {
                let found = found.map_or_else(|| "nothing".to_owned(), |digest| digest.to_string());
                let text = format!("{reference} points to {found} now, and {} is to be promoted", image.digest);
                Err(Fault::new(Code::SourceMoved, text).about(service))
            }
        }
    });
    let faults = join_all(looks).await.into_iter().filter_map(Result::err).collect();
    Trouble::unless_none(faults)?;
    work.seen.sources = true;
    Ok(())
}
