//! What a test finds in a repository of the stand-in.

use serde_json::{Map, Value};

/// An issue, as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SeenIssue {
    /// Its number.
    pub number: u64,
    /// Its title.
    pub title: String,
    /// Its text.
    pub body: String,
    /// Its labels.
    pub labels: Vec<String>,
    /// Who is assigned.
    pub assignees: Vec<String>,
    /// Whether it is open.
    pub open: bool,
    /// Why it is closed.
    pub state_reason: Option<String>,
    /// The texts of its comments.
    pub comments: Vec<String>,
}

/// A deployment, as it stands.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SeenDeployment {
    /// Its id.
    pub id: u64,
    /// The commit.
    pub commit: String,
    /// The environment.
    pub environment: String,
    /// What it is for.
    pub task: String,
    /// What was written into it.
    pub payload: Value,
    /// Whether it is marked as one of production.
    pub production: bool,
    /// The states that it was in, in order.
    pub states: Vec<String>,
}

/// A commit status, as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SeenStatus {
    /// What it is about.
    pub context: String,
    /// Its state.
    pub state: String,
    /// Its description.
    pub description: Option<String>,
}

/// A workflow run, as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SeenRun {
    /// Its id.
    pub id: u64,
    /// Its title.
    pub title: String,
    /// What started it.
    pub event: String,
    /// Its inputs, or the event's payload.
    pub inputs: Map<String, Value>,
}
