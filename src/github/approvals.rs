//! Reviews of a workflow run's deployments: those that were given, and those that are waited for.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::client::GitHub;
use super::environments::{ReviewerModel, reviewers_of};
use super::error::GitHubError;
use super::identity::Account;
use super::repository::RepositoryName;
use crate::promotion::environment_review::{Review, ReviewState};
use crate::promotion::login::Login;

const CLASS: &str = "github/approvals";

/// An environment that a workflow run waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingDeployment {
    /// The environment's id.
    pub environment: Option<u64>,
    /// The environment's name.
    pub name: String,
    /// Minutes that the job waits in any case.
    pub wait_timer: u32,
    /// When that began.
    pub waiting_since: Option<DateTime<Utc>>,
    /// The people of whom one must approve.
    pub users: BTreeSet<Login>,
    /// The teams of whose members one must approve, by slug.
    pub teams: BTreeSet<String>,
}

#[derive(Deserialize)]
struct ReviewModel {
    state: String,
    comment: Option<String>,
    user: Option<Account>,
    #[serde(default)]
    environments: Vec<EnvironmentModel>,
}

#[derive(Deserialize)]
struct EnvironmentModel {
    id: Option<u64>,
    name: Option<String>,
}

#[derive(Deserialize)]
struct PendingModel {
    environment: EnvironmentModel,
    #[serde(default)]
    wait_timer: u32,
    wait_timer_started_at: Option<DateTime<Utc>>,
    #[serde(default)]
    reviewers: Vec<ReviewerModel>,
}

impl From<ReviewModel> for Review {
    fn from(model: ReviewModel) -> Self {
        Self {
            state: match model.state.as_str() {
                "approved" => ReviewState::Approved,
                "rejected" => ReviewState::Rejected,
                _ => ReviewState::Other(model.state),
            },
            by: model.user.map(|user| Login::new(&user.login)),
            remark: model.comment.unwrap_or_default(),
            environments: model.environments.into_iter().filter_map(|environment| environment.name).collect(),
        }
    }
}

impl From<PendingModel> for PendingDeployment {
    fn from(model: PendingModel) -> Self {
        let (users, teams) = reviewers_of(model.reviewers);
        Self {
            environment: model.environment.id,
            name: model.environment.name.unwrap_or_default(),
            wait_timer: model.wait_timer,
            waiting_since: model.wait_timer_started_at,
            users,
            teams,
        }
    }
}

impl GitHub {
    /// The reviews of a workflow run, of all its attempts together (GitHub docs, "Get the review history for a workflow
    /// run"; actions: read).
    ///
    /// # Errors
    /// What GitHub says.
    pub async fn run_reviews(&self, repository: &RepositoryName, run: u64) -> Result<Vec<Review>, GitHubError> {
        let what = format!("reading the approvals of workflow run {run} of {repository}");
        let run = run.to_string();
        let path = repository.path(&["actions", "runs", &run, "approvals"]);
        let models: Vec<ReviewModel> = self.fetch(&self.get(&path, CLASS, what)?.needs("actions", "read")).await?;
        Ok(models.into_iter().map(Review::from).collect())
    }

    /// The environments that a workflow run waits for (GitHub docs, "Get pending deployments for a workflow run";
    /// actions: read).
    ///
    /// # Errors
    /// What GitHub says.
    pub async fn pending_deployments(
        &self,
        repository: &RepositoryName,
        run: u64,
    ) -> Result<Vec<PendingDeployment>, GitHubError> {
        let what = format!("reading the pending deployments of workflow run {run} of {repository}");
        let run = run.to_string();
        let path = repository.path(&["actions", "runs", &run, "pending_deployments"]);
        let models: Vec<PendingModel> = self.fetch(&self.get(&path, CLASS, what)?.needs("actions", "read")).await?;
        Ok(models.into_iter().map(PendingDeployment::from).collect())
    }
}
