//! Layers read whole: digest, decompression and diff id, while they stream by.

use std::io;

use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use super::Registries;
use super::archive::LayerContents;
use super::class::Class;
use super::error::{RegistryError, Trouble};
use super::manifest::Descriptor;
use super::manifests::Errand;
use super::unpack::{Unpacker, is_too_much};
use crate::promotion::digest::{Digest, Verifier};
use crate::promotion::image::Repository;

/// The parts of a layer that wait between the network and the decompression.
const QUEUE: usize = 8;

/// The bytes below which no ratio is suspicious.
const UNSUSPICIOUS: u64 = 1 << 30;

/// How far a layer is unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerLimits {
    /// The most unpacked bytes of one layer.
    pub max_unpacked: u64,
    /// The most unpacked bytes for one packed, for layers of more than 1 GiB.
    pub max_ratio: u64,
}

impl Default for LayerLimits {
    fn default() -> Self {
        Self { max_unpacked: 64 << 30, max_ratio: 200 }
    }
}

impl LayerLimits {
    /// Whether this is more than is reasonable.
    pub(super) const fn exceeds(self, packed: u64, unpacked: u64) -> bool {
        unpacked > self.max_unpacked || (unpacked > UNSUSPICIOUS && unpacked > packed.saturating_mul(self.max_ratio))
    }
}

/// How a layer is packed, by its media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// By gzip.
    Gzip,
    /// By Zstandard.
    Zstd,
    /// In a way that cannot be undone here, e.g. encrypted: only the digest is checked.
    Opaque,
}

impl Compression {
    /// What a media type says.
    #[must_use]
    pub fn of(media_type: &str) -> Self {
        if media_type.ends_with("+encrypted") {
            Self::Opaque
        } else if media_type.ends_with("gzip") {
            Self::Gzip
        } else if media_type.ends_with("zstd") {
            Self::Zstd
        } else {
            Self::None
        }
    }
}

/// What reading a layer whole has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerReading {
    /// The bytes that came.
    pub packed: u64,
    /// The bytes that they unpack to, as far as they were unpacked.
    pub unpacked: u64,
    /// How the layer is packed.
    pub compression: Compression,
    /// The digest of the unpacked bytes, where the layer could be unpacked whole.
    pub diff_id: Option<Digest>,
    /// What is in it, where it could be unpacked.
    pub contents: Option<LayerContents>,
    /// The first thing that is wrong with it.
    pub defect: Option<LayerDefect>,
}

/// What can be wrong with a layer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayerDefect {
    /// It has another size than its manifest declares.
    #[error("it has {found} bytes, and its manifest declares {declared}")]
    Size {
        /// What the manifest says.
        declared: u64,
        /// What it has.
        found: u64,
    },
    /// It has another digest than its manifest declares.
    #[error("its digest is {found}")]
    Digest {
        /// What it has.
        found: Digest,
    },
    /// It cannot be unpacked.
    #[error("it cannot be unpacked: {why}")]
    Packing {
        /// Why.
        why: String,
    },
    /// It unpacks to more than is reasonable.
    #[error("it unpacks to more than {unpacked} bytes from {packed}, which is how archives that fill disks are made")]
    Bomb {
        /// The bytes taken in so far.
        packed: u64,
        /// The bytes that came out so far.
        unpacked: u64,
    },
    /// Its content is not the one that the configuration names.
    #[error("its content is {found}, and the configuration names {wanted}")]
    DiffId {
        /// What the configuration says.
        wanted: Digest,
        /// What it has.
        found: Digest,
    },
}

impl Registries {
    /// Reads a layer whole, in bounded memory, and checks its size, its digest, that it unpacks, and, where `diff_id`
    /// is given, that it unpacks to what the image's configuration names.
    ///
    /// # Errors
    /// What keeps it from being read. What is wrong with what was read is [`LayerReading::defect`].
    pub async fn verify_layer(
        &self,
        repository: &Repository,
        layer: &Descriptor,
        diff_id: Option<&Digest>,
        limits: LayerLimits,
        class: Class,
    ) -> Result<LayerReading, RegistryError> {
        let doing = format!("verify the layer {repository}@{}", layer.digest);
        let errand = Errand::alone(class);
        self.patiently(&doing, |_| self.verify_once(repository, layer, diff_id, limits, &errand)).await
    }

    async fn verify_once(
        &self,
        repository: &Repository,
        layer: &Descriptor,
        diff_id: Option<&Digest>,
        limits: LayerLimits,
        errand: &Errand,
    ) -> Result<LayerReading, Trouble> {
        let answer = match self.get_blob(repository, layer, errand, false).await {
            Err(Trouble::Oversized { wanted: declared }) => {
                let defect = LayerDefect::Size { declared, found: declared.saturating_add(1) };
                return Ok(LayerReading {
                    packed: 0,
                    unpacked: 0,
                    compression: Compression::of(&layer.media_type),
                    diff_id: None,
                    contents: None,
                    defect: Some(defect),
                });
            }
            answer => answer?,
        };
        let (parts, mut queue) = mpsc::channel::<Bytes>(QUEUE);
        let mut reader = Reader::new(layer, diff_id, limits)
            .map_err(|error| Trouble::Failed { after: None, says: format!("the unpacking cannot begin: {error}") })?;
        // Ends when the sender is dropped, also where this future is.
        let work = tokio::task::spawn_blocking(move || {
            while let Some(part) = queue.blocking_recv() {
                if !reader.take(&part) {
                    break;
                }
            }
            reader
        });
        let mut content = answer.stream();
        let mut broke = None;
        while let Some(part) = content.next().await {
            match part {
                Ok(part) => {
                    if parts.send(part).await.is_err() {
                        // The worker has seen enough.
                        break;
                    }
                }
                Err(trouble) => {
                    broke = Some(trouble);
                    break;
                }
            }
        }
        drop(parts);
        let reader = work
            .await
            .map_err(|error| Trouble::Failed { after: None, says: format!("the unpacking failed: {error}") })?;
        match broke {
            Some(trouble) => Err(trouble),
            None => reader.finish(),
        }
    }
}

/// Takes a layer in, part by part.
struct Reader {
    size: u64,
    packed: u64,
    digest: Verifier,
    unpacker: Unpacker,
    diff_id: Option<Digest>,
    compression: Compression,
    defect: Option<LayerDefect>,
}

impl Reader {
    fn new(layer: &Descriptor, diff_id: Option<&Digest>, limits: LayerLimits) -> io::Result<Self> {
        let compression = Compression::of(&layer.media_type);
        Ok(Self {
            size: layer.size,
            packed: 0,
            digest: layer.digest.verifier(),
            unpacker: Unpacker::new(compression, diff_id, limits)?,
            diff_id: diff_id.cloned(),
            compression,
            defect: None,
        })
    }

    /// Takes the next part in; tells whether there is any use in another. A layer that cannot be unpacked is still
    /// read to its end, because its digest tells whether it or its transfer is at fault.
    fn take(&mut self, part: &[u8]) -> bool {
        self.packed += part.len() as u64;
        if self.packed > self.size {
            self.defect = Some(LayerDefect::Size { declared: self.size, found: self.packed });
            return false;
        }
        self.digest.update(part);
        if self.defect.is_some() {
            return true;
        }
        if let Err(error) = self.unpacker.take(part, self.packed) {
            self.fail(&error);
        }
        !matches!(self.defect, Some(LayerDefect::Bomb { .. }))
    }

    fn fail(&mut self, error: &io::Error) {
        self.defect = Some(if is_too_much(error) {
            LayerDefect::Bomb { packed: self.packed, unpacked: self.unpacker.unpacked() }
        } else {
            LayerDefect::Packing { why: error.to_string() }
        });
    }

    /// Ends the layer.
    fn finish(mut self) -> Result<LayerReading, Trouble> {
        let cut_short = matches!(self.defect, Some(LayerDefect::Bomb { .. } | LayerDefect::Size { .. }));
        if self.packed < self.size && !cut_short {
            return Err(Trouble::Truncated { got: self.packed, wanted: self.size });
        }
        if self.defect.is_none()
            && let Err(error) = self.unpacker.end()
        {
            self.fail(&error);
        }
        if !cut_short && let Err(found) = self.digest.finish() {
            // What the bytes unpack to says nothing when they are not the layer's.
            self.defect = Some(LayerDefect::Digest { found });
        }
        let unpacked = self.unpacker.unpacked();
        let diff_id = if self.defect.is_none() { self.unpacker.content() } else { None };
        if let (Some(found), Some(wanted)) = (&diff_id, self.diff_id)
            && *found != wanted
        {
            self.defect = Some(LayerDefect::DiffId { wanted, found: found.clone() });
        }
        let contents = self.unpacker.entries().filter(|_| self.defect.is_none());
        let (packed, compression, defect) = (self.packed, self.compression, self.defect);
        Ok(LayerReading { packed, unpacked, compression, diff_id, contents, defect })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(content: &[u8]) -> Vec<u8> {
        zstd::encode_all(content, 1).unwrap()
    }

    fn layer(packed: &[u8], kind: &str) -> Descriptor {
        serde_json::from_value(serde_json::json!({
            "mediaType": format!("application/vnd.oci.image.layer.v1.tar{kind}"),
            "digest": Digest::sha256(packed), "size": packed.len()
        }))
        .unwrap()
    }

    fn read(
        layer: &Descriptor,
        bytes: &[u8],
        diff_id: Option<&Digest>,
        cut: usize,
        limits: LayerLimits,
    ) -> Result<LayerReading, Trouble> {
        let mut reader = Reader::new(layer, diff_id, limits).unwrap();
        for part in bytes.chunks(cut.max(1)) {
            if !reader.take(part) {
                break;
            }
        }
        reader.finish()
    }

    proptest! {
        #[test]
        fn every_packing_gives_the_content_back(content in proptest::collection::vec(any::<u8>(), 0..2_000), cut in 1usize..200) {
            let diff_id = Digest::sha256(&content);
            for (kind, packed) in [("", content.clone()), ("+gzip", gzip(&content)), ("+zstd", zstd(&content))] {
                let layer = layer(&packed, kind);
                let reading = read(&layer, &packed, Some(&diff_id), cut, LayerLimits::default()).unwrap();
                prop_assert_eq!(reading.defect, None, "{}", kind);
                prop_assert_eq!(reading.diff_id.as_ref(), Some(&diff_id));
                prop_assert_eq!(reading.unpacked, content.len() as u64);
                let other = Digest::sha256(b"something else");
                let reading = read(&layer, &packed, Some(&other), cut, LayerLimits::default()).unwrap();
                prop_assert!(matches!(reading.defect, Some(LayerDefect::DiffId { .. })), "{:?}", reading.defect);
            }
        }

        #[test]
        fn a_cut_or_changed_layer_is_always_noticed(
            content in proptest::collection::vec(any::<u8>(), 1..2_000), cut in 1usize..200, at in any::<proptest::sample::Index>(),
        ) {
            for (kind, packed) in [("", content.clone()), ("+gzip", gzip(&content)), ("+zstd", zstd(&content))] {
                let whole = layer(&packed, kind);
                let short = &packed[..at.index(packed.len())];
                let truncated = matches!(read(&whole, short, None, cut, LayerLimits::default()), Err(Trouble::Truncated { .. }));
                prop_assert!(truncated, "{}", kind);
                // Cut by whoever built it: the digest is right, and it still does not unpack.
                if !kind.is_empty() && !short.is_empty() {
                    let reading = read(&layer(short, kind), short, None, cut, LayerLimits::default()).unwrap();
                    prop_assert!(matches!(reading.defect, Some(LayerDefect::Packing { .. })), "{} {:?}", kind, reading);
                }
                let mut changed = packed.clone();
                changed[at.index(packed.len())] ^= 0x10;
                let reading = read(&whole, &changed, None, cut, LayerLimits::default()).unwrap();
                prop_assert!(matches!(reading.defect, Some(LayerDefect::Digest { .. })), "{} {:?}", kind, reading);
            }
        }
    }

    #[test]
    fn several_members_and_frames_are_one_layer() {
        let diff_id = Digest::sha256(b"onetwo");
        for (kind, packed) in [
            ("+gzip", [gzip(b"one"), gzip(b"two")].concat()),
            ("+zstd", [zstd(b"one"), zstd(b""), zstd(b"two")].concat()),
            // A skippable frame, as zstd:chunked puts its table of contents at the end.
            ("+zstd", [zstd(b"onetwo"), vec![0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4]].concat()),
        ] {
            for cut in [1, 7, 1_000] {
                let reading =
                    read(&layer(&packed, kind), &packed, Some(&diff_id), cut, LayerLimits::default()).unwrap();
                assert_eq!(reading.defect, None, "{kind} {cut}");
            }
        }
    }

    #[test]
    fn a_layer_that_is_not_what_its_type_says_does_not_unpack() {
        for (kind, packed) in [("+gzip", zstd(b"x")), ("+zstd", gzip(b"x")), ("+gzip", b"plain".to_vec())] {
            let reading = read(&layer(&packed, kind), &packed, None, 100, LayerLimits::default()).unwrap();
            assert!(matches!(reading.defect, Some(LayerDefect::Packing { .. })), "{kind} {reading:?}");
        }
        assert_eq!(Compression::of("application/vnd.docker.image.rootfs.diff.tar.gzip"), Compression::Gzip);
        assert_eq!(Compression::of("application/vnd.oci.image.layer.v1.tar+gzip+encrypted"), Compression::Opaque);
    }

    #[test]
    fn a_bomb_is_not_unpacked_to_its_end() {
        let limits = LayerLimits { max_unpacked: 100_000, max_ratio: 200 };
        let zeros = vec![0; 50_000_000];
        for (kind, packed) in [("+gzip", gzip(&zeros)), ("+zstd", zstd(&zeros))] {
            let reading = read(&layer(&packed, kind), &packed, None, 1_000, limits).unwrap();
            assert!(matches!(reading.defect, Some(LayerDefect::Bomb { .. })), "{kind} {reading:?}");
            assert!(reading.unpacked < 1_000_000, "{kind} {}", reading.unpacked);
        }
        assert!(LayerLimits::default().exceeds(1_000_000, 1_200_000_000));
        assert!(!LayerLimits::default().exceeds(100_000, 200_000_000));
    }
}
