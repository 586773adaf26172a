//! `consistent`: manifest, configuration and index agree with each other.

use async_trait::async_trait;

use super::{Check, Name, Observation, Subject};
use crate::promotion::candidate::Platform;
use crate::promotion::fault::Fault;
use crate::registry::{PlatformInspection, Trouble};

/// Layers, contents and history are as many as each other, and the index tells the truth about the platform.
#[derive(Debug)]
pub(super) struct Consistent;

const WANTED: &str = "index, manifest and configuration agree";
const FIX: &str = "rebuild the image; it was put together wrongly";

#[async_trait]
impl Check for Consistent {
    fn name(&self) -> Name {
        Name::Fixed("consistent")
    }

    async fn look(&self, subject: &Subject<'_>) -> Result<Vec<Observation>, Fault> {
        let malformed = subject
            .inspection
            .problems
            .iter()
            .filter(|problem| matches!(problem.error.trouble, Trouble::Malformed { .. }));
        let mut seen: Vec<Observation> = malformed
            .map(|problem| {
                Observation::bad(format!("{}: {}", problem.digest, problem.error.trouble), WANTED, FIX).unforceable()
            })
            .collect();
        if subject.inspection.platforms.is_empty() && seen.is_empty() {
            seen.push(
                Observation::bad(
                    "no image for any platform",
                    WANTED,
                    "promote an image; this is something else in its form",
                )
                .unforceable(),
            );
        }
        seen.extend(subject.inspection.platforms.iter().map(|platform| {
            let faults = faults(platform);
            if faults.is_empty() {
                Observation::good(format!("{} layers, as many as contents", platform.layers.len()), WANTED).of(platform)
            } else {
                Observation::bad(faults.join("; "), WANTED, FIX).of(platform)
            }
        }));
        Ok(seen)
    }
}

fn faults(platform: &PlatformInspection) -> Vec<String> {
    let mut faults = Vec::new();
    let (layers, contents) = (platform.layers.len(), platform.config.rootfs.diff_ids.len());
    if layers != contents {
        faults.push(format!("the manifest has {layers} layers, and the configuration names {contents} contents"));
    }
    let history = &platform.config.history;
    let made = history.iter().filter(|step| !step.empty_layer).count();
    // The history is optional (image-spec `config.md`).
    if !history.is_empty() && made != contents {
        faults.push(format!("the history tells of {made} layers, and the configuration names {contents} contents"));
    }
    if layers == 0 {
        faults.push("it has no layer".to_owned());
    }
    if let Some(declared) = &platform.declared {
        let told = Platform {
            os: declared.os.clone(),
            architecture: declared.architecture.clone(),
            variant: declared.variant.clone().filter(|variant| !variant.is_empty()),
        };
        let is = &platform.facts.platform;
        // A variant that only one of the two tells is no contradiction.
        if told.os != is.os
            || told.architecture != is.architecture
            || (told.variant.is_some() && is.variant.is_some() && !is.satisfies(&told))
        {
            faults.push(format!("the index says {told}, and the configuration {is}"));
        }
    }
    faults
}
