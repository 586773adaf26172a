//! What can go wrong with a registry, how an answer is read for it, and whether it may pass.

use std::time::Duration;

use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap};
use oci_distribution::errors::{OciEnvelope, OciErrorCode};

use super::patience;
use crate::promotion::digest::Digest;
use crate::promotion::fault::{Code, Fault};
use crate::promotion::retry::RetryClass;

/// The longest quotation of what a registry says about an error, in characters.
const QUOTATION: usize = 300;

/// The wait that GHCR's secondary limit asks for at the least; it does not say so itself, GitHub's documentation does
/// ("Rate limits for the REST API", "Exceeding the rate limit": wait for at least one minute, then exponentially).
const SECONDARY_LIMIT_WAIT: Duration = Duration::from_secs(60);

/// An operation on a registry that did not succeed: what was being done, what came in the way, and what was tried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot {doing}: {trouble}")]
pub struct RegistryError {
    /// What was being done, e.g. `read ghcr.io/acme/api:staging`.
    pub doing: String,
    /// What came in the way.
    pub trouble: Trouble,
    /// The failed attempts before the last one.
    pub tried: Vec<String>,
}

impl RegistryError {
    /// Trouble with something, at the first attempt.
    pub(super) fn new(doing: impl Into<String>, trouble: Trouble) -> Self {
        Self { doing: doing.into(), trouble, tried: Vec::new() }
    }

    /// Whether what was asked for is not there.
    #[must_use]
    pub const fn is_absent(&self) -> bool {
        matches!(self.trouble, Trouble::Absent { .. })
    }

    /// Whether what was asked for may not be there, as far as the registry lets us know: GHCR denies a package that does
    /// not exist. A target that is denied may be one that the first push creates; the push itself tells.
    #[must_use]
    pub const fn may_be_absent(&self) -> bool {
        matches!(self.trouble, Trouble::Absent { .. } | Trouble::Denied { .. })
    }

    /// Whether it lies in the content itself (absent, malformed, too large, not what its digest says), and not in the
    /// way to it: the candidate is bad, rather than that we could not tell.
    #[must_use]
    pub const fn is_about_content(&self) -> bool {
        self.trouble.is_about_content()
    }
}

/// What came in the way. Texts in it are the other side's: untrusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// It does not exist (404).
    #[error("it is not there ({says})")]
    Absent {
        /// What the registry says.
        says: String,
    },
    /// The registry denies it (401 or 403): it is absent, or we are not permitted to see it.
    #[error("the registry denies it: it does not exist, or {} not permitted to see it ({says})", who(*.anonymous))]
    Denied {
        /// Whether we had no credentials to give.
        anonymous: bool,
        /// What the registry says.
        says: String,
    },
    /// The registry does not let us write.
    #[error("{} not permitted to write there ({says})", who(*.anonymous))]
    PushDenied {
        /// Whether we had no credentials to give.
        anonymous: bool,
        /// What the registry says.
        says: String,
    },
    /// The registry does not know us by these credentials, or wants some and there are none.
    #[error("{says}")]
    CredentialsRefused {
        /// What happened.
        says: String,
    },
    /// Credentials are configured and cannot be had.
    #[error("the credentials cannot be read: {why}")]
    CredentialsUnreadable {
        /// Why.
        why: String,
    },
    /// No connection could be made, or no answer came.
    #[error("it cannot be reached: {why}")]
    Unreachable {
        /// Why.
        why: String,
    },
    /// Its certificate is not trusted.
    #[error("its certificate is not trusted: {why}")]
    Untrusted {
        /// Why.
        why: String,
    },
    /// It wants us to slow down (429, or GHCR's 403 for its secondary limit).
    #[error("it throttles ({says})")]
    Throttled {
        /// The wait it asks for.
        after: Option<Duration>,
        /// Whether it is GHCR's secondary limit, which takes minutes.
        secondary: bool,
        /// What it says.
        says: String,
    },
    /// It failed (5xx, or something that amounts to it).
    #[error("it failed ({says})")]
    Failed {
        /// The wait it asks for.
        after: Option<Duration>,
        /// What it says.
        says: String,
    },
    /// The connection broke inside an answer or a request.
    #[error("the connection broke: {why}")]
    Broken {
        /// Why.
        why: String,
    },
    /// Content ended before its declared size.
    #[error("the content ended after {got} of {wanted} bytes")]
    Truncated {
        /// The bytes that came.
        got: u64,
        /// The bytes that were declared.
        wanted: u64,
    },
    /// It answers something that the distribution specification does not allow.
    #[error("it does not answer as a registry does: {why}")]
    Nonsense {
        /// What.
        why: String,
    },
    /// It sends us to a place that is not safe to go to.
    #[error("it points to an address that is not followed: {why}")]
    UnsafeTarget {
        /// Where, and why not.
        why: String,
    },
    /// It does not take the content (400, 413, 415 and the like).
    #[error("it does not take the content ({says})")]
    Refused {
        /// What it says.
        says: String,
    },
    /// It does not take a manifest because something that it refers to is not in the repository.
    #[error("it says that content which the manifest refers to is missing ({says})")]
    Missing {
        /// What is missing, where it says so.
        digests: Vec<Digest>,
        /// What it says.
        says: String,
    },
    /// A manifest, a configuration or an index is larger than what is read.
    #[error("it is larger than {limit} bytes")]
    TooLarge {
        /// The most that is read.
        limit: usize,
    },
    /// A manifest, a configuration or an index is malformed.
    #[error("it is malformed: {why}")]
    Malformed {
        /// How.
        why: String,
    },
    /// Content does not have the digest under which it was asked for or put.
    #[error("its digest is {found}, and {wanted} was asked for")]
    DigestMismatch {
        /// The digest that it should have.
        wanted: Digest,
        /// The digest that it has.
        found: Digest,
    },
    /// Content is longer than it was declared to be.
    #[error("it has more than the {wanted} bytes that were declared")]
    Oversized {
        /// The bytes that were declared.
        wanted: u64,
    },
    /// What was written is not what is shown.
    #[error("{}", shown(.seen.as_ref(), .wanted))]
    NotSeen {
        /// What should be shown.
        wanted: Digest,
        /// What is.
        seen: Option<Digest>,
    },
    /// The deadline has passed, or would before another attempt.
    #[error("the deadline has passed")]
    Deadline,
}

const fn who(anonymous: bool) -> &'static str {
    if anonymous { "we, without credentials, are" } else { "we are" }
}

fn shown(seen: Option<&Digest>, wanted: &Digest) -> String {
    match seen {
        Some(seen) => format!("it still shows {seen} instead of {wanted}"),
        None => format!("it does not show {wanted} yet"),
    }
}

impl Trouble {
    /// Whether another attempt may succeed, after the failed attempt number `attempt` (from 1).
    pub(super) fn retry_class(&self, attempt: u32) -> RetryClass {
        match self {
            Self::Throttled { after, secondary: true, .. } => {
                let least = SECONDARY_LIMIT_WAIT.saturating_mul(1 << attempt.saturating_sub(1).min(10));
                RetryClass::Passing { after: Some(after.map_or(least, |after| after.max(least))) }
            }
            Self::Throttled { after, .. } | Self::Failed { after, .. } => RetryClass::Passing { after: *after },
            Self::Unreachable { .. } | Self::Broken { .. } | Self::Truncated { .. } | Self::NotSeen { .. } => {
                RetryClass::Passing { after: None }
            }
            _ => RetryClass::Final,
        }
    }

    const fn is_about_content(&self) -> bool {
        matches!(
            self,
            Self::Absent { .. }
                | Self::TooLarge { .. }
                | Self::Malformed { .. }
                | Self::DigestMismatch { .. }
                | Self::Oversized { .. }
        )
    }

    /// The fault of the catalogue.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Absent { .. } => Code::ImageAbsent,
            Self::Denied { .. } => Code::ImageDenied,
            Self::PushDenied { .. } => Code::PushDenied,
            Self::CredentialsRefused { .. } | Self::CredentialsUnreadable { .. } => Code::CredentialsRefused,
            Self::Unreachable { .. } | Self::Untrusted { .. } => Code::RegistryUnreachable,
            Self::Throttled { .. } => Code::RegistryThrottled,
            Self::Failed { .. } | Self::Broken { .. } | Self::Truncated { .. } => Code::RegistryFailed,
            Self::Nonsense { .. } | Self::UnsafeTarget { .. } => Code::RegistryNonsense,
            Self::Refused { .. } | Self::Missing { .. } => Code::ContentRefused,
            Self::TooLarge { .. } => Code::ManifestTooLarge,
            Self::Malformed { .. } => Code::ImageMalformed,
            Self::DigestMismatch { .. } | Self::Oversized { .. } => Code::DigestMismatch,
            Self::NotSeen { .. } => Code::ReadBackFailed,
            Self::Deadline => Code::DeadlinePassed,
        }
    }

    /// A fix that fits better than the catalogue's.
    const fn fix(&self) -> Option<&'static str> {
        match self {
            Self::CredentialsUnreadable { .. } => Some(
                "give `registry-username` and `registry-password`; in a container only what is in the container can be run, and the docker configuration's credential helpers are not",
            ),
            Self::Untrusted { .. } => Some(
                "add the authority's certificate to the system's store (or point SSL_CERT_FILE to it), or list the registry under `insecure-registries`",
            ),
            Self::UnsafeTarget { .. } => Some(
                "a registry on the internet has no reason to point there: check that nothing answers in its place, and that its own address is configured with https",
            ),
            Self::TooLarge { .. } => Some(
                "rebuild the image with fewer layers, labels or annotations: manifests are read up to 4 MiB, configurations up to 8 MiB",
            ),
            Self::Truncated { .. } => {
                Some("run again; if the content stays short, the registry has lost a part of it: push the image again")
            }
            Self::Missing { .. } => Some(
                "content vanished from the target repository while it was written: look for a clean-up that runs there, then run again",
            ),
            _ => None,
        }
    }
}

impl From<RegistryError> for Fault {
    fn from(error: RegistryError) -> Self {
        let mut fault = Self::new(error.trouble.code(), error.to_string());
        if let Some(fix) = error.trouble.fix() {
            fault = fault.with_fix(fix);
        }
        error.tried.into_iter().fold(fault, Self::after_trying)
    }
}

/// What a request was, as far as it matters for reading a refusal of it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Asked {
    /// It would have changed the registry.
    pub(super) write: bool,
    /// It went without credentials.
    pub(super) anonymous: bool,
    /// It was answered by another host than the registry, after a redirect.
    pub(super) elsewhere: bool,
}

/// Reads an answer that was not a success: pure, from what there is of it.
///
/// Codes and envelope: distribution-spec, "Error codes". GHCR's peculiarities: a Go duration in the message of a 429,
/// 403 for its secondary limit, 401 and 403 for what does not exist.
pub(super) fn trouble(asked: Asked, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Trouble {
    let envelope: Option<OciEnvelope> = serde_json::from_slice(body).ok();
    let says = quotation(status, envelope.as_ref(), body);
    let after = patience::asked(headers, body);
    let has = |wanted: &OciErrorCode| {
        envelope.as_ref().is_some_and(|envelope| envelope.errors.iter().any(|error| error.code == *wanted))
    };
    match status {
        StatusCode::TOO_MANY_REQUESTS => Trouble::Throttled { after, secondary: false, says },
        StatusCode::FORBIDDEN if is_secondary_limit(body) => Trouble::Throttled { after, secondary: true, says },
        status if has(&OciErrorCode::Toomanyrequests) && status.is_client_error() => {
            Trouble::Throttled { after, secondary: false, says }
        }
        // Storage behind a redirect: the registry knows the content, so its refusal is the way's fault, not the
        // content's; asking again gets a fresh address.
        _ if asked.elsewhere => Trouble::Failed { after, says: format!("storage that it redirects to: {says}") },
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if asked.write => {
            Trouble::PushDenied { anonymous: asked.anonymous, says }
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Trouble::Denied { anonymous: asked.anonymous, says },
        StatusCode::REQUEST_TIMEOUT => Trouble::Failed { after, says },
        status if status.is_server_error() => Trouble::Failed { after, says },
        _ if is_web_page(headers, body) => {
            Trouble::Nonsense { why: format!("a web page with status {}", status.as_u16()) }
        }
        StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND
            if asked.write && (has(&OciErrorCode::ManifestBlobUnknown) || has(&OciErrorCode::ManifestUnknown)) =>
        {
            Trouble::Missing { digests: digests_in(body), says }
        }
        StatusCode::NOT_FOUND if asked.write && has(&OciErrorCode::BlobUploadUnknown) => {
            Trouble::Failed { after, says }
        }
        StatusCode::NOT_FOUND if !asked.write || envelope.is_some() => Trouble::Absent { says },
        StatusCode::BAD_REQUEST
        | StatusCode::METHOD_NOT_ALLOWED
        | StatusCode::CONFLICT
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNSUPPORTED_MEDIA_TYPE
        | StatusCode::UNPROCESSABLE_ENTITY
            if asked.write =>
        {
            Trouble::Refused { says }
        }
        _ => Trouble::Nonsense { why: format!("unexpected {says}") },
    }
}

/// What the registry says, short, with the status in front.
fn quotation(status: StatusCode, envelope: Option<&OciEnvelope>, body: &[u8]) -> String {
    let text = match envelope {
        Some(envelope) if !envelope.errors.is_empty() => {
            let errors = envelope.errors.iter().take(3).map(|error| {
                let code = serde_json::to_value(&error.code).ok();
                let code = code.as_ref().and_then(|code| code.as_str()).unwrap_or_default().to_owned();
                if error.message.is_empty() { code } else { format!("{code}: {}", error.message) }
            });
            errors.collect::<Vec<_>>().join("; ")
        }
        _ => String::from_utf8_lossy(body).trim().to_owned(),
    };
    let text = if text.is_empty() { status.canonical_reason().unwrap_or("without a word").to_owned() } else { text };
    let short: String = text.chars().take(QUOTATION).collect();
    let cut = if short.len() < text.len() { "…" } else { "" };
    format!("{} {short}{cut}", status.as_u16())
}

fn is_secondary_limit(body: &[u8]) -> bool {
    String::from_utf8_lossy(body).to_ascii_lowercase().contains("secondary rate limit")
}

/// Whether an answer is a page for people: a login page, a proxy's error, a web server that is no registry.
pub(super) fn is_web_page(headers: &HeaderMap, body: &[u8]) -> bool {
    let html = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.to_ascii_lowercase().starts_with("text/html"));
    html || body.trim_ascii_start().starts_with(b"<")
}

/// The digests that a refusal names, wherever it does: registries put them into `detail` as a text, or as an object's
/// `digest` or `Digest`, or into the message.
fn digests_in(body: &[u8]) -> Vec<Digest> {
    let text = String::from_utf8_lossy(body);
    let mut found: Vec<Digest> = Vec::new();
    for part in text.split(|c: char| !(c.is_ascii_alphanumeric() || c == ':')) {
        if let Ok(digest) = part.parse()
            && !found.contains(&digest)
        {
            found.push(digest);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: Asked = Asked { write: false, anonymous: false, elsewhere: false };
    const WRITE: Asked = Asked { write: true, anonymous: false, elsewhere: false };
    const ELSEWHERE: Asked = Asked { write: false, anonymous: true, elsewhere: true };

    fn read(asked: Asked, status: u16, headers: &[(&'static str, &str)], body: &str) -> Trouble {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        trouble(asked, StatusCode::from_u16(status).unwrap(), &map, body.as_bytes())
    }

    #[test]
    fn each_refusal_is_the_right_fault() {
        let secondary = r#"{"errors":[{"code":"DENIED","message":"permission_denied: Error from intermediary with HTTP status code 403 \"You have exceeded a secondary rate limit\""}]}"#;
        let ghcr = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"retry-after: 12.5ms, allowed: 2000/minute"}]}"#;
        let unknown = |code: &str| format!(r#"{{"errors":[{{"code":"{code}","message":"x"}}]}}"#);
        for (asked, status, body, code, passing) in [
            (READ, 404, unknown("MANIFEST_UNKNOWN"), Code::ImageAbsent, false),
            (READ, 404, unknown("NAME_UNKNOWN"), Code::ImageAbsent, false),
            (READ, 404, String::new(), Code::ImageAbsent, false),
            (READ, 404, "404 page not found".to_owned(), Code::ImageAbsent, false),
            (READ, 404, "<html>nothing here</html>".to_owned(), Code::RegistryNonsense, false),
            (READ, 403, unknown("DENIED"), Code::ImageDenied, false),
            (READ, 401, unknown("UNAUTHORIZED"), Code::ImageDenied, false),
            (WRITE, 403, unknown("DENIED"), Code::PushDenied, false),
            (WRITE, 401, unknown("UNAUTHORIZED"), Code::PushDenied, false),
            (READ, 403, secondary.to_owned(), Code::RegistryThrottled, true),
            (WRITE, 403, secondary.to_owned(), Code::RegistryThrottled, true),
            (WRITE, 429, ghcr.to_owned(), Code::RegistryThrottled, true),
            (READ, 429, "<html>slow down</html>".to_owned(), Code::RegistryThrottled, true),
            (READ, 500, String::new(), Code::RegistryFailed, true),
            (READ, 502, "<html>bad gateway</html>".to_owned(), Code::RegistryFailed, true),
            (READ, 418, String::new(), Code::RegistryNonsense, false),
            (READ, 302, String::new(), Code::RegistryNonsense, false),
            (WRITE, 400, unknown("MANIFEST_INVALID"), Code::ContentRefused, false),
            (WRITE, 413, String::new(), Code::ContentRefused, false),
            (WRITE, 400, unknown("MANIFEST_BLOB_UNKNOWN"), Code::ContentRefused, false),
            (WRITE, 404, unknown("BLOB_UPLOAD_UNKNOWN"), Code::RegistryFailed, true),
            (ELSEWHERE, 403, "<Error>expired</Error>".to_owned(), Code::RegistryFailed, true),
            (ELSEWHERE, 404, String::new(), Code::RegistryFailed, true),
        ] {
            let trouble = read(asked, status, &[], &body);
            assert_eq!(trouble.code(), code, "{status} {body}: {trouble:?}");
            assert_eq!(trouble.retry_class(1) != RetryClass::Final, passing, "{status} {body}: {trouble:?}");
        }
    }

    #[test]
    fn the_wait_is_read_wherever_it_stands() {
        let wait = |trouble: &Trouble, attempt| match trouble.retry_class(attempt) {
            RetryClass::Passing { after } => after,
            RetryClass::Final => None,
        };
        assert_eq!(wait(&read(READ, 429, &[("retry-after", "7")], ""), 1), Some(Duration::from_secs(7)));
        assert_eq!(wait(&read(READ, 503, &[("retry-after", "7")], ""), 1), Some(Duration::from_secs(7)));
        let ghcr = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"retry-after: 12.5ms, allowed: 2000/minute"}]}"#;
        assert_eq!(wait(&read(READ, 429, &[], ghcr), 1), Some(Duration::from_micros(12_500)));
        let secondary = read(READ, 403, &[], "You have exceeded a secondary rate limit");
        assert_eq!(wait(&secondary, 1), Some(Duration::from_secs(60)));
        assert_eq!(wait(&secondary, 3), Some(Duration::from_secs(240)));
    }

    #[test]
    fn what_is_missing_is_found_in_every_shape() {
        let digest = Digest::sha256(b"layer");
        for detail in [
            format!(r#""{digest}""#),
            format!(r#"{{"digest":"{digest}"}}"#),
            format!(r#"{{"Digest":"{digest}","Name":"a"}}"#),
        ] {
            let body = format!(
                r#"{{"errors":[{{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown to registry","detail":{detail}}}]}}"#
            );
            let Trouble::Missing { digests, .. } = read(WRITE, 404, &[], &body) else { panic!("{body}") };
            assert_eq!(digests, std::slice::from_ref(&digest));
        }
    }

    #[test]
    fn a_denial_says_both_and_what_to_grant() {
        let error = RegistryError::new("read ghcr.io/acme/api:staging", read(READ, 403, &[], ""));
        let fault = Fault::from(error);
        assert_eq!(fault.code, Code::ImageDenied);
        assert!(fault.message.contains("does not exist, or we are not permitted"), "{}", fault.message);
        assert!(fault.fix.contains("packages: read"), "{}", fault.fix);
    }

    #[test]
    fn quotations_are_short() {
        let Trouble::Failed { says, .. } = read(READ, 500, &[], &"x".repeat(10_000)) else { panic!() };
        assert!(says.chars().count() < 320);
    }
}
