//! Starting a workflow, and knowing which run that has started.
//!
//! GitHub tells which run a `workflow_dispatch` has started only where it is new enough and asked to; otherwise, and for
//! a `repository_dispatch` always, the run has to be found among those that have appeared since. It is found for certain
//! only by a nonce: the caller puts it into an input, and the workflow shows it in its `run-name`.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{GitHub, decode};
use super::error::GitHubError;
use super::pages::PAGE;
use super::repository::RepositoryName;
use super::request::Request;
use super::runs::{RunFilter, WorkflowRun};

const CLASS: &str = "github/dispatch";

/// The most inputs that a workflow takes (GitHub docs, "Create a workflow dispatch event").
const INPUTS: usize = 25;

/// The most characters of an event's type, the most keys of its payload, and the most bytes of it (GitHub docs, "Create a
/// repository dispatch event").
const EVENT_TYPE: usize = 100;
const PAYLOAD_KEYS: usize = 10;
const PAYLOAD_BYTES: usize = 64 * 1024;

/// How long a run that was started may usually take to appear.
pub const APPEARANCE: Duration = Duration::from_secs(60);

/// How often it is looked for in that time.
const LOOKS: u32 = 12;

/// A workflow to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkflowDispatch {
    /// Its file's name, or its id.
    pub workflow: String,
    /// The branch or tag whose workflow it is.
    pub git_ref: String,
    /// Its inputs.
    pub inputs: BTreeMap<String, String>,
    /// The text by which the run can be told from others: it stands in an input, and the workflow shows it in its
    /// `run-name`.
    pub nonce: Option<String>,
    /// How long the run may take to appear, where GitHub does not tell which it is; usually [`APPEARANCE`].
    pub appears_within: Duration,
}

/// An event of our own that starts workflows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryDispatch {
    /// Its type, for which the workflows wait.
    pub event_type: String,
    /// What the workflows are told.
    pub payload: serde_json::Map<String, Value>,
    /// The text by which the run can be told from others: it stands in the payload, and the workflow shows it in its
    /// `run-name`.
    pub nonce: Option<String>,
    /// How long the run may take to appear, where GitHub does not tell which it is; usually [`APPEARANCE`].
    pub appears_within: Duration,
}

/// A workflow run that was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// Its id.
    pub run: u64,
    /// Its web address.
    pub url: String,
    /// How it is known that it is ours.
    pub known_by: KnownBy,
}

/// How a run is known to be ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnownBy {
    /// GitHub said so.
    Answer,
    /// It shows the nonce.
    Nonce,
    /// It is the only one that has appeared since.
    Exclusion,
}

#[derive(Deserialize)]
struct DetailsModel {
    workflow_run_id: u64,
    html_url: String,
}

/// A request that starts a run, and how to find that run.
struct Start<'a> {
    repository: &'a RepositoryName,
    /// Among which runs it is found.
    filter: RunFilter,
    nonce: Option<&'a str>,
    appears_within: Duration,
    /// The newest run from before.
    before: u64,
}

impl GitHub {
    /// Starts a workflow, once, and tells its run (GitHub docs, "Create a workflow dispatch event"; actions: write).
    ///
    /// # Errors
    /// What GitHub says; [`GitHubError::Uncertain`] when GitHub failed and no run with the nonce is to be found, or there
    /// is no nonce to find it by.
    pub async fn dispatch_workflow(
        &self,
        repository: &RepositoryName,
        dispatch: &WorkflowDispatch,
    ) -> Result<Started, GitHubError> {
        if dispatch.inputs.len() > INPUTS {
            let why = format!("a workflow takes at most {INPUTS} inputs, not {}", dispatch.inputs.len());
            return Err(GitHubError::Invalid(why));
        }
        let filter = RunFilter {
            workflow: Some(dispatch.workflow.clone()),
            event: Some("workflow_dispatch".to_owned()),
            ..RunFilter::default()
        };
        let start = self.prepare(repository, filter, dispatch.nonce.as_deref(), dispatch.appears_within).await?;
        let what = format!("starting the workflow {} in {repository}", dispatch.workflow);
        let path = repository.path(&["actions", "workflows", &dispatch.workflow, "dispatches"]);
        let request = self.request(Method::POST, &path, CLASS, what)?.needs("actions", "write");
        let plain = json!({ "ref": dispatch.git_ref, "inputs": dispatch.inputs });
        if self.tells_runs.load(Ordering::Relaxed) {
            let mut body = plain.clone();
            body["return_run_details"] = json!(true);
            match self.start(&request.clone().json(&body)?, &start).await {
                // An Enterprise Server that does not know the field refuses the whole request.
                Err(error) if is_about_details(&error) => self.tells_runs.store(false, Ordering::Relaxed),
                settled => return settled,
            }
        }
        self.start(&request.json(&plain)?, &start).await
    }

    /// Sends an event of our own, once, and tells the run that it has started; nothing where there is no nonce to find it
    /// by (GitHub docs, "Create a repository dispatch event"; contents: write).
    ///
    /// # Errors
    /// What GitHub says; [`GitHubError::Uncertain`] as with [`GitHub::dispatch_workflow`].
    pub async fn dispatch_event(
        &self,
        repository: &RepositoryName,
        dispatch: &RepositoryDispatch,
    ) -> Result<Option<Started>, GitHubError> {
        let body = json!({ "event_type": dispatch.event_type, "client_payload": dispatch.payload });
        let length = dispatch.event_type.chars().count();
        if length == 0 || length > EVENT_TYPE {
            return Err(GitHubError::Invalid(format!(
                "an event's type has 1 to {EVENT_TYPE} characters, not {length}"
            )));
        }
        if dispatch.payload.len() > PAYLOAD_KEYS || body["client_payload"].to_string().len() >= PAYLOAD_BYTES {
            let why = format!("an event's payload has at most {PAYLOAD_KEYS} keys and less than {PAYLOAD_BYTES} bytes");
            return Err(GitHubError::Invalid(why));
        }
        let filter = RunFilter { event: Some("repository_dispatch".to_owned()), ..RunFilter::default() };
        let what = format!("sending the event {} to {repository}", dispatch.event_type);
        let request = self
            .request(Method::POST, &repository.path(&["dispatches"]), CLASS, what)?
            .needs("contents", "write")
            .json(&body)?;
        if dispatch.nonce.is_none() {
            return match self.send(&request).await {
                Ok(_) => Ok(None),
                Err(error) if error.may_have_been_done() => Err(uncertain(&request, &error, NO_NONCE)),
                Err(error) => Err(error),
            };
        }
        let start = self.prepare(repository, filter, dispatch.nonce.as_deref(), dispatch.appears_within).await?;
        self.start(&request, &start).await.map(Some)
    }

    /// Remembers what there is before a run is started.
    async fn prepare<'a>(
        &self,
        repository: &'a RepositoryName,
        filter: RunFilter,
        nonce: Option<&'a str>,
        appears_within: Duration,
    ) -> Result<Start<'a>, GitHubError> {
        let newest = self.newest_workflow_runs(repository, &filter, 1).await?;
        let before = newest.first().map_or(0, |run| run.id);
        Ok(Start { repository, filter, nonce, appears_within, before })
    }

    /// Starts a run. When GitHub fails, the run may have been started all the same: only where a nonce would show it, and
    /// it does not appear, the request is sent again.
    async fn start(&self, request: &Request, start: &Start<'_>) -> Result<Started, GitHubError> {
        let mut attempt = 1;
        loop {
            let error = match self.send(request).await {
                Ok(answer) if answer.status == StatusCode::NO_CONTENT => {
                    let found = self.find_started(request, start).await?;
                    return found.ok_or_else(|| never_appeared(request, start));
                }
                Ok(answer) => match decode::<DetailsModel>(&answer.body, &request.what) {
                    Ok(details) => {
                        let (run, url) = (details.workflow_run_id, details.html_url);
                        return Ok(Started { run, url, known_by: KnownBy::Answer });
                    }
                    Err(error) => error,
                },
                Err(error) if error.may_have_been_done() => error,
                Err(error) => return Err(error),
            };
            if start.nonce.is_none() {
                return Err(uncertain(request, &error, NO_NONCE));
            }
            match self.find_started(request, start).await {
                Ok(Some(started)) => return Ok(started),
                Ok(None) if attempt < self.attempts() => attempt += 1,
                Ok(None) => return Err(uncertain(request, &error, "no run with our nonce has appeared")),
                Err(looking) => return Err(uncertain(request, &error, &looking.to_string())),
            }
        }
    }

    /// Looks for the run that was started, until it appears or should have.
    async fn find_started(&self, request: &Request, start: &Start<'_>) -> Result<Option<Started>, GitHubError> {
        for look in 0..LOOKS {
            if look > 0 {
                self.pause(start.appears_within / LOOKS, request).await?;
            }
            let newest = self.newest_workflow_runs(start.repository, &start.filter, PAGE).await?;
            if let Some(started) = ours(request, start, newest)? {
                return Ok(Some(started));
            }
        }
        Ok(None)
    }
}

/// Which of the newest runs is the one that was started.
fn ours(request: &Request, start: &Start<'_>, newest: Vec<WorkflowRun>) -> Result<Option<Started>, GitHubError> {
    let mut since = newest.into_iter().filter(|run| run.id > start.before);
    let known = |run: WorkflowRun, known_by| Started { run: run.id, url: run.url, known_by };
    if let Some(nonce) = start.nonce {
        return Ok(since.find(|run| run.title.contains(nonce)).map(|run| known(run, KnownBy::Nonce)));
    }
    let first = since.next();
    if since.next().is_some() {
        return Err(GitHubError::Uncertain {
            what: request.what.clone(),
            why: format!("it was started, and which of several new runs it is cannot be told: {NO_NONCE}"),
        });
    }
    Ok(first.map(|run| known(run, KnownBy::Exclusion)))
}

const NO_NONCE: &str = "no nonce is shown in the workflow's `run-name`";

fn uncertain(request: &Request, error: &GitHubError, why: &str) -> GitHubError {
    GitHubError::Uncertain { what: request.what.clone(), why: format!("{error}; {why}") }
}

fn never_appeared(request: &Request, start: &Start<'_>) -> GitHubError {
    let time = humantime::format_duration(start.appears_within);
    GitHubError::Uncertain {
        what: request.what.clone(),
        why: format!("GitHub has taken it, and within {time} no run of it has appeared"),
    }
}

/// Whether a refusal is about the wish to be told the run.
fn is_about_details(error: &GitHubError) -> bool {
    matches!(error, GitHubError::Refused { status: 400 | 422, message, .. } if message.contains("return_run_details"))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use url::Url;

    use super::*;

    fn run(id: u64, title: &str) -> WorkflowRun {
        WorkflowRun {
            id,
            workflow: 1,
            name: "deploy".to_owned(),
            title: title.to_owned(),
            path: ".github/workflows/deploy.yml".to_owned(),
            event: "workflow_dispatch".to_owned(),
            status: "queued".to_owned(),
            conclusion: None,
            commit: "c".to_owned(),
            branch: Some("main".to_owned()),
            suite: None,
            attempt: 1,
            actor: None,
            triggering_actor: None,
            created_at: DateTime::from_timestamp(0, 0).unwrap(),
            url: format!("https://github.com/acme/api/actions/runs/{id}"),
        }
    }

    #[test]
    fn our_run_is_told_from_others() {
        let repository: RepositoryName = "acme/api".parse().unwrap();
        let request = Request::new(Method::POST, Url::parse("https://x.test").unwrap(), CLASS, "starting");
        let find = |nonce, runs: &[WorkflowRun]| {
            let appears_within = APPEARANCE;
            let start =
                Start { repository: &repository, filter: RunFilter::default(), nonce, appears_within, before: 10 };
            ours(&request, &start, runs.to_vec()).map(|found| found.map(|started| (started.run, started.known_by)))
        };
        let others = [run(12, "Deploy b2"), run(11, "Deploy a1"), run(10, "Deploy c3")];
        assert_eq!(find(Some("a1"), &others).unwrap(), Some((11, KnownBy::Nonce)));
        assert_eq!(find(Some("c3"), &others).unwrap(), None);
        assert_eq!(find(Some("zz"), &others).unwrap(), None);
        assert_eq!(find(None, &others[1..]).unwrap(), Some((11, KnownBy::Exclusion)));
        assert_eq!(find(None, &others[2..]).unwrap(), None);
        assert!(matches!(find(None, &others), Err(GitHubError::Uncertain { .. })));
    }

    #[test]
    fn only_a_refusal_of_the_field_is_about_it() {
        let refused =
            |status, message: &str| GitHubError::Refused { what: String::new(), status, message: message.to_owned() };
        assert!(is_about_details(&refused(400, "Invalid request. \"return_run_details\" is not a permitted key.")));
        assert!(!is_about_details(&refused(422, "No ref found for: main")));
        assert!(!is_about_details(&refused(500, "return_run_details")));
    }
}
