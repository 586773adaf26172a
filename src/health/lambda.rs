//! A Lambda function that is invoked and answers as it should (AWS Lambda API Reference, `Invoke`).

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Good, Miss, Question, Values, unfilled};
use crate::aws::{self, Access, AwsError};
use crate::config::{JsonPath, LambdaProbe};
use crate::promotion::fault::Fault;
use crate::promotion::retry::RetryPolicy;
use crate::promotion::untrusted::line;

/// The most that is shown of an answer.
const SHOWN: usize = 200;

/// A probe is tried again as its own settings say, so a request is sent once.
const ONCE: u32 = 1;

pub(super) struct Lambda {
    api: aws::Lambda,
    function: String,
    qualifier: Option<String>,
    payload: Value,
    expect: Vec<(JsonPath, Value)>,
    values: Values,
}

impl Lambda {
    pub(super) fn fill(name: &str, probe: &LambdaProbe, values: &Values) -> Result<Self, Fault> {
        let api = aws::Lambda::new(&Access {
            section: name,
            region: probe.region.as_deref(),
            role: probe.role.as_deref(),
            credentials: probe.credentials.as_ref(),
            endpoint: probe.endpoint.as_ref(),
            secrets: &values.secrets,
            retry: RetryPolicy { attempts: ONCE, ..RetryPolicy::default() },
        })?;
        api.check()?;
        let fill = |json| values.secrets.fill_json(json, &values.run).map_err(unfilled);
        let expect = probe.expect.iter().map(|(path, wanted)| Ok((path.clone(), fill(wanted)?)));
        Ok(Self {
            api,
            function: values.render(&probe.function)?,
            qualifier: probe.qualifier.as_ref().map(|template| values.render(template)).transpose()?,
            payload: probe.payload.as_ref().map(fill).transpose()?.unwrap_or_else(|| json!({})),
            expect: expect.collect::<Result<_, Fault>>()?,
            values: values.clone(),
        })
    }
}

#[async_trait]
impl Question for Lambda {
    async fn ask(&self, _: bool) -> Result<Good, Miss> {
        let answer = self.api.invoke(&self.function, self.qualifier.as_deref(), &self.payload).await;
        let answer = answer.map_err(|error| miss(error, &self.function))?;
        let shown = line(&self.values.hidden(&answer.body.to_string()), SHOWN);
        if let Some(error) = answer.error {
            return Err(Miss::Failed(format!("the function fails ({}): {shown}", line(&error, 60))));
        }
        for (path, wanted) in &self.expect {
            if !path.path().query(&answer.body).iter().any(|found| **found == *wanted) {
                let wanted = line(&self.values.hidden(&wanted.to_string()), SHOWN);
                return Err(Miss::Failed(format!("{} is not {wanted}: {shown}", path.as_str())));
            }
        }
        Ok(Good::default())
    }
}

/// A function that is not there is a failure. What AWS does not let us ask, or does not answer, says nothing of it.
fn miss(error: AwsError, function: &str) -> Miss {
    match error {
        AwsError::Refused { status: 404, message, .. } => Miss::Failed(format!("{function} is not there: {message}")),
        other => Miss::Ours(other.fault(function).message),
    }
}
