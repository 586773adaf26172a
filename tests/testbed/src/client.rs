//! A registry client of the testbed's own.
//!
//! It pushes test images and says what a registry holds, and shares no code with the program under test, so that what
//! it says is evidence. It asks for each thing in the plainest way, and knows Basic and docker's token flow.

use std::time::Duration;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::Value;
use url::Url;

use crate::authority::Authority;
use crate::connector::HttpClient;
use crate::image::media_type;
use crate::{background, digest};

/// The longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How a registry is reached.
#[derive(Clone)]
pub struct Endpoint {
    /// Scheme and host, without a slash at the end.
    pub url: String,
    /// A user's name and password.
    pub credentials: Option<(String, String)>,
    /// Who signed the registry's certificate.
    pub authority: Option<Authority>,
}

impl Endpoint {
    /// Host and port, as they stand in a reference.
    #[must_use]
    pub fn host(&self) -> &str {
        self.url.split_once("://").map_or(self.url.as_str(), |(_, host)| host)
    }

    /// A client of this registry.
    #[must_use]
    pub fn client(&self) -> Client {
        Client { http: crate::connector::client(self.authority.as_ref()), endpoint: self.clone() }
    }
}

/// A client of one registry. Its functions block the calling thread.
#[derive(Clone)]
pub struct Client {
    http: HttpClient,
    endpoint: Endpoint,
}

/// A push that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushError {
    /// The request's method and path.
    pub request: String,
    /// The status of the answer.
    pub status: u16,
    /// The code of the distribution API, where there is one.
    pub code: Option<String>,
}

impl std::fmt::Display for PushError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} was answered with {} {}", self.request, self.status, self.code.as_deref().unwrap_or("-"))
    }
}

impl std::error::Error for PushError {}

/// A registry that did not answer, or not to the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreachable(String);

impl std::fmt::Display for Unreachable {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Unreachable {}

/// A manifest that a registry gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The `Content-Type` of the answer.
    pub media_type: String,
    /// The sha256 of the bytes, computed here.
    pub digest: String,
    /// The bytes.
    pub bytes: Bytes,
}

impl Client {
    /// The registry.
    #[must_use]
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Sends one request, and once more with the credentials where they are asked for. `target` is a path with its
    /// query, or an address.
    ///
    /// # Panics
    /// Where [`Client::try_request`] has an error.
    #[must_use]
    pub fn request(&self, method: &Method, target: &str, headers: &[(&str, &str)], body: Bytes) -> Response<Bytes> {
        match self.try_request(method, target, headers, body) {
            Ok(answer) => answer,
            Err(error) => panic!("{method} {target} at {}: {error}", self.endpoint.url),
        }
    }

    /// The same as [`Client::request`].
    ///
    /// # Errors
    /// When the registry cannot be reached, breaks off, or does not answer within a minute.
    ///
    /// # Panics
    /// When `target` is no address.
    pub fn try_request(
        &self,
        method: &Method,
        target: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Response<Bytes>, Unreachable> {
        let url =
            Url::parse(&self.endpoint.url).and_then(|base| base.join(target)).expect("an address of the registry");
        let headers: Vec<(String, String)> =
            headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let (client, method) = (self.clone(), method.clone());
        background::run(async move {
            let answer = client.send_authorized(&method, &url, &headers, body);
            tokio::time::timeout(TIMEOUT, answer).await.map_err(|late| Unreachable(late.to_string()))?
        })
    }

    /// A manifest by its tag or digest; `None` where the registry says 404.
    ///
    /// # Panics
    /// When it answers anything but 200 and 404.
    #[must_use]
    pub fn manifest(&self, repository: &str, reference: &str) -> Option<Pulled> {
        let accept = media_type::MANIFESTS.join(", ");
        let path = format!("/v2/{repository}/manifests/{reference}");
        let answer = self.found(&path, &[("accept", &accept)])?;
        let media_type = answer.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        Some(Pulled {
            media_type: media_type.unwrap_or_default().to_owned(),
            digest: digest::sha256(answer.body()),
            bytes: answer.into_body(),
        })
    }

    /// The digest that a tag names, computed from the manifest's bytes; `None` where the registry says 404.
    #[must_use]
    pub fn digest(&self, repository: &str, tag: &str) -> Option<String> {
        self.manifest(repository, tag).map(|pulled| pulled.digest)
    }

    /// A blob; `None` where the registry says 404.
    #[must_use]
    pub fn blob(&self, repository: &str, digest: &str) -> Option<Bytes> {
        self.found(&format!("/v2/{repository}/blobs/{digest}"), &[]).map(Response::into_body)
    }

    /// All tags of a repository, sorted; empty where there is none.
    ///
    /// # Panics
    /// When the list is not what the specification says.
    #[must_use]
    pub fn tags(&self, repository: &str) -> Vec<String> {
        let mut tags = Vec::new();
        let mut next = Some(format!("/v2/{repository}/tags/list"));
        while let Some(answer) = next.take().and_then(|path| self.found(&path, &[])) {
            let list: Value = serde_json::from_slice(answer.body()).expect("the list of tags is JSON");
            let page = list["tags"].as_array().cloned().unwrap_or_default();
            tags.extend(page.iter().filter_map(Value::as_str).map(str::to_owned));
            let link = answer.headers().get(header::LINK).and_then(|value| value.to_str().ok());
            next = link.and_then(|link| Some(link.strip_prefix('<')?.split_once('>')?.0.to_owned()));
        }
        tags.sort();
        tags
    }

    /// Uploads a blob in one piece.
    ///
    /// # Errors
    /// The request that was refused.
    ///
    /// # Panics
    /// When the registry says where to upload to in a way that cannot be understood.
    pub fn push_blob(&self, repository: &str, digest: &str, bytes: Bytes) -> Result<(), PushError> {
        let path = format!("/v2/{repository}/blobs/uploads/");
        let opened = self.expect(&Method::POST, &path, &[], Bytes::new(), StatusCode::ACCEPTED)?;
        let location = opened.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
        let mut url = Url::parse(&self.endpoint.url)
            .and_then(|base| base.join(location.unwrap_or_default()))
            .expect("an address to upload to");
        url.query_pairs_mut().append_pair("digest", digest);
        let headers = [("content-type", "application/octet-stream")];
        self.expect(&Method::PUT, url.as_str(), &headers, bytes, StatusCode::CREATED).map(drop)
    }

    /// Pushes a manifest under a tag or its digest.
    ///
    /// # Errors
    /// The request that was refused.
    pub fn push_manifest(
        &self,
        repository: &str,
        reference: &str,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<(), PushError> {
        let path = format!("/v2/{repository}/manifests/{reference}");
        self.expect(&Method::PUT, &path, &[("content-type", media_type)], bytes, StatusCode::CREATED).map(drop)
    }

    fn expect(
        &self,
        method: &Method,
        target: &str,
        headers: &[(&str, &str)],
        body: Bytes,
        status: StatusCode,
    ) -> Result<Response<Bytes>, PushError> {
        let answer = self.request(method, target, headers, body);
        if answer.status() == status {
            return Ok(answer);
        }
        Err(PushError {
            request: format!("{method} {target}"),
            status: answer.status().as_u16(),
            code: error_code(&answer),
        })
    }

    /// The answer to a GET; `None` for 404.
    fn found(&self, target: &str, headers: &[(&str, &str)]) -> Option<Response<Bytes>> {
        let answer = self.request(&Method::GET, target, headers, Bytes::new());
        match answer.status() {
            StatusCode::OK => Some(answer),
            StatusCode::NOT_FOUND => None,
            status => panic!("GET {target} was answered with {status}"),
        }
    }

    async fn send_authorized(
        &self,
        method: &Method,
        url: &Url,
        headers: &[(String, String)],
        body: Bytes,
    ) -> Result<Response<Bytes>, Unreachable> {
        let answer = self.send(method, url, headers, body.clone(), None).await?;
        let challenge = answer.headers().get(header::WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
        let Some(challenge) = challenge.filter(|_| answer.status() == StatusCode::UNAUTHORIZED) else {
            return Ok(answer);
        };
        match self.authorization(challenge).await {
            Some(authorization) => self.send(method, url, headers, body, Some(&authorization)).await,
            None => Ok(answer),
        }
    }

    async fn send(
        &self,
        method: &Method,
        url: &Url,
        headers: &[(String, String)],
        body: Bytes,
        authorization: Option<&str>,
    ) -> Result<Response<Bytes>, Unreachable> {
        let mut request = Request::builder().method(method).uri(url.as_str());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request.body(Body::from(body)).expect("a request of the testbed's client");
        let answer = self.http.request(request).await.map_err(|error| Unreachable(format!("{error:?}")))?;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.map_err(|error| Unreachable(error.to_string()))?.to_bytes();
        Ok(Response::from_parts(parts, body))
    }

    /// What to send for a challenge; `None` without credentials, or where no token is given for them.
    async fn authorization(&self, challenge: &str) -> Option<String> {
        let basic = self
            .endpoint
            .credentials
            .as_ref()
            .map(|(name, password)| format!("Basic {}", STANDARD.encode(format!("{name}:{password}"))));
        let Some(parameters) = challenge.strip_prefix("Bearer ") else { return basic };
        let parameter = |name: &str| {
            let (_, rest) = parameters.split_once(&format!("{name}=\""))?;
            Some(rest.split_once('"')?.0.to_owned())
        };
        let mut url = Url::parse(&parameter("realm")?).ok()?;
        url.query_pairs_mut().append_pair("service", &parameter("service")?);
        for scope in parameter("scope").iter().flat_map(|scopes| scopes.split(' ')) {
            url.query_pairs_mut().append_pair("scope", scope);
        }
        let answer = self.send(&Method::GET, &url, &[], Bytes::new(), basic.as_deref()).await.ok()?;
        let token: Value = serde_json::from_slice(answer.body()).ok()?;
        let token = token["token"].as_str().or_else(|| token["access_token"].as_str())?;
        Some(format!("Bearer {token}"))
    }
}

/// The code of the first error in an answer of the distribution API.
#[must_use]
pub fn error_code(answer: &Response<Bytes>) -> Option<String> {
    let body: Value = serde_json::from_slice(answer.body()).ok()?;
    Some(body["errors"][0]["code"].as_str()?.to_owned())
}
