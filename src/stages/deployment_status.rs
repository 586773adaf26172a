//! GitHub's deployment of a run: what its pages show of what runs where.

use std::collections::BTreeMap;

use super::target::Target;
use super::visit::Visit;
use super::work::Work;
use crate::config::{Github, GithubDeployment};
use crate::github::artifact_metadata::{DeploymentRecord, Runs};
use crate::github::deployments::{Deployment, DeploymentState, NewDeployment, NewDeploymentStatus, Payload, Task};
use crate::github::{GitHubError, Hub};
use crate::promotion::event::{Event, Operation};
use crate::promotion::fault::{Code, Exit, Fault, Severity};
use crate::promotion::run::Run;
use crate::promotion::state::State;

/// Begins GitHub's deployment of a run that has its yes: makes it, or takes the job's own. That it cannot be done is
/// recorded, and stops nothing.
///
/// # Errors
/// What the ledger says.
pub(super) async fn begin(work: &mut Work<'_>) -> Result<(), Fault> {
    let settings = work.target.github().clone();
    let Some(hub) = Hub::to_write(work.tools.hub.as_ref()).cloned() else { return Ok(()) };
    if work.target.configuration.is_none()
        || settings.deployment == GithubDeployment::Off
        || work.visit.run().github_deployment.is_some()
        || gave_up(work.visit.run())
    {
        return Ok(());
    }
    let environment = settings.environment_name(&work.target.environment).to_owned();
    let begun = match settings.deployment {
        GithubDeployment::Reuse => own(work, &hub).await,
        _ => make(work, &hub, &settings, &environment).await,
    };
    match begun {
        Ok(Some((id, reused))) => {
            work.visit.note(Event::GithubDeployment { id, environment, reused }).await?;
            let status = status(work.visit.run(), &settings, DeploymentState::InProgress);
            let set = hub.github.set_deployment_status(&hub.repository, id, &status).await;
            quietly(work.visit, set).await
        }
        Ok(None) => Ok(()),
        Err(error) => quietly(work.visit, Err(error)).await,
    }
}

/// Whether GitHub has refused deployments in this run already: it is not asked again.
fn gave_up(run: &Run) -> bool {
    run.faults.iter().any(|one| one.fault.tried.iter().any(|tried| tried == TRIED))
}

/// What a fault of this mechanism has tried.
const TRIED: &str = "showing the deployment on GitHub";

/// The deployment that the job's `environment:` has made.
async fn own(work: &mut Work<'_>, hub: &Hub) -> Result<Option<(u64, bool)>, GitHubError> {
    let Some(check) = work.request.job.check_run else {
        return Err(GitHubError::Invalid(
            "the job's own deployment is to be used, and the job does not say which check run is its own".to_owned(),
        ));
    };
    let own = hub.github.own_check(&hub.repository, check).await?;
    match own.deployment {
        Some(id) => Ok(Some((id, true))),
        None => Err(GitHubError::Invalid(
            "the job's own deployment is to be used, and the job has made none: it names no `environment:`".to_owned(),
        )),
    }
}

async fn make(
    work: &mut Work<'_>,
    hub: &Hub,
    settings: &Github,
    environment: &str,
) -> Result<Option<(u64, bool)>, GitHubError> {
    let run = work.visit.run();
    let Some(commit) = run.opening.commit.clone() else { return Ok(None) };
    // A deployment into an environment that is not there would make it, without any protection.
    if hub.github.environment(&hub.repository, environment).await?.is_none() {
        return Err(GitHubError::Invalid(format!(
            "the environment {environment} is not there on GitHub, and a deployment would make it without protection"
        )));
    }
    let new = NewDeployment {
        commit,
        task: task(run),
        environment: environment.to_owned(),
        production: settings.is_production(&work.target.environment),
        description: format!("{}: {}", run.opening.services.join(", "), run.id),
        payload: payload(run),
    };
    let made = hub.github.ensure_deployment(&hub.repository, &new).await?;
    Ok(Some((made.id, false)))
}

fn task(run: &Run) -> Task {
    if run.opening.operation == Operation::Rollback { Task::Rollback } else { Task::Promote }
}

fn payload(run: &Run) -> Payload {
    let candidates: BTreeMap<String, String> = run
        .plan
        .iter()
        .flat_map(|(plan, _)| &plan.candidates)
        .map(|planned| {
            let digest = planned.image.as_ref().map(|image| image.digest.to_string());
            (planned.service.clone(), digest.or_else(|| planned.version.clone()).unwrap_or_default())
        })
        .collect();
    Payload { tidegate: 1, run: run.id.clone(), candidates, rolls_back: run.opening.rolls_back.clone() }
}

/// Sets how the deployment has ended, retires what it replaces, and records what runs where the token may.
///
/// # Errors
/// What the ledger says.
pub(super) async fn end(visit: &mut Visit, target: &Target, hub: Option<&Hub>) -> Result<(), Fault> {
    let settings = target.github().clone();
    let Some(hub) = Hub::to_write(hub).cloned() else { return Ok(()) };
    let Some(ended) = visit.run().ended.clone() else { return Ok(()) };
    if let Some(deployment) = visit.run().github_deployment.clone() {
        let state = match (ended.exit, ended.state) {
            (Exit::Done, _) => DeploymentState::Success,
            (Exit::Inconclusive, _) | (_, State::Cancelled | State::Inconclusive) => DeploymentState::Error,
            _ => DeploymentState::Failure,
        };
        let good = state == DeploymentState::Success;
        let status = status(visit.run(), &settings, state);
        let set = hub.github.set_deployment_status(&hub.repository, deployment.id, &status).await;
        let is_set = set.is_ok();
        quietly(visit, set).await?;
        if good && is_set {
            let services = visit.run().opening.services.clone();
            // Ours, of services that are all among ours; and what jobs made by themselves.
            let replaced = move |other: &Deployment| {
                other.payload.as_ref().is_none_or(|payload| payload.candidates.keys().all(|one| services.contains(one)))
            };
            let retired =
                hub.github.retire_deployments(&hub.repository, &deployment.environment, deployment.id, replaced).await;
            quietly(visit, retired.map(|_| ())).await?;
        }
    }
    if ended.exit == Exit::Done && settings.record && target.configuration.is_some() {
        record(visit, &hub, settings.environment_name(&target.environment)).await?;
    }
    Ok(())
}

/// Records in the organisation's artifact metadata that the digests run there now.
async fn record(visit: &mut Visit, hub: &Hub, environment: &str) -> Result<(), Fault> {
    let images: Vec<(String, DeploymentRecord)> = visit
        .run()
        .plan
        .iter()
        .filter(|(plan, _)| !plan.stages.is_empty())
        .flat_map(|(plan, _)| &plan.candidates)
        .filter_map(|planned| {
            let image = planned.image.as_ref()?;
            let record = DeploymentRecord {
                name: image.target.to_string(),
                digest: image.digest.clone(),
                version: None,
                runs: Runs::Deployed,
                environment: environment.to_owned(),
                deployment_name: planned.service.clone(),
            };
            Some((planned.service.clone(), record))
        })
        .collect();
    for (_, one) in images {
        let recorded = hub.github.record_deployment(&hub.repository, &one).await;
        if recorded.is_err() {
            return quietly(visit, recorded).await;
        }
    }
    Ok(())
}

fn status(run: &Run, settings: &Github, state: DeploymentState) -> NewDeploymentStatus {
    let text = match &run.ended {
        Some(ended) => ended.state.name(),
        None => "under way",
    };
    NewDeploymentStatus {
        state,
        description: format!("{}: {text}; events up to {}", run.id, run.seq),
        log_url: run.opening.workflow.as_ref().and_then(|workflow| workflow.url.clone()),
        environment_url: settings.url.as_ref().and_then(|url| url.render(values(run)).ok()),
    }
}

/// What the address of the environment may use.
fn values(run: &Run) -> BTreeMap<&'static str, serde_json::Value> {
    BTreeMap::from([
        ("environment", run.opening.environment.as_str().into()),
        ("deployment_id", run.id.as_str().into()),
        ("mode", run.opening.mode.as_deref().unwrap_or_default().into()),
        ("vars", serde_json::to_value(&run.opening.variables).unwrap_or_default()),
    ])
}

/// What could not be shown is recorded, and stops nothing; what is missing is named once.
async fn quietly(visit: &mut Visit, result: Result<(), GitHubError>) -> Result<(), Fault> {
    let Err(error) = result else { return Ok(()) };
    if gave_up(visit.run()) {
        return Ok(());
    }
    let fault = Fault::from(error);
    let fix = match fault.code {
        Code::TokenLacksPermission => format!("{}; or turn it off with `github: {{ deployment: off }}`", fault.fix),
        _ => fault.fix.clone(),
    };
    let fault = fault.at_severity(Severity::Low).with_fix(fix).after_trying(TRIED);
    visit.note(Event::Faulted(Box::new(fault))).await
}
