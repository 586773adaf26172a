//! What a visit is asked to do.

use std::collections::BTreeMap;

use crate::promotion::digest::Digest;
use crate::promotion::event::{Operation, WorkflowRun};
use crate::promotion::identity::DeploymentId;
use crate::promotion::image::{Reference, Tag};
use crate::promotion::stage::Stage;

/// What a visit is asked to do, checked as far as it can be without a configuration.
#[derive(Debug, Clone)]
pub struct Request {
    /// What to do.
    pub operation: Operation,
    /// The target environment.
    pub environment: Option<String>,
    /// The services; none means all.
    pub services: Vec<String>,
    /// The image to promote.
    pub image: Option<Reference>,
    /// Where to, without a configuration.
    pub to: Option<Destination>,
    /// What the candidate must be.
    pub digest: Option<Digest>,
    /// The candidate's version, without an image.
    pub version: Option<String>,
    /// The run to go on with.
    pub deployment_id: Option<DeploymentId>,
    /// The stage after which the visit ends.
    pub until: Option<Stage>,
    /// Who asks.
    pub requestor: String,
    /// Why.
    pub reason: Option<String>,
    /// Free text for templates.
    pub mode: Option<String>,
    /// Values for templates.
    pub variables: BTreeMap<String, String>,
    /// Whether to go on in spite of failed checks.
    pub force: bool,
    /// Gates to pass over.
    pub overrides: Vec<String>,
    /// The files that say how, by path: kept where a later visit may have none.
    pub files: BTreeMap<String, String>,
    /// The job that asks.
    pub job: Job,
}

/// Where an image goes without a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A tag of the repository it is in.
    Tag(Tag),
    /// A tag of any repository.
    Reference(Reference),
}

/// The job that asks, as GitHub tells of it.
#[derive(Debug, Clone, Default)]
pub struct Job {
    /// `owner/name`.
    pub repository: Option<String>,
    /// The commit.
    pub commit: Option<String>,
    /// The Git reference.
    pub git_ref: Option<String>,
    /// Who started it.
    pub actor: Option<String>,
    /// The workflow run.
    pub workflow: Option<WorkflowRun>,
    /// The attempt of the workflow run.
    pub attempt: Option<String>,
    /// The job's id in the workflow.
    pub name: Option<String>,
    /// Who pressed the button; another than the actor in a re-run.
    pub triggering_actor: Option<String>,
    /// The job's own check run.
    pub check_run: Option<u64>,
}

impl Job {
    /// The scope of its runs in the ledger.
    #[must_use]
    pub fn scope(&self) -> String {
        self.repository.clone().unwrap_or_else(|| "local".to_owned())
    }
}
