//! What is on its way into an environment, and what is known about it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::digest::Digest;

/// A platform, written `os/architecture` or `os/architecture/variant`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Platform {
    /// The operating system, e.g. `linux`.
    pub os: String,
    /// The architecture, e.g. `amd64`.
    pub architecture: String,
    /// The variant of the architecture, e.g. `v7`.
    pub variant: Option<String>,
}

/// A text that is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a platform; write `os/architecture` or `os/architecture/variant`, e.g. `linux/amd64` or `linux/arm/v7`"
)]
pub struct InvalidPlatform(String);

impl Platform {
    /// Whether an image for `self` is what somebody who asks for `wanted` means: the variant counts only where it is
    /// asked for, and `arm64` is `arm64/v8` (containerd's normalisation).
    #[must_use]
    pub fn satisfies(&self, wanted: &Self) -> bool {
        let variant = |platform: &Self| match (platform.architecture.as_str(), platform.variant.as_deref()) {
            ("arm64", None) => Some("v8".to_owned()),
            (_, variant) => variant.map(ToOwned::to_owned),
        };
        self.os == wanted.os
            && self.architecture == wanted.architecture
            && (wanted.variant.is_none() || variant(self) == variant(wanted))
    }
}

impl std::str::FromStr for Platform {
    type Err = InvalidPlatform;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let good = |part: &str| {
            !part.is_empty()
                && part.len() <= 64
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        };
        let parts: Vec<&str> = text.split('/').collect();
        match parts.as_slice() {
            [os, architecture] if good(os) && good(architecture) => {
                Ok(Self { os: (*os).to_owned(), architecture: (*architecture).to_owned(), variant: None })
            }
            [os, architecture, variant] if good(os) && good(architecture) && good(variant) => Ok(Self {
                os: (*os).to_owned(),
                architecture: (*architecture).to_owned(),
                variant: Some((*variant).to_owned()),
            }),
            _ => Err(InvalidPlatform(text.chars().take(100).collect())),
        }
    }
}

impl TryFrom<String> for Platform {
    type Error = InvalidPlatform;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Platform> for String {
    fn from(platform: Platform) -> Self {
        platform.to_string()
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if let Some(variant) = &self.variant {
            write!(f, "/{variant}")?;
        }
        Ok(())
    }
}

/// What was read of an image without its layers. Texts in it are the image's own: untrusted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ImageFacts {
    /// The media type of the root manifest.
    pub media_type: String,
    /// The images in it, one per platform; attestations are not among them.
    pub platforms: Vec<PlatformFacts>,
    /// Manifests below the root, attestations included; 0 when the root is an image itself.
    pub manifests: u64,
    /// Different blobs that the image refers to, configurations included.
    pub blobs: u64,
    /// The bytes of those blobs together, each counted once.
    pub bytes: u64,
}

/// How many labels, names and words of an image are kept, and how long each may be.
const KEPT: usize = 200;
const KEPT_LENGTH: usize = 1000;

impl ImageFacts {
    /// The same, without what is too much to keep: an image may say what it likes, and the ledger is not its dump.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        fn short(text: &str) -> String {
            if text.len() <= KEPT_LENGTH {
                text.to_owned()
            } else {
                text.chars().take(KEPT_LENGTH).chain(['…']).collect()
            }
        }
        fn few(list: &[String]) -> Vec<String> {
            list.iter().take(KEPT).map(|text| short(text)).collect()
        }
        for platform in &mut self.platforms {
            platform.labels =
                platform.labels.iter().take(KEPT).map(|(name, value)| (short(name), short(value))).collect();
            platform.environment = few(&platform.environment);
            platform.entrypoint = few(&platform.entrypoint);
            platform.command = few(&platform.command);
            platform.user = platform.user.as_deref().map(short);
            platform.created = platform.created.as_deref().map(short);
        }
        self
    }

    /// A label that all platforms agree on.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        let mut values = self.platforms.iter().map(|platform| platform.labels.get(name));
        let first = values.next()??;
        values.all(|value| value == Some(first)).then_some(first.as_str())
    }

    /// The commit that the image says it was built from (image-spec `annotations.md`).
    #[must_use]
    pub fn revision(&self) -> Option<&str> {
        self.label("org.opencontainers.image.revision")
    }
}

/// What was read of one platform's image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PlatformFacts {
    /// The platform, as the configuration tells it (the index may lie).
    pub platform: Platform,
    /// The digest of its manifest.
    pub manifest: Digest,
    /// The digest of its configuration, which container runtimes call the image's id.
    pub config: Digest,
    /// Its layers in order, as declared.
    pub layers: Vec<LayerFacts>,
    /// The bytes of its layers together, as declared, compressed.
    pub size: u64,
    /// When it was built, RFC 3339, as the configuration tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The names of its environment variables; values may hold secrets and are not kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<String>,
    /// The user that it runs as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Its ENTRYPOINT.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// Its CMD.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
}

/// One layer, as its manifest declares it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LayerFacts {
    /// The digest of its bytes.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    /// Their media type.
    pub media_type: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_count_only_where_asked_for() {
        let platform = |text: &str| text.parse::<Platform>().unwrap();
        assert!(platform("linux/arm64/v8").satisfies(&platform("linux/arm64")));
        assert!(platform("linux/arm64").satisfies(&platform("linux/arm64/v8")));
        assert!(platform("linux/arm/v7").satisfies(&platform("linux/arm")));
        assert!(!platform("linux/arm/v6").satisfies(&platform("linux/arm/v7")));
        assert!(!platform("windows/amd64").satisfies(&platform("linux/amd64")));
        for text in ["linux", "linux/", "/amd64", "linux/amd64/v1/x", "li nux/amd64"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }
}
