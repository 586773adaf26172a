//! Content brought to another repository: blobs first, then manifests, children before those that name them.
//!
//! The root of an image is not written here. It goes to its place with its first tag ([`Registries::move_tag`]), so
//! that nothing is visible before all tags of a run move together, and so that it costs one request and not two.

use std::collections::HashSet;
use std::sync::Arc;

use super::Registries;
use super::blobs::{Brought, Way};
use super::class::Class;
use super::error::{RegistryError, Trouble};
use super::manifest::{Descriptor, Manifest};
use super::tree::{Tree, together};
use crate::promotion::act::CopyStats;
use crate::promotion::digest::Digest;
use crate::promotion::image::{Reference, Repository};

/// What goes along with an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyOptions {
    /// Signatures, attestations, SBOMs and whatever else refers to the image.
    pub attached: bool,
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self { attached: true }
    }
}

/// What was done along a way so far, so that nothing is done twice.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) blobs: HashSet<Digest>,
    pub(super) manifests: HashSet<Digest>,
    /// Manifests that refer to a subject, and that the registry does not list there by itself.
    pub(super) unlisted: Vec<Arc<Manifest>>,
}

impl Registries {
    /// Brings everything of an image but its root to another repository, with what is attached to it. No tag moves. To
    /// do it again is harmless, and moves no byte that is there already.
    ///
    /// Inside one repository there is nothing to do, and nothing is asked.
    ///
    /// # Errors
    /// Those of reading from `from` and of writing to `to`; what was written until then stays, and harms nobody.
    pub async fn copy_content(
        &self,
        from: &Repository,
        to: &Repository,
        digest: &Digest,
        options: CopyOptions,
    ) -> Result<CopyStats, RegistryError> {
        if from == to {
            return Ok(CopyStats::default());
        }
        let way = Way { from, to, class: Class::Copy };
        let tree = self.tree(from, digest, &way.reading()).await?;
        let mut done = Done::default();
        let image = self.bring_tree(&way, &tree, &mut done);
        if !options.attached {
            return image.await;
        }
        let way = Way { class: Class::Attached, ..way.clone() };
        let (mut stats, attached) = futures_util::future::try_join(image, self.discover(&way, &tree)).await?;
        stats.attached = self.bring_attached(&way, attached, &mut done).await?;
        Ok(stats)
    }

    /// Brings everything of a tree but its root.
    pub(super) async fn bring_tree(
        &self,
        way: &Way<'_>,
        tree: &Tree,
        done: &mut Done,
    ) -> Result<CopyStats, RegistryError> {
        let mut stats = CopyStats { foreign: tree.foreign, ..CopyStats::default() };
        let wanted: Vec<&Descriptor> = tree.blobs.iter().filter(|blob| !done.blobs.contains(&blob.digest)).collect();
        let bring = wanted.into_iter().map(|blob| async move {
            let brought = self.bring_blob(way, blob, false).await?;
            Ok::<_, RegistryError>((blob, brought))
        });
        for (blob, brought) in together(bring.collect()).await? {
            match brought {
                Brought::Mounted => stats.mounted += 1,
                Brought::Streamed => {
                    stats.streamed += 1;
                    stats.bytes += blob.size;
                }
            }
            done.blobs.insert(blob.digest.clone());
        }
        for level in tree.below() {
            let wanted = level.iter().filter(|manifest| !done.manifests.contains(&manifest.digest));
            let write = wanted.map(|manifest| async move {
                let reference = way.to.at(manifest.digest.clone());
                Ok::<_, RegistryError>((manifest, self.write_along(way, tree, manifest, &reference).await?))
            });
            for (manifest, listed) in together(write.collect::<Vec<_>>()).await? {
                stats.manifests += 1;
                done.written(manifest, listed);
            }
        }
        Ok(stats)
    }

    /// Writes a manifest of a tree whose content was brought. Where the registry misses some of that content
    /// nevertheless (it said that it had it, or a clean-up took it since), that is brought and the manifest written once
    /// more. Tells whether the registry lists it at its subject.
    pub(super) async fn write_along(
        &self,
        way: &Way<'_>,
        tree: &Tree,
        manifest: &Manifest,
        under: &Reference,
    ) -> Result<bool, RegistryError> {
        let errand = way.writing();
        let missing = match self.write_manifest(under, manifest, &errand).await {
            Err(RegistryError { trouble: Trouble::Missing { digests, .. }, .. }) => digests,
            written => return written.map(|pushed| pushed.subject_listed),
        };
        let lost = |reference: &&Descriptor| missing.is_empty() || missing.contains(&reference.digest);
        let bring = manifest.references().filter(lost).map(|lost| async {
            match tree.manifests().find(|manifest| manifest.digest == lost.digest) {
                Some(child) => {
                    self.write_manifest(&way.to.at(child.digest.clone()), child, &errand).await?;
                }
                None => {
                    self.bring_blob(way, lost, true).await?;
                }
            }
            Ok::<_, RegistryError>(())
        });
        together(bring.collect()).await?;
        Ok(self.write_manifest(under, manifest, &errand).await?.subject_listed)
    }
}

impl Done {
    /// A manifest was written.
    pub(super) fn written(&mut self, manifest: &Arc<Manifest>, subject_listed: bool) {
        if self.manifests.insert(manifest.digest.clone()) && manifest.subject.is_some() && !subject_listed {
            self.unlisted.push(Arc::clone(manifest));
        }
    }
}
