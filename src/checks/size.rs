//! `size`: neither too small nor too large, in all and for each layer, as declared.
//!
//! The real sizes are compared with the declared ones where bytes are read: in the deep check of layers, and while the
//! content is copied.

use async_trait::async_trait;

use super::{Check, Name, Observation, Subject};
use crate::config::{CheckName, Size as Bytes, SizeLimits};
use crate::promotion::fault::Fault;
use crate::registry::PlatformInspection;

/// The compressed size of each platform's image is within the limits.
#[derive(Debug)]
pub(super) struct Size;

#[async_trait]
impl Check for Size {
    fn name(&self) -> Name {
        Name::Chosen(CheckName::Size)
    }

    async fn look(&self, subject: &Subject<'_>) -> Result<Vec<Observation>, Fault> {
        let Some(limits) = &subject.policy.policy.size else {
            return Ok(vec![Observation::nothing("no limit is set")]);
        };
        Ok(subject.inspection.platforms.iter().map(|platform| observe(platform, limits)).collect())
    }
}

fn observe(platform: &PlatformInspection, limits: &SizeLimits) -> Observation {
    let all = Bytes::from(platform.facts.size);
    let mut wrong = Vec::new();
    if !within(all, limits.min, limits.max) {
        wrong.push(format!("{} in all", all.rounded()));
    }
    for (place, layer) in platform.layers.iter().enumerate() {
        let size = Bytes::from(layer.size);
        if !within(size, limits.layer.min, limits.layer.max) {
            wrong.push(format!("layer {} ({}) has {}", place + 1, layer.digest.short(), size.rounded()));
        }
    }
    let seen = if wrong.is_empty() {
        format!("{} in {} layers", all.rounded(), platform.layers.len())
    } else {
        wrong.join("; ")
    };
    let mut wanted = range("the image", limits.min, limits.max);
    wanted.extend(range("each layer", limits.layer.min, limits.layer.max));
    Observation::either(
        wrong.is_empty(),
        seen,
        wanted.join(", "),
        "leave out what the image does not need at run time (build stages, caches, `.dockerignore`), or set another limit",
    )
    .of(platform)
}

fn within(size: Bytes, min: Option<Bytes>, max: Option<Bytes>) -> bool {
    min.is_none_or(|min| size >= min) && max.is_none_or(|max| size <= max)
}

fn range(what: &str, min: Option<Bytes>, max: Option<Bytes>) -> Vec<String> {
    match (min, max) {
        (None, None) => Vec::new(),
        (Some(min), None) => vec![format!("{what} at least {min}")],
        (None, Some(max)) => vec![format!("{what} at most {max}")],
        (Some(min), Some(max)) => vec![format!("{what} {min} to {max}")],
    }
}
