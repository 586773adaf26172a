//! One HTTP request to a channel.

use ::http::header::CONTENT_TYPE;
use ::http::{HeaderMap, HeaderValue, StatusCode};
use bytes::Bytes;
use reqwest::{Client, Method, Request};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use url::Url;

use super::Refused;
use crate::http;
use crate::promotion::retry::RetryClass;
use crate::promotion::untrusted::line;

/// How much of an answer is read.
const ANSWER: usize = 64 << 10;

/// How much of a refusal is told.
const QUOTED: usize = 200;

/// What a channel answered that took the request.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// An address that is a secret: whoever has it can write to the channel.
#[derive(Debug, Clone)]
pub(super) struct Address(SecretString);

impl Address {
    /// An address out of a secret's text.
    ///
    /// # Errors
    /// Why it is none. The text is not quoted.
    pub(super) fn read(text: &SecretString) -> Result<Self, String> {
        address(text.expose_secret().trim()).map(|url| Self(SecretString::from(url.to_string())))
    }

    /// The address as a whole.
    pub(super) fn url(&self) -> Result<Url, Refused> {
        Url::parse(self.0.expose_secret()).map_err(|_| Refused::finally("its address cannot be used"))
    }
}

/// An address that messages, with what lets us write them, may be sent to.
///
/// # Errors
/// Why they may not. The text is not quoted.
pub(super) fn address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is not an address: {error}"))?;
    match url.scheme() {
        "https" => Ok(url),
        // Whoever can read what is sent on the way can write to the channel.
        "http" if is_private(&url) => Ok(url),
        "http" => Err("is an address without TLS that is not on this machine or in a private network".to_owned()),
        _ => Err("is an address that does not begin with `https://`".to_owned()),
    }
}

/// Whether an address is one of this machine or of a private network.
fn is_private(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback() || address.is_private(),
        Some(url::Host::Ipv6(address)) => address.is_loopback() || address.is_unique_local(),
        // A name without a dot, or of a zone that is never public (RFC 6761, RFC 6762, RFC 9476).
        Some(url::Host::Domain(name)) => {
            !name.contains('.') || [".localhost", ".local", ".lan", ".internal"].iter().any(|zone| name.ends_with(zone))
        }
        None => false,
    }
}

/// A request that posts JSON.
pub(super) fn post(url: Url, json: &Value) -> Request {
    let mut request = Request::new(Method::POST, url);
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    *request.body_mut() = Some(json.to_string().into());
    request
}

/// Sends a request. What the other side says in a refusal is quoted without `secrets`.
///
/// # Errors
/// No answer, or another status than 2xx: 408, 425, 429 and 5xx may pass (RFC 9110, 15; RFC 6585, 4).
pub(super) async fn call(client: &Client, request: Request, secrets: &[&SecretString]) -> Result<Answer, Refused> {
    let answer = http::execute(client, request).await.map_err(|error| Refused::for_now(because(&error)))?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    if status.is_success() {
        let body = http::body(answer, ANSWER).await.map_err(|error| Refused::for_now(error.to_string()))?;
        return Ok(Answer { status, headers, body });
    }
    let after = http::retry_after::asked(&headers);
    let said = String::from_utf8_lossy(&http::excerpt(answer, 4096).await).into_owned();
    let said = line(&without(&said, secrets), QUOTED);
    let why = if said.is_empty() { format!("it answers {status}") } else { format!("it answers {status}: {said}") };
    let passing = status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
    let class = if passing { RetryClass::Passing { after } } else { RetryClass::Final };
    Err(Refused { why, class })
}

/// Text in which secrets, and the parts of an address that make it one, are not shown.
fn without(text: &str, secrets: &[&SecretString]) -> String {
    let mut text = text.to_owned();
    for secret in secrets {
        let secret = secret.expose_secret();
        text = text.replace(secret, "***");
        if let Ok(url) = Url::parse(secret) {
            let parts = url.path_segments().into_iter().flatten().chain(url.query());
            for part in parts.filter(|part| part.len() >= 6) {
                text = text.replace(part, "***");
            }
        }
    }
    text
}

impl Address {
    /// The secret that it is.
    pub(super) const fn secret(&self) -> &SecretString {
        &self.0
    }
}

/// Why a request has no answer, to the last cause.
fn because(error: &reqwest::Error) -> String {
    let mut text =
        if error.is_timeout() { "it has not answered in time".to_owned() } else { "it cannot be reached".to_owned() };
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if source.and_then(std::error::Error::source).is_none() {
            text.push_str(&format!(": {cause}"));
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_https_or_private() {
        for good in [
            "https://hooks.acme.test/a",
            " https://a.test/b?c=d\n",
            "http://127.0.0.1:9/x",
            "http://10.1.2.3/x",
            "http://[::1]/x",
            "http://mattermost/hooks/x",
            "http://chat.internal/x",
        ] {
            assert!(Address::read(&SecretString::from(good)).is_ok(), "{good}");
        }
        for bad in ["", "hooks.acme.test/a", "http://hooks.acme.test/secret", "ftp://a.test", "http://8.8.8.8/"] {
            let why = Address::read(&SecretString::from(bad)).unwrap_err();
            assert!(!why.contains("secret"), "{why}");
        }
    }

    #[test]
    fn a_refusal_never_shows_the_address() {
        let secret = SecretString::from("https://hooks.acme.test/services/T123456/B1234567/abcdefgh?sig=zzzzzz");
        let said = "no hook T123456/B1234567/abcdefgh at https://hooks.acme.test/services/T123456/B1234567/abcdefgh?sig=zzzzzz";
        let shown = without(said, &[&secret]);
        for part in ["T123456", "B1234567", "abcdefgh", "zzzzzz"] {
            assert!(!shown.contains(part), "{shown}");
        }
    }
}
