//! Deployments and their statuses.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::client::GitHub;
use super::error::GitHubError;
use super::pages::{PAGE, Shape};
use super::repository::RepositoryName;
use super::text;
use crate::promotion::identity::DeploymentId;

const CLASS: &str = "github/deployments";

/// The most characters of a description.
const DESCRIPTION: usize = 140;

/// How far back deployments are looked at that a new one replaces.
const LOOK_BACK: usize = 10;

/// What a deployment is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// A promotion.
    Promote,
    /// A rollback: a deployment of its own, never an old one brought back.
    Rollback,
}

impl Task {
    /// The name that GitHub is given.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::Rollback => "rollback",
        }
    }
}

/// What we write into a deployment, to know it again and to say what it brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload {
    /// The version of this format: 1.
    pub tidegate: u32,
    /// The run.
    pub run: DeploymentId,
    /// What was brought, by service: a digest or a version.
    pub candidates: BTreeMap<String, String>,
    /// The run that is taken back, of a rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolls_back: Option<DeploymentId>,
}

/// A deployment to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDeployment {
    /// The commit, whole.
    pub commit: String,
    /// What it is for.
    pub task: Task,
    /// The environment. One that does not exist is made by GitHub, without any protection: look first.
    pub environment: String,
    /// Whether end users come into contact with it.
    pub production: bool,
    /// A sentence; what is longer than 140 characters is cut.
    pub description: String,
    /// What we write into it.
    pub payload: Payload,
}

/// A deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// Its id.
    pub id: u64,
    /// The commit.
    pub commit: String,
    /// What it is for; `deploy` where a job's `environment` made it.
    pub task: String,
    /// The environment.
    pub environment: String,
    /// What we wrote into it; nothing if it is not ours.
    pub payload: Option<Payload>,
    /// When it came into being.
    pub created_at: DateTime<Utc>,
    /// Its address in the API.
    pub url: String,
}

/// How a deployment stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum DeploymentState {
    /// It waits for its turn.
    Queued,
    /// It waits for something else.
    Pending,
    /// It is under way.
    InProgress,
    /// It lives.
    Success,
    /// It does not live.
    Failure,
    /// It could not be told.
    Error,
    /// Another has taken its place.
    Inactive,
    /// What a later GitHub may say.
    Other(String),
}

impl DeploymentState {
    /// Whether it is on its way.
    #[must_use]
    pub const fn is_under_way(&self) -> bool {
        matches!(self, Self::Queued | Self::Pending | Self::InProgress)
    }

    /// The name in the API.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Queued => "queued",
            Self::Pending => "pending",
            Self::InProgress => "in_progress",
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Error => "error",
            Self::Inactive => "inactive",
            Self::Other(name) => name,
        }
    }
}

impl From<String> for DeploymentState {
    fn from(name: String) -> Self {
        match name.as_str() {
            "queued" => Self::Queued,
            "pending" => Self::Pending,
            "in_progress" => Self::InProgress,
            "success" => Self::Success,
            "failure" => Self::Failure,
            "error" => Self::Error,
            "inactive" => Self::Inactive,
            _ => Self::Other(name),
        }
    }
}

impl From<DeploymentState> for String {
    fn from(state: DeploymentState) -> Self {
        state.name().to_owned()
    }
}

/// A deployment status to be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDeploymentStatus {
    /// How it stands.
    pub state: DeploymentState,
    /// A sentence; what is longer than 140 characters is cut.
    pub description: String,
    /// Where the log is.
    pub log_url: Option<String>,
    /// Where what was deployed can be seen.
    pub environment_url: Option<String>,
}

#[derive(Deserialize)]
struct DeploymentModel {
    id: u64,
    sha: String,
    #[serde(default)]
    task: String,
    environment: String,
    #[serde(default)]
    payload: Value,
    created_at: DateTime<Utc>,
    url: String,
}

#[derive(Deserialize)]
struct StatusModel {
    id: u64,
    state: DeploymentState,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    log_url: Option<String>,
    #[serde(default)]
    environment_url: Option<String>,
}

impl From<DeploymentModel> for Deployment {
    fn from(model: DeploymentModel) -> Self {
        // GitHub gives back a text where a text was given, and sometimes where an object was.
        let payload = match model.payload {
            Value::String(text) => serde_json::from_str(&text).ok(),
            value => serde_json::from_value(value).ok(),
        };
        Self {
            id: model.id,
            commit: model.sha,
            task: model.task,
            environment: model.environment,
            payload: payload.filter(|payload: &Payload| payload.tidegate == 1),
            created_at: model.created_at,
            url: model.url,
        }
    }
}

impl GitHub {
    /// The deployment of a run: the one that is there, or a new one (GitHub docs, "Create a deployment"; deployments:
    /// write).
    ///
    /// Never merges anything, and never asks for the commit's statuses, which hold our own pending one.
    ///
    /// # Errors
    /// What GitHub says.
    pub async fn ensure_deployment(
        &self,
        repository: &RepositoryName,
        new: &NewDeployment,
    ) -> Result<Deployment, GitHubError> {
        if let Some(found) = self.find_deployment(repository, new).await? {
            return Ok(found.into());
        }
        let what = format!("creating a deployment to {} in {repository}", new.environment);
        let body = json!({
            "ref": new.commit,
            "task": new.task,
            "auto_merge": false,
            "required_contexts": [],
            "environment": new.environment,
            "description": text::cut(&new.description, DESCRIPTION),
            "transient_environment": false,
            "production_environment": new.production,
            "payload": new.payload,
        });
        let request = self
            .request(Method::POST, &repository.path(&["deployments"]), CLASS, what)?
            .needs("deployments", "write")
            .json(&body)?;
        let made: DeploymentModel = self.create(&request, || self.find_deployment(repository, new)).await?;
        Ok(made.into())
    }

    async fn find_deployment(
        &self,
        repository: &RepositoryName,
        new: &NewDeployment,
    ) -> Result<Option<DeploymentModel>, GitHubError> {
        let what = format!("looking for our deployment to {} in {repository}", new.environment);
        let request = self
            .get(&repository.path(&["deployments"]), CLASS, what)?
            .needs("deployments", "read")
            .query("environment", &new.environment)
            .query("task", new.task.name())
            .query("sha", &new.commit);
        let models: Vec<Value> = self.all(&request, Shape::Bare).await?;
        let ours = |value: &Value| {
            let model: DeploymentModel = serde_json::from_value(value.clone()).ok()?;
            let payload = Deployment::from(model).payload?;
            (payload.run == new.payload.run).then_some(())
        };
        let found = models.into_iter().find(|value| ours(value).is_some());
        Ok(found.and_then(|value| serde_json::from_value(value).ok()))
    }

    /// The newest deployments to an environment, the newest first, at most `count` and 100 (GitHub docs, "List
    /// deployments"; deployments: read).
    ///
    /// # Errors
    /// What GitHub says.
    pub async fn deployments(
        &self,
        repository: &RepositoryName,
        environment: &str,
        count: usize,
    ) -> Result<Vec<Deployment>, GitHubError> {
        let what = format!("reading the deployments to {environment} in {repository}");
        let request = self
            .get(&repository.path(&["deployments"]), CLASS, what)?
            .needs("deployments", "read")
            .query("environment", environment);
        let models: Vec<DeploymentModel> = self.first(&request, Shape::Bare, count).await?;
        Ok(models.into_iter().map(Deployment::from).collect())
    }

    /// How a deployment stands; nothing while it has no status (GitHub docs, "List deployment statuses"; deployments:
    /// read).
    ///
    /// # Errors
    /// What GitHub says.
    pub async fn deployment_state(
        &self,
        repository: &RepositoryName,
        deployment: u64,
    ) -> Result<Option<DeploymentState>, GitHubError> {
        Ok(self.newest_status(repository, deployment).await?.map(|status| status.state))
    }

    /// Sets how a deployment stands (GitHub docs, "Create a deployment status"; deployments: write). What it replaces is
    /// not touched: see [`GitHub::retire_deployments`].
    ///
    /// # Errors
    /// What GitHub says.
    pub async fn set_deployment_status(
        &self,
        repository: &RepositoryName,
        deployment: u64,
        status: &NewDeploymentStatus,
    ) -> Result<(), GitHubError> {
        let what = format!("setting deployment {deployment} of {repository} to {}", status.state.name());
        let description = text::cut(&status.description, DESCRIPTION);
        let mut body = json!({ "state": status.state, "description": description, "auto_inactive": false });
        for (name, url) in [("log_url", &status.log_url), ("environment_url", &status.environment_url)] {
            if let Some(url) = url {
                body[name] = json!(url);
            }
        }
        let path = deployment.to_string();
        let request = self
            .request(Method::POST, &repository.path(&["deployments", &path, "statuses"]), CLASS, what)?
            .needs("deployments", "write")
            .json(&body)?;
        let is_it = |found: &StatusModel| {
            found.state == status.state
                && found.description.as_deref().unwrap_or_default() == description
                && same_address(found.log_url.as_ref(), status.log_url.as_ref())
                && same_address(found.environment_url.as_ref(), status.environment_url.as_ref())
        };
        let look = || async { Ok(self.newest_status(repository, deployment).await?.filter(|found| is_it(found))) };
        let set: StatusModel = self.create(&request, look).await?;
        tracing::debug!(deployment, status = set.id, state = status.state.name(), "deployment status");
        Ok(())
    }

    /// Sets those earlier deployments to an environment inactive that a new one replaces, and tells which they were.
    ///
    /// GitHub does it by itself only outside of production (GitHub docs, "Create a deployment status", `auto_inactive`).
    /// Going back in time, it ends at the first that is inactive already. `is_replaced` says of each whether the new one
    /// takes its place: several services may share an environment.
    ///
    /// # Errors
    /// What GitHub says.
    pub async fn retire_deployments(
        &self,
        repository: &RepositoryName,
        environment: &str,
        current: u64,
        is_replaced: impl Fn(&Deployment) -> bool + Send,
    ) -> Result<Vec<u64>, GitHubError> {
        let all = self.deployments(repository, environment, PAGE).await?;
        let earlier = all.into_iter().filter(|deployment| deployment.id < current).filter(is_replaced).take(LOOK_BACK);
        let mut retired = Vec::new();
        for deployment in earlier {
            match self.deployment_state(repository, deployment.id).await? {
                Some(DeploymentState::Success) => {
                    let status = NewDeploymentStatus {
                        state: DeploymentState::Inactive,
                        description: "replaced by a newer deployment".to_owned(),
                        log_url: None,
                        environment_url: None,
                    };
                    self.set_deployment_status(repository, deployment.id, &status).await?;
                    retired.push(deployment.id);
                }
                Some(DeploymentState::Inactive) => break,
                _ => {}
            }
        }
        Ok(retired)
    }

    async fn newest_status(
        &self,
        repository: &RepositoryName,
        deployment: u64,
    ) -> Result<Option<StatusModel>, GitHubError> {
        let what = format!("reading the status of deployment {deployment} of {repository}");
        let path = deployment.to_string();
        let request = self.get(&repository.path(&["deployments", &path, "statuses"]), CLASS, what)?;
        let newest = self.first(&request.needs("deployments", "read"), Shape::Bare, 1).await?;
        Ok(newest.into_iter().next())
    }
}

/// GitHub tells an address that was not given as an empty text.
fn same_address(found: Option<&String>, wanted: Option<&String>) -> bool {
    found.map_or("", String::as_str) == wanted.map_or("", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(payload: Value) -> Deployment {
        let model = json!({
            "id": 1, "sha": "c", "task": "promote", "environment": "production", "payload": payload,
            "created_at": "2026-01-02T03:04:05Z", "url": "https://api.github.com/x",
        });
        Deployment::from(serde_json::from_value::<DeploymentModel>(model).unwrap())
    }

    #[test]
    fn our_payload_is_known_as_text_and_as_object() {
        let ours = json!({"tidegate": 1, "run": "1732185300-abc123def456", "candidates": {"api": "sha256:x"}});
        let seen = deployment(ours.clone()).payload.unwrap();
        assert_eq!(seen.run.as_str(), "1732185300-abc123def456");
        assert_eq!(deployment(json!(ours.to_string())).payload, Some(seen));
        for other in [json!({}), json!(""), json!("{"), json!(null), json!({"tidegate": 2}), json!([1])] {
            assert_eq!(deployment(other.clone()).payload, None, "{other}");
        }
        let later = json!({"tidegate": 2, "run": "1732185300-abc123def456", "candidates": {}});
        assert_eq!(deployment(later).payload, None);
    }

    #[test]
    fn states_keep_their_names() {
        for name in ["queued", "pending", "in_progress", "success", "failure", "error", "inactive", "of_next_year"] {
            assert_eq!(DeploymentState::from(name.to_owned()).name(), name);
        }
        assert!(DeploymentState::InProgress.is_under_way() && !DeploymentState::Success.is_under_way());
    }
}
