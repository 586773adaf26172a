//! Faults happen as the rules say.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use testbed::client::error_code;
use testbed::digest::sha256;
use testbed::fault::{Action, Answer, Rule};
use testbed::registry::Registry;

/// What comes over the wire until the server closes the connection, or is silent for a moment; and whether it closed.
fn raw(registry: &Registry, request: &str) -> (Vec<u8>, bool) {
    let mut stream = TcpStream::connect(registry.host()).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(1))).expect("a timeout");
    stream.write_all(request.as_bytes()).expect("the request is sent");
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return (received, true),
            Ok(length) => received.extend_from_slice(&buffer[..length]),
            Err(_) => return (received, false),
        }
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: registry\r\n\r\n")
}

/// The body of an answer as it came.
fn body(received: &[u8]) -> Vec<u8> {
    let end = received.windows(4).position(|window| window == b"\r\n\r\n").expect("the end of the headers");
    received[end + 4..].to_vec()
}

fn with_blob() -> (Registry, String) {
    let registry = Registry::start();
    registry.contents().put_blob("a", &sha256(b"0123456789"), "0123456789");
    (registry, format!("/v2/a/blobs/{}", sha256(b"0123456789")))
}

#[test]
fn answers_instead_of_the_registry() {
    let registry = Registry::start();
    let client = registry.endpoint().client();
    let ask = || client.request(&Method::GET, "/v2/", &[], Bytes::new());
    let fault = registry.fault(Rule::on("GET", "/v2/").times(2).act(Action::Answer(Answer::ghcr_rate_limit())));
    let answer = ask();
    assert_eq!((answer.status().as_u16(), error_code(&answer).as_deref()), (429, Some("TOOMANYREQUESTS")));
    assert!(String::from_utf8_lossy(answer.body()).contains("retry-after: 12.5ms, allowed: 2000/minute"));
    assert_eq!((ask().status().as_u16(), ask().status().as_u16(), fault.hits()), (429, 200, 2));

    registry.fault(Rule::on("*", "*").act(Action::Answer(Answer::retry_after_date(Duration::from_secs(90)))));
    let answer = ask();
    let date = answer.headers()["retry-after"].to_str().expect("text");
    let date = chrono::DateTime::parse_from_rfc2822(date).expect("an HTTP date");
    assert!((80..=90).contains(&(date.to_utc() - chrono::Utc::now()).num_seconds()));
    registry.clear_faults();
    registry.fault(Rule::on("*", "*").act(Action::Answer(Answer::html(502))));
    let answer = ask();
    assert_eq!(answer.status(), 502);
    assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8");
    registry.clear_faults();
    registry.fault(Rule::on("*", "*").act(Action::Redirect(307, "http://127.0.0.1:9".into())));
    assert_eq!(ask().headers()["location"], "http://127.0.0.1:9/v2/");
}

#[test]
fn bodies_break_off_or_change() {
    let (registry, path) = with_blob();
    let fault = |action| {
        registry.clear_faults();
        registry.fault(Rule::on("GET", "/v2/*/blobs/*").act(action));
        raw(&registry, &get(&path))
    };
    let (received, closed) = fault(Action::Truncate(4));
    assert!(String::from_utf8_lossy(&received).contains("content-length: 10\r\n"));
    assert_eq!((body(&received).as_slice(), closed), (&b"0123"[..], true));
    let (received, closed) = fault(Action::Stall(4));
    assert_eq!((body(&received).as_slice(), closed), (&b"0123"[..], false));
    let (received, _) = fault(Action::Corrupt);
    assert_eq!(body(&received).len(), 10);
    assert_ne!(body(&received), b"0123456789");
    let (received, _) = fault(Action::Replace(Bytes::from_static(b"other")));
    assert_eq!(body(&received), b"other");
}

#[test]
fn connections_are_dropped_or_hang() {
    let (registry, path) = with_blob();
    registry.fault(Rule::on("*", "*").times(1).act(Action::Drop));
    assert_eq!(raw(&registry, &get(&path)), (Vec::new(), true));
    registry.fault(Rule::on("*", "*").times(1).act(Action::Hang));
    assert_eq!(raw(&registry, &get(&path)), (Vec::new(), false));
    assert_eq!(registry.log().iter().map(|entry| entry.status).collect::<Vec<_>>(), [None, None]);
    assert_eq!(body(&raw(&registry, &get(&path)).0), b"0123456789");
    let last = registry.log().pop().expect("an entry");
    assert_eq!((last.status, last.sent), (Some(200), 10));
}

#[test]
fn an_answer_is_lost_after_the_act() {
    let registry = Registry::start();
    registry.fault(Rule::on("POST", "/v2/*/blobs/uploads/").act(Action::LoseAnswer));
    let request = "POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: registry\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(raw(&registry, request), (Vec::new(), true));
    assert_eq!(registry.open_uploads(), 1);
}

#[test]
fn headers_are_changed() {
    let (registry, path) = with_blob();
    let client = registry.endpoint().client();
    registry.fault(Rule::on("GET", "*").act(Action::wrong_digest()).act(Action::RemoveHeader("etag")));
    let answer = client.request(&Method::GET, &path, &[], Bytes::new());
    assert_ne!(answer.headers()["docker-content-digest"].to_str().ok(), path.rsplit('/').next());
    assert!(!answer.headers().contains_key("etag"));
}

#[test]
fn requests_wait_and_call() {
    let registry = Registry::start();
    let client = registry.endpoint().client();
    let called = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&called);
    registry.fault(Rule::on("GET", "/v2/").act(Action::Delay(Duration::from_millis(40))).act(Action::call(
        move || {
            counter.fetch_add(1, Ordering::SeqCst);
        },
    )));
    registry.configure(|settings| settings.latency = Duration::from_millis(40));
    let begun = Instant::now();
    let _ = client.request(&Method::GET, "/v2/", &[], Bytes::new());
    assert!(begun.elapsed() >= Duration::from_millis(80));
    assert_eq!(called.load(Ordering::SeqCst), 1);
}
