//! How often others are asked whether something has changed.
//!
//! GitHub gives a repository's jobs 1,000 requests an hour together (GitHub docs, "Rate limits for the REST API"): who
//! waits must be modest. Only in builds with debug assertions, so in none that is released, the environment variable
//! `TIDEGATE_PACE_MS` sets one pace for all, so that tests of waiting need not wait.

use std::time::Duration;

/// How often a gate that says "not yet" is looked at.
#[must_use]
pub fn gates() -> Duration {
    paced(Duration::from_secs(20))
}

/// How often it is looked whether people have answered: 48 times an hour.
#[must_use]
pub fn approvals() -> Duration {
    paced(Duration::from_secs(75))
}

#[cfg(debug_assertions)]
fn paced(pace: Duration) -> Duration {
    let given = std::env::var("TIDEGATE_PACE_MS").ok().and_then(|text| text.parse().ok());
    given.map_or(pace, Duration::from_millis)
}

#[cfg(not(debug_assertions))]
const fn paced(pace: Duration) -> Duration {
    pace
}
