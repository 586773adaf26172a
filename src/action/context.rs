//! What the runner says about the job that we run in.

use std::path::PathBuf;

use serde_json::Value;

use super::environment::Environment;
use crate::promotion::event::WorkflowRun;
use crate::promotion::identity::DeploymentId;
use crate::promotion::marker::Marker;

/// The largest event that is read. GitHub's own limit for a webhook's payload is 25 MB.
const EVENT_MAX: u64 = 25 * 1024 * 1024;

/// The job, as its environment tells. On a command line most of it is absent.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// Whether this is GitHub Actions.
    pub in_actions: bool,
    /// `owner/name`.
    pub repository: Option<String>,
    /// The commit that the job is about: the pull request's head, the triggering run's commit, or `GITHUB_SHA`.
    pub commit: Option<String>,
    /// Who GitHub says the run belongs to.
    pub actor: Option<String>,
    /// Who pressed the button; another than the actor in a re-run.
    pub triggering_actor: Option<String>,
    /// The workflow run.
    pub workflow: Option<WorkflowRun>,
    /// `GITHUB_RUN_ATTEMPT`.
    pub attempt: Option<String>,
    /// `GITHUB_JOB`.
    pub job: Option<String>,
    /// The issue that was commented on, where that started the workflow.
    pub commented: Option<Commented>,
    /// The REST API's address.
    pub api_url: String,
    /// The web address of the server.
    pub server_url: String,
    /// The workspace.
    pub workspace: PathBuf,
    /// The file for outputs.
    pub output_file: Option<PathBuf>,
    /// The file for the job summary.
    pub summary_file: Option<PathBuf>,
    /// The file for what the finaliser needs.
    pub state_file: Option<PathBuf>,
    /// Whether somebody asked for debug logs.
    pub debug: bool,
}

impl Context {
    /// Reads the job's context.
    #[must_use]
    pub fn read(environment: &Environment) -> Self {
        let text = |name: &str| environment.get(name).map(ToOwned::to_owned);
        let path = |name: &str| environment.get(name).map(PathBuf::from);
        let server_url = text("GITHUB_SERVER_URL").unwrap_or_else(|| "https://github.com".to_owned());
        let repository = text("GITHUB_REPOSITORY");
        let workflow = text("GITHUB_RUN_ID").map(|run_id| WorkflowRun {
            url: repository.as_ref().map(|repository| format!("{server_url}/{repository}/actions/runs/{run_id}")),
            run_id,
            workflow: text("GITHUB_WORKFLOW"),
            event: text("GITHUB_EVENT_NAME"),
        });
        Self {
            in_actions: environment.is_on("GITHUB_ACTIONS"),
            commit: commit_of_event(environment).or_else(|| text("GITHUB_SHA")),
            actor: text("GITHUB_ACTOR"),
            triggering_actor: text("GITHUB_TRIGGERING_ACTOR"),
            attempt: text("GITHUB_RUN_ATTEMPT"),
            job: text("GITHUB_JOB"),
            commented: commented(environment),
            api_url: text("GITHUB_API_URL").unwrap_or_else(|| "https://api.github.com".to_owned()),
            workspace: path("GITHUB_WORKSPACE").unwrap_or_else(|| PathBuf::from(".")),
            output_file: path("GITHUB_OUTPUT"),
            summary_file: path("GITHUB_STEP_SUMMARY"),
            state_file: path("GITHUB_STATE"),
            debug: environment.is_on("RUNNER_DEBUG"),
            repository,
            workflow,
            server_url,
        }
    }
}

/// An issue that somebody commented on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commented {
    /// Its number.
    pub issue: u64,
    /// The run whose request for approval it says it is.
    pub run: Option<DeploymentId>,
}

fn commented(environment: &Environment) -> Option<Commented> {
    if environment.get("GITHUB_EVENT_NAME") != Some("issue_comment") {
        return None;
    }
    let event = event(environment)?;
    let body = event.pointer("/issue/body").and_then(Value::as_str).unwrap_or_default();
    let mark = Marker::read(body).filter(|mark| mark.kind == "approval");
    let run = mark.and_then(|mark| mark.value("run")?.parse().ok());
    Some(Commented { issue: event.pointer("/issue/number")?.as_u64()?, run })
}

/// What started the workflow.
fn event(environment: &Environment) -> Option<Value> {
    let path = environment.get("GITHUB_EVENT_PATH")?;
    if std::fs::metadata(path).ok()?.len() > EVENT_MAX {
        return None;
    }
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// The commit that an event is about, where `GITHUB_SHA` is another: in a pull request it is the merge commit, and after
/// another workflow it is the default branch's.
fn commit_of_event(environment: &Environment) -> Option<String> {
    let pointer = match environment.get("GITHUB_EVENT_NAME")? {
        "pull_request" | "pull_request_target" => "/pull_request/head/sha",
        "workflow_run" => "/workflow_run/head_sha",
        _ => return None,
    };
    let event = event(environment)?;
    let commit = event.pointer(pointer)?.as_str()?;
    let good = commit.len() >= 40 && commit.bytes().all(|b| b.is_ascii_hexdigit());
    good.then(|| commit.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commit_is_the_one_the_event_is_about() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("event.json");
        let head = "a".repeat(40);
        std::fs::write(&path, format!(r#"{{"pull_request":{{"head":{{"sha":"{head}"}}}}}}"#)).unwrap();
        let context = |event: &str| {
            let variables =
                [("GITHUB_SHA", "b"), ("GITHUB_EVENT_NAME", event), ("GITHUB_EVENT_PATH", path.to_str().unwrap())];
            Context::read(&variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
        };
        assert_eq!(context("pull_request").commit, Some(head));
        assert_eq!(context("push").commit.as_deref(), Some("b"));
        assert_eq!(context("workflow_run").commit.as_deref(), Some("b"));
    }
}
