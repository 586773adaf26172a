//! `deploy.http`: a deployment API.

use std::time::Duration;

use indexmap::IndexMap;
use serde::Serialize;

use crate::config::check::Checker;
use crate::config::collection::Map;
use crate::config::collection::{NonEmpty, OneOrMany};
use crate::config::literal::Lit;
use crate::config::matching::{Pointer, PointerSyntax};
use crate::config::names::{FilePath, Line, Status, StatusSyntax, UrlSyntax};
use crate::config::path::Path;
use crate::config::secret::{Secret, SecretText};
use crate::config::section::{section, words};
use crate::config::template::{Deployment, Filled, In, Response, Template};
use crate::config::time::PositiveDuration;
use crate::config::value::{HeaderName, Headers, Json, JsonText, Value, ValueText};

words! {
    /// A method of HTTP.
    pub enum Method {
        /// GET.
        Get = "GET",
        /// HEAD.
        Head = "HEAD",
        /// POST.
        Post = "POST",
        /// PUT.
        Put = "PUT",
        /// PATCH.
        Patch = "PATCH",
        /// DELETE.
        Delete = "DELETE",
    }
}

/// A deployment API.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HttpDriver {
    /// Who we are there.
    pub authentication: Option<Authentication>,
    /// The certificate that we show.
    pub mutual_tls: Option<MutualTls>,
    /// A file with certificates of authorities to trust beside the public ones.
    pub ca: Option<String>,
    /// Headers of every call.
    pub headers: IndexMap<String, Value>,
    /// The header that carries the idempotency key.
    pub idempotency_header: String,
    /// The header that carries the fencing token.
    pub fencing_header: String,
    /// Whether the API takes two calls with the same idempotency key for one.
    pub idempotent: bool,
    /// Puts the candidate in place.
    pub promote: Call,
    /// Puts an earlier version in place; none where `promote` does that too.
    pub rollback: Option<Call>,
    /// Tells how far it is; none where the answer to the call is the outcome.
    pub status: Option<StatusCall>,
    /// Tells what runs.
    pub running: Option<RunningCall>,
    /// Stops what was begun.
    pub cancel: Option<Call>,
}

/// Who we are for an API.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Authentication {
    /// OAuth 2 client credentials (RFC 6749, section 4.4).
    Oauth(OAuth),
    /// A bearer token.
    Bearer(Secret),
    /// A user and a password.
    Basic(Basic),
    /// GitHub's OpenID Connect token of the job, for this audience.
    GithubOidc(String),
}

section! {
    /// A deployment API.
    struct HttpKeys from RawHttpDriver,
        at_most_one_of ["oauth", "bearer", "basic", "github-oidc"],
        finish http => HttpDriver
    {
        /// OAuth 2 client credentials.
        optional oauth: RawOAuth => OAuth,
        /// A bearer token.
        optional bearer: SecretText => Secret,
        /// A user and a password.
        optional basic: RawBasic => Basic,
        /// GitHub's OpenID Connect token of the job. It takes `id-token: write` under `permissions:`.
        optional github_oidc: RawOidc => Oidc,
        /// The certificate that we show.
        optional mutual_tls: RawMutualTls => MutualTls,
        /// A file with certificates of authorities to trust beside the public ones.
        optional ca: Lit<FilePath> => String,
        /// Headers of every call: a template, or `${NAME}` for a secret.
        default(IndexMap::new()) headers: In<Deployment, Headers> => IndexMap<String, Value>,
        /// The header that carries the idempotency key. Default: `idempotency-key`.
        default("idempotency-key".to_owned()) idempotency_header: Lit<HeaderName> => String,
        /// The header that carries the fencing token, which grows with every run that takes the environment. Default:
        /// `x-fencing-token`.
        default("x-fencing-token".to_owned()) fencing_header: Lit<HeaderName> => String,
        /// Whether the API takes two calls with the same idempotency key for one: a call whose answer was lost is then
        /// sent again. Default: `false`; such a run ends inconclusive.
        default(false) idempotent: bool => bool,
        /// The call that puts the candidate in place.
        required promote: In<Deployment, RawCall> => Call,
        /// The call that puts an earlier version in place; `digest` and `version` are then those of the target.
        /// Default: `promote`.
        optional rollback: In<Deployment, RawCall> => Call,
        /// The call that tells how far it is. `response` is the answer to `promote` or `rollback`. Without it that
        /// answer is the outcome.
        optional status: In<Response, RawStatusCall> => StatusCall,
        /// The call that tells what runs.
        optional running: In<Deployment, RawRunningCall> => RunningCall,
        /// The call that stops what was begun.
        optional cancel: In<Response, RawCall> => Call,
    }
}

fn http(keys: HttpKeys, _: &[String], _: &Path, _: &mut Checker<'_>) -> Option<HttpDriver> {
    let authentication = None
        .or(keys.oauth.map(Authentication::Oauth))
        .or(keys.bearer.map(Authentication::Bearer))
        .or(keys.basic.map(Authentication::Basic))
        .or(keys.github_oidc.map(|oidc| Authentication::GithubOidc(oidc.audience)));
    Some(HttpDriver {
        authentication,
        mutual_tls: keys.mutual_tls,
        ca: keys.ca,
        headers: keys.headers,
        idempotency_header: keys.idempotency_header,
        fencing_header: keys.fencing_header,
        idempotent: keys.idempotent,
        promote: keys.promote,
        rollback: keys.rollback,
        status: keys.status,
        running: keys.running,
        cancel: keys.cancel,
    })
}

words! {
    /// Where the client's secret goes in a request for a token (RFC 6749, section 2.3.1).
    pub enum ClientAuthentication {
        /// Into the header `authorization`.
        Header = "header",
        /// Into the body.
        Body = "body",
    }
}

section! {
    /// OAuth 2 client credentials. The token is kept until it expires, and asked for again when it is refused.
    pub struct OAuth from RawOAuth {
        /// The address that gives tokens.
        required token_url: Filled<UrlSyntax> => Template,
        /// The client's id.
        required client_id: SecretText => Secret,
        /// The client's secret.
        required client_secret: SecretText => Secret,
        /// The scopes to ask for.
        default(Vec::new()) scopes: Vec<Lit<Line>> => Vec<String>,
        /// The audience to ask for.
        optional audience: Lit<Line> => String,
        /// Where the client's secret goes. Default: `header`.
        default(ClientAuthentication::Header) client_authentication: ClientAuthentication,
    }
}

section! {
    /// A user and a password (RFC 7617).
    pub struct Basic from RawBasic {
        /// The user.
        required user: SecretText => Secret,
        /// The password.
        required password: SecretText => Secret,
    }
}

section! {
    /// GitHub's OpenID Connect token of the job.
    pub(in crate::config) struct Oidc from RawOidc {
        /// The audience that the token is for.
        required audience: Lit<Line> => String,
    }
}

section! {
    /// The certificate that we show.
    pub struct MutualTls from RawMutualTls {
        /// The certificate with its chain, in PEM, as it is or in base64.
        required certificate: SecretText => Secret,
        /// Its private key, in PEM, as it is or in base64.
        required key: SecretText => Secret,
    }
}

/// What is sent.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Body {
    /// JSON.
    Json(Json),
    /// A form.
    Form(IndexMap<String, Value>),
    /// Text.
    Text(Value),
}

/// One call.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// The address.
    pub url: Template,
    /// Headers.
    pub headers: IndexMap<String, Value>,
    /// What is sent.
    pub body: Option<Body>,
    /// The statuses that mean that it was accepted.
    pub accept: Vec<Status>,
    /// How long to wait for the answer.
    pub timeout: Duration,
    /// What of the answer goes into the record.
    pub outcome: Outcome,
}

section! {
    /// One call of an API.
    struct CallKeys from RawCall, at_most_one_of ["json", "form", "text"], finish call => Call {
        /// The method. Default: `POST`.
        default(Method::Post) method: Method,
        /// The address.
        required url: Filled<UrlSyntax> => Template,
        /// Headers: a template, or `${NAME}` for a secret.
        default(IndexMap::new()) headers: Headers => IndexMap<String, Value>,
        /// What is sent, as JSON; every text in it is a template, or `${NAME}` for a secret.
        optional json: JsonText => Json,
        /// What is sent, as a form.
        optional form: Map<Line, ValueText> => IndexMap<String, Value>,
        /// What is sent, as text.
        optional text: ValueText => Value,
        /// The statuses that mean that it was accepted. Default: `2xx`.
        default(vec![Status::SUCCESS]) accept: OneOrMany<Lit<StatusSyntax>> => Vec<Status>,
        /// How long to wait for the answer. Default: `30s`.
        default(Duration::from_secs(30)) timeout: Lit<PositiveDuration> => Duration,
        /// Where the answer has the version that was made, as a JSON pointer.
        optional version: Lit<PointerSyntax> => Pointer,
        /// Where the answer has a message for people, as a JSON pointer.
        optional message: Lit<PointerSyntax> => Pointer,
    }
}

fn call(keys: CallKeys, written: &[String], at: &Path, checker: &mut Checker<'_>) -> Option<Call> {
    if matches!(keys.method, Method::Get | Method::Head) {
        let good =
            checker.belongs(at, written, &["json", "form", "text"], &["method: POST", "method: PUT", "method: PATCH"]);
        good.then_some(())?;
    }
    let body = None.or(keys.json.map(Body::Json)).or(keys.form.map(Body::Form)).or(keys.text.map(Body::Text));
    Some(Call {
        method: keys.method,
        url: keys.url,
        headers: keys.headers,
        body,
        accept: keys.accept,
        timeout: keys.timeout,
        outcome: Outcome { version: keys.version, message: keys.message },
    })
}

/// What of an answer goes into the record.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// Where it has the version that was made.
    pub version: Option<Pointer>,
    /// Where it has a message for people.
    pub message: Option<Pointer>,
}

section! {
    /// The call that tells how far a deployment is.
    pub struct StatusCall from RawStatusCall, finish status => StatusCall {
        /// The address. It is asked with GET.
        required url: Filled<UrlSyntax> => Template,
        /// Headers: a template, or `${NAME}` for a secret.
        default(IndexMap::new()) headers: Headers => IndexMap<String, Value>,
        /// How often to ask. Default: `5s`.
        default(Duration::from_secs(5)) every: Lit<PositiveDuration> => Duration,
        /// How long to ask in all. Default: `10m`.
        default(Duration::from_secs(600)) timeout: Lit<PositiveDuration> => Duration,
        /// Where the answer has the state, as a JSON pointer.
        required state: Lit<PointerSyntax> => Pointer,
        /// The states that mean success, without regard to case.
        required success: NonEmpty<Lit<Line>> => Vec<String>,
        /// The states that mean failure, without regard to case.
        required failure: NonEmpty<Lit<Line>> => Vec<String>,
        /// The states that mean that it still runs. Default: all others; with it any other is a failure.
        optional running: NonEmpty<Lit<Line>> => Vec<String>,
        /// Where the answer has the version that was made, as a JSON pointer.
        optional version: Lit<PointerSyntax> => Pointer,
        /// Where the answer has a message for people, as a JSON pointer.
        optional message: Lit<PointerSyntax> => Pointer,
    }
}

fn status(status: StatusCall, _: &[String], at: &Path, checker: &mut Checker<'_>) -> Option<StatusCall> {
    let mut good = true;
    let mut seen = std::collections::HashSet::new();
    let running = status.running.as_deref().unwrap_or_default();
    for (key, states) in [("success", status.success.as_slice()), ("failure", &status.failure), ("running", running)] {
        for state in states {
            if !seen.insert(state.to_lowercase()) {
                checker.problem(&at.key(key), format!("`{state}` is named twice"), "let each state mean one thing");
                good = false;
            }
        }
    }
    if status.every > status.timeout {
        checker.problem(&at.key("every"), "is longer than `timeout`", "ask more often, or longer");
        good = false;
    }
    good.then_some(status)
}

section! {
    /// The call that tells what runs. It is asked with GET.
    pub struct RunningCall from RawRunningCall, finish running => RunningCall {
        /// The address.
        required url: Filled<UrlSyntax> => Template,
        /// Headers: a template, or `${NAME}` for a secret.
        default(IndexMap::new()) headers: Headers => IndexMap<String, Value>,
        /// How long to wait for the answer. Default: `30s`.
        default(Duration::from_secs(30)) timeout: Lit<PositiveDuration> => Duration,
        /// Where the answer has the digest that runs, as a JSON pointer.
        optional digest: Lit<PointerSyntax> => Pointer,
        /// Where the answer has the version that runs, as a JSON pointer.
        optional version: Lit<PointerSyntax> => Pointer,
    }
}

fn running(call: RunningCall, _: &[String], at: &Path, checker: &mut Checker<'_>) -> Option<RunningCall> {
    if call.digest.is_none() && call.version.is_none() {
        checker.key_problem(
            at,
            "says neither `digest` nor `version`",
            "add where the answer has one, e.g. `digest: /digest`",
        );
        return None;
    }
    Some(call)
}
