//! How a run, and each execution on it, begins: what was asked for, by whom, from where.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::identity::{DeploymentId, RunKey};
use super::operation::Operation;
use super::stage::Stage;

/// Where a run came from in GitHub Actions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct WorkflowRun {
    /// `GITHUB_RUN_ID`.
    pub run_id: String,
    /// The workflow's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    /// The event that started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// The address of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// A pointer to an event of another run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Link {
    /// The other run.
    pub run: DeploymentId,
    /// The event's place there.
    pub seq: u64,
    /// Its hash.
    pub hash: String,
}

/// The first event of a run: what was asked for, by whom, from where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Opening {
    /// Which executions belong to this run; none on a command line, where each is a run of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<RunKey>,
    /// The repository that the run belongs to (`owner/name`), or `local`. Sequence numbers, leases and history are kept
    /// apart by it.
    pub scope: String,
    /// What was asked for.
    pub operation: Operation,
    /// The target environment.
    pub environment: String,
    /// The services, in order.
    pub services: Vec<String>,
    /// Who asked.
    pub requestor: String,
    /// Who GitHub says started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Free text for templates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Values for templates.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, String>,
    /// The commit of the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The Git reference of the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_ref: Option<String>,
    /// The workflow run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<WorkflowRun>,
    /// The configuration's path; none where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<String>,
    /// The last event of the run before in this environment, as it was when this run began: ties the chains together, so
    /// that a run cannot vanish between two others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predecessor: Option<Link>,
    /// The run that this one takes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolls_back: Option<DeploymentId>,
    /// This program's version.
    pub version: String,
}

#[cfg(test)]
impl Opening {
    /// An opening as a small run would have it.
    pub(crate) fn invented() -> Self {
        Self {
            key: None,
            scope: "acme/api".to_owned(),
            operation: Operation::Promote,
            environment: "production".to_owned(),
            services: vec!["api".to_owned()],
            requestor: "octocat".to_owned(),
            actor: None,
            reason: None,
            mode: None,
            variables: BTreeMap::new(),
            commit: None,
            git_ref: None,
            workflow: None,
            configuration: None,
            predecessor: None,
            rolls_back: None,
            version: "0".to_owned(),
        }
    }
}

/// The beginning of one execution on a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct VisitOpening {
    /// The number of the visit, from 1.
    pub number: u64,
    /// `GITHUB_RUN_ATTEMPT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<String>,
    /// `GITHUB_JOB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// The stage after which the visit is to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Stage>,
    /// Whether failed checks are to be overruled.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// Gates that are to be passed over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
