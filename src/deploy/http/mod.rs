//! `http`: a deployment API puts the release in place.
//!
//! | file | what it does |
//! |---|---|
//! | `authentication` | who we are there; tokens are kept until they expire |
//! | `client` | one request: sent, repeated where that is safe, its answer bounded |
//! | `answer` | what an answer says |

mod answer;
mod authentication;
mod client;

use async_trait::async_trait;
use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Map, Value};

use self::answer::Answer;
use self::client::{Client, Failure, Plea, Sent};
use super::{Begun, Driver, Kit, Log, Order, Pace, Progress, Report, Setback, fill_fault};
use crate::config::{Body, Call, HttpDriver, SecretReader, StatusCall};
use crate::promotion::deployment::{Handle, Running, differences};
use crate::promotion::fault::{Code, Fault};

/// How much of an answer is kept for later calls.
const KEPT: usize = 8 * 1024;

/// Speaks to a deployment API.
#[derive(Debug)]
pub(super) struct Http {
    settings: HttpDriver,
    client: Client,
    secrets: SecretReader,
}

impl Http {
    /// # Errors
    /// A certificate that is none.
    pub(super) fn new(settings: &HttpDriver, kit: &Kit) -> Result<Self, Fault> {
        let client = Client::new(settings, kit)?;
        Ok(Self { settings: settings.clone(), client, secrets: kit.secrets.clone() })
    }

    /// A call that changes the world: sent, and its answer read.
    async fn change(&self, call: &Call, order: &Order, log: &Log) -> Result<Begun, Setback> {
        let plea = self.plea(call, order, &order.values).map_err(Setback::Untouched)?;
        log.say(&format!("{} {}", plea.method, plea.shown()));
        let answer = self.client.ask(&plea).await.map_err(|failure| self.setback(&plea, failure))?;
        log.say(&format!("answered {}: {}", answer.status, answer.excerpt()));
        if answer.is_a_page() {
            let text = format!("{} answers a page for people, where a deployment API should", plea.shown());
            return Err(Setback::Uncertain(self.redacted(Fault::new(Code::DeploymentUncertain, text))));
        }
        let report = self.report(&answer, call.outcome.version.as_ref(), call.outcome.message.as_ref());
        if let Some(error) = answer.own_error() {
            let text = format!("{} answers {} with an error: {error}", plea.shown(), answer.status);
            return Err(Setback::Failed(self.redacted(Fault::new(Code::DeploymentFailed, text))));
        }
        let Some(status) = &self.settings.status else { return Ok(Begun::Done(report)) };
        let handle = self.handle(status, &answer).map_err(|missing| {
            let text = format!(
                "{} answers {}, and without `{missing}`, which following the deployment needs: {}",
                plea.shown(),
                answer.status,
                answer.excerpt()
            );
            Setback::Uncertain(self.redacted(Fault::new(Code::DeploymentUncertain, text)))
        })?;
        Ok(Begun::GoesOn(handle))
    }

    /// A call with everything filled in.
    fn plea(&self, call: &Call, order: &Order, values: &Map<String, Value>) -> Result<Plea, Fault> {
        let method = Method::from_bytes(call.method.name().as_bytes());
        let mut plea = Plea {
            method: method.map_err(|_| Fault::defect("a method that is none"))?,
            url: self.url(&call.url, values)?,
            headers: self.headers(&call.headers, values)?,
            body: call.body.as_ref().map(|body| self.body(body, values)).transpose()?,
            accept: call.accept.clone(),
            timeout: call.timeout,
            repeatable: self.settings.idempotent,
        };
        plea.headers.push((self.settings.idempotency_header.clone(), order.key.clone().into()));
        plea.headers.push((self.settings.fencing_header.clone(), order.fence.to_string().into()));
        Ok(plea)
    }

    /// A question, which changes nothing.
    fn question(
        &self,
        url: &crate::config::Template,
        headers: &indexmap::IndexMap<String, crate::config::Value>,
        timeout: std::time::Duration,
        values: &Map<String, Value>,
    ) -> Result<Plea, Fault> {
        Ok(Plea {
            method: Method::GET,
            url: self.url(url, values)?,
            headers: self.headers(headers, values)?,
            body: None,
            accept: Vec::new(),
            timeout,
            repeatable: true,
        })
    }

    fn url(&self, template: &crate::config::Template, values: &Map<String, Value>) -> Result<url::Url, Fault> {
        let text = template.render(values).map_err(|error| fill_fault(error.into()))?;
        text.parse().map_err(|error| {
            let text = format!("the template `{}` makes no address: {error}", template.as_str());
            Fault::new(Code::ConfigurationInvalid, text)
        })
    }

    fn headers(
        &self,
        headers: &indexmap::IndexMap<String, crate::config::Value>,
        values: &Map<String, Value>,
    ) -> Result<Vec<(String, SecretString)>, Fault> {
        // A call's own headers come after the driver's, and take their place.
        let all = self.settings.headers.iter().filter(|(name, _)| !headers.contains_key(*name)).chain(headers);
        all.map(|(name, value)| Ok((name.clone(), self.secrets.fill(value, values).map_err(fill_fault)?))).collect()
    }

    fn body(&self, body: &Body, values: &Map<String, Value>) -> Result<Sent, Fault> {
        use secrecy::ExposeSecret as _;
        Ok(match body {
            Body::Json(json) => Sent::json(&self.secrets.fill_json(json, values).map_err(fill_fault)?),
            Body::Text(text) => Sent::text(self.secrets.fill(text, values).map_err(fill_fault)?.expose_secret()),
            Body::Form(fields) => {
                let filled = fields.iter().map(|(name, value)| {
                    Ok::<_, Fault>((name.as_str(), self.secrets.fill(value, values).map_err(fill_fault)?))
                });
                Sent::form(&filled.collect::<Result<Vec<_>, _>>()?)
            }
        })
    }

    /// What of an answer later calls need.
    fn handle(&self, status: &StatusCall, answer: &Answer) -> Result<Handle, String> {
        let used = |template: &crate::config::Template| template.keys_of("response");
        let of_value = |value: &crate::config::Value| match value {
            crate::config::Value::Template(template) => used(template),
            crate::config::Value::Secret(_) => Vec::new(),
        };
        let needed = used(&status.url).into_iter().chain(status.headers.values().flat_map(of_value));
        let mut response = Map::new();
        for key in needed {
            let value = answer.member(&key).ok_or_else(|| key.clone())?;
            response.insert(key, value.clone());
        }
        // What cancelling needs may be missing: only cancelling fails then.
        for key in self.settings.cancel.iter().flat_map(|call| used(&call.url)) {
            if let Some(value) = answer.member(&key) {
                response.insert(key, value.clone());
            }
        }
        if Value::Object(response.clone()).to_string().len() > KEPT {
            return Err("a short value".to_owned());
        }
        let id = response.values().find_map(answer::text);
        Ok(Handle { id, url: None, response })
    }

    /// The run's values, with those of the answer that began it.
    fn later_values(order: &Order, handle: &Handle) -> Map<String, Value> {
        let mut values = order.values.clone();
        values.insert("response".to_owned(), Value::Object(handle.response.clone()));
        values
    }

    fn report(
        &self,
        answer: &Answer,
        version: Option<&crate::config::Pointer>,
        message: Option<&crate::config::Pointer>,
    ) -> Report {
        let read = |pointer: Option<&crate::config::Pointer>| {
            pointer.and_then(|pointer| answer.text_at(pointer)).map(|text| self.secrets.redact(&text))
        };
        Report { state: None, version: read(version), message: read(message), url: None }
    }

    async fn ask_status(&self, status: &StatusCall, order: &Order, handle: &Handle) -> Result<Progress, Fault> {
        let values = Self::later_values(order, handle);
        let plea = self.question(&status.url, &status.headers, status.timeout.min(ANSWER_TIME), &values)?;
        let answer = self.client.ask(&plea).await.map_err(|failure| self.fault(&plea, failure))?;
        let mut report = self.report(&answer, status.version.as_ref(), status.message.as_ref());
        let Some(state) = answer.text_at(&status.state) else {
            let text = format!(
                "{} answers without a state at `{}`: {}",
                plea.shown(),
                status.state.as_str(),
                answer.excerpt()
            );
            return Err(self.redacted(Fault::new(Code::DriverNonsense, text)));
        };
        let state = self.secrets.redact(&state);
        report.state = Some(state.clone());
        let is = |states: &[String]| states.iter().any(|one| one.to_lowercase() == state.to_lowercase());
        Ok(match &status.running {
            _ if is(&status.success) => Progress::Applied(report),
            _ if is(&status.failure) => Progress::Failed(report),
            Some(running) if !is(running) => {
                let message =
                    format!("a state that the configuration does not know; {}", report.message.unwrap_or_default());
                Progress::Failed(Report { message: Some(message), ..report })
            }
            _ => Progress::InProgress(report),
        })
    }

    fn fault(&self, plea: &Plea, failure: Failure) -> Fault {
        self.redacted(failure.fault(plea))
    }

    /// What is known of the world when a call that changes it has failed.
    fn setback(&self, plea: &Plea, failure: Failure) -> Setback {
        let lost = failure.may_have_been_done();
        let fault = self.fault(plea, failure);
        if lost {
            let message = format!("{}; whether the deployment was begun is not known", fault.message);
            Setback::Uncertain(Fault { tried: fault.tried, ..Fault::new(Code::DeploymentUncertain, message) })
        } else {
            Setback::Untouched(fault)
        }
    }

    fn redacted(&self, fault: Fault) -> Fault {
        Fault { message: self.secrets.redact(&fault.message), ..fault }
    }
}

/// How long one question about the state may take; the driver's own time is for all of them.
const ANSWER_TIME: std::time::Duration = std::time::Duration::from_secs(30);

#[async_trait]
impl Driver for Http {
    fn name(&self) -> &'static str {
        "http"
    }

    fn pace(&self) -> Pace {
        let (every, timeout) =
            self.settings.status.as_ref().map_or((ANSWER_TIME, ANSWER_TIME), |one| (one.every, one.timeout));
        Pace { every, timeout }
    }

    fn check(&self, order: &Order) -> Result<(), Fault> {
        self.client.check()?;
        self.plea(&self.settings.promote, order, &order.values)?;
        if let Some(call) = &self.settings.rollback {
            self.plea(call, order, &order.values)?;
        }
        if let Some(call) = &self.settings.running {
            self.question(&call.url, &call.headers, call.timeout, &order.values)?;
        }
        Ok(())
    }

    /// Calls `promote`. That the same call twice is one deployment is the API's part: it is given the same idempotency
    /// key. A call whose answer was lost is sent again only where `idempotent` promises that.
    async fn start(&self, order: &Order, log: &Log) -> Result<Begun, Setback> {
        self.change(&self.settings.promote, order, log).await
    }

    /// Asks `status`; without a handle it asks `running`, and knows only whether the release is in place already.
    async fn observe(&self, order: &Order, handle: Option<&Handle>) -> Result<Progress, Fault> {
        if let (Some(status), Some(handle)) = (&self.settings.status, handle) {
            return self.ask_status(status, order, handle).await;
        }
        if self.settings.idempotent {
            // The call can be sent again: under its key it is one and the same.
            return Ok(Progress::NotStarted);
        }
        let running = self.running(order).await?;
        if !running.is_empty() && differences(&order.release, &order.names, &running).is_empty() {
            return Ok(Progress::Applied(Report::default()));
        }
        let why = "the call was cut off, and whether the API has taken it is not known; \
                   `deploy.http.idempotent: true` lets it be sent again with the same key, where the API knows such keys";
        Ok(Progress::Unknown(why.to_owned()))
    }

    /// Calls `rollback`, or `promote` with what is put back.
    async fn roll_back(&self, order: &Order, log: &Log) -> Result<Begun, Setback> {
        self.change(self.settings.rollback.as_ref().unwrap_or(&self.settings.promote), order, log).await
    }

    async fn cancel(&self, order: &Order, handle: &Handle) -> Result<(), Fault> {
        let Some(call) = &self.settings.cancel else { return Ok(()) };
        let plea = self.plea(call, order, &Self::later_values(order, handle))?;
        self.client.ask(&plea).await.map(|_| ()).map_err(|failure| self.fault(&plea, failure))
    }

    async fn running(&self, order: &Order) -> Result<Vec<Running>, Fault> {
        let Some(call) = &self.settings.running else { return Ok(Vec::new()) };
        let plea = self.question(&call.url, &call.headers, call.timeout, &order.values)?;
        let answer = match self.client.ask(&plea).await {
            Ok(answer) => answer,
            // What was never deployed is not there yet.
            Err(failure) if failure.is_absent() => return Ok(vec![Running::default()]),
            Err(failure) => return Err(self.fault(&plea, failure)),
        };
        if !answer.is_json() {
            let text = format!("{} is to tell what runs, and answers no JSON: {}", plea.shown(), answer.excerpt());
            return Err(self.redacted(Fault::new(Code::DriverNonsense, text)));
        }
        let read = |pointer: &Option<crate::config::Pointer>| pointer.as_ref().and_then(|one| answer.text_at(one));
        let digest = read(&call.digest);
        let parsed = digest.as_deref().map(|text| super::command::read_running("", text));
        let version = read(&call.version).map(|text| self.secrets.redact(&text));
        Ok(vec![Running {
            at: String::new(),
            digest: parsed.as_ref().and_then(|one| one.digest.clone()),
            version: version.or_else(|| parsed.and_then(|one| one.version)),
        }])
    }
}
