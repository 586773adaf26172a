//! `command`: a program puts the release in place.

use std::path::PathBuf;

use async_trait::async_trait;
use secrecy::ExposeSecret as _;

use super::{Begun, Driver, Kit, Log, Order, Pace, Progress, Report, Setback, fill_fault};
use crate::config::{CommandDriver, SecretReader, Template};
use crate::process::{Ended, ProcessError, Program};
use crate::promotion::deployment::{Handle, Running, differences};
use crate::promotion::digest::Digest;
use crate::promotion::fault::{Code, Fault};

/// How many of the last lines that a failed program printed are in its fault.
const LAST_LINES: usize = 5;

/// Runs programs.
#[derive(Debug)]
pub(super) struct Command {
    settings: CommandDriver,
    secrets: SecretReader,
    workspace: PathBuf,
}

impl Command {
    pub(super) fn new(settings: &CommandDriver, kit: &Kit) -> Self {
        Self { settings: settings.clone(), secrets: kit.secrets.clone(), workspace: kit.workspace.clone() }
    }

    /// A program with its words and variables filled in.
    fn program(&self, words: &[Template], order: &Order) -> Result<Program, Fault> {
        let filled = |word: &Template| word.render(&order.values).map_err(|error| fill_fault(error.into()));
        let mut words = words.iter().map(filled).collect::<Result<Vec<_>, _>>()?.into_iter();
        let name = words.next().ok_or_else(|| Fault::defect("a program without a name"))?;
        let directory = self.settings.working_directory.as_ref();
        let directory = directory.map_or_else(|| self.workspace.clone(), |path| self.workspace.join(path));
        let mut program = Program::new(name).arguments(words).directory(directory).timeout(self.settings.timeout);
        for (name, value) in &self.settings.env {
            let value = self.secrets.fill(value, &order.values).map_err(fill_fault)?;
            program = program.variable(name, value.expose_secret().into());
        }
        Ok(program)
    }

    /// Runs a program that changes the world.
    async fn change(&self, words: &[Template], order: &Order, log: &Log) -> Result<Begun, Setback> {
        let program = self.program(words, order).map_err(Setback::Untouched)?;
        let ended = program.run().await.map_err(|error| {
            let begun = matches!(error, ProcessError::TimedOut { .. } | ProcessError::Lost { .. });
            let fault = self.redacted(error.into());
            if begun { Setback::Failed(fault) } else { Setback::Untouched(fault) }
        })?;
        log.say(&ended.stdout.text());
        log.say(&ended.stderr.text());
        if !ended.is_good() {
            return Err(Setback::Failed(self.failed(&program, &ended)));
        }
        let message = ended.stdout.last_line().map(|line| self.secrets.redact(&line));
        Ok(Begun::Done(Report { message, ..Report::default() }))
    }

    fn failed(&self, program: &Program, ended: &Ended) -> Fault {
        let printed = if ended.stderr.text().trim().is_empty() { ended.stdout.text() } else { ended.stderr.text() };
        let lines: Vec<&str> = printed.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let last = lines[lines.len().saturating_sub(LAST_LINES)..].join(" / ");
        let how = ended.told().split(':').next().unwrap_or_default().to_owned();
        let said = if last.is_empty() { String::new() } else { format!("; it printed last: {last}") };
        let fault = Fault::new(Code::DeploymentFailed, format!("the program `{}` {how}{said}", program.name()));
        self.redacted(fault)
    }

    fn redacted(&self, fault: Fault) -> Fault {
        Fault { message: self.secrets.redact(&fault.message), ..fault }
    }
}

#[async_trait]
impl Driver for Command {
    fn name(&self) -> &'static str {
        "command"
    }

    fn pace(&self) -> Pace {
        Pace { every: std::time::Duration::from_secs(1), timeout: self.settings.timeout }
    }

    fn check(&self, order: &Order) -> Result<(), Fault> {
        let others = [self.settings.rollback.as_ref(), self.settings.running.as_ref()];
        for words in std::iter::once(&self.settings.run).chain(others.into_iter().flatten()) {
            self.program(words, order)?;
        }
        Ok(())
    }

    /// Runs `run` to its end; ending with 0 is its success. That it may be run again is the program's part.
    async fn start(&self, order: &Order, log: &Log) -> Result<Begun, Setback> {
        self.change(&self.settings.run, order, log).await
    }

    /// A program ends with the visit that ran it, so nothing goes on: what `running` prints tells whether it had come to
    /// its end.
    async fn observe(&self, order: &Order, _: Option<&Handle>) -> Result<Progress, Fault> {
        let running = self.running(order).await?;
        if running.is_empty() {
            let why = "the program was cut off, and `deploy.command.running` is not set, which would tell what runs";
            return Ok(Progress::Unknown(why.to_owned()));
        }
        if differences(&order.release, &order.names, &running).is_empty() {
            return Ok(Progress::Applied(Report::default()));
        }
        // What is the half of a program's work cannot be told from none of it; but it is told to be run again.
        Ok(Progress::NotStarted)
    }

    async fn roll_back(&self, order: &Order, log: &Log) -> Result<Begun, Setback> {
        let words = self.settings.rollback.as_ref().unwrap_or(&self.settings.run);
        self.change(words, order, log).await
    }

    /// Nothing: a program ends when its visit does.
    async fn cancel(&self, _: &Order, _: &Handle) -> Result<(), Fault> {
        Ok(())
    }

    async fn running(&self, order: &Order) -> Result<Vec<Running>, Fault> {
        let Some(words) = &self.settings.running else { return Ok(Vec::new()) };
        let program = self.program(words, order)?;
        let ended = program.run().await.map_err(|error| self.redacted(error.into()))?;
        if !ended.is_good() {
            let told = self.secrets.redact(&ended.told());
            let fault =
                Fault::new(Code::DriverFailed, format!("`{}`, which is to tell what runs, {told}", program.name()));
            return Err(fault.with_fix("see what the program needs to tell what runs"));
        }
        let printed = ended.stdout.last_line().unwrap_or_default();
        Ok(vec![read_running("", &printed)])
    }
}

/// What a program prints of what runs: a digest, alone or at the end of an image's reference, or a version; nothing where
/// nothing runs.
pub(super) fn read_running(at: &str, printed: &str) -> Running {
    let printed = printed.trim();
    let after = printed.rsplit('@').next().unwrap_or(printed);
    let digest: Option<Digest> = after.parse().ok();
    let version = (digest.is_none() && !printed.is_empty()).then(|| printed.to_owned());
    Running { at: at.to_owned(), digest, version }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_is_a_digest_or_a_version() {
        let digest = Digest::sha256(b"a");
        assert_eq!(read_running("", &format!("{digest}\n")).digest, Some(digest.clone()));
        assert_eq!(read_running("", &format!("ghcr.io/acme/api@{digest}")).digest, Some(digest));
        assert_eq!(read_running("", " 1.2.3 ").version.as_deref(), Some("1.2.3"));
        let nothing = read_running("h1", "  ");
        assert_eq!((nothing.digest, nothing.version), (None, None));
    }
}
