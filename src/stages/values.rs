//! The values of a run that templates may use.

use serde_json::{Map, Value};

use crate::promotion::run::Run;

/// What templates may use for a service of a run. A value that is not known is left out, so that a template that needs
/// it says so.
pub(super) fn of(run: &Run, service: &str, version: Option<&str>) -> Map<String, Value> {
    let candidate = run.candidate(service);
    let planned = run.plan.as_ref().and_then(|(plan, _)| plan.candidate(service));
    let mut values = Map::new();
    let mut add = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            values.insert(name.to_owned(), value);
        }
    };
    add("service", Some(service.into()));
    add("environment", Some(run.opening.environment.as_str().into()));
    add("deployment_id", Some(run.id.as_str().into()));
    add("mode", Some(run.opening.mode.as_deref().unwrap_or_default().into()));
    add("requestor", Some(run.opening.requestor.as_str().into()));
    add("reason", Some(run.opening.reason.as_deref().unwrap_or_default().into()));
    add("vars", serde_json::to_value(&run.opening.variables).ok());
    add("digest", candidate.and_then(|candidate| candidate.digest.as_ref()).map(|digest| digest.as_str().into()));
    add("sequence", candidate.and_then(|candidate| candidate.sequence).map(Value::from));
    let previous = planned.and_then(|planned| planned.image.as_ref()).and_then(|image| image.previous());
    add("previous_digest", previous.map(|digest| digest.as_str().into()));
    let facts = candidate.and_then(|candidate| candidate.facts.as_ref());
    add("revision", facts.and_then(|facts| facts.revision()).map(Value::from));
    let version = version
        .or_else(|| planned.and_then(|planned| planned.version.as_deref()))
        .or_else(|| facts.and_then(|facts| facts.label("org.opencontainers.image.version")));
    add("version", version.map(Value::from));
    values
}
