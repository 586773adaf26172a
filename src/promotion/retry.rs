//! When to try again, and how long to wait before it. Pure: randomness and time are given.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How often and how patiently something is tried.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// The attempts in all, the first included; at least 1.
    pub attempts: u32,
    /// The wait before the second attempt.
    pub initial: Duration,
    /// What each wait is multiplied with for the next.
    pub factor: f64,
    /// The longest wait that is not asked for by the other side.
    pub max: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { attempts: 5, initial: Duration::from_secs(1), factor: 2.0, max: Duration::from_secs(60) }
    }
}

/// Whether a failed attempt is worth another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryClass {
    /// It may pass; not before `after`, where the other side said so.
    Passing {
        /// The least wait that the other side asked for.
        after: Option<Duration>,
    },
    /// It will fail again.
    Final,
}

impl RetryPolicy {
    /// The wait after the failed attempt number `attempt` (from 1), or `None` when it was the last.
    ///
    /// Full jitter: `chance` in `0.0..1.0` places the wait between half of the computed delay and all of it. A wait
    /// that the other side asked for is never shortened, only lengthened by up to a tenth so that many who were told
    /// the same do not come back together.
    #[must_use]
    pub fn wait(&self, attempt: u32, class: RetryClass, chance: f64) -> Option<Duration> {
        let RetryClass::Passing { after } = class else { return None };
        if attempt >= self.attempts {
            return None;
        }
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds = (self.initial.as_secs_f64() * self.factor.max(1.0).powi(exponent)).min(self.max.as_secs_f64());
        let own = Duration::from_secs_f64(seconds * (0.5 + 0.5 * chance.clamp(0.0, 1.0)));
        Some(after.map_or(own, |asked| own.max(asked + asked.mul_f64(0.1 * chance.clamp(0.0, 1.0)))))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn waits_are_bounded_and_never_shorter_than_asked(
            attempt in 1u32..20, attempts in 1u32..10, initial in 0u64..5_000, factor in 1.0f64..10.0,
            max in 1u64..120_000, asked in proptest::option::of(0u64..600_000), chance in 0.0f64..1.0,
        ) {
            let policy = RetryPolicy { attempts, initial: Duration::from_millis(initial), factor, max: Duration::from_millis(max) };
            let after = asked.map(Duration::from_millis);
            let wait = policy.wait(attempt, RetryClass::Passing { after }, chance);
            prop_assert_eq!(wait.is_some(), attempt < attempts);
            if let Some(wait) = wait {
                let longest = policy.max.max(after.unwrap_or_default().mul_f64(1.1));
                prop_assert!(wait <= longest + Duration::from_millis(1));
                prop_assert!(wait >= after.unwrap_or_default());
            }
            prop_assert_eq!(policy.wait(attempt, RetryClass::Final, chance), None);
        }
    }
}
