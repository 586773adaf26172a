//! `age`: the image is not too old.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};

use super::{Check, Name, Observation, Subject};
use crate::config::CheckName;
use crate::promotion::fault::Fault;
use crate::registry::PlatformInspection;

/// Each platform's image was built within the time that is asked for.
#[derive(Debug)]
pub(super) struct Age;

/// A builder's clock may go a little ahead of ours.
const CLOCK_SKEW: TimeDelta = TimeDelta::minutes(5);

#[async_trait]
impl Check for Age {
    fn name(&self) -> Name {
        Name::Chosen(CheckName::Age)
    }

    async fn look(&self, subject: &Subject<'_>) -> Result<Vec<Observation>, Fault> {
        let Some(age) = &subject.policy.policy.age else {
            return Ok(vec![Observation::nothing("no age is asked for")]);
        };
        let platforms = &subject.inspection.platforms;
        Ok(platforms.iter().map(|platform| observe(platform, age.max, subject.now).of(platform)).collect())
    }
}

fn observe(platform: &PlatformInspection, max: Duration, now: DateTime<Utc>) -> Observation {
    let wanted = format!("built in the last {}", humantime::format_duration(max));
    let Some(created) = platform.facts.created.as_deref() else {
        return Observation::bad("no time of building", wanted, "let the builder fill in `created`");
    };
    let Ok(created) = DateTime::parse_from_rfc3339(created) else {
        return Observation::bad(
            format!("`{created}` as the time of building"),
            wanted,
            "let the builder fill in `created` (RFC 3339)",
        );
    };
    let age = now.signed_duration_since(created);
    if created.timestamp() <= 0 {
        // Reproducible builds set it to the epoch.
        return Observation::bad(
            "the epoch as the time of building",
            wanted,
            "set SOURCE_DATE_EPOCH to the time of the commit, or turn the check off for reproducible builds",
        );
    }
    if age < -CLOCK_SKEW {
        return Observation::bad(format!("{created}, which is in the future"), wanted, "set the builder's clock");
    }
    let good = age.to_std().unwrap_or_default() <= max;
    Observation::either(good, created.to_string(), wanted, "rebuild the image, on a base that is up to date")
}
