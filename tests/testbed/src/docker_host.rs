//! Hosts with Docker that are reached over SSH: OpenSSH's server with a `docker` on its `PATH` that keeps what runs in
//! files, one place for each of the server's three addresses.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::sshd::Sshd;

/// The addresses, each a host of its own.
pub const HOSTS: [&str; 3] = ["127.0.0.1", "127.0.0.2", "127.0.0.3"];

/// The stand-in for Docker's command line.
const DOCKER: &str = include_str!("docker_host/docker.sh");

/// Three hosts; they stop, and everything on them goes, when this is dropped.
pub struct DockerHosts {
    sshd: Sshd,
    directory: TempDir,
}

impl DockerHosts {
    /// Starts them, each with an empty directory `app`.
    ///
    /// # Panics
    /// When OpenSSH's server is not installed, or there is no place for the files.
    #[must_use]
    pub fn start() -> Self {
        let directory = TempDir::new().expect("a directory for the hosts");
        let root = directory.path();
        fs::set_permissions(root, fs::Permissions::from_mode(0o755)).expect("a directory for everybody");
        let programs = root.join("bin");
        fs::create_dir(&programs).expect("a directory for programs");
        fs::write(programs.join("docker"), DOCKER).expect("a program");
        fs::set_permissions(programs.join("docker"), fs::Permissions::from_mode(0o755)).expect("a program");
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", programs.display());
        let state = root.join("state");
        let sshd = Sshd::with(&[("PATH", &path), ("DOCKER_HOSTS", &state.display().to_string())]);
        let hosts = Self { sshd, directory };
        for host in HOSTS {
            fs::create_dir_all(hosts.state(host)).expect("a host");
            fs::create_dir_all(hosts.app(host)).expect("a directory on a host");
        }
        hosts.give_away();
        hosts
    }

    /// The SSH server before them.
    #[must_use]
    pub const fn sshd(&self) -> &Sshd {
        &self.sshd
    }

    /// The directory that deployments use; the same path leads to each host's own only through [`DockerHosts::app`], so
    /// templates name the host.
    #[must_use]
    pub fn app(&self, host: &str) -> PathBuf {
        self.directory.path().join("apps").join(host)
    }

    /// Above the directories of all hosts.
    #[must_use]
    pub fn apps(&self) -> PathBuf {
        self.directory.path().join("apps")
    }

    /// Writes a file into the directory of a host.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, host: &str, name: &str, text: &str) {
        let path = self.app(host).join(name);
        fs::create_dir_all(path.parent().expect("a file in a directory")).expect("a directory on a host");
        fs::write(path, text).expect("a file on a host");
        self.give_away();
    }

    /// A file in the directory of a host; nothing where there is none.
    #[must_use]
    pub fn read(&self, host: &str, name: &str) -> Option<String> {
        fs::read_to_string(self.app(host).join(name)).ok()
    }

    /// Lets a host behave as this file says; see the stand-in.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn set(&self, host: &str, name: &str, text: &str) {
        fs::write(self.state(host).join(name), text).expect("a file on a host");
        self.give_away();
    }

    /// Lets a host behave as before.
    pub fn unset(&self, host: &str, name: &str) {
        let _ = fs::remove_file(self.state(host).join(name));
    }

    /// The image that a container of a host runs.
    #[must_use]
    pub fn runs(&self, host: &str, container: &str) -> Option<String> {
        let text = fs::read_to_string(self.state(host).join("containers").join(container)).ok()?;
        Some(text.trim().to_owned())
    }

    /// What Docker was called with on a host.
    #[must_use]
    pub fn calls(&self, host: &str) -> Vec<String> {
        let text = fs::read_to_string(self.state(host).join("log")).unwrap_or_default();
        text.lines().map(ToOwned::to_owned).collect()
    }

    fn state(&self, host: &str) -> PathBuf {
        self.directory.path().join("state").join(host)
    }

    /// Everything belongs to the account that logs in.
    fn give_away(&self) {
        let account = self.directory.path().join("bin");
        let Some((user, group)) = self.sshd.owner() else { return };
        for part in ["state", "apps"] {
            give(&account.with_file_name(part), user, group);
        }
    }
}

fn give(path: &Path, user: u32, group: u32) {
    let _ = chown(path, Some(user), Some(group));
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            give(&entry.path(), user, group)
        } else {
            let _ = chown(entry.path(), Some(user), Some(group));
        }
    }
}
