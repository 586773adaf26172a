//! The scripts that run on a host, and what their exit codes mean.

use crate::process::Ended;
use crate::promotion::fault::{Code, Fault};
use crate::ssh;

/// What every script begins with.
const PRELUDE: &str = include_str!("prelude.sh");

/// What every script for Docker Compose begins with.
const COMPOSE: &str = include_str!("compose.sh");

/// What is done on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Script {
    Check,
    Write,
    Pull,
    Up,
    Running,
    Restore,
    Command,
    Ask,
}

/// The exit code of `restore.sh` where a host has no backup.
pub(super) const NO_BACKUP: i32 = 70;

impl Script {
    /// Whether it changes the host: under the lock, and only as long as nobody with a later token was there.
    const fn changes(self) -> bool {
        !matches!(self, Self::Check | Self::Running | Self::Ask)
    }

    const fn for_compose(self) -> bool {
        !matches!(self, Self::Command | Self::Ask)
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Check => include_str!("check.sh"),
            Self::Write => include_str!("write.sh"),
            Self::Pull => include_str!("pull.sh"),
            Self::Up => include_str!("up.sh"),
            Self::Running => include_str!("running.sh"),
            Self::Restore => include_str!("restore.sh"),
            Self::Command | Self::Ask => include_str!("command.sh"),
        }
    }

    /// What it does, for people.
    pub(super) const fn doing(self) -> &'static str {
        match self {
            Self::Check => "looking at the host",
            Self::Write => "writing the image",
            Self::Pull => "`docker compose pull`",
            Self::Up => "`docker compose up`",
            Self::Running => "looking what runs",
            Self::Restore => "restoring the backup",
            Self::Command | Self::Ask => "the command",
        }
    }

    /// The command for the host. `place` is where it is done, `arguments` are the script's own.
    pub(super) fn command(self, place: &[String], arguments: &[String]) -> ssh::Command {
        let [directory, environment, fence, rest @ ..] = place else {
            return ssh::Command::new(["false"]);
        };
        let compose = if self.for_compose() { COMPOSE } else { "" };
        let text = format!("{PRELUDE}{compose}{}", self.text());
        let lock = if self.changes() { "lock" } else { "look" };
        let rest = if self.for_compose() { rest } else { &[] };
        let first = ["sh", "-c", &text, "tidegate", directory, lock, environment, fence].map(ToOwned::to_owned);
        ssh::Command::new(first.into_iter().chain(rest.iter().cloned()).chain(arguments.iter().cloned()))
    }

    /// What a script that has ended badly says.
    pub(super) fn fault(self, host: &str, ended: &Ended) -> Fault {
        let printed = format!("{}\n{}", ended.stdout.text(), ended.stderr.text());
        let own = printed.lines().rev().find_map(|line| line.strip_prefix("tidegate: ")).map(ToOwned::to_owned);
        let code = match (ended.status.code(), &own) {
            (Some(64 | 65 | 67), Some(_)) => Code::DriverAbsent,
            (Some(66), Some(_)) => Code::HostUnwritable,
            (Some(68), Some(_)) => Code::DiskFull,
            (Some(69), Some(_)) => Code::DriverRefused,
            (Some(75), Some(_)) => Code::LockTaken,
            (Some(76), Some(_)) => Code::LeaseLost,
            _ if printed.contains("no space left on device") => Code::DiskFull,
            _ if printed.contains("no matching manifest for") => Code::WrongArchitecture,
            _ if self == Self::Pull => Code::PullFailed,
            _ => Code::DeploymentFailed,
        };
        let says = own.unwrap_or_else(|| {
            let lines: Vec<&str> = printed.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
            let last = lines[lines.len().saturating_sub(4)..].join(" / ");
            let how = ended.status.code().map_or_else(|| "a signal".to_owned(), |code| code.to_string());
            format!("it ended with {how}{}", if last.is_empty() { String::new() } else { format!(": {last}") })
        });
        Fault::new(code, format!("{host}: {}: {says}", self.doing()))
    }
}
