//! A request of HTTP, filled in, sent, and its answer held against what is expected.

use std::error::Error as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::Utc;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use http::{Method, StatusCode};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use url::Url;

use super::{Miss, Values, certificate, unfilled};
use crate::config::{Body, Expectation, JsonPath, Method as Named, Pattern, Request, Status};
use crate::http as stack;
use crate::promotion::fault::{Code, Fault};

/// The most that is read of an answer.
const BODY: usize = 1024 * 1024;

/// The most that is shown of a value.
const SHOWN: usize = 100;

/// A request, filled in. It may hold secrets.
pub(super) struct Filled {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Option<Bytes>,
    /// Whether something in it says who we are.
    credentials: bool,
}

impl Filled {
    pub(super) fn fill(request: &Request, values: &Values) -> Result<Self, Fault> {
        let url = values.render(&request.url)?;
        let url = Url::parse(&url).map_err(|error| {
            Fault::new(Code::ConfigurationInvalid, format!("a probe's address is none: {error}"))
                .with_fix("write an address that begins with https:// or http://")
        })?;
        let mut headers = HeaderMap::new();
        let mut credentials = false;
        for (name, value) in &request.headers {
            let secret = values.secrets.fill(value, &values.run).map_err(unfilled)?;
            credentials |= matches!(value, crate::config::Value::Secret(_));
            headers.insert(header_name(name)?, header_value(name, secret.expose_secret())?);
        }
        if let Some(bearer) = &request.bearer {
            let token = values.secrets.resolve(bearer)?;
            headers.insert(AUTHORIZATION, header_value("bearer", &format!("Bearer {}", token.expose_secret()))?);
            credentials = true;
        }
        if let Some(basic) = &request.basic {
            let (user, password) = (values.secrets.resolve(&basic.user)?, values.secrets.resolve(&basic.password)?);
            let pair = STANDARD.encode(format!("{}:{}", user.expose_secret(), password.expose_secret()));
            headers.insert(AUTHORIZATION, header_value("basic", &format!("Basic {pair}"))?);
            credentials = true;
        }
        let body = match &request.body {
            None => None,
            Some(Body::Json(json)) => {
                headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
                Some(values.secrets.fill_json(json, &values.run).map_err(unfilled)?.to_string().into())
            }
            Some(Body::Form(fields)) => {
                let mut form = url::form_urlencoded::Serializer::new(String::new());
                for (name, value) in fields {
                    let value = values.secrets.fill(value, &values.run).map_err(unfilled)?;
                    form.append_pair(name, value.expose_secret());
                }
                headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/x-www-form-urlencoded"));
                Some(form.finish().into())
            }
            Some(Body::Text(text)) => {
                headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("text/plain; charset=utf-8"));
                let text = values.secrets.fill(text, &values.run).map_err(unfilled)?;
                Some(Bytes::copy_from_slice(text.expose_secret().as_bytes()))
            }
        };
        Ok(Self { method: method(request.method), url, headers, body, credentials })
    }

    fn request(&self) -> Result<reqwest::Request, Miss> {
        let mut request = reqwest::Request::new(self.method.clone(), self.url.clone());
        *request.headers_mut() = self.headers.clone();
        *request.body_mut() = self.body.clone().map(Into::into);
        Ok(request)
    }

    /// The request that follows a redirect (RFC 9110, section 15.4): to another origin goes nothing that says who we are.
    fn redirected(&self, status: StatusCode, location: &str) -> Result<Self, Miss> {
        let wrong = || Miss::Failed("it redirects to something that is no address".to_owned());
        let url = self.url.join(location).map_err(|_| wrong())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong());
        }
        let keeps = matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
        let elsewhere = url.origin() != self.url.origin();
        if keeps && elsewhere && self.body.is_some() {
            return Err(Miss::Failed("it redirects what is sent to another server".to_owned()));
        }
        let method = match &self.method {
            method if keeps => method.clone(),
            method @ (&Method::GET | &Method::HEAD) => method.clone(),
            _ => Method::GET,
        };
        let mut headers = if elsewhere { HeaderMap::new() } else { self.headers.clone() };
        let body = self.body.clone().filter(|_| keeps);
        if body.is_none() {
            headers.remove(CONTENT_TYPE);
        }
        Ok(Self { method, url, headers, body, credentials: self.credentials && !elsewhere })
    }
}

const fn method(method: Named) -> Method {
    match method {
        Named::Get => Method::GET,
        Named::Head => Method::HEAD,
        Named::Post => Method::POST,
        Named::Put => Method::PUT,
        Named::Patch => Method::PATCH,
        Named::Delete => Method::DELETE,
    }
}

fn header_name(name: &str) -> Result<HeaderName, Fault> {
    HeaderName::try_from(name)
        .map_err(|_| Fault::new(Code::ConfigurationInvalid, format!("`{name}` is not the name of a header")))
}

fn header_value(name: &str, value: &str) -> Result<HeaderValue, Fault> {
    let mut header = HeaderValue::from_str(value).map_err(|_| {
        Fault::new(Code::ConfigurationInvalid, format!("the value of `{name}` cannot be sent in a header"))
            .with_fix("remove line breaks and control characters from it")
    })?;
    header.set_sensitive(true);
    Ok(header)
}

/// A client for probes: every question makes its own connection, so that it can meet any of several servers.
pub(super) fn client() -> Result<reqwest::Client, Fault> {
    stack::builder()
        .pool_max_idle_per_host(0)
        .tls_info(true)
        .build()
        .map_err(|error| Fault::defect(format!("no client for probes: {error}")))
}

/// What is expected of an answer, filled in.
pub(super) struct Expected {
    status: Vec<Status>,
    headers: Vec<(String, String)>,
    body: Vec<(JsonPath, Value)>,
    pattern: Option<Pattern>,
    values: Values,
}

impl Expected {
    pub(super) fn fill(expect: &Expectation, values: &Values) -> Result<Self, Fault> {
        let headers = expect.headers.iter().map(|(name, value)| Ok((name.clone(), values.render(value)?)));
        let body = expect
            .body
            .iter()
            .map(|(path, value)| Ok((path.clone(), values.secrets.fill_json(value, &values.run).map_err(unfilled)?)));
        Ok(Self {
            status: expect.status.clone(),
            headers: headers.collect::<Result<_, Fault>>()?,
            body: body.collect::<Result<_, Fault>>()?,
            pattern: expect.pattern.clone(),
            values: values.clone(),
        })
    }

    /// Whether the answer's body matters.
    pub(super) fn reads_body(&self) -> bool {
        !self.body.is_empty() || self.pattern.is_some()
    }

    /// Holds an answer against what is expected.
    pub(super) fn check(&self, answer: &Answered) -> Result<(), Miss> {
        let status = answer.status.as_u16();
        if !self.status.iter().any(|wanted| wanted.matches(status)) {
            let wanted: Vec<String> = self.status.iter().map(ToString::to_string).collect();
            let text = format!("the status is {status}, and {} is wanted", wanted.join(" or "));
            // Who is not let in has learnt nothing: the token is ours.
            let ours = status == 407 || (answer.credentials && matches!(status, 401 | 403));
            return Err(if ours { Miss::Ours(text) } else { Miss::Failed(text) });
        }
        for (name, wanted) in &self.headers {
            let found = answer.headers.get(name).and_then(|value| value.to_str().ok());
            if found != Some(wanted.as_str()) {
                return Err(self.differs(&format!("the header {name}"), found, wanted));
            }
        }
        if let Some(pattern) = &self.pattern
            && !pattern.matches(&String::from_utf8_lossy(&answer.body))
        {
            return Err(Miss::Failed(format!("the body does not match `{}`", pattern.as_str())));
        }
        if self.body.is_empty() {
            return Ok(());
        }
        let json = answer.json()?;
        for (path, wanted) in &self.body {
            let found = path.path().query(&json).all();
            if !found.contains(&wanted) {
                let found = found.first().map(ToString::to_string);
                return Err(self.differs(path.as_str(), found.as_deref(), &wanted.to_string()));
            }
        }
        Ok(())
    }

    /// Something is not what it should be.
    pub(super) fn differs(&self, what: &str, found: Option<&str>, wanted: &str) -> Miss {
        let shown = |text: &str| self.values.hidden(text).chars().take(SHOWN).collect::<String>();
        let found = found.map_or_else(|| "missing".to_owned(), |text| format!("`{}`", shown(text)));
        Miss::Failed(format!("{what} is {found}, and `{}` is wanted", shown(wanted)))
    }
}

/// An answer.
pub(super) struct Answered {
    status: StatusCode,
    pub(super) headers: HeaderMap,
    body: Bytes,
    credentials: bool,
    /// The certificate that was shown.
    certificate: Option<Vec<u8>>,
}

impl Answered {
    /// Its body as JSON.
    pub(super) fn json(&self) -> Result<Value, Miss> {
        serde_json::from_slice(&self.body).map_err(|_| Miss::Failed("the body is not JSON".to_owned()))
    }

    /// What is to be said of its certificate.
    pub(super) fn warning(&self, lasts: Duration) -> Option<String> {
        self.certificate.as_deref().and_then(|der| certificate::warning(der, lasts, Utc::now()))
    }
}

/// Sends a request, follows as many redirects, and reads the body where it matters: at most a mebibyte of it.
pub(super) async fn exchange(
    client: &reqwest::Client,
    first: &Filled,
    redirects: u32,
    reads_body: bool,
) -> Result<Answered, Miss> {
    let mut followed = 0;
    let mut next: Option<Filled> = None;
    loop {
        let current = next.as_ref().unwrap_or(first);
        let answer = stack::execute(client, current.request()?).await.map_err(|error| unsent(&error))?;
        let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned);
        if let (true, Some(location)) = (answer.status().is_redirection() && redirects > 0, location) {
            if followed == redirects {
                return Err(Miss::Failed(format!("it redirects more than {redirects} times")));
            }
            followed += 1;
            next = Some(current.redirected(answer.status(), &location)?);
            continue;
        }
        let certificate = answer
            .extensions()
            .get::<reqwest::tls::TlsInfo>()
            .and_then(|info| info.peer_certificate().map(<[u8]>::to_vec));
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = if reads_body {
            stack::body(answer, BODY).await.map_err(|error| Miss::Failed(error.to_string()))?
        } else {
            Bytes::new()
        };
        return Ok(Answered { status, headers, body, credentials: current.credentials, certificate });
    }
}

/// Why there is no answer: a server that is not there is a failure, a name that is not resolved, a certificate that is
/// not trusted and a proxy that does not let us through are not the candidate's.
fn unsent(error: &reqwest::Error) -> Miss {
    let mut texts = Vec::new();
    let mut ours = false;
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        ours |= text.contains("dns error") || text.contains("proxy") || text.contains("tunnel");
        ours |= matches!(cause.downcast_ref::<rustls::Error>(), Some(rustls::Error::InvalidCertificate(_)))
            || text.contains("invalid peer certificate");
        texts.push(text);
        source = cause.source();
    }
    let why = texts.pop().unwrap_or_else(|| error.to_string());
    if ours { Miss::Ours(format!("it cannot be asked: {why}")) } else { Miss::Failed(format!("no answer: {why}")) }
}
