//! The stages of a run, in the order in which they run.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A step of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Tags are resolved, the sequence number is taken, gates are evaluated, the image is looked at; ends with the plan.
    Conditions,
    /// People say yes to the plan.
    Approval,
    /// Everything that the policy asks for is read and checked.
    Validation,
    /// The bytes are put in place and the tags move.
    Copy,
    /// The database is migrated.
    Migration,
    /// The driver deploys.
    Deployment,
    /// Probes, the window and the running digest.
    Verification,
    /// Reports are written and notifications sent.
    Report,
}

impl Stage {
    /// All stages, in the order in which they run.
    pub const ALL: [Self; 8] = [
        Self::Conditions,
        Self::Approval,
        Self::Validation,
        Self::Copy,
        Self::Migration,
        Self::Deployment,
        Self::Verification,
        Self::Report,
    ];

    /// The name in inputs, events and log file names.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Conditions => "conditions",
            Self::Approval => "approval",
            Self::Validation => "validation",
            Self::Copy => "copy",
            Self::Migration => "migration",
            Self::Deployment => "deployment",
            Self::Verification => "verification",
            Self::Report => "report",
        }
    }

    /// The stage after this one.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| *stage > self)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no stage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a stage; the stages are conditions, approval, validation, copy, migration, deployment, verification and report"
)]
pub struct UnknownStage(String);

impl FromStr for Stage {
    type Err = UnknownStage;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|stage| stage.name() == text).ok_or_else(|| UnknownStage(text.to_owned()))
    }
}
