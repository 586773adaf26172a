//! What octocrab sends with: every request to GitHub goes through the one HTTP stack, counted, bounded, and with the
//! token only where it belongs.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, HeaderName, HeaderValue, LOCATION};
use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, Full};
use octocrab::OctoBody;
use secrecy::{ExposeSecret as _, SecretString};
use url::{Host, Url};

use crate::http as stack;
use crate::promotion::event::Traffic;

/// The version of the REST API that everything here is written for. It is asked for by name: a later one may become
/// GitHub's default and break answers (GitHub docs, "API Versions").
const API_VERSION: &str = "2022-11-28";

/// What is asked for, as GitHub recommends.
const MEDIA_TYPE: &str = "application/vnd.github+json";

/// How many redirects are followed for one request.
const MAX_REDIRECTS: usize = 5;

/// How much of an error's body is read.
const ERROR_BODY: usize = 64 * 1024;

/// The terms of one request, carried along in its extensions.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    /// Under which name it is counted.
    pub(super) class: &'static str,
    /// The most that is read of its answer, in bytes.
    pub(super) body_limit: usize,
    /// How long it may take, redirects and body included.
    pub(super) timeout: Duration,
    /// Whether it is sent without the token even to GitHub itself.
    pub(super) anonymous: bool,
}

/// Why a request has no answer. No text of it carries an address or the token.
#[derive(Debug, thiserror::Error)]
pub(super) enum TransportError {
    /// No connection: nobody has seen the request.
    #[error("{0}")]
    NotSent(String),
    /// The connection broke, or the answer did not come: the request may have been carried out.
    #[error("{0}")]
    Lost(String),
    /// The answer's body is larger than what is read of it.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    /// It redirects in a way that is not followed; a request that is redirected was not carried out.
    #[error("it redirects {0}")]
    Redirected(&'static str),
    /// The request cannot be sent as it is.
    #[error("{0}")]
    Unusable(String),
}

/// The service beneath octocrab.
#[derive(Clone)]
pub(super) struct Transport(Arc<Inner>);

struct Inner {
    client: reqwest::Client,
    base: Url,
    authorization: Option<HeaderValue>,
    traffic: Mutex<Traffic>,
}

impl Transport {
    /// A transport to the API at `base`.
    ///
    /// # Errors
    /// When the address is not one that a token may be sent to, the token is not one, or no client can be built.
    pub(super) fn new(base: &str, token: Option<&SecretString>) -> Result<Self, TransportError> {
        let base = api_address(base)?;
        let client = stack::builder().build().map_err(|error| TransportError::Unusable(root_cause(&error)))?;
        let authorization = token.map(bearer).transpose()?;
        Ok(Self(Arc::new(Inner { client, base, authorization, traffic: Mutex::default() })))
    }

    /// The API's address, without a slash at its end.
    pub(super) fn base(&self) -> &Url {
        &self.0.base
    }

    /// Whether there is a token.
    pub(super) fn has_token(&self) -> bool {
        self.0.authorization.is_some()
    }

    /// What was sent and received so far.
    pub(super) fn traffic(&self) -> Traffic {
        self.0.traffic.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl tower::Service<http::Request<OctoBody>> for Transport {
    type Response = http::Response<Full<Bytes>>;
    type Error = TransportError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<OctoBody>) -> Self::Future {
        let inner = Arc::clone(&self.0);
        Box::pin(async move { inner.carry(request).await })
    }
}

impl Inner {
    async fn carry(&self, request: http::Request<OctoBody>) -> Result<http::Response<Full<Bytes>>, TransportError> {
        let (parts, body) = request.into_parts();
        let terms = parts
            .extensions
            .get::<Terms>()
            .cloned()
            .ok_or_else(|| TransportError::Unusable("a request without terms".to_owned()))?;
        let body = body.collect().await.map_err(|error| TransportError::Unusable(root_cause(&error)))?.to_bytes();
        let url = Url::parse(&parts.uri.to_string())
            .map_err(|error| TransportError::Unusable(format!("its address: {error}")))?;
        let all = self.follow(&parts, url, body, &terms);
        tokio::time::timeout(terms.timeout, all).await.unwrap_or_else(|_| {
            Err(TransportError::Lost(format!("no answer within {}", humantime::format_duration(terms.timeout))))
        })
    }

    /// Sends, follows redirects, and reads what comes.
    async fn follow(
        &self,
        parts: &http::request::Parts,
        mut url: Url,
        body: Bytes,
        terms: &Terms,
    ) -> Result<http::Response<Full<Bytes>>, TransportError> {
        for _ in 0..=MAX_REDIRECTS {
            let answer = self.send(parts, &url, &body, terms).await?;
            match self.redirect(&parts.method, &url, &answer)? {
                Some(next) => url = next,
                None => return self.read(answer, terms.body_limit).await,
            }
        }
        Err(TransportError::Redirected("too often"))
    }

    async fn send(
        &self,
        parts: &http::request::Parts,
        url: &Url,
        body: &Bytes,
        terms: &Terms,
    ) -> Result<reqwest::Response, TransportError> {
        let mut request = reqwest::Request::new(parts.method.clone(), url.clone());
        *request.headers_mut() = parts.headers.clone();
        if url.origin() == self.base.origin() {
            request.headers_mut().insert(ACCEPT, HeaderValue::from_static(MEDIA_TYPE));
            let version = HeaderName::from_static("x-github-api-version");
            request.headers_mut().insert(version, HeaderValue::from_static(API_VERSION));
            if let Some(authorization) = self.authorization.as_ref().filter(|_| !terms.anonymous) {
                request.headers_mut().insert(AUTHORIZATION, authorization.clone());
            }
        }
        if !body.is_empty() {
            *request.body_mut() = Some(body.clone().into());
        }
        let answer = stack::execute(&self.client, request).await.map_err(|error| failure(&error));
        if !matches!(answer, Err(TransportError::NotSent(_))) {
            self.count(terms.class, body.len());
        }
        answer
    }

    /// Where an answer redirects to, if it does. GitHub asks that 301, 302 and 307 be followed (GitHub docs, "Best
    /// practices", "Follow redirects"); what changes something is repeated only at the same server and only where the
    /// status says that the method stays (RFC 9110, section 15.4).
    fn redirect(&self, method: &Method, from: &Url, answer: &reqwest::Response) -> Result<Option<Url>, TransportError> {
        let status = answer.status();
        let keeps_method = matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
        if !keeps_method && !matches!(status, StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER)
        {
            return Ok(None);
        }
        let reads = matches!(*method, Method::GET | Method::HEAD);
        if !reads && !keeps_method {
            return Err(TransportError::Redirected("a request that changes something, without keeping its method"));
        }
        let location = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok());
        let next =
            location.and_then(|location| from.join(location).ok()).ok_or(TransportError::Redirected("to nowhere"))?;
        let here = next.origin() == self.base.origin();
        if !reads && !here {
            return Err(TransportError::Redirected("a request that changes something to another server"));
        }
        if !here && !may_carry_secrets(&next) {
            return Err(TransportError::Redirected("to a server without TLS"));
        }
        Ok(Some(next))
    }

    async fn read(
        &self,
        answer: reqwest::Response,
        limit: usize,
    ) -> Result<http::Response<Full<Bytes>>, TransportError> {
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = if status.is_success() {
            stack::body(answer, limit).await.map_err(|error| match error {
                stack::BodyError::TooLarge { limit } => TransportError::TooLarge(limit),
                stack::BodyError::Broken(error) => {
                    TransportError::Lost(format!("the answer broke off: {}", root_cause(&error)))
                }
            })?
        } else {
            stack::excerpt(answer, ERROR_BODY).await
        };
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner).received += body.len() as u64;
        let mut response = http::Response::new(Full::new(body));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }

    fn count(&self, class: &'static str, sent: usize) {
        let requests = BTreeMap::from([(class.to_owned(), 1)]);
        let one = Traffic { requests, received: 0, sent: sent as u64 };
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner).add(&one);
    }
}

/// The API's address from `GITHUB_API_URL`: `https://api.github.com`, or `https://host/api/v3` of an Enterprise Server.
fn api_address(text: &str) -> Result<Url, TransportError> {
    let bad = |why: &str| TransportError::Unusable(format!("`GITHUB_API_URL` is not usable: {why}"));
    let mut url = Url::parse(text.trim()).map_err(|error| bad(&error.to_string()))?;
    if url.host().is_none() || url.query().is_some() || url.fragment().is_some() {
        return Err(bad("it must look like `https://api.github.com`"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("it must not hold a user or a password"));
    }
    if !may_carry_secrets(&url) {
        return Err(bad("the token is sent over TLS only: it must begin with `https://`"));
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

/// Over TLS, or within this machine.
fn may_carry_secrets(url: &Url) -> bool {
    let loopback = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && loopback)
}

fn bearer(token: &SecretString) -> Result<HeaderValue, TransportError> {
    let text = format!("Bearer {}", token.expose_secret().trim());
    let mut value = HeaderValue::try_from(text)
        .map_err(|_| TransportError::Unusable("`github-token` is not a token: it holds line breaks".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn failure(error: &reqwest::Error) -> TransportError {
    if error.is_connect() || error.is_builder() {
        TransportError::NotSent(format!("no connection: {}", root_cause(error)))
    } else if error.is_timeout() {
        TransportError::Lost(format!("nothing came for {}", humantime::format_duration(stack::READ_TIMEOUT)))
    } else {
        TransportError::Lost(format!("the connection broke: {}", root_cause(error)))
    }
}

/// The innermost reason of an error, in words.
fn root_cause(error: &(dyn StdError + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_sent_over_tls_only() {
        for good in
            ["https://api.github.com", "https://ghes.acme.test/api/v3/", "http://127.0.0.1:8080", "http://[::1]:1/x"]
        {
            let url = api_address(good).unwrap();
            assert_eq!(url.as_str().trim_end_matches('/'), good.trim_end_matches('/'));
        }
        for bad in [
            "http://api.github.com",
            "http://localhost.acme.test",
            "https://user:secret@api.github.com",
            "https://api.github.com?x=1",
            "ftp://api.github.com",
            "api.github.com",
            "",
        ] {
            let error = api_address(bad).unwrap_err().to_string();
            assert!(error.starts_with("`GITHUB_API_URL` is not usable"), "{bad}: {error}");
            assert!(!error.contains("secret"));
        }
    }

    #[test]
    fn what_is_not_a_token_is_refused_without_showing_it() {
        let error = bearer(&"ghs_a\nb".into()).unwrap_err().to_string();
        assert!(!error.contains("ghs_a"), "{error}");
        assert!(bearer(&"ghs_a\n".into()).unwrap().is_sensitive());
    }
}
