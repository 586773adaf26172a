//! Commands on hosts that are reached over SSH, by the system's `ssh`.
//!
//! A host is never trusted by its first word: it must show one of the keys that are named. The private key lies in a
//! file that only we can read, for as long as the connection lives. No agent, no configuration of the user's and no
//! `known_hosts` but our own is looked at. All commands on a host share one connection.

mod command;
mod host;
mod identity;
mod known;

use secrecy::SecretString;

pub use command::Command;
pub use host::Host;

use crate::process::ProcessError;
use crate::promotion::fault::{Code, Fault};

/// How to get into hosts.
#[derive(Debug, Clone)]
pub struct Access {
    /// The user there.
    pub user: String,
    /// The port.
    pub port: u16,
    /// The private key, as it is or in base64.
    pub key: SecretString,
    /// The passphrase of the key.
    pub passphrase: Option<SecretString>,
    /// The keys that the hosts may show: fingerprints (`SHA256:…`) or lines of `known_hosts`.
    pub host_keys: Vec<String>,
}

/// Why nothing, or not all, was done on a host. What was printed is untrusted.
#[derive(Debug, thiserror::Error)]
pub enum SshError {
    /// What is given as a host's name or address is none.
    #[error("`{0}` is not the name or the address of a host")]
    NotAHost(String),
    /// What is given as a user's name is none.
    #[error("`{0}` is not the name of a user")]
    NotAUser(String),
    /// The private key cannot be used.
    #[error("the private key for SSH cannot be used: {0}")]
    Key(String),
    /// Nothing that speaks SSH answers.
    #[error("{host} cannot be reached over SSH: {why}")]
    Unreachable {
        /// The host.
        host: String,
        /// Why.
        why: String,
    },
    /// The host shows another key than those that it may show.
    #[error("{host} shows a key that is not among those it may show: {shown}")]
    HostKey {
        /// The host.
        host: String,
        /// What it shows.
        shown: String,
    },
    /// The host does not let us in.
    #[error("{host} does not let `{user}` in: {why}")]
    Refused {
        /// The host.
        host: String,
        /// The user.
        user: String,
        /// Why.
        why: String,
    },
    /// The connection broke; what became of the command is not known.
    #[error("the connection to {host} broke while `{command}` ran: {why}")]
    Broken {
        /// The host.
        host: String,
        /// The program that ran.
        command: String,
        /// Why.
        why: String,
    },
    /// A command did not end in time. What it has begun on the host may go on there.
    #[error("`{command}` on {host} did not end within {}", humantime::format_duration(*.limit))]
    TimedOut {
        /// The host.
        host: String,
        /// The program that ran.
        command: String,
        /// How much time it had.
        limit: std::time::Duration,
    },
    /// `ssh` itself could not be run.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The files that a connection needs could not be written.
    #[error("what an SSH connection needs cannot be written: {0}")]
    Files(#[from] std::io::Error),
}

impl From<SshError> for Fault {
    fn from(error: SshError) -> Self {
        let message = error.to_string();
        match error {
            SshError::NotAHost(_) => Self::new(Code::ConfigurationInvalid, message).with_fix("correct `hosts`"),
            SshError::NotAUser(_) => Self::new(Code::ConfigurationInvalid, message).with_fix("correct `user`"),
            SshError::Key(_) => Self::new(Code::SshKeyUnusable, message),
            SshError::Unreachable { .. } => Self::new(Code::SshUnreachable, message),
            SshError::HostKey { .. } => Self::new(Code::HostKeyUnknown, message),
            SshError::Refused { .. } => Self::new(Code::SshRefused, message),
            SshError::Broken { .. } => Self::new(Code::SshBroken, message),
            SshError::TimedOut { .. } => Self::new(Code::ProgramTimedOut, message),
            SshError::Process(error) => error.into(),
            SshError::Files(_) => {
                Self::new(Code::SshKeyUnusable, message).with_fix("free some space in the temporary directory")
            }
        }
    }
}
