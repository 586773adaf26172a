//! Files of a workspace by patterns.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// The files below a root that match one of the patterns; those after `!` are left out again.
///
/// # Errors
/// A pattern that is none.
pub fn matching(root: &Path, patterns: &[String]) -> Result<Vec<PathBuf>, String> {
    let mut found: Vec<PathBuf> = Vec::new();
    for pattern in patterns {
        let (pattern, is_left_out) = pattern.strip_prefix('!').map_or((pattern.as_str(), false), |rest| (rest, true));
        let whole = if Path::new(pattern).is_absolute() { PathBuf::from(pattern) } else { root.join(pattern) };
        let paths = glob::glob(&whole.display().to_string()).map_err(|error| format!("{pattern}: {error}"))?;
        for path in paths.flatten() {
            if is_left_out {
                found.retain(|one| *one != path && !one.starts_with(&path));
            } else {
                collect(&path, &mut found);
            }
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

fn collect(path: &Path, found: &mut Vec<PathBuf>) {
    if !path.is_dir() {
        found.push(path.to_owned());
        return;
    }
    let entries = std::fs::read_dir(path).expect("a directory of the workspace");
    entries.flatten().for_each(|entry| collect(&entry.path(), found));
}

/// `hashFiles`: the checksum of the files' checksums; nothing where no file matches.
pub(crate) fn hash(root: &Path, patterns: &[String]) -> Result<String, String> {
    let found = matching(root, patterns)?;
    if found.is_empty() {
        return Ok(String::new());
    }
    let mut whole = Sha256::new();
    for path in found {
        whole.update(Sha256::digest(std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?));
    }
    Ok(hex::encode(whole.finalize()))
}

/// Copies a directory's content into another.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory of the workspace");
    for entry in std::fs::read_dir(from).expect("a directory to be copied").flatten() {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("a file is copied");
        }
    }
}
