//! `labels`: the labels that are asked for are there, with the values that are asked for.

use async_trait::async_trait;

use super::{Check, Name, Observation, Subject};
use crate::config::CheckName;
use crate::promotion::fault::Fault;

/// Each label that is asked for is on each platform's image.
#[derive(Debug)]
pub(super) struct Labels;

#[async_trait]
impl Check for Labels {
    fn name(&self) -> Name {
        Name::Chosen(CheckName::Labels)
    }

    async fn look(&self, subject: &Subject<'_>) -> Result<Vec<Observation>, Fault> {
        let policy = &subject.policy.policy;
        if policy.labels.is_empty() && policy.label_values.is_empty() {
            return Ok(vec![Observation::nothing("no label is asked for")]);
        }
        let mut wanted: Vec<String> = policy.labels.iter().map(ToString::to_string).collect();
        wanted.extend(
            policy.label_values.iter().map(|(name, pattern)| format!("{name} with `{}` in it", pattern.as_str())),
        );
        let wanted = wanted.join(", ");
        let observations = subject.inspection.platforms.iter().map(|platform| {
            let labels = &platform.facts.labels;
            let value = |name: &str| labels.get(name).map(String::as_str).filter(|value| !value.is_empty());
            let mut wrong: Vec<String> =
                policy.labels.iter().filter(|name| value(name).is_none()).map(|name| format!("no {name}")).collect();
            for (name, pattern) in &policy.label_values {
                match value(name) {
                    None => wrong.push(format!("no {name}")),
                    Some(value) if !pattern.matches(value) => wrong.push(format!("{name} is {value}")),
                    Some(_) => {}
                }
            }
            let seen = if wrong.is_empty() {
                format!("{} labels, all of them among these", labels.len())
            } else {
                wrong.join(", ")
            };
            Observation::either(
                wrong.is_empty(),
                seen,
                wanted.clone(),
                "add `LABEL` to the Dockerfile, or let docker/metadata-action set the labels",
            )
            .of(platform)
        });
        Ok(observations.collect())
    }
}
