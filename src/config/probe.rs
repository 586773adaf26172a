//! Probes: one question to what was deployed.

use std::time::Duration;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::{Check, Checker, replaced};
use super::collection::{Map, NonEmpty, OneOrMany};
use super::deploy::{Basic, Body, Credentials, Method, RawBasic, RawCredentials};
use super::health::Retries;
use super::literal::{Lit, Literal, NotOne};
use super::matching::{AnyPattern, JsonPath, JsonPathSyntax, Pattern};
use super::names::{DnsName, HostPort, Line, Name, Region, RoleArn, Status, StatusSyntax, UrlSyntax};
use super::number::Whole;
use super::path::Path;
use super::secret::{Secret, SecretText};
use super::section::section;
use super::template::{Filled, RUN, Template, TemplateSyntax, TemplateText};
use super::time::PositiveDuration;
use super::value::{HeaderName, Headers, Json, JsonText, Value, ValueText, VariableName, Variables};

/// One question to what was deployed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Probe {
    /// What is asked.
    pub kind: ProbeKind,
    /// Whether the verdict depends on it.
    pub critical: bool,
    /// How the answer shows which version gave it.
    pub identity: Option<ProbeIdentity>,
    /// The slowest answer that will do.
    pub latency: Option<Duration>,
    /// How often it is tried before the window begins; none for the section's own.
    pub retries: Option<u32>,
    /// How long to wait between two tries; none for the section's own.
    pub interval: Option<Duration>,
    /// How long to wait for an answer; none for the section's own.
    pub timeout: Option<Duration>,
    /// How often it is asked in a tick; none for the window's own.
    pub samples: Option<u32>,
}

/// Kinds of probes.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProbeKind {
    /// A request of HTTP.
    Http(Box<HttpProbe>),
    /// A port that can be connected to, `host:port`.
    Tcp(Template),
    /// A TLS handshake.
    Tls {
        /// `host:port`.
        address: Template,
        /// How long the certificate must last.
        certificate: Duration,
    },
    /// A database.
    Postgres {
        /// `postgres://…`.
        database: Secret,
        /// What is asked.
        query: String,
        /// What the first column of the first row has to be.
        expect: Option<Template>,
    },
    /// A Redis server that answers PING.
    Redis(Secret),
    /// A name that the DNS resolves.
    Dns {
        /// The name.
        name: Template,
        /// Addresses of which one must be among the answers.
        expect: Vec<Template>,
    },
    /// A Lambda function that answers.
    Lambda(Box<LambdaProbe>),
    /// A program that ends with 0.
    Command {
        /// The program and its arguments.
        run: Vec<Template>,
        /// The variables that it gets.
        env: IndexMap<String, Value>,
    },
}

/// An invocation of a Lambda function and what is expected of the answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LambdaProbe {
    /// The function's name.
    pub function: Template,
    /// The version or alias.
    pub qualifier: Option<Template>,
    /// What it is invoked with.
    pub payload: Option<Json>,
    /// What its answer must have, by JSON path.
    pub expect: IndexMap<JsonPath, Json>,
    /// The region; none for that of the step's environment.
    pub region: Option<String>,
    /// The role to take on; none for the credentials of the step's environment.
    pub role: Option<String>,
    /// Credentials instead of those of the step's environment.
    pub credentials: Option<Credentials>,
    /// The address of the API; none for that of AWS.
    pub endpoint: Option<Template>,
}

/// A request of HTTP and what is expected of the answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HttpProbe {
    /// The request.
    pub request: Request,
    /// What is expected.
    pub expect: Expectation,
    /// How many redirects are followed.
    pub redirects: u32,
    /// How long the certificate must last; a shorter time is warned of.
    pub certificate: Duration,
}

/// A request of HTTP.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The address.
    pub url: Template,
    /// Headers.
    pub headers: IndexMap<String, Value>,
    /// A bearer token.
    pub bearer: Option<Secret>,
    /// A user and a password.
    pub basic: Option<Basic>,
    /// What is sent.
    pub body: Option<Body>,
}

/// What is expected of an answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Expectation {
    /// The statuses that will do.
    pub status: Vec<Status>,
    /// What headers have to be.
    pub headers: IndexMap<String, Template>,
    /// What the body must have, by JSON path.
    pub body: IndexMap<JsonPath, Json>,
    /// A pattern that must be found in the body.
    pub pattern: Option<Pattern>,
}

/// How an answer shows which version gave it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProbeIdentity {
    /// Where.
    pub place: IdentityPlace,
    /// What has to stand there.
    pub expect: Template,
}

/// Where an answer shows which version gave it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdentityPlace {
    /// In a header.
    Header(String),
    /// In its JSON.
    Json(JsonPath),
}

section! {
    /// How an answer shows which version gave it.
    struct IdentityKeys from RawIdentity, one_of ["header", "json"], finish identity => ProbeIdentity {
        /// A header.
        optional header: Lit<HeaderName> => String,
        /// A place in its JSON, as a JSON path.
        optional json: Lit<JsonPathSyntax> => JsonPath,
        /// What has to stand there. Default: `{{ digest }}`.
        optional expect: TemplateText => Template,
    }
}

fn identity(keys: IdentityKeys, _: &[String], _: &Path, _: &mut Checker<'_>) -> Option<ProbeIdentity> {
    let place = keys.header.map(IdentityPlace::Header).or(keys.json.map(IdentityPlace::Json))?;
    let expect = keys.expect.or_else(|| Template::new("{{ digest }}").ok())?;
    Some(ProbeIdentity { place, expect })
}

section! {
    /// One question to what was deployed.
    struct ProbeKeys from RawProbe,
        one_of ["url", "tcp", "tls", "postgres", "redis", "dns", "lambda", "command"],
        at_most_one_of ["bearer", "basic"],
        at_most_one_of ["json", "form", "text"],
        at_most_one_of ["role", "credentials"],
        finish probe => Probe
    {
        /// A request of HTTP to this address.
        optional url: Filled<UrlSyntax> => Template,
        /// A port that can be connected to, `host:port`.
        optional tcp: Filled<Address> => Template,
        /// A TLS handshake with `host:port`.
        optional tls: Filled<Address> => Template,
        /// A database, `${NAME}` with `postgres://…` in it.
        optional postgres: SecretText => Secret,
        /// A Redis server that answers PING, `${NAME}` with `redis://…` or `rediss://…` in it.
        optional redis: SecretText => Secret,
        /// A name that the DNS resolves.
        optional dns: Filled<DnsTemplate> => Template,
        /// A Lambda function that answers, by name.
        optional lambda: TemplateText => Template,
        /// A program with its arguments that ends with 0.
        optional command: NonEmpty<TemplateText> => Vec<Template>,

        /// Whether the verdict depends on it. Default: true.
        default(true) critical: bool,
        /// How the answer to `url` shows which version gave it.
        optional identity: RawIdentity => ProbeIdentity,
        /// The slowest answer that will do.
        optional latency: Lit<PositiveDuration> => Duration,
        /// How often it is tried before the window begins. Default: as the section has it.
        optional retries: Retries => u32,
        /// How long to wait between two tries. Default: as the section has it.
        optional interval: Lit<PositiveDuration> => Duration,
        /// How long to wait for an answer. Default: as the section has it.
        optional timeout: Lit<PositiveDuration> => Duration,
        /// How often it is asked in a tick. Default: as `monitor` has it.
        optional samples: Whole<1, 100> => u32,

        /// For `url`: the method. Default: `GET`.
        optional method: Method,
        /// For `url`: headers, each a template, or `${NAME}` for a secret.
        default(IndexMap::new()) headers: Headers => IndexMap<String, Value>,
        /// For `url`: a bearer token.
        optional bearer: SecretText => Secret,
        /// For `url`: a user and a password.
        optional basic: RawBasic => Basic,
        /// For `url`: what is sent, as JSON.
        optional json: JsonText => Json,
        /// For `url`: what is sent, as a form.
        optional form: Map<Line, ValueText> => IndexMap<String, Value>,
        /// For `url`: what is sent, as text.
        optional text: ValueText => Value,
        /// For `url`: the statuses that will do. Default: `2xx`.
        default(vec![Status::SUCCESS]) status: OneOrMany<Lit<StatusSyntax>> => Vec<Status>,
        /// For `url`: what headers of the answer have to be.
        default(IndexMap::new()) expect_headers: Map<HeaderName, TemplateText> => IndexMap<String, Template>,
        /// For `url`: what the body must have, by JSON path, e.g. `"$.status": ok`.
        default(IndexMap::new()) body: Map<JsonPathSyntax, JsonText> => IndexMap<JsonPath, Json>,
        /// For `url`: a pattern that must be found in the body.
        optional pattern: Lit<AnyPattern> => Pattern,
        /// For `url`: how many redirects are followed. Default: 0.
        default(0) redirects: Whole<0, 10> => u32,
        /// For `url` and `tls`: how long the certificate must last. Default: `14d`.
        default(Duration::from_secs(14 * 86_400)) certificate: Lit<PositiveDuration> => Duration,

        /// For `postgres`: what is asked. Default: `SELECT 1`.
        default("SELECT 1".to_owned()) query: Lit<Line> => String,
        /// For `postgres`: what the first column of the first row has to be.
        optional value: TemplateText => Template,
        /// For `dns`: addresses of which one must be among the answers.
        default(Vec::new()) addresses: Vec<TemplateText> => Vec<Template>,
        /// For `lambda`: the version or alias.
        optional qualifier: TemplateText => Template,
        /// For `lambda`: what it is invoked with.
        optional payload: JsonText => Json,
        /// For `lambda`: what its answer must have, by JSON path.
        default(IndexMap::new()) expect: Map<JsonPathSyntax, JsonText> => IndexMap<JsonPath, Json>,
        /// For `lambda`: the region. Default: that of the step's environment.
        optional region: Lit<Region> => String,
        /// For `lambda`: the role to take on with GitHub's OpenID Connect token of the job.
        optional role: Lit<RoleArn> => String,
        /// For `lambda`: credentials instead of those of the step's environment.
        optional credentials: RawCredentials => Credentials,
        /// For `lambda`: the address of the API, for stand-ins. Default: that of AWS.
        optional endpoint: Filled<UrlSyntax> => Template,
        /// For `command`: the variables that it gets; it gets no others but `PATH` and `HOME`.
        default(IndexMap::new()) env: Variables => IndexMap<String, Value>,
    }
}

/// The keys that mean something for some kinds of probes only.
const SIBLINGS: [(&str, &[&str]); 25] = [
    ("identity", &["url"]),
    ("method", &["url"]),
    ("headers", &["url"]),
    ("bearer", &["url"]),
    ("basic", &["url"]),
    ("json", &["url"]),
    ("form", &["url"]),
    ("text", &["url"]),
    ("status", &["url"]),
    ("expect-headers", &["url"]),
    ("body", &["url"]),
    ("pattern", &["url"]),
    ("redirects", &["url"]),
    ("certificate", &["url", "tls"]),
    ("query", &["postgres"]),
    ("value", &["postgres"]),
    ("addresses", &["dns"]),
    ("qualifier", &["lambda"]),
    ("payload", &["lambda"]),
    ("expect", &["lambda"]),
    ("region", &["lambda"]),
    ("role", &["lambda"]),
    ("credentials", &["lambda"]),
    ("endpoint", &["lambda"]),
    ("env", &["command"]),
];

fn probe(keys: ProbeKeys, written: &[String], at: &Path, checker: &mut Checker<'_>) -> Option<Probe> {
    let mut good = true;
    for (key, kinds) in SIBLINGS {
        if !kinds.iter().any(|kind| written.iter().any(|key| key == kind)) {
            good &= checker.belongs(at, written, &[key], kinds);
        }
    }
    if let Some(command) = &keys.command {
        good &= super::deploy::no_injection(command, &at.key("command"), checker);
    }
    let (critical, identity, latency, samples) = (keys.critical, keys.identity.clone(), keys.latency, keys.samples);
    let (retries, interval, timeout) = (keys.retries, keys.interval, keys.timeout);
    let kind = kind(keys)?;
    good.then_some(Probe { kind, critical, identity, latency, retries, interval, timeout, samples })
}

fn kind(keys: ProbeKeys) -> Option<ProbeKind> {
    if let Some(url) = keys.url {
        let body = None.or(keys.json.map(Body::Json)).or(keys.form.map(Body::Form)).or(keys.text.map(Body::Text));
        let method = keys.method.unwrap_or(if body.is_some() { Method::Post } else { Method::Get });
        let request = Request { method, url, headers: keys.headers, bearer: keys.bearer, basic: keys.basic, body };
        let expect =
            Expectation { status: keys.status, headers: keys.expect_headers, body: keys.body, pattern: keys.pattern };
        let (redirects, certificate) = (keys.redirects, keys.certificate);
        return Some(ProbeKind::Http(Box::new(HttpProbe { request, expect, redirects, certificate })));
    }
    let (certificate, query, value, addresses, env) =
        (keys.certificate, keys.query, keys.value, keys.addresses, keys.env);
    let (qualifier, payload, expect) = (keys.qualifier, keys.payload, keys.expect);
    let (region, role, credentials, endpoint) = (keys.region, keys.role, keys.credentials, keys.endpoint);
    let lambda =
        |function| Box::new(LambdaProbe { function, qualifier, payload, expect, region, role, credentials, endpoint });
    None.or(keys.tcp.map(ProbeKind::Tcp))
        .or(keys.tls.map(|address| ProbeKind::Tls { address, certificate }))
        .or(keys.postgres.map(|database| ProbeKind::Postgres { database, query, expect: value }))
        .or(keys.redis.map(ProbeKind::Redis))
        .or(keys.dns.map(|name| ProbeKind::Dns { name, expect: addresses }))
        .or(keys.lambda.map(lambda).map(ProbeKind::Lambda))
        .or(keys.command.map(|run| ProbeKind::Command { run, env }))
}

/// The syntax of `host:port`, which may be a template.
pub(super) struct Address;

impl Literal for Address {
    type Value = Template;
    const WANTED: &'static str = HostPort::WANTED;

    fn read(text: &str) -> Result<Template, NotOne> {
        fitting::<HostPort>(text)
    }
}

/// The syntax of names in the DNS, which may be templates.
pub(super) struct DnsTemplate;

impl Literal for DnsTemplate {
    type Value = Template;
    const WANTED: &'static str = DnsName::WANTED;

    fn read(text: &str) -> Result<Template, NotOne> {
        fitting::<DnsName>(text)
    }
}

/// A template that makes something of the syntax `L`, as far as made-up values tell.
fn fitting<L: Literal>(text: &str) -> Result<Template, NotOne> {
    let template = TemplateSyntax::read(text)?;
    template.sample().map_or(Ok(()), |sample| L::read(&sample).map(|_| ()))?;
    Ok(template)
}

/// One request of a smoke test.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SmokeStep {
    /// Its name.
    pub name: String,
    /// The request.
    pub request: Request,
    /// What is expected of the answer.
    pub expect: Expectation,
    /// What of the answer later steps may use as `captured.<name>`.
    pub capture: IndexMap<String, JsonPath>,
    /// How many redirects are followed.
    pub redirects: u32,
    /// How long to wait for the answer; none for the section's own.
    pub timeout: Option<Duration>,
}

section! {
    /// One request of a smoke test, and what is expected of the answer.
    struct StepKeys from RawSmokeStep,
        at_most_one_of ["bearer", "basic"],
        at_most_one_of ["json", "form", "text"],
        finish step => SmokeStep
    {
        /// The step's name.
        required name: Lit<Name> => String,
        /// The address.
        required url: Filled<UrlSyntax> => Template,
        /// The method. Default: `GET`, or `POST` where something is sent.
        optional method: Method,
        /// Headers, each a template, or `${NAME}` for a secret.
        default(IndexMap::new()) headers: Headers => IndexMap<String, Value>,
        /// A bearer token.
        optional bearer: SecretText => Secret,
        /// A user and a password.
        optional basic: RawBasic => Basic,
        /// What is sent, as JSON.
        optional json: JsonText => Json,
        /// What is sent, as a form.
        optional form: Map<Line, ValueText> => IndexMap<String, Value>,
        /// What is sent, as text.
        optional text: ValueText => Value,
        /// The statuses that will do. Default: `2xx`.
        default(vec![Status::SUCCESS]) status: OneOrMany<Lit<StatusSyntax>> => Vec<Status>,
        /// What headers of the answer have to be.
        default(IndexMap::new()) expect_headers: Map<HeaderName, TemplateText> => IndexMap<String, Template>,
        /// What the body must have, by JSON path.
        default(IndexMap::new()) body: Map<JsonPathSyntax, JsonText> => IndexMap<JsonPath, Json>,
        /// A pattern that must be found in the body.
        optional pattern: Lit<AnyPattern> => Pattern,
        /// What of the answer later steps may use as `captured.<name>`, by JSON path.
        default(IndexMap::new()) capture: Map<VariableName, Lit<JsonPathSyntax>> => IndexMap<String, JsonPath>,
        /// How many redirects are followed. Default: 0.
        default(0) redirects: Whole<0, 10> => u32,
        /// How long to wait for the answer. Default: as the section has it.
        optional timeout: Lit<PositiveDuration> => Duration,
    }
}

fn step(keys: StepKeys, _: &[String], _: &Path, _: &mut Checker<'_>) -> Option<SmokeStep> {
    let body = None.or(keys.json.map(Body::Json)).or(keys.form.map(Body::Form)).or(keys.text.map(Body::Text));
    let method = keys.method.unwrap_or(if body.is_some() { Method::Post } else { Method::Get });
    let (url, headers, bearer, basic) = (keys.url, keys.headers, keys.bearer, keys.basic);
    let (status, pattern) = (keys.status, keys.pattern);
    Some(SmokeStep {
        name: keys.name,
        request: Request { method, url, headers, bearer, basic, body },
        expect: Expectation { status, headers: keys.expect_headers, body: keys.body, pattern },
        capture: keys.capture,
        redirects: keys.redirects,
        timeout: keys.timeout,
    })
}

/// Requests that are made one after the other. Each may use what those before it have captured.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(transparent)]
pub(super) struct RawSmoke(Vec<RawSmokeStep>);

impl Check for RawSmoke {
    type Checked = Vec<SmokeStep>;

    fn check(&self, at: &Path, checker: &mut Checker<'_>) -> Option<Vec<SmokeStep>> {
        let mut names: Vec<String> = RUN.iter().map(ToString::to_string).collect();
        let mut steps: Vec<Option<SmokeStep>> = Vec::new();
        for (place, raw) in self.0.iter().enumerate() {
            let here = at.index(place);
            let mut step = checker.in_scope(names.clone(), |checker| raw.check(&here, checker));
            let name = step.as_ref().map(|step| step.name.clone());
            if let Some(name) = name.filter(|name| steps.iter().flatten().any(|earlier| earlier.name == *name)) {
                checker.problem(
                    &here.key("name"),
                    format!("`{name}` is the name of an earlier step"),
                    "choose another name",
                );
                step = None;
            }
            names.extend(
                raw.capture.0.iter().flat_map(|capture| capture.0.keys()).map(|name| format!("captured.{name}")),
            );
            steps.push(step);
        }
        steps.into_iter().collect()
    }
}

replaced!(RawSmoke);
