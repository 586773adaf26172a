//! OpenSSH's server, launched for a test.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::child::{self, Account, Program};
use crate::free_port;

/// Where Debian's package `openssh-server` has its program.
const PROGRAM: &str = "/usr/sbin/sshd";

/// Where Debian's package `openssh-client` has its generator of keys.
const KEYGEN: &str = "/usr/bin/ssh-keygen";

/// A running SSH server on 127.0.0.1, 127.0.0.2 and 127.0.0.3, with one account and one key that gets in; it stops, and
/// its keys go, when this is dropped.
pub struct Sshd {
    program: Program,
    port: u16,
    user: String,
    owner: Option<(u32, u32)>,
    directory: TempDir,
}

impl Sshd {
    /// Starts it.
    ///
    /// # Panics
    /// When it is not installed, or does not start; with what it printed.
    #[must_use]
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts it, with variables that every command on it sees, e.g. `PATH`.
    ///
    /// # Panics
    /// As [`Sshd::start`].
    #[must_use]
    pub fn with(variables: &[(&str, &str)]) -> Self {
        let directory = TempDir::new().expect("a directory for sshd");
        let path = directory.path();
        let account = Account::unprivileged();
        let user = match &account {
            Some(account) => account.name().to_owned(),
            None => child::output(Path::new("/usr/bin/id"), &["-un"], None).trim().to_owned(),
        };
        for name in ["host", "user"] {
            keygen(&["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", &text(&path.join(name))]);
        }
        fs::rename(path.join("user.pub"), path.join("authorized_keys")).expect("a key is moved");
        let port = free_port();
        let mut configuration = format!(
            "Port {port}\nListenAddress 127.0.0.1\nListenAddress 127.0.0.2\nListenAddress 127.0.0.3\n\
             HostKey {host}\nAuthorizedKeysFile {keys}\nPidFile none\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nMaxSessions 100\nMaxStartups 100\n",
            host = path.join("host").display(),
            keys = path.join("authorized_keys").display(),
        );
        if !variables.is_empty() {
            let variables: Vec<String> = variables.iter().map(|(name, value)| format!("\"{name}={value}\"")).collect();
            configuration.push_str(&format!("SetEnv {}\n", variables.join(" ")));
        }
        fs::write(path.join("sshd_config"), configuration).expect("the configuration is written");
        if let Some(account) = &account {
            for file in [".", "host", "authorized_keys", "sshd_config"] {
                std::os::unix::fs::chown(path.join(file), Some(account.uid), Some(account.gid))
                    .expect("root may give files away");
            }
        }
        let arguments = ["-D", "-e", "-f", &text(&path.join("sshd_config"))];
        let log = path.join("log");
        let mut program = Program::start("sshd", Path::new(PROGRAM), &arguments, account.as_ref(), &log);
        let listening = |log: &str| (log.matches("Server listening on").count() == 3).then_some(());
        program.wait_until(listening).unwrap_or_else(|error| panic!("{error}"));
        let owner = account.as_ref().map(|account| (account.uid, account.gid));
        Self { program, port, user, owner, directory }
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Whose files those of that account are; nothing where it is the account of this process.
    pub(crate) const fn owner(&self) -> Option<(u32, u32)> {
        self.owner
    }

    /// The account that commands run as.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The private key that gets in.
    ///
    /// # Panics
    /// When its file is gone.
    #[must_use]
    pub fn key(&self) -> String {
        fs::read_to_string(self.directory.path().join("user")).expect("the key is there")
    }

    /// The private key that gets in, with a passphrase.
    ///
    /// # Panics
    /// When `ssh-keygen` does not do it.
    #[must_use]
    pub fn key_with(&self, passphrase: &str) -> String {
        let directory = TempDir::new().expect("a directory for a key");
        let path = directory.path().join("key");
        fs::copy(self.directory.path().join("user"), &path).expect("a key is copied");
        keygen(&["-q", "-p", "-P", "", "-N", passphrase, "-f", &text(&path)]);
        fs::read_to_string(path).expect("the key is there")
    }

    /// The fingerprint of the key that the server shows, `SHA256:…`.
    ///
    /// # Panics
    /// When `ssh-keygen` does not tell.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let told = keygen(&["-l", "-f", &text(&self.directory.path().join("host.pub"))]);
        told.split_whitespace().nth(1).expect("a fingerprint").to_owned()
    }

    /// The server's key as a line of `known_hosts`.
    ///
    /// # Panics
    /// When its file is gone.
    #[must_use]
    pub fn known_hosts(&self) -> String {
        let key = fs::read_to_string(self.directory.path().join("host.pub")).expect("the key is there");
        let key: Vec<&str> = key.split_whitespace().take(2).collect();
        format!("[127.0.0.*]:{} {}", self.port, key.join(" "))
    }

    /// What it has printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.program.log()
    }
}

fn keygen(arguments: &[&str]) -> String {
    child::output(Path::new(KEYGEN), arguments, None)
}

fn text(path: &Path) -> String {
    path.to_str().expect("a temporary directory's path is text").to_owned()
}
