//! The one client: what is sent, how often, and what an answer means.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;
use http::header::{ETAG, HeaderValue, IF_NONE_MATCH, LINK};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt as _;
use octocrab::{AuthState, Octocrab, OctocrabBuilder};
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::cache::{Cache, Entry};
use super::error::GitHubError;
use super::identity::Identity;
use super::limits::{Throttle, throttle};
use super::permission::Needs;
use super::request::{Repeat, Request, address};
use super::transport::{Transport, TransportError};
use crate::promotion::event::{Event, Traffic};
use crate::promotion::retry::{RetryClass, RetryPolicy};

/// The longest wait for a rate limit; one that lasts longer ends the request at once.
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);

/// How much of what GitHub says about an error is kept, in characters.
const MESSAGE_LENGTH: usize = 500;

/// Told of each failed attempt that is followed by another, as [`Event::Retried`].
pub type Observer = Arc<dyn Fn(Event) + Send + Sync>;

/// What a client is made of.
#[derive(Clone)]
pub struct Settings {
    /// The API's address, from `GITHUB_API_URL`.
    pub api_url: String,
    /// The token; without one only what is public can be read.
    pub token: Option<SecretString>,
    /// How often and how patiently something is tried.
    pub retry: RetryPolicy,
    /// When everything has to be over.
    pub deadline: Option<Instant>,
    /// Who is told of retries.
    pub observer: Option<Observer>,
}

/// GitHub's REST API.
///
/// What is asked of it is bounded in every way: in time, by the deadline and by a timeout for each request; in size; in
/// repetitions. A request that creates something is never repeated blindly, because an error does not say that it was
/// not carried out: first it is looked whether the thing is there.
pub struct GitHub {
    octocrab: Octocrab,
    transport: Transport,
    retry: RetryPolicy,
    deadline: Option<Instant>,
    observer: Option<Observer>,
    cache: Mutex<Cache>,
    /// Until when a rate limit lasts that an answer has told of.
    limited: Mutex<Option<(Instant, Throttle)>>,
    /// Whether GitHub has accepted the token once.
    accepted: AtomicBool,
    identity: OnceCell<Identity>,
    /// Whether this GitHub tells which run a dispatch has started, as far as is known.
    pub(super) tells_runs: AtomicBool,
}

/// An answer that is a success.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) link: Option<HeaderValue>,
    pub(super) body: Bytes,
}

/// Why one attempt failed, and so whether there may be another.
enum Failure {
    /// It was not carried out, because of a limit.
    Throttled(Throttle),
    /// It may go better the next time.
    Passing {
        /// Whether anybody may have seen the request.
        sent: bool,
        /// The status of the answer, if there is one.
        status: Option<u16>,
        /// What went wrong.
        why: String,
    },
    /// It will fail again.
    Final(GitHubError),
}

impl GitHub {
    /// A client. It must be made inside a Tokio runtime.
    ///
    /// # Errors
    /// [`GitHubError::Invalid`] when the address cannot be sent a token, or the token is not one.
    pub fn new(settings: Settings) -> Result<Self, GitHubError> {
        let transport = Transport::new(&settings.api_url, settings.token.as_ref())
            .map_err(|error| GitHubError::Invalid(error.to_string()))?;
        let identity = settings.token.as_ref().and_then(Identity::of_token);
        let octocrab = OctocrabBuilder::new_empty().with_service(transport.clone()).with_auth(AuthState::None).build();
        let octocrab = match octocrab {
            Ok(octocrab) => octocrab,
            Err(never) => match never {},
        };
        Ok(Self {
            octocrab,
            transport,
            retry: settings.retry,
            deadline: settings.deadline,
            observer: settings.observer,
            cache: Mutex::default(),
            limited: Mutex::default(),
            accepted: AtomicBool::new(false),
            identity: OnceCell::new_with(identity),
            tells_runs: AtomicBool::new(true),
        })
    }

    /// What was sent and received so far. Requests are counted by resource, e.g. `github/checks`, and their sum is what a
    /// proxy between us and GitHub would log: each that was sent counts, repetitions and redirects too.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.transport.traffic()
    }

    /// Who we are to GitHub. Asked at most once, and not at all with a job's token.
    ///
    /// # Errors
    /// What GitHub says.
    pub async fn identity(&self) -> Result<&Identity, GitHubError> {
        self.identity.get_or_try_init(|| self.ask_identity()).await
    }

    /// A request to an address below the API's.
    pub(super) fn request(
        &self,
        method: Method,
        segments: &[&str],
        class: &'static str,
        what: impl Into<String>,
    ) -> Result<Request, GitHubError> {
        Ok(Request::new(method, address(self.transport.base(), segments)?, class, what))
    }

    /// A request that reads.
    pub(super) fn get(
        &self,
        segments: &[&str],
        class: &'static str,
        what: impl Into<String>,
    ) -> Result<Request, GitHubError> {
        self.request(Method::GET, segments, class, what)
    }

    /// The API's address.
    pub(super) fn base(&self) -> &url::Url {
        self.transport.base()
    }

    /// How often something is tried.
    pub(super) const fn attempts(&self) -> u32 {
        self.retry.attempts
    }

    /// Sends a request and reads its answer as JSON.
    pub(super) async fn fetch<T: DeserializeOwned>(&self, request: &Request) -> Result<T, GitHubError> {
        decode(&self.send(request).await?.body, &request.what)
    }

    /// The same; nothing where there is nothing, or nothing that the token may see.
    pub(super) async fn find<T: DeserializeOwned>(&self, request: &Request) -> Result<Option<T>, GitHubError> {
        match self.fetch(request).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates something, once: when it is not known whether a request was carried out, `look` tells whether the thing
    /// is there, and only if it is not the request is sent again.
    pub(super) async fn create<T, L, F>(&self, request: &Request, mut look: L) -> Result<T, GitHubError>
    where
        T: DeserializeOwned,
        L: FnMut() -> F,
        F: Future<Output = Result<Option<T>, GitHubError>>,
    {
        let mut attempt = 1;
        loop {
            let error = match self.fetch(request).await {
                Err(error) if error.may_have_been_done() => error,
                settled => return settled,
            };
            let uncertain =
                |why: String| GitHubError::Uncertain { what: request.what.clone(), why: format!("{error}; {why}") };
            let again = self.retry.wait(attempt, RetryClass::Passing { after: None }, rand::random());
            // What was just made may take a moment to be seen.
            self.pause(again.unwrap_or(self.retry.initial), request)
                .await
                .map_err(|_| uncertain("there is no time to look".to_owned()))?;
            match look().await {
                Ok(Some(found)) => return Ok(found),
                Ok(None) if again.is_some() => {
                    self.tell(request, attempt, again.unwrap_or_default(), &error.to_string())
                }
                Ok(None) => return Err(uncertain("it was not found".to_owned())),
                Err(looking) => return Err(uncertain(looking.to_string())),
            }
            attempt += 1;
        }
    }

    /// Sends a request until it has an answer that settles it.
    pub(super) async fn send(&self, request: &Request) -> Result<Answer, GitHubError> {
        let mut attempt = 1;
        let mut throttled = 0;
        loop {
            self.wait_for_limit(request).await?;
            let failure = match self.attempt(request, throttled).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            match failure {
                Failure::Final(error) => return Err(error),
                Failure::Throttled(limit) => {
                    throttled += 1;
                    let class = RetryClass::Passing { after: Some(limit.wait) };
                    let Some(wait) = self.retry.wait(throttled, class, rand::random()) else {
                        return Err(out_of_patience(request, limit));
                    };
                    let until = Instant::now() + wait;
                    *lock(&self.limited) = Some((until, limit));
                    self.tell(request, throttled, wait, &format!("GitHub's {} rate limit is reached", limit.limit));
                }
                Failure::Passing { sent, status, why } => {
                    let wait = self.retry.wait(attempt, RetryClass::Passing { after: None }, rand::random());
                    let may_repeat = !sent || request.repeat == Repeat::Harmless;
                    if may_repeat && self.is_past_deadline(Duration::ZERO) {
                        return Err(GitHubError::OutOfTime { what: request.what.clone(), why });
                    }
                    let Some(wait) = wait.filter(|wait| may_repeat && !self.is_past_deadline(*wait)) else {
                        return Err(gave_up(request, status, why, attempt));
                    };
                    self.tell(request, attempt, wait, &why);
                    tokio::time::sleep(wait).await;
                    attempt += 1;
                }
            }
        }
    }

    /// Forgets the answer that is kept for a request.
    pub(super) fn forget(&self, url: &url::Url) {
        lock(&self.cache).forget(url);
    }

    /// Waits, if that ends before the deadline.
    pub(super) async fn pause(&self, wait: Duration, request: &Request) -> Result<(), GitHubError> {
        if self.is_past_deadline(wait) {
            let why = format!("the deadline comes before a wait of {} ends", humantime::format_duration(wait));
            return Err(GitHubError::OutOfTime { what: request.what.clone(), why });
        }
        tokio::time::sleep(wait).await;
        Ok(())
    }

    async fn wait_for_limit(&self, request: &Request) -> Result<(), GitHubError> {
        let Some((until, limit)) = *lock(&self.limited) else { return Ok(()) };
        let wait = until.saturating_duration_since(Instant::now());
        if wait.is_zero() {
            return Ok(());
        }
        if wait > LONGEST_WAIT || self.is_past_deadline(wait) {
            return Err(out_of_patience(request, Throttle { wait, ..limit }));
        }
        tokio::time::sleep(wait).await;
        Ok(())
    }

    fn is_past_deadline(&self, wait: Duration) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() + wait >= deadline)
    }

    fn tell(&self, request: &Request, attempt: u32, wait: Duration, because: &str) {
        tracing::debug!(what = %request.what, attempt, ?wait, because, "trying again");
        if let Some(observer) = &self.observer {
            observer(Event::Retried {
                what: request.what.clone(),
                attempt,
                wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                because: because.to_owned(),
            });
        }
    }

    /// Sends a request once.
    async fn attempt(&self, request: &Request, throttled: u32) -> Result<Answer, Failure> {
        let cached = if request.method == Method::GET { lock(&self.cache).get(&request.url) } else { None };
        let response = self.carry(request, cached.as_ref()).await?;
        let (parts, body) = response.into_parts();
        tracing::debug!(what = %request.what, status = parts.status.as_u16(), "GitHub");
        let body = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => return Err(Failure::Final(nonsense(&request.what, error.to_string()))),
        };
        if parts.status.is_success() {
            self.accepted.store(true, Ordering::Relaxed);
            return Ok(self.take(request, parts.status, &parts.headers, body));
        }
        if let (StatusCode::NOT_MODIFIED, Some(entry)) = (parts.status, cached) {
            let link = parts.headers.get(LINK).cloned().or(entry.link);
            return Ok(Answer { status: StatusCode::OK, link, body: entry.body });
        }
        let message = message(parts.status, &parts.headers, &body).await;
        if let Some(limit) = throttle(parts.status, &parts.headers, &message, throttled, Utc::now()) {
            return Err(Failure::Throttled(limit));
        }
        Err(self.refusal(request, parts.status, &parts.headers, message))
    }

    async fn carry(
        &self,
        request: &Request,
        cached: Option<&Entry>,
    ) -> Result<http::Response<http_body_util::combinators::BoxBody<Bytes, octocrab::Error>>, Failure> {
        let mut terms = request.terms.clone();
        if let Some(deadline) = self.deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let why = "the deadline has passed".to_owned();
                return Err(Failure::Final(GitHubError::OutOfTime { what: request.what.clone(), why }));
            }
            terms.timeout = terms.timeout.min(left);
        }
        let mut builder =
            http::Request::builder().method(request.method.clone()).uri(request.url.as_str()).extension(terms);
        if let Some(entry) = cached {
            builder = builder.header(IF_NONE_MATCH, &entry.etag);
        }
        let invalid = |error: octocrab::Error| Failure::Final(GitHubError::Invalid(error.to_string()));
        let built = self.octocrab.build_request(builder, request.body.as_ref()).map_err(invalid)?;
        self.octocrab.execute(built).await.map_err(|error| failure_of(request, error))
    }

    /// Takes in a success.
    fn take(&self, request: &Request, status: StatusCode, headers: &HeaderMap, body: Bytes) -> Answer {
        let link = headers.get(LINK).cloned();
        if let (&Method::GET, Some(etag)) = (&request.method, headers.get(ETAG)) {
            let entry = Entry { etag: etag.clone(), link: link.clone(), body: body.clone() };
            lock(&self.cache).put(&request.url, entry);
        }
        Answer { status, link, body }
    }

    /// What an answer means that is neither a success nor a limit.
    fn refusal(&self, request: &Request, status: StatusCode, headers: &HeaderMap, message: String) -> Failure {
        let what = request.what.clone();
        let needs = || {
            let told = headers.get("x-accepted-github-permissions").and_then(|text| text.to_str().ok());
            told.map(Needs::of_header).filter(|needs| !needs.is_unknown()).unwrap_or_else(|| request.needs.clone())
        };
        if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT {
            return Failure::Passing { sent: true, status: Some(status.as_u16()), why: message };
        }
        Failure::Final(match status {
            StatusCode::UNAUTHORIZED => GitHubError::TokenRefused {
                what,
                given: self.transport.has_token() && !request.terms.anonymous,
                expired: self.accepted.load(Ordering::Relaxed),
            },
            StatusCode::FORBIDDEN if is_about_permission(&message) => {
                GitHubError::Forbidden { what, needs: needs(), message }
            }
            StatusCode::NOT_FOUND => GitHubError::Absent { what, needs: needs() },
            _ if status.is_client_error() => GitHubError::Refused { what, status: status.as_u16(), message },
            _ => nonsense(&request.what, format!("it answers {}", status.as_u16())),
        })
    }
}

impl fmt::Debug for GitHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GitHub").field("api", &self.transport.base().as_str()).finish_non_exhaustive()
    }
}

/// Reads JSON.
pub(super) fn decode<T: DeserializeOwned>(body: &[u8], what: &str) -> Result<T, GitHubError> {
    serde_json::from_slice(body).map_err(|error| nonsense(what, error.to_string()))
}

pub(super) fn nonsense(what: &str, why: String) -> GitHubError {
    GitHubError::Nonsense { what: what.to_owned(), why }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn out_of_patience(request: &Request, limit: Throttle) -> GitHubError {
    GitHubError::Throttled { what: request.what.clone(), limit: limit.limit, wait: limit.wait }
}

fn gave_up(request: &Request, status: Option<u16>, why: String, attempts: u32) -> GitHubError {
    let what = request.what.clone();
    match status {
        Some(status) => GitHubError::Failing { what, status, message: why, attempts },
        None => GitHubError::Unreachable { what, why, attempts },
    }
}

/// What an error of the transport means, which octocrab hands on in a wrapping.
fn failure_of(request: &Request, error: octocrab::Error) -> Failure {
    let what = request.what.clone();
    let passing = |sent, why| Failure::Passing { sent, status: None, why };
    let octocrab::Error::Service { source, .. } = error else {
        return Failure::Final(GitHubError::Unreachable { what, why: error.to_string(), attempts: 1 });
    };
    match source.downcast::<TransportError>() {
        Err(other) => passing(true, other.to_string()),
        Ok(error) => match *error {
            TransportError::NotSent(why) => passing(false, why),
            TransportError::Lost(why) => passing(true, why),
            TransportError::Unusable(why) => Failure::Final(GitHubError::Invalid(why)),
            too_large @ TransportError::TooLarge(_) => Failure::Final(nonsense(&what, too_large.to_string())),
            TransportError::Redirected(why) => Failure::Final(GitHubError::Redirected { what, why }),
        },
    }
}

/// What GitHub says about an error, in one text.
async fn message(status: StatusCode, headers: &HeaderMap, body: &Bytes) -> String {
    let html = headers.get(http::header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if html || body.is_empty() {
        return if html { "a page for people".to_owned() } else { String::new() };
    }
    let whole = http_body_util::Full::new(body.clone()).map_err(|never| match never {}).boxed();
    let mut response = http::Response::new(whole);
    *response.status_mut() = status;
    let Err(octocrab::Error::GitHub { source, .. }) = octocrab::map_github_error(response).await else {
        return String::new();
    };
    let mut text = source.message.clone();
    for detail in source.errors.iter().flatten() {
        let field = |name: &str| detail.get(name).and_then(serde_json::Value::as_str);
        let said = detail.as_str().or_else(|| field("message")).map(ToOwned::to_owned);
        let said =
            said.unwrap_or_else(|| [field("field"), field("code")].into_iter().flatten().collect::<Vec<_>>().join(" "));
        text.push_str("; ");
        text.push_str(&said);
    }
    text.chars().take(MESSAGE_LENGTH).collect()
}

/// A 403 is also GitHub's answer where no permission would help.
fn is_about_permission(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    !["archived", "suspended", "disabled", "blocked"].iter().any(|word| message.contains(word))
}
