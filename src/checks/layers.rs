//! `layers`, deep: every byte of every layer is read, and its digest, its packing and its content are verified.

use std::collections::BTreeMap;

use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{Check, Name, Observation, Subject};
use crate::config::{CheckName, Size};
use crate::promotion::digest::Digest;
use crate::promotion::fault::Fault;
use crate::registry::{Class, Descriptor, LayerLimits, LayerReading};

/// Each layer of each platform's image unpacks to what the configuration names.
#[derive(Debug)]
pub(super) struct Deep;

/// How many layers are read at the same time; each needs the memory of its unpacker.
const AT_ONCE: usize = 4;

const WANTED: &str = "digest, size, packing and content of every layer as declared";

/// A layer is the same wherever it has the same bytes and is meant to have the same content.
type Key = (Digest, Option<Digest>);

#[async_trait]
impl Check for Deep {
    fn name(&self) -> Name {
        Name::Chosen(CheckName::Layers)
    }

    fn reads_layers(&self) -> bool {
        true
    }

    async fn look(&self, subject: &Subject<'_>) -> Result<Vec<Observation>, Fault> {
        let mut layers: BTreeMap<Key, Descriptor> = BTreeMap::new();
        for platform in &subject.inspection.platforms {
            for (layer, content) in with_contents(&platform.layers, &platform.config.rootfs.diff_ids) {
                if !layer.is_foreign() {
                    layers.entry((layer.digest.clone(), content.cloned())).or_insert_with(|| layer.clone());
                }
            }
        }
        let reads: Vec<_> = layers.into_iter().map(|(key, layer)| read(subject, key, layer)).collect();
        let read: BTreeMap<Key, LayerReading> = stream::iter(reads).buffer_unordered(AT_ONCE).try_collect().await?;
        let observations = subject.inspection.platforms.iter().map(|platform| {
            let mut unpacked = 0;
            let mut foreign = 0;
            let mut wrong = Vec::new();
            for (place, (layer, content)) in
                with_contents(&platform.layers, &platform.config.rootfs.diff_ids).enumerate()
            {
                match read.get(&(layer.digest.clone(), content.cloned())) {
                    Some(LayerReading { defect: Some(defect), .. }) => {
                        wrong.push(format!("layer {} ({}): {defect}", place + 1, layer.digest.short()));
                    }
                    Some(reading) => unpacked += reading.unpacked,
                    None => foreign += 1,
                }
            }
            if wrong.is_empty() {
                let elsewhere =
                    if foreign > 0 { format!(", {foreign} that live elsewhere not read") } else { String::new() };
                let seen =
                    format!("{} layers, {} unpacked{elsewhere}", platform.layers.len(), Size::from(unpacked).rounded());
                Observation::good(seen, WANTED).of(platform)
            } else {
                let fix =
                    "push the image again; if that does not help, rebuild it, and look into the registry's storage";
                Observation::bad(wrong.join("; "), WANTED, fix).of(platform).unforceable()
            }
        });
        Ok(observations.collect())
    }
}

/// Reads one layer whole.
async fn read(subject: &Subject<'_>, key: Key, layer: Descriptor) -> Result<(Key, LayerReading), Fault> {
    let (registries, limits) = (subject.registries, LayerLimits::default());
    let reading = registries.verify_layer(subject.repository, &layer, key.1.as_ref(), limits, Class::Inspect).await?;
    Ok((key, reading))
}

/// Layers with the digests of their contents; those are fewer where the image is not consistent.
fn with_contents<'a>(
    layers: &'a [Descriptor],
    contents: &'a [Digest],
) -> impl Iterator<Item = (&'a Descriptor, Option<&'a Digest>)> {
    layers.iter().enumerate().map(|(place, layer)| (layer, contents.get(place)))
}
