//! moto's server: what speaks like AWS, launched for a test. It judges the shape of requests; what it gets wrong of Lambda
//! (revisions, states, routing), [`crate::lambda`] does.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::child::{Program, free_port};
use crate::mail::python;

/// The region in which functions are.
pub const REGION: &str = "eu-west-1";

/// The role that functions have; it can be taken on.
pub const ROLE: &str = "arn:aws:iam::123456789012:role/deploy";

/// The smallest zip file: one without files.
pub const EMPTY_ZIP: [u8; 22] = [b'P', b'K', 5, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// A running server; it stops when this is dropped.
pub struct Moto {
    port: u16,
    _folder: TempDir,
    program: Program,
}

impl Moto {
    /// Starts a server with nothing in it.
    ///
    /// # Panics
    /// When it cannot be started: script/setup installs it.
    #[must_use]
    pub fn start() -> Self {
        let folder = TempDir::new().expect("a directory for moto's log");
        let port = free_port();
        let arguments = ["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()];
        let mut program = Program::start("moto", &python(), &arguments, None, &folder.path().join("log"));
        let ready = |_: &str| TcpStream::connect(("127.0.0.1", port)).ok();
        program.wait_until(ready).unwrap_or_else(|error| panic!("{error}"));
        Self { port, _folder: folder, program }
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Makes a bucket.
    ///
    /// # Panics
    /// When the server does not make it.
    pub fn bucket(&self, name: &str) {
        let (status, body) = self.ask("PUT", &format!("/{name}"), "s3", "", "");
        assert_eq!(status, 200, "{body}");
    }

    /// What lies under a key of a bucket; none where there is nothing.
    #[must_use]
    pub fn object(&self, bucket: &str, key: &str) -> Option<String> {
        let (status, body) = self.ask("GET", &format!("/{bucket}/{key}"), "s3", "", "");
        (status == 200).then_some(body)
    }

    /// Makes the role, and lets functions be invoked: they answer without being run.
    ///
    /// # Panics
    /// When the server does not.
    pub fn can_invoke(&self) {
        self.ask("POST", "/moto-api/config", "lambda", "application/json", r#"{"lambda":{"use_docker":false}}"#);
        let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
        let role = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("Action", "CreateRole")
            .append_pair("Version", "2010-05-08")
            .append_pair("RoleName", "deploy")
            .append_pair("AssumeRolePolicyDocument", trust)
            .finish();
        let (status, body) = self.ask("POST", "/", "iam", "application/x-www-form-urlencoded", &role);
        assert_eq!(status, 200, "{body}");
    }

    /// Makes a function with a package; [`Moto::can_invoke`] comes before it.
    ///
    /// # Panics
    /// When the server does not make it.
    pub fn function(&self, name: &str, zip: &[u8]) {
        let code = json!({ "ZipFile": STANDARD.encode(zip) });
        let body = json!({
            "FunctionName": name, "Runtime": "python3.12", "Handler": "a.handler", "Role": ROLE, "Code": code,
        });
        let (status, body) = self.ask("POST", "/2015-03-31/functions", "lambda", "application/json", &body.to_string());
        assert_eq!(status, 201, "{body}");
    }

    /// What Lambda's API says below a path of functions, e.g. `/api/aliases/live`.
    ///
    /// # Panics
    /// When that is no JSON.
    #[must_use]
    pub fn look(&self, path: &str) -> Value {
        let (_, body) = self.ask("GET", &format!("/2015-03-31/functions{path}"), "lambda", "", "");
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"))
    }

    /// What the server has printed: a line for each request, with its status.
    #[must_use]
    pub fn log(&self) -> String {
        self.program.log()
    }

    fn ask(&self, method: &str, path: &str, service: &str, kind: &str, body: &str) -> (u16, String) {
        let region = if service == "lambda" { REGION } else { "us-east-1" };
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("moto answers");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout can be set");
        // Whoever signs at all is let in; where the signature is not looked at, its date is.
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: {service}.amazonaws.com\r\nAuthorization: AWS4-HMAC-SHA256 \
             Credential=a/20260101/{region}/{service}/aws4_request, SignedHeaders=host, Signature=0\r\nContent-Type: \
             {kind}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).expect("the request is sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("the answer is read");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer of HTTP");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, body.to_owned())
    }
}
