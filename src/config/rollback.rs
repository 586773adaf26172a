//! `rollback`: the way back.

use std::time::Duration;

use super::approval::WhilePending;
use super::literal::Lit;
use super::names::Name;
use super::number::Whole;
use super::section::section;
use super::time::PositiveDuration;

section! {
    /// What happens when a deployment does not live.
    pub struct Rollback from RawRollback {
        /// Whether the run takes it back by itself. Default: true; otherwise people are told how.
        default(true) automatic: bool,
        /// Channels under `notify` that are told when nobody has done what people were asked to do.
        default(Vec::new()) escalate: Vec<Lit<Name>> => Vec<String>,
        /// When they are told, and how often again. Default: `30m`.
        default(Duration::from_secs(1800)) escalate_after: Lit<PositiveDuration> => Duration,
        /// How long to wait for people when the run cannot take it back, where it waits. Default: `4h`.
        default(Duration::from_secs(4 * 3600)) timeout: Lit<PositiveDuration> => Duration,
        /// What the run does while it waits for them: `wait` holds its runner, and `park` leaves the rest to
        /// `operation: recover` on a schedule. Default: `wait` where there is `escalate`; else it does not wait.
        optional while_pending: WhilePending,
        /// How long a digest must have lived here, verified, to be returned to. Default: `10m`.
        default(Duration::from_secs(600)) lived: Lit<PositiveDuration> => Duration,
        /// How many versions back it may go. Default: 10.
        default(10) depth: Whole<1, 100> => u32,
    }
}

impl Rollback {
    /// Whether, and how, a run waits for people who take back what it cannot.
    #[must_use]
    pub fn waits(&self) -> Option<WhilePending> {
        self.while_pending.or((!self.escalate.is_empty()).then_some(WhilePending::Wait))
    }
}
