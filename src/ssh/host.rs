//! A host, and the connection to it.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use super::identity::Identity;
use super::{Access, Command, SshError, known};
use crate::process::{Background, Ended, ProcessError, Program};

/// How `ssh` ends where it is not the command that has ended (ssh(1), exit status).
const OWN_FAILURE: i32 = 255;

/// How often it is looked whether the connection stands.
const LOOK: Duration = Duration::from_millis(20);

/// How long a host may take to answer where it is asked whether it is still there.
const TIME_TO_ANSWER: Duration = Duration::from_secs(5);

/// What is sent to the host and comes back when the connection stands.
const ECHO: &str = "tidegate is connected";

/// A host that has shown that it is the right one and has let us in. The connection ends when this is dropped.
pub struct Host {
    name: String,
    access: Access,
    // The connection goes before the files that it needs.
    connection: Mutex<Background>,
    identity: Identity,
}

impl Host {
    /// Connects to a host by its name or address, within so much time.
    ///
    /// # Errors
    /// Every [`SshError`] but those of a command.
    pub async fn connect(access: &Access, name: &str, within: Duration) -> Result<Self, SshError> {
        if !is_host(name) {
            return Err(SshError::NotAHost(name.to_owned()));
        }
        if !is_user(&access.user) {
            return Err(SshError::NotAUser(access.user.clone()));
        }
        let deadline = Instant::now() + within;
        let identity = Identity::prepare(access).await?;
        let known = known::lines(access, name, within).await?;
        identity.write("known_hosts", &known)?;
        let seconds = format!("ConnectTimeout={}", within.as_secs().max(1));
        let program = identity
            .ask(ssh(access, &identity))
            .arguments(["-o", "ControlMaster=yes", "-o", "ControlPersist=no", "-o", &seconds])
            .arguments(["--", name, "cat"]);
        let mut connection = program.background()?;
        // Where it has ended already, its own words say more than this would.
        let _ = connection.say(&format!("{ECHO}\n")).await;
        while echoes(&connection) == 0 {
            if connection.ended()?.is_some() {
                let words = connection.last_words(Duration::from_secs(1)).await.text();
                return Err(why_not(access, name, &words));
            }
            if Instant::now() >= deadline {
                let why = format!("no answer within {}", humantime::format_duration(within));
                return Err(SshError::Unreachable { host: name.to_owned(), why });
            }
            sleep(LOOK).await;
        }
        Ok(Self { name: name.to_owned(), access: access.clone(), connection: Mutex::new(connection), identity })
    }

    /// Its name or address.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs a command to its end. How it ended is no error here.
    ///
    /// # Errors
    /// When the connection breaks, or the command does not end in time: what became of it is then not known.
    pub async fn run(&self, command: &Command) -> Result<Ended, SshError> {
        let mut program = ssh(&self.access, &self.identity)
            .arguments(["-o", "ControlMaster=no", "-o", "BatchMode=yes", "--", &self.name])
            .argument(command.line())
            .timeout(command.timeout)
            .output_limit(command.output_limit);
        if let Some(input) = &command.input {
            program = program.input(input.clone());
        }
        let ended = program.run().await.map_err(|error| match error {
            ProcessError::TimedOut { limit, .. } => {
                SshError::TimedOut { host: self.name.clone(), command: command.program(), limit }
            }
            other => other.into(),
        })?;
        if ended.status.code() == Some(OWN_FAILURE) && !self.is_connected().await {
            let why = ended.stderr.last_line().unwrap_or_else(|| "the connection is closed".to_owned());
            return Err(SshError::Broken { host: self.name.clone(), command: command.program(), why });
        }
        Ok(ended)
    }

    /// Whether the host still answers.
    async fn is_connected(&self) -> bool {
        let mut connection = self.connection.lock().await;
        let before = echoes(&connection);
        if connection.say(&format!("{ECHO}\n")).await.is_err() {
            return false;
        }
        let answered = async {
            while matches!(connection.ended(), Ok(None)) {
                if echoes(&connection) > before {
                    return true;
                }
                sleep(LOOK).await;
            }
            false
        };
        timeout(TIME_TO_ANSWER, answered).await.unwrap_or_default()
    }
}

/// How often the host has sent back what it was sent.
fn echoes(connection: &Background) -> usize {
    connection.stdout().text().lines().filter(|line| *line == ECHO).count()
}

/// `ssh` with everything that does not depend on what is done with it.
fn ssh(access: &Access, identity: &Identity) -> Program {
    let mut program = Program::new("ssh").arguments(["-F", "none", "-T", "-a", "-x"]);
    let options = [
        "ClearAllForwardings=yes".to_owned(),
        format!("ControlPath={}", identity.path("s").display()),
        "EscapeChar=none".to_owned(),
        "GlobalKnownHostsFile=/dev/null".to_owned(),
        "IdentitiesOnly=yes".to_owned(),
        "IdentityAgent=none".to_owned(),
        "LogLevel=ERROR".to_owned(),
        "NumberOfPasswordPrompts=1".to_owned(),
        "PreferredAuthentications=publickey".to_owned(),
        "ServerAliveCountMax=4".to_owned(),
        "ServerAliveInterval=15".to_owned(),
        "StrictHostKeyChecking=yes".to_owned(),
        "UpdateHostKeys=no".to_owned(),
        format!("UserKnownHostsFile={}", identity.path("known_hosts").display()),
    ];
    for option in options {
        program = program.argument("-o").argument(option);
    }
    program
        .argument("-i")
        .argument(identity.key())
        .argument("-p")
        .argument(access.port.to_string())
        .argument("-l")
        .argument(&access.user)
}

/// What the words of an `ssh` that could not connect mean.
fn why_not(access: &Access, host: &str, words: &str) -> SshError {
    let host = host.to_owned();
    let last = words.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it said nothing").to_owned();
    if words.contains("Host key verification failed") || words.contains("HOST IDENTIFICATION HAS CHANGED") {
        let shown = words.split_whitespace().find(|word| word.starts_with("SHA256:"));
        let shown = shown.map_or_else(
            || words.lines().next().unwrap_or_default().to_owned(),
            |fingerprint| fingerprint.trim_end_matches('.').to_owned(),
        );
        SshError::HostKey { host, shown }
    } else if words.contains("Permission denied") || words.contains("Too many authentication failures") {
        SshError::Refused { host, user: access.user.clone(), why: last }
    } else {
        SshError::Unreachable { host, why: last }
    }
}

/// Whether a text is the name or the address of a host, and nothing that `ssh` would take for something else.
fn is_host(name: &str) -> bool {
    let allowed = |character: char| character.is_ascii_alphanumeric() || "-._:".contains(character);
    !name.is_empty() && name.len() <= 255 && !name.starts_with(['-', '.']) && name.chars().all(allowed)
}

/// A name that came of a template may be anything.
fn is_user(name: &str) -> bool {
    let allowed = |character: char| character.is_ascii_alphanumeric() || "._@\\-".contains(character);
    !name.is_empty() && name.len() <= 64 && !name.starts_with(['-', '.', '@', '\\']) && name.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_a_name_and_nothing_else() {
        for name in ["deploy", "acme\\ops", "1000"] {
            assert!(is_user(name), "{name}");
        }
        for name in ["", "-oProxyCommand=x", "a b", "a;id", "$(id)"] {
            assert!(!is_user(name), "{name}");
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_address_and_nothing_else() {
        for name in ["web-1.acme.test", "10.0.0.7", "::1", "fe80::1"] {
            assert!(is_host(name), "{name}");
        }
        for name in ["", "-oProxyCommand=x", "a b", "user@host", "ssh://host", "host;id", "a/b"] {
            assert!(!is_host(name), "{name}");
        }
    }
}
