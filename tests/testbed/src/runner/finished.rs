//! What the runner makes of what a step leaves.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::commands::{self, Command, Printed};
use super::{Runner, files};

/// A program that has ended, and what it left.
pub struct Finished {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// What it printed on standard output.
    pub stdout: String,
    /// What it printed on standard error.
    pub stderr: String,
    /// How long it ran.
    pub duration: Duration,
    pub(super) files: BTreeMap<&'static str, String>,
    pub(super) step: Runner,
}

impl Finished {
    /// The step's outputs as the runner takes them: by deprecated commands, and then from the file.
    ///
    /// # Errors
    /// The runner's message where the file is malformed; the step fails then.
    pub fn outputs(&self) -> Result<BTreeMap<String, String>, String> {
        let commands = self.commands();
        let printed = commands.iter().filter(|command| command.name == "set-output");
        let mut outputs: BTreeMap<String, String> =
            printed.filter_map(|command| Some((command.property("name")?.to_owned(), command.data.clone()))).collect();
        outputs.extend(files::read(self.file("GITHUB_OUTPUT"))?);
        Ok(outputs)
    }

    /// What the step keeps for its post step, from the file.
    ///
    /// # Errors
    /// The runner's message where the file is malformed.
    pub fn state(&self) -> Result<BTreeMap<String, String>, String> {
        files::read(self.file("GITHUB_STATE"))
    }

    /// The job summary.
    #[must_use]
    pub fn summary(&self) -> &str {
        self.file("GITHUB_STEP_SUMMARY")
    }

    /// One of the step's files by its variable's name, e.g. `GITHUB_ENV`.
    #[must_use]
    pub fn file(&self, variable: &str) -> &str {
        self.files.get(variable).map_or("", String::as_str)
    }

    /// Every workflow command that the runner would carry out, from both streams. It reads them side by side; here a
    /// `stop-commands` on one does not count for the other.
    #[must_use]
    pub fn commands(&self) -> Vec<Command> {
        self.printed().into_iter().flat_map(|printed| printed.commands).collect()
    }

    /// The messages of one kind of annotation: `error`, `warning` or `notice`.
    #[must_use]
    pub fn annotations(&self, kind: &str) -> Vec<String> {
        self.commands().into_iter().filter(|command| command.name == kind).map(|command| command.data).collect()
    }

    /// What the runner hides from now on.
    #[must_use]
    pub fn masks(&self) -> Vec<String> {
        self.annotations("add-mask")
    }

    /// The lines that people see in the log, both streams, commands left out.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.printed().into_iter().flat_map(|printed| printed.lines).collect()
    }

    /// Whether the runner would call the step a success: exit code 0, well-formed files, and no refused command.
    #[must_use]
    pub fn is_success(&self) -> bool {
        let refused = |command: &Command| matches!(command.name.as_str(), "set-env" | "add-path");
        self.code == Some(0) && self.outputs().is_ok() && self.state().is_ok() && !self.commands().iter().any(refused)
    }

    /// The places that hold this text: the streams (but for the masks), the step's files, and the workspace's files.
    /// For a secret there should be none.
    ///
    /// # Panics
    /// When the workspace cannot be read.
    #[must_use]
    pub fn places_with(&self, text: &str) -> Vec<String> {
        let mut places = Vec::new();
        for (name, stream) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            let printed = commands::read(stream);
            let commands = printed.commands.iter().filter(|command| command.name != "add-mask");
            if commands.map(|command| &command.line).chain(&printed.lines).any(|line| line.contains(text)) {
                places.push(name.to_owned());
            }
        }
        places.extend(
            self.files.iter().filter(|(_, content)| content.contains(text)).map(|(name, _)| (*name).to_owned()),
        );
        let root = self.step.workspace();
        let mut directories = vec![root.clone()];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).expect("a directory of the workspace") {
                let path = entry.expect("an entry of the workspace").path();
                if path.is_dir() {
                    directories.push(path);
                } else if holds(&std::fs::read(&path).unwrap_or_default(), text) {
                    places.push(path.strip_prefix(&root).unwrap_or(&path).display().to_string());
                }
            }
        }
        places
    }

    fn printed(&self) -> [Printed; 2] {
        [commands::read(&self.stdout), commands::read(&self.stderr)]
    }
}

fn holds(bytes: &[u8], text: &str) -> bool {
    !text.is_empty() && bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

impl fmt::Display for Finished {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "exit code {:?}, signal {:?}, {:?}", self.code, self.signal, self.duration)?;
        writeln!(formatter, "--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr)?;
        self.files
            .iter()
            .filter(|(_, content)| !content.is_empty())
            .try_for_each(|(name, content)| writeln!(formatter, "--- {name}\n{content}"))
    }
}

impl fmt::Debug for Finished {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}
