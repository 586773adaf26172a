//! The errors of the distribution API.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::json;

/// An error answer: status, code and message, and headers such as the challenge.
#[derive(Debug)]
pub(super) struct Error {
    status: StatusCode,
    /// The code of the distribution-spec's table; `None` where docker-registry answers a plain text.
    code: Option<&'static str>,
    message: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Error {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code: Some(code), message: message.into(), headers: Vec::new() }
    }

    /// A path that is none of the API's: docker-registry answers a plain text then, without a code.
    pub(super) fn no_such_page() -> Self {
        Self { status: StatusCode::NOT_FOUND, code: None, message: "404 page not found\n".into(), headers: Vec::new() }
    }

    pub(super) fn manifest_unknown(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", message)
    }

    pub(super) fn manifest_invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", message)
    }

    pub(super) fn manifest_blob_unknown(digest: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN", format!("blob unknown to registry: {digest}"))
    }

    pub(super) fn blob_unknown() -> Self {
        Self::new(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "blob unknown to registry")
    }

    pub(super) fn blob_upload_unknown() -> Self {
        Self::new(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
    }

    pub(super) fn blob_upload_invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "BLOB_UPLOAD_INVALID", message)
    }

    pub(super) fn digest_invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", message)
    }

    pub(super) fn name_unknown() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "repository name not known to registry")
    }

    pub(super) fn range_not_satisfiable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::RANGE_NOT_SATISFIABLE, "REQUESTED_RANGE_NOT_SATISFIABLE", message)
    }

    /// A method that a path does not have.
    pub(super) fn method_not_allowed() -> Self {
        let status = StatusCode::METHOD_NOT_ALLOWED;
        Self { status, code: None, message: "Method not allowed\n".into(), headers: Vec::new() }
    }

    /// What a registry could do and is not set up for: deleting.
    pub(super) fn unsupported() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "The operation is unsupported.")
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "UNKNOWN", message)
    }

    /// docker-registry's answer where it has no error of its own.
    pub(super) fn unknown(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", message)
    }

    pub(super) fn unauthorized(challenge: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "authentication required")
            .with(header::WWW_AUTHENTICATE, challenge)
    }

    pub(super) fn denied(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "DENIED", message)
    }

    pub(super) fn immutable(tag: &str) -> Self {
        Self::new(StatusCode::CONFLICT, "TAG_IMMUTABLE", format!("tag `{tag}` is immutable"))
    }

    pub(super) fn too_many_requests() -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", "too many requests").with(header::RETRY_AFTER, "1")
    }

    fn with(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.push((name, HeaderValue::from_str(value).expect("a header without control characters")));
        self
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let (kind, text) = match self.code {
            None => ("text/plain; charset=utf-8", self.message),
            Some(code) => {
                ("application/json", json!({"errors": [{"code": code, "message": self.message}]}).to_string())
            }
        };
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = self.status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        response.headers_mut().extend(self.headers);
        response
    }
}
