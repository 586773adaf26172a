//! What is to be sent to a registry.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use http::header::HeaderMap;
use url::Url;

use super::auth::Scopes;
use super::class::Class;
use super::host::Host;
use super::progress::Progress;

/// A request.
pub(super) struct Ask<'a> {
    pub(super) host: &'a Arc<Host>,
    pub(super) method: Method,
    pub(super) target: Target,
    pub(super) class: Class,
    /// What this request needs to be allowed to do.
    pub(super) needs: Scopes,
    /// What the requests around it need, so that one token serves all.
    pub(super) wants: Scopes,
    pub(super) headers: HeaderMap,
    pub(super) payload: Payload,
    /// Whether redirects are followed.
    pub(super) follow: bool,
    /// Whether the caller holds a permit that covers this request.
    pub(super) admitted: bool,
}

/// Where a request goes.
pub(super) enum Target {
    /// A path below `/v2/`, with its query.
    Path(String),
    /// An address that the registry named, and that was found to be safe.
    Url(Url),
}

/// What a request carries.
pub(super) enum Payload {
    Nothing,
    Bytes(Bytes),
    /// A body of known length that can be sent once.
    Stream {
        body: reqwest::Body,
        length: u64,
        progress: Arc<Progress>,
    },
}

impl<'a> Ask<'a> {
    /// A request to a path of a registry's interface that needs `needs`.
    pub(super) fn new(
        host: &'a Arc<Host>,
        method: Method,
        path: impl Into<String>,
        class: Class,
        needs: Scopes,
    ) -> Self {
        Self {
            host,
            method,
            target: Target::Path(path.into()),
            class,
            wants: needs.clone(),
            needs,
            headers: HeaderMap::new(),
            payload: Payload::Nothing,
            follow: true,
            admitted: false,
        }
    }

    /// The same, to an address that the registry named.
    pub(super) fn to(mut self, url: Url) -> Self {
        self.target = Target::Url(url);
        self
    }

    /// The same, as one of several requests that together need `wants` too.
    pub(super) fn among(mut self, wants: &Scopes) -> Self {
        self.wants = self.needs.clone().and(wants.clone());
        self
    }

    /// Whether it would change the registry.
    pub(super) fn writes(&self) -> bool {
        !matches!(self.method, Method::GET | Method::HEAD)
    }
}
