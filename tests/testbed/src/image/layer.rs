//! Layers: archives of files with pseudo-random content.

use std::io::Write as _;

use bytes::Bytes;
use flate2::{Compression as Level, GzBuilder};

/// How layers are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
    /// Not at all.
    None,
}

impl Compression {
    pub(super) fn compress(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::None => bytes.to_vec(),
            Self::Zstd => zstd::encode_all(bytes, 1).expect("memory can be written"),
            Self::Gzip => {
                // Without a time in the header, so that the same content has the same digest.
                let mut encoder = GzBuilder::new().mtime(0).write(Vec::new(), Level::fast());
                encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory can be written")
            }
        }
    }
}

/// A layer: what is stored, and the archive inside it.
pub(super) struct Layer {
    pub(super) blob: Bytes,
    pub(super) archive: Vec<u8>,
}

impl Layer {
    /// A layer whose files have `size` bytes together; the same `seed` gives the same files.
    pub(super) fn new(seed: u64, size: usize, compression: Compression) -> Self {
        let archive = archive(seed, size);
        Self { blob: compression.compress(&archive).into(), archive }
    }
}

/// An archive with a directory and up to four files.
fn archive(seed: u64, size: usize) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::with_capacity(size + 8192));
    let directory = format!("app/layer-{seed:x}/");
    append(&mut archive, tar::EntryType::Directory, &directory, 0o755, &[]);
    let content = noise(seed, size);
    for (number, part) in content.chunks(size.div_ceil(4).max(1)).enumerate() {
        append(&mut archive, tar::EntryType::Regular, &format!("{directory}file-{number}"), 0o644, part);
    }
    archive.into_inner().expect("memory can be written")
}

fn append(archive: &mut tar::Builder<Vec<u8>>, kind: tar::EntryType, path: &str, mode: u32, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(content.len() as u64);
    header.set_mtime(1_767_225_600); // 2026-01-01T00:00:00Z
    archive.append_data(&mut header, path, content).expect("memory can be written");
}

/// Bytes that do not compress, the same for the same seed (SplitMix64).
pub(super) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)).to_le_bytes()
    };
    let mut bytes: Vec<u8> = std::iter::repeat_with(&mut next).take(length.div_ceil(8)).flatten().collect();
    bytes.truncate(length);
    bytes
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_layer_is_an_archive_of_real_files() {
        for compression in [Compression::Gzip, Compression::Zstd, Compression::None] {
            let layer = Layer::new(7, 10_001, compression);
            let mut archive = Vec::new();
            match compression {
                Compression::Gzip => {
                    flate2::read::GzDecoder::new(&layer.blob[..]).read_to_end(&mut archive).expect("gzip");
                }
                Compression::Zstd => archive = zstd::decode_all(&layer.blob[..]).expect("zstd"),
                Compression::None => archive = layer.blob.to_vec(),
            }
            assert_eq!(archive, layer.archive);
            let sizes: Vec<u64> = tar::Archive::new(&archive[..])
                .entries()
                .expect("an archive")
                .map(|entry| entry.expect("an entry").size())
                .collect();
            assert_eq!(sizes.len(), 5);
            assert_eq!(sizes.iter().sum::<u64>(), 10_001);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_layer() {
        assert_eq!(Layer::new(1, 100, Compression::Gzip).blob, Layer::new(1, 100, Compression::Gzip).blob);
        assert_ne!(Layer::new(1, 100, Compression::Gzip).blob, Layer::new(2, 100, Compression::Gzip).blob);
        assert_eq!(Layer::new(1, 0, Compression::None).archive.len() % 512, 0);
    }
}
