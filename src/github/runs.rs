//! Workflow runs and their jobs.

use chrono::{DateTime, Utc};
use http::Method;
use serde::Deserialize;

use super::client::GitHub;
use super::error::GitHubError;
use super::identity::Account;
use super::pages::Shape;
use super::repository::RepositoryName;
use super::request::Request;
use crate::promotion::login::Login;

const CLASS: &str = "github/runs";

/// A workflow run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkflowRun {
    /// Its id.
    pub id: u64,
    /// The workflow's id.
    pub workflow: u64,
    /// The workflow's name.
    pub name: String,
    /// The run's own title, from `run-name` (untrusted).
    pub title: String,
    /// The workflow's file.
    pub path: String,
    /// What started it.
    pub event: String,
    /// `completed`, or anything else while it is not.
    pub status: String,
    /// How it ended.
    pub conclusion: Option<String>,
    /// The commit.
    pub commit: String,
    /// The branch or tag.
    pub branch: Option<String>,
    /// Its check suite, to which the check runs of its jobs belong.
    pub suite: Option<u64>,
    /// The number of its newest attempt.
    pub attempt: u32,
    /// Whose run it is.
    pub actor: Option<Login>,
    /// Who started the newest attempt.
    pub triggering_actor: Option<Login>,
    /// When it came into being.
    pub created_at: DateTime<Utc>,
    /// Its web address.
    pub url: String,
}

impl WorkflowRun {
    /// Whether it has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.status == "completed"
    }

    /// Whether it has ended well.
    #[must_use]
    pub fn has_succeeded(&self) -> bool {
        self.has_ended() && self.conclusion.as_deref() == Some("success")
    }
}

/// Which workflow runs are meant; an empty filter means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Only of this workflow: its file's name, or its id.
    pub workflow: Option<String>,
    /// Only for this commit.
    pub commit: Option<String>,
    /// Only started by this event.
    pub event: Option<String>,
    /// Only on this branch.
    pub branch: Option<String>,
}

/// A job of a workflow run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its id.
    pub id: u64,
    /// Its name, as it is shown.
    pub name: String,
    /// `completed`, or anything else while it is not.
    pub status: String,
    /// How it ended.
    pub conclusion: Option<String>,
    /// The attempt that it belongs to.
    pub attempt: u32,
    /// Its check run.
    pub check_run: Option<u64>,
    /// When it came into being: before the reviews that it waits for.
    pub created_at: Option<DateTime<Utc>>,
    /// When a runner took it.
    pub started_at: Option<DateTime<Utc>>,
    /// Its web address.
    pub url: Option<String>,
}

/// What became of the wish that a run be cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancellation {
    /// It will be.
    Accepted,
    /// It has ended already.
    AlreadyOver,
}

#[derive(Deserialize)]
struct RunModel {
    id: u64,
    workflow_id: u64,
    name: Option<String>,
    #[serde(default)]
    display_title: String,
    #[serde(default)]
    path: String,
    event: String,
    status: Option<String>,
    conclusion: Option<String>,
    head_sha: String,
    head_branch: Option<String>,
    check_suite_id: Option<u64>,
    run_attempt: Option<u32>,
    actor: Option<Account>,
    triggering_actor: Option<Account>,
    created_at: DateTime<Utc>,
    html_url: String,
}

#[derive(Deserialize)]
struct JobModel {
    id: u64,
    name: String,
    status: String,
    conclusion: Option<String>,
    run_attempt: Option<u32>,
    check_run_url: Option<String>,
    created_at: Option<DateTime<Utc>>,
    started_at: Option<DateTime<Utc>>,
    html_url: Option<String>,
}

impl From<RunModel> for WorkflowRun {
    fn from(model: RunModel) -> Self {
        let login = |account: Option<Account>| account.map(|account| Login::new(&account.login));
        Self {
            id: model.id,
            workflow: model.workflow_id,
            name: model.name.unwrap_or_default(),
            title: model.display_title,
            path: model.path,
            event: model.event,
            status: model.status.unwrap_or_else(|| "unknown".to_owned()),
            conclusion: model.conclusion,
            commit: model.head_sha,
            branch: model.head_branch,
            suite: model.check_suite_id,
            attempt: model.run_attempt.unwrap_or(1),
            actor: login(model.actor),
            triggering_actor: login(model.triggering_actor),
            created_at: model.created_at,
            url: model.html_url,
        }
    }
}

impl From<JobModel> for Job {
    fn from(model: JobModel) -> Self {
        let check_run = model.check_run_url.as_deref().and_then(|url| url.rsplit('/').next()?.parse().ok());
        Self {
            id: model.id,
            name: model.name,
            status: model.status,
            conclusion: model.conclusion,
            attempt: model.run_attempt.unwrap_or(1),
            check_run,
            created_at: model.created_at,
            started_at: model.started_at,
            url: model.html_url,
        }
    }
}

impl GitHub {
    /// A workflow run (GitHub docs, "Get a workflow run"; actions: read).
    ///
    /// # Errors
    /// What GitHub says.
    pub async fn workflow_run(&self, repository: &RepositoryName, run: u64) -> Result<WorkflowRun, GitHubError> {
        let what = format!("reading workflow run {run} of {repository}");
        let request = self.get(&repository.path(&["actions", "runs", &run.to_string()]), CLASS, what)?;
        Ok(self.fetch::<RunModel>(&request.needs("actions", "read")).await?.into())
    }

    /// All workflow runs that a filter lets through, the newest first (GitHub docs, "List workflow runs for a
    /// repository" and "for a workflow"; actions: read).
    ///
    /// # Errors
    /// What GitHub says; [`GitHubError::Incomplete`] when there are more than the 1,000 that it lists.
    pub async fn workflow_runs(
        &self,
        repository: &RepositoryName,
        filter: &RunFilter,
    ) -> Result<Vec<WorkflowRun>, GitHubError> {
        let request = self.runs_request(repository, filter)?;
        let models: Vec<RunModel> = self.all(&request, Shape::Under("workflow_runs")).await?;
        Ok(models.into_iter().map(WorkflowRun::from).collect())
    }

    /// The newest workflow runs that a filter lets through, at most `count` and 100.
    ///
    /// # Errors
    /// What GitHub says.
    pub async fn newest_workflow_runs(
        &self,
        repository: &RepositoryName,
        filter: &RunFilter,
        count: usize,
    ) -> Result<Vec<WorkflowRun>, GitHubError> {
        let request = self.runs_request(repository, filter)?;
        let models: Vec<RunModel> = self.first(&request, Shape::Under("workflow_runs"), count).await?;
        Ok(models.into_iter().map(WorkflowRun::from).collect())
    }

    fn runs_request(&self, repository: &RepositoryName, filter: &RunFilter) -> Result<Request, GitHubError> {
        let (path, of) = match &filter.workflow {
            Some(workflow) => {
                (repository.path(&["actions", "workflows", workflow, "runs"]), format!(" of the workflow {workflow}"))
            }
            None => (repository.path(&["actions", "runs"]), String::new()),
        };
        let mut request =
            self.get(&path, CLASS, format!("reading the runs{of} in {repository}"))?.needs("actions", "read");
        for (name, value) in [("head_sha", &filter.commit), ("event", &filter.event), ("branch", &filter.branch)] {
            if let Some(value) = value {
                request = request.query(name, value);
            }
        }
        Ok(request.query("exclude_pull_requests", "true"))
    }

    /// The jobs of a workflow run: of one attempt, or the newest of each (GitHub docs, "List jobs for a workflow run" and
    /// "for a workflow run attempt"; actions: read).
    ///
    /// # Errors
    /// What GitHub says.
    pub async fn jobs(
        &self,
        repository: &RepositoryName,
        run: u64,
        attempt: Option<u32>,
    ) -> Result<Vec<Job>, GitHubError> {
        let what = format!("reading the jobs of workflow run {run} of {repository}");
        let run = run.to_string();
        let number = attempt.unwrap_or_default().to_string();
        let path = match attempt {
            Some(_) => repository.path(&["actions", "runs", &run, "attempts", &number, "jobs"]),
            None => repository.path(&["actions", "runs", &run, "jobs"]),
        };
        let request = self.get(&path, CLASS, what)?.needs("actions", "read");
        let models: Vec<JobModel> = self.all(&request, Shape::Under("jobs")).await?;
        Ok(models.into_iter().map(Job::from).collect())
    }

    /// Asks for a workflow run to be cancelled: what the job's token can do where it cannot reject (GitHub docs, "Cancel a
    /// workflow run"; actions: write).
    ///
    /// # Errors
    /// What GitHub says.
    pub async fn cancel_run(&self, repository: &RepositoryName, run: u64) -> Result<Cancellation, GitHubError> {
        let what = format!("cancelling workflow run {run} of {repository}");
        let run = run.to_string();
        let path = repository.path(&["actions", "runs", &run, "cancel"]);
        let request = self
            .request(Method::POST, &path, CLASS, what)?
            .needs("actions", "write")
            // A run that is to be cancelled is, however often it is asked for.
            .harmless();
        match self.send(&request).await {
            Ok(_) => Ok(Cancellation::Accepted),
            Err(error) if error.is_refused_with(409) => Ok(Cancellation::AlreadyOver),
            Err(error) => Err(error),
        }
    }
}
