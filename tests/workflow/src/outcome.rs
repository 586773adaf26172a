//! What became of a workflow run.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use indexmap::IndexMap;

/// How a step or a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It did what it should.
    Success,
    /// It did not.
    Failure,
    /// It was ended.
    Cancelled,
    /// It did not run.
    Skipped,
}

impl Verdict {
    /// GitHub's word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.word())
    }
}

/// A step that ended.
#[derive(Debug, Clone)]
pub struct StepEnd {
    /// Its name, else what it uses or runs.
    pub name: String,
    /// How it ended, before `continue-on-error`.
    pub outcome: Verdict,
    /// How it ended, after it.
    pub conclusion: Verdict,
    /// Its outputs.
    pub outputs: BTreeMap<String, String>,
    /// What it printed and wrote, for people.
    pub log: String,
    /// Its part of the job summary.
    pub summary: String,
}

/// A job that ended.
#[derive(Debug, Clone)]
pub struct JobEnd {
    /// How.
    pub result: Verdict,
    /// What other jobs see of it.
    pub outputs: BTreeMap<String, String>,
    /// Its steps.
    pub steps: Vec<StepEnd>,
    /// Its workspace, as it was left.
    pub workspace: Option<PathBuf>,
    /// Why it did not run, or what ended it, where no step says so.
    pub note: String,
}

impl JobEnd {
    pub(crate) fn without_steps(result: Verdict, note: &str) -> Self {
        let (outputs, steps) = (BTreeMap::new(), Vec::new());
        Self { result, outputs, steps, workspace: None, note: note.to_owned() }
    }

    /// A step by its name.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn step(&self, name: &str) -> &StepEnd {
        self.steps.iter().find(|step| step.name == name).unwrap_or_else(|| panic!("no step `{name}`:\n{self}"))
    }
}

impl fmt::Display for JobEnd {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{} {} {:?}", self.result, self.note, self.outputs)?;
        self.steps
            .iter()
            .try_for_each(|step| writeln!(formatter, "  -- {} [{}]\n{}", step.name, step.outcome, step.log.trim_end()))
    }
}

/// A workflow run that ended.
pub struct Run {
    /// Its id.
    pub id: u64,
    /// Its jobs, in the order in which they ended; those of a called workflow as `caller / job`.
    pub jobs: IndexMap<String, JobEnd>,
    /// The artifacts: their files below a directory.
    pub artifacts: BTreeMap<String, PathBuf>,
    /// What the called or dispatched workflow gives back.
    pub outputs: BTreeMap<String, String>,
    pub(crate) _kept: std::sync::Arc<tempfile::TempDir>,
}

impl Run {
    /// A job by its id.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn job(&self, id: &str) -> &JobEnd {
        self.jobs.get(id).unwrap_or_else(|| panic!("no job `{id}`:\n{self}"))
    }

    /// How each job ended, in the order in which they ended, e.g. `check: success`.
    #[must_use]
    pub fn results(&self) -> Vec<String> {
        self.jobs.iter().map(|(id, job)| format!("{id}: {}", job.result)).collect()
    }

    /// How the run ended.
    #[must_use]
    pub fn result(&self) -> Verdict {
        let has = |verdict| self.jobs.values().any(|job| job.result == verdict);
        match () {
            () if has(Verdict::Failure) => Verdict::Failure,
            () if has(Verdict::Cancelled) => Verdict::Cancelled,
            () => Verdict::Success,
        }
    }

    /// A file of an artifact.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn artifact(&self, name: &str, file: &str) -> String {
        let directory = self.artifacts.get(name);
        let directory =
            directory.unwrap_or_else(|| panic!("no artifact `{name}`: {:?}\n{self}", self.artifacts.keys()));
        std::fs::read_to_string(directory.join(file))
            .unwrap_or_else(|error| panic!("`{file}` of `{name}`: {error}\n{self}"))
    }

    /// Everything that was printed.
    #[must_use]
    pub fn log(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Run {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.jobs.iter().try_for_each(|(id, job)| writeln!(formatter, "== {id}: {job}"))
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}
