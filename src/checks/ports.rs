//! `ports`: the ports that the image says it listens on.

use async_trait::async_trait;
use serde_json::Value;

use super::{Check, Name, Observation, Subject};
use crate::config::CheckName;
use crate::promotion::fault::Fault;
use crate::registry::PlatformInspection;

/// Each platform's image exposes only such ports as are allowed.
#[derive(Debug)]
pub(super) struct Ports;

#[async_trait]
impl Check for Ports {
    fn name(&self) -> Name {
        Name::Chosen(CheckName::Ports)
    }

    async fn look(&self, subject: &Subject<'_>) -> Result<Vec<Observation>, Fault> {
        let Some(ports) = &subject.policy.policy.content.ports else {
            return Ok(vec![Observation::nothing("no port is named that is allowed")]);
        };
        let allowed: Vec<String> = ports.allow.iter().map(|port| with_protocol(port)).collect();
        Ok(subject.inspection.platforms.iter().map(|platform| observe(platform, &allowed).of(platform)).collect())
    }
}

fn observe(platform: &PlatformInspection, allowed: &[String]) -> Observation {
    let wanted = if allowed.is_empty() { "no port".to_owned() } else { format!("no port but {}", allowed.join(", ")) };
    // A set, written as an object with empty values (image-spec `config.md`).
    let exposed: Vec<String> = match platform.config_json.pointer("/config/ExposedPorts") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Object(ports)) => ports.keys().map(|port| with_protocol(port)).collect(),
        Some(_) => {
            let fix = "rebuild the image: `ExposedPorts` of its configuration is an object with a port for each key";
            return Observation::bad("`ExposedPorts` is not what lists ports", wanted, fix);
        }
    };
    let others: Vec<&str> = exposed.iter().filter(|port| !allowed.contains(port)).map(String::as_str).collect();
    let seen = if exposed.is_empty() { "none".to_owned() } else { exposed.join(", ") };
    let fix = format!("remove `EXPOSE {}` from the Dockerfile, or allow it in `content.ports`", others.join(" "));
    Observation::either(others.is_empty(), seen, wanted, fix)
}

/// A port with its protocol, which is TCP where none is named.
fn with_protocol(port: &str) -> String {
    if port.contains('/') { port.to_lowercase() } else { format!("{port}/tcp") }
}
