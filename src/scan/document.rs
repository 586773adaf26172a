//! Documents as files hold them: bounded, and in the encodings that shells write.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::Unreadable;

/// The most bytes of one document.
pub const LIMIT: u64 = 32 * 1024 * 1024;

/// The most files that one pattern may find.
const MAX_FILES: usize = 1_000;

/// Reads a regular file of at most [`LIMIT`] bytes.
///
/// # Errors
/// What is larger, no file, or cannot be read.
pub fn read_file(path: &Path) -> Result<Vec<u8>, Unreadable> {
    let unread = |error: std::io::Error| Unreadable::Unread { why: error.to_string() };
    // Looked at before it is opened: opening a pipe would wait for its writer.
    if !std::fs::metadata(path).map_err(unread)?.is_file() {
        return Err(Unreadable::Unread { why: "it is not a file".to_owned() });
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(unread)?.take(LIMIT + 1).read_to_end(&mut bytes).map_err(unread)?;
    if bytes.len() as u64 > LIMIT {
        return Err(Unreadable::TooLarge { limit: LIMIT });
    }
    Ok(bytes)
}

/// The text of a document: UTF-8, or UTF-16 with a byte order mark, which is what PowerShell's `>` writes.
///
/// # Errors
/// What is empty or no text.
pub fn text(bytes: &[u8]) -> Result<Cow<'_, str>, Unreadable> {
    let text = match bytes {
        [0xff, 0xfe, rest @ ..] => Cow::Owned(utf16(rest, u16::from_le_bytes)?),
        [0xfe, 0xff, rest @ ..] => Cow::Owned(utf16(rest, u16::from_be_bytes)?),
        [0xef, 0xbb, 0xbf, rest @ ..] => Cow::Borrowed(utf8(rest)?),
        bytes => Cow::Borrowed(utf8(bytes)?),
    };
    if text.trim().is_empty() { Err(Unreadable::Empty) } else { Ok(text) }
}

fn utf8(bytes: &[u8]) -> Result<&str, Unreadable> {
    std::str::from_utf8(bytes).map_err(|_| Unreadable::NotText)
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, Unreadable> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Unreadable::NotText);
    }
    let units = pairs.iter().map(|pair| unit(*pair));
    char::decode_utf16(units).collect::<Result<_, _>>().map_err(|_| Unreadable::NotText)
}

/// The files below a folder that one of the patterns names, in the order of their paths.
///
/// # Errors
/// A pattern that is none, a folder that cannot be looked into, and more files than are read.
pub fn find(root: &Path, patterns: &[String]) -> Result<Vec<PathBuf>, String> {
    let options = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::default() };
    let mut found = std::collections::BTreeSet::new();
    for pattern in patterns {
        // The folder's own name is no pattern, whatever is in it.
        let whole = if Path::new(pattern).is_absolute() {
            pattern.clone()
        } else {
            let root = glob::Pattern::escape(&root.to_string_lossy());
            format!("{root}/{pattern}")
        };
        let paths = glob::glob_with(&whole, options).map_err(|error| format!("`{pattern}` is no pattern: {error}"))?;
        for path in paths {
            let path = path.map_err(|error| format!("`{pattern}`: {error}"))?;
            if path.is_dir() {
                continue;
            }
            found.insert(path);
            if found.len() > MAX_FILES {
                return Err(format!("`{pattern}` names more than {MAX_FILES} files"));
            }
        }
    }
    Ok(found.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoding_of_a_shell_is_read() {
        let wanted = r#"{"a":"ü"}"#;
        let units: Vec<u16> = wanted.encode_utf16().collect();
        let little: Vec<u8> =
            [0xff, 0xfe].into_iter().chain(units.iter().flat_map(|unit| unit.to_le_bytes())).collect();
        let big: Vec<u8> = [0xfe, 0xff].into_iter().chain(units.iter().flat_map(|unit| unit.to_be_bytes())).collect();
        let marked: Vec<u8> = [0xef, 0xbb, 0xbf].into_iter().chain(wanted.bytes()).collect();
        for bytes in [&little, &big, &marked, &wanted.as_bytes().to_vec()] {
            assert_eq!(text(bytes).unwrap(), wanted);
        }
        assert_eq!(text(&little[..little.len() - 1]), Err(Unreadable::NotText));
        assert_eq!(text(&[0xff, 0xfe, 0x00, 0xd8]), Err(Unreadable::NotText));
        assert_eq!(text(&[0x80]), Err(Unreadable::NotText));
        assert_eq!(text(&[0xff, 0xfe]), Err(Unreadable::Empty));
    }

    #[test]
    fn files_are_found_by_pattern_and_are_files() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("a[b]");
        std::fs::create_dir_all(root.join("scan/deep/er.json")).unwrap();
        std::fs::write(root.join("scan/one.json"), "1").unwrap();
        std::fs::write(root.join("scan/deep/two.json"), "2").unwrap();
        let names = |patterns: &[&str]| -> Vec<String> {
            let patterns: Vec<String> = patterns.iter().map(|one| (*one).to_owned()).collect();
            let found = find(&root, &patterns).unwrap();
            found.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
        };
        assert_eq!(names(&["scan/*.json"]), ["one.json"]);
        assert_eq!(names(&["scan/**/*.json", "scan/one.json"]), ["two.json", "one.json"]);
        assert_eq!(names(&["none/*"]), Vec::<String>::new());
        assert!(find(&root, &["***".to_owned()]).unwrap_err().contains("no pattern"));
        assert!(matches!(read_file(&root.join("scan")), Err(Unreadable::Unread { .. })));
        let large = File::create(root.join("large")).unwrap();
        large.set_len(LIMIT + 1).unwrap();
        assert_eq!(read_file(&root.join("large")), Err(Unreadable::TooLarge { limit: LIMIT }));
    }
}
