//! What is attached to an image travels with it: OCI referrers, and cosign's signatures, attestations and SBOMs under
//! tags of their own.
//!
//! # What is already there is never lost
//! - A fallback index at the target is added to, never replaced, and read back until it lists what was added.
//! - Signatures and attestations of cosign under one tag are the layers of one manifest. If the target has some that
//!   the source lacks (signed there, by another key), the tag gets the union: the source's manifest with the target's
//!   own layers behind. Where one of the two has everything, that one stays or is put, byte for byte.
//! - An SBOM of cosign is one document: the source's replaces the target's, and the target's is kept alive under
//!   `tidegate-keep-…`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use oci_distribution::manifest::OCI_IMAGE_INDEX_MEDIA_TYPE;
use serde_json::{Value, json};

use super::Registries;
use super::blobs::Way;
use super::content::Done;
use super::error::{RegistryError, Trouble};
use super::manifest::{Content, Descriptor, Manifest};
use super::referrers::fallback_tag;
use super::tags::keep_tag;
use super::tree::{Tree, together};
use crate::promotion::digest::Digest;
use crate::promotion::image::Tag;

/// The most that is attached to one image.
const MAX_ATTACHED: usize = 1_000;

/// The longest chain of what refers to what refers to an image.
const MAX_DEPTH: usize = 5;

/// What cosign puts behind a digest to name a tag.
const SUFFIXES: [&str; 3] = ["sig", "att", "sbom"];

/// What is attached to an image.
#[derive(Debug, Default)]
pub(super) struct Attached {
    referrers: Vec<Tree>,
    tagged: Vec<(Tag, Tree)>,
}

impl Registries {
    /// Finds all that is attached to an image, to any manifest of it, and to what is attached.
    pub(super) async fn discover(&self, way: &Way<'_>, image: &Tree) -> Result<Attached, RegistryError> {
        let errand = way.reading();
        let subjects: Vec<Digest> = image.manifests().map(|manifest| manifest.digest.clone()).collect();
        // One list of tags tells about all subjects. Where it would take more pages than there are tags to ask for, or
        // cannot be had, each is asked for.
        let pages = (subjects.len() * SUFFIXES.len()).max(2);
        let tags = self.tags_within(way.from, pages, &errand).await.ok().flatten();
        let mut found = Attached::default();
        let mut seen: BTreeSet<Digest> = subjects.iter().cloned().collect();
        let mut next = subjects.clone();
        for depth in 0.. {
            let list = |subject| self.referrers_among(way.from, subject, tags.as_ref(), &errand);
            // The first answer tells whether there is an API at all; where there is none, nobody else is asked.
            let mut listed = Vec::new();
            if let Some((first, others)) = next.split_first() {
                listed.push(list(first).await?);
                listed.extend(together(others.iter().map(list).collect()).await?);
            }
            let fresh: Vec<Digest> = listed
                .into_iter()
                .flatten()
                .map(|referrer| referrer.digest.clone())
                .filter(|digest| seen.insert(digest.clone()))
                .collect();
            if fresh.is_empty() {
                break;
            }
            if depth >= MAX_DEPTH || found.referrers.len() + fresh.len() > MAX_ATTACHED {
                let why = format!("more than {MAX_ATTACHED} attachments, or attachments more than {MAX_DEPTH} deep");
                let doing = format!("collect what is attached to {}", way.from);
                return Err(RegistryError::new(doing, Trouble::Malformed { why }));
            }
            let trees = fresh.iter().map(|digest| self.tree(way.from, digest, &errand));
            found.referrers.extend(together(trees.collect()).await?);
            next = fresh;
        }
        let names = subjects.iter().flat_map(cosign_tags);
        let wanted = names.filter(|tag| tags.as_ref().is_none_or(|tags| tags.contains(tag)));
        let read = wanted.map(|tag| {
            let errand = &errand;
            async move {
                match self.read_manifest(&way.from.tagged(tag.clone()), errand).await {
                    Ok(manifest) => Ok(Some((tag, self.tree(way.from, &manifest.digest, errand).await?))),
                    Err(error) if error.is_absent() => Ok(None),
                    Err(error) => Err(error),
                }
            }
        });
        found.tagged = together(read.collect()).await?.into_iter().flatten().collect();
        Ok(found)
    }

    /// Brings what is attached, and lists it where the registry does not. Tells how many signatures, attestations and
    /// the like there were.
    pub(super) async fn bring_attached(
        &self,
        way: &Way<'_>,
        attached: Attached,
        done: &mut Done,
    ) -> Result<u64, RegistryError> {
        let count = attached.referrers.len() + attached.tagged.len();
        for tree in &attached.referrers {
            self.bring_tree(way, tree, done).await?;
            let Some(root) = tree.root() else { continue };
            if !done.manifests.contains(&root.digest) {
                let listed = self.write_along(way, tree, root, &way.to.at(root.digest.clone())).await?;
                done.written(root, listed);
            }
        }
        self.list_unlisted(way, done).await?;
        for (tag, tree) in &attached.tagged {
            self.bring_tree(way, tree, done).await?;
            self.bring_tagged(way, tag, tree).await?;
        }
        Ok(count as u64)
    }

    /// Adds what the registry does not list to the fallback index of each subject.
    async fn list_unlisted(&self, way: &Way<'_>, done: &mut Done) -> Result<(), RegistryError> {
        let mut entries: BTreeMap<Digest, Vec<Arc<Manifest>>> = BTreeMap::new();
        for manifest in done.unlisted.drain(..) {
            if let Some(subject) = &manifest.subject {
                entries.entry(subject.digest.clone()).or_default().push(manifest);
            }
        }
        for (subject, manifests) in entries {
            let entries: Vec<Value> = manifests.iter().map(|manifest| entry(manifest)).collect();
            self.list_at(way, &subject, &entries).await?;
        }
        Ok(())
    }

    /// Adds entries to a subject's fallback index, and reads it back: somebody else may have written it in between, and
    /// there is no way to write only if it is unchanged.
    async fn list_at(&self, way: &Way<'_>, subject: &Digest, entries: &[Value]) -> Result<(), RegistryError> {
        let reference = way.to.tagged(fallback_tag(subject));
        let errand = way.writing();
        let doing = format!("list what refers to {}@{subject}", way.to);
        self.patiently(&doing, |_| async {
            let there = readable(self.get_once(&reference, &errand).await)?;
            let Some(index) = extended(there.as_deref(), entries)? else { return Ok(()) };
            self.put_once(&reference, &index, &errand).await?;
            let there = readable(self.get_once(&reference, &errand).await)?;
            match extended(there.as_deref(), entries)? {
                None => Ok(()),
                Some(_) => {
                    Err(Trouble::NotSeen { wanted: index.digest, seen: there.map(|there| there.digest.clone()) })
                }
            }
        })
        .await
    }

    /// Puts what cosign keeps under a tag, so that nothing that is there is lost.
    async fn bring_tagged(&self, way: &Way<'_>, tag: &Tag, tree: &Tree) -> Result<(), RegistryError> {
        let Some(source) = tree.root() else { return Ok(()) };
        let reference = way.to.tagged(tag.clone());
        let errand = way.writing();
        let doing = format!("read {reference}");
        let there = self.patiently(&doing, |_| async { readable(self.get_once(&reference, &errand).await) }).await?;
        let union = match there.as_deref() {
            None => Union::Source,
            Some(target) => union(source, target, !tag.as_str().ends_with(".sbom"))
                .map_err(|trouble| RegistryError::new(format!("join what is at {reference}"), trouble))?,
        };
        match (union, there) {
            (Union::Target, _) => return Ok(()),
            (Union::Both(manifest), _) => self.write_along(way, tree, &manifest, &reference).await?,
            (Union::Source, _) => self.write_along(way, tree, source, &reference).await?,
            (Union::Neither, there) => {
                if let Some(target) = there {
                    let kept = way.to.tagged(keep_tag(&target.digest));
                    self.write_manifest(&kept, &target, &errand).await?;
                }
                self.write_along(way, tree, source, &reference).await?
            }
        };
        Ok(())
    }
}

/// What is at a tag, if there is anything that is a manifest.
fn readable(read: Result<Arc<Manifest>, Trouble>) -> Result<Option<Arc<Manifest>>, Trouble> {
    match read {
        Ok(manifest) => Ok(Some(manifest)),
        Err(Trouble::Absent { .. } | Trouble::Malformed { .. }) => Ok(None),
        Err(trouble) => Err(trouble),
    }
}

/// The tags under which cosign keeps what belongs to a digest (sigstore/cosign `pkg/oci/remote`, `SignatureTag`).
pub(super) fn cosign_tags(subject: &Digest) -> impl Iterator<Item = Tag> {
    let stem = format!("{}-{}", subject.algorithm(), subject.hex());
    // With a SHA-512 digest the name would be too long for a tag, so that there is none.
    SUFFIXES.into_iter().filter_map(move |suffix| format!("{stem}.{suffix}").parse().ok())
}

/// How a manifest is listed at its subject (distribution-spec, "Pushing manifests with subject").
fn entry(manifest: &Manifest) -> Value {
    let mut entry = json!({
        "mediaType": manifest.media_type,
        "digest": manifest.digest,
        "size": manifest.bytes.len(),
    });
    let config_type = match &manifest.content {
        Content::Image { config, .. } => Some(&config.media_type),
        Content::Index { .. } | Content::Artifact { .. } => None,
    };
    if let Some(artifact_type) = manifest.artifact_type.as_ref().or(config_type) {
        entry["artifactType"] = json!(artifact_type);
    }
    if !manifest.annotations.is_empty() {
        entry["annotations"] = json!(manifest.annotations);
    }
    entry
}

/// The fallback index with entries added, or `None` where it has them all. What is there keeps all its fields; what is
/// no index counts as nothing.
fn extended(there: Option<&Manifest>, entries: &[Value]) -> Result<Option<Manifest>, Trouble> {
    let listed = there.filter(|there| matches!(there.content, Content::Index { .. }));
    let known: BTreeSet<String> =
        listed.into_iter().flat_map(|index| index.children()).map(|child| child.digest.to_string()).collect();
    let new: Vec<&Value> =
        entries.iter().filter(|entry| entry["digest"].as_str().is_some_and(|digest| !known.contains(digest))).collect();
    if new.is_empty() {
        return Ok(None);
    }
    let mut index: Value = match listed {
        Some(index) => parsed(&index.bytes)?,
        None => json!({"schemaVersion": 2, "mediaType": OCI_IMAGE_INDEX_MEDIA_TYPE, "manifests": []}),
    };
    append(&mut index, "manifests", new)?;
    written(&index).map(Some)
}

/// What becomes of a tag of cosign's that both sides have.
#[derive(Debug)]
enum Union {
    /// The source has everything.
    Source,
    /// The target has everything.
    Target,
    /// Each has something of its own, and this has both.
    Both(Box<Manifest>),
    /// They cannot be joined.
    Neither,
}

fn union(source: &Manifest, target: &Manifest, joinable: bool) -> Result<Union, Trouble> {
    if source.digest == target.digest {
        return Ok(Union::Target);
    }
    let (Content::Image { layers: ours, .. }, Content::Image { layers: theirs, .. }, true) =
        (&source.content, &target.content, joinable)
    else {
        return Ok(Union::Neither);
    };
    // Signatures of one image by several keys have one payload: what tells them apart is the annotations.
    let only_theirs: Vec<usize> =
        (0..theirs.len()).filter(|at| !ours.iter().any(|own| same_signature(own, &theirs[*at]))).collect();
    if only_theirs.is_empty() {
        return Ok(Union::Source);
    }
    if ours.iter().all(|own| theirs.iter().any(|other| same_signature(own, other))) {
        return Ok(Union::Target);
    }
    let (mut joined, other) = (parsed(&source.bytes)?, parsed(&target.bytes)?);
    append(&mut joined, "layers", only_theirs.iter().map(|at| &other["layers"][*at]))?;
    written(&joined).map(|manifest| Union::Both(Box::new(manifest)))
}

fn same_signature(one: &Descriptor, other: &Descriptor) -> bool {
    one.digest == other.digest && one.annotations == other.annotations
}

fn parsed(bytes: &[u8]) -> Result<Value, Trouble> {
    serde_json::from_slice(bytes).map_err(|error| Trouble::Malformed { why: error.to_string() })
}

fn append<'v>(object: &mut Value, list: &str, more: impl IntoIterator<Item = &'v Value>) -> Result<(), Trouble> {
    if object[list].is_null() {
        object[list] = json!([]);
    }
    let list = object[list].as_array_mut().ok_or_else(|| Trouble::Malformed { why: "not a list".to_owned() })?;
    list.extend(more.into_iter().cloned());
    Ok(())
}

/// A manifest of our own making.
fn written(json: &Value) -> Result<Manifest, Trouble> {
    let bytes = Bytes::from(json.to_string());
    let digest = Digest::sha256(&bytes);
    Manifest::read(bytes, None, digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signatures(signers: &[&str]) -> Manifest {
        let layers: Vec<Value> = signers
            .iter()
            .map(|signer| {
                json!({
                    "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
                    "digest": Digest::sha256(b"payload"), "size": 7,
                    "annotations": {"dev.cosignproject.cosign/signature": signer}
                })
            })
            .collect();
        written(&json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": Digest::sha256(b"c"), "size": 1},
            "layers": layers
        }))
        .unwrap()
    }

    fn signers(manifest: &Manifest) -> Vec<String> {
        let Content::Image { layers, .. } = &manifest.content else { panic!() };
        layers.iter().flat_map(|layer| layer.annotations.values().cloned()).collect()
    }

    #[test]
    fn no_signature_is_ever_lost() {
        let join = |source: &[&str], target: &[&str]| union(&signatures(source), &signatures(target), true).unwrap();
        assert!(matches!(join(&["a"], &["a"]), Union::Target));
        assert!(matches!(join(&["a"], &["a", "b"]), Union::Target));
        assert!(matches!(join(&["a", "b"], &["b"]), Union::Source));
        let Union::Both(both) = join(&["a", "b"], &["b", "c"]) else { panic!() };
        assert_eq!(signers(&both), ["a", "b", "c"]);
        assert!(matches!(union(&signatures(&["a"]), &signatures(&["b"]), false).unwrap(), Union::Neither));
    }

    #[test]
    fn a_fallback_index_is_added_to_and_keeps_what_it_has() {
        let entries = [entry(&signatures(&["a"])), entry(&signatures(&["b"]))];
        let first = extended(None, &entries[..1]).unwrap().unwrap();
        assert_eq!(first.children().len(), 1);
        assert_eq!(first.children()[0].artifact_type.as_deref(), Some("application/vnd.oci.image.config.v1+json"));
        assert!(extended(Some(&first), &entries[..1]).unwrap().is_none());
        let mut strange: Value = parsed(&first.bytes).unwrap();
        strange["x"] = json!("kept");
        strange["manifests"][0]["y"] = json!("kept");
        let strange = written(&strange).unwrap();
        let second = extended(Some(&strange), &entries).unwrap().unwrap();
        assert_eq!(second.children().len(), 2);
        let json = parsed(&second.bytes).unwrap();
        assert_eq!((&json["x"], &json["manifests"][0]["y"]), (&json!("kept"), &json!("kept")));
        // The image itself under the tag, as cosign's copy leaves it: no index, so that it lists nothing.
        assert_eq!(extended(Some(&signatures(&["a"])), &entries).unwrap().unwrap().children().len(), 2);
    }

    #[test]
    fn cosign_names_three_tags() {
        let digest = Digest::sha256(b"x");
        let tags: Vec<_> = cosign_tags(&digest).map(|tag| tag.to_string()).collect();
        assert_eq!(tags, ["sig", "att", "sbom"].map(|suffix| format!("sha256-{}.{suffix}", digest.hex())));
    }
}
