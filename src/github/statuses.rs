//! Commit statuses.

use serde::{Deserialize, Serialize};

use super::client::GitHub;
use super::error::GitHubError;
use super::pages::Shape;
use super::repository::RepositoryName;
use super::text;
use crate::promotion::required_checks::Status;

const CLASS: &str = "github/statuses";

/// The most characters of a description.
const DESCRIPTION: usize = 140;

/// The state of a commit status that we set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CommitState {
    /// It could not be told.
    Error,
    /// It is bad.
    Failure,
    /// It is under way.
    Pending,
    /// It is good.
    Success,
}

/// A commit status to be set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewStatus {
    /// The state.
    pub state: CommitState,
    /// What it is about; a newer status of the same context takes its place.
    pub context: String,
    /// A sentence; what is longer than 140 characters is cut.
    pub description: String,
    /// Where the details are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_url: Option<String>,
}

#[derive(Clone, Deserialize)]
struct StatusModel {
    id: u64,
    context: String,
    state: String,
    description: Option<String>,
    target_url: Option<String>,
}

impl From<StatusModel> for Status {
    fn from(model: StatusModel) -> Self {
        Self { id: model.id, context: model.context, state: model.state, url: model.target_url }
    }
}

impl GitHub {
    /// The newest commit status of each context (GitHub docs, "Get the combined status for a specific reference";
    /// statuses: read). GitHub's own summary of them says `pending` when there are none, so it is not used.
    ///
    /// # Errors
    /// What GitHub says.
    pub async fn commit_statuses(&self, repository: &RepositoryName, commit: &str) -> Result<Vec<Status>, GitHubError> {
        Ok(self.status_models(repository, commit).await?.into_iter().map(Status::from).collect())
    }

    /// Sets a commit status (GitHub docs, "Create a commit status"; statuses: write). The id is the status's.
    ///
    /// # Errors
    /// What GitHub says.
    pub async fn set_commit_status(
        &self,
        repository: &RepositoryName,
        commit: &str,
        status: &NewStatus,
    ) -> Result<u64, GitHubError> {
        let status = NewStatus { description: text::cut(&status.description, DESCRIPTION), ..status.clone() };
        let what = format!("setting the commit status {} of {commit} in {repository}", status.context);
        let request = self
            .request(http::Method::POST, &repository.path(&["statuses", commit]), CLASS, what)?
            .needs("statuses", "write")
            .json(&status)?;
        let set: StatusModel = self.create(&request, || self.find_status(repository, commit, &status)).await?;
        Ok(set.id)
    }

    /// The newest status of the context, if it says what it should.
    async fn find_status(
        &self,
        repository: &RepositoryName,
        commit: &str,
        wanted: &NewStatus,
    ) -> Result<Option<StatusModel>, GitHubError> {
        let state = serde_json::to_value(wanted.state).unwrap_or_default();
        let is_it = |found: &StatusModel| {
            found.context.eq_ignore_ascii_case(&wanted.context)
                && state == found.state.as_str()
                && found.description.as_deref().unwrap_or_default() == wanted.description
                && found.target_url == wanted.target_url
        };
        Ok(self.status_models(repository, commit).await?.into_iter().find(is_it))
    }

    async fn status_models(&self, repository: &RepositoryName, commit: &str) -> Result<Vec<StatusModel>, GitHubError> {
        let what = format!("reading the commit statuses of {commit} in {repository}");
        let request = self.get(&repository.path(&["commits", commit, "status"]), CLASS, what)?;
        self.all(&request.needs("statuses", "read"), Shape::Under("statuses")).await
    }
}
