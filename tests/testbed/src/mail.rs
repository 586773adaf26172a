//! A real SMTP server (aiosmtpd), launched for a test: with STARTTLS, TLS or neither, with and without a login.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::authority::Authority;
use crate::child::Program;

/// How connections are secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// STARTTLS, and nothing before it.
    Starttls,
    /// TLS from the beginning.
    Tls,
    /// Not at all.
    None,
}

/// The user of a server with a login.
pub const USER: &str = "tidegate";
/// Its password.
pub const PASSWORD: &str = "correct horse battery staple";

/// A running server; it stops when this is dropped.
pub struct MailServer {
    port: u16,
    folder: TempDir,
    _program: Program,
}

impl MailServer {
    /// Starts a server. `answer` is what it says to every mail; it keeps them where it is empty.
    ///
    /// # Panics
    /// When it cannot be started: script/setup installs it.
    #[must_use]
    pub fn start(security: Security, authority: &Authority, login: bool, answer: &str) -> Self {
        let folder = TempDir::new().expect("a directory for mails");
        authority.issue().write(folder.path());
        let script = folder.path().join("server.py");
        std::fs::write(&script, include_str!("mail_server.py")).expect("the server's script is written");
        let mode = match security {
            Security::Starttls => "starttls",
            Security::Tls => "tls",
            Security::None => "none",
        };
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (user, password) = if login { (USER, PASSWORD) } else { ("", "") };
        let arguments =
            [&path("server.py"), &path(""), mode, &path("certificate.pem"), &path("key.pem"), user, password, answer];
        let log = folder.path().join("log");
        let mut program = Program::start("aiosmtpd", &python(), &arguments, None, &log);
        let ready = |log: &str| log.lines().find_map(|line| line.strip_prefix("port ")?.parse().ok());
        let port = program.wait_until(ready).unwrap_or_else(|error| panic!("{error}"));
        Self { port, folder, _program: program }
    }

    /// Its port on the loopback interface.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The mails that it was sent, in order, with the envelope in two headers before the others.
    ///
    /// # Panics
    /// When they cannot be read.
    #[must_use]
    pub fn mails(&self) -> Vec<Vec<u8>> {
        let entries = std::fs::read_dir(self.folder.path()).expect("the mails' directory");
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "eml"));
        paths.sort();
        paths.iter().map(|path| std::fs::read(path).expect("a mail")).collect()
    }
}

/// Where script/setup puts Python's packages.
pub(crate) fn python() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/python/bin/python")
}
