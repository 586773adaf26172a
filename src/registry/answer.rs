//! An answer of a registry: counted, bounded, and read for what went wrong.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use http::header::{HeaderMap, HeaderName};
use http::{HeaderValue, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::Instant;
use url::Url;

use super::class::Meter;
use super::clients::network_trouble;
use super::error::{Asked, Trouble, is_web_page, trouble};
use super::host::Host;
use super::patience::LONGEST_WAIT;
use crate::http::{BodyError, body, excerpt};
use crate::promotion::digest::Digest;
use crate::promotion::retry::RetryClass;

/// The most that is read of an error's body.
const ERROR_LIMIT: usize = 64 * 1024;

/// The name of the header in which registries tell a manifest's digest.
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// An answer whose body was not read yet.
pub(super) struct Answer {
    pub(super) response: reqwest::Response,
    /// The address that answered, after redirects.
    pub(super) url: Url,
    pub(super) host: Arc<Host>,
    pub(super) meter: Arc<Meter>,
    pub(super) asked: Asked,
    pub(super) sent: Instant,
    /// What went out with the request and must never come back in a message.
    pub(super) secrets: Vec<SecretString>,
}

impl Answer {
    pub(super) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// A header's text.
    pub(super) fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok())
    }

    /// The digest that the registry tells, where it tells one.
    pub(super) fn digest(&self) -> Result<Option<Digest>, Trouble> {
        self.header(CONTENT_DIGEST)
            .map(|text| {
                text.parse().map_err(|_| Trouble::Nonsense { why: "Docker-Content-Digest is not a digest".to_owned() })
            })
            .transpose()
    }

    /// The answer itself when it has one of the wanted states, and what went wrong otherwise.
    pub(super) async fn expect(self, wanted: &[StatusCode]) -> Result<Self, Trouble> {
        if wanted.contains(&self.status()) { Ok(self) } else { Err(self.trouble().await) }
    }

    /// Reads the body, no more than `limit` bytes.
    pub(super) async fn body(self, limit: usize) -> Result<Bytes, Trouble> {
        let wanted = self.response.content_length();
        let bytes = body(self.response, limit).await.map_err(|error| match error {
            BodyError::TooLarge { limit } => Trouble::TooLarge { limit },
            BodyError::Broken(error) => network_trouble(&error),
        })?;
        self.meter.received(bytes.len());
        match wanted {
            Some(wanted) if wanted != bytes.len() as u64 => Err(Trouble::Truncated { got: bytes.len() as u64, wanted }),
            _ => Ok(bytes),
        }
    }

    /// Reads a document; a page for people in its place is told as such.
    pub(super) async fn document(self, limit: usize) -> Result<Bytes, Trouble> {
        let headers = self.headers().clone();
        let bytes = self.body(limit).await?;
        if is_web_page(&headers, &bytes) {
            return Err(Trouble::Nonsense { why: "a web page".to_owned() });
        }
        Ok(bytes)
    }

    /// The body as it comes.
    pub(super) fn stream(self) -> impl Stream<Item = Result<Bytes, Trouble>> + Send + Unpin {
        let meter = self.meter;
        self.response.bytes_stream().map(move |part| match part {
            Ok(part) => {
                meter.received(part.len());
                Ok(part)
            }
            Err(error) => Err(network_trouble(&error.without_url())),
        })
    }

    /// Reads a body that nobody needs, so that the connection can be used again.
    pub(super) async fn discard(self) {
        self.meter.received(excerpt(self.response, ERROR_LIMIT).await.len());
    }

    /// What went wrong, by status, headers and body. A registry that throttles is sent less from here on.
    pub(super) async fn trouble(self) -> Trouble {
        let status = self.response.status();
        let headers = self.response.headers().clone();
        let text = excerpt(self.response, ERROR_LIMIT).await;
        self.meter.received(text.len());
        let trouble = trouble(self.asked, status, &headers, &without(&text, &self.secrets));
        if let Trouble::Throttled { .. } = trouble {
            let RetryClass::Passing { after } = trouble.retry_class(1) else { return trouble };
            self.host.limiter.throttled(self.sent, after.map(|after| Instant::now() + after.min(LONGEST_WAIT)));
        }
        trouble
    }
}

/// A text in which no secret is left: servers quote what they were sent.
fn without(text: &Bytes, secrets: &[SecretString]) -> Bytes {
    /// Shorter ones are no secrets, and replacing them would make the text unreadable.
    const SHORTEST: usize = 4;
    let mut clean = String::from_utf8_lossy(text).into_owned();
    for secret in secrets.iter().map(|secret| secret.expose_secret()).filter(|secret| secret.len() >= SHORTEST) {
        if clean.contains(secret) {
            clean = clean.replace(secret, "***");
        }
    }
    Bytes::from(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_secrets_are_taken_out() {
        let text = Bytes::from_static(b"you sent Bearer s3cret and a");
        assert_eq!(without(&text, &["s3cret".into(), "a".into()]), "you sent Bearer *** and a");
    }
}
