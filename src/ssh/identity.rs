//! The private key, in a place where `ssh` finds it and nobody else does.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString, zeroize::Zeroizing};
use tempfile::TempDir;

use super::{Access, SshError};
use crate::process::Program;

/// How long the path of a directory may be that has a socket in it: the system's limit is 108 bytes (unix(7)), and
/// `ssh` adds a name of its own while it binds.
const PATH: usize = 60;

/// What `ssh` calls to be told the passphrase.
const ASK: &str = "#!/bin/sh\nprintf '%s\\n' \"$TIDEGATE_SSH_PASSPHRASE\"\n";

/// The key of a connection, on disk. It goes when this is dropped.
pub(super) struct Identity {
    directory: TempDir,
    passphrase: Option<SecretString>,
}

impl Identity {
    /// Writes the key down and looks whether it can be used.
    pub(super) async fn prepare(access: &Access) -> Result<Self, SshError> {
        let key = read(&access.key)?;
        let directory = directory()?;
        let identity = Self { directory, passphrase: access.passphrase.clone() };
        write(&identity.key(), key.as_bytes(), 0o600)?;
        if identity.passphrase.is_some() {
            write(&identity.path("ask"), ASK.as_bytes(), 0o700)?;
        }
        identity.test().await?;
        Ok(identity)
    }

    /// A file in the connection's directory.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The key's file.
    pub(super) fn key(&self) -> PathBuf {
        self.path("key")
    }

    /// Writes a file that only we can read.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf, SshError> {
        let path = self.path(name);
        write(&path, text.as_bytes(), 0o600)?;
        Ok(path)
    }

    /// Whether the key has a passphrase.
    pub(super) const fn has_passphrase(&self) -> bool {
        self.passphrase.is_some()
    }

    /// The program, with what it needs to ask for the passphrase.
    pub(super) fn ask(&self, program: Program) -> Program {
        let Some(passphrase) = &self.passphrase else { return program };
        program
            .variable("SSH_ASKPASS", SecretString::from(self.path("ask").display().to_string()))
            .variable("SSH_ASKPASS_REQUIRE", "force".into())
            .variable("TIDEGATE_SSH_PASSPHRASE", passphrase.clone())
    }

    async fn test(&self) -> Result<(), SshError> {
        let mut program = Program::new("ssh-keygen").argument("-y").timeout(Duration::from_secs(20));
        if !self.has_passphrase() {
            program = program.arguments(["-P", ""]);
        }
        let ended = self.ask(program).argument("-f").argument(self.key()).run().await?;
        if ended.is_good() {
            return Ok(());
        }
        let told = ended.stderr.text();
        Err(SshError::Key(if told.contains("incorrect passphrase") {
            match self.has_passphrase() {
                true => "`passphrase` is not its passphrase",
                false => "it has a passphrase, and `passphrase` is not given",
            }
            .to_owned()
        } else {
            "it is not a private key that `ssh` can read".to_owned()
        }))
    }
}

/// The key as a file has it: as it was given, or what its base64 stands for.
fn read(key: &SecretString) -> Result<Zeroizing<String>, SshError> {
    let text = key.expose_secret();
    let plain = if text.contains("-----BEGIN") {
        Zeroizing::new(text.to_owned())
    } else {
        let packed: Zeroizing<String> = Zeroizing::new(text.split_whitespace().collect());
        let bytes = STANDARD.decode(packed.as_bytes()).map_err(|_| not_a_key())?;
        Zeroizing::new(String::from_utf8(bytes).map_err(|_| not_a_key())?)
    };
    if !plain.contains("-----BEGIN") {
        return Err(not_a_key());
    }
    // What was pasted somewhere has often lost its last line's end, or has got a carriage return with each.
    Ok(Zeroizing::new(format!("{}\n", plain.replace('\r', "").trim())))
}

fn not_a_key() -> SshError {
    SshError::Key("it is neither a private key (`-----BEGIN …`) nor the base64 of one".to_owned())
}

fn directory() -> Result<TempDir, SshError> {
    let temporary = std::env::temp_dir();
    let parent = if temporary.as_os_str().len() > PATH { Path::new("/tmp") } else { &temporary };
    let directory = tempfile::Builder::new().prefix("tg-").tempdir_in(parent)?;
    fs::set_permissions(directory.path(), Permissions::from_mode(0o700))?;
    Ok(directory)
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), SshError> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    Ok(())
}
