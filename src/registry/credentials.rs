//! Who we are to a registry: given logins, the docker configuration with its credential helpers, or nobody.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// The most that is read of a docker configuration, and of what a helper says.
const LIMIT: u64 = 1024 * 1024;

/// The longest that a credential helper may take.
const HELPER_TIMEOUT: Duration = Duration::from_secs(30);

/// The user name under which the docker configuration and its helpers keep identity tokens.
const TOKEN_USER: &str = "<token>";

/// What a registry is told about who we are.
#[derive(Debug, Clone)]
pub(super) enum Credential {
    /// A user's name and password; on GHCR the name is ignored and the password is a token.
    Login { username: String, password: SecretString },
    /// An OAuth2 refresh token, given to the token server (Docker: `identitytoken`).
    Identity(SecretString),
    /// A token for the registry itself (Docker: `registrytoken`).
    Token(SecretString),
}

/// Where credentials come from: logins that were given, then the docker configuration.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    logins: BTreeMap<String, (String, SecretString)>,
    docker: Option<PathBuf>,
}

impl Credentials {
    /// Nobody: every registry is asked anonymously.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// The same, with a login for a registry (its host, with the port where it has one).
    #[must_use]
    pub fn with_login(mut self, registry: &str, username: impl Into<String>, password: SecretString) -> Self {
        self.logins.insert(canonical(registry), (username.into(), password));
        self
    }

    /// The same, with a docker configuration (`config.json`) for registries that no login is given for. The file is
    /// read when a registry asks who we are; that it does not exist is no error.
    #[must_use]
    pub fn with_docker_config(mut self, path: impl Into<PathBuf>) -> Self {
        self.docker = Some(path.into());
        self
    }

    /// The credential for a registry.
    ///
    /// # Errors
    /// Why a configured credential cannot be had: a malformed configuration, a helper that is absent, fails or hangs.
    pub(super) async fn find(&self, registry: &str) -> Result<Option<Credential>, String> {
        if let Some((username, password)) = self.logins.get(&canonical(registry)) {
            return Ok(Some(Credential::Login { username: username.clone(), password: password.clone() }));
        }
        match &self.docker {
            Some(path) => from_docker(path, registry).await,
            None => Ok(None),
        }
    }
}

/// The docker configuration that applies to this process: `$DOCKER_CONFIG/config.json`, or `~/.docker/config.json`.
#[must_use]
pub fn default_docker_config() -> Option<PathBuf> {
    let folder = match std::env::var_os("DOCKER_CONFIG").filter(|folder| !folder.is_empty()) {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(std::env::var_os("HOME").filter(|home| !home.is_empty())?).join(".docker"),
    };
    Some(folder.join("config.json"))
}

/// A docker configuration, as far as it is about credentials (docker/cli `cli/config/configfile/file.go`).
#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, DockerAuth>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
}

#[derive(Default, Deserialize)]
struct DockerAuth {
    #[serde(default)]
    auth: Option<SecretString>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<SecretString>,
    #[serde(default, rename = "identitytoken")]
    identity: Option<SecretString>,
    #[serde(default, rename = "registrytoken")]
    token: Option<SecretString>,
}

/// What a helper answers (docker/docker-credential-helpers `credentials/credentials.go`).
#[derive(Deserialize)]
struct HelperAnswer {
    #[serde(rename = "Username")]
    username: String,
    #[serde(rename = "Secret")]
    secret: SecretString,
}

async fn from_docker(path: &Path, registry: &str) -> Result<Option<Credential>, String> {
    let shown = path.display();
    let file = match tokio::fs::File::open(path).await {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{shown} cannot be opened: {error}")),
    };
    let mut text = Vec::new();
    file.take(LIMIT).read_to_end(&mut text).await.map_err(|error| format!("{shown} cannot be read: {error}"))?;
    // The parser's message could quote a secret; its place is enough.
    let config: DockerConfig = serde_json::from_slice(&text).map_err(|error| {
        format!("{shown} is not a docker configuration (line {}, column {})", error.line(), error.column())
    })?;
    let wanted = canonical(registry);
    if let Some((_, helper)) = config.helpers.iter().find(|(key, _)| canonical(key) == wanted) {
        return from_helper(helper, registry).await;
    }
    let stored = config.auths.iter().find(|(key, _)| canonical(key) == wanted).map(|(_, auth)| auth);
    if let Some(credential) = stored.map(from_auth).transpose().map_err(|why| format!("{shown}: {why}"))?.flatten() {
        return Ok(Some(credential));
    }
    match config.store.as_deref().filter(|store| !store.is_empty()) {
        Some(helper) => from_helper(helper, registry).await,
        None => Ok(None),
    }
}

/// Reads an entry under `auths`; an empty one says that a helper has the credential.
fn from_auth(auth: &DockerAuth) -> Result<Option<Credential>, &'static str> {
    let given = |secret: &Option<SecretString>| secret.clone().filter(|secret| !secret.expose_secret().is_empty());
    if let Some(token) = given(&auth.token) {
        return Ok(Some(Credential::Token(token)));
    }
    if let Some(identity) = given(&auth.identity) {
        return Ok(Some(Credential::Identity(identity)));
    }
    if let Some(encoded) = given(&auth.auth) {
        const MALFORMED: &str = "an `auth` is not base64 of `user:password`";
        let decoded = STANDARD.decode(encoded.expose_secret().trim()).map_err(|_| MALFORMED)?;
        let decoded = SecretString::from(String::from_utf8(decoded).map_err(|_| MALFORMED)?);
        let (username, password) = decoded.expose_secret().split_once(':').ok_or(MALFORMED)?;
        // Docker pads the password with zero bytes.
        return Ok(Some(login(username.to_owned(), password.trim_end_matches('\0').into())));
    }
    Ok(match (&auth.username, given(&auth.password)) {
        (Some(username), Some(password)) => Some(login(username.clone(), password)),
        _ => None,
    })
}

fn login(username: String, password: SecretString) -> Credential {
    if username == TOKEN_USER { Credential::Identity(password) } else { Credential::Login { username, password } }
}

/// Asks a credential helper, as docker does: the registry's address on its input, JSON on its output.
async fn from_helper(helper: &str, registry: &str) -> Result<Option<Credential>, String> {
    if helper.contains(['/', '\\']) {
        return Err(format!("`{helper}` is not a name of a credential helper"));
    }
    ask_helper(Path::new(&format!("docker-credential-{helper}")), registry).await
}

async fn ask_helper(program: &Path, registry: &str) -> Result<Option<Credential>, String> {
    let failed =
        |why: &dyn std::fmt::Display| format!("the docker configuration names {}, which {why}", program.display());
    let mut child = tokio::process::Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => failed(&"is not on the PATH"),
            _ => failed(&format!("cannot be started: {error}")),
        })?;
    let conversation = async {
        if let Some(mut input) = child.stdin.take() {
            // A helper that does not read its input says so by its answer.
            let _ = input.write_all(server(registry).as_bytes()).await;
        }
        let mut answer = Vec::new();
        if let Some(output) = child.stdout.take() {
            output.take(LIMIT).read_to_end(&mut answer).await?;
        }
        Ok::<_, std::io::Error>((
            child.wait().await?,
            SecretString::from(String::from_utf8_lossy(&answer).into_owned()),
        ))
    };
    let (status, answer) = tokio::time::timeout(HELPER_TIMEOUT, conversation)
        .await
        .map_err(|_| failed(&format!("gave no answer within {} s", HELPER_TIMEOUT.as_secs())))?
        .map_err(|error| failed(&format!("cannot be spoken to: {error}")))?;
    if !status.success() {
        // docker-credential-helpers, `credentials/error.go`: this sentence, on the standard output.
        let nothing = answer.expose_secret().contains("credentials not found");
        return if nothing { Ok(None) } else { Err(failed(&format!("failed ({status})"))) };
    }
    let answer: HelperAnswer = serde_json::from_str(answer.expose_secret())
        .map_err(|_| failed(&"answered something else than a credential"))?;
    Ok(Some(login(answer.username, answer.secret)))
}

/// The address under which docker keeps a registry's credential.
fn server(registry: &str) -> &str {
    if canonical(registry) == "docker.io" { "https://index.docker.io/v1/" } else { registry }
}

/// A registry's name without scheme and path, with Docker Hub under one name.
fn canonical(registry: &str) -> String {
    let host = registry.trim();
    let host = host.strip_prefix("https://").or_else(|| host.strip_prefix("http://")).unwrap_or(host);
    let host = host.split('/').next().unwrap_or_default().to_ascii_lowercase();
    match host.as_str() {
        "index.docker.io" | "registry-1.docker.io" | "registry.hub.docker.com" => "docker.io".to_owned(),
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn found(config: &str, registry: &str) -> Result<Option<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, config).unwrap();
        let credential = Credentials::anonymous().with_docker_config(path).find(registry).await?;
        Ok(credential.map(|credential| match credential {
            Credential::Login { username, password } => format!("{username}:{}", password.expose_secret()),
            Credential::Identity(secret) => format!("identity {}", secret.expose_secret()),
            Credential::Token(secret) => format!("token {}", secret.expose_secret()),
        }))
    }

    #[tokio::test]
    async fn the_docker_configuration_is_read_in_every_form() {
        let config = r#"{"auths": {
            "ghcr.io": {"auth": "b2N0b2NhdDpzM2NyZXQ6eA=="},
            "https://index.docker.io/v1/": {"username": "hub", "password": "pw"},
            "acr.test": {"auth": "PHRva2VuPjp4", "identitytoken": "refresh"},
            "token.test": {"registrytoken": "bearer"},
            "padded.test": {"auth": "dTpwAAA="},
            "LOCALHOST:5000": {"auth": "dTpw"},
            "empty.test": {}
        }}"#;
        for (registry, wanted) in [
            ("ghcr.io", Some("octocat:s3cret:x")),
            ("docker.io", Some("hub:pw")),
            ("acr.test", Some("identity refresh")),
            ("token.test", Some("token bearer")),
            ("padded.test", Some("u:p")),
            ("localhost:5000", Some("u:p")),
            ("localhost:5001", None),
            ("empty.test", None),
            ("other.test", None),
        ] {
            assert_eq!(found(config, registry).await.unwrap().as_deref(), wanted, "{registry}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_read_says_why_and_quotes_no_secret() {
        for (config, says) in [
            ("{\"auths\": s3cret", "line 1"),
            (r#"{"auths": {"a.test": {"auth": "s3cret!"}}}"#, "not base64"),
            (
                r#"{"credHelpers": {"a.test": "no-such-helper"}}"#,
                "docker-credential-no-such-helper, which is not on the PATH",
            ),
            (r#"{"credsStore": "no-such-helper"}"#, "is not on the PATH"),
            (r#"{"credsStore": "../evil"}"#, "not a name"),
        ] {
            let error = found(config, "a.test").await.unwrap_err();
            assert!(error.contains(says), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
        assert!(found("{}", "a.test").await.unwrap().is_none());
        let absent = Credentials::anonymous().with_docker_config("/nonexistent/config.json");
        assert!(absent.find("a.test").await.unwrap().is_none());
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_helper_is_asked_as_docker_does() {
        use std::os::unix::fs::PermissionsExt as _;

        let folder = tempfile::tempdir().unwrap();
        let helper = |name: &str, script: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        let good = helper("good", r#"read -r server; echo "{\"Username\": \"$1\", \"Secret\": \"$server\"}""#);
        let Ok(Some(Credential::Login { username, password })) = ask_helper(&good, "docker.io").await else { panic!() };
        assert_eq!((username.as_str(), password.expose_secret()), ("get", "https://index.docker.io/v1/"));
        let token = helper("token", r#"echo '{"Username": "<token>", "Secret": "x"}'"#);
        assert!(matches!(ask_helper(&token, "a.test").await, Ok(Some(Credential::Identity(_)))));
        let none = helper("none", "echo 'credentials not found in native keychain'; exit 1");
        assert!(matches!(ask_helper(&none, "a.test").await, Ok(None)));
        for (script, says) in [("echo s3cret; exit 3", "failed"), ("echo s3cret", "something else")] {
            let error = ask_helper(&helper("bad", script), "a.test").await.unwrap_err();
            assert!(error.contains(says) && !error.contains("s3cret"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_given_login_wins_and_is_not_shown() {
        let credentials = Credentials::anonymous().with_login("GHCR.io", "octocat", "s3cret".into());
        assert!(!format!("{credentials:?}").contains("s3cret"));
        assert!(matches!(credentials.find("ghcr.io").await, Ok(Some(Credential::Login { .. }))));
        assert!(matches!(credentials.find("other.test").await, Ok(None)));
    }
}
