//! An image as a whole: its root, all manifests below it, and all blobs that they point to.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::Registries;
use super::error::{RegistryError, Trouble};
use super::manifest::{Descriptor, Manifest};
use super::manifests::Errand;
use crate::promotion::digest::Digest;
use crate::promotion::image::Repository;

/// The most indexes inside indexes.
const MAX_DEPTH: usize = 5;

/// The most manifests of one image.
const MAX_MANIFESTS: usize = 2_000;

/// The most that is worked on at a time; what is really in flight each registry's limiter decides.
const WIDTH: usize = 64;

/// An image as a whole.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    /// Every manifest once, those first that no other one needs to be there before; the root is the last.
    levels: Vec<Vec<Arc<Manifest>>>,
    /// Every blob once, without foreign layers.
    pub(super) blobs: Vec<Descriptor>,
    /// The number of foreign layers, each counted once.
    pub(super) foreign: u64,
}

impl Tree {
    /// The manifests below the root, in levels: each level needs those before it, and nothing else.
    pub(super) fn below(&self) -> &[Vec<Arc<Manifest>>] {
        self.levels.split_last().map_or(&[], |(_, below)| below)
    }

    /// The root.
    pub(super) fn root(&self) -> Option<&Arc<Manifest>> {
        self.levels.last()?.first()
    }

    /// All manifests.
    pub(super) fn manifests(&self) -> impl Iterator<Item = &Arc<Manifest>> {
        self.levels.iter().flatten()
    }

    /// Puts an image together from its manifests, by digest.
    pub(super) fn of(root: &Digest, manifests: &HashMap<Digest, Arc<Manifest>>) -> Self {
        let mut heights = HashMap::new();
        height(root, manifests, &mut heights);
        let top = heights.get(root).copied().unwrap_or(0);
        let mut levels = vec![Vec::new(); top + 1];
        let mut sorted: Vec<(&Digest, &usize)> = heights.iter().collect();
        sorted.sort();
        for (digest, height) in sorted {
            if let Some(manifest) = manifests.get(digest) {
                levels[*height].push(Arc::clone(manifest));
            }
        }
        let mut seen = HashSet::new();
        let mut blobs = Vec::new();
        let mut foreign = 0;
        for manifest in levels.iter().flatten() {
            for blob in manifest.references().filter(|reference| !reference.is_manifest()) {
                if seen.insert(blob.digest.clone()) {
                    if blob.is_foreign() { foreign += 1 } else { blobs.push(blob.clone()) }
                }
            }
        }
        Self { levels, blobs, foreign }
    }
}

/// How many levels are below a manifest. What refers to itself by digest cannot exist, so that this ends.
fn height(
    digest: &Digest,
    manifests: &HashMap<Digest, Arc<Manifest>>,
    heights: &mut HashMap<Digest, usize>,
) -> Option<usize> {
    if let Some(height) = heights.get(digest) {
        return Some(*height);
    }
    let manifest = manifests.get(digest)?;
    let children = manifest.children().iter().filter(|child| child.is_manifest());
    let below = children.filter_map(|child| height(&child.digest, manifests, heights)).max();
    let own = below.map_or(0, |below| below + 1);
    heights.insert(digest.clone(), own);
    Some(own)
}

impl Registries {
    /// Reads all manifests of an image.
    pub(super) async fn tree(
        &self,
        repository: &Repository,
        root: &Digest,
        errand: &Errand,
    ) -> Result<Tree, RegistryError> {
        let mut found: HashMap<Digest, Arc<Manifest>> = HashMap::new();
        let mut next = vec![root.clone()];
        for _ in 0..=MAX_DEPTH {
            let read = next.iter().map(|digest| {
                let reference = repository.at(digest.clone());
                async move { self.read_manifest(&reference, errand).await }
            });
            let mut wanted = Vec::new();
            for manifest in together(read.collect::<Vec<_>>()).await? {
                wanted.extend(manifest.children().iter().filter(|child| child.is_manifest()).map(|c| c.digest.clone()));
                found.insert(manifest.digest.clone(), manifest);
            }
            let mut once = HashSet::new();
            wanted.retain(|digest| !found.contains_key(digest) && once.insert(digest.clone()));
            if wanted.is_empty() {
                return Ok(Tree::of(root, &found));
            }
            if found.len() + wanted.len() > MAX_MANIFESTS {
                break;
            }
            next = wanted;
        }
        let why = format!("more than {MAX_MANIFESTS} manifests, or indexes more than {MAX_DEPTH} deep");
        Err(RegistryError::new(format!("read {repository}@{root}"), Trouble::Malformed { why }))
    }
}

/// Does several things at a time; the first error ends them all.
pub(super) async fn together<T, E>(work: Vec<impl Future<Output = Result<T, E>>>) -> Result<Vec<T>, E> {
    stream::iter(work).buffer_unordered(WIDTH).try_collect().await
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;

    fn manifest(json: &serde_json::Value) -> Arc<Manifest> {
        let bytes = Bytes::from(json.to_string());
        let digest = Digest::sha256(&bytes);
        Arc::new(Manifest::read(bytes, None, digest).unwrap())
    }

    fn blob(content: &str) -> serde_json::Value {
        json!({"mediaType": "application/octet-stream", "digest": Digest::sha256(content.as_bytes()), "size": content.len()})
    }

    fn image(layers: &[&str]) -> Arc<Manifest> {
        let layers: Vec<_> = layers.iter().map(|layer| blob(layer)).collect();
        manifest(&json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": blob("config"), "layers": layers
        }))
    }

    fn index(children: &[&Arc<Manifest>]) -> Arc<Manifest> {
        let children: Vec<_> = children
            .iter()
            .map(|child| json!({"mediaType": child.media_type, "digest": child.digest, "size": child.bytes.len()}))
            .collect();
        let media_type = "application/vnd.oci.image.index.v1+json";
        manifest(&json!({"schemaVersion": 2, "mediaType": media_type, "manifests": children}))
    }

    #[test]
    fn what_is_needed_comes_first_and_everything_once() {
        let (amd, arm) = (image(&["base", "amd"]), image(&["base", "arm"]));
        let inner = index(&[&amd, &arm]);
        // The root names an image that the inner index has too.
        let root = index(&[&amd, &inner, &inner]);
        let all = [&amd, &arm, &inner, &root].map(|m| (m.digest.clone(), Arc::clone(m)));
        let tree = Tree::of(&root.digest, &HashMap::from(all));
        assert_eq!(tree.root().unwrap().digest, root.digest);
        let below: Vec<Vec<_>> =
            tree.below().iter().map(|level| level.iter().map(|m| m.digest.clone()).collect()).collect();
        let mut leaves = vec![amd.digest.clone(), arm.digest.clone()];
        leaves.sort();
        assert_eq!(below, [leaves, vec![inner.digest.clone()]]);
        assert_eq!(tree.blobs.len(), 4);
    }
}
