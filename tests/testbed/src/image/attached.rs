//! What is attached to images: referrers, cosign's tags, artifacts.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};

use super::layer::noise;
use super::{Content, Descriptor, media_type};

/// A builder of an artifact: a manifest that is not an image, by itself or referring to a subject.
#[derive(Debug, Clone)]
pub struct Artifact {
    artifact_type: String,
    layers: Vec<(Descriptor, Bytes)>,
    annotations: BTreeMap<String, String>,
    subject: Option<Descriptor>,
    tag: Option<String>,
}

impl Artifact {
    /// An artifact of this type, e.g. `application/vnd.dev.sigstore.bundle.v0.3+json`.
    #[must_use]
    pub fn new(artifact_type: &str) -> Self {
        Self {
            artifact_type: artifact_type.to_owned(),
            layers: Vec::new(),
            annotations: BTreeMap::new(),
            subject: None,
            tag: None,
        }
    }

    /// Adds a blob. An artifact without any has the empty one.
    #[must_use]
    pub fn layer(mut self, media_type: &str, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        self.layers.push((Descriptor::of(media_type, &bytes), bytes));
        self
    }

    /// Adds an annotation.
    #[must_use]
    pub fn annotation(mut self, name: &str, value: &str) -> Self {
        self.annotations.insert(name.into(), value.into());
        self
    }

    /// Makes it refer to a manifest.
    #[must_use]
    pub fn subject(mut self, subject: &Descriptor) -> Self {
        // A platform belongs into an index, not into a subject.
        self.subject = Some(Descriptor { platform: None, annotations: BTreeMap::new(), ..subject.clone() });
        self
    }

    /// Gives it a tag of its own.
    #[must_use]
    pub fn tag(mut self, tag: &str) -> Self {
        self.tag = Some(tag.to_owned());
        self
    }

    /// Builds the artifact.
    #[must_use]
    pub fn build(self) -> Content {
        let empty = Bytes::from_static(b"{}");
        let config = Descriptor::of(media_type::OCI_EMPTY, &empty);
        let mut blobs = BTreeMap::from([(config.digest.clone(), empty)]);
        let mut layers: Vec<Descriptor> = Vec::new();
        for (descriptor, bytes) in self.layers {
            blobs.insert(descriptor.digest.clone(), bytes);
            layers.push(descriptor);
        }
        if layers.is_empty() {
            layers.push(config.clone());
        }
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type::OCI_MANIFEST,
            "artifactType": self.artifact_type,
            "config": config.json(),
            "layers": layers.iter().map(Descriptor::json).collect::<Vec<_>>(),
        });
        if let Some(subject) = &self.subject {
            manifest["subject"] = subject.json();
        }
        if !self.annotations.is_empty() {
            manifest["annotations"] = json!(self.annotations);
        }
        content(media_type::OCI_MANIFEST, &manifest, blobs, self.tag)
    }
}

/// The kinds of tags that cosign attaches things with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CosignKind {
    /// `sha256-<hex>.sig`
    Signature,
    /// `sha256-<hex>.att`
    Attestation,
    /// `sha256-<hex>.sbom`
    Sbom,
}

impl CosignKind {
    const fn suffix(self) -> &'static str {
        match self {
            Self::Signature => "sig",
            Self::Attestation => "att",
            Self::Sbom => "sbom",
        }
    }

    const fn layer(self) -> &'static str {
        match self {
            Self::Signature => "application/vnd.dev.cosign.simplesigning.v1+json",
            Self::Attestation => "application/vnd.dsse.envelope.v1+json",
            Self::Sbom => "text/spdx+json",
        }
    }
}

/// What cosign, before its version 3, attaches to a digest: a manifest under a tag made of the digest. The signature
/// in it has the right form and signs nothing.
#[must_use]
pub fn cosign(kind: CosignKind, subject: &str) -> Content {
    let payload = json!({
        "critical": {
            "identity": {"docker-reference": ""},
            "image": {"docker-manifest-digest": subject},
            "type": "cosign container image signature",
        },
        "optional": null,
    });
    let mut annotations = BTreeMap::new();
    if kind == CosignKind::Signature {
        let signature = STANDARD.encode(noise(subject.len() as u64, 71));
        annotations.insert("dev.cosignproject.cosign/signature".into(), signature);
    }
    cosign_layer(kind, subject, Bytes::from(payload.to_string()), annotations)
}

/// The same with this payload, and these annotations of its layer.
#[must_use]
pub fn cosign_layer(kind: CosignKind, subject: &str, payload: Bytes, annotations: BTreeMap<String, String>) -> Content {
    let layer = Descriptor { annotations, ..Descriptor::of(kind.layer(), &payload) };
    let config = json!({
        "architecture": "",
        "os": "",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [layer.digest]},
    });
    let config = Bytes::from(config.to_string());
    let config_descriptor = Descriptor::of(media_type::OCI_CONFIG, &config);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": config_descriptor.json(),
        "layers": [layer.json()],
    });
    let blobs = BTreeMap::from([(layer.digest, payload), (config_descriptor.digest, config)]);
    let tag = format!("{}.{}", subject.replace(':', "-"), kind.suffix());
    content(media_type::OCI_MANIFEST, &manifest, blobs, Some(tag))
}

/// A referrer that leads back: an index that refers to the subject and has the subject as its child, so that whoever
/// follows referrers and children without remembering where it was never ends.
#[must_use]
pub fn referrer_loop(subject: &Descriptor) -> Content {
    let index = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_INDEX,
        "artifactType": "application/vnd.testbed.loop",
        "manifests": [subject.json()],
        "subject": Descriptor { platform: None, annotations: BTreeMap::new(), ..subject.clone() }.json(),
    });
    content(media_type::OCI_INDEX, &index, BTreeMap::new(), None)
}

fn content(media_type: &str, manifest: &Value, blobs: BTreeMap<String, Bytes>, tag: Option<String>) -> Content {
    let mut content = Content { root: Descriptor::default(), documents: Vec::new(), blobs, tags: Vec::new() };
    content.root = content.add_document(media_type, manifest);
    content.tags.extend(tag.map(|tag| (tag, content.root.digest.clone())));
    content
}
