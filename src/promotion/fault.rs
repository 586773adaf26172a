//! Faults: what went wrong, how bad it is, what was tried, and what to do about it.

use std::fmt;

use serde::{Deserialize, Serialize};

pub use super::code::Code;
use super::stage::Stage;

/// What kind of trouble a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Category {
    /// The candidate, an input or the configuration is not what it must be.
    Validation,
    /// Something could not be reached.
    Network,
    /// Somebody does not believe who we are.
    Authentication,
    /// A registry answered in a way that stops us.
    Registry,
    /// A container runtime failed.
    Docker,
    /// We are known, and not allowed.
    Permission,
    /// Something took too long.
    Timeout,
    /// None of these.
    Unknown,
}

impl Category {
    /// All categories.
    pub const ALL: [Self; 8] = [
        Self::Validation,
        Self::Network,
        Self::Authentication,
        Self::Registry,
        Self::Docker,
        Self::Permission,
        Self::Timeout,
        Self::Unknown,
    ];

    /// The name in the ledger and the outputs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Validation => "validation",
            Self::Network => "network",
            Self::Authentication => "authentication",
            Self::Registry => "registry",
            Self::Docker => "docker",
            Self::Permission => "permission",
            Self::Timeout => "timeout",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How bad a fault is, and so what it does to the run. Ordered: `Low` is the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Recorded.
    Low,
    /// Recorded; the run goes on with a warning.
    Medium,
    /// Retried, then the run stops and people are alerted.
    High,
    /// The run stops at once and people are notified.
    Critical,
}

impl Severity {
    /// All severities, the worst first.
    pub const ALL: [Self; 4] = [Self::Critical, Self::High, Self::Medium, Self::Low];

    /// The name in the ledger and the outputs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// Whether a fault of this severity ends the run's way forward.
    #[must_use]
    pub fn stops(self) -> bool {
        self >= Self::High
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The process's exit codes, part of the outer contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// Done, or parked waiting.
    Done,
    /// Failed, drift found, or audit broken.
    Failed,
    /// Bad input or configuration; nothing was changed.
    BadInput,
    /// A gate is closed, the lock is taken, the ledger is out of reach, or approval was refused; nothing was changed.
    Refused,
    /// Failed, and rolled back.
    RolledBack,
    /// The rollback failed: a human is needed.
    RollbackFailed,
    /// It could not be told whether the candidate lives.
    Inconclusive,
    /// Stopped by SIGINT.
    Interrupted,
    /// Stopped by SIGTERM.
    Terminated,
}

impl Exit {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::BadInput => 2,
            Self::Refused => 3,
            Self::RolledBack => 4,
            Self::RollbackFailed => 5,
            Self::Inconclusive => 6,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

/// Something that went wrong, with all that a person needs to act on it.
///
/// Its texts may quote what others sent; they are neutralised where they are shown, never here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Fault {
    /// What it is.
    pub code: Code,
    /// Its category.
    pub category: Category,
    /// How bad it is here.
    pub severity: Severity,
    /// The stage in which it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// The service that it is about, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// What happened.
    pub message: String,
    /// What was tried before giving up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<String>,
    /// What to do next.
    pub fix: String,
}

impl Fault {
    /// A fault of the catalogue, with its usual category, severity and fix.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            category: code.category(),
            severity: code.severity(),
            stage: None,
            service: None,
            message: message.into(),
            tried: Vec::new(),
            fix: code.fix().to_owned(),
        }
    }

    /// A defect of this program: something that cannot happen has happened.
    #[must_use]
    pub fn defect(message: impl Into<String>) -> Self {
        Self::new(Code::Defect, message)
    }

    /// The same, with a fix that fits better than the catalogue's.
    #[must_use]
    pub fn with_fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = fix.into();
        self
    }

    /// The same, in another category.
    #[must_use]
    pub fn in_category(mut self, category: Category) -> Self {
        self.category = category;
        self
    }

    /// The same, with another severity.
    #[must_use]
    pub fn at_severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// The same, with one more thing that was tried.
    #[must_use]
    pub fn after_trying(mut self, what: impl Into<String>) -> Self {
        self.tried.push(what.into());
        self
    }

    /// The same, placed in a stage, unless it already is.
    #[must_use]
    pub fn in_stage(mut self, stage: Stage) -> Self {
        self.stage.get_or_insert(stage);
        self
    }

    /// The same, about a service, unless it already is.
    #[must_use]
    pub fn about(mut self, service: impl Into<String>) -> Self {
        if self.service.is_none() {
            self.service = Some(service.into());
        }
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.message, self.code)
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severities_are_ordered() {
        assert!(
            Severity::Critical > Severity::High
                && Severity::High > Severity::Medium
                && Severity::Medium > Severity::Low
        );
        assert!(Severity::High.stops() && !Severity::Medium.stops());
    }
}
