//! An OAuth 2 server, launched for a test: npm's `oidc-provider`, with client credentials and opaque tokens.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;
use url::form_urlencoded::byte_serialize;

use crate::child::Program;
use crate::contract::node;

/// The client that authenticates itself in the header, and no other way.
pub const BY_HEADER: &str = "by-header";

/// The client that authenticates itself in the body, and no other way.
pub const BY_BODY: &str = "by-body";

/// A running server; it stops when this is dropped.
pub struct OauthServer {
    port: u16,
    secret: String,
    _program: Program,
    _directory: TempDir,
}

impl OauthServer {
    /// Starts it: both clients have this secret, and tokens live so many seconds.
    ///
    /// # Panics
    /// When it is not installed (`script/setup` does that), or does not start.
    #[must_use]
    pub fn start(secret: &str, lifetime: u32) -> Self {
        let directory = TempDir::new().expect("a directory for the server's log");
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/oauth/server.mjs");
        assert!(script.exists(), "{} is not there: run script/setup", script.display());
        let arguments = [&script.display().to_string(), secret, &lifetime.to_string()];
        let log = directory.path().join("log");
        let mut program = Program::start("oidc-provider", &node(), &arguments, None, &log);
        let port = program
            .wait_until(|log| log.lines().find_map(|line| line.strip_prefix("port ")?.trim().parse().ok()))
            .unwrap_or_else(|error| panic!("{error}"));
        Self { port, secret: secret.to_owned(), _program: program, _directory: directory }
    }

    /// Where tokens are given.
    #[must_use]
    pub fn token_url(&self) -> String {
        format!("http://127.0.0.1:{}/token", self.port)
    }

    /// Asks the server itself whether a header `authorization` is one of its tokens that still lives, as a guarded API
    /// does (RFC 7662).
    pub fn judge(&self) -> impl Fn(Option<&str>) -> bool + Send + Sync + 'static {
        let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        let basic = STANDARD.encode(format!("{BY_HEADER}:{}", encoded(&self.secret)));
        let port = self.port;
        move |authorization| {
            let Some(token) = authorization.and_then(|text| text.strip_prefix("Bearer ")) else { return false };
            let body = format!("token={token}");
            let request = format!(
                "POST /token/introspection HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Basic {basic}\r\nContent-Type: \
                 application/x-www-form-urlencoded\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            let ask = || -> std::io::Result<String> {
                let mut stream = TcpStream::connect(("127.0.0.1", port))?;
                stream.write_all(request.as_bytes())?;
                let mut answer = String::new();
                stream.read_to_string(&mut answer)?;
                Ok(answer)
            };
            ask().is_ok_and(|answer| answer.contains("\"active\":true"))
        }
    }
}
