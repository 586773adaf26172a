//! Faults on demand: rules that say which requests go wrong, and how.
//!
//! ```
//! use std::time::Duration;
//! use testbed::fault::{Action, Answer, Rule};
//! use testbed::registry::Registry;
//!
//! let registry = Registry::start();
//! // The second PUT of a manifest is refused once, as GHCR refuses it.
//! registry.fault(Rule::on("PUT", "/v2/*/manifests/*").nth(2).act(Action::Answer(Answer::ghcr_rate_limit())));
//! // Every mount takes its time.
//! registry.fault(Rule::on("POST", "/v2/*/blobs/uploads/?*mount=*").act(Action::Delay(Duration::from_millis(5))));
//! ```

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde_json::json;

/// Which requests go wrong, and how.
///
/// All rules that match a request act on it, in the order in which they were added.
#[derive(Debug, Clone)]
pub struct Rule {
    methods: String,
    pattern: String,
    skip: u32,
    times: Option<u32>,
    actions: Vec<Action>,
}

impl Rule {
    /// A rule for every request with this method (`*` for any, `GET|HEAD` for several) and this path.
    ///
    /// In the pattern `*` stands for any text, slashes too. A pattern with `?` is compared with path and query, any
    /// other with the path alone.
    #[must_use]
    pub fn on(methods: &str, pattern: &str) -> Self {
        Self { methods: methods.into(), pattern: pattern.into(), skip: 0, times: None, actions: Vec::new() }
    }

    /// Leaves the first `count` matching requests alone.
    #[must_use]
    pub const fn skip(mut self, count: u32) -> Self {
        self.skip = count;
        self
    }

    /// Acts on so many matching requests, and then no more.
    #[must_use]
    pub const fn times(mut self, count: u32) -> Self {
        self.times = Some(count);
        self
    }

    /// Acts on the nth matching request only, counted from 1.
    #[must_use]
    pub const fn nth(self, number: u32) -> Self {
        self.skip(number - 1).times(1)
    }

    /// What happens; several actions happen in their order.
    #[must_use]
    pub fn act(mut self, action: Action) -> Self {
        self.actions.push(action);
        self
    }

    fn matches(&self, method: &str, target: &str) -> bool {
        let compared = if self.pattern.contains('?') { target } else { target.split('?').next().unwrap_or_default() };
        self.methods.split('|').any(|one| one == "*" || one == method) && glob(&self.pattern, compared)
    }
}

/// Whether the text matches the pattern, in which `*` stands for any text.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == text };
    text.strip_prefix(head)
        .is_some_and(|rest| (0..=rest.len()).any(|at| rest.get(at..).is_some_and(|rest| glob(tail, rest))))
}

/// What happens to a request or its answer.
#[derive(Clone)]
pub enum Action {
    /// This answer, instead of the server's; the request changes nothing.
    Answer(Answer),
    /// A redirect with this status to the same path and query below this address, e.g. `http://127.0.0.1:4000`.
    Redirect(u16, String),
    /// The request waits before it is looked at.
    Delay(Duration),
    /// The request is never answered; it changes nothing.
    Hang,
    /// The connection is closed without an answer; the request changes nothing.
    Drop,
    /// The request is carried out, and the connection closed without an answer.
    LoseAnswer,
    /// The request is carried out, and this answer given instead of the server's, e.g. a gateway's 502.
    Disguise(Answer),
    /// The answer breaks off after so many bytes of its body.
    Truncate(usize),
    /// The answer stops after so many bytes of its body, and the connection stays open.
    Stall(usize),
    /// The answer's body, as long as it should be, with one byte changed.
    Corrupt,
    /// The answer's body is this one.
    Replace(Bytes),
    /// The answer gets this header; one that it has is replaced.
    SetHeader(&'static str, String),
    /// The answer loses this header.
    RemoveHeader(&'static str),
    /// Something of the test's own, before the request is looked at, e.g. moving a tag.
    Call(Arc<dyn Fn() + Send + Sync>),
    /// Something of the test's own, after the request was carried out and before the answer is sent.
    CallAfter(Arc<dyn Fn() + Send + Sync>),
}

impl Action {
    /// [`Action::Call`] of a closure.
    pub fn call(closure: impl Fn() + Send + Sync + 'static) -> Self {
        Self::Call(Arc::new(closure))
    }

    /// [`Action::CallAfter`] of a closure.
    pub fn call_after(closure: impl Fn() + Send + Sync + 'static) -> Self {
        Self::CallAfter(Arc::new(closure))
    }

    /// A `Docker-Content-Digest` that is well formed and not the content's.
    #[must_use]
    pub fn wrong_digest() -> Self {
        Self::SetHeader("docker-content-digest", crate::digest::sha256(b"something else"))
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(answer) => formatter.debug_tuple("Answer").field(&answer.status).finish(),
            Self::Disguise(answer) => formatter.debug_tuple("Disguise").field(&answer.status).finish(),
            Self::Redirect(status, to) => formatter.debug_tuple("Redirect").field(status).field(to).finish(),
            Self::Delay(time) => formatter.debug_tuple("Delay").field(time).finish(),
            Self::Truncate(length) => formatter.debug_tuple("Truncate").field(length).finish(),
            Self::Stall(length) => formatter.debug_tuple("Stall").field(length).finish(),
            Self::SetHeader(name, value) => formatter.debug_tuple("SetHeader").field(name).field(value).finish(),
            Self::RemoveHeader(name) => formatter.debug_tuple("RemoveHeader").field(name).finish(),
            Self::Replace(body) => formatter.debug_tuple("Replace").field(&body.len()).finish(),
            Self::Hang => formatter.write_str("Hang"),
            Self::Drop => formatter.write_str("Drop"),
            Self::LoseAnswer => formatter.write_str("LoseAnswer"),
            Self::Corrupt => formatter.write_str("Corrupt"),
            Self::Call(_) => formatter.write_str("Call"),
            Self::CallAfter(_) => formatter.write_str("CallAfter"),
        }
    }
}

/// An answer that a rule gives instead of the server.
#[derive(Debug, Clone)]
pub struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

impl Answer {
    /// An answer without a body.
    #[must_use]
    pub const fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new() }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// An error of the distribution API.
    #[must_use]
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let body = json!({"errors": [{"code": code, "message": message}]}).to_string();
        Self::status(status).header("content-type", "application/json").body(body)
    }

    /// A page for people, as proxies and gateways give.
    #[must_use]
    pub fn html(status: u16) -> Self {
        let page = format!(
            "<!DOCTYPE html>\n<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>\n"
        );
        Self::status(status).header("content-type", "text/html; charset=utf-8").body(page)
    }

    /// 429 with `Retry-After` in seconds.
    #[must_use]
    pub fn retry_after_seconds(seconds: u64) -> Self {
        Self::error(429, "TOOMANYREQUESTS", "too many requests").header("retry-after", &seconds.to_string())
    }

    /// 429 with `Retry-After` as a date that is so far away (RFC 9110, section 10.2.3). HTTP dates have whole seconds.
    #[must_use]
    pub fn retry_after_date(delay: Duration) -> Self {
        let date = chrono::DateTime::<chrono::Utc>::from(SystemTime::now() + delay);
        Self::error(429, "TOOMANYREQUESTS", "too many requests")
            .header("retry-after", &date.format("%a, %d %b %Y %H:%M:%S GMT").to_string())
    }

    /// GHCR's 429: no header, and how long to wait as a Go duration inside the message.
    #[must_use]
    pub fn ghcr_rate_limit() -> Self {
        Self::error(429, "TOOMANYREQUESTS", "retry-after: 12.5ms, allowed: 2000/minute")
    }

    /// GHCR's secondary rate limit: a 403 that looks like a missing permission.
    #[must_use]
    pub fn ghcr_secondary_limit() -> Self {
        Self::error(
            403,
            "DENIED",
            "permission_denied: Error from intermediary with HTTP status code 403 \"Forbidden\": You have exceeded a \
             secondary rate limit. Please wait a few minutes before you try again.",
        )
    }

    /// GHCR's answer to a PATCH that is too large.
    #[must_use]
    pub fn ghcr_patch_too_large() -> Self {
        Self::error(416, "REQUESTED_RANGE_NOT_SATISFIABLE", "request body too large, maximum is 4.00MiB")
    }
}

/// The rules of a server.
#[derive(Clone, Default)]
pub(crate) struct Rules(Arc<Mutex<Vec<Active>>>);

struct Active {
    rule: Rule,
    matched: Arc<Mutex<u32>>,
}

/// A rule at work. The rule stays when this is dropped.
pub struct Fault {
    rules: Rules,
    matched: Arc<Mutex<u32>>,
    skip: u32,
    times: Option<u32>,
}

impl Fault {
    /// How many requests the rule has acted on.
    #[must_use]
    pub fn hits(&self) -> u32 {
        let beyond = lock(&self.matched).saturating_sub(self.skip);
        self.times.map_or(beyond, |times| beyond.min(times))
    }

    /// Takes the rule back.
    pub fn remove(&self) {
        lock(&self.rules.0).retain(|active| !Arc::ptr_eq(&active.matched, &self.matched));
    }
}

impl Rules {
    pub(crate) fn add(&self, rule: Rule) -> Fault {
        let matched = Arc::<Mutex<u32>>::default();
        let fault = Fault { rules: self.clone(), matched: Arc::clone(&matched), skip: rule.skip, times: rule.times };
        lock(&self.0).push(Active { rule, matched });
        fault
    }

    pub(crate) fn clear(&self) {
        lock(&self.0).clear();
    }

    /// Counts the request for every rule that matches, and gives the actions of those that act on it.
    pub(crate) fn actions(&self, method: &str, target: &str) -> Vec<Action> {
        let mut actions = Vec::new();
        for active in lock(&self.0).iter().filter(|active| active.rule.matches(method, target)) {
            let mut matched = lock(&active.matched);
            *matched += 1;
            let beyond = matched.saturating_sub(active.rule.skip);
            if beyond > 0 && active.rule.times.is_none_or(|times| beyond <= times) {
                actions.extend(active.rule.actions.iter().cloned());
            }
        }
        actions
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no thread panicked while it held the rules")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acts(rules: &Rules, method: &str, target: &str) -> bool {
        !rules.actions(method, target).is_empty()
    }

    #[test]
    fn rules_choose_by_method_path_and_query() {
        let rules = Rules::default();
        rules.add(Rule::on("GET|HEAD", "/v2/*/manifests/*").act(Action::Hang));
        rules.add(Rule::on("*", "/v2/*/blobs/uploads/?*mount=*").act(Action::Hang));
        assert!(acts(&rules, "HEAD", "/v2/a/b/manifests/x?n=1"));
        assert!(!acts(&rules, "PUT", "/v2/a/b/manifests/x"));
        assert!(acts(&rules, "POST", "/v2/a/blobs/uploads/?from=b&mount=sha256:0"));
        assert!(!acts(&rules, "POST", "/v2/a/blobs/uploads/"));
    }

    #[test]
    fn rules_count() {
        let rules = Rules::default();
        let fault = rules.add(Rule::on("*", "*").nth(2).act(Action::Drop));
        let acted: Vec<bool> = (0..4).map(|_| acts(&rules, "GET", "/")).collect();
        assert_eq!(acted, [false, true, false, false]);
        assert_eq!(fault.hits(), 1);
        fault.remove();
        rules.add(Rule::on("*", "*").skip(1).times(2).act(Action::Drop));
        let acted: Vec<bool> = (0..4).map(|_| acts(&rules, "GET", "/")).collect();
        assert_eq!(acted, [false, true, true, false]);
    }
}
