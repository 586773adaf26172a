//! Deployments and their statuses.

use serde_json::{Value, json};

use super::call::{Call, Reply};
use super::repositories::{repo, repo_mut};
use super::shape;
use super::world::{Deployment, DeploymentStatus, Environment, World, time};

pub(super) fn list(world: &mut World, call: &Call) -> Reply {
    let is = |name: &str, value: &str| call.parameter(name).is_none_or(|wanted| wanted == value);
    let matches = |deployment: &&Deployment| {
        is("environment", &deployment.environment)
            && is("task", &deployment.task)
            && is("sha", &deployment.commit)
            && is("ref", &deployment.git_ref)
    };
    let mut found: Vec<&Deployment> = repo(world, call).deployments.iter().filter(matches).collect();
    found.sort_by_key(|deployment| std::cmp::Reverse(deployment.id));
    Reply::list(found.into_iter().map(|deployment| show(world, call, deployment)).collect())
}

pub(super) fn create(world: &mut World, call: &Call) -> Reply {
    let git_ref = call.text("ref").unwrap_or_default();
    let Some(commit) = repo(world, call).resolve(&git_ref).map(|commit| commit.sha.clone()) else {
        return Reply::error(422, &format!("No ref found for: {git_ref}"));
    };
    if call.text("description").is_some_and(|text| text.chars().count() > 140) {
        return Reply::invalid("Deployment", "description", "too_long");
    }
    if call.body.get("auto_merge") != Some(&json!(false)) {
        return Reply::json(202, json!({"message": "Auto-merged main into topic on deployment."}));
    }
    // Left out, it means every commit status there is.
    let statuses = &repo(world, call).statuses;
    let needs_all = call.body.get("required_contexts").is_none();
    if needs_all && statuses.iter().any(|status| status.commit == commit && status.state != "success") {
        return Reply::error(409, "Conflict: Commit status checks failed for main.");
    }
    let environment = call.text("environment").unwrap_or_else(|| "production".to_owned());
    if super::environments::find(repo(world, call), &environment).is_none() {
        // GitHub makes it, without any protection.
        let made = Environment { id: world.id(), name: environment.clone(), ..Environment::default() };
        repo_mut(world, call).environments.push(made);
    }
    let flag = |name: &str| call.body.get(name).and_then(Value::as_bool);
    let deployment = Deployment {
        id: world.id(),
        commit,
        git_ref,
        task: call.text("task").unwrap_or_else(|| "deploy".to_owned()),
        production: flag("production_environment").unwrap_or(environment == "production"),
        transient: flag("transient_environment").unwrap_or(false),
        environment,
        description: call.text("description"),
        payload: call.body.get("payload").cloned().unwrap_or_else(|| json!({})),
        creator: call.token.login.clone(),
        at: call.now,
        statuses: Vec::new(),
    };
    let shown = show(world, call, &deployment);
    repo_mut(world, call).deployments.push(deployment);
    Reply::json(201, shown)
}

fn show(world: &World, call: &Call, deployment: &Deployment) -> Value {
    let mut shown = show_simple(call, deployment);
    let payload = if world.settings.payload_as_text && deployment.payload.is_object() {
        json!(deployment.payload.to_string())
    } else {
        deployment.payload.clone()
    };
    let rest = json!({
        "sha": deployment.commit, "ref": deployment.git_ref, "payload": payload,
        "creator": shape::user(&call.base, &world.user(&deployment.creator)),
    });
    shape::merge(&mut shown, rest);
    shown
}

/// `deployment-simple`.
pub(super) fn show_simple(call: &Call, deployment: &Deployment) -> Value {
    let url = call.below(&format!("deployments/{}", deployment.id));
    json!({
        "id": deployment.id, "node_id": shape::node("DE", deployment.id), "task": deployment.task, "url": url,
        "original_environment": deployment.environment, "environment": deployment.environment,
        "description": deployment.description, "statuses_url": format!("{url}/statuses"),
        "repository_url": format!("{}/repos/{}/{}", call.base, call.segment(1), call.segment(2)),
        "created_at": time(deployment.at), "updated_at": time(deployment.at),
        "transient_environment": deployment.transient, "production_environment": deployment.production,
    })
}

pub(super) fn statuses(world: &mut World, call: &Call) -> Reply {
    let found = repo(world, call).deployments.iter().find(|deployment| deployment.id == call.number(4));
    let Some(deployment) = found else { return Reply::not_found() };
    let newest_first = deployment.statuses.iter().rev();
    Reply::list(newest_first.map(|status| show_status(world, call, deployment, status)).collect())
}

pub(super) fn set_status(world: &mut World, call: &Call) -> Reply {
    let number = call.number(4);
    let Some(current) = repo(world, call).deployments.iter().find(|deployment| deployment.id == number).cloned() else {
        return Reply::not_found();
    };
    let state = call.text("state").unwrap_or_default();
    if !matches!(state.as_str(), "error" | "failure" | "inactive" | "in_progress" | "queued" | "pending" | "success") {
        return Reply::invalid("DeploymentStatus", "state", "custom");
    }
    let description = call.text("description").unwrap_or_default();
    if description.chars().count() > 140 {
        return Reply::invalid("DeploymentStatus", "description", "too_long");
    }
    let status = DeploymentStatus {
        id: world.id(),
        state: state.clone(),
        description,
        log_url: call.text("log_url").unwrap_or_default(),
        environment_url: call.text("environment_url").unwrap_or_default(),
        creator: call.token.login.clone(),
        at: call.now,
    };
    let shown = show_status(world, call, &current, &status);
    let inactive = DeploymentStatus { id: world.id(), state: "inactive".to_owned(), ..status.clone() };
    let retires = state == "success" && call.body.get("auto_inactive") != Some(&json!(false));
    for deployment in &mut repo_mut(world, call).deployments {
        let lives = deployment.statuses.last().is_some_and(|status| status.state == "success");
        if deployment.id == number {
            deployment.statuses.push(status.clone());
        } else if retires
            && lives
            && !deployment.transient
            && !deployment.production
            && deployment.environment == current.environment
        {
            deployment.statuses.push(inactive.clone());
        }
    }
    Reply::json(201, shown)
}

fn show_status(world: &World, call: &Call, deployment: &Deployment, status: &DeploymentStatus) -> Value {
    let url = call.below(&format!("deployments/{}", deployment.id));
    let target = if status.log_url.is_empty() { "https://github.test" } else { &status.log_url };
    let mut shown = json!({
        "id": status.id, "node_id": shape::node("DS", status.id), "state": status.state,
        "url": format!("{url}/statuses/{}", status.id), "deployment_url": url, "target_url": target,
        "description": status.description, "environment": deployment.environment,
        "repository_url": format!("{}/repos/{}/{}", call.base, call.segment(1), call.segment(2)),
        "creator": shape::user(&call.base, &world.user(&status.creator)),
        "created_at": time(status.at), "updated_at": time(status.at),
    });
    for (name, value) in [("log_url", &status.log_url), ("environment_url", &status.environment_url)] {
        if !value.is_empty() {
            shown[name] = json!(value);
        }
    }
    shown
}
