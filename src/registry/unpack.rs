//! Layers unpacked without being kept: what comes out is hashed, counted, and bounded.

use std::io::{self, Write};

use flate2::write::MultiGzDecoder;
use zstd::stream::raw::{DParameter, Decoder, Operation as _};

use super::archive::{Archive, LayerContents};
use super::layer::{Compression, LayerLimits};
use crate::promotion::digest::{Digest, Verifier};

/// The most that zstd may remember of what it has unpacked: 128 MiB, what every zstd program allows.
const ZSTD_WINDOW_LOG: u32 = 27;

/// Unpacks a layer, part by part.
pub(super) enum Unpacker {
    Plain(Box<Sink>),
    Gzip(Box<MultiGzDecoder<Sink>>),
    Zstd(Box<Zstd>),
    Opaque,
}

impl Unpacker {
    /// Begins, hashing with the algorithm of `diff_id` where one is given.
    pub(super) fn new(compression: Compression, diff_id: Option<&Digest>, limits: LayerLimits) -> io::Result<Self> {
        let sink = Sink::new(diff_id, limits);
        Ok(match compression {
            Compression::None => Self::Plain(Box::new(sink)),
            Compression::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(sink))),
            Compression::Zstd => Self::Zstd(Box::new(Zstd::new(sink)?)),
            Compression::Opaque => Self::Opaque,
        })
    }

    /// Takes the next part in, with which `packed` bytes have come in all.
    pub(super) fn take(&mut self, part: &[u8], packed: u64) -> io::Result<()> {
        if let Some(sink) = self.sink() {
            sink.packed = packed;
        }
        match self {
            Self::Plain(sink) => sink.write_all(part),
            Self::Gzip(decoder) => decoder.write_all(part),
            Self::Zstd(decoder) => decoder.write_all(part),
            Self::Opaque => Ok(()),
        }
    }

    /// Ends: an error where more should have come.
    pub(super) fn end(&mut self) -> io::Result<()> {
        match self {
            Self::Gzip(decoder) => decoder.try_finish(),
            Self::Zstd(decoder) => decoder.end(),
            Self::Plain(_) | Self::Opaque => Ok(()),
        }
    }

    /// The bytes that came out so far.
    pub(super) fn unpacked(&mut self) -> u64 {
        self.sink().map_or(0, |sink| sink.unpacked)
    }

    /// The digest of what came out, once it has ended.
    pub(super) fn content(&mut self) -> Option<Digest> {
        let hasher = self.sink()?.hasher.take()?;
        Some(hasher.finish().unwrap_or_else(|found| found))
    }

    /// What is in the archive that came out, once it has ended.
    pub(super) fn entries(&mut self) -> Option<LayerContents> {
        self.sink()?.archive.take().map(Archive::finish)
    }

    fn sink(&mut self) -> Option<&mut Sink> {
        match self {
            Self::Plain(sink) => Some(sink),
            Self::Gzip(decoder) => Some(decoder.get_mut()),
            Self::Zstd(decoder) => Some(&mut decoder.sink),
            Self::Opaque => None,
        }
    }
}

/// Whether an error is that more came out than is allowed.
pub(super) fn is_too_much(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<TooMuch>())
}

/// More came out than is allowed.
#[derive(Debug, thiserror::Error)]
#[error("more came out than is allowed")]
struct TooMuch;

/// Where unpacked bytes go: hashed, counted, and forgotten.
pub(super) struct Sink {
    hasher: Option<Verifier>,
    packed: u64,
    unpacked: u64,
    limits: LayerLimits,
    archive: Option<Archive>,
}

impl Sink {
    fn new(diff_id: Option<&Digest>, limits: LayerLimits) -> Self {
        // Without a diff id to compare with, any digest serves: what is wanted is the one that is found.
        let hasher = diff_id.map_or_else(|| Digest::sha256(b"").verifier(), Digest::verifier);
        Self { hasher: Some(hasher), packed: 0, unpacked: 0, limits, archive: Some(Archive::new()) }
    }
}

impl Write for Sink {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        self.unpacked += part.len() as u64;
        if self.limits.exceeds(self.packed, self.unpacked) {
            return Err(io::Error::other(TooMuch));
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(part);
        }
        if let Some(archive) = &mut self.archive {
            archive.take(part);
        }
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Unpacks zstd frames, one after another, skippable ones too.
pub(super) struct Zstd {
    decoder: Decoder<'static>,
    sink: Sink,
    room: Vec<u8>,
    inside: bool,
}

impl Zstd {
    fn new(sink: Sink) -> io::Result<Self> {
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG))?;
        Ok(Self { decoder, sink, room: vec![0; 128 * 1024], inside: false })
    }

    fn write_all(&mut self, mut part: &[u8]) -> io::Result<()> {
        loop {
            let status = self.decoder.run_on_buffers(part, &mut self.room)?;
            part = &part[status.bytes_read..];
            self.sink.write_all(&self.room[..status.bytes_written])?;
            // Nothing remains at a frame's end only: then everything is out, and more input begins another frame.
            self.inside = status.remaining != 0;
            if part.is_empty() && (!self.inside || status.bytes_written < self.room.len()) {
                return Ok(());
            }
        }
    }

    fn end(&self) -> io::Result<()> {
        if self.inside {
            Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the last frame is cut off"))
        } else {
            Ok(())
        }
    }
}
