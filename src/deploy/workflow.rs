//! `workflow`: another workflow puts the release in place.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::OnceCell;
use tokio::time::sleep;

use super::{Begun, Driver, Kit, Log, Order, Pace, Progress, Report, Setback, fill_fault};
use crate::config::{Dispatch, SecretReader, WorkflowDriver};
use crate::github::dispatch::{APPEARANCE, RepositoryDispatch, Started, WorkflowDispatch};
use crate::github::runs::{RunFilter, WorkflowRun};
use crate::github::{GitHub, GitHubError, RepositoryName, Settings};
use crate::promotion::deployment::{Handle, Running};
use crate::promotion::digest::Digest;
use crate::promotion::fault::{Code, Fault};

/// The key of an event's payload that holds what this program adds.
const OURS: &str = "tidegate";

/// How many of the newest runs are looked through for the one that was started.
const NEWEST: usize = 100;

/// How often it is looked for before it is said that it was never started.
const LOOKS: u32 = 12;

/// Starts workflows.
#[derive(Debug)]
pub(super) struct Workflow {
    settings: WorkflowDriver,
    github: Arc<GitHub>,
    repository: RepositoryName,
    secrets: SecretReader,
    default_branch: OnceCell<String>,
}

impl Workflow {
    /// # Errors
    /// Neither the job nor the configuration names a repository and a token.
    pub(super) fn new(settings: &WorkflowDriver, kit: &Kit) -> Result<Self, Fault> {
        let nowhere = || {
            Fault::new(
                Code::ConfigurationInvalid,
                "`deploy.workflow` needs a repository and a token, and the job has none",
            )
            .with_fix("give `github-token`, or `repository` and `token` under `deploy.workflow`")
        };
        let own = kit.github.as_ref();
        let repository = match &settings.repository {
            Some(name) => name.parse().map_err(|error| {
                Fault::new(Code::ConfigurationInvalid, format!("`deploy.workflow.repository` is `{name}`: {error}"))
            })?,
            None => own.map(|own| own.repository.clone()).ok_or_else(nowhere)?,
        };
        let github = match &settings.token {
            Some(token) => Arc::new(GitHub::new(Settings {
                api_url: kit.api_url.clone(),
                token: Some(kit.secrets.resolve(token)?),
                retry: kit.retry,
                deadline: None,
                observer: None,
            })?),
            None => own.map(|own| Arc::clone(&own.github)).ok_or_else(nowhere)?,
        };
        let (settings, secrets) = (settings.clone(), kit.secrets.clone());
        Ok(Self { settings, github, repository, secrets, default_branch: OnceCell::new() })
    }

    fn dispatch_of(&self, order: &Order) -> &Dispatch {
        let back = order.undoes.is_some();
        self.settings.rollback.as_ref().filter(|_| back).unwrap_or(&self.settings.deploy)
    }

    /// The text by which the run of an order is known, where it shows it.
    fn nonce(dispatch: &Dispatch, order: &Order) -> Option<String> {
        let nonce = || format!("tidegate-{}", Digest::sha256(order.key.as_bytes()).short());
        match dispatch {
            Dispatch::Workflow { correlation_input, .. } => correlation_input.as_ref().map(|_| nonce()),
            Dispatch::Repository { .. } => Some(nonce()),
        }
    }

    /// Among which runs the one of an order is.
    fn filter(dispatch: &Dispatch) -> RunFilter {
        match dispatch {
            Dispatch::Workflow { file, .. } => RunFilter {
                workflow: Some(file.clone()),
                event: Some("workflow_dispatch".to_owned()),
                ..RunFilter::default()
            },
            Dispatch::Repository { .. } => {
                RunFilter { event: Some("repository_dispatch".to_owned()), ..RunFilter::default() }
            }
        }
    }

    fn inputs(&self, dispatch: &Dispatch, order: &Order) -> Result<Filled, Fault> {
        let render = |template: &crate::config::Template| {
            template.render(&order.values).map_err(|error| fill_fault(error.into()))
        };
        let nonce = Self::nonce(dispatch, order);
        Ok(match dispatch {
            Dispatch::Workflow { reference, inputs, correlation_input, .. } => {
                let mut filled = std::collections::BTreeMap::new();
                for (name, template) in inputs {
                    filled.insert(name.clone(), render(template)?);
                }
                if let (Some(name), Some(nonce)) = (correlation_input, nonce) {
                    filled.insert(name.clone(), nonce);
                }
                Filled::Inputs(filled, reference.as_ref().map(render).transpose()?)
            }
            Dispatch::Repository { payload, .. } => {
                let mut filled = serde_json::Map::new();
                for (name, json) in payload {
                    filled.insert(name.clone(), self.secrets.fill_json(json, &order.values).map_err(fill_fault)?);
                }
                let ours = serde_json::json!({
                    "nonce": nonce,
                    "deployment_id": order.run.as_str(),
                    "idempotency_key": order.key,
                    "fencing_token": order.fence,
                });
                filled.insert(OURS.to_owned(), ours);
                Filled::Payload(filled)
            }
        })
    }

    async fn dispatch(&self, order: &Order, log: &Log) -> Result<Begun, Setback> {
        let dispatch = self.dispatch_of(order);
        let filled = self.inputs(dispatch, order).map_err(Setback::Untouched)?;
        // The run of this order may be there: then it is followed, and not started twice.
        if let Some(run) = self.by_nonce(order).await.map_err(Setback::Untouched)? {
            log.say(&format!("workflow run {} is there already: {}", run.id, run.url));
            return Ok(Begun::GoesOn(Handle { id: Some(run.id.to_string()), url: Some(run.url), ..Handle::default() }));
        }
        let nonce = Self::nonce(dispatch, order);
        let started = match (dispatch, filled) {
            (Dispatch::Workflow { file, .. }, Filled::Inputs(inputs, reference)) => {
                let git_ref = match reference {
                    Some(reference) => reference,
                    None => self.default_branch().await.map_err(|error| Setback::Untouched(error.into()))?,
                };
                log.say(&format!("starting {file} of {} on {git_ref}", self.repository));
                let dispatch =
                    WorkflowDispatch { workflow: file.clone(), git_ref, inputs, nonce, appears_within: APPEARANCE };
                self.github.dispatch_workflow(&self.repository, &dispatch).await
            }
            (Dispatch::Repository { event, .. }, Filled::Payload(payload)) => {
                log.say(&format!("sending the event {event} to {}", self.repository));
                let dispatch =
                    RepositoryDispatch { event_type: event.clone(), payload, nonce, appears_within: APPEARANCE };
                let sent = self.github.dispatch_event(&self.repository, &dispatch).await;
                sent.and_then(|started| {
                    started.ok_or_else(|| GitHubError::Uncertain {
                        what: format!("sending the event {event} to {}", self.repository),
                        why: "it is not known which run it has started".to_owned(),
                    })
                })
            }
            _ => return Err(Setback::Untouched(Fault::defect("inputs of another dispatch"))),
        };
        let Started { run, url, .. } = started.map_err(setback)?;
        log.say(&format!("workflow run {run}: {url}"));
        Ok(Begun::GoesOn(Handle { id: Some(run.to_string()), url: Some(url), ..Handle::default() }))
    }

    async fn default_branch(&self) -> Result<String, GitHubError> {
        let ask = || async { Ok(self.github.repository(&self.repository).await?.default_branch) };
        self.default_branch.get_or_try_init(ask).await.cloned()
    }

    /// The run of an order of which only the nonce is known.
    async fn by_nonce(&self, order: &Order) -> Result<Option<WorkflowRun>, Fault> {
        let dispatch = self.dispatch_of(order);
        let Some(nonce) = Self::nonce(dispatch, order) else { return Ok(None) };
        let newest = self.github.newest_workflow_runs(&self.repository, &Self::filter(dispatch), NEWEST).await?;
        Ok(newest.into_iter().find(|run| run.title.contains(&nonce)))
    }
}

/// What a dispatch is sent with.
enum Filled {
    Inputs(std::collections::BTreeMap<String, String>, Option<String>),
    Payload(serde_json::Map<String, serde_json::Value>),
}

fn setback(error: GitHubError) -> Setback {
    let lost = error.may_have_been_done() || matches!(error, GitHubError::Uncertain { .. });
    let fault = Fault::from(error);
    if lost {
        Setback::Uncertain(Fault { tried: fault.tried, ..Fault::new(Code::DeploymentUncertain, fault.message) })
    } else {
        Setback::Untouched(fault)
    }
}

fn progress(run: &WorkflowRun) -> Progress {
    let state = run.conclusion.clone().unwrap_or_else(|| run.status.clone());
    let report = Report { state: Some(state), url: Some(run.url.clone()), ..Report::default() };
    if run.has_succeeded() {
        Progress::Applied(report)
    } else if run.has_ended() {
        Progress::Failed(Report { message: Some(format!("see {}", run.url)), ..report })
    } else {
        Progress::InProgress(report)
    }
}

#[async_trait]
impl Driver for Workflow {
    fn name(&self) -> &'static str {
        "workflow"
    }

    fn pace(&self) -> Pace {
        Pace { every: self.settings.every, timeout: self.settings.timeout }
    }

    fn check(&self, order: &Order) -> Result<(), Fault> {
        for dispatch in std::iter::once(&self.settings.deploy).chain(&self.settings.rollback) {
            if let Filled::Payload(payload) = self.inputs(dispatch, order)?
                && payload.len() > 10
            {
                let text = format!("the payload has 10 keys, and `{OURS}` has no place beside them: GitHub takes 10");
                let fault = Fault::new(Code::ConfigurationInvalid, text);
                return Err(fault.with_fix("put some of the keys under `deploy.workflow.payload` into one"));
            }
        }
        Ok(())
    }

    /// Starts the workflow, once: before it is started again it is looked whether the run with this order's nonce is
    /// there.
    async fn start(&self, order: &Order, log: &Log) -> Result<Begun, Setback> {
        self.dispatch(order, log).await
    }

    /// Tells of the workflow run. Without its id it is found by the nonce that it shows, where it shows one.
    async fn observe(&self, order: &Order, handle: Option<&Handle>) -> Result<Progress, Fault> {
        if let Some(id) = handle.and_then(|handle| handle.id.as_deref()) {
            let id = id.parse().map_err(|_| Fault::defect("a workflow run without a number"))?;
            return Ok(progress(&self.github.workflow_run(&self.repository, id).await?));
        }
        if Self::nonce(self.dispatch_of(order), order).is_none() {
            let why =
                "a visit was cut off while it started the workflow; with `correlation-input` its run could be found";
            return Ok(Progress::Unknown(why.to_owned()));
        }
        for look in 0..LOOKS {
            if look > 0 {
                sleep((APPEARANCE / LOOKS).min(self.settings.every.max(Duration::from_millis(50)))).await;
            }
            if let Some(run) = self.by_nonce(order).await? {
                return Ok(progress(&run));
            }
        }
        Ok(Progress::NotStarted)
    }

    /// Starts `rollback`, or the same workflow with what is put back.
    async fn roll_back(&self, order: &Order, log: &Log) -> Result<Begun, Setback> {
        self.dispatch(order, log).await
    }

    async fn cancel(&self, _: &Order, handle: &Handle) -> Result<(), Fault> {
        let Some(id) = handle.id.as_deref().and_then(|id| id.parse().ok()) else { return Ok(()) };
        self.github.cancel_run(&self.repository, id).await?;
        Ok(())
    }

    /// A workflow does not tell what runs: its conclusion is all that is known.
    async fn running(&self, _: &Order) -> Result<Vec<Running>, Fault> {
        Ok(Vec::new())
    }
}
