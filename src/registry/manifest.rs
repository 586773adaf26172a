//! Manifests: their bytes, which are never changed, and what they say.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use oci_distribution::manifest::{
    IMAGE_CONFIG_MEDIA_TYPE, IMAGE_DOCKER_CONFIG_MEDIA_TYPE, IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE,
    OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE,
};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use super::error::Trouble;
use crate::promotion::digest::Digest;
use crate::promotion::image::Repository;

/// The most that is read of a manifest: what registries must support (distribution-spec, "Pushing manifests").
pub(super) const MANIFEST_LIMIT: usize = 4 * 1024 * 1024;

/// The most children that an index may have.
const MAX_CHILDREN: usize = 1_000;

/// The most layers that an image may have; container runtimes know no more than 127.
const MAX_LAYERS: usize = 1_000;

/// The manifest of an artifact, of a draft of the image specification; registries still hold some.
const ARTIFACT_MEDIA_TYPE: &str = "application/vnd.oci.artifact.manifest.v1+json";

/// The media types of manifests, as they are asked for.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.oci.artifact.manifest.v1+json";

/// A manifest: an image, an index, or an artifact.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The bytes, as they came.
    pub bytes: Bytes,
    /// The media type, as it is sent with the bytes.
    pub media_type: String,
    /// The digest of the bytes.
    pub digest: Digest,
    /// What the bytes say.
    pub content: Content,
    /// The manifest that this one refers to, where it is attached to one.
    pub subject: Option<Descriptor>,
    /// The type of an artifact.
    pub artifact_type: Option<String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// What a manifest consists of.
#[derive(Debug, Clone)]
pub enum Content {
    /// An image for one platform, or an artifact in the form of one.
    Image {
        /// The configuration.
        config: Descriptor,
        /// The layers, the lowest first.
        layers: Vec<Descriptor>,
    },
    /// A list of manifests, usually one per platform.
    Index {
        /// The entries; by the specification they may be anything, and usually are manifests.
        manifests: Vec<Descriptor>,
    },
    /// An artifact by a draft of the specification.
    Artifact {
        /// Its blobs.
        blobs: Vec<Descriptor>,
    },
}

/// A pointer to content: what it is, how long, and its digest (image-spec `descriptor.md`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The media type.
    #[serde(default, deserialize_with = "null_as_default")]
    pub media_type: String,
    /// The digest.
    pub digest: Digest,
    /// The number of bytes.
    pub size: u64,
    /// Where else it can be had.
    #[serde(default, deserialize_with = "null_as_default")]
    pub urls: Vec<String>,
    /// Annotations.
    #[serde(default, deserialize_with = "null_as_default")]
    pub annotations: BTreeMap<String, String>,
    /// The type of an artifact.
    #[serde(default)]
    pub artifact_type: Option<String>,
    /// The platform that an index declares.
    #[serde(default)]
    pub platform: Option<DeclaredPlatform>,
}

/// A platform, as an index declares it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct DeclaredPlatform {
    /// The operating system.
    #[serde(default, deserialize_with = "null_as_default")]
    pub os: String,
    /// The architecture.
    #[serde(default, deserialize_with = "null_as_default")]
    pub architecture: String,
    /// The variant of the architecture.
    #[serde(default)]
    pub variant: Option<String>,
}

impl Descriptor {
    /// Whether it points to a manifest.
    #[must_use]
    pub fn is_manifest(&self) -> bool {
        kind_of(&self.media_type).is_some()
    }

    /// Whether it points to a layer that lives elsewhere and is never pushed: a foreign or non-distributable one that
    /// says where (image-spec `layer.md`, "Non-Distributable Layers").
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        !self.urls.is_empty()
            && (self.media_type.starts_with("application/vnd.docker.image.rootfs.foreign.diff.tar")
                || self.media_type.starts_with("application/vnd.oci.image.layer.nondistributable.v1.tar"))
    }

    /// Whether it is, inside an index, attached to another entry instead of being for a platform: an attestation, under
    /// the platform that BuildKit gives them (moby/buildkit `docs/attestations/attestation-storage.md`). Whoever runs an
    /// image goes by the platform, whatever annotations say.
    #[must_use]
    pub fn is_attestation(&self) -> bool {
        self.platform.as_ref().is_some_and(|platform| platform.os == "unknown" && platform.architecture == "unknown")
    }

    /// Whether it points to an image's configuration.
    #[must_use]
    pub fn is_image_config(&self) -> bool {
        matches!(self.media_type.as_str(), IMAGE_CONFIG_MEDIA_TYPE | IMAGE_DOCKER_CONFIG_MEDIA_TYPE)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Image,
    Index,
    Artifact,
}

fn kind_of(media_type: &str) -> Option<Kind> {
    match media_type {
        OCI_IMAGE_MEDIA_TYPE | IMAGE_MANIFEST_MEDIA_TYPE => Some(Kind::Image),
        OCI_IMAGE_INDEX_MEDIA_TYPE | IMAGE_MANIFEST_LIST_MEDIA_TYPE => Some(Kind::Index),
        ARTIFACT_MEDIA_TYPE => Some(Kind::Artifact),
        _ => None,
    }
}

/// The fields of all kinds of manifests.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(default)]
    schema_version: Option<u64>,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    blobs: Option<Vec<Descriptor>>,
    #[serde(default)]
    subject: Option<Descriptor>,
    #[serde(default)]
    artifact_type: Option<String>,
    #[serde(default, deserialize_with = "null_as_default")]
    annotations: BTreeMap<String, String>,
}

/// The fields that decide what a manifest is.
const FIELDS: &[&str] =
    &["schemaVersion", "mediaType", "config", "layers", "manifests", "blobs", "subject", "artifactType", "annotations"];

impl Manifest {
    /// Reads a manifest's bytes. `content_type` is what they were sent as; `digest` is the digest that they were found
    /// to have.
    ///
    /// # Errors
    /// [`Trouble::Malformed`] for anything that readers could understand in different ways: a media type that
    /// contradicts itself (image-spec advisory GHSA-77vh-xpmg-72qh), or fields that are there twice or in another
    /// spelling, which programs in Go take for the same.
    pub(super) fn read(bytes: Bytes, content_type: Option<&str>, digest: Digest) -> Result<Self, Trouble> {
        let malformed = |why: String| Trouble::Malformed { why };
        unambiguous(&bytes, FIELDS)?;
        let raw: Raw = serde_json::from_slice(&bytes).map_err(|error| malformed(format!("not a manifest: {error}")))?;
        match raw.schema_version {
            Some(2) => {}
            Some(1) => return Err(malformed("a manifest of schema 1, which was abandoned in 2017".to_owned())),
            // The artifact manifest has none.
            None if raw.media_type.as_deref() == Some(ARTIFACT_MEDIA_TYPE) => {}
            _ => return Err(malformed("not a manifest: schemaVersion is not 2".to_owned())),
        }
        let media_type = media_type(content_type, &raw)?;
        let Some(kind) = kind_of(&media_type) else {
            return Err(malformed(format!("`{media_type}` is not a manifest that is known")));
        };
        let content = match (kind, raw.config, raw.layers, raw.manifests, raw.blobs) {
            (Kind::Image, Some(config), layers, None, None) => {
                Content::Image { config, layers: bounded(layers, MAX_LAYERS, "layers")? }
            }
            (Kind::Index, None, None, manifests, None) => {
                Content::Index { manifests: bounded(manifests, MAX_CHILDREN, "entries")? }
            }
            (Kind::Artifact, None, None, None, blobs) => {
                Content::Artifact { blobs: bounded(blobs, MAX_LAYERS, "blobs")? }
            }
            (Kind::Image, None, ..) => return Err(malformed("an image without a configuration".to_owned())),
            _ => return Err(malformed(format!("a `{media_type}` with the fields of another kind of manifest"))),
        };
        Ok(Self {
            bytes,
            media_type,
            digest,
            content,
            subject: raw.subject,
            artifact_type: raw.artifact_type,
            annotations: raw.annotations,
        })
    }

    /// The entries of an index; none for everything else.
    #[must_use]
    pub fn children(&self) -> &[Descriptor] {
        match &self.content {
            Content::Index { manifests } => manifests,
            Content::Image { .. } | Content::Artifact { .. } => &[],
        }
    }

    /// What it points to, apart from its subject.
    pub fn references(&self) -> impl Iterator<Item = &Descriptor> {
        let (config, others) = match &self.content {
            Content::Image { config, layers } => (Some(config), layers),
            Content::Index { manifests } => (None, manifests),
            Content::Artifact { blobs } => (None, blobs),
        };
        config.into_iter().chain(others)
    }
}

/// The media type: what the bytes say, or what they were sent as; where both say something, they must agree
/// (distribution-spec, "Pulling manifests").
fn media_type(content_type: Option<&str>, raw: &Raw) -> Result<String, Trouble> {
    // Some servers name the type of the file instead of that of the manifest.
    const GENERIC: &[&str] = &["application/json", "application/octet-stream", "text/plain", "binary/octet-stream"];
    let sent = content_type
        .map(|value| value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
        .filter(|value| !value.is_empty() && !GENERIC.contains(&value.as_str()));
    match (raw.media_type.as_deref().filter(|said| !said.is_empty()), sent) {
        (Some(said), Some(sent)) if said != sent => {
            Err(Trouble::Malformed { why: format!("it was sent as `{sent}`, and says that it is `{said}`") })
        }
        (Some(said), _) => Ok(said.to_owned()),
        (None, Some(sent)) => Ok(sent),
        (None, None) if raw.manifests.is_some() => Ok(OCI_IMAGE_INDEX_MEDIA_TYPE.to_owned()),
        (None, None) => Ok(OCI_IMAGE_MEDIA_TYPE.to_owned()),
    }
}

fn bounded(list: Option<Vec<Descriptor>>, most: usize, what: &str) -> Result<Vec<Descriptor>, Trouble> {
    let list = list.unwrap_or_default();
    if list.len() > most {
        return Err(Trouble::Malformed { why: format!("more than {most} {what}") });
    }
    Ok(list)
}

/// Go writes an empty list or map as `null`.
pub(super) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Refuses a JSON object that programs in Go read differently: their parser takes `Layers` for `layers`, and the last
/// of several; this one does neither.
pub(super) fn unambiguous(bytes: &[u8], fields: &[&str]) -> Result<(), Trouble> {
    let keys: Keys = serde_json::from_slice(bytes)
        .map_err(|error| Trouble::Malformed { why: format!("not a JSON object: {error}") })?;
    keys.unambiguous(fields)
}

impl Keys {
    /// Refuses keys as [`unambiguous`] does.
    pub(super) fn unambiguous(self, fields: &[&str]) -> Result<(), Trouble> {
        let malformed = |why: String| Trouble::Malformed { why };
        let mut seen: Vec<String> = Vec::new();
        for key in self.0 {
            let folded = fold(&key);
            let Some(field) = fields.iter().find(|field| fold(field) == folded) else { continue };
            if *field != key {
                return Err(malformed(format!("the field `{field}` in another spelling")));
            }
            if seen.contains(&folded) {
                return Err(malformed(format!("the field `{field}` twice")));
            }
            seen.push(folded);
        }
        Ok(())
    }
}

/// As Go's `encoding/json` compares names: simple Unicode folding, in which the long s is an s (and the Kelvin sign,
/// whose lower case it is, a k).
fn fold(name: &str) -> String {
    name.to_lowercase().replace('ſ', "s")
}

/// The keys of a JSON object, each as often as it is there.
pub(super) struct Keys(Vec<String>);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Keys;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                let mut keys = Vec::new();
                while let Some((key, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
                    keys.push(key);
                }
                Ok(Keys(keys))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// Manifests of repositories by digest, as long as the program runs: what inspection read is not read again for the
/// copy. What one repository has says nothing about another.
#[derive(Debug, Default)]
pub(super) struct Cache {
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    manifests: HashMap<(Repository, Digest), Arc<Manifest>>,
    bytes: usize,
}

/// The most bytes of manifests that are kept.
const CACHE_LIMIT: usize = 64 * 1024 * 1024;

impl Cache {
    pub(super) fn get(&self, repository: &Repository, digest: &Digest) -> Option<Arc<Manifest>> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.manifests.get(&(repository.clone(), digest.clone())).cloned()
    }

    /// Keeps a manifest whose bytes have its digest; not where there is no room left.
    pub(super) fn keep(&self, repository: &Repository, manifest: &Arc<Manifest>) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let (size, key) = (manifest.bytes.len(), (repository.clone(), manifest.digest.clone()));
        if held.bytes + size <= CACHE_LIMIT && held.manifests.insert(key, Arc::clone(manifest)).is_none() {
            held.bytes += size;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const INDEX: &str = OCI_IMAGE_INDEX_MEDIA_TYPE;
    const IMAGE: &str = OCI_IMAGE_MEDIA_TYPE;

    fn read(json: &Value, content_type: Option<&str>) -> Result<Manifest, Trouble> {
        let bytes = Bytes::from(json.to_string());
        let digest = Digest::sha256(&bytes);
        Manifest::read(bytes, content_type, digest)
    }

    fn blob() -> Value {
        json!({"mediaType": "application/octet-stream", "digest": Digest::sha256(b"x"), "size": 1})
    }

    #[test]
    fn every_kind_of_manifest_is_read() {
        let artifact =
            json!({"mediaType": ARTIFACT_MEDIA_TYPE, "artifactType": "a/b", "blobs": [blob()], "subject": blob()});
        for (json, content_type, kind, references) in [
            (
                json!({"schemaVersion": 2, "mediaType": IMAGE, "config": blob(), "layers": [blob()]}),
                Some(IMAGE),
                IMAGE,
                2,
            ),
            (json!({"schemaVersion": 2, "config": blob(), "layers": null}), Some(IMAGE), IMAGE, 1),
            (json!({"schemaVersion": 2, "config": blob()}), None, IMAGE, 1),
            (json!({"schemaVersion": 2, "config": blob(), "annotations": null}), Some("application/json"), IMAGE, 1),
            (json!({"schemaVersion": 2, "manifests": [blob()]}), Some("text/plain; charset=utf-8"), INDEX, 1),
            (json!({"schemaVersion": 2, "manifests": null}), Some(INDEX), INDEX, 0),
            (
                json!({"schemaVersion": 2, "mediaType": IMAGE_MANIFEST_MEDIA_TYPE, "config": blob(), "layers": []}),
                Some(IMAGE_MANIFEST_MEDIA_TYPE),
                IMAGE_MANIFEST_MEDIA_TYPE,
                1,
            ),
            (artifact, None, ARTIFACT_MEDIA_TYPE, 1),
        ] {
            let manifest = read(&json, content_type).unwrap_or_else(|trouble| panic!("{json}: {trouble}"));
            assert_eq!(manifest.media_type, kind, "{json}");
            assert_eq!(manifest.references().count(), references, "{json}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for (json, content_type) in [
            (json!({"schemaVersion": 2, "mediaType": IMAGE, "config": blob(), "layers": []}), Some(INDEX)),
            (json!({"schemaVersion": 2, "config": blob(), "layers": [], "manifests": [blob()]}), Some(IMAGE)),
            (json!({"schemaVersion": 2, "config": blob(), "layers": [], "manifests": [blob()]}), Some(INDEX)),
            (json!({"schemaVersion": 2, "manifests": [], "Manifests": [blob()]}), Some(INDEX)),
            (json!({"schemaVersion": 2, "MANIFESTS": [blob()]}), Some(INDEX)),
            (json!({"schemaVersion": 2, "manifest\u{17f}": [blob()]}), Some(INDEX)),
            (json!({"schemaVersion": 1, "fsLayers": []}), None),
            (json!({"schemaVersion": 2}), Some(IMAGE)),
            (json!({"schemaVersion": 2, "mediaType": "text/html", "config": blob()}), None),
            (
                json!({"schemaVersion": 2, "manifests": [{"mediaType": IMAGE, "digest": "sha256:short", "size": 1}]}),
                None,
            ),
            (
                json!({"schemaVersion": 2, "manifests": [{"mediaType": IMAGE, "digest": Digest::sha256(b""), "size": -1}]}),
                None,
            ),
            (json!([]), None),
        ] {
            assert!(matches!(read(&json, content_type), Err(Trouble::Malformed { .. })), "{json}");
        }
        let twice = format!(r#"{{"schemaVersion":2,"manifests":[],"manifests":[{}]}}"#, blob());
        assert!(matches!(
            Manifest::read(Bytes::from(twice), Some(INDEX), Digest::sha256(b"")),
            Err(Trouble::Malformed { .. })
        ));
    }

    #[test]
    fn foreign_layers_and_attestations_are_known() {
        let descriptor = |json: Value| serde_json::from_value::<Descriptor>(json).unwrap();
        let layer = |kind: &str, urls: Value| {
            descriptor(json!({"mediaType": kind, "digest": Digest::sha256(b""), "size": 0, "urls": urls}))
        };
        let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
        assert!(layer(foreign, json!(["https://a.test"])).is_foreign());
        // Without an address it can only be in the registry; and an ordinary layer is, whatever addresses it has.
        assert!(!layer(foreign, json!(null)).is_foreign());
        assert!(!layer("application/vnd.oci.image.layer.v1.tar+gzip", json!(["https://a.test"])).is_foreign());
        let child = |extra: Value| {
            let mut json = json!({"mediaType": IMAGE, "digest": Digest::sha256(b""), "size": 0});
            for (key, value) in extra.as_object().unwrap() {
                json[key] = value.clone();
            }
            descriptor(json)
        };
        let annotated = json!({"vnd.docker.reference.type": "attestation-manifest"});
        assert!(child(json!({"platform": {"os": "unknown", "architecture": "unknown"}})).is_attestation());
        assert!(!child(json!({"annotations": annotated.clone()})).is_attestation());
        assert!(
            !child(json!({"annotations": annotated, "platform": {"os": "linux", "architecture": "amd64"}}))
                .is_attestation()
        );
        assert!(!child(json!({"platform": {"os": "linux", "architecture": "amd64"}})).is_attestation());
        assert!(!child(json!({})).is_attestation());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in ".{0,40}") {
            let digest = Digest::sha256(&bytes);
            let _ = Manifest::read(Bytes::from(bytes), Some(&kind), digest);
        }
    }
}
