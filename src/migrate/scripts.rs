//! The files of a folder of migrations.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::promotion::digest::Digest;
use crate::promotion::fault::{Code, Fault};

/// How large a script may be.
const LARGEST: u64 = 64 << 20;

/// How many files a folder may have.
const MOST: usize = 20_000;

/// Says that a folder or file cannot be read.
pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Fault {
    Fault::new(Code::MigrationsUnreadable, format!("{} cannot be read: {error}", path.display()))
}

/// The text of a file, exactly.
pub(super) fn text(path: &Path) -> Result<String, Fault> {
    let length = fs::metadata(path).map_err(|error| unreadable(path, &error))?.len();
    if length > LARGEST {
        let text = format!("{} has {length} bytes, and a migration has no more than {LARGEST}", path.display());
        return Err(Fault::new(Code::MigrationsUnreadable, text));
    }
    let bytes = fs::read(path).map_err(|error| unreadable(path, &error))?;
    String::from_utf8(bytes)
        .map_err(|_| Fault::new(Code::MigrationsUnreadable, format!("{} is not UTF-8", path.display())))
}

/// The names of what is directly in a folder: directories, or files.
pub(super) fn names(folder: &Path, directories: bool) -> Result<Vec<String>, Fault> {
    let entries = fs::read_dir(folder).map_err(|error| unreadable(folder, &error))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| unreadable(folder, &error))?;
        let is_directory = entry.path().is_dir();
        if is_directory == directories {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
        if names.len() > MOST {
            return Err(Fault::new(Code::MigrationsUnreadable, format!("{} has too many entries", folder.display())));
        }
    }
    names.sort();
    Ok(names)
}

/// The digests of all SQL files in a folder and in its directories, by their paths in the workspace.
pub(super) fn digests(workspace: &Path, folder: &str) -> Result<BTreeMap<String, Digest>, Fault> {
    let root = workspace.join(folder);
    let mut digests = BTreeMap::new();
    let mut take = |path: &Path| -> Result<(), Fault> {
        let name = path.strip_prefix(workspace).unwrap_or(path).display().to_string();
        digests.insert(name, Digest::sha256(text(path)?.as_bytes()));
        Ok(())
    };
    let is_sql = |name: &String| name.ends_with(".sql") || name == "migration_lock.toml";
    for name in names(&root, false)?.iter().filter(|name| is_sql(name)) {
        take(&root.join(name))?;
    }
    for directory in names(&root, true)? {
        let script = root.join(directory).join("migration.sql");
        if script.is_file() {
            take(&script)?;
        }
    }
    Ok(digests)
}
