//! A Docker engine, where this machine has one.
//!
//! A program, a file and a set of images are not there by chance: [`Engine::find`] says why there is no engine that a
//! test could use, so that the test can be reported as ignored.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::digest;

/// Where distributions have the client; other places come from PATH.
const CLIENT: &str = "/usr/bin/docker";
/// The repository of the images that tests build.
const REPOSITORY: &str = "tidegate-test";
/// The label that says which directory an image was built from.
const LABEL: &str = "tidegate-test.source";

/// A Docker engine, and a client that reaches it.
#[derive(Debug, Clone)]
pub struct Engine {
    client: PathBuf,
}

impl Engine {
    /// The first engine that answers and has what the Dockerfile in this directory begins from.
    ///
    /// # Errors
    /// Why there is none, in one line.
    ///
    /// # Panics
    /// When there is no Dockerfile.
    pub fn find(directory: &Path) -> Result<Self, String> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let clients = std::iter::once(PathBuf::from(CLIENT))
            .chain(std::env::split_paths(&path).map(|directory| directory.join("docker")));
        let mut reason = "no Docker client".to_owned();
        for client in clients.filter(|client| client.exists()) {
            let engine = Self { client };
            match engine.is_ready(directory) {
                Ok(()) => return Ok(engine),
                Err(found) => reason = found,
            }
        }
        Err(reason)
    }

    fn is_ready(&self, directory: &Path) -> Result<(), String> {
        self.run(&["version", "--format", "{{.Server.Version}}"]).map_err(|_| "no Docker engine".to_owned())?;
        for base in base_images(directory) {
            self.run(&["image", "inspect", &base]).map_err(|_| format!("no base image {base}"))?;
        }
        Ok(())
    }

    /// The client's path.
    #[must_use]
    pub fn client(&self) -> &Path {
        &self.client
    }

    /// Runs the client and gives what it printed on standard output, without the line's end.
    ///
    /// # Errors
    /// What it printed on both streams when it failed.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let output = self.output(arguments);
        let text = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
        if output.status.success() {
            return Ok(text);
        }
        Err(format!("docker {arguments:?}: {}\n{text}\n{}", output.status, String::from_utf8_lossy(&output.stderr)))
    }

    /// Runs the client and gives all that it left.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn output(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(&self.client);
        command.args(arguments).env("DOCKER_BUILDKIT", "1").stdin(Stdio::null());
        command.output().expect("the Docker client can be started")
    }

    /// The image that the Dockerfile in this directory makes. It is built where what it is made of has changed since it
    /// was built last, which takes minutes; the image from before is removed then.
    ///
    /// # Panics
    /// When it cannot be built; with what the engine printed.
    #[must_use]
    pub fn image_of(&self, directory: &Path) -> String {
        let image = format!("{REPOSITORY}:{}", fingerprint(directory));
        if self.run(&["image", "inspect", &image]).is_ok() {
            return image;
        }
        let directory = directory.to_str().expect("the directory's path is text");
        let label = format!("{LABEL}={directory}");
        let former = self.run(&["images", "--quiet", "--filter", &format!("label={label}")]).unwrap_or_default();
        // The host's network: an engine may have no other, and then nothing could be downloaded.
        self.run(&["build", "--network", "host", "--label", &label, "--tag", &image, directory])
            .unwrap_or_else(|error| panic!("{error}"));
        for former in former.lines() {
            // One that a container still runs stays.
            let _ = self.run(&["image", "rm", "--force", former]);
        }
        image
    }
}

/// What a Dockerfile begins from, but for `scratch` and its own stages.
fn base_images(directory: &Path) -> Vec<String> {
    let dockerfile = std::fs::read_to_string(directory.join("Dockerfile")).expect("a Dockerfile");
    let froms: Vec<&str> = dockerfile.lines().filter_map(|line| line.strip_prefix("FROM ")).collect();
    let stages: Vec<&str> = froms.iter().filter_map(|from| Some(from.split_once(" AS ")?.1)).collect();
    let bases = froms.iter().filter_map(|from| from.split(' ').next());
    bases.filter(|base| *base != "scratch" && !stages.contains(base)).map(str::to_owned).collect()
}

/// A name for what an image is made of: the Dockerfile and what `.dockerignore` lets in.
fn fingerprint(directory: &Path) -> String {
    let ignored = std::fs::read_to_string(directory.join(".dockerignore")).expect("a .dockerignore");
    let mut names: Vec<&str> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    names.push("Dockerfile");
    let mut described = String::new();
    let mut paths: Vec<PathBuf> = names.iter().map(|name| directory.join(name)).collect();
    paths.sort();
    // Each directory is replaced by what is in it, in an order that is always the same.
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).expect("a directory of the image's sources");
            let mut inside: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry of it").path()).collect();
            inside.sort();
            paths.extend(inside);
        } else if let Ok(bytes) = std::fs::read(&path) {
            described.push_str(&format!("{} {}\n", path.display(), digest::sha256(&bytes)));
        }
    }
    let described = described.replace(&directory.display().to_string(), ".");
    digest::sha256(described.as_bytes()).trim_start_matches("sha256:").chars().take(16).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_image_is_made_of_names_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).expect("a file");
        std::fs::create_dir(directory.path().join("src")).expect("a directory");
        write(".dockerignore", "# x\n*\n!src\n!LICENSE\n");
        write("Dockerfile", "FROM rust:1 AS build\nFROM build AS more\nFROM debian:12\nFROM scratch\n");
        write("src/a.rs", "1");
        let first = fingerprint(directory.path());
        write("README.md", "x");
        assert_eq!(fingerprint(directory.path()), first);
        write("src/b.rs", "2");
        let second = fingerprint(directory.path());
        assert_ne!(second, first);
        write("LICENSE", "3");
        assert_ne!(fingerprint(directory.path()), second);
        assert_eq!(base_images(directory.path()), ["rust:1", "debian:12"]);
    }
}
