//! GitHub's published contract, held against both sides: what a client sends, and what the stand-in answers.
//!
//! [`Contract::before`] puts prism's validating proxy between a client and the stand-in. The description is GitHub's own
//! (npm `@octokit/openapi`), cut down to the operations that are used, with fields forbidden in requests that it does not
//! name. prism forwards everything and reports what is wrong; [`Contract::verify`], and dropping the contract, panics if
//! anything was. So no retry of the client and no swallowed error can hide a violation.
//!
//! One prism serves all contracts of a process. Each has a front of its own, which tells prism's upstream which stand-in
//! is meant, collects what prism reports of its requests, and looks at what prism does not: the names in queries.
//!
//! What prism cannot do: it follows redirects by itself, and does not know a base path, which the front takes away
//! (`/api/v3`). A connection that the stand-in closes is closed by the front, too.

mod description;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::Value;
use tempfile::TempDir;
use url::form_urlencoded;

use self::description::{Operation, cut, operations, published};
use crate::background;
use crate::child::{Program, free_port, remove_at_exit};
use crate::connector::{self, HttpClient};
use crate::github::GitHub;
use crate::server::{Server, Unanswered};

/// Statuses that GitHub gives anywhere, and writes down only in some places: conditional requests, tokens, permissions,
/// limits, failures (GitHub docs, "Troubleshooting the REST API", "Rate limits", "Best practices").
const ANYWHERE: [u16; 13] = [304, 400, 401, 403, 404, 408, 409, 422, 429, 500, 502, 503, 504];

/// What prism says of a status that the description does not name.
const UNDOCUMENTED: &str = "Unable to match the returned status code";

/// Since July 2026 GitHub answers `"bundle": null`; the description does not know it yet.
const NULL_BUNDLE: (&str, &str) = ("/bundle", "must be object");

/// The header in which the front names the stand-in that is meant.
const UPSTREAM: HeaderName = HeaderName::from_static("x-testbed-upstream");

/// prism before a stand-in; it is verified when it is dropped.
pub struct Contract {
    server: Server,
    violations: Violations,
}

/// What was wrong, in words.
#[derive(Clone, Default)]
struct Violations(Arc<Mutex<Vec<String>>>);

impl Violations {
    fn add(&self, violation: String) {
        self.0.lock().expect("no thread panicked while it held the violations").push(violation);
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().expect("no thread panicked while it held the violations").clone()
    }
}

impl Contract {
    /// Puts the contract before a stand-in.
    ///
    /// # Panics
    /// When Node.js, prism or the description is not installed: `script/setup` installs them.
    #[must_use]
    pub fn before(github: &GitHub) -> Self {
        Self::before_address(&github.url())
    }

    /// Puts the contract before whatever listens at this address, e.g. `http://127.0.0.1:4000`.
    ///
    /// # Panics
    /// As [`Contract::before`].
    #[must_use]
    pub fn before_address(url: &str) -> Self {
        let upstream = url.strip_prefix("http://").expect("the stand-in speaks plain HTTP").to_owned();
        let (violations, prism) = (Violations::default(), prism());
        let client = connector::client_http1(None);
        let server = Server::start(None, {
            let violations = violations.clone();
            move |request| {
                let (client, violations, upstream) = (client.clone(), violations.clone(), upstream.clone());
                // It goes on to its end also where the client does not wait for it.
                let whole = background::handle().spawn(pass(client, prism, upstream, violations, request));
                async move { whole.await.unwrap_or(Err(Unanswered)) }
            }
        });
        Self { server, violations }
    }

    /// The address for clients, without a slash at its end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// The address for clients of an Enterprise Server.
    #[must_use]
    pub fn enterprise_url(&self) -> String {
        format!("{}/api/v3", self.url())
    }

    /// What was wrong so far.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.violations.all()
    }

    /// Forgets what was wrong so far, where that was the point.
    pub fn forgive(&self) {
        self.violations.0.lock().expect("no thread panicked while it held the violations").clear();
    }

    /// Panics if anything was wrong so far.
    ///
    /// # Panics
    /// When something was.
    pub fn verify(&self) {
        let violations = self.violations();
        assert!(violations.is_empty(), "GitHub's contract is broken:\n{}", violations.join("\n"));
    }
}

impl Drop for Contract {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.verify();
        }
    }
}

/// One request on its way through prism.
async fn pass(
    client: HttpClient,
    prism: &'static Prism,
    upstream: String,
    violations: Violations,
    request: Request<Incoming>,
) -> Result<Response<Body>, Unanswered> {
    let (mut parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Unanswered)?.to_bytes();
    let target = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned();
    let (prefix, target) = target.strip_prefix("/api/v3").map_or(("", target.as_str()), |rest| ("/api/v3", rest));
    let what = format!("{} {target}", parts.method);
    for unknown in prism.unknown_names(parts.method.as_str(), target) {
        violations.add(format!("{what}: request.query {unknown} is not a parameter"));
    }
    let host = parts.headers.get(header::HOST).cloned().ok_or(Unanswered)?;
    parts.headers.insert("x-forwarded-host", host);
    parts.headers.insert("x-forwarded-prefix", HeaderValue::from_static(prefix));
    parts.headers.insert(UPSTREAM, HeaderValue::try_from(upstream).map_err(|_| Unanswered)?);
    parts.uri = format!("{}{target}", prism.url).parse().map_err(|_| Unanswered)?;
    // prism answers always: what it does not answer could hide what it has to say.
    let unread = |error: &dyn std::error::Error| {
        violations.add(format!("{what}: prism's answer cannot be read: {error}"));
        Unanswered
    };
    let request = Request::from_parts(parts, Body::from(body));
    let (mut parts, body) = client.request(request).await.map_err(|error| unread(&error))?.into_parts();
    let body = body.collect().await.map_err(|error| unread(&error))?.to_bytes();
    if parts.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/problem+json") {
        let problem: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        if problem["title"].as_str().is_some_and(|title| title.starts_with("request to")) {
            // The stand-in has closed the connection.
            return Err(Unanswered);
        }
        violations.add(format!("{what}: {problem}"));
    }
    for violation in reported(&parts.headers) {
        if !is_allowed(&violation, parts.status.as_u16()) {
            violations.add(format!("{what}: {}", words(&violation)));
        }
    }
    let added: Vec<HeaderName> = parts
        .headers
        .keys()
        .filter(|name| name.as_str() == "sl-violations" || name.as_str().starts_with("access-control-"))
        .cloned()
        .collect();
    for name in added {
        parts.headers.remove(name);
    }
    parts.headers.remove(header::TRANSFER_ENCODING);
    parts.headers.remove(header::CONNECTION);
    Ok(Response::from_parts(parts, Body::from(body)))
}

fn reported(headers: &HeaderMap) -> Vec<Value> {
    let text = headers.get("sl-violations").map(HeaderValue::as_bytes).unwrap_or_default();
    serde_json::from_slice(text).unwrap_or_default()
}

fn words(violation: &Value) -> String {
    let place: Vec<String> =
        violation["location"].as_array().into_iter().flatten().map(|part| part.to_string()).collect();
    format!("{} {}", place.join(".").replace('"', ""), violation["message"].as_str().unwrap_or_default())
}

fn is_allowed(violation: &Value, status: u16) -> bool {
    let message = violation["message"].as_str().unwrap_or_default();
    let place: Vec<&str> = violation["location"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let undocumented = message.starts_with(UNDOCUMENTED) && ANYWHERE.contains(&status);
    undocumented || (format!("/{}", place.join("/")).ends_with(NULL_BUNDLE.0) && message.contains(NULL_BUNDLE.1))
}

/// The running prism, and what it holds everything to.
struct Prism {
    url: String,
    operations: Vec<Operation>,
    _program: Mutex<Program>,
    _upstream: Server,
}

impl Prism {
    /// The names in a query that the operation does not know.
    fn unknown_names(&self, method: &str, target: &str) -> Vec<String> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let segments: Vec<&str> = path.split('/').collect();
        let mut fitting = self.operations.iter().filter(|operation| operation.matches(method, &segments));
        let Some(first) = fitting.next() else { return Vec::new() };
        let names = form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name.into_owned());
        names.filter(|name| !first.names.contains(name)).collect()
    }
}

/// The one prism of this process.
fn prism() -> &'static Prism {
    static PRISM: OnceLock<Prism> = OnceLock::new();
    PRISM.get_or_init(start)
}

fn start() -> Prism {
    let directory = TempDir::new().expect("a directory for prism").keep();
    remove_at_exit(&directory);
    let description = cut(&published());
    let file = directory.join("description.json");
    std::fs::write(&file, description.to_string()).expect("the description is written");
    let client = connector::client_http1(None);
    let upstream = Server::start(None, move |request| forward(client.clone(), request));
    let (node, script) = (node(), installed("node_modules/@stoplight/prism-cli/dist/index.js"));
    let port = free_port().to_string();
    let to = format!("http://{}", upstream.address());
    let texts = [script.to_string_lossy(), file.to_string_lossy()];
    let arguments = [&*texts[0], "proxy", "-h", "127.0.0.1", "-p", &port, &texts[1], &to];
    let mut program = Program::start("prism", &node, &arguments, None, &directory.join("prism.log"));
    program
        .wait_until(|log| log.contains("Prism is listening").then_some(()))
        .unwrap_or_else(|error| panic!("{error}"));
    Prism {
        url: format!("http://127.0.0.1:{port}"),
        operations: operations(&description),
        _program: Mutex::new(program),
        _upstream: upstream,
    }
}

/// What prism forwards to: the stand-in that the front has named.
async fn forward(client: HttpClient, request: Request<Incoming>) -> Result<Response<Body>, Unanswered> {
    let (mut parts, body) = request.into_parts();
    let upstream = parts.headers.remove(UPSTREAM).ok_or(Unanswered)?;
    let target = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let uri = format!("http://{}{target}", upstream.to_str().map_err(|_| Unanswered)?);
    parts.uri = Uri::try_from(uri).map_err(|_| Unanswered)?;
    parts.headers.remove(header::CONNECTION);
    let body = body.collect().await.map_err(|_| Unanswered)?.to_bytes();
    let response = client.request(Request::from_parts(parts, Body::from(body))).await.map_err(|_| Unanswered)?;
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(header::CONNECTION);
    // A body that breaks off is an answer that was lost: prism waits for all of it.
    let body: Bytes = body.collect().await.map_err(|_| Unanswered)?.to_bytes();
    Ok(Response::from_parts(parts, Body::from(body)))
}

/// Something that `script/setup` has installed.
fn installed(path: &str) -> PathBuf {
    let found = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/contract").join(path);
    assert!(found.exists(), "{} is not there, and the tests need it: run script/setup", found.display());
    found
}

pub(crate) fn node() -> PathBuf {
    let places = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&places).map(|place| place.join("node")).find(|path| path.exists());
    found.expect("Node.js is not installed, and the tests need it: run script/setup")
}

#[cfg(test)]
mod tests {
    use super::description::OPERATIONS;
    use super::*;
    use crate::github::NewCheckRun;

    /// Answers every request with the status and the body that its headers say.
    fn echo() -> Server {
        Server::start(None, |request: Request<Incoming>| async move {
            let text =
                |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
            let body = text("x-body").unwrap_or_default();
            let empty = body.is_empty();
            let mut response = Response::new(Body::from(body));
            let status = text("x-status").and_then(|status| status.parse().ok()).unwrap_or(200);
            *response.status_mut() = http::StatusCode::from_u16(status).expect("a status");
            if !empty {
                let json = HeaderValue::from_static("application/json");
                response.headers_mut().insert(header::CONTENT_TYPE, json);
            }
            Ok(response)
        })
    }

    fn send(url: &str, method: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).expect("a request");
        background::run(async move {
            let response = connector::client_http1(None).request(request).await.expect("an answer");
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.expect("a body").to_bytes();
            (status, String::from_utf8_lossy(&body).into_owned())
        })
    }

    /// The path of an operation with something in every place.
    fn filled(path: &str) -> String {
        path.split('/')
            .map(|segment| if segment.starts_with('{') { "1" } else { segment })
            .collect::<Vec<_>>()
            .join("/")
    }

    #[test]
    fn a_wrong_answer_is_seen_in_every_operation() {
        let (upstream, description) = (echo(), cut(&published()));
        let contract = Contract::before_address(&format!("http://{}", upstream.address()));
        for operation in OPERATIONS {
            let (method, path) = operation.split_once(' ').expect("method and path");
            let described = &description["paths"][path][method.to_ascii_lowercase()];
            let answers = described["responses"].as_object().expect("answers");
            let good = answers.iter().find(|(status, answer)| status.starts_with('2') && answer["content"].is_object());
            let Some((status, _)) = good else { continue };
            let headers =
                [("x-status", status.as_str()), ("x-body", "\"nonsense\""), ("content-type", "application/json")];
            // What the request must hold is not the point here.
            let body = if described["requestBody"].is_object() { "{}" } else { "" };
            send(&format!("{}{}", contract.url(), filled(path)), method, &headers, body);
            let seen = contract.violations().iter().any(|violation| violation.contains(": response.body"));
            assert!(seen, "{operation} lets any answer pass: {:?}", contract.violations());
            contract.forgive();
        }
    }

    #[test]
    fn an_unknown_field_is_seen_in_every_request() {
        let (upstream, description) = (echo(), cut(&published()));
        let contract = Contract::before_address(&format!("http://{}", upstream.address()));
        for operation in OPERATIONS {
            let (method, path) = operation.split_once(' ').expect("method and path");
            if description["paths"][path][method.to_ascii_lowercase()]["requestBody"].is_null() {
                continue;
            }
            let headers = [("content-type", "application/json"), ("x-status", "500")];
            let body = r#"{"no-such-field": 1}"#;
            send(&format!("{}{}", contract.url(), filled(path)), method, &headers, body);
            let seen = contract.violations().iter().any(|violation| violation.contains("no-such-field"));
            assert!(seen, "{operation} takes any field: {:?}", contract.violations());
            contract.forgive();
        }
    }

    #[test]
    fn what_else_is_wrong_is_seen_and_what_is_usual_is_not() {
        let upstream = echo();
        let contract = Contract::before_address(&format!("http://{}", upstream.address()));
        let issues = format!("{}/repos/a/b/issues", contract.url());
        let get = |url: &str, status: &str| {
            let body = if status == "304" { "" } else { "[]" };
            send(url, "GET", &[("x-status", status), ("x-body", body)], "")
        };
        for status in ["200", "304", "403", "429", "502"] {
            get(&issues, status);
        }
        assert_eq!(contract.violations(), Vec::<String>::new());
        let before = |what: &str, url: &str, status: &str| {
            get(url, status);
            let seen = contract.violations();
            assert!(!seen.is_empty(), "{what}");
            contract.forgive();
        };
        before("a name that the query does not know", &format!("{issues}?label=x"), "200");
        before("a value that the query does not take", &format!("{issues}?per_page=many"), "200");
        before("a success that is not described", &issues, "206");
        before("an address that is not described", &format!("{}/repos/a/b/nothing", contract.url()), "200");
    }

    #[test]
    fn the_stand_in_is_reached_through_it_with_its_addresses() {
        let github = GitHub::start();
        let contract = Contract::before(&github);
        let api = github.repository("acme/api");
        let commit = api.commit("main", "Work", "ann");
        for number in 0..3 {
            api.check_run(&commit, &NewCheckRun::ended(&format!("job {number}"), "success"));
        }
        let token = format!("Bearer {}", github.job_token());
        let url = format!("{}/repos/acme/api/commits/{commit}/check-runs?per_page=2", contract.enterprise_url());
        let (status, body) = send(&url, "GET", &[("authorization", &token)], "");
        assert_eq!(status, 200);
        assert!(body.contains(&format!("{}/repos/acme/api/check-runs/", contract.enterprise_url())), "{body}");
        assert_eq!(send(&url, "GET", &[], "").0, 401);
        contract.verify();
    }
}
