//! Check runs.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::client::GitHub;
use super::error::GitHubError;
use super::pages::Shape;
use super::repository::RepositoryName;
use crate::promotion::required_checks::CheckRun;

const CLASS: &str = "github/checks";

/// A job's own check run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnCheck {
    /// Its id.
    pub id: u64,
    /// Its check suite, which is that of the whole workflow run.
    pub suite: Option<u64>,
    /// The deployment that GitHub made for the job, because it names an `environment`.
    pub deployment: Option<u64>,
}

#[derive(Deserialize)]
struct CheckModel {
    id: u64,
    name: String,
    head_sha: String,
    status: String,
    conclusion: Option<String>,
    started_at: Option<DateTime<Utc>>,
    html_url: Option<String>,
    app: Option<AppModel>,
    check_suite: Option<IdModel>,
    deployment: Option<IdModel>,
}

#[derive(Deserialize)]
struct AppModel {
    id: u64,
    slug: Option<String>,
}

#[derive(Deserialize)]
struct IdModel {
    id: u64,
}

impl From<CheckModel> for CheckRun {
    fn from(model: CheckModel) -> Self {
        Self {
            id: model.id,
            name: model.name,
            commit: model.head_sha,
            app: model.app.as_ref().map(|app| app.id),
            app_slug: model.app.and_then(|app| app.slug),
            suite: model.check_suite.map(|suite| suite.id),
            status: model.status,
            conclusion: model.conclusion,
            started_at: model.started_at,
            url: model.html_url,
        }
    }
}

impl GitHub {
    /// All check runs of a commit, those that were repeated too (GitHub docs, "List check runs for a Git reference";
    /// checks: read).
    ///
    /// With the filter `latest` GitHub leaves out runs of the same name in other workflows, so it is not used.
    ///
    /// # Errors
    /// What GitHub says; [`GitHubError::Incomplete`] when it lists fewer than there are.
    pub async fn check_runs(&self, repository: &RepositoryName, commit: &str) -> Result<Vec<CheckRun>, GitHubError> {
        let what = format!("reading the check runs of {commit} in {repository}");
        let request = self
            .get(&repository.path(&["commits", commit, "check-runs"]), CLASS, what)?
            .needs("checks", "read")
            .query("filter", "all");
        let models: Vec<CheckModel> = self.all(&request, Shape::Under("check_runs")).await?;
        Ok(models.into_iter().map(CheckRun::from).collect())
    }

    /// A job's own check run, by the id from `job.check_run_id` (GitHub docs, "Get a check run"; checks: read).
    ///
    /// # Errors
    /// What GitHub says.
    pub async fn own_check(&self, repository: &RepositoryName, id: u64) -> Result<OwnCheck, GitHubError> {
        let what = format!("reading check run {id} of {repository}");
        let request = self.get(&repository.path(&["check-runs", &id.to_string()]), CLASS, what)?;
        let model: CheckModel = self.fetch(&request.needs("checks", "read")).await?;
        Ok(OwnCheck {
            id: model.id,
            suite: model.check_suite.map(|suite| suite.id),
            deployment: model.deployment.map(|deployment| deployment.id),
        })
    }
}
