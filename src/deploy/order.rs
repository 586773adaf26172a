//! What a driver is told to put in place.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::promotion::candidate::Platform;
use crate::promotion::deployment::Release;
use crate::promotion::digest::Digest;
use crate::promotion::identity::DeploymentId;

/// What is put in place, for whom, and under which name.
#[derive(Debug, Clone)]
pub struct Order {
    /// The service.
    pub service: String,
    /// What is put in place; in a rollback what is put back.
    pub release: Release,
    /// All digests under which the release may run: its own, and those of its platforms' manifests.
    pub names: Vec<Digest>,
    /// The platforms that the release is for; none where that is not known.
    pub platforms: Vec<Platform>,
    /// The run.
    pub run: DeploymentId,
    /// In a rollback, the run whose deployment is taken back.
    pub undoes: Option<DeploymentId>,
    /// The name of this order: the same whenever it is given again, and never that of another.
    pub key: String,
    /// The fencing token: greater than that of every order before in this environment.
    pub fence: u64,
    /// What templates may use.
    pub values: Map<String, Value>,
}

/// What is known of a run for the templates of its drivers.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// The environment.
    pub environment: &'a str,
    /// The commit of the image, or of the job.
    pub revision: Option<&'a str>,
    /// The service's sequence number.
    pub sequence: Option<u64>,
    /// The mode.
    pub mode: Option<&'a str>,
    /// The variables.
    pub variables: &'a BTreeMap<String, String>,
    /// The digest that runs before.
    pub previous: Option<&'a Digest>,
    /// Who asked.
    pub requestor: &'a str,
    /// Why.
    pub reason: Option<&'a str>,
}

impl Order {
    /// The same order with the values of its templates. What is not known is left out, so that a template that needs it
    /// says so; free text that was not given is empty.
    #[must_use]
    pub fn with(mut self, facts: &Facts<'_>) -> Self {
        let mut values = Map::new();
        let mut add = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                values.insert(name.to_owned(), value);
            }
        };
        add("service", Some(self.service.as_str().into()));
        add("environment", Some(facts.environment.into()));
        add("digest", self.release.digest.as_ref().map(|digest| digest.as_str().into()));
        add("version", self.release.version.as_deref().map(Value::from));
        add("revision", facts.revision.map(Value::from));
        add("sequence", facts.sequence.map(Value::from));
        add("deployment_id", Some(self.run.as_str().into()));
        add("mode", Some(facts.mode.unwrap_or_default().into()));
        add("vars", serde_json::to_value(facts.variables).ok());
        add("previous_digest", facts.previous.map(|digest| digest.as_str().into()));
        add("requestor", Some(facts.requestor.into()));
        add("reason", Some(facts.reason.unwrap_or_default().into()));
        add("fencing_token", Some(self.fence.into()));
        self.values = values;
        self
    }
}
