//! One request to GitHub: what it asks, and on which terms.

use std::time::Duration;

use http::Method;
use serde::Serialize;
use serde_json::Value;
use url::Url;

use super::error::GitHubError;
use super::permission::Needs;
use super::transport::Terms;

/// The most that is read of an answer. A comparison with many files is the largest that occurs.
pub(super) const BODY_LIMIT: usize = 16 * 1024 * 1024;

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Whether a request may be sent again when it is not known what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Yes: twice is the same as once.
    Harmless,
    /// No: it may have been carried out, and again would make a second one.
    OnlyIfRefused,
}

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: Method,
    /// The address, whole.
    pub(super) url: Url,
    pub(super) body: Option<Value>,
    /// What is going on, in words, for errors.
    pub(super) what: String,
    /// What the token needs for it, where GitHub does not say so itself.
    pub(super) needs: Needs,
    pub(super) repeat: Repeat,
    pub(super) terms: Terms,
}

impl Request {
    /// A request to an address. Reading, replacing and deleting are harmless to repeat, the rest is not.
    pub(super) fn new(method: Method, url: Url, class: &'static str, what: impl Into<String>) -> Self {
        let harmless = matches!(method, Method::GET | Method::HEAD | Method::PUT | Method::DELETE);
        let repeat = if harmless { Repeat::Harmless } else { Repeat::OnlyIfRefused };
        let terms = Terms { class, body_limit: BODY_LIMIT, timeout: TIMEOUT, anonymous: false };
        Self { method, url, body: None, what: what.into(), needs: Needs::default(), repeat, terms }
    }

    /// The same, with a value in its query.
    pub(super) fn query(mut self, name: &str, value: &str) -> Self {
        self.url.query_pairs_mut().append_pair(name, value);
        self
    }

    /// The same, with a body.
    pub(super) fn json(mut self, body: &impl Serialize) -> Result<Self, GitHubError> {
        let value = serde_json::to_value(body).map_err(|error| GitHubError::Invalid(error.to_string()))?;
        self.body = Some(value);
        Ok(self)
    }

    /// The same, with what the token needs for it.
    pub(super) fn needs(mut self, name: &str, access: &str) -> Self {
        self.needs = Needs::one(name, access);
        self
    }

    /// The same, harmless to repeat: it sets something to a value, or asks for what is so already.
    pub(super) fn harmless(mut self) -> Self {
        self.repeat = Repeat::Harmless;
        self
    }

    /// The same, without the token, and with another cap on its answer.
    pub(super) fn anonymous(mut self, body_limit: usize) -> Self {
        self.terms.anonymous = true;
        self.terms.body_limit = body_limit;
        self
    }
}

/// An address below the API's, each segment encoded: a slash in an environment's name does not become another segment.
///
/// # Errors
/// When a segment is empty, or would lead elsewhere.
pub(super) fn address(base: &Url, segments: &[&str]) -> Result<Url, GitHubError> {
    let mut url = base.clone();
    for segment in segments {
        if segment.is_empty() || matches!(*segment, "." | "..") || segment.chars().any(char::is_control) {
            return Err(GitHubError::Invalid(format!("`{}` is not a name on GitHub", segment.escape_debug())));
        }
        // `.` and `..` are skipped by `push`, and everything else is kept whole.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push(segment);
        }
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn base() -> Url {
        Url::parse("https://ghes.acme.test/api/v3").unwrap()
    }

    #[test]
    fn names_stay_one_segment() {
        let url = address(&base(), &["repos", "acme", "api", "environments", "Prod / EU 100%?#"]).unwrap();
        assert_eq!(
            url.as_str(),
            "https://ghes.acme.test/api/v3/repos/acme/api/environments/Prod%20%2F%20EU%20100%25%3F%23"
        );
        let root = Url::parse("https://api.github.com").unwrap();
        assert_eq!(address(&root, &["user"]).unwrap().as_str(), "https://api.github.com/user");
        for bad in ["", ".", "..", "a\nb"] {
            assert!(address(&base(), &["repos", bad]).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_name_leads_elsewhere(name in any::<String>(), last in "[a-z]{1,5}") {
            if let Ok(url) = address(&base(), &["environments", &name, &last]) {
                prop_assert_eq!(url.origin(), base().origin());
                let segments: Vec<&str> = url.path_segments().unwrap().collect();
                prop_assert_eq!(segments.len(), 5);
                prop_assert_eq!(segments[4], last);
                prop_assert!(url.query().is_none() && url.fragment().is_none());
            }
        }
    }
}
