//! What the program can be asked to do.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What the program is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// Promote candidates into an environment.
    Promote,
    /// Show what a promotion would do; change nothing.
    Plan,
    /// Put an earlier digest back.
    Rollback,
    /// Compare what runs with what should.
    Verify,
    /// Settle what interrupted runs left behind.
    Recover,
    /// Tell of runs from the ledger.
    Report,
    /// Prove that the ledger was not tampered with.
    Audit,
    /// Watch a job that waits for an environment's reviewers.
    Watch,
    /// Tell people something by the same channels.
    Notify,
}

impl Operation {
    /// All operations.
    pub const ALL: [Self; 9] = [
        Self::Promote,
        Self::Plan,
        Self::Rollback,
        Self::Verify,
        Self::Recover,
        Self::Report,
        Self::Audit,
        Self::Watch,
        Self::Notify,
    ];

    /// The name in inputs and events.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::Plan => "plan",
            Self::Rollback => "rollback",
            Self::Verify => "verify",
            Self::Recover => "recover",
            Self::Report => "report",
            Self::Audit => "audit",
            Self::Watch => "watch",
            Self::Notify => "notify",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Operation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|operation| operation.name() == text).ok_or_else(|| text.to_owned())
    }
}
