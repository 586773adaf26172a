//! The folder in the workspace where records, reports, logs and the embedded ledger go.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};

use crate::promotion::fault::{Code, Fault};

/// The folder's name.
const FOLDER: &str = ".tidegate";

/// The folder of this program in a workspace.
#[derive(Debug, Clone)]
pub struct Workspace {
    root: PathBuf,
    folder: PathBuf,
}

impl Workspace {
    /// The folder in `root`, made and tried: what cannot be recorded must not be begun.
    ///
    /// # Errors
    /// [`Code::WorkspaceUnwritable`] when the folder cannot be made or written.
    pub fn open(root: &Path) -> Result<Self, Box<Fault>> {
        let folder = root.join(FOLDER);
        let unwritable = |error: io::Error| {
            Box::new(Fault::new(
                Code::WorkspaceUnwritable,
                format!("the folder {} cannot be written: {error}", folder.display()),
            ))
        };
        fs::create_dir_all(&folder).map_err(unwritable)?;
        // Nothing in it belongs into a commit, and a checkout that it lies in stays clean.
        fs::write(folder.join(".gitignore"), "*\n").map_err(unwritable)?;
        Ok(Self { root: root.to_owned(), folder })
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A path as the workspace's user writes it: relative to the workspace, where it lies in it.
    #[must_use]
    pub fn relative(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }

    /// Gives everything in the folder to the workspace's owner: in a container we are root, and the runner's user has to
    /// read it, upload it and clean it up.
    ///
    /// # Errors
    /// When the owner cannot be changed.
    pub fn give_back(&self) -> io::Result<()> {
        let owner = fs::metadata(&self.root)?;
        give(&self.folder, owner.uid(), owner.gid())
    }
}

fn give(path: &Path, user: u32, group: u32) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.file_type().is_symlink() {
        return Ok(());
    }
    if metadata.uid() != user || metadata.gid() != group {
        chown(path, Some(user), Some(group))?;
    }
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), user, group)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_cannot_be_written_is_a_fault() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("file");
        fs::write(&root, "x").unwrap();
        let fault = Workspace::open(&root).unwrap_err();
        assert_eq!(fault.code, Code::WorkspaceUnwritable);
    }

    #[test]
    fn what_is_ours_is_ignored_by_git() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = Workspace::open(folder.path()).unwrap();
        assert_eq!(fs::read_to_string(workspace.folder().join(".gitignore")).unwrap(), "*\n");
        assert_eq!(workspace.relative(&workspace.folder().join("x")), ".tidegate/x");
        workspace.give_back().unwrap();
    }
}
