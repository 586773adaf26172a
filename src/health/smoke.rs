//! Several requests, one after the other; each may use what those before it have captured.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value};

use super::exchange::{Expected, Filled, client, exchange};
use super::{Good, Miss, Question, Values, shown};
use crate::config::SmokeStep;
use crate::promotion::fault::Fault;

pub(super) struct Smoke {
    client: reqwest::Client,
    steps: Vec<SmokeStep>,
    timeout: Duration,
    values: Values,
}

impl Smoke {
    /// A smoke test whose first step can be filled in; of the others it is known that they may use what it captures.
    pub(super) fn new(steps: &[SmokeStep], timeout: Duration, values: &Values) -> Result<Self, Fault> {
        let captured: BTreeSet<&String> = steps.iter().flat_map(|step| step.capture.keys()).collect();
        // Secrets and values of the run must be there now; what is captured only exists later.
        // An address of its own, because it may be one.
        let made_up = captured.into_iter().map(|name| (name.clone(), "https://captured.invalid/".into()));
        let made_up: Map<String, Value> = made_up.collect();
        let trial = with_captured(values, &made_up);
        for step in steps {
            Filled::fill(&step.request, &trial)?;
            Expected::fill(&step.expect, &trial)?;
        }
        Ok(Self { client: client()?, steps: steps.to_vec(), timeout, values: values.clone() })
    }

    async fn step(&self, step: &SmokeStep, captured: &mut Map<String, Value>) -> Result<(), Miss> {
        let values = with_captured(&self.values, captured);
        let wrong = |fault: Fault| Miss::Failed(fault.message);
        let request = Filled::fill(&step.request, &values).map_err(wrong)?;
        let expected = Expected::fill(&step.expect, &values).map_err(wrong)?;
        let reads_body = expected.reads_body() || !step.capture.is_empty();
        let timeout = step.timeout.unwrap_or(self.timeout);
        let sent = exchange(&self.client, &request, step.redirects, reads_body);
        let answer = tokio::time::timeout(timeout, sent)
            .await
            .map_err(|_| Miss::Failed(format!("no answer within {}", shown(timeout))))??;
        expected.check(&answer)?;
        if step.capture.is_empty() {
            return Ok(());
        }
        let json = answer.json()?;
        for (name, path) in &step.capture {
            let found = path.path().query(&json).all().first().map(|one| (*one).clone());
            let Some(value) = found else {
                return Err(Miss::Failed(format!("the answer has no {} to capture", path.as_str())));
            };
            captured.insert(name.clone(), value);
        }
        Ok(())
    }
}

fn with_captured(values: &Values, captured: &Map<String, Value>) -> Values {
    let mut run = values.run.clone();
    run["captured"] = Value::Object(captured.clone());
    Values { run, secrets: values.secrets.clone() }
}

#[async_trait]
impl Question for Smoke {
    async fn ask(&self, _: bool) -> Result<Good, Miss> {
        let mut captured = Map::new();
        for step in &self.steps {
            self.step(step, &mut captured).await.map_err(|miss| match miss {
                Miss::Failed(why) => Miss::Failed(format!("{}: {why}", step.name)),
                Miss::Ours(why) => Miss::Ours(format!("{}: {why}", step.name)),
            })?;
        }
        Ok(Good::default())
    }
}
