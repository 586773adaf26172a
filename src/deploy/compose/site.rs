//! One host: its connection, and what is done there.

use std::fmt;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use super::super::Log;
use super::script::{NO_BACKUP, Script};
use crate::process::Ended;
use crate::promotion::candidate::Platform;
use crate::promotion::fault::{Code, Fault};
use crate::ssh::{Access, Host};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(30);

/// How long a look may take.
const LOOK: Duration = Duration::from_secs(60);

/// What an order comes to on every host.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub(super) directory: String,
    pub(super) mode: Mode,
    pub(super) environment: String,
    pub(super) fence: u64,
    pub(super) keep_backups: u32,
    /// KiB that must be free.
    pub(super) free_disk: u64,
    pub(super) timeout: Duration,
}

/// How it is done.
#[derive(Debug, Clone)]
pub(super) enum Mode {
    Compose {
        file: String,
        project: String,
        env_file: String,
        service: String,
        /// The image for the file of its own; nothing where the environment file names it.
        pinned: String,
        /// Lines for the environment file.
        lines: SecretString,
    },
    Commands {
        deploy: Vec<String>,
        rollback: Vec<String>,
        running: Vec<String>,
    },
}

/// A login at a registry, for the time of a pull.
#[derive(Debug, Clone)]
pub(super) struct Login {
    pub(super) registry: String,
    pub(super) user: String,
    pub(super) password: SecretString,
}

/// A host, connected.
pub(super) struct Site {
    host: Host,
    shape: Shape,
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Site").field(&self.host.name()).finish()
    }
}

impl Site {
    pub(super) async fn connect(access: &Access, host: &str, shape: &Shape) -> Result<Self, Fault> {
        let host = Host::connect(access, host, CONNECT).await?;
        Ok(Self { host, shape: shape.clone() })
    }

    pub(super) fn name(&self) -> &str {
        self.host.name()
    }

    pub(super) const fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Whether the host can do it: directory, file, engine, disk, and a platform that the image is for.
    pub(super) async fn check(&self, platforms: &[Platform]) -> Result<(), Fault> {
        if matches!(self.shape.mode, Mode::Commands { .. }) {
            return Ok(());
        }
        let ended = self.run(Script::Check, &[self.shape.free_disk.to_string()], None, LOOK).await?;
        let printed = ended.stdout.last_line().unwrap_or_default();
        let Ok(platform) = printed.parse::<Platform>() else { return Ok(()) };
        if platforms.is_empty() || platforms.iter().any(|one| one.satisfies(&platform)) {
            return Ok(());
        }
        let those: Vec<String> = platforms.iter().map(ToString::to_string).collect();
        let text = format!("{} runs {platform}, and the image is for {}", self.name(), those.join(", "));
        Err(Fault::new(Code::WrongArchitecture, text))
    }

    /// Keeps a backup, and writes what shall be.
    pub(super) async fn write(&self, run: &str, log: &Log) -> Result<(), Fault> {
        let Mode::Compose { pinned, lines, .. } = &self.shape.mode else { return Ok(()) };
        let arguments = [run.to_owned(), self.shape.keep_backups.to_string(), pinned.clone()];
        self.said(self.run(Script::Write, &arguments, Some(lines), LOOK).await?, Script::Write, log);
        Ok(())
    }

    pub(super) async fn pull(&self, login: Option<&Login>, log: &Log) -> Result<(), Fault> {
        let (registry, user) = login.map(|one| (one.registry.clone(), one.user.clone())).unwrap_or_default();
        let password = login.map(|one| &one.password);
        let ended = self.run(Script::Pull, &[registry, user], password, self.shape.timeout).await?;
        self.said(ended, Script::Pull, log);
        Ok(())
    }

    pub(super) async fn up(&self, log: &Log) -> Result<(), Fault> {
        let seconds = self.shape.timeout.as_secs().max(1).to_string();
        // Compose is to say itself what it waited for.
        let patience = self.shape.timeout + Duration::from_secs(30);
        self.said(self.run(Script::Up, &[seconds], None, patience).await?, Script::Up, log);
        Ok(())
    }

    /// Puts back what was there before a run; whether there was a backup.
    pub(super) async fn restore(&self, run: &str, log: &Log) -> Result<bool, Fault> {
        let command = Script::Restore.command(&self.place(), &[run.to_owned()]).timeout(LOOK);
        let ended = self.host.run(&command).await?;
        match ended.status.code() {
            Some(0) => {
                self.said(ended, Script::Restore, log);
                Ok(true)
            }
            Some(NO_BACKUP) => Ok(false),
            _ => Err(Script::Restore.fault(self.name(), &ended)),
        }
    }

    /// The names under which the image of each container is known.
    pub(super) async fn running(&self) -> Result<Vec<Vec<String>>, Fault> {
        let ended = self.run(Script::Running, &[], None, LOOK).await?;
        let mut containers: Vec<Vec<String>> = Vec::new();
        for line in ended.stdout.text().lines().map(str::trim).filter(|line| !line.is_empty()) {
            match (line.strip_prefix("container "), containers.last_mut()) {
                (Some(_), _) => containers.push(Vec::new()),
                (None, Some(names)) => names.push(line.to_owned()),
                (None, None) => {}
            }
        }
        Ok(containers)
    }

    /// Runs a program of the host that changes it.
    pub(super) async fn command(&self, words: &[String], log: &Log) -> Result<(), Fault> {
        self.said(self.run(Script::Command, words, None, self.shape.timeout).await?, Script::Command, log);
        Ok(())
    }

    /// Runs a program of the host that changes nothing, and gives its last line.
    pub(super) async fn ask(&self, words: &[String]) -> Result<String, Fault> {
        let ended = self.run(Script::Ask, words, None, LOOK).await?;
        Ok(ended.stdout.last_line().unwrap_or_default())
    }

    async fn run(
        &self,
        script: Script,
        arguments: &[String],
        input: Option<&SecretString>,
        timeout: Duration,
    ) -> Result<Ended, Fault> {
        let mut command = script.command(&self.place(), arguments).timeout(timeout);
        command = command.input(input.map(|input| input.expose_secret().to_owned()).unwrap_or_default());
        let ended = self.host.run(&command).await?;
        if ended.is_good() { Ok(ended) } else { Err(script.fault(self.name(), &ended)) }
    }

    fn said(&self, ended: Ended, script: Script, log: &Log) {
        log.say(&format!("{}: {} took {}s", self.name(), script.doing(), ended.took.as_secs()));
        log.say(&ended.stdout.text());
        log.say(&ended.stderr.text());
    }

    fn place(&self) -> Vec<String> {
        let shape = &self.shape;
        let mut place = vec![shape.directory.clone(), shape.environment.clone(), shape.fence.to_string()];
        if let Mode::Compose { file, project, env_file, service, .. } = &shape.mode {
            place.extend([file, project, env_file, service].map(Clone::clone));
        }
        place
    }
}
