//! What is attached to an image, read: signatures, attestations, reports, bills of materials; wherever they are kept.
//!
//! Whoever may push to the repository may attach. That something is attached proves nothing.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::class::Class;
use super::error::{RegistryError, Trouble};
use super::manifest::{Content, Descriptor, Manifest};
use super::manifests::Errand;
use super::tree::together;
use super::{Inspection, Registries};
use crate::promotion::digest::Digest;
use crate::promotion::image::Repository;

/// The largest attached document that is read.
const ATTACHMENT_LIMIT: usize = 32 * 1024 * 1024;

/// The most documents that are read of one image.
const MAX_ATTACHMENTS: usize = 500;

/// The annotation by which BuildKit says which entry of the index its attestation is about.
const ATTACHED_TO_DIGEST: &str = "vnd.docker.reference.digest";

/// A document that is attached to an image.
#[derive(Debug, Clone)]
pub struct Attachment {
    /// The manifest that it is attached to.
    pub subject: Digest,
    /// The manifest that it is in.
    pub manifest: Digest,
    /// The type of what it is in: the artifact's, or the configuration's media type.
    pub artifact_type: String,
    /// Its own media type.
    pub media_type: String,
    /// The annotations of its layer, above those of its manifest.
    pub annotations: BTreeMap<String, String>,
    /// What it says; an error where it is too large, gone or broken.
    pub bytes: Result<Bytes, RegistryError>,
}

/// The annotations that name the predicate of a statement: BuildKit's, cosign's in its old form and in bundles.
const PREDICATES: [&str; 3] = ["in-toto.io/predicate-type", "predicateType", "dev.sigstore.bundle.predicateType"];

impl Attachment {
    /// Whether its types, or that of the predicate in it, have one of these words in them.
    #[must_use]
    pub fn says_to_be(&self, words: &[&str]) -> bool {
        let predicates = PREDICATES.iter().filter_map(|name| self.annotations.get(*name));
        let types = [&self.media_type, &self.artifact_type].into_iter().chain(predicates);
        types.map(|said| said.to_ascii_lowercase()).any(|said| words.iter().any(|word| said.contains(word)))
    }
}

impl Registries {
    /// Reads what is attached to an image and to each of its platforms: by OCI's referrers, under cosign's tags, and as
    /// BuildKit's attestations inside the index. Only documents are read, not what has the media type of an archive.
    ///
    /// # Errors
    /// What keeps it from being found out what there is. That a document cannot be read is with the document.
    pub async fn attachments(
        &self,
        repository: &Repository,
        inspection: &Inspection,
    ) -> Result<Vec<Attachment>, RegistryError> {
        let errand = Errand::alone(Class::Attached);
        let mut subjects = vec![inspection.root.digest.clone()];
        subjects.extend(inspection.platforms.iter().map(|platform| platform.manifest.digest.clone()));
        let mut once = BTreeSet::new();
        subjects.retain(|subject| once.insert(subject.clone()));
        let mut found: Vec<(Digest, std::sync::Arc<Manifest>)> = Vec::new();
        for subject in &subjects {
            let referrers = self.referrers_among(repository, subject, None, &errand).await?;
            found.extend(referrers.into_iter().map(|referrer| (subject.clone(), referrer)));
        }
        let tags =
            subjects.iter().flat_map(|subject| super::attached::cosign_tags(subject).map(move |tag| (subject, tag)));
        let read = tags.map(|(subject, tag)| {
            let errand = &errand;
            async move {
                match self.read_manifest(&repository.tagged(tag), errand).await {
                    Ok(manifest) => Ok(Some((subject.clone(), manifest))),
                    // GHCR denies what is not there.
                    Err(error) if error.is_absent() || matches!(error.trouble, Trouble::Denied { .. }) => Ok(None),
                    Err(error) => Err(error),
                }
            }
        });
        found.extend(together(read.collect()).await?.into_iter().flatten());
        for child in inspection.root.children().iter().filter(|child| child.is_attestation() && child.is_manifest()) {
            let Some(subject) = child.annotations.get(ATTACHED_TO_DIGEST).and_then(|text| text.parse().ok()) else {
                continue;
            };
            found.push((subject, self.read_manifest(&repository.at(child.digest.clone()), &errand).await?));
        }
        found.sort_by(|one, other| (&one.0, &one.1.digest).cmp(&(&other.0, &other.1.digest)));
        let documents: Vec<_> = found.iter().flat_map(|(subject, manifest)| documents(subject, manifest)).collect();
        if documents.len() > MAX_ATTACHMENTS {
            let why = format!("more than {MAX_ATTACHMENTS} documents are attached");
            return Err(RegistryError::new(
                format!("read what is attached to {repository}"),
                Trouble::Malformed { why },
            ));
        }
        let read = documents.into_iter().enumerate().map(|(place, (layer, mut attachment))| async move {
            attachment.bytes = match self.document(repository, &layer).await {
                Err(error) if !error.is_about_content() && !matches!(error.trouble, Trouble::TooLarge { .. }) => {
                    return Err(error);
                }
                bytes => bytes,
            };
            Ok((place, attachment))
        });
        let mut attachments = together(read.collect()).await?;
        attachments.sort_by_key(|(place, _)| *place);
        Ok(attachments.into_iter().map(|(_, attachment)| attachment).collect())
    }

    async fn document(&self, repository: &Repository, layer: &Descriptor) -> Result<Bytes, RegistryError> {
        self.small_blob(repository, layer, ATTACHMENT_LIMIT, Class::Attached).await
    }
}

/// The documents in a manifest.
fn documents(subject: &Digest, manifest: &Manifest) -> Vec<(Descriptor, Attachment)> {
    let (config, layers) = match &manifest.content {
        Content::Image { config, layers } => (Some(config), layers.as_slice()),
        Content::Artifact { blobs } => (None, blobs.as_slice()),
        Content::Index { .. } => (None, &[][..]),
    };
    let artifact_type = manifest.artifact_type.clone().or_else(|| config.map(|config| config.media_type.clone()));
    layers
        .iter()
        .filter(|layer| is_document(&layer.media_type))
        .map(|layer| {
            let mut annotations = manifest.annotations.clone();
            annotations.extend(layer.annotations.clone());
            let attachment = Attachment {
                subject: subject.clone(),
                manifest: manifest.digest.clone(),
                artifact_type: artifact_type.clone().unwrap_or_default(),
                media_type: layer.media_type.clone(),
                annotations,
                bytes: Ok(Bytes::new()),
            };
            (layer.clone(), attachment)
        })
        .collect()
}

/// Whether a media type is a document's.
fn is_document(media_type: &str) -> bool {
    let media_type = media_type.to_ascii_lowercase();
    let archive = [".tar", "+gzip", "+zstd", "gzip", "zip"].iter().any(|kind| media_type.contains(kind));
    !archive
        && ["json", "dsse", "in-toto", "sigstore", "cosign", "spdx", "cyclonedx", "sarif", "text/"]
            .iter()
            .any(|kind| media_type.contains(kind))
}
