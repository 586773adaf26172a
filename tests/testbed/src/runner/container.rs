//! How the runner runs a container action.
//!
//! Follows actions/runner, `ContainerActionHandler.cs` and `DockerCommandManager.cs`: no terminal, no standard input, no
//! init process, the image's user; variables by name, with their values in the client's environment, and host paths in
//! them rewritten to the container's.

use std::path::Path;
use std::process::Command;

use super::{Runner, Running};
use crate::docker::Engine;
use crate::random;

/// The runner's directories, and where a container has them.
const MOUNTS: [(&str, &str); 5] = [
    ("temp", "/github/runner_temp"),
    ("home", "/github/home"),
    ("workflow", "/github/workflow"),
    ("commands", "/github/file_commands"),
    ("workspace", WORKSPACE),
];
const WORKSPACE: &str = "/github/workspace";
/// The runner mounts it into every container.
const SOCKET: &str = "/var/run/docker.sock";

/// A container action: the engine, the image, and what else the client is told.
#[derive(Debug, Clone)]
pub(super) struct Action {
    engine: Engine,
    image: String,
    options: Vec<String>,
}

/// A container that may be running.
pub(super) struct Container {
    engine: Engine,
    name: String,
}

impl Runner {
    /// A step that runs an action's image, as the runner does; [`Runner::arguments`] are the action's `args`.
    ///
    /// The container has the host's network, so that it reaches the testbed's servers.
    ///
    /// # Panics
    /// As [`Runner::new`].
    #[must_use]
    pub fn of_image(engine: &Engine, image: &str) -> Self {
        Self::new(engine.client()).in_image(engine, image)
    }

    /// The same step, in the same workspace, as a container action of this image.
    #[must_use]
    pub fn in_image(mut self, engine: &Engine, image: &str) -> Self {
        self.action = Some(Action { engine: engine.clone(), image: image.to_owned(), options: Vec::new() });
        self.option("--network").option("host")
    }

    /// Adds a word to what the client is told before the image's name, e.g. `--read-only`.
    ///
    /// # Panics
    /// When this is not a container action.
    #[must_use]
    pub fn option(mut self, word: &str) -> Self {
        self.action.as_mut().expect("a container action").options.push(word.to_owned());
        self
    }
}

impl Running {
    /// The container's name.
    ///
    /// # Panics
    /// When this is not a container action.
    #[must_use]
    pub fn container(&self) -> &str {
        &self.container.as_ref().expect("a container action").name
    }
}

impl Action {
    /// The client's command line and environment for a step whose variables are these.
    pub(super) fn command<'a>(
        &self,
        directory: &Path,
        variables: impl Iterator<Item = (&'a str, &'a str)>,
        arguments: &[String],
    ) -> (Command, Container) {
        let name = format!("tidegate_{}", random::hex(6));
        let mut command = Command::new(self.engine.client());
        command.args(["run", "--name", &name, "--label", "tidegate-test", "--workdir", WORKSPACE, "--rm"]);
        command.env_clear();
        for (variable, value) in variables {
            // The client needs its own, and the image has one.
            if variable == "PATH" {
                command.env(variable, value);
                continue;
            }
            command.env(variable, in_container(directory, value));
            match variable {
                "GITHUB_ACTIONS" | "CI" => command.args(["-e", &format!("{variable}={value}")]),
                _ => command.args(["-e", variable]),
            };
        }
        command.args(["-v", &format!("{SOCKET}:{SOCKET}")]);
        for (from, to) in MOUNTS {
            command.args(["-v", &format!("{}:{to}", directory.join(from).display())]);
        }
        command.args(&self.options).arg(&self.image).args(arguments);
        (command, Container { engine: self.engine.clone(), name })
    }
}

/// A value that is, or begins with, one of the runner's directories has the container's in its place.
fn in_container(directory: &Path, value: &str) -> String {
    let rest_below = |from: &str| {
        let rest = Path::new(value).strip_prefix(directory.join(from)).ok()?;
        Some(rest.to_str().expect("it came from text").to_owned())
    };
    let found = MOUNTS.iter().find_map(|(from, to)| Some((rest_below(from)?, to)));
    match found {
        Some((rest, to)) if rest.is_empty() => (*to).to_owned(),
        Some((rest, to)) => format!("{to}/{rest}"),
        None => value.to_owned(),
    }
}

impl Container {
    /// Ends the container, which outlives its client.
    pub(super) fn remove(&self) {
        // An error means that it is gone already.
        let _ = self.engine.run(&["rm", "--force", &self.name]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_the_containers() {
        let directory = Path::new("/var/runner");
        assert_eq!(in_container(directory, "/var/runner/workspace"), "/github/workspace");
        assert_eq!(in_container(directory, "/var/runner/commands/1/out"), "/github/file_commands/1/out");
        assert_eq!(in_container(directory, "/var/runner/workspaces"), "/var/runner/workspaces");
        assert_eq!(in_container(directory, "x /var/runner/workspace"), "x /var/runner/workspace");
    }
}
