//! Images looked at without their layers: every manifest, and the configuration of every platform.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use super::Registries;
use super::class::Class;
use super::error::{RegistryError, Trouble};
use super::manifest::{Content, DeclaredPlatform, Descriptor, Keys, Manifest, null_as_default, unambiguous};
use super::tree::{Tree, together};
use crate::promotion::candidate::{ImageFacts, LayerFacts, Platform, PlatformFacts};
use crate::promotion::digest::Digest;
use crate::promotion::image::Repository;
use crate::promotion::plan::Estimate;

/// The most indexes inside indexes.
const MAX_DEPTH: usize = 5;

/// The most manifests that are looked at.
const MAX_MANIFESTS: usize = 2_000;

/// An image as it was found, without its layers.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// The root.
    pub root: Arc<Manifest>,
    /// What was seen, for the ledger.
    pub facts: ImageFacts,
    /// The images in it, one per platform, in the order of the index.
    pub platforms: Vec<PlatformInspection>,
    /// What could not be read or understood.
    pub problems: Vec<Problem>,
    tree: Tree,
}

/// One platform's image.
#[derive(Debug, Clone)]
pub struct PlatformInspection {
    /// What the index declares; none where the root is the image itself.
    pub declared: Option<DeclaredPlatform>,
    /// Its manifest.
    pub manifest: Arc<Manifest>,
    /// Its layers, as the manifest declares them.
    pub layers: Vec<Descriptor>,
    /// Its configuration.
    pub config: ImageConfig,
    /// The same, whole.
    pub config_json: Value,
    /// What was seen, for the ledger.
    pub facts: PlatformFacts,
}

/// Something of an image that cannot be read or understood: the image is bad, as far as it is about content.
#[derive(Debug, Clone)]
pub struct Problem {
    /// What it is about.
    pub digest: Digest,
    /// The platform that the index declares for it.
    pub declared: Option<DeclaredPlatform>,
    /// What is wrong.
    pub error: RegistryError,
}

/// An image's configuration, as far as it is looked at (image-spec `config.md`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct ImageConfig {
    /// The architecture.
    #[serde(default, deserialize_with = "null_as_default")]
    pub architecture: String,
    /// The operating system.
    #[serde(default, deserialize_with = "null_as_default")]
    pub os: String,
    /// The variant of the architecture.
    #[serde(default)]
    pub variant: Option<String>,
    /// When it was built, RFC 3339.
    #[serde(default)]
    pub created: Option<String>,
    /// How it is run.
    #[serde(default, rename = "config", deserialize_with = "null_as_default")]
    pub execution: Execution,
    /// The layers' contents.
    #[serde(default, deserialize_with = "null_as_default")]
    pub rootfs: RootFs,
    /// How it came about, one entry per step.
    #[serde(default, deserialize_with = "null_as_default")]
    pub history: Vec<History>,
}

/// How an image is run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Execution {
    /// The user.
    #[serde(default, deserialize_with = "null_as_default")]
    pub user: String,
    /// The environment, `NAME=value`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub env: Vec<String>,
    /// ENTRYPOINT.
    #[serde(default, deserialize_with = "null_as_default")]
    pub entrypoint: Vec<String>,
    /// CMD.
    #[serde(default, deserialize_with = "null_as_default")]
    pub cmd: Vec<String>,
    /// The labels.
    #[serde(default, deserialize_with = "null_as_default")]
    pub labels: BTreeMap<String, String>,
}

/// The contents of an image's layers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct RootFs {
    /// The digests of the layers' uncompressed bytes, the lowest first.
    #[serde(default, deserialize_with = "null_as_default")]
    pub diff_ids: Vec<Digest>,
}

/// One step of an image's making.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct History {
    /// Whether it made no layer.
    #[serde(default, deserialize_with = "null_as_default")]
    pub empty_layer: bool,
}

const CONFIG_FIELDS: &[&str] = &["architecture", "os", "variant", "created", "config", "rootfs", "history"];
const EXECUTION_FIELDS: &[&str] =
    &["User", "Env", "Entrypoint", "Cmd", "Labels", "ExposedPorts", "WorkingDir", "StopSignal"];

impl ImageConfig {
    /// Reads a configuration.
    ///
    /// # Errors
    /// [`Trouble::Malformed`], also for what others would read differently (see [`unambiguous`]).
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Trouble> {
        #[derive(Deserialize)]
        struct Inner {
            #[serde(default)]
            config: Option<Keys>,
        }
        let malformed = |error: serde_json::Error| Trouble::Malformed { why: format!("not a configuration: {error}") };
        unambiguous(bytes, CONFIG_FIELDS)?;
        let inner: Inner = serde_json::from_slice(bytes).map_err(malformed)?;
        inner.config.map_or(Ok(()), |keys| keys.unambiguous(EXECUTION_FIELDS))?;
        serde_json::from_slice(bytes).map_err(malformed)
    }

    /// The platform that it is for.
    fn platform(&self) -> Result<Platform, Trouble> {
        let variant = self.variant.as_deref().filter(|variant| !variant.is_empty());
        let text =
            format!("{}/{}{}", self.os, self.architecture, variant.map_or_else(String::new, |v| format!("/{v}")));
        text.parse().map_err(|_| Trouble::Malformed { why: format!("its configuration names no platform (`{text}`)") })
    }
}

/// A manifest that was looked at, or could not be.
struct Looked {
    descriptor: Option<Descriptor>,
    digest: Digest,
    manifest: Result<Arc<Manifest>, RegistryError>,
}

impl Registries {
    /// Looks at an image: all manifests and the configurations, not the layers. Class [`Class::Inspect`]: one request
    /// for each manifest, attestations included, and one for each platform's configuration.
    ///
    /// # Errors
    /// What keeps the root from being read, and everything that leaves it open what the rest is (the network, a
    /// denial). What is wrong with the rest itself is among the [`Problem`]s.
    pub async fn inspect(&self, repository: &Repository, digest: &Digest) -> Result<Inspection, RegistryError> {
        let root = self.manifest(&repository.at(digest.clone()), Class::Inspect).await?;
        let mut looked =
            vec![Looked { descriptor: None, digest: root.digest.clone(), manifest: Ok(Arc::clone(&root)) }];
        let mut problems = Vec::new();
        let mut known = HashSet::from([(root.digest.clone(), false)]);
        let mut next = manifests_of(&root, &mut known);
        let mut depth = 0;
        while !next.is_empty() {
            if depth >= MAX_DEPTH || looked.len() + next.len() > MAX_MANIFESTS {
                let why = format!("more than {MAX_MANIFESTS} manifests, or indexes more than {MAX_DEPTH} deep");
                let error = RegistryError::new(format!("inspect {repository}@{digest}"), Trouble::Malformed { why });
                problems.push(Problem { digest: digest.clone(), declared: None, error });
                break;
            }
            depth += 1;
            let level = self.look_at(repository, next).await?;
            let manifests = level.iter().filter_map(|looked| looked.manifest.as_ref().ok());
            next = manifests.flat_map(|manifest| manifests_of(manifest, &mut known)).collect();
            looked.extend(level);
        }
        let (platforms, configs) = self.platforms(repository, &looked).await?;
        problems.extend(looked.iter().filter_map(problem));
        problems.extend(configs);
        Ok(Inspection::of(root, &looked, platforms, problems))
    }

    /// Reads manifests, in their order. An error that is not about content ends it.
    async fn look_at(&self, repository: &Repository, next: Vec<Descriptor>) -> Result<Vec<Looked>, RegistryError> {
        let read = next.into_iter().enumerate().map(|(place, descriptor)| async move {
            let reference = repository.at(descriptor.digest.clone());
            match self.manifest(&reference, Class::Inspect).await {
                Err(error) if !error.is_about_content() => Err(error),
                manifest => {
                    let digest = descriptor.digest.clone();
                    Ok((place, Looked { descriptor: Some(descriptor), digest, manifest }))
                }
            }
        });
        let mut level = together(read.collect()).await?;
        level.sort_by_key(|(place, _)| *place);
        Ok(level.into_iter().map(|(_, looked)| looked).collect())
    }

    /// Reads the configuration of each image that is for a platform.
    async fn platforms(
        &self,
        repository: &Repository,
        looked: &[Looked],
    ) -> Result<(Vec<PlatformInspection>, Vec<Problem>), RegistryError> {
        let images = looked.iter().enumerate().filter_map(|(place, looked)| {
            let attestation = looked.descriptor.as_ref().is_some_and(Descriptor::is_attestation);
            let manifest = looked.manifest.as_ref().ok().filter(|_| !attestation)?;
            let Content::Image { config, layers } = &manifest.content else { return None };
            // Something else than an image, in the form of one, that does not claim to be for a platform.
            let claims = looked.descriptor.as_ref().is_none_or(|descriptor| descriptor.platform.is_some());
            (config.is_image_config() || claims).then_some((place, looked, manifest, config, layers))
        });
        let read = images.map(|(place, looked, manifest, config, layers)| async move {
            let declared = looked.descriptor.as_ref().and_then(|descriptor| descriptor.platform.clone());
            let bytes = match config.is_image_config() {
                true => self.blob(repository, config, Class::Inspect).await,
                false => Err(RegistryError::new(
                    format!("inspect {repository}@{}", manifest.digest),
                    Trouble::Malformed {
                        why: format!("its configuration is a `{}`, not an image's", config.media_type),
                    },
                )),
            };
            let platform = bytes.and_then(|bytes| {
                platform(&bytes, manifest, config, layers, declared.clone())
                    .map_err(|trouble| RegistryError::new(format!("read {repository}@{}", config.digest), trouble))
            });
            match platform {
                Err(error) if !error.is_about_content() => Err(error),
                platform => {
                    Ok((place, platform.map_err(|error| Problem { digest: manifest.digest.clone(), declared, error })))
                }
            }
        });
        let mut read = together(read.collect()).await?;
        read.sort_by_key(|(place, _)| *place);
        let (mut platforms, mut problems) = (Vec::new(), Vec::new());
        for (_, platform) in read {
            match platform {
                Ok(platform) => platforms.push(platform),
                Err(problem) => problems.push(problem),
            }
        }
        Ok((platforms, problems))
    }
}

impl Inspection {
    fn of(root: Arc<Manifest>, looked: &[Looked], platforms: Vec<PlatformInspection>, problems: Vec<Problem>) -> Self {
        let manifests: HashMap<Digest, Arc<Manifest>> = looked
            .iter()
            .filter_map(|looked| looked.manifest.as_ref().ok())
            .map(|manifest| (manifest.digest.clone(), Arc::clone(manifest)))
            .collect();
        let named: HashSet<&Digest> = looked.iter().map(|looked| &looked.digest).collect();
        let tree = Tree::of(&root.digest, &manifests);
        let mut blobs: HashMap<&Digest, u64> = HashMap::new();
        for blob in tree.manifests().flat_map(|manifest| manifest.references()).filter(|blob| !blob.is_manifest()) {
            blobs.insert(&blob.digest, blob.size);
        }
        let facts = ImageFacts {
            media_type: root.media_type.clone(),
            platforms: platforms.iter().map(|platform| platform.facts.clone()).collect(),
            manifests: named.len() as u64 - 1,
            blobs: blobs.len() as u64,
            bytes: blobs.values().fold(0, |sum, size| sum.saturating_add(*size)),
        };
        Self { root, facts, platforms, problems, tree }
    }

    /// What a copy costs at the least, with nothing in memory and nothing at the target: requests of class
    /// [`Class::Copy`] with the given number of tags, and bytes through this machine.
    #[must_use]
    pub fn estimate(&self, from: &Repository, to: &Repository, tags: u64) -> Estimate {
        if from == to {
            return Estimate { requests: if tags == 0 { 0 } else { 1 + tags }, ..Estimate::default() };
        }
        let manifests = self.tree.below().iter().map(|level| level.len() as u64).sum::<u64>();
        let blobs = self.tree.blobs.len() as u64;
        let within = from.registry() == to.registry();
        Estimate {
            requests: 2 * manifests + 1 + tags + if within { blobs } else { 3 * blobs },
            bytes: if within { 0 } else { self.tree.blobs.iter().fold(0, |sum, blob| sum.saturating_add(blob.size)) },
            ..Estimate::default()
        }
    }
}

/// The manifests that an index names and that were not named before; what was named as an attestation may be named as an
/// image again, and is looked at as one.
fn manifests_of(index: &Manifest, known: &mut HashSet<(Digest, bool)>) -> Vec<Descriptor> {
    let children = index.children().iter().filter(|child| child.is_manifest());
    children.filter(|child| known.insert((child.digest.clone(), child.is_attestation()))).cloned().collect()
}

/// What is wrong with a manifest that was looked at.
fn problem(looked: &Looked) -> Option<Problem> {
    let descriptor = looked.descriptor.as_ref();
    let error = match (&looked.manifest, descriptor) {
        (Err(error), _) => error.clone(),
        (Ok(manifest), Some(descriptor)) if manifest.bytes.len() as u64 != descriptor.size => RegistryError::new(
            format!("read {}", manifest.digest),
            Trouble::Malformed {
                why: format!("its index says {} bytes, and it has {}", descriptor.size, manifest.bytes.len()),
            },
        ),
        (Ok(manifest), Some(descriptor)) if manifest.media_type != descriptor.media_type => RegistryError::new(
            format!("read {}", manifest.digest),
            Trouble::Malformed {
                why: format!("its index says `{}`, and it is `{}`", descriptor.media_type, manifest.media_type),
            },
        ),
        _ => return None,
    };
    let declared = descriptor.and_then(|descriptor| descriptor.platform.clone());
    Some(Problem { digest: looked.digest.clone(), declared, error })
}

fn platform(
    bytes: &Bytes,
    manifest: &Arc<Manifest>,
    config: &Descriptor,
    layers: &[Descriptor],
    declared: Option<DeclaredPlatform>,
) -> Result<PlatformInspection, Trouble> {
    let read = ImageConfig::read(bytes)?;
    let config_json = serde_json::from_slice(bytes).map_err(|error| Trouble::Malformed { why: error.to_string() })?;
    let execution = &read.execution;
    let facts = PlatformFacts {
        platform: read.platform()?,
        manifest: manifest.digest.clone(),
        config: config.digest.clone(),
        layers: layers
            .iter()
            .map(|layer| LayerFacts {
                digest: layer.digest.clone(),
                size: layer.size,
                media_type: layer.media_type.clone(),
            })
            .collect(),
        size: layers.iter().fold(0, |sum, layer| sum.saturating_add(layer.size)),
        created: read.created.clone(),
        labels: execution.labels.clone(),
        environment: execution
            .env
            .iter()
            .map(|pair| pair.split_once('=').map_or(pair.as_str(), |(name, _)| name).to_owned())
            .collect(),
        user: Some(execution.user.clone()).filter(|user| !user.is_empty()),
        entrypoint: execution.entrypoint.clone(),
        command: execution.cmd.clone(),
    };
    Ok(PlatformInspection {
        declared,
        manifest: Arc::clone(manifest),
        layers: layers.to_vec(),
        config: read,
        config_json,
        facts,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_that_go_would_read_differently_is_refused() {
        let good = br#"{"os":"linux","architecture":"amd64","config":{"User":"app","Labels":{"A":"1","a":"2"}},"rootfs":{"diff_ids":null},"history":null}"#;
        let config = ImageConfig::read(good).unwrap();
        assert_eq!(config.execution.user, "app");
        assert_eq!(config.platform().unwrap().to_string(), "linux/amd64");
        for bad in [
            &br#"{"os":"linux","OS":"windows"}"#[..],
            br#"{"os":"linux","Config":{"User":"root"}}"#,
            br#"{"config":{"User":"app","user":"root"}}"#,
            br#"{"config":{"U\u017fer":"root"}}"#,
            br#"{"config":{"User":"app","User":"root"}}"#,
            br#"{"config":{"exposedPorts":{"22/tcp":{}}}}"#,
            br#"{"config":{"WorkingDir":"/app","workingDir":"/"}}"#,
            b"[]",
            b"",
        ] {
            let error = ImageConfig::read(bad);
            assert!(matches!(error, Err(Trouble::Malformed { .. })), "{}", String::from_utf8_lossy(bad));
        }
        assert!(ImageConfig::read(b"{}").unwrap().platform().is_err());
    }
}
