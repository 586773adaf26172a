//! The one HTTP stack: how clients are built, how a request is sent, how much of an answer is read.
//!
//! Registries, GitHub, deployment APIs, probes and channels all send through [`execute`], so that timeouts, the TLS
//! provider, proxies and the cap on bodies are decided once.

pub mod retry_after;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;

use crate::crashpoint;

/// The name that this program gives itself to servers.
pub const USER_AGENT: &str = concat!("tidegate/", env!("CARGO_PKG_VERSION"));

/// The longest wait for a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest silence inside an answer.
pub const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Makes ring the process's TLS provider. Idempotent; needed before any client is built.
pub fn install_tls_provider() {
    // An error means that a provider is installed already, which is all that is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// A builder with this program's defaults: name, timeouts, no redirects, the proxies of the environment
/// (`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`; the runner sets them in action containers).
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn builder() -> reqwest::ClientBuilder {
    install_tls_provider();
    reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
}

/// Sends a request.
///
/// # Errors
/// What reqwest says, without the address: it may hold a secret.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub async fn execute(client: &reqwest::Client, request: reqwest::Request) -> Result<reqwest::Response, reqwest::Error> {
    crashpoint::pass("http request");
    let answer = client.execute(request).await.map_err(reqwest::Error::without_url);
    crashpoint::pass("http answer");
    answer
}

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is larger than what is read of it.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// The most that is read.
        limit: usize,
    },
    /// The connection broke.
    #[error("the body broke off")]
    Broken(#[source] reqwest::Error),
}

/// Reads an answer's body, and no more than `limit` bytes of it.
///
/// # Errors
/// [`BodyError::TooLarge`] as soon as it is known that there is more; [`BodyError::Broken`] when the connection breaks.
pub async fn body(answer: reqwest::Response, limit: usize) -> Result<Bytes, BodyError> {
    if answer.content_length().is_some_and(|length| length > limit as u64) {
        return Err(BodyError::TooLarge { limit });
    }
    let mut body = BytesMut::new();
    let mut stream = answer.bytes_stream();
    while let Some(part) = stream.next().await {
        let part = part.map_err(|error| BodyError::Broken(error.without_url()))?;
        if body.len() + part.len() > limit {
            return Err(BodyError::TooLarge { limit });
        }
        body.extend_from_slice(&part);
    }
    Ok(body.freeze())
}

/// Reads what can be had of an answer's body for an error message: at most `limit` bytes, and no error of its own.
pub async fn excerpt(answer: reqwest::Response, limit: usize) -> Bytes {
    let mut body = BytesMut::new();
    let mut stream = answer.bytes_stream();
    while let Some(Ok(part)) = stream.next().await {
        let room = limit.saturating_sub(body.len());
        body.extend_from_slice(&part[..part.len().min(room)]);
        if body.len() >= limit {
            break;
        }
    }
    body.freeze()
}
