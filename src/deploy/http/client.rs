//! One request to a deployment API: sent, repeated where that is safe, its answer bounded.

use std::error::Error as _;
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use http::StatusCode;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::Method;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::super::Kit;
use super::answer::Answer;
use super::authentication::Authenticator;
use crate::config::{HttpDriver, Status};
use crate::http as stack;
use crate::promotion::fault::{Code, Fault};
use crate::promotion::retry::{RetryClass, RetryPolicy};
use crate::promotion::untrusted::line;

/// The most that is read of an answer.
const BODY: usize = 1024 * 1024;

/// How much of a refusal is quoted.
const EXCERPT: usize = 300;

/// The longest wait that the other side may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// What is sent.
#[derive(Clone)]
pub(super) struct Sent {
    media_type: &'static str,
    bytes: Bytes,
}

impl Sent {
    pub(super) fn json(json: &serde_json::Value) -> Self {
        Self { media_type: "application/json", bytes: json.to_string().into() }
    }

    pub(super) fn text(text: &str) -> Self {
        Self { media_type: "text/plain; charset=utf-8", bytes: Bytes::copy_from_slice(text.as_bytes()) }
    }

    pub(super) fn form(fields: &[(&str, SecretString)]) -> Self {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in fields {
            form.append_pair(name, value.expose_secret());
        }
        Self { media_type: "application/x-www-form-urlencoded", bytes: form.finish().into() }
    }
}

/// A request with everything filled in. Its body and headers may hold secrets.
pub(super) struct Plea {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: Vec<(String, SecretString)>,
    pub(super) body: Option<Sent>,
    /// What means that it was accepted; nothing for `2xx`.
    pub(super) accept: Vec<Status>,
    pub(super) timeout: Duration,
    /// Whether it may be sent again when its answer was lost.
    pub(super) repeatable: bool,
}

impl Plea {
    /// Its address for people: without what may be secret.
    pub(super) fn shown(&self) -> String {
        shown(&self.url)
    }

    fn accepts(&self, status: u16) -> bool {
        if self.accept.is_empty() { status / 100 == 2 } else { self.accept.iter().any(|one| one.matches(status)) }
    }
}

/// An address without user, query and fragment.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Neither can fail where there is a host; and where there is none there is no user.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    line(url.as_str(), 300)
}

/// Why a request has no answer that was accepted.
#[derive(Debug)]
pub(super) struct Failure {
    kind: Kind,
    tried: Vec<String>,
}

#[derive(Debug, Clone)]
enum Kind {
    /// Nobody has seen the request.
    Unsent(String),
    /// The request may have been carried out: the answer did not come, or says that something failed inside.
    Lost(String),
    /// It was refused for now, and not carried out.
    Later { status: u16, says: String, after: Option<Duration> },
    /// It was refused.
    Refused { status: u16, says: String },
    /// Our own credentials could not be had, or the request cannot be built.
    Own(Box<Fault>),
}

impl Failure {
    pub(super) const fn may_have_been_done(&self) -> bool {
        matches!(self.kind, Kind::Lost(_))
    }

    pub(super) const fn is_absent(&self) -> bool {
        matches!(self.kind, Kind::Refused { status: 404, .. })
    }

    /// What to tell people.
    pub(super) fn fault(self, plea: &Plea) -> Fault {
        let (method, at) = (&plea.method, plea.shown());
        let fault = match self.kind {
            Kind::Own(fault) => *fault,
            Kind::Unsent(why) => Fault::new(Code::DriverUnreachable, format!("{method} {at}: {why}")),
            Kind::Lost(why) => Fault::new(Code::DriverFailed, format!("{method} {at}: {why}")),
            Kind::Later { status, says, .. } => {
                Fault::new(Code::DriverFailed, format!("{method} {at} is answered {status}: {says}"))
            }
            Kind::Refused { status, says } => {
                let code = match status {
                    401 => Code::DriverRefused,
                    403 => Code::DriverDenied,
                    404 | 410 => Code::DriverAbsent,
                    300..=399 => Code::DriverNonsense,
                    _ => Code::DeploymentFailed,
                };
                Fault::new(code, format!("{method} {at} is answered {status}: {says}"))
            }
        };
        self.tried.into_iter().fold(fault, Fault::after_trying)
    }
}

/// A client of one deployment API.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    authenticator: Authenticator,
    retry: RetryPolicy,
}

impl Client {
    /// # Errors
    /// A certificate that is none.
    pub(super) fn new(settings: &HttpDriver, kit: &Kit) -> Result<Self, Fault> {
        let invalid = |what: &str, why: &dyn std::fmt::Display| {
            Fault::new(Code::ConfigurationInvalid, format!("`deploy.http.{what}` is not usable: {why}"))
        };
        let mut builder = stack::builder();
        if let Some(path) = &settings.ca {
            let pem = std::fs::read(kit.workspace.join(path)).map_err(|error| invalid("ca", &error))?;
            let all = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| invalid("ca", &error))?;
            if all.is_empty() {
                return Err(invalid("ca", &"there is no certificate in it"));
            }
            builder = all.into_iter().fold(builder, reqwest::ClientBuilder::add_root_certificate);
        }
        if let Some(tls) = &settings.mutual_tls {
            let certificate = kit.secrets.resolve(&tls.certificate)?;
            let key = kit.secrets.resolve(&tls.key)?;
            let both = format!("{}\n{}", pem(certificate.expose_secret()), pem(key.expose_secret()));
            // What reqwest says of it could quote it.
            let identity = reqwest::Identity::from_pem(both.as_bytes())
                .map_err(|_| invalid("mutual-tls", &"a certificate and its private key in PEM are needed"))?;
            builder = builder.identity(identity);
        }
        let http = builder.build().map_err(|error| invalid("mutual-tls", &error))?;
        let authenticator = Authenticator::new(settings.authentication.clone(), http.clone(), kit);
        Ok(Self { http, authenticator, retry: kit.retry })
    }

    /// Whether we can say who we are.
    ///
    /// # Errors
    /// A secret that is not set.
    pub(super) fn check(&self) -> Result<(), Fault> {
        self.authenticator.check()
    }

    /// Asks until it is answered, or until asking again is of no use or not safe.
    pub(super) async fn ask(&self, plea: &Plea) -> Result<Answer, Failure> {
        let mut tried = Vec::new();
        let mut refreshed = false;
        let mut attempt = 1;
        loop {
            let kind = match self.once(plea).await {
                Ok(answer) => return Ok(answer),
                Err(kind) => kind,
            };
            // A token may be taken back before it expires: asked for once more, at once.
            if matches!(kind, Kind::Refused { status: 401, .. }) && !refreshed && self.authenticator.forget().await {
                refreshed = true;
                tried.push("asked for a new token".to_owned());
                continue;
            }
            let class = match &kind {
                Kind::Unsent(_) => RetryClass::Passing { after: None },
                Kind::Lost(_) if plea.repeatable => RetryClass::Passing { after: None },
                Kind::Later { after, .. } if after.is_none_or(|after| after <= LONGEST_WAIT) => {
                    RetryClass::Passing { after: *after }
                }
                _ => RetryClass::Final,
            };
            let Some(wait) = self.retry.wait(attempt, class, rand::random()) else {
                return Err(Failure { kind, tried });
            };
            tried.push(format!("attempt {attempt}: {}", told(&kind)));
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }

    async fn once(&self, plea: &Plea) -> Result<Answer, Kind> {
        let request = self.request(plea).await.map_err(|fault| Kind::Own(Box::new(fault)))?;
        let lost = |why: String| Kind::Lost(why);
        let sent = async {
            let answer = stack::execute(&self.http, request).await.map_err(|error| {
                let why = root_cause(&error);
                if error.is_connect() { Kind::Unsent(why) } else { Kind::Lost(why) }
            })?;
            self.read(plea, answer).await
        };
        tokio::time::timeout(plea.timeout, sent)
            .await
            .unwrap_or_else(|_| Err(lost(format!("no answer within {}", humantime::format_duration(plea.timeout)))))
    }

    async fn read(&self, plea: &Plea, answer: reqwest::Response) -> Result<Answer, Kind> {
        let status = answer.status().as_u16();
        let header = |name: HeaderName| answer.headers().get(name).and_then(|value| value.to_str().ok());
        let media_type = header(CONTENT_TYPE).unwrap_or_default().to_owned();
        if plea.accepts(status) {
            let body = stack::body(answer, BODY).await.map_err(|error| Kind::Lost(error.to_string()))?;
            return Ok(Answer::new(status, &media_type, body));
        }
        let after = stack::retry_after::asked(answer.headers());
        let says = String::from_utf8_lossy(&stack::excerpt(answer, 4 * EXCERPT).await).into_owned();
        let says = if says.trim().is_empty() { "(nothing)".to_owned() } else { line(&says, EXCERPT) };
        Err(match StatusCode::from_u16(status).ok() {
            Some(StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) => {
                Kind::Later { status, says, after }
            }
            Some(other) if other.is_server_error() => Kind::Lost(format!("it is answered {status}: {says}")),
            _ => Kind::Refused { status, says },
        })
    }

    async fn request(&self, plea: &Plea) -> Result<reqwest::Request, Fault> {
        let mut request = reqwest::Request::new(plea.method.clone(), plea.url.clone());
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(authorization) = self.authenticator.authorization().await? {
            headers.insert(AUTHORIZATION, authorization);
        }
        if let Some(body) = &plea.body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(body.media_type));
        }
        for (name, value) in &plea.headers {
            let unusable = || {
                let text = format!("the header `{name}` would have a value that no header can have");
                Fault::new(Code::ConfigurationInvalid, text).with_fix("give it one line of plain text")
            };
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unusable())?;
            let mut value = HeaderValue::from_str(value.expose_secret()).map_err(|_| unusable())?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        *request.body_mut() = plea.body.as_ref().map(|body| body.bytes.clone().into());
        Ok(request)
    }
}

fn told(kind: &Kind) -> String {
    match kind {
        Kind::Unsent(why) | Kind::Lost(why) => why.clone(),
        Kind::Later { status, says, .. } | Kind::Refused { status, says } => format!("{status}: {says}"),
        Kind::Own(fault) => fault.message.clone(),
    }
}

/// What is at the bottom of an error, without addresses.
pub(super) fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let what = if error.is_connect() { "no connection" } else { "the connection broke" };
    if error.source().is_none() { what.to_owned() } else { format!("{what}: {cause}") }
}

/// PEM as it is, or out of base64.
fn pem(text: &str) -> String {
    if text.contains("-----BEGIN") {
        return text.to_owned();
    }
    let compact: String = text.split_whitespace().collect();
    let decoded = base64::engine::general_purpose::STANDARD.decode(compact).ok();
    decoded.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_else(|| text.to_owned())
}
