//! How people are asked for their yes to a plan, and what they say.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::login::Login;

/// A place where people say yes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// The environment's protection on GitHub.
    Environment,
    /// An issue that the run opens.
    Issue,
}

impl Place {
    /// The name in the reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Environment => "environment",
            Self::Issue => "issue",
        }
    }
}

/// What people are asked, recorded before they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Asked {
    /// The plan's hash.
    pub plan: Digest,
    /// Where they are asked.
    pub places: Vec<Place>,
    /// The code that an answer in the issue carries: made of the plan's hash and a random number, so another one for
    /// every request.
    pub code: String,
    /// Who may say yes in the issue: people and teams, as configured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvers: Vec<String>,
    /// The environment on GitHub whose reviewers must have said yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// How many different people must say yes.
    pub minimum: u32,
    /// In whose name is asked: their own yes does not count, unless that is allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub askers: Vec<Login>,
}

/// Somebody who said yes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Approver {
    /// Who.
    pub by: Login,
    /// Where.
    pub place: Place,
    /// When; an environment does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub at: Option<DateTime<Utc>>,
    /// What they said besides (untrusted).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub remark: String,
    /// The address of what they said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// Why a plan has no yes, and will not get one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "why")]
pub enum Refusal {
    /// Somebody said no.
    Rejected {
        /// Who.
        by: Login,
        /// What they said besides (untrusted).
        #[serde(default, skip_serializing_if = "String::is_empty")]
        remark: String,
    },
    /// Nobody, or too few, answered in time.
    TimedOut {
        /// How many more would have had to say yes.
        missing: u32,
    },
}

/// A request to people, as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asking {
    /// What they are asked.
    pub asked: Asked,
    /// When that was recorded.
    pub recorded_at: DateTime<Utc>,
    /// The issue, once it is open.
    pub issue: Option<Issue>,
    /// Who said yes so far.
    pub approvers: Vec<Approver>,
    /// When they were reminded last.
    pub reminded_at: Option<DateTime<Utc>>,
    /// How often.
    pub reminders: u32,
    /// Why there will be no yes.
    pub refusal: Option<Refusal>,
}

impl Asking {
    /// A request of which nothing has come yet.
    #[must_use]
    pub const fn new(asked: Asked, recorded_at: DateTime<Utc>) -> Self {
        Self { asked, recorded_at, issue: None, approvers: Vec::new(), reminded_at: None, reminders: 0, refusal: None }
    }
}

/// The issue in which people are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// Its number.
    pub number: u64,
    /// Its web address.
    pub url: String,
    /// When it was opened, by GitHub's clock.
    pub at: DateTime<Utc>,
    /// Until when answers count.
    pub until: DateTime<Utc>,
}
