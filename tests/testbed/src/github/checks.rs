//! Check runs and commit statuses.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::call::{Call, Reply};
use super::repositories::{repo, repo_mut};
use super::shape;
use super::world::{CheckRun, Status, World, time};

pub(super) fn of_commit(world: &mut World, call: &Call) -> Reply {
    let repo = repo(world, call);
    let Some(commit) = repo.resolve(call.segment(4)) else {
        return Reply::error(422, &format!("No commit found for SHA: {}", call.segment(4)));
    };
    let mut runs: Vec<&CheckRun> = repo.check_runs.iter().filter(|run| run.commit == commit.sha).collect();
    runs.sort_by_key(|run| std::cmp::Reverse(run.id));
    if call.parameter("filter").unwrap_or("latest") == "latest" {
        // What GitHub does: of several runs of one name and app only the newest is shown, whatever workflow it is of.
        let mut seen = Vec::new();
        runs.retain(|run| {
            let new = !seen.contains(&(run.app, run.name.clone()));
            seen.push((run.app, run.name.clone()));
            new
        });
    }
    let shown = runs.into_iter().map(|run| show(world, call, run)).collect();
    Reply::list_under("check_runs", shown, json!({}))
}

pub(super) fn one(world: &mut World, call: &Call) -> Reply {
    let found = repo(world, call).check_runs.iter().find(|run| run.id == call.number(4));
    found.map_or_else(Reply::not_found, |run| Reply::json(200, show(world, call, run)))
}

fn show(world: &World, call: &Call, run: &CheckRun) -> Value {
    let repo = repo(world, call);
    let url = call.below(&format!("check-runs/{}", run.id));
    let html = format!("{}/runs/{}", shape::html(repo), run.id);
    let ended = run.conclusion.is_some();
    let mut shown = json!({
        "id": run.id, "node_id": shape::node("CR", run.id), "head_sha": run.commit, "external_id": "",
        "name": run.name, "url": url, "html_url": html, "details_url": html, "status": run.status,
        "conclusion": run.conclusion, "started_at": time(run.started_at),
        "completed_at": ended.then(|| time(run.started_at)), "check_suite": {"id": run.suite},
        "app": shape::app(world, &call.base, run.app), "pull_requests": [],
        "output": {
            "title": null, "summary": null, "text": null, "annotations_count": 0,
            "annotations_url": format!("{url}/annotations"),
        },
    });
    let deployment = run.deployment.and_then(|id| repo.deployments.iter().find(|deployment| deployment.id == id));
    if let Some(deployment) = deployment {
        shown["deployment"] = super::deployments::show_simple(call, deployment);
    }
    shown
}

pub(super) fn combined(world: &mut World, call: &Call) -> Reply {
    let repo = repo(world, call);
    let Some(commit) = repo.resolve(call.segment(4)) else { return Reply::not_found() };
    let mut newest: BTreeMap<String, &Status> = BTreeMap::new();
    for status in repo.statuses.iter().filter(|status| status.commit == commit.sha) {
        newest.insert(status.context.to_ascii_lowercase(), status);
    }
    let state = match newest.values().map(|status| status.state.as_str()).collect::<Vec<_>>() {
        states if states.iter().any(|state| matches!(*state, "failure" | "error")) => "failure",
        states if states.is_empty() || states.contains(&"pending") => "pending",
        _ => "success",
    };
    let shown: Vec<Value> = newest.values().map(|status| simple(call, status)).collect();
    let beside = json!({
        "state": state, "sha": commit.sha, "repository": shape::repository(world, &call.base, repo, false),
        "commit_url": call.below(&format!("commits/{}", commit.sha)),
        "url": call.below(&format!("commits/{}/status", commit.sha)),
    });
    Reply::list_under("statuses", shown, beside)
}

fn simple(call: &Call, status: &Status) -> Value {
    json!({
        "id": status.id, "node_id": shape::node("SC", status.id), "state": status.state, "context": status.context,
        "description": status.description, "target_url": status.target_url, "avatar_url": null,
        "url": call.below(&format!("statuses/{}", status.commit)),
        "created_at": time(status.at), "updated_at": time(status.at),
    })
}

pub(super) fn set_status(world: &mut World, call: &Call) -> Reply {
    if repo(world, call).resolve(call.segment(4)).is_none_or(|commit| commit.sha != call.segment(4)) {
        return Reply::error(422, &format!("No commit found for SHA: {}", call.segment(4)));
    }
    let state = call.text("state").unwrap_or_default();
    if !matches!(state.as_str(), "error" | "failure" | "pending" | "success") {
        return Reply::invalid("Status", "state", "invalid");
    }
    if call.text("description").is_some_and(|text| text.chars().count() > 140) {
        return Reply::invalid("Status", "description", "too_long");
    }
    let status = Status {
        id: world.id(),
        commit: call.segment(4).to_owned(),
        context: call.text("context").unwrap_or_else(|| "default".to_owned()),
        state,
        description: call.text("description"),
        target_url: call.text("target_url"),
        creator: call.token.login.clone(),
        at: call.now,
    };
    let mut shown = simple(call, &status);
    shown["creator"] = shape::user(&call.base, &world.user(&status.creator));
    repo_mut(world, call).statuses.push(status);
    Reply::json(201, shown)
}
