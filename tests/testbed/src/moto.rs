//! Moto's server, launched for a test: what others make of AWS's published API. It judges the shape of requests; what it
//! gets wrong (revisions, states, routing), [`crate::lambda`] does.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::child::{Program, free_port};
use crate::mail::python;

/// The region in which everything is.
pub const REGION: &str = "eu-west-1";

/// A role that functions have, and that can be taken on.
pub const ROLE: &str = "arn:aws:iam::123456789012:role/deploy";

/// The smallest zip file: one without files.
pub const EMPTY_ZIP: [u8; 22] = [b'P', b'K', 5, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// A running server; it stops when this is dropped.
pub struct Moto {
    port: u16,
    program: Program,
    _directory: TempDir,
}

impl Moto {
    /// Starts it, with a role and without functions. Invocations answer without running anything.
    ///
    /// # Panics
    /// When it is not installed (`script/setup` does that), or does not start.
    #[must_use]
    pub fn start() -> Self {
        let directory = TempDir::new().expect("a directory for the server's log");
        let script = python().with_file_name("moto_server");
        assert!(script.exists(), "{} is not there: run script/setup", script.display());
        let port = free_port();
        let arguments = ["-H", "127.0.0.1", "-p", &port.to_string()];
        let log = directory.path().join("log");
        let mut program = Program::start("moto", &script, &arguments, None, &log);
        let ready = |log: &str| log.contains("Running on").then_some(());
        program.wait_until(ready).unwrap_or_else(|error| panic!("{error}"));
        let moto = Self { port, program, _directory: directory };
        moto.ask("POST", "/moto-api/config", "lambda", "application/json", r#"{"lambda":{"use_docker":false}}"#);
        let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
        let role = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("Action", "CreateRole")
            .append_pair("Version", "2010-05-08")
            .append_pair("RoleName", "deploy")
            .append_pair("AssumeRolePolicyDocument", trust)
            .finish();
        moto.ask("POST", "/", "iam", "application/x-www-form-urlencoded", &role);
        moto
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Makes a function with a package.
    ///
    /// # Panics
    /// When moto does not.
    pub fn function(&self, name: &str, zip: &[u8]) {
        use base64::Engine as _;
        let zip = base64::engine::general_purpose::STANDARD.encode(zip);
        let body = json!({
            "FunctionName": name, "Runtime": "python3.12", "Handler": "a.handler", "Role": ROLE, "Code": { "ZipFile": zip },
        });
        let made = self.lambda("POST", "", &body.to_string());
        assert_eq!(made["FunctionName"], name, "{made}");
    }

    /// What Lambda's API says below a path of functions, e.g. `/api/aliases/live`.
    #[must_use]
    pub fn look(&self, path: &str) -> Value {
        self.lambda("GET", path, "")
    }

    /// What the server has printed: a line for each request, with its status.
    #[must_use]
    pub fn log(&self) -> String {
        self.program.log()
    }

    fn lambda(&self, method: &str, path: &str, body: &str) -> Value {
        let answer = self.ask(method, &format!("/2015-03-31/functions{path}"), "lambda", "application/json", body);
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }

    fn ask(&self, method: &str, path: &str, service: &str, kind: &str, body: &str) -> String {
        let region = if service == "iam" { "us-east-1" } else { REGION };
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nAuthorization: AWS4-HMAC-SHA256 \
             Credential=AKID/20260101/{region}/{service}/aws4_request, SignedHeaders=host, Signature=0\r\nContent-Type: \
             {kind}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("moto takes a connection");
        stream.write_all(request.as_bytes()).expect("moto takes a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("moto answers");
        answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
    }
}
