//! `growth`: how much larger the image is than the one that it replaces.

use async_trait::async_trait;

use super::{Check, Name, Observation, Previous, Subject};
use crate::config::{CheckName, Growth as Limits, Percent, Size};
use crate::promotion::fault::Fault;
use crate::registry::PlatformInspection;

/// Each platform's image has not grown by more than is allowed.
#[derive(Debug)]
pub(super) struct Growth;

#[async_trait]
impl Check for Growth {
    fn name(&self) -> Name {
        Name::Chosen(CheckName::Growth)
    }

    async fn look(&self, subject: &Subject<'_>) -> Result<Vec<Observation>, Fault> {
        let Some(limits) = &subject.policy.policy.content.growth else {
            return Ok(vec![Observation::nothing("no limit is set")]);
        };
        let previous = match subject.previous {
            Previous::Nothing => return Ok(vec![Observation::nothing("there is nothing that it replaces")]),
            Previous::Image(previous) => previous,
            Previous::Unreadable(why) => return Ok(vec![unreadable(why)]),
        };
        let observed = subject.inspection.platforms.iter().map(|platform| {
            let same = |one: &&PlatformInspection| one.facts.platform.satisfies(&platform.facts.platform);
            match previous.platforms.iter().find(same) {
                Some(before) => observe(platform, before, limits).of(platform),
                // What cannot be read of it may be what is for this platform.
                None if !previous.problems.is_empty() => {
                    unreadable(&previous.problems[0].error.to_string()).of(platform)
                }
                None => Observation::nothing("the image that it replaces is not for this platform").of(platform),
            }
        });
        Ok(observed.collect())
    }
}

fn unreadable(why: &str) -> Observation {
    Observation::bad(
        format!("what it replaces cannot be read: {why}"),
        "what it replaces, to compare with",
        "try again; if it cannot be read any more, turn the check off for this once (`severity: { growth: off }`)",
    )
}

fn observe(now: &PlatformInspection, before: &PlatformInspection, limits: &Limits) -> Observation {
    let largest = |one: &PlatformInspection| one.layers.iter().map(|layer| layer.size).max().unwrap_or_default();
    let mut seen = Vec::new();
    let mut wanted = Vec::new();
    let mut good = true;
    for (what, limit, before, now) in [
        ("in all", limits.total, before.facts.size, now.facts.size),
        ("in the largest layer", limits.layer, largest(before), largest(now)),
    ] {
        let Some(limit) = limit else { continue };
        seen.push(format!("{} {what}, {} before", Size::from(now).rounded(), Size::from(before).rounded()));
        wanted.push(format!("at most {limit} more {what}"));
        good &= is_within(before, now, limit);
    }
    Observation::either(
        good,
        seen.join("; "),
        wanted.join(", "),
        "find out what was added (`docker history`, the comparison in the summary), or set another limit",
    )
}

/// Whether something has grown by no more than a share of what it was.
fn is_within(before: u64, now: u64, limit: Percent) -> bool {
    u128::from(now) * 10_000 <= u128::from(before) * u128::from(10_000 + u64::from(limit.basis_points()))
}
