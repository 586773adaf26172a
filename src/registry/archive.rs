//! The archive in a layer, looked at while it streams by (POSIX.1-2017 `pax`, GNU tar; image-spec `layer.md`).
//!
//! Nothing is unpacked and nothing is followed: entries are names, modes and, for a few small files that tell what is
//! in an image, contents. Names are taken as they are meant: without a root, and without leaving it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::LazyLock;

use super::installed::{self, Installed};

/// A block of an archive.
const BLOCK: usize = 512;

/// The longest name, and the most attributes of one entry.
const MAX_NAMES: u64 = 1 << 20;

/// The most that is kept of one file.
const MAX_FILE: u64 = 4 << 20;

/// The most that is read of all databases of one layer: some images have a file for each package.
const MAX_DATABASES: u64 = 16 << 20;

/// The largest size that an entry can have; what is larger is made to confuse.
const MAX_SIZE: u64 = 1 << 62;

/// The most names of one layer that are remembered as replacing those of the layers below.
const MAX_REPLACED: usize = 200_000;

/// The most of one layer's names that are kept.
const MAX_KEPT: usize = 20_000;

/// The most bytes that these names have together.
const MAX_NAMED: usize = 4 << 20;

/// Names are remembered by their hashes, which nobody outside can foresee.
static HASHES: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// What is in a layer, as far as checks want to know it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LayerContents {
    /// How many entries there are.
    pub entries: u64,
    /// The files with setuid or setgid, and their modes.
    pub privileged: BTreeMap<String, u32>,
    /// The files that tell which release of which operating system it is.
    pub releases: BTreeMap<String, String>,
    /// The databases of packages, and what they list.
    pub databases: BTreeMap<String, Installed>,
    /// The names below this layer that it removes.
    pub removed: BTreeSet<String>,
    /// The directories of which it hides what is below this layer.
    pub opaque: BTreeSet<String>,
    /// Why it is not an archive, or not a whole one.
    pub broken: Option<String>,
    replaced: HashSet<u64>,
}

impl LayerContents {
    /// What is in an archive that comes in parts of this size.
    #[must_use]
    pub fn of_archive(bytes: &[u8], part: usize) -> Self {
        let mut archive = Archive::new();
        bytes.chunks(part.max(1)).for_each(|part| archive.take(part));
        archive.finish()
    }

    /// How many bytes of names and packages are kept of it.
    #[must_use]
    pub fn weight(&self) -> usize {
        let packages = |one: &Installed| match one {
            Installed::Listed(packages) => packages.iter().map(|(name, version)| name.len() + version.len()).sum(),
            Installed::Unread => 0,
        };
        self.privileged.keys().chain(&self.removed).chain(&self.opaque).map(String::len).sum::<usize>()
            + self.releases.values().map(String::len).sum::<usize>()
            + self.databases.iter().map(|(name, one)| name.len() + packages(one)).sum::<usize>()
    }

    /// The same without anything that is kept, for a reason.
    #[must_use]
    pub fn without(why: &str) -> Self {
        Self { broken: Some(why.to_owned()), ..Self::default() }
    }

    /// Whether it has an entry of this name, in place of one below. Of a layer with very many entries, not all are
    /// known.
    #[must_use]
    pub fn replaces(&self, name: &str) -> bool {
        self.replaced.contains(&HASHES.hash_one(name))
    }
}

/// Takes an archive in, part by part.
pub(super) struct Archive {
    contents: LayerContents,
    block: Vec<u8>,
    state: State,
    /// Names that came before their entry, each in its place; an empty one stands for that in the entry's header.
    names: Vec<String>,
    /// Another name that came before its entry, for those who know of files with holes (GNU tar's `sparse` formats).
    alias: Option<String>,
    /// A size that came before its entry.
    size: Option<u64>,
    /// Whether attributes came before their entry.
    has_attributes: bool,
    /// The bytes of databases that were read so far.
    read: u64,
    /// The bytes of names that were kept so far.
    named: usize,
    /// Empty blocks one after another: two are the end.
    empty: u8,
}

enum State {
    Header,
    /// Inside what an entry holds: what is left of it, what is left of the filling behind it, and what it is for.
    Content {
        left: u64,
        filling: u64,
        purpose: Purpose,
        kept: Vec<u8>,
    },
    Over,
}

enum Purpose {
    Nothing,
    LongName,
    Attributes,
    Release(String),
    Database(String),
}

impl Archive {
    pub(super) fn new() -> Self {
        Self {
            contents: LayerContents::default(),
            block: Vec::with_capacity(BLOCK),
            state: State::Header,
            names: Vec::new(),
            alias: None,
            size: None,
            has_attributes: false,
            read: 0,
            named: 0,
            empty: 0,
        }
    }

    /// Takes the next part in.
    pub(super) fn take(&mut self, mut part: &[u8]) {
        while !part.is_empty() {
            match &mut self.state {
                State::Over => return,
                State::Header => {
                    let wanted = (BLOCK - self.block.len()).min(part.len());
                    self.block.extend_from_slice(&part[..wanted]);
                    part = &part[wanted..];
                    if self.block.len() == BLOCK {
                        let block = std::mem::take(&mut self.block);
                        self.state = self.header(&block);
                        self.block = block;
                        self.block.clear();
                        self.entry_without_content();
                    }
                }
                State::Content { left, filling, purpose, kept } => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(part.len());
                    if !matches!(purpose, Purpose::Nothing) {
                        kept.extend_from_slice(&part[..taken]);
                    }
                    *left -= taken as u64;
                    part = &part[taken..];
                    let filled = usize::try_from(*filling).unwrap_or(usize::MAX).min(part.len());
                    if *left == 0 {
                        *filling -= filled as u64;
                        part = &part[filled..];
                        if *filling == 0 {
                            self.end_of_content();
                        }
                    }
                }
            }
        }
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> LayerContents {
        let cut = !self.block.is_empty() || matches!(self.state, State::Content { .. });
        if cut && self.contents.broken.is_none() {
            self.contents.broken = Some("it is cut off".to_owned());
        }
        self.contents
    }

    fn entry_without_content(&mut self) {
        if matches!(self.state, State::Content { left: 0, filling: 0, .. }) {
            self.end_of_content();
        }
    }

    fn broken(&mut self, why: &str) -> State {
        self.contents.broken.get_or_insert_with(|| why.to_owned());
        State::Over
    }

    fn header(&mut self, block: &[u8]) -> State {
        if block.iter().all(|byte| *byte == 0) {
            self.empty += 1;
            return if self.empty == 2 { State::Over } else { State::Header };
        }
        self.empty = 0;
        if !is_header(block) {
            return self.broken("it is not an archive");
        }
        let Some(declared) = number(&block[124..136]) else { return self.broken("an entry has no size") };
        let kind = block[156];
        // Attributes and names come with sizes of their own.
        let size =
            if matches!(kind, b'x' | b'g' | b'L' | b'K') { declared } else { self.size.take().unwrap_or(declared) };
        if size > MAX_SIZE {
            return self.broken("an entry has a size that nothing has");
        }
        let purpose = match kind {
            b'x' | b'g' | b'L' | b'K' if size > MAX_NAMES => return self.broken("the names of an entry have no end"),
            // Some unpack it by all of them, some by the last.
            b'x' if self.has_attributes => return self.broken("an entry has attributes twice"),
            b'x' => {
                self.has_attributes = true;
                Purpose::Attributes
            }
            b'L' => Purpose::LongName,
            b'g' | b'K' => Purpose::Nothing,
            // The map goes on behind the header, and is no entry, whatever it looks like.
            b'S' if block[482] != 0 => return self.broken("an entry has a map of holes that does not fit into it"),
            _ => {
                self.has_attributes = false;
                self.contents.entries += 1;
                let mode = number(&block[100..108]).unwrap_or_default();
                // Whoever unpacks it takes one of its names: it is under all.
                let purposes = self.names(block).into_iter().map(|name| self.entry(&name, kind, mode, size));
                let mut purposes: Vec<Purpose> =
                    purposes.filter(|purpose| !matches!(purpose, Purpose::Nothing)).collect();
                if purposes.len() > 1 {
                    return self.broken("an entry has several names");
                }
                purposes.pop().unwrap_or(Purpose::Nothing)
            }
        };
        // A link or a directory has no content, whatever it says of its size.
        let size = if matches!(kind, b'1' | b'2' | b'3' | b'4' | b'5' | b'6') { 0 } else { size };
        let filling = size.next_multiple_of(BLOCK as u64).saturating_sub(size);
        State::Content { left: size, filling, purpose, kept: Vec::new() }
    }

    /// The names of an entry: by what came before it (Go's `archive/tar` prefers GNU's, others the last), or by its
    /// header.
    fn names(&mut self, block: &[u8]) -> BTreeSet<String> {
        let mut names = std::mem::take(&mut self.names);
        if names.is_empty() {
            names.push(String::new());
        }
        let named = |name: String| if name.is_empty() { header_names(block) } else { vec![name] };
        names.into_iter().flat_map(named).chain(self.alias.take()).map(|name| plain(&name)).collect()
    }

    /// Takes an entry in under one of its names; tells what its content is for.
    fn entry(&mut self, name: &str, kind: u8, mode: u64, size: u64) -> Purpose {
        let (folder, last) = name.rsplit_once('/').unwrap_or(("", name));
        let is_file = matches!(kind, b'0' | 0 | b'7' | b'S');
        let is_privileged = (is_file || kind == b'1') && mode & 0o6000 != 0;
        if last.starts_with(".wh.") || is_privileged || (is_file && installed::is_database(name).is_some()) {
            self.named = self.named.saturating_add(name.len());
            if self.named > MAX_NAMED {
                self.contents.broken.get_or_insert_with(|| "the names in it have no end".to_owned());
                return Purpose::Nothing;
            }
        }
        let contents = &mut self.contents;
        if last == ".wh..wh..opq" {
            if contents.opaque.len() < MAX_KEPT {
                contents.opaque.insert(folder.to_owned());
            }
            return Purpose::Nothing;
        }
        if let Some(removed) = last.strip_prefix(".wh.") {
            if contents.removed.len() < MAX_KEPT {
                contents.removed.insert(if folder.is_empty() {
                    removed.to_owned()
                } else {
                    format!("{folder}/{removed}")
                });
            }
            return Purpose::Nothing;
        }
        if contents.replaced.len() < MAX_REPLACED {
            contents.replaced.insert(HASHES.hash_one(name));
        }
        // The last entry of a name counts.
        contents.privileged.remove(name);
        if is_privileged {
            if contents.privileged.len() >= MAX_KEPT {
                contents
                    .broken
                    .get_or_insert_with(|| format!("more than {MAX_KEPT} files in it have setuid or setgid"));
                return Purpose::Nothing;
            }
            contents.privileged.insert(name.to_owned(), u32::try_from(mode & 0o7777).unwrap_or_default());
        }
        if !is_file {
            return Purpose::Nothing;
        }
        if matches!(name, "etc/os-release" | "usr/lib/os-release") && size <= MAX_NAMES {
            return Purpose::Release(name.to_owned());
        }
        match installed::is_database(name) {
            Some(true)
                if size <= MAX_FILE && self.read + size <= MAX_DATABASES && contents.databases.len() < MAX_KEPT =>
            {
                self.read += size;
                Purpose::Database(name.to_owned())
            }
            Some(_) => {
                if contents.databases.len() < MAX_KEPT {
                    contents.databases.insert(name.to_owned(), Installed::Unread);
                }
                Purpose::Nothing
            }
            None => Purpose::Nothing,
        }
    }

    fn end_of_content(&mut self) {
        let State::Content { purpose, kept, .. } = std::mem::replace(&mut self.state, State::Header) else { return };
        match purpose {
            Purpose::Nothing => {}
            Purpose::LongName => self.names.push(text(&kept)),
            Purpose::Attributes => self.attributes(&kept),
            Purpose::Release(name) => {
                self.contents.releases.insert(name, text(&kept));
            }
            Purpose::Database(name) => {
                let listed = installed::read(&name, &text(&kept));
                self.contents.databases.insert(name, Installed::Listed(listed));
            }
        }
    }

    /// Attributes: `length name=value\n` (POSIX.1-2017 `pax`, "pax Extended Header").
    fn attributes(&mut self, mut bytes: &[u8]) {
        while let Some(space) = bytes.iter().position(|byte| *byte == b' ') {
            let length: Option<usize> = std::str::from_utf8(&bytes[..space]).ok().and_then(|text| text.parse().ok());
            let Some(record) =
                length.filter(|length| *length > space + 1).and_then(|length| bytes.get(space + 1..length))
            else {
                self.state = self.broken("the attributes of an entry are malformed");
                return;
            };
            bytes = &bytes[space + 1 + record.len()..];
            let record = text(record.strip_suffix(b"\n").unwrap_or(record));
            match record.split_once('=') {
                Some(("path", name)) => self.names.push(name.to_owned()),
                Some(("GNU.sparse.name", name)) => self.alias = Some(name.to_owned()),
                Some(("size", size)) => self.size = size.parse().ok(),
                _ => {}
            }
        }
    }
}

/// Whether a block's checksum is right.
fn is_header(block: &[u8]) -> bool {
    let sum: u64 =
        block.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u64::from(*byte) }).sum();
    number(&block[148..156]) == Some(sum)
}

/// A number: octal digits, or, with the highest bit set, binary (GNU tar).
fn number(field: &[u8]) -> Option<u64> {
    if let Some((first, rest)) = field.split_first().filter(|(first, _)| **first & 0x80 != 0) {
        let number = rest.iter().fold(u128::from(first & 0x7f), |number, byte| (number << 8) | u128::from(*byte));
        return u64::try_from(number).ok();
    }
    let digits = text(field);
    let digits = digits.trim_matches([' ', '\0']);
    if digits.is_empty() { Some(0) } else { u64::from_str_radix(digits, 8).ok() }
}

/// The name in a header; two where it is read in two ways.
fn header_names(block: &[u8]) -> Vec<String> {
    let name = text(&block[..100]);
    let prefixed = |end: usize| match text(&block[345..end]) {
        prefix if prefix.is_empty() => name.clone(),
        prefix => format!("{prefix}/{name}"),
    };
    match &block[257..263] {
        // The format of `star` has times behind a shorter prefix.
        b"ustar\0" if &block[508..512] == b"tar\0" => vec![prefixed(476), prefixed(500)],
        b"ustar\0" => vec![prefixed(500)],
        // GNU's own format has two times in the place of the prefix; where they are none, Go takes them for one.
        b"ustar " if number(&block[345..357]).is_none() || number(&block[357..369]).is_none() => {
            vec![name.clone(), prefixed(500)]
        }
        _ => vec![name],
    }
}

/// A text up to its first NUL.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// A name without a root, without `.`, and without leaving the tree by `..`.
fn plain(name: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Entry<'a> {
        name: &'a str,
        mode: u32,
        kind: tar::EntryType,
        content: &'a [u8],
    }

    fn file<'a>(name: &'a str, mode: u32, content: &'a [u8]) -> Entry<'a> {
        Entry { name, mode, kind: tar::EntryType::Regular, content }
    }

    fn archive(entries: &[Entry<'_>]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for entry in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(entry.kind);
            header.set_mode(entry.mode);
            header.set_size(entry.content.len() as u64);
            // The way that refuses nothing.
            let name = entry.name.as_bytes();
            if name.len() < 100 {
                header.as_mut_bytes()[..name.len()].copy_from_slice(name);
                header.set_cksum();
                builder.append(&header, entry.content).unwrap();
            } else {
                builder.append_data(&mut header, entry.name, entry.content).unwrap();
            }
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn names_modes_and_what_is_asked_for() {
        let long = format!("opt/{}/su", "x".repeat(150));
        let bytes = archive(&[
            file("./usr/bin/su", 0o4755, b"elf"),
            file("/../../bin/ping", 0o2755, b""),
            file(&long, 0o4755, b"elf"),
            file("usr/bin/cat", 0o755, b"elf"),
            Entry { name: "var/spool", mode: 0o2775, kind: tar::EntryType::Directory, content: b"" },
            Entry { name: "etc/link", mode: 0o4777, kind: tar::EntryType::Symlink, content: b"" },
            file("etc/os-release", 0o644, b"ID=alpine\nVERSION_ID=3.20.1\n"),
            file("lib/apk/db/installed", 0o644, b"P:musl\nV:1.2\n\nP:zlib\nV:1.3\n"),
            file("var/lib/rpm/rpmdb.sqlite", 0o644, b"SQLite"),
            file("etc/.wh.gone", 0, b""),
            file("srv/.wh..wh..opq", 0, b""),
        ]);
        for cut in [1, 7, 511, 512, 513, 100_000] {
            let contents = LayerContents::of_archive(&bytes, cut);
            assert_eq!(contents.broken, None);
            assert_eq!(contents.entries, 11);
            let names: Vec<&str> = contents.privileged.keys().map(String::as_str).collect();
            assert_eq!(names, ["bin/ping", long.as_str(), "usr/bin/su"]);
            assert_eq!(contents.privileged["usr/bin/su"], 0o4755);
            assert_eq!(contents.releases["etc/os-release"], "ID=alpine\nVERSION_ID=3.20.1\n");
            let Installed::Listed(listed) = &contents.databases["lib/apk/db/installed"] else { panic!() };
            assert_eq!(listed["zlib"], "1.3");
            assert_eq!(contents.databases["var/lib/rpm/rpmdb.sqlite"], Installed::Unread);
            assert_eq!(contents.removed, BTreeSet::from(["etc/gone".to_owned()]));
            assert_eq!(contents.opaque, BTreeSet::from(["srv".to_owned()]));
            assert!(contents.replaces("usr/bin/cat") && !contents.replaces("usr/bin/dog"));
        }
        assert_eq!(LayerContents::of_archive(&bytes[..600], 100).broken.as_deref(), Some("it is cut off"));
        assert_eq!(LayerContents::of_archive(&[7; 2000], 100).broken.as_deref(), Some("it is not an archive"));
        assert_eq!(LayerContents::of_archive(&[], 1).broken, None);
    }

    #[test]
    fn attributes_are_read_and_their_lies_are_not_believed() {
        let mut builder = tar::Builder::new(Vec::new());
        builder.append_pax_extensions([("path", b"usr/bin/sudo".as_slice())]).unwrap();
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o4755);
        header.set_size(3);
        header.set_path("harmless").unwrap();
        header.set_cksum();
        builder.append(&header, b"elf".as_slice()).unwrap();
        let contents = LayerContents::of_archive(&builder.into_inner().unwrap(), 77);
        assert_eq!(contents.privileged.keys().collect::<Vec<_>>(), ["usr/bin/sudo"]);
        // The same under the name that it has for those who know of files with holes.
        let mut builder = tar::Builder::new(Vec::new());
        builder.append_pax_extensions([("GNU.sparse.name", b"usr/bin/mount".as_slice())]).unwrap();
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o4755);
        header.set_size(0);
        header.set_path("harmless").unwrap();
        header.set_cksum();
        builder.append(&header, b"".as_slice()).unwrap();
        let contents = LayerContents::of_archive(&builder.into_inner().unwrap(), 77);
        assert_eq!(contents.privileged.keys().collect::<Vec<_>>(), ["harmless", "usr/bin/mount"]);
        // Twice: some take all of them, some the last.
        let mut builder = tar::Builder::new(Vec::new());
        builder.append_pax_extensions([("size", b"1024".as_slice())]).unwrap();
        builder.append_pax_extensions([("comment", b"x".as_slice())]).unwrap();
        let mut header = tar::Header::new_ustar();
        header.set_size(0);
        header.set_path("first").unwrap();
        header.set_cksum();
        builder.append(&header, b"".as_slice()).unwrap();
        let mut bytes = builder.into_inner().unwrap();
        bytes.truncate(bytes.len() - 1024);
        bytes.extend(archive(&[file("usr/bin/su", 0o4755, b"")]));
        assert_eq!(LayerContents::of_archive(&bytes, 77).broken.as_deref(), Some("an entry has attributes twice"));
        // An entry with a size that does not fit into anything.
        let mut builder = tar::Builder::new(Vec::new());
        builder.append_pax_extensions([("size", b"18446744073709551615".as_slice())]).unwrap();
        let mut header = tar::Header::new_ustar();
        header.set_size(0);
        header.set_path("huge").unwrap();
        header.set_cksum();
        builder.append(&header, b"".as_slice()).unwrap();
        let contents = LayerContents::of_archive(&builder.into_inner().unwrap(), 77);
        assert_eq!(contents.broken.as_deref(), Some("an entry has a size that nothing has"));
        // An entry that claims to have more than any disk.
        let mut header = tar::Header::new_gnu();
        header.set_size(u64::MAX >> 8);
        header.set_path("etc/os-release").unwrap();
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend([0; 5000]);
        assert_eq!(LayerContents::of_archive(&bytes, 1000).broken.as_deref(), Some("it is cut off"));
    }

    #[test]
    fn nothing_is_hidden_by_a_name_that_others_do_not_take() {
        /// An entry of mode and name behind headers that name it otherwise.
        fn named(bytes: &mut Vec<u8>, long: Option<&str>, path: Option<&str>, name: &str, mode: u32) {
            let mut builder = tar::Builder::new(Vec::new());
            if let Some(long) = long {
                let mut header = tar::Header::new_gnu();
                header.set_entry_type(tar::EntryType::GNULongName);
                header.set_path("././@LongLink").unwrap();
                header.set_size(long.len() as u64);
                header.set_cksum();
                builder.append(&header, long.as_bytes()).unwrap();
            }
            if let Some(path) = path {
                builder.append_pax_extensions([("path", path.as_bytes())]).unwrap();
            }
            let mut header = tar::Header::new_gnu();
            header.set_mode(mode);
            header.set_size(0);
            header.set_path(name).unwrap();
            header.set_cksum();
            builder.append(&header, b"".as_slice()).unwrap();
            let whole = builder.into_inner().unwrap();
            bytes.extend(&whole[..whole.len() - 1024]);
        }
        let found = |bytes: &[u8]| LayerContents::of_archive(bytes, 77).privileged.into_keys().collect::<Vec<_>>();
        // An empty name is none.
        for (long, path) in [(None, Some("")), (Some(""), None), (Some(""), Some(""))] {
            let mut bytes = Vec::new();
            named(&mut bytes, long, path, "usr/bin/evil", 0o4755);
            named(&mut bytes, long, path, "harmless", 0o755);
            assert_eq!(found(&bytes), ["usr/bin/evil"], "{long:?} {path:?}");
        }
        // GNU's counts in Go, the last elsewhere.
        let mut bytes = Vec::new();
        named(&mut bytes, Some("usr/bin/evil"), Some("allowed"), "x", 0o4755);
        named(&mut bytes, None, None, "allowed", 0o755);
        assert_eq!(found(&bytes), ["usr/bin/evil"]);
        let mut bytes = Vec::new();
        named(&mut bytes, Some("allowed"), Some("usr/bin/evil"), "x", 0o4755);
        assert_eq!(found(&bytes), ["allowed", "usr/bin/evil"]);
        assert_eq!(LayerContents::of_archive(&bytes, 77).entries, 1);
        // What stands where GNU's format has times.
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o4755);
        header.set_size(0);
        header.set_path("evil").unwrap();
        header.as_mut_bytes()[345..352].copy_from_slice(b"usr/bin");
        header.set_cksum();
        assert_eq!(found(header.as_bytes()), ["evil", "usr/bin/evil"]);
        // A map of holes that goes on in the next block, which looks like an entry.
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::GNUSparse);
        header.set_size(0);
        header.set_path("holes").unwrap();
        header.as_mut_bytes()[482] = 1;
        header.set_cksum();
        assert!(LayerContents::of_archive(header.as_bytes(), 77).broken.is_some());
    }

    #[test]
    fn names_that_are_kept_have_an_end() {
        let names: Vec<String> = (0..6).map(|number| format!("{number}{}", "x".repeat(1_000_000))).collect();
        let of = |mode: u32, name: &dyn Fn(&str) -> String| {
            let names: Vec<String> = names.iter().map(|long| name(long)).collect();
            let entries: Vec<Entry<'_>> = names.iter().map(|name| file(name, mode, b"")).collect();
            LayerContents::of_archive(&archive(&entries), 10_000)
        };
        for (what, contents) in [
            ("setuid", of(0o4755, &|long| long.to_owned())),
            ("whiteouts", of(0o644, &|long| format!("{long}/.wh.x"))),
            ("opaque folders", of(0o644, &|long| format!("{long}/.wh..wh..opq"))),
            ("databases", of(0o644, &|long| format!("var/lib/dpkg/status.d/{long}"))),
        ] {
            assert_eq!(contents.broken.as_deref(), Some("the names in it have no end"), "{what}");
            assert!(contents.weight() <= 4 << 20, "{what}: {}", contents.weight());
        }
        // Those of other files are not kept.
        assert_eq!(of(0o644, &|long| long.to_owned()).broken, None);
    }

    proptest! {
        #[test]
        fn nothing_crashes_however_it_is_cut(bytes in proptest::collection::vec(any::<u8>(), 0..3000), cut in 1usize..700) {
            prop_assert_eq!(LayerContents::of_archive(&bytes, cut), LayerContents::of_archive(&bytes, 3000));
        }

        #[test]
        fn a_damaged_archive_does_not_crash(at in 0usize..4000, byte in any::<u8>(), cut in 1usize..700) {
            let mut bytes = archive(&[file("usr/bin/su", 0o4755, &[1; 700]), file("etc/os-release", 0o644, b"ID=x")]);
            let at = at % bytes.len();
            bytes[at] = byte;
            let contents = LayerContents::of_archive(&bytes, cut);
            prop_assert!(contents.entries <= 3);
        }
    }
}
