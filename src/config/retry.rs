//! `retry` at the top: how patiently something that failed is tried again.

use std::time::Duration;

use super::check::Checker;
use super::literal::Lit;
use super::number::{Factor, Whole};
use super::path::Path;
use super::section::section;
use super::time::{AnyDuration, PositiveDuration};
use crate::promotion::retry::RetryPolicy;

section! {
    /// How patiently requests that failed in passing are tried again.
    struct RetryKeys from RawRetry, finish retry => RetryPolicy {
        /// The attempts in all, the first included. Default: 5.
        default(RetryPolicy::default().attempts) attempts: Whole<1, 20> => u32,
        /// The wait before the second attempt. Default: `1s`.
        default(RetryPolicy::default().initial) initial: Lit<AnyDuration> => Duration,
        /// What each wait is multiplied with for the next. Default: 2.
        default(RetryPolicy::default().factor) factor: Factor => f64,
        /// The longest wait that the other side does not ask for. Default: `60s`.
        default(RetryPolicy::default().max) max: Lit<PositiveDuration> => Duration,
    }
}

fn retry(keys: RetryKeys, _: &[String], at: &Path, checker: &mut Checker<'_>) -> Option<RetryPolicy> {
    if keys.initial > keys.max {
        checker.problem(&at.key("max"), "is shorter than `initial`", "let the longest wait be at least the first");
        return None;
    }
    let (initial, max): (Duration, Duration) = (keys.initial, keys.max);
    Some(RetryPolicy { attempts: keys.attempts, initial, factor: keys.factor, max })
}
