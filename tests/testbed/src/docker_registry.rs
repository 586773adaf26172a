//! Debian's docker-registry, launched for a test.
//!
//! ```no_run
//! use testbed::docker_registry::DockerRegistry;
//! use testbed::image::Image;
//!
//! let registry = DockerRegistry::builder().token("ann", "secret").start();
//! let client = registry.endpoint().client();
//! Image::manifest("linux/amd64").build().push(&client, "acme/api", &["staging"]).expect("ann may push");
//! ```

use std::path::Path;

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::authority::Authority;
use crate::child::{self, Program};
use crate::client::Endpoint;
use crate::random;
use crate::registry::User;
use crate::tokens::{ISSUER, SERVICE, TokenServer};

/// Where Debian's package `docker-registry` has its program.
const PROGRAM: &str = "/usr/bin/docker-registry";

/// A running docker-registry; it stops, and its storage goes, when this is dropped.
pub struct DockerRegistry {
    program: Program,
    address: String,
    credentials: Option<(String, String)>,
    authority: Option<Authority>,
    tokens: Option<TokenServer>,
    _directory: TempDir,
}

enum Auth {
    None,
    Htpasswd,
    Token,
}

/// What a docker-registry is started with.
pub struct Builder {
    auth: Auth,
    credentials: Option<(String, String)>,
    grants: Vec<(String, String)>,
    authority: Option<Authority>,
    relative_locations: bool,
}

impl Builder {
    /// Asks for this user's name and password with every request (Basic, by htpasswd).
    #[must_use]
    pub fn htpasswd(mut self, user: &str, password: &str) -> Self {
        self.auth = Auth::Htpasswd;
        self.credentials = Some((user.into(), password.into()));
        self
    }

    /// Asks for a token of a token server that knows this user, who may do everything.
    #[must_use]
    pub fn token(self, user: &str, password: &str) -> Self {
        self.token_with(user, password, &[("*", "pull,push,delete")])
    }

    /// Asks for a token of a token server that knows this user, with grants: a pattern of repositories and actions.
    #[must_use]
    pub fn token_with(mut self, user: &str, password: &str, grants: &[(&str, &str)]) -> Self {
        self.auth = Auth::Token;
        self.credentials = Some((user.into(), password.into()));
        self.grants = grants.iter().map(|&(pattern, actions)| (pattern.to_owned(), actions.to_owned())).collect();
        self
    }

    /// Serves over TLS with a certificate of this authority; the token server too.
    #[must_use]
    pub fn tls(mut self, authority: &Authority) -> Self {
        self.authority = Some(authority.clone());
        self
    }

    /// Gives relative `Location` headers; otherwise they have scheme and host.
    #[must_use]
    pub const fn relative_locations(mut self) -> Self {
        self.relative_locations = true;
        self
    }

    /// Starts it on a free port of 127.0.0.1 and waits until it listens.
    ///
    /// # Panics
    /// When docker-registry (or htpasswd, for Basic) is not installed, or does not start; with what it printed.
    #[must_use]
    pub fn start(self) -> DockerRegistry {
        let directory = TempDir::new().expect("a directory for docker-registry");
        let path = directory.path();
        let grants: Vec<(&str, &str)> =
            self.grants.iter().map(|(pattern, actions)| (pattern.as_str(), actions.as_str())).collect();
        let (user, password) = self.credentials.clone().unwrap_or_default();
        let tokens = matches!(self.auth, Auth::Token)
            .then(|| TokenServer::start(vec![User::new(&user, &password, &grants)], self.authority.as_ref()));
        let auth = match (&self.auth, &tokens) {
            (Auth::Htpasswd, _) => htpasswd(path, &user, &password),
            (_, Some(tokens)) => token(path, tokens),
            _ => Value::Null,
        };
        let configuration = path.join("configuration.yml");
        // JSON is YAML.
        std::fs::write(&configuration, self.configuration(path, &auth).to_string())
            .expect("the configuration is written");
        let arguments = ["serve", configuration.to_str().expect("a temporary directory's path is text")];
        let mut program =
            Program::start("docker-registry", Path::new(PROGRAM), &arguments, None, &path.join("registry.log"));
        let listening = |log: &str| {
            let (_, rest) = log.split_once("listening on ")?;
            // The line must be whole.
            let (line, _) = rest.split_once('\n')?;
            let address =
                line.split(|character: char| !character.is_ascii_digit() && !".:".contains(character)).next()?;
            Some(address.to_owned())
        };
        let address = program.wait_until(listening).unwrap_or_else(|error| panic!("{error}"));
        DockerRegistry {
            program,
            address,
            credentials: self.credentials,
            authority: self.authority,
            tokens,
            _directory: directory,
        }
    }

    fn configuration(&self, path: &Path, auth: &Value) -> Value {
        let mut http = json!({
            "addr": "127.0.0.1:0",
            "secret": random::hex(16),
            "relativeurls": self.relative_locations,
        });
        if let Some(authority) = &self.authority {
            authority.issue().write(path);
            http["tls"] = json!({"certificate": path.join("certificate.pem"), "key": path.join("key.pem")});
        }
        let mut configuration = json!({
            "version": 0.1,
            "log": {"level": "info"},
            "storage": {
                "filesystem": {"rootdirectory": path.join("storage")},
                "maintenance": {"uploadpurging": {"enabled": false}},
            },
            "http": http,
            // Without this a manifest with a foreign layer is refused.
            "validation": {"manifests": {"urls": {"allow": ["^https?://"]}}},
        });
        if !auth.is_null() {
            configuration["auth"] = auth.clone();
        }
        configuration
    }
}

fn htpasswd(path: &Path, user: &str, password: &str) -> Value {
    // bcrypt with the lowest cost: docker-registry computes it for every request.
    let line = child::output(Path::new("/usr/bin/htpasswd"), &["-nbBC", "4", user, password], None);
    let file = path.join("htpasswd");
    std::fs::write(&file, line).expect("the file of passwords is written");
    json!({"htpasswd": {"realm": "docker-registry", "path": file}})
}

fn token(path: &Path, tokens: &TokenServer) -> Value {
    let roots = path.join("token-roots.pem");
    tokens.write_roots(&roots);
    json!({"token": {"realm": tokens.realm(), "service": SERVICE, "issuer": ISSUER, "rootcertbundle": roots}})
}

impl DockerRegistry {
    /// Starts one in which everybody may do everything.
    #[must_use]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// What one can be started with.
    #[must_use]
    pub const fn builder() -> Builder {
        Builder { auth: Auth::None, credentials: None, grants: Vec::new(), authority: None, relative_locations: false }
    }

    /// Host and port, as they stand in a reference: `127.0.0.1:<port>`.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.address
    }

    /// Scheme and host, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.authority.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// How a client reaches it.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        Endpoint { url: self.url(), credentials: self.credentials.clone(), authority: self.authority.clone() }
    }

    /// Its token server, where it has one.
    #[must_use]
    pub const fn tokens(&self) -> Option<&TokenServer> {
        self.tokens.as_ref()
    }

    /// What it has printed so far: its log of requests and errors.
    #[must_use]
    pub fn log(&self) -> String {
        self.program.log()
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        self.program.stop(Signal::KILL);
    }
}
