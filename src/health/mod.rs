//! Probes: questions to what was deployed, and what their answers came to.
//!
//! | file | what is asked |
//! |---|---|
//! | `http`, `exchange` | a request of HTTP, and how it is sent and held against what is expected |
//! | `tcp`, `tls`, `dns` | a port, a handshake, a name |
//! | `postgres`, `redis` | a database that answers |
//! | `lambda` | a function that is invoked |
//! | `command` | a program that ends with 0 |
//! | `smoke` | several requests, one after the other |
//! | `running` | who deploys it, what runs |
//!
//! A probe is filled in once ([`prepare`]): a secret that is missing is noticed before anything was changed. An answer
//! that is wrong is a failure of what was deployed; a question that could not be asked is an error of ours, and the two
//! are never mixed up.

mod certificate;
mod command;
mod dns;
mod exchange;
mod http;
mod lambda;
mod postgres;
mod redis;
mod running;
mod smoke;
mod tcp;
mod tls;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tokio::time::Instant;

pub use self::running::{Teller, Wanted};
use crate::config::{FillError, Health, Probe, ProbeKind, RenderError, SecretReader, SmokeStep, Template};
use crate::promotion::fault::{Code, Fault};
use crate::promotion::health::{Grade, Sample};

/// The most that is kept of why an answer was not good.
const NOTE: usize = 300;

/// What is captured and shorter than this is no secret, and hiding it would hide words of other texts.
const GUESSABLE: usize = 8;

/// The least time that who deploys it has to tell what runs: there may be several hosts to ask.
const TO_TELL: Duration = Duration::from_secs(30);

/// What templates may use, and where secrets are found.
#[derive(Debug, Clone)]
pub struct Values {
    /// The values of the run.
    pub run: Value,
    /// The secrets that the configuration names.
    pub secrets: SecretReader,
}

impl Values {
    fn render(&self, template: &Template) -> Result<String, Fault> {
        template.render(&self.run).map_err(|error| unrendered(&error))
    }

    /// What may be shown of a text: nothing of secrets, and nothing of what was captured, which may be a session or a
    /// token. What is cut is cut afterwards: a part would not be known again.
    fn hidden(&self, text: &str) -> String {
        let captured = self.run.get("captured").and_then(Value::as_object).into_iter().flat_map(|all| all.values());
        let told = captured.filter_map(Value::as_str).filter(|value| value.len() >= GUESSABLE);
        told.fold(self.secrets.redact(text), |text, value| text.replace(value, "***"))
    }
}

fn unrendered(error: &RenderError) -> Fault {
    Fault::new(Code::ConfigurationInvalid, error.to_string())
        .with_fix("give the value that is missing, or use another one in the template")
}

fn unfilled(error: FillError) -> Fault {
    match error {
        FillError::Template(error) => unrendered(&error),
        FillError::Secret(error) => error.into(),
    }
}

/// An answer that was good.
#[derive(Debug, Default)]
struct Good {
    /// What should be known all the same.
    warning: Option<String>,
}

/// Why there was no good answer.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Miss {
    /// It was wrong, or did not come.
    Failed(String),
    /// It could not be asked for.
    Ours(String),
}

/// A question, filled in. It may hold secrets, and shows nothing of itself.
#[async_trait]
trait Question: Send + Sync {
    /// Asks once. Where `identity` is set, the answer must also show that the new version gave it.
    ///
    /// Safe to drop at any time.
    async fn ask(&self, identity: bool) -> Result<Good, Miss>;

    /// Whether answers show which version gave them.
    fn shows_identity(&self) -> bool {
        false
    }
}

/// A probe, filled in, with how patiently it is asked.
pub struct Prepared {
    /// Its name in the samples.
    pub name: String,
    /// Whether the verdict depends on it.
    pub critical: bool,
    /// How often it is asked in a tick; none for the window's own.
    pub samples: Option<u32>,
    retries: u32,
    interval: Duration,
    timeout: Duration,
    deadline: Duration,
    latency: Option<Duration>,
    secrets: SecretReader,
    question: Box<dyn Question>,
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What asking came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The sample of it.
    pub sample: Sample,
    /// What should be known although it was good.
    pub warning: Option<String>,
}

/// Fills in a probe.
///
/// # Errors
/// [`Code::SecretUnset`]; [`Code::ConfigurationInvalid`] for a template that cannot be rendered, or an address that is
/// none; [`Code::DriverRefused`] for a function without credentials.
pub fn prepare(name: String, probe: &Probe, health: &Health, values: &Values) -> Result<Prepared, Fault> {
    let question: Box<dyn Question> = match &probe.kind {
        ProbeKind::Http(http) => Box::new(http::Http::fill(http, probe.identity.as_ref(), values)?),
        ProbeKind::Tcp(address) => Box::new(tcp::Tcp::fill(address, values)?),
        ProbeKind::Tls { address, certificate } => Box::new(tls::Tls::fill(address, *certificate, values)?),
        ProbeKind::Postgres { database, query, expect } => {
            Box::new(postgres::Postgres::fill(database, query, expect.as_ref(), values)?)
        }
        ProbeKind::Redis(address) => Box::new(redis::Redis::fill(address, values)?),
        ProbeKind::Dns { name, expect } => Box::new(dns::Dns::fill(name, expect, values)?),
        ProbeKind::Command { run, env } => Box::new(command::Command::fill(run, env, values)?),
        ProbeKind::Lambda(lambda) => Box::new(lambda::Lambda::fill(&name, lambda, values)?),
    };
    Ok(Prepared {
        name,
        critical: probe.critical,
        samples: probe.samples,
        retries: probe.retries.unwrap_or(health.retries),
        interval: probe.interval.unwrap_or(health.interval),
        timeout: probe.timeout.unwrap_or(health.timeout),
        deadline: health.deadline,
        latency: probe.latency,
        secrets: values.secrets.clone(),
        question,
    })
}

/// Fills in a smoke test. What its steps need of each other's answers is filled in while it goes on.
///
/// # Errors
/// As [`prepare`].
pub fn prepare_smoke(name: String, steps: &[SmokeStep], health: &Health, values: &Values) -> Result<Prepared, Fault> {
    let question = smoke::Smoke::new(steps, health.timeout, values)?;
    Ok(Prepared {
        name,
        critical: true,
        samples: None,
        retries: 1,
        interval: health.interval,
        timeout: health.deadline,
        deadline: health.deadline,
        latency: None,
        secrets: values.secrets.clone(),
        question: Box::new(question),
    })
}

/// Makes a probe of somebody who can tell what runs: once in each tick, and never of what ran before.
pub fn prepare_running(
    name: String,
    teller: Box<dyn Teller>,
    wanted: Wanted,
    health: &Health,
    secrets: &SecretReader,
) -> Prepared {
    let patience = health.timeout.max(TO_TELL);
    Prepared {
        name,
        critical: true,
        samples: Some(1),
        retries: health.retries,
        interval: health.interval,
        timeout: patience + Duration::from_secs(1),
        deadline: health.deadline,
        latency: None,
        secrets: secrets.clone(),
        question: Box::new(running::RunningDigest { teller, wanted, patience }),
    }
}

impl Prepared {
    /// Whether its answers show which version gave them.
    #[must_use]
    pub fn shows_identity(&self) -> bool {
        self.question.shows_identity()
    }

    /// Asks once.
    pub async fn ask(&self, identity: bool) -> Answer {
        let begin = Instant::now();
        let answered = tokio::time::timeout(self.timeout, self.question.ask(identity)).await;
        let took = begin.elapsed();
        let (grade, note, warning) = match answered {
            Err(_) => (Grade::Fail, Some(format!("no answer within {}", shown(self.timeout))), None),
            Ok(Err(Miss::Failed(why))) => (Grade::Fail, Some(why), None),
            Ok(Err(Miss::Ours(why))) => (Grade::Error, Some(why), None),
            Ok(Ok(good)) => match self.latency.filter(|latest| took > *latest) {
                Some(latest) => {
                    (Grade::Fail, Some(format!("it took {}, and {} will do", shown(took), shown(latest))), good.warning)
                }
                None => (Grade::Pass, None, good.warning),
            },
        };
        // An answer may repeat what it was sent.
        let note = note.map(|note| self.secrets.redact(&note).chars().take(NOTE).collect());
        let ms = u32::try_from(took.as_millis()).unwrap_or(u32::MAX);
        Answer { sample: Sample { probe: self.name.clone(), grade, ms, attempts: 1, note }, warning }
    }

    /// Asks until the answer is good, as often and as long as the configuration says.
    pub async fn ask_patiently(&self, identity: bool) -> Answer {
        let begin = Instant::now();
        let mut attempts = 1;
        loop {
            let mut answer = self.ask(identity).await;
            answer.sample.attempts = attempts;
            let out_of_time = begin.elapsed() + self.interval >= self.deadline;
            if answer.sample.grade == Grade::Pass || attempts >= self.retries || out_of_time {
                return answer;
            }
            attempts += 1;
            tokio::time::sleep(self.interval).await;
        }
    }
}

fn shown(time: Duration) -> String {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    humantime::format_duration(Duration::from_millis(millis)).to_string()
}

/// Why a connection could not be made, from the error of the socket.
fn unconnected(error: &std::io::Error, to: &str) -> Miss {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::ConnectionRefused => Miss::Failed(format!("{to} refuses the connection")),
        ErrorKind::TimedOut => Miss::Failed(format!("{to} does not answer")),
        ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::UnexpectedEof
        | ErrorKind::BrokenPipe => Miss::Failed(format!("{to} breaks the connection")),
        // A name that is not resolved, a network that is not there.
        _ => Miss::Ours(format!("{to} cannot be reached from here: {error}")),
    }
}
