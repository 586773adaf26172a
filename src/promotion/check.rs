//! What a check of an image, or a gate, found.

use serde::{Deserialize, Serialize};

use super::candidate::Platform;

/// The verdict of one check. Ordered: `Skipped` is the least, `Fail` the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It was not asked for, or has nothing to look at.
    Skipped,
    /// What was seen is what was wanted.
    Pass,
    /// It is not, and the policy lets it through.
    Warn,
    /// It is not.
    Fail,
}

impl Verdict {
    /// The name in the ledger and the reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One thing validated about an image, with what was seen and what was wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Finding {
    /// The check's name, e.g. `size`.
    pub check: String,
    /// The service whose image it is.
    pub service: String,
    /// The platform, where the check looks at each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// The verdict.
    pub verdict: Verdict,
    /// What was seen (may quote the image: untrusted).
    pub seen: String,
    /// What was wanted.
    pub wanted: String,
    /// How to make it pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// Whether `force` may go on in spite of it: never for what is missing, mismatched or unsigned.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unforceable: bool,
}
