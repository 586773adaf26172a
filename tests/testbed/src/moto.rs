//! moto's server: what speaks like AWS, launched for a test.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use tempfile::TempDir;

use crate::child::{Program, free_port};
use crate::mail::python;

/// A running server; it stops when this is dropped.
pub struct Moto {
    port: u16,
    _folder: TempDir,
    _program: Program,
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
        Self { port, _folder: folder, _program: program }
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
        let (status, body) = self.ask("PUT", &format!("/{name}"));
        assert_eq!(status, 200, "{body}");
    }

    /// What lies under a key of a bucket; none where there is nothing.
    #[must_use]
    pub fn object(&self, bucket: &str, key: &str) -> Option<String> {
        let (status, body) = self.ask("GET", &format!("/{bucket}/{key}"));
        (status == 200).then_some(body)
    }

    fn ask(&self, method: &str, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("moto answers");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout can be set");
        // Whoever signs for S3 at all is let in; where the signature is not looked at, its date is.
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: s3.amazonaws.com\r\nAuthorization: AWS4-HMAC-SHA256 \
             Credential=a/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0\r\nContent-Length: 0\r\n\r\n"
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
