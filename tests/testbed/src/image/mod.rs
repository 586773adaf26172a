//! Test images: sound and defective ones, and what is attached to images.
//!
//! [`Image`] builds an image, [`Artifact`] what refers to one; both give [`Content`], a set of manifests and blobs that
//! is placed into the in-process registry or pushed to any registry. What is built is the same in every run.
//!
//! ```
//! use testbed::image::{Artifact, Compression, Image};
//!
//! let image = Image::index(&["linux/amd64", "linux/arm64"])
//!     .layers(3, 20_000)
//!     .compression(Compression::Zstd)
//!     .label("org.opencontainers.image.version", "1.2.3")
//!     .attestations()
//!     .build();
//! let sbom = Artifact::new("application/spdx+json").layer("application/spdx+json", "{}").subject(image.root());
//! let whole = image.with(sbom.build());
//! assert_eq!(whole.root().media_type, "application/vnd.oci.image.index.v1+json");
//! ```

mod attached;
mod builder;
mod defect;
mod layer;
pub mod media_type;

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::attached::{Artifact, CosignKind, cosign, cosign_layer, referrer_loop};
pub use self::builder::{Format, Image};
pub use self::defect::Defect;
pub use self::layer::Compression;
use crate::client::{Client, PushError};
use crate::digest;
use crate::registry::{Contents, describe};

/// What names content: its type, digest and size (image-spec, "Descriptors").
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The type of the content.
    pub media_type: String,
    /// Its digest.
    pub digest: String,
    /// Its length in bytes.
    pub size: usize,
    /// The platform of an image in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Addresses elsewhere, of a foreign layer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    /// The descriptor of these bytes, with their sha256.
    #[must_use]
    pub fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self { media_type: media_type.into(), digest: digest::sha256(bytes), size: bytes.len(), ..Self::default() }
    }

    fn json(&self) -> Value {
        serde_json::to_value(self).expect("a descriptor is JSON")
    }
}

/// A platform as an index names it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// `amd64`, `arm64`, … or `unknown`.
    pub architecture: String,
    /// `linux`, `windows`, … or `unknown`.
    pub os: String,
    /// E.g. `v7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// Reads `os/architecture` or `os/architecture/variant`.
    ///
    /// # Panics
    /// When the text has no slash.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let (os, rest) = text.split_once('/').expect("a platform is written os/architecture");
        let (architecture, variant) = rest.split_once('/').map_or((rest, None), |(a, v)| (a, Some(v.to_owned())));
        Self { architecture: architecture.into(), os: os.into(), variant }
    }
}

/// A manifest: its bytes are what is pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its type, which is its `Content-Type` too.
    pub media_type: String,
    /// The digest under which it is pushed.
    pub digest: String,
    /// Its bytes.
    pub bytes: Bytes,
}

impl Document {
    /// The manifest as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).expect("the manifest is JSON")
    }
}

/// A set of manifests and blobs, named by digests, with a root and tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    root: Descriptor,
    /// In the order in which they can be pushed: children before what names them.
    documents: Vec<Document>,
    blobs: BTreeMap<String, Bytes>,
    /// Tags that belong to the content itself, such as cosign's; and what they name.
    tags: Vec<(String, String)>,
}

impl Content {
    /// The descriptor of the root: the index, or the manifest where there is no index.
    #[must_use]
    pub const fn root(&self) -> &Descriptor {
        &self.root
    }

    /// The root's digest.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.root.digest
    }

    /// All manifests and indexes, children before what names them.
    #[must_use]
    pub fn documents(&self) -> &[Document] {
        &self.documents
    }

    /// A manifest by its digest.
    #[must_use]
    pub fn document(&self, digest: &str) -> Option<&Document> {
        self.documents.iter().find(|document| document.digest == digest)
    }

    /// The descriptors in the root's index; empty for a manifest without an index.
    ///
    /// # Panics
    /// When the root is not part of the content.
    #[must_use]
    pub fn children(&self) -> Vec<Descriptor> {
        let root = self.document(self.digest()).expect("the root is part of the content").json();
        serde_json::from_value(root["manifests"].clone()).unwrap_or_default()
    }

    /// The descriptor of a platform in the root's index.
    #[must_use]
    pub fn child(&self, platform: &str) -> Option<Descriptor> {
        self.children().into_iter().find(|child| child.platform.as_ref() == Some(&Platform::parse(platform)))
    }

    /// All blobs by their digests; foreign layers are not among them.
    #[must_use]
    pub const fn blobs(&self) -> &BTreeMap<String, Bytes> {
        &self.blobs
    }

    /// The tags that belong to the content itself, and what they name.
    #[must_use]
    pub fn tags(&self) -> &[(String, String)] {
        &self.tags
    }

    /// Adds other content, e.g. a signature; the root stays.
    #[must_use]
    pub fn with(mut self, other: Self) -> Self {
        for document in other.documents {
            if self.document(&document.digest).is_none() {
                self.documents.push(document);
            }
        }
        self.blobs.extend(other.blobs);
        self.tags.extend(other.tags);
        self
    }

    /// Adds, for every manifest that others refer to, the index under its fallback tag, as a client must write it
    /// where the registry does not know the referrers API (distribution-spec, "Pushing Manifests with Subject").
    #[must_use]
    pub fn with_fallback_tags(mut self) -> Self {
        let mut referrers: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for document in &self.documents {
            if let Some(subject) = document.json()["subject"]["digest"].as_str() {
                let descriptor = describe(&document.digest, &document.media_type, &document.bytes);
                referrers.entry(subject.to_owned()).or_default().push(descriptor);
            }
        }
        for (subject, manifests) in referrers {
            let index = serde_json::json!({
                "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": manifests,
            });
            let digest = self.add_document(media_type::OCI_INDEX, &index).digest;
            self.tags.push((digest::fallback_tag(&subject), digest));
        }
        self
    }

    /// Adds a tag of the content's own.
    #[must_use]
    pub fn with_tag(mut self, tag: &str, digest: &str) -> Self {
        self.tags.push((tag.to_owned(), digest.to_owned()));
        self
    }

    /// Adds a blob, under its digest or another.
    #[must_use]
    pub fn with_blob(mut self, digest: &str, bytes: Bytes) -> Self {
        self.blobs.insert(digest.to_owned(), bytes);
        self
    }

    /// Takes a blob or a manifest out, so that what names it names nothing.
    #[must_use]
    pub fn without(mut self, digest: &str) -> Self {
        self.blobs.remove(digest);
        self.documents.retain(|document| document.digest != digest);
        self
    }

    /// Places everything into a registry without asking its API, and points these tags to the root.
    pub fn place(&self, contents: &Contents, repository: &str, tags: &[&str]) {
        for (digest, bytes) in &self.blobs {
            contents.put_blob(repository, digest, bytes.clone());
        }
        for document in &self.documents {
            contents.put_manifest(repository, &document.digest, &document.media_type, document.bytes.clone());
        }
        for (tag, digest) in &self.tags {
            contents.put_tag(repository, tag, digest);
        }
        for tag in tags {
            contents.put_tag(repository, tag, self.digest());
        }
    }

    /// Pushes everything to a registry over HTTP, and points these tags to the root last.
    ///
    /// # Errors
    /// The first request that was refused: defective content is refused by a sound registry.
    pub fn push(&self, client: &Client, repository: &str, tags: &[&str]) -> Result<(), PushError> {
        for (digest, bytes) in &self.blobs {
            client.push_blob(repository, digest, bytes.clone())?;
        }
        for document in &self.documents {
            client.push_manifest(repository, &document.digest, &document.media_type, document.bytes.clone())?;
        }
        let own = self.tags.iter().map(|(tag, digest)| (tag.as_str(), digest.as_str()));
        let named = tags.iter().map(|&tag| (tag, self.digest()));
        for (tag, digest) in own.chain(named) {
            if let Some(document) = self.document(digest) {
                client.push_manifest(repository, tag, &document.media_type, document.bytes.clone())?;
            }
        }
        Ok(())
    }

    fn add_document(&mut self, media_type: &str, document: &Value) -> Descriptor {
        let bytes = Bytes::from(document.to_string());
        let descriptor = Descriptor::of(media_type, &bytes);
        if self.document(&descriptor.digest).is_none() {
            let digest = descriptor.digest.clone();
            self.documents.push(Document { media_type: media_type.to_owned(), digest, bytes });
        }
        descriptor
    }
}
