//! `layers`, deep: every byte of every layer is read, and its digest, its packing and its content are verified.

use std::collections::BTreeMap;

use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{Check, Name, Observation, Subject};
use crate::config::{CheckName, CheckSeverity, Layers, Size, Validate};
use crate::promotion::digest::Digest;
use crate::promotion::fault::Fault;
use crate::registry::{Class, Descriptor, LayerContents, LayerLimits, LayerReading, PlatformInspection};

/// Each layer of each platform's image unpacks to what the configuration names.
#[derive(Debug)]
pub(super) struct Deep;

/// How many layers are read at the same time; each needs the memory of its unpacker.
const AT_ONCE: usize = 4;

const WANTED: &str = "digest, size, packing and content of every layer as declared";

/// The most bytes of names and packages that are kept of all layers of an image.
const MAX_WEIGHT: usize = 64 << 20;

/// The checks that look into layers.
const LOOKING: [CheckName; 3] = [CheckName::Setuid, CheckName::Packages, CheckName::EndOfLife];

/// A layer is the same wherever it has the same bytes and is meant to have the same content.
type Key = (Digest, Option<Digest>);

/// All layers of an image, read.
#[derive(Debug, Default)]
pub(super) struct Readings(BTreeMap<Key, LayerReading>);

impl Readings {
    /// Reads every layer once, whatever platforms it belongs to.
    ///
    /// # Errors
    /// What keeps one from being read.
    pub(super) async fn of_image(subject: &Subject<'_>) -> Result<Self, Fault> {
        Self::beside(subject, &Self::default()).await
    }

    /// The same where another image was read: layers that both have are not read again.
    ///
    /// # Errors
    /// What keeps one from being read.
    pub(super) async fn beside(subject: &Subject<'_>, other: &Self) -> Result<Self, Fault> {
        let mut readings = BTreeMap::new();
        let mut layers: BTreeMap<Key, Descriptor> = BTreeMap::new();
        for platform in &subject.inspection.platforms {
            for (layer, content) in with_contents(platform) {
                let key = (layer.digest.clone(), content.cloned());
                if let Some(known) = other.0.get(&key) {
                    readings.insert(key, known.clone());
                } else if !layer.is_foreign() {
                    layers.entry(key).or_insert_with(|| layer.clone());
                }
            }
        }
        let reads: Vec<_> = layers.into_iter().map(|(key, layer)| read(subject, key, layer)).collect();
        let mut read = stream::iter(reads).buffer_unordered(AT_ONCE);
        let mut weight = 0_usize;
        while let Some((key, reading)) = read.try_next().await? {
            readings.insert(key, bounded(reading, &mut weight, MAX_WEIGHT));
        }
        Ok(Self(readings))
    }

    /// The layers of a platform's image, the lowest first; none for one that lives elsewhere.
    pub(super) fn of(&self, platform: &PlatformInspection) -> impl Iterator<Item = Option<&LayerReading>> {
        with_contents(platform).map(|(layer, content)| self.0.get(&(layer.digest.clone(), content.cloned())))
    }
}

/// Whether a policy has the layers read: by name, or because something is asked of what is in them. A profile's warning
/// alone is not worth it.
pub(super) fn are_read(policy: &Validate) -> bool {
    let looks = |check: &CheckName| match policy.severity(*check) {
        CheckSeverity::Fail => true,
        CheckSeverity::Warn => policy.configured.contains(check) || policy.policy.severity.contains_key(check),
        CheckSeverity::Off => false,
    };
    policy.policy.layers() == Layers::Deep || LOOKING.iter().any(looks)
}

#[async_trait]
impl Check for Deep {
    fn name(&self) -> Name {
        Name::Chosen(CheckName::Layers)
    }

    fn reads_layers(&self) -> bool {
        true
    }

    async fn look(&self, subject: &Subject<'_>) -> Result<Vec<Observation>, Fault> {
        if subject.policy.policy.layers() == Layers::Headers {
            return Ok(Vec::new());
        }
        let read = subject.evidence.layers(subject).await?;
        Ok(subject.inspection.platforms.iter().map(|platform| observe(platform, &read).of(platform)).collect())
    }
}

/// Adds what is kept of a layer to what is kept of the layers before; the same without it where that is too much.
fn bounded(reading: LayerReading, weight: &mut usize, most: usize) -> LayerReading {
    let Some(contents) = &reading.contents else { return reading };
    let with = weight.saturating_add(contents.weight());
    if with > most {
        let contents = LayerContents::without("there is more in the layers than is kept of an image");
        return LayerReading { contents: Some(contents), ..reading };
    }
    *weight = with;
    reading
}

fn observe(platform: &PlatformInspection, read: &Readings) -> Observation {
    let mut unpacked = 0;
    let mut foreign = 0;
    let mut wrong = Vec::new();
    for (place, (layer, reading)) in platform.layers.iter().zip(read.of(platform)).enumerate() {
        match reading {
            Some(LayerReading { defect: Some(defect), .. }) => {
                wrong.push(format!("layer {} ({}): {defect}", place + 1, layer.digest.short()));
            }
            Some(reading) => unpacked += reading.unpacked,
            None => foreign += 1,
        }
    }
    if wrong.is_empty() {
        let elsewhere = if foreign > 0 { format!(", {foreign} that live elsewhere not read") } else { String::new() };
        let seen = format!("{} layers, {} unpacked{elsewhere}", platform.layers.len(), Size::from(unpacked).rounded());
        Observation::good(seen, WANTED)
    } else {
        let fix = "push the image again; if that does not help, rebuild it, and look into the registry's storage";
        Observation::bad(wrong.join("; "), WANTED, fix).unforceable()
    }
}

async fn read(subject: &Subject<'_>, key: Key, layer: Descriptor) -> Result<(Key, LayerReading), Fault> {
    let (registries, limits) = (subject.registries, LayerLimits::default());
    let reading = registries.verify_layer(subject.repository, &layer, key.1.as_ref(), limits, Class::Inspect).await?;
    Ok((key, reading))
}

/// Layers with the digests of their contents; those are fewer where the image is not consistent.
fn with_contents(platform: &PlatformInspection) -> impl Iterator<Item = (&Descriptor, Option<&Digest>)> {
    let contents = &platform.config.rootfs.diff_ids;
    platform.layers.iter().enumerate().map(|(place, layer)| (layer, contents.get(place)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Compression;

    #[test]
    fn what_is_kept_of_all_layers_has_an_end() {
        let reading = |name: &str| {
            let mut contents = LayerContents::default();
            contents.privileged.insert(name.to_owned(), 0o4755);
            LayerReading {
                packed: 1,
                unpacked: 1,
                compression: Compression::None,
                diff_id: None,
                contents: Some(contents),
                defect: None,
            }
        };
        let mut weight = 0;
        for (name, is_kept) in [("four", true), ("seven77", false), ("six666", true), ("x", false)] {
            let contents = bounded(reading(name), &mut weight, 10).contents.unwrap();
            assert_eq!((contents.privileged.len() == 1, contents.broken.is_none()), (is_kept, is_kept), "{name}");
        }
        assert_eq!(weight, 10);
    }
}
