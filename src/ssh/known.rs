//! Which keys a host may show.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest as _, Sha256};

use super::{Access, SshError};
use crate::process::Program;

/// What stands before a fingerprint.
const FINGERPRINT: &str = "SHA256:";

/// The lines of `known_hosts` against which a connection to `host` is verified.
///
/// `ssh` takes keys and no fingerprints. Where fingerprints are named, the host is asked for its keys, and those whose
/// fingerprints are right are taken; that somebody in between may answer does not matter, because `ssh` then demands
/// the very key from whoever it talks to.
pub(super) async fn lines(access: &Access, host: &str, within: Duration) -> Result<String, SshError> {
    let (fingerprints, mut lines): (Vec<&str>, Vec<&str>) =
        access.host_keys.iter().map(|key| key.trim()).partition(|key| key.starts_with(FINGERPRINT));
    if fingerprints.is_empty() {
        return Ok(lines.join("\n") + "\n");
    }
    let shown = scan(access, host, within).await?;
    let wanted: Vec<&str> = fingerprints.iter().map(|fingerprint| fingerprint.trim_end_matches('=')).collect();
    let keys: Vec<(&str, String)> = shown.lines().filter_map(|line| Some((line, fingerprint(line)?))).collect();
    let right = keys.iter().filter(|(_, fingerprint)| wanted.contains(&fingerprint.as_str()));
    lines.extend(right.map(|(line, _)| *line));
    if lines.is_empty() {
        let shown: Vec<String> =
            keys.iter().map(|(line, fingerprint)| format!("{fingerprint} ({})", kind(line))).collect();
        return Err(SshError::HostKey { host: host.to_owned(), shown: shown.join(", ") });
    }
    Ok(lines.join("\n") + "\n")
}

/// The lines of `known_hosts` that a host offers for itself.
async fn scan(access: &Access, host: &str, within: Duration) -> Result<String, SshError> {
    let seconds = within.as_secs().clamp(1, 30).to_string();
    let ended = Program::new("ssh-keyscan")
        .arguments(["-T", &seconds, "-p", &access.port.to_string(), "-t", "ed25519,ecdsa,rsa", "--", host])
        .timeout(within + Duration::from_secs(5))
        .run()
        .await?;
    let printed = ended.stdout.text();
    let shown: Vec<&str> = printed.lines().filter(|line| !line.starts_with('#')).collect();
    if shown.is_empty() {
        let why = ended.stderr.text();
        let why = why.lines().rfind(|line| !line.starts_with('#') && !line.trim().is_empty());
        let why = why.unwrap_or("nothing that speaks SSH answers").to_owned();
        return Err(SshError::Unreachable { host: host.to_owned(), why });
    }
    Ok(shown.join("\n"))
}

/// The kind of the key in a line of `known_hosts`.
fn kind(line: &str) -> &str {
    line.split_whitespace().nth(1).unwrap_or_default()
}

/// The fingerprint of the key in a line of `known_hosts`, as `ssh-keygen -l` shows it.
fn fingerprint(line: &str) -> Option<String> {
    let key = STANDARD.decode(line.split_whitespace().nth(2)?).ok()?;
    Some(format!("{FINGERPRINT}{}", STANDARD_NO_PAD.encode(Sha256::digest(key))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_the_one_that_everybody_knows() {
        // GitHub's, as its documentation has both (docs.github.com, "GitHub's SSH key fingerprints").
        let line = "github.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
        assert_eq!(fingerprint(line).unwrap(), "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU");
        assert_eq!(fingerprint("github.com ssh-ed25519"), None);
    }
}
