//! What several checks read about an image: read once, by whichever asks first.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{Mutex, OnceCell};

use super::Subject;
use super::layers::Readings;
use crate::github::RepositoryName;
use crate::promotion::digest::Digest;
use crate::promotion::fault::Fault;
use crate::registry::Attachment;

/// What was read about one image so far, for all checks and all stages of a visit.
#[derive(Debug, Default)]
pub struct Evidence {
    attachments: OnceCell<Arc<Vec<Attachment>>>,
    layers: OnceCell<Arc<Readings>>,
    attestations: Mutex<BTreeMap<Digest, Arc<Vec<String>>>>,
}

impl Evidence {
    /// What is attached to the image.
    ///
    /// # Errors
    /// What keeps it from being read; it is read again by whoever asks next.
    pub async fn attachments(&self, subject: &Subject<'_>) -> Result<Arc<Vec<Attachment>>, Fault> {
        let read = || async {
            let read = subject.registries.attachments(subject.repository, subject.inspection).await;
            read.map(Arc::new).map_err(Fault::from)
        };
        self.attachments.get_or_try_init(read).await.cloned()
    }

    /// The layers of the image, every byte of them.
    ///
    /// # Errors
    /// What keeps one from being read.
    pub(super) async fn layers(&self, subject: &Subject<'_>) -> Result<Arc<Readings>, Fault> {
        let read = || async { Readings::of_image(subject).await.map(Arc::new) };
        self.layers.get_or_try_init(read).await.cloned()
    }

    /// The bundles, JSON, that GitHub has of a digest in the repository of a source, or in the job's where that is none
    /// of GitHub's; nothing where there is no GitHub to ask.
    ///
    /// # Errors
    /// What GitHub says.
    pub async fn attestations(
        &self,
        subject: &Subject<'_>,
        digest: &Digest,
        source: &str,
    ) -> Result<Option<Arc<Vec<String>>>, Fault> {
        let Some((github, own)) = subject.github else { return Ok(None) };
        let mut known = self.attestations.lock().await;
        if let Some(found) = known.get(digest) {
            return Ok(Some(Arc::clone(found)));
        }
        let named = source.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map(|(_, path)| path);
        let named = named.and_then(|path| path.trim_end_matches(".git").parse::<RepositoryName>().ok());
        let found = github.attestations(named.as_ref().unwrap_or(own), digest, None).await?;
        let bundles = Arc::new(found.into_iter().map(|one| one.bundle.to_string()).collect::<Vec<_>>());
        known.insert(digest.clone(), Arc::clone(&bundles));
        Ok(Some(bundles))
    }
}
