//! What a gate saw.

use serde::{Deserialize, Serialize};

/// How a gate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It lets through.
    Open,
    /// It is closed, and somebody with a reason passes over it.
    Overridden,
    /// It could not be told.
    Unknown,
    /// It is closed.
    Closed,
}

impl Standing {
    /// The name in the reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Overridden => "overridden",
            Self::Unknown => "unknown",
            Self::Closed => "closed",
        }
    }

    /// Whether the run may go on. Unknown is not open.
    #[must_use]
    pub const fn lets_through(self) -> bool {
        matches!(self, Self::Open | Self::Overridden)
    }
}

/// What a gate saw, and what it wanted to see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct GateFinding {
    /// The gate's name, as in the configuration: `checks`, `freeze`, `resources.database`.
    pub gate: String,
    /// The services that it is about; none means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
    /// How it stands.
    pub standing: Standing,
    /// What was seen (may quote others: untrusted).
    pub seen: String,
    /// What was wanted.
    pub wanted: String,
    /// How to open it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// How long it was waited for, in seconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub waited: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
