//! A proxy that logs what passes, e.g. before docker-registry, whose own log a test cannot trust to be complete.
//!
//! It forwards to one upstream over kept connections, hands bodies on as they come without keeping them, and takes the
//! same faults as the registry: added latency, lost answers, a closure at the nth request ([`Action::call`],
//! [`Action::call_after`]).
//!
//! The upstream sees the proxy's `Host` and `X-Forwarded-*`, from which docker-registry makes its `Location`; one that
//! names the upstream all the same is rewritten. A token server is reached directly: its requests are in its own log.
//!
//! [`Action::call`]: crate::fault::Action::call
//! [`Action::call_after`]: crate::fault::Action::call_after

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header};

use crate::client::Endpoint;
use crate::connector::{self, HttpClient};
use crate::fault::{Fault, Rule};
use crate::front::Front;
use crate::log::Entry;
use crate::server::{Server, Unanswered};

/// What belongs to a connection and is not handed on (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// A running proxy, in plain HTTP; it stops when this is dropped.
pub struct Proxy {
    front: Front,
    server: Server,
    latency: Arc<AtomicU64>,
    upstream: Endpoint,
}

impl Proxy {
    /// Starts a proxy before this registry on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// When there is no free port.
    #[must_use]
    pub fn start(upstream: &Endpoint) -> Self {
        let front = Front::new();
        let latency = Arc::<AtomicU64>::default();
        let http = connector::client_http1(upstream.authority.as_ref());
        let server = Server::start(None, {
            let (front, latency, upstream) = (front.clone(), Arc::clone(&latency), upstream.url.clone());
            move |request| {
                let (front, http, upstream) = (front.clone(), http.clone(), upstream.clone());
                let latency = Duration::from_micros(latency.load(Ordering::SeqCst));
                async move {
                    let forwarded = |request| async move { forward(&http, &upstream, request).await };
                    front.handle(request, latency, forwarded).await as Result<Response<Body>, Unanswered>
                }
            }
        });
        Self { front, server, latency, upstream: upstream.clone() }
    }

    /// Host and port, as they stand in a reference: `127.0.0.1:<port>`.
    #[must_use]
    pub fn host(&self) -> String {
        self.server.address().to_string()
    }

    /// Scheme and host, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.host())
    }

    /// How a client reaches the upstream through the proxy.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        Endpoint {
            url: self.url(),
            credentials: self.upstream.credentials.clone(),
            authority: self.upstream.authority.clone(),
        }
    }

    /// How long every request takes at least, from the next one on.
    pub fn set_latency(&self, latency: Duration) {
        self.latency.store(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// Makes requests go wrong as the rule says.
    pub fn fault(&self, rule: Rule) -> Fault {
        self.front.rules.add(rule)
    }

    /// Takes all rules back.
    pub fn clear_faults(&self) {
        self.front.rules.clear();
    }

    /// All requests so far, in the order of their arrival.
    #[must_use]
    pub fn log(&self) -> Vec<Entry> {
        self.front.log.entries()
    }

    /// Forgets the requests so far.
    pub fn clear_log(&self) {
        self.front.log.clear();
    }
}

async fn forward(http: &HttpClient, upstream: &str, mut request: Request<Body>) -> Result<Response<Body>, Unanswered> {
    let host = request.headers().get(header::HOST).cloned();
    let target = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    *request.uri_mut() = Uri::try_from(format!("{upstream}{target}")).map_err(|_| Unanswered)?;
    *request.version_mut() = http::Version::HTTP_11;
    strip(request.headers_mut());
    if let Some(host) = &host {
        request.headers_mut().insert("x-forwarded-host", host.clone());
        request.headers_mut().insert("x-forwarded-proto", HeaderValue::from_static("http"));
    }
    let Ok(response) = http.request(request).await else {
        let mut refused = Response::new(Body::empty());
        *refused.status_mut() = StatusCode::BAD_GATEWAY;
        return Ok(refused);
    };
    let mut response = response.map(Body::new);
    strip(response.headers_mut());
    let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    let path = location.and_then(|location| location.strip_prefix(upstream)).map(str::to_owned);
    if let (Some(path), Some(host)) = (path, host.as_ref().and_then(|host| host.to_str().ok()))
        && let Ok(location) = HeaderValue::from_str(&format!("http://{host}{path}"))
    {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

fn strip(headers: &mut HeaderMap) {
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}
