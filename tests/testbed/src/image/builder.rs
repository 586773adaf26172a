//! The builder of images.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::layer::Layer;
use super::{Compression, Content, Defect, Descriptor, Document, Platform, media_type};
use crate::digest;

/// Which family of media types an image has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OCI's.
    Oci,
    /// docker's.
    Docker,
}

impl Format {
    const fn manifest(self) -> &'static str {
        if matches!(self, Self::Oci) { media_type::OCI_MANIFEST } else { media_type::DOCKER_MANIFEST }
    }

    const fn index(self) -> &'static str {
        if matches!(self, Self::Oci) { media_type::OCI_INDEX } else { media_type::DOCKER_LIST }
    }

    const fn config(self) -> &'static str {
        if matches!(self, Self::Oci) { media_type::OCI_CONFIG } else { media_type::DOCKER_CONFIG }
    }

    const fn layer(self, compression: Compression) -> &'static str {
        match (self, compression) {
            (Self::Oci, Compression::None) => "application/vnd.oci.image.layer.v1.tar",
            (Self::Oci, Compression::Gzip) => "application/vnd.oci.image.layer.v1.tar+gzip",
            (Self::Oci, Compression::Zstd) => "application/vnd.oci.image.layer.v1.tar+zstd",
            (Self::Docker, Compression::None) => "application/vnd.docker.image.rootfs.diff.tar",
            (Self::Docker, Compression::Gzip) => "application/vnd.docker.image.rootfs.diff.tar.gzip",
            (Self::Docker, Compression::Zstd) => "application/vnd.docker.image.rootfs.diff.tar.zstd",
        }
    }

    const fn foreign_layer(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            Self::Docker => "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        }
    }
}

type Edit = Arc<dyn Fn(&mut Value) + Send + Sync>;

/// A builder of an image; everything not said has a sound default.
#[derive(Clone)]
pub struct Image {
    platforms: Vec<String>,
    has_index: bool,
    format: Format,
    compression: Compression,
    layers: usize,
    layer_size: usize,
    shared_layers: usize,
    seed: u64,
    config: Value,
    attestations: bool,
    nested: bool,
    foreign_layer: Option<String>,
    sha512_blobs: bool,
    sha512_children: bool,
    defects: Vec<(Option<String>, Defect)>,
    config_edits: Vec<Edit>,
    manifest_edits: Vec<Edit>,
    index_edits: Vec<Edit>,
}

impl Image {
    /// An index with an image for each of these platforms, e.g. `linux/amd64` or `linux/arm/v7`.
    #[must_use]
    pub fn index(platforms: &[&str]) -> Self {
        Self::new(platforms.iter().map(|&platform| platform.to_owned()).collect(), true)
    }

    /// An image for one platform, without an index.
    #[must_use]
    pub fn manifest(platform: &str) -> Self {
        Self::new(vec![platform.to_owned()], false)
    }

    fn new(platforms: Vec<String>, has_index: bool) -> Self {
        let config = json!({
            "created": "2026-01-02T03:04:05Z",
            "config": {
                "User": "65532",
                "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
                "Entrypoint": ["/app/server"],
                "Cmd": ["--port", "8080"],
                "WorkingDir": "/app",
                "Labels": {
                    "org.opencontainers.image.source": "https://github.com/acme/api",
                    "org.opencontainers.image.revision": "0123456789abcdef0123456789abcdef01234567",
                    "org.opencontainers.image.version": "1.0.0",
                },
            },
        });
        Self {
            platforms,
            has_index,
            format: Format::Oci,
            compression: Compression::Gzip,
            layers: 2,
            layer_size: 4096,
            shared_layers: 0,
            seed: 1,
            config,
            attestations: false,
            nested: false,
            foreign_layer: None,
            sha512_blobs: false,
            sha512_children: false,
            defects: Vec::new(),
            config_edits: Vec::new(),
            manifest_edits: Vec::new(),
            index_edits: Vec::new(),
        }
    }

    /// The family of media types; OCI's by default.
    #[must_use]
    pub const fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// How layers are compressed; gzip by default.
    #[must_use]
    pub const fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// How many layers each platform has, and how many bytes the files of each have together; 2 of 4096 by default.
    #[must_use]
    pub const fn layers(mut self, count: usize, size: usize) -> Self {
        (self.layers, self.layer_size) = (count, size);
        self
    }

    /// How many of the layers, from the lowest on, are the same for all platforms; none by default.
    #[must_use]
    pub const fn shared_layers(mut self, count: usize) -> Self {
        self.shared_layers = count;
        self
    }

    /// Another seed gives layers with other content.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets a label.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.config["config"]["Labels"][name] = json!(value);
        self
    }

    /// Leaves the image without labels.
    #[must_use]
    pub fn without_labels(mut self) -> Self {
        self.config["config"]["Labels"] = Value::Null;
        self
    }

    /// Sets `Cmd`; an empty one is left out.
    #[must_use]
    pub fn command(self, words: &[&str]) -> Self {
        self.words("Cmd", words)
    }

    /// Sets `Entrypoint`; an empty one is left out.
    #[must_use]
    pub fn entrypoint(self, words: &[&str]) -> Self {
        self.words("Entrypoint", words)
    }

    fn words(mut self, field: &str, words: &[&str]) -> Self {
        self.config["config"][field] = if words.is_empty() { Value::Null } else { json!(words) };
        self
    }

    /// Sets `User`, e.g. `1000:1000` or `root`.
    #[must_use]
    pub fn user(mut self, user: &str) -> Self {
        self.config["config"]["User"] = json!(user);
        self
    }

    /// Adds a variable to `Env`.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        if let Some(variables) = self.config["config"]["Env"].as_array_mut() {
            variables.push(json!(format!("{name}={value}")));
        }
        self
    }

    /// Sets when the image was created, in RFC 3339, e.g. `2026-01-02T03:04:05Z`.
    #[must_use]
    pub fn created(mut self, time: &str) -> Self {
        self.config["created"] = json!(time);
        self
    }

    /// Adds, for every platform, an attestation manifest as BuildKit does: a child for `unknown/unknown` that names
    /// the platform's manifest in its annotations.
    #[must_use]
    pub const fn attestations(mut self) -> Self {
        self.attestations = true;
        self
    }

    /// Puts all platforms but the first into an index of their own inside the index.
    #[must_use]
    pub const fn nested(mut self) -> Self {
        self.nested = true;
        self
    }

    /// Puts a foreign layer below the others: its blob is not in the registry but at this address.
    #[must_use]
    pub fn foreign_layer(mut self, address: &str) -> Self {
        self.foreign_layer = Some(address.to_owned());
        self
    }

    /// Names layers and configurations by sha512.
    #[must_use]
    pub const fn sha512_blobs(mut self) -> Self {
        self.sha512_blobs = true;
        self
    }

    /// Names the platforms' manifests by sha512; the root keeps its sha256. docker-registry 2.8 refuses these.
    #[must_use]
    pub const fn sha512_children(mut self) -> Self {
        self.sha512_children = true;
        self
    }

    /// Spoils every platform.
    #[must_use]
    pub fn defect(mut self, defect: Defect) -> Self {
        self.defects.push((None, defect));
        self
    }

    /// Spoils one platform.
    #[must_use]
    pub fn defect_on(mut self, platform: &str, defect: Defect) -> Self {
        self.defects.push((Some(platform.to_owned()), defect));
        self
    }

    /// Changes every configuration before its digest is computed.
    #[must_use]
    pub fn edit_config(mut self, edit: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        self.config_edits.push(Arc::new(edit));
        self
    }

    /// Changes every platform's manifest before its digest is computed.
    #[must_use]
    pub fn edit_manifest(mut self, edit: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        self.manifest_edits.push(Arc::new(edit));
        self
    }

    /// Changes the root's index before its digest is computed.
    #[must_use]
    pub fn edit_index(mut self, edit: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        self.index_edits.push(Arc::new(edit));
        self
    }

    /// Builds the image.
    #[must_use]
    pub fn build(&self) -> Content {
        let mut content =
            Content { root: Descriptor::default(), documents: Vec::new(), blobs: BTreeMap::new(), tags: Vec::new() };
        let images: Vec<Descriptor> =
            (0..self.platforms.len()).map(|number| self.platform(number, &mut content)).collect();
        content.root = if self.has_index {
            self.root(images, &mut content)
        } else {
            images.into_iter().next().map(|image| Descriptor { platform: None, ..image }).unwrap_or_default()
        };
        content
    }

    fn root(&self, images: Vec<Descriptor>, content: &mut Content) -> Descriptor {
        let attestations: Vec<Descriptor> =
            if self.attestations { images.iter().map(|image| attest(image, content)).collect() } else { Vec::new() };
        let mut children = images;
        if self.nested && children.len() > 1 {
            let inner = children.split_off(1);
            children.push(content.add_document(self.format.index(), &self.index_of(&inner)));
        }
        children.extend(attestations);
        let mut index = self.index_of(&children);
        self.index_edits.iter().for_each(|edit| edit(&mut index));
        content.add_document(self.format.index(), &index)
    }

    fn index_of(&self, children: &[Descriptor]) -> Value {
        let manifests: Vec<Value> = children.iter().map(Descriptor::json).collect();
        json!({"schemaVersion": 2, "mediaType": self.format.index(), "manifests": manifests})
    }

    /// Builds the image of one platform.
    fn platform(&self, number: usize, content: &mut Content) -> Descriptor {
        let name = &self.platforms[number];
        let defects: Vec<Defect> = self
            .defects
            .iter()
            .filter(|(platform, _)| platform.as_ref().is_none_or(|platform| platform == name))
            .map(|&(_, defect)| defect)
            .collect();
        let mut layers: Vec<Layer> = (0..self.layers)
            .map(|layer| Layer::new(self.layer_seed(number, layer), self.layer_size, self.compression))
            .collect();
        defects.iter().for_each(|defect| defect.spoil_layers(&mut layers));
        let platform = Platform::parse(name);
        let config = self.config(&platform, &layers, &defects);
        let config_descriptor = self.blob(self.format.config(), &config);
        let layer_descriptors: Vec<Descriptor> =
            layers.iter().map(|layer| self.blob(self.format.layer(self.compression), &layer.blob)).collect();
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": self.format.manifest(),
            "config": config_descriptor.json(),
            "layers": self.foreign().iter().chain(&layer_descriptors).map(Descriptor::json).collect::<Vec<_>>(),
        });
        defects.iter().for_each(|defect| defect.spoil_manifest(&mut manifest));
        self.manifest_edits.iter().for_each(|edit| edit(&mut manifest));
        let bytes = Bytes::from(manifest.to_string());
        let mut descriptor = Descriptor::of(self.format.manifest(), &bytes);
        if self.sha512_children && self.has_index {
            descriptor.digest = digest::sha512(&bytes);
        }
        let last = layer_descriptors.last().map(|last| last.digest.clone());
        content.blobs.insert(config_descriptor.digest.clone(), config);
        content
            .blobs
            .extend(layer_descriptors.into_iter().zip(layers).map(|(layer, built)| (layer.digest, built.blob)));
        content.documents.push(Document {
            media_type: descriptor.media_type.clone(),
            digest: descriptor.digest.clone(),
            bytes,
        });
        for defect in defects {
            spoil_stored(defect, content, &descriptor.digest, &config_descriptor.digest, last.as_deref());
        }
        Descriptor { platform: Some(platform), ..descriptor }
    }

    fn layer_seed(&self, platform: usize, layer: usize) -> u64 {
        let platform = if layer < self.shared_layers { 0xffff } else { platform as u64 };
        (self.seed << 32) | (platform << 16) | layer as u64
    }

    fn config(&self, platform: &Platform, layers: &[Layer], defects: &[Defect]) -> Bytes {
        let mut config = self.config.clone();
        let foreign = self.foreign_layer.iter().map(|address| digest::sha256(address.as_bytes()));
        let own = layers.iter().map(|layer| digest::sha256(&layer.archive));
        let history = |number| json!({"created": config["created"], "created_by": format!("COPY layer-{number} /app")});
        let count = layers.len() + usize::from(self.foreign_layer.is_some());
        let history: Vec<Value> = (0..count).map(history).collect();
        config["history"] = json!(history);
        config["rootfs"] = json!({"type": "layers", "diff_ids": foreign.chain(own).collect::<Vec<_>>()});
        config["architecture"] = json!(platform.architecture);
        config["os"] = json!(platform.os);
        if let Some(variant) = &platform.variant {
            config["variant"] = json!(variant);
        }
        defects.iter().for_each(|defect| defect.spoil_config(&mut config));
        self.config_edits.iter().for_each(|edit| edit(&mut config));
        let mut bytes = Bytes::from(config.to_string());
        defects.iter().for_each(|defect| defect.spoil_config_bytes(&mut bytes));
        bytes
    }

    fn blob(&self, media_type: &str, bytes: &[u8]) -> Descriptor {
        let mut descriptor = Descriptor::of(media_type, bytes);
        if self.sha512_blobs {
            descriptor.digest = digest::sha512(bytes);
        }
        descriptor
    }

    fn foreign(&self) -> Option<Descriptor> {
        let address = self.foreign_layer.as_ref()?;
        let descriptor = Descriptor::of(self.format.foreign_layer(), address.as_bytes());
        Some(Descriptor { urls: vec![address.clone()], size: 1 << 20, ..descriptor })
    }
}

/// An attestation manifest for an image, as BuildKit makes them.
fn attest(image: &Descriptor, content: &mut Content) -> Descriptor {
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v0.1",
        "predicateType": "https://slsa.dev/provenance/v0.2",
        "subject": [{"name": "_", "digest": {"sha256": image.digest.trim_start_matches("sha256:")}}],
        "predicate": {"buildType": "https://mobyproject.org/buildkit@v1"},
    });
    let statement = Bytes::from(statement.to_string());
    let mut layer = Descriptor::of("application/vnd.in-toto+json", &statement);
    layer.annotations.insert("in-toto.io/predicate-type".into(), "https://slsa.dev/provenance/v0.2".into());
    let config = Bytes::from(
        json!({
            "architecture": "unknown",
            "os": "unknown",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [layer.digest]},
        })
        .to_string(),
    );
    let config_descriptor = Descriptor::of(media_type::OCI_CONFIG, &config);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": config_descriptor.json(),
        "layers": [layer.json()],
    });
    content.blobs.insert(layer.digest, statement);
    content.blobs.insert(config_descriptor.digest, config);
    let mut descriptor = content.add_document(media_type::OCI_MANIFEST, &manifest);
    descriptor.platform = Some(Platform::parse("unknown/unknown"));
    descriptor.annotations.insert("vnd.docker.reference.digest".into(), image.digest.clone());
    descriptor.annotations.insert("vnd.docker.reference.type".into(), "attestation-manifest".into());
    descriptor
}

/// Spoils what is stored, after all digests were computed.
fn spoil_stored(defect: Defect, content: &mut Content, manifest: &str, config: &str, layer: Option<&str>) {
    let spoil = |content: &mut Content, digest: &str| {
        if let Some(bytes) = content.blobs.get_mut(digest) {
            *bytes = Defect::other_bytes(bytes);
        }
    };
    match (defect, layer) {
        (Defect::LayerBytes, Some(layer)) => spoil(content, layer),
        (Defect::ConfigBytes, _) => spoil(content, config),
        (Defect::ManifestBytes, _) => {
            for document in content.documents.iter_mut().filter(|document| document.digest == manifest) {
                document.bytes = Defect::other_bytes(&document.bytes);
            }
        }
        (Defect::MissingLayer, Some(layer)) => {
            content.blobs.remove(layer);
        }
        (Defect::MissingConfig, _) => {
            content.blobs.remove(config);
        }
        (Defect::MissingManifest, _) => content.documents.retain(|document| document.digest != manifest),
        _ => {}
    }
}
