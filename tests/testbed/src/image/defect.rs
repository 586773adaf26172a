//! What can be wrong with an image.

use bytes::Bytes;
use serde_json::{Value, json};

use super::layer::{Layer, noise};

/// Something that is wrong with an image.
///
/// What a registry refuses can only be placed ([`super::Content::place`]); [`Defect::is_refused`] tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// The configuration names a diff id that the last layer does not have.
    DiffId,
    /// The configuration names one diff id more than there are layers.
    ExtraDiffId,
    /// The configuration names one diff id fewer than there are layers.
    MissingDiffId,
    /// The configuration is not JSON.
    ConfigNotJson,
    /// The configuration says another architecture than the index does.
    ConfigPlatform,
    /// The configuration has neither a command nor an entry point.
    NoCommand,
    /// There are no layers.
    NoLayers,
    /// The last layer's compressed stream breaks off; its digest is that of what is there.
    TruncatedLayer,
    /// The last layer is not of its media type; its digest is right.
    GarbageLayer,
    /// The last layer is stated to be one byte longer than it is.
    LayerSize,
    /// The manifest is larger than 4 MiB.
    OversizeManifest,
    /// Under the last layer's digest are other bytes, as many.
    LayerBytes,
    /// Under the configuration's digest is another configuration, as long.
    ConfigBytes,
    /// Under the manifest's digest is another manifest.
    ManifestBytes,
    /// The last layer is not there.
    MissingLayer,
    /// The configuration is not there.
    MissingConfig,
    /// The manifest is not there.
    MissingManifest,
}

impl Defect {
    /// Every defect.
    pub const ALL: [Self; 17] = [
        Self::DiffId,
        Self::ExtraDiffId,
        Self::MissingDiffId,
        Self::ConfigNotJson,
        Self::ConfigPlatform,
        Self::NoCommand,
        Self::NoLayers,
        Self::TruncatedLayer,
        Self::GarbageLayer,
        Self::LayerSize,
        Self::OversizeManifest,
        Self::LayerBytes,
        Self::ConfigBytes,
        Self::ManifestBytes,
        Self::MissingLayer,
        Self::MissingConfig,
        Self::MissingManifest,
    ];

    /// Whether a sound registry refuses an image with this defect.
    #[must_use]
    pub const fn is_refused(self) -> bool {
        matches!(
            self,
            Self::OversizeManifest
                | Self::LayerBytes
                | Self::ConfigBytes
                | Self::ManifestBytes
                | Self::MissingLayer
                | Self::MissingConfig
                | Self::MissingManifest
        )
    }

    /// Spoils the layers before anything is computed from them.
    pub(super) fn spoil_layers(self, layers: &mut Vec<Layer>) {
        match (self, layers.last_mut()) {
            (Self::NoLayers, _) => layers.clear(),
            (Self::TruncatedLayer, Some(layer)) => layer.blob.truncate(layer.blob.len() / 2),
            (Self::GarbageLayer, Some(layer)) => layer.blob = noise(0xbad, layer.blob.len()).into(),
            _ => {}
        }
    }

    /// Spoils the configuration before its digest is computed.
    pub(super) fn spoil_config(self, config: &mut Value) {
        let other = json!(format!("sha256:{}", "0".repeat(64)));
        match (self, config["rootfs"]["diff_ids"].as_array_mut()) {
            (Self::DiffId, Some(ids)) => {
                ids.pop();
                ids.push(other);
            }
            (Self::ExtraDiffId, Some(ids)) => ids.push(other),
            (Self::MissingDiffId, Some(ids)) => {
                ids.pop();
            }
            (Self::ConfigPlatform, _) => config["architecture"] = json!("s390x"),
            (Self::NoCommand, _) => {
                config["config"]["Cmd"] = Value::Null;
                config["config"]["Entrypoint"] = Value::Null;
            }
            _ => {}
        }
    }

    /// Spoils the configuration's bytes before their digest is computed.
    pub(super) fn spoil_config_bytes(self, bytes: &mut Bytes) {
        if self == Self::ConfigNotJson {
            bytes.truncate(bytes.len() / 2);
        }
    }

    /// Spoils the manifest before its digest is computed.
    pub(super) fn spoil_manifest(self, manifest: &mut Value) {
        match self {
            Self::OversizeManifest => {
                manifest["annotations"]["org.opencontainers.image.description"] = json!("x".repeat(4 << 20));
            }
            Self::LayerSize => {
                if let Some(layer) = manifest["layers"].as_array_mut().and_then(|layers| layers.last_mut()) {
                    layer["size"] = json!(layer["size"].as_u64().unwrap_or_default() + 1);
                }
            }
            _ => {}
        }
    }

    /// Other bytes, as many, for what is stored under a digest.
    pub(super) fn other_bytes(bytes: &Bytes) -> Bytes {
        let mut other = bytes.to_vec();
        // A digit or a letter in the middle stays one, so that JSON stays JSON where it was.
        let alphanumeric = |byte: &u8| byte.is_ascii_alphanumeric();
        let middle = other.len() / 2;
        if let Some(byte) = other.iter_mut().skip(middle).find(|byte| alphanumeric(byte)) {
            *byte = if *byte == b'0' { b'1' } else { b'0' };
        }
        other.into()
    }
}
