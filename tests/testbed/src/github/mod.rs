//! A stateful stand-in for GitHub's REST API.
//!
//! It knows repositories with commits, checks, environments, workflow runs, deployments and issues, follows GitHub's
//! rules for them (a comment that was edited says so, a deployment to an unknown environment makes it, a success retires
//! earlier deployments outside of production), gives each token its own permissions and limits, pages its lists, and
//! fails on demand ([`GitHub::fault`]). What it answers has the shape that GitHub publishes; [`crate::contract`] holds it
//! to that.
//!
//! ```
//! use testbed::github::{GitHub, NewCheckRun};
//!
//! let github = GitHub::start();
//! let api = github.repository("acme/api");
//! let commit = api.commit("main", "Build faster", "ann");
//! api.check_run(&commit, &NewCheckRun::ended("build", "success"));
//! let token = github.job_token();
//! assert!(token.starts_with("ghs_"));
//! ```

mod access;
mod actions;
mod arrange;
mod artifacts;
mod call;
mod checks;
mod deployments;
mod environments;
mod fixtures;
mod issues;
mod repositories;
mod routes;
mod seen;
mod shape;
mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::BodyExt as _;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use url::form_urlencoded;

use self::access::{OF_THE_JOB, Token};
pub use self::arrange::Repository;
use self::call::{Call, Reply};
pub use self::fixtures::{ACTIONS_APP, NewCheckRun, NewEnvironment, NewWorkflow};
pub use self::seen::{SeenDeployment, SeenIssue, SeenRun, SeenStatus};
use self::shape::DOCUMENTATION;
pub use self::world::{Bundles, Received, Settings};
use self::world::{Repo, Shared, User, World};
use crate::fault::{Answer, Fault, Rule};
use crate::front::{Caller, Front};
use crate::log::Entry;
use crate::server::{Server, Unanswered};

/// Below which path an Enterprise Server has its API.
const ENTERPRISE: &str = "/api/v3";

/// How many requests a job's token has in an hour.
const LIMIT: u64 = 1_000;

/// A running stand-in; it stops when this is dropped.
pub struct GitHub {
    world: Shared,
    front: Front,
    server: Server,
    storage: Front,
    _storage: Server,
}

impl GitHub {
    /// Starts the stand-in on a free port of 127.0.0.1, and beside it the storage for bundles of attestations.
    ///
    /// # Panics
    /// When there is no free port.
    #[must_use]
    pub fn start() -> Self {
        let world = Shared::default();
        world.lock().next_id = 1_000;
        let (front, storage) = (Front::new(), Front::new());
        let server = Server::start(None, {
            let (front, world) = (front.clone(), world.clone());
            move |request| {
                let (front, world) = (front.clone(), world.clone());
                async move {
                    let answer = |request| async move { Ok(answer(&world, request).await) };
                    front.handle(request, Duration::ZERO, answer).await as Result<Response<Body>, Unanswered>
                }
            }
        });
        let storage_server = Server::start(None, {
            let (front, world) = (storage.clone(), world.clone());
            move |request| {
                let (front, world) = (front.clone(), world.clone());
                async move {
                    let answer = |request: Request<Body>| async move { Ok(blob(&world, &request)) };
                    front.handle(request, Duration::ZERO, answer).await as Result<Response<Body>, Unanswered>
                }
            }
        });
        world.lock().elsewhere = format!("http://{}", storage_server.address());
        Self { world, front, server, storage, _storage: storage_server }
    }

    /// The API's address, without a slash at its end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// The API's address as an Enterprise Server has it.
    #[must_use]
    pub fn enterprise_url(&self) -> String {
        format!("{}{ENTERPRISE}", self.url())
    }

    /// A repository, which is made if it is not there: `owner/name`, of an organisation, with a first commit on `main`.
    ///
    /// # Panics
    /// When the name has no slash.
    #[must_use]
    pub fn repository(&self, name: &str) -> Repository {
        let (owner, name) = name.split_once('/').expect("a repository is named `owner/name`");
        let repository = Repository { world: self.world.clone(), owner: owner.to_owned(), name: name.to_owned() };
        let mut world = self.world.lock();
        if world.repo(owner, name).is_none() {
            let id = world.id();
            world.users.insert(owner.to_ascii_lowercase(), User { login: owner.to_owned(), id, kind: "Organization" });
            let (owner, name, id) = (owner.to_owned(), name.to_owned(), world.id());
            let default_branch = "main".to_owned();
            world.repos.push(Repo { id, owner, name, default_branch, ..Repo::default() });
            drop(world);
            repository.commit("main", "Begin", "ann");
        }
        repository
    }

    /// Makes a person known: only who is known can be assigned to an issue.
    pub fn person(&self, login: &str) {
        let mut world = self.world.lock();
        let id = world.id();
        world.users.insert(login.to_ascii_lowercase(), User { login: login.to_owned(), id, kind: "User" });
    }

    /// Makes a team with these members.
    pub fn team(&self, organisation: &str, slug: &str, members: &[&str]) {
        let members = members.iter().map(|login| ((*login).to_owned(), "active")).collect();
        self.world.lock().teams.insert((organisation.to_ascii_lowercase(), slug.to_owned()), members);
    }

    /// Invites somebody to a team, who has not accepted yet.
    ///
    /// # Panics
    /// When there is no such team.
    pub fn invite(&self, organisation: &str, slug: &str, login: &str) {
        let key = (organisation.to_ascii_lowercase(), slug.to_owned());
        self.world.lock().teams.get_mut(&key).expect("the team is there").insert(login.to_owned(), "pending");
    }

    /// A job's token that may do whatever a job's token can.
    #[must_use]
    pub fn job_token(&self) -> String {
        self.job_token_with(&OF_THE_JOB.map(|name| (name, "write")))
    }

    /// A job's token with these permissions, e.g. `("deployments", "write")`; one for a fork has only `read`.
    #[must_use]
    pub fn job_token_with(&self, permissions: &[(&str, &str)]) -> String {
        self.token("ghs_", "github-actions[bot]", permissions, false)
    }

    /// A person's token, or one of an App, that may do everything, reading teams too.
    #[must_use]
    pub fn person_token(&self, login: &str) -> String {
        let mut permissions = OF_THE_JOB.map(|name| (name, "write")).to_vec();
        permissions.push(("members", "read"));
        self.token("ghp_", login, &permissions, true)
    }

    fn token(&self, prefix: &str, login: &str, permissions: &[(&str, &str)], of_person: bool) -> String {
        let text = format!("{prefix}{}", crate::random::hex(18));
        let mut world = self.world.lock();
        let named = |(name, access): &(&str, &str)| ((*name).to_owned(), (*access).to_owned());
        let token = Token {
            login: login.to_owned(),
            of_person,
            permissions: permissions.iter().map(named).collect::<BTreeMap<_, _>>(),
            sees_private: true,
            limit: LIMIT,
            remaining: LIMIT,
            resets_at: world.now() + TimeDelta::hours(1),
            expires_at: None,
        };
        world.tokens.insert(text.clone(), token);
        text
    }

    fn change_token(&self, token: &str, change: impl FnOnce(&mut Token)) {
        change(self.world.lock().tokens.get_mut(token).expect("the token is there"));
    }

    /// Lets a token be good no longer.
    pub fn expire(&self, token: &str) {
        self.change_token(token, |token| token.expires_at = Some(DateTime::UNIX_EPOCH));
    }

    /// Takes a token the sight of private repositories.
    pub fn blind(&self, token: &str) {
        self.change_token(token, |token| token.sees_private = false);
    }

    /// Sets how many requests a token has left, and when it has all of them again.
    pub fn set_remaining(&self, token: &str, remaining: u64, resets_in: Duration) {
        let resets_at = self.now() + TimeDelta::from_std(resets_in).expect("a wait that can be told");
        self.change_token(token, |token| {
            token.remaining = remaining;
            token.resets_at = resets_at;
        });
    }

    /// How many requests a token has left.
    #[must_use]
    pub fn remaining(&self, token: &str) -> u64 {
        self.world.lock().tokens.get(token).map_or(0, |token| token.remaining)
    }

    /// What time it is there.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.world.lock().now()
    }

    /// Sets the clock forward.
    pub fn advance(&self, time: Duration) {
        self.world.lock().ahead += TimeDelta::from_std(time).expect("a time that can be told");
    }

    /// Changes how it behaves, from the next request on.
    pub fn configure(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.world.lock().settings);
    }

    /// GitHub's own records of what runs where.
    #[must_use]
    pub fn deployment_records(&self) -> Vec<Value> {
        self.world.lock().records.clone()
    }

    /// Makes requests go wrong as the rule says. The path is below the API's address.
    pub fn fault(&self, rule: Rule) -> Fault {
        self.front.rules.add(rule)
    }

    /// Takes all rules back.
    pub fn clear_faults(&self) {
        self.front.rules.clear();
    }

    /// Makes requests to the storage of bundles go wrong.
    pub fn storage_fault(&self, rule: Rule) -> Fault {
        self.storage.rules.add(rule)
    }

    /// All requests so far, in the order of their arrival.
    #[must_use]
    pub fn log(&self) -> Vec<Entry> {
        self.front.log.entries()
    }

    /// All requests to the storage of bundles so far.
    #[must_use]
    pub fn storage_log(&self) -> Vec<Entry> {
        self.storage.log.entries()
    }

    /// All requests so far that no fault has kept away, with headers and bodies.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.world.lock().received.clone()
    }

    /// Forgets the requests so far.
    pub fn clear_log(&self) {
        self.front.log.clear();
        self.world.lock().received.clear();
    }
}

/// GitHub's answer to too much at once; how long it lasts is said only sometimes.
#[must_use]
pub fn secondary_limit(retry_after: Option<u64>) -> Answer {
    let message = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.";
    let answer = message_answer(403, message);
    match retry_after {
        Some(seconds) => answer.header("retry-after", &seconds.to_string()),
        None => answer,
    }
}

/// An error as GitHub writes it.
#[must_use]
pub fn message_answer(status: u16, message: &str) -> Answer {
    let body = json!({"message": message, "documentation_url": DOCUMENTATION, "status": status.to_string()});
    Answer::status(status).header("content-type", "application/json; charset=utf-8").body(body.to_string())
}

/// The number of the next issue or pull request.
fn next_number(repo: &Repo) -> u64 {
    let issues = repo.issues.iter().map(|issue| issue.number);
    issues.chain(repo.pulls.iter().map(|pull| pull.number)).max().unwrap_or(0) + 1
}

/// The bundles of attestations: whoever has the address may have them.
fn blob(world: &Shared, request: &Request<Body>) -> Response<Body> {
    let path = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let found = world.lock().blobs.get(path).cloned();
    let mut response = Response::new(Body::from(found.clone().unwrap_or_default()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-snappy"));
    if found.is_none() {
        *response.status_mut() = http::StatusCode::NOT_FOUND;
    }
    response
}

async fn answer(shared: &Shared, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_else(|_| Bytes::new());
    let mut world = shared.lock();
    let whole = parts.uri.path();
    let (prefix, path) = whole.strip_prefix(ENTERPRISE).map_or(("", whole), |path| (ENTERPRISE, path));
    let query = parts.uri.query().unwrap_or_default();
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    world.received.push(Received {
        method: parts.method.to_string(),
        target: if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") },
        headers: parts.headers.clone(),
        body: body.clone(),
    });
    let query: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let base = format!("{}{prefix}", base(&parts.headers));
    let here = format!("{base}{path}");
    let (reply, login) = match access::admit(&mut world, &parts.headers) {
        Err(refusal) => (refusal, None),
        Ok(token) => {
            let decode = |segment: &str| percent_decode_str(segment).decode_utf8_lossy().into_owned();
            let call = Call {
                segments: path.trim_start_matches('/').split('/').map(decode).collect(),
                query: query.clone(),
                path: path.to_owned(),
                body,
                base,
                now: world.now(),
                token,
            };
            let login = call.token.login.clone();
            (access::limits(&call.token, handle(&mut world, parts.method.as_str(), &call)), Some(login))
        }
    };
    let date = world.now().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let reply = reply.header("date", &date).header("x-github-api-version-selected", "2022-11-28");
    let (mut response, unchanged) = reply.finish(&query, &here, &parts.headers, world.settings.link_when_unchanged);
    if unchanged {
        access::give_back(&mut world, &parts.headers);
    }
    if let Some(login) = login {
        response.extensions_mut().insert(Caller(login));
    }
    response
}

fn handle(world: &mut World, method: &str, call: &Call) -> Reply {
    let segments: Vec<&str> = call.segments.iter().map(String::as_str).collect();
    let Some((needed, handler)) = routes::route(method, &segments) else { return Reply::not_found() };
    let accepted = needed.map_or_else(|| "metadata=read".to_owned(), |(name, access)| format!("{name}={access}"));
    let told = |reply: Reply| reply.header("x-accepted-github-permissions", &accepted);
    if let ["repos", owner, name, ..] = segments[..] {
        match world.repo(owner, name) {
            Some(repo) if repo.private && !call.token.sees_private => return told(Reply::not_found()),
            Some(_) => {}
            None => return moved(world, method, call, owner, name),
        }
    }
    if !call.token.may(needed) {
        return told(access::forbidden());
    }
    told(handler(world, call))
}

/// A repository that is not there; or that has another name now, to which GitHub redirects.
fn moved(world: &World, method: &str, call: &Call, owner: &str, name: &str) -> Reply {
    let new =
        world.repos.iter().find(|repo| repo.owner.eq_ignore_ascii_case(owner) && repo.former_names.contains(name));
    let Some(new) = new else { return Reply::not_found() };
    let rest: String = call.path.split('/').skip(4).map(|segment| format!("/{segment}")).collect();
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(&call.query).finish();
    let query = if query.is_empty() { query } else { format!("?{query}") };
    let url = format!("{}/repos/{}/{}{rest}{query}", call.base, new.owner, new.name);
    let status = if method == "GET" { 301 } else { 307 };
    let body = json!({"message": "Moved Permanently", "url": url, "documentation_url": DOCUMENTATION});
    Reply::json(status, body).header("location", &url)
}

/// Scheme and host as the caller sees them; a proxy says them in `X-Forwarded-*`.
fn base(headers: &HeaderMap) -> String {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text("x-forwarded-host").or_else(|| text(header::HOST.as_str())).unwrap_or("localhost");
    format!("http://{host}{}", text("x-forwarded-prefix").unwrap_or_default())
}
