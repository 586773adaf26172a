//! `metadata`: the fields of the image's configuration that are asked for are there.

use async_trait::async_trait;

use super::{Check, Name, Observation, Subject};
use crate::config::{CheckName, MetadataField};
use crate::promotion::fault::Fault;
use crate::registry::PlatformInspection;

/// Each field that is asked for is in each platform's configuration.
#[derive(Debug)]
pub(super) struct Metadata;

#[async_trait]
impl Check for Metadata {
    fn name(&self) -> Name {
        Name::Chosen(CheckName::Metadata)
    }

    async fn look(&self, subject: &Subject<'_>) -> Result<Vec<Observation>, Fault> {
        let wanted = &subject.policy.policy.metadata;
        if wanted.is_empty() {
            return Ok(vec![Observation::nothing("no field is asked for")]);
        }
        let names: Vec<&str> = wanted.iter().map(|field| field.name()).collect();
        let observations = subject.inspection.platforms.iter().map(|platform| {
            let missing: Vec<&str> =
                wanted.iter().filter(|field| !has(platform, **field)).map(|field| field.name()).collect();
            let seen = if missing.is_empty() { names.join(", ") } else { format!("no {}", missing.join(", no ")) };
            Observation::either(
                missing.is_empty(),
                seen,
                names.join(", "),
                "let the Dockerfile set it (`WORKDIR`, `STOPSIGNAL`), or let the builder fill it in",
            )
            .of(platform)
        });
        Ok(observations.collect())
    }
}

fn has(platform: &PlatformInspection, field: MetadataField) -> bool {
    let pointer = match field {
        MetadataField::Created => "/created",
        MetadataField::Author => "/author",
        MetadataField::History => "/history",
        MetadataField::WorkingDirectory => "/config/WorkingDir",
        MetadataField::StopSignal => "/config/StopSignal",
    };
    match platform.config_json.pointer(pointer) {
        Some(serde_json::Value::String(text)) => !text.trim().is_empty(),
        Some(serde_json::Value::Array(items)) => !items.is_empty(),
        _ => false,
    }
}
