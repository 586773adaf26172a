//! `secrets`: nothing secret is in the environment variables or the history of the image, where everybody can read it
//! who can pull.

use std::collections::BTreeSet;

use async_trait::async_trait;

use super::{Check, Name, Observation, Subject};
use crate::config::CheckName;
use crate::promotion::fault::Fault;
use crate::promotion::sensitive::{has_secret_value, is_secret_name, secret_assignments};
use crate::registry::PlatformInspection;

/// Each platform's configuration has no secret in it.
#[derive(Debug)]
pub(super) struct Secrets;

const WANTED: &str = "no secret in environment variables and history";

#[async_trait]
impl Check for Secrets {
    fn name(&self) -> Name {
        Name::Chosen(CheckName::Secrets)
    }

    async fn look(&self, subject: &Subject<'_>) -> Result<Vec<Observation>, Fault> {
        let allowed = subject.policy.policy.content.secrets.as_ref().map(|one| one.allow.clone()).unwrap_or_default();
        Ok(subject.inspection.platforms.iter().map(|platform| observe(platform, &allowed).of(platform)).collect())
    }
}

/// What looks like a secret is named, and never shown.
fn observe(platform: &PlatformInspection, allowed: &[String]) -> Observation {
    let is_allowed = |name: &str| allowed.iter().any(|one| one == name);
    let mut found = BTreeSet::new();
    for variable in &platform.config.execution.env {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        if !is_allowed(name) && !value.is_empty() && (is_secret_name(name) || has_secret_value(value)) {
            found.insert(format!("the variable {name}"));
        }
    }
    let history = platform.config_json.get("history").and_then(serde_json::Value::as_array);
    for (place, step) in history.into_iter().flatten().enumerate() {
        let texts = ["created_by", "comment"].into_iter().filter_map(|field| step.get(field)?.as_str());
        for text in texts {
            let names = secret_assignments(text).into_iter().filter(|name| !is_allowed(name));
            found.extend(names.map(|name| format!("{name} in step {} of the history", place + 1)));
            if has_secret_value(text) {
                found.insert(format!("a value in step {} of the history", place + 1));
            }
        }
    }
    if found.is_empty() {
        return Observation::good("none that looks like one", WANTED);
    }
    let fix = "give it at run time instead, or to the build by `RUN --mount=type=secret`; change it, for it is known now; \
               what is no secret is allowed in `content.secrets.allow`";
    Observation::bad(found.into_iter().collect::<Vec<_>>().join(", "), WANTED, fix)
}
