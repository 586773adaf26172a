//! `platforms`: the platforms that are asked for are there.

use async_trait::async_trait;

use super::{Check, Name, Observation, Subject};
use crate::config::CheckName;
use crate::promotion::fault::Fault;

/// Each platform that is asked for has an image.
#[derive(Debug)]
pub(super) struct Platforms;

#[async_trait]
impl Check for Platforms {
    fn name(&self) -> Name {
        Name::Chosen(CheckName::Platforms)
    }

    async fn look(&self, subject: &Subject<'_>) -> Result<Vec<Observation>, Fault> {
        let wanted = &subject.policy.policy.platforms;
        if wanted.is_empty() {
            return Ok(vec![Observation::nothing("no platform is asked for")]);
        }
        let there: Vec<_> = subject.inspection.platforms.iter().map(|one| &one.facts.platform).collect();
        let missing: Vec<String> =
            wanted.iter().filter(|one| !there.iter().any(|is| is.satisfies(one))).map(ToString::to_string).collect();
        let text = |list: Vec<String>| if list.is_empty() { "none".to_owned() } else { list.join(", ") };
        Ok(vec![Observation::either(
            missing.is_empty(),
            text(there.iter().map(ToString::to_string).collect()),
            text(wanted.iter().map(ToString::to_string).collect()),
            format!("build the image for {} too, e.g. `docker buildx build --platform …`", missing.join(", ")),
        )])
    }
}
