//! `base-image`: what the image says it was built on.
//!
//! The labels are the builder's own words (image-spec `annotations.md`); with a provenance they are signed, without one
//! they are as good as whoever built the image.

use async_trait::async_trait;

use super::{Check, Name, Observation, Subject};
use crate::config::CheckName;
use crate::promotion::fault::Fault;
use crate::promotion::wildcard::is_like;
use crate::registry::PlatformInspection;

/// Each platform's image is built on one that is allowed.
#[derive(Debug)]
pub(super) struct BaseImage;

const NAME: &str = "org.opencontainers.image.base.name";
const DIGEST: &str = "org.opencontainers.image.base.digest";

#[async_trait]
impl Check for BaseImage {
    fn name(&self) -> Name {
        Name::Chosen(CheckName::BaseImage)
    }

    async fn look(&self, subject: &Subject<'_>) -> Result<Vec<Observation>, Fault> {
        let Some(base) = &subject.policy.policy.content.base_image else {
            return Ok(vec![Observation::nothing("no base image is named that is allowed")]);
        };
        let platforms = &subject.inspection.platforms;
        Ok(platforms.iter().map(|platform| observe(platform, &base.allow).of(platform)).collect())
    }
}

fn observe(platform: &PlatformInspection, allowed: &[String]) -> Observation {
    let wanted = format!("built on {}", allowed.join(" or "));
    let told = |label: &str| {
        let annotation = platform.manifest.annotations.get(label);
        annotation.or_else(|| platform.facts.labels.get(label)).filter(|text| !text.is_empty())
    };
    let (name, digest) = (told(NAME), told(DIGEST));
    let fix = format!("build on an allowed image, and let the build say so in the labels `{NAME}` and `{DIGEST}`");
    let names: Vec<String> = match (name, digest) {
        (None, None) => return Observation::bad("no label that says so", wanted, fix),
        (Some(name), None) => vec![name.clone()],
        (None, Some(digest)) => vec![digest.clone()],
        (Some(name), Some(digest)) => vec![format!("{name}@{digest}"), name.clone(), digest.clone()],
    };
    let good = allowed.iter().any(|pattern| names.iter().any(|name| is_like(pattern, name, true)));
    Observation::either(good, names.first().cloned().unwrap_or_default(), wanted, fix)
}
