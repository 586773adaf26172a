//! Workflow runs, their jobs and reviews, and how they are started.

use serde_json::{Map, Value, json};

use super::call::{Call, Reply};
use super::environments;
use super::repositories::{repo, repo_mut};
use super::shape;
use super::world::{Job, Repo, Review, Run, World, time};

pub(super) fn one(world: &mut World, call: &Call) -> Reply {
    let number = call.number(5);
    if let Some(run) = repo_mut(world, call).runs.iter_mut().find(|run| run.id == number) {
        go_on(run);
    }
    match find(repo(world, call), number) {
        Some(run) => Reply::json(200, show(world, call, run)),
        None => Reply::not_found(),
    }
}

/// A run goes on a step whenever it is looked at.
fn go_on(run: &mut Run) {
    if let Some((status, conclusion)) = run.steps.pop_front() {
        (run.status, run.conclusion) = (status, conclusion);
    }
}

pub(super) fn list(world: &mut World, call: &Call) -> Reply {
    listed(world, call, None)
}

pub(super) fn list_of_workflow(world: &mut World, call: &Call) -> Reply {
    match workflow_id(repo(world, call), call.segment(5)) {
        Some(workflow) => listed(world, call, Some(workflow)),
        None => Reply::not_found(),
    }
}

fn listed(world: &mut World, call: &Call, workflow: Option<u64>) -> Reply {
    let is = |name: &str, value: Option<&str>| call.parameter(name).is_none_or(|wanted| Some(wanted) == value);
    let matches = |run: &&Run| {
        run.hidden == 0
            && workflow.is_none_or(|workflow| run.workflow == workflow)
            && is("head_sha", Some(&run.commit))
            && is("event", Some(&run.event))
            && is("branch", run.branch.as_deref())
    };
    let mut runs: Vec<&Run> = repo(world, call).runs.iter().filter(matches).collect();
    runs.sort_by_key(|run| std::cmp::Reverse(run.id));
    let shown = runs.into_iter().map(|run| show(world, call, run)).collect();
    let runs = &mut repo_mut(world, call).runs;
    // Runs that are late appear together, with the latest of them.
    let appearing = runs.iter().map(|run| run.hidden).max() == Some(1);
    for run in runs {
        match run.hidden {
            0 => go_on(run),
            _ if appearing => run.hidden = 0,
            hidden => run.hidden = hidden.saturating_sub(1).max(1),
        }
    }
    Reply::list_under("workflow_runs", shown, json!({}))
}

fn find(repo: &Repo, id: u64) -> Option<&Run> {
    repo.runs.iter().find(|run| run.id == id)
}

fn workflow_id(repo: &Repo, name: &str) -> Option<u64> {
    let is_it = |workflow: &&super::world::Workflow| workflow.file == name || workflow.id.to_string() == name;
    repo.workflows.iter().find(is_it).map(|workflow| workflow.id)
}

fn show(world: &World, call: &Call, run: &Run) -> Value {
    let repo = repo(world, call);
    let url = call.below(&format!("actions/runs/{}", run.id));
    let workflow = repo.workflows.iter().find(|workflow| workflow.id == run.workflow);
    let file = workflow.map_or("ci.yml", |workflow| workflow.file.as_str());
    let mut shown = json!({
        "id": run.id, "node_id": shape::node("WR", run.id), "name": file, "display_title": run.title,
        "head_branch": run.branch, "head_sha": run.commit, "path": format!(".github/workflows/{file}"),
        "run_number": 1, "run_attempt": 1, "event": run.event, "status": run.status, "conclusion": run.conclusion,
        "workflow_id": run.workflow, "check_suite_id": run.suite, "url": url,
        "html_url": format!("{}/actions/runs/{}", shape::html(repo), run.id),
        "created_at": time(run.at), "updated_at": time(run.at), "run_started_at": time(run.at),
        "actor": shape::user(&call.base, &world.user(&run.actor)),
        "triggering_actor": shape::user(&call.base, &world.user(&run.actor)),
        "head_commit": null, "repository": shape::repository(world, &call.base, repo, false),
        "head_repository": shape::repository(world, &call.base, repo, false), "pull_requests": [],
        "workflow_url": call.below(&format!("actions/workflows/{}", run.workflow)),
        "check_suite_url": call.below(&format!("check-suites/{}", run.suite)),
    });
    for name in ["jobs", "logs", "cancel", "rerun", "artifacts"] {
        shown[format!("{name}_url")] = json!(format!("{url}/{name}"));
    }
    shown
}

pub(super) fn jobs(world: &mut World, call: &Call) -> Reply {
    let repo = repo(world, call);
    let Some(run) = find(repo, call.number(5)) else { return Reply::not_found() };
    if call.segments.len() > 7 && call.number(7) != 1 {
        return Reply::not_found();
    }
    let shown = run.jobs.iter().map(|job| show_job(call, repo, run, job)).collect();
    Reply::list_under("jobs", shown, json!({}))
}

fn show_job(call: &Call, repo: &Repo, run: &Run, job: &Job) -> Value {
    let ended = job.conclusion.is_some();
    json!({
        "id": job.id, "run_id": run.id, "run_url": call.below(&format!("actions/runs/{}", run.id)), "run_attempt": 1,
        "node_id": shape::node("J", job.id), "head_sha": run.commit, "head_branch": run.branch,
        "url": call.below(&format!("actions/jobs/{}", job.id)),
        "html_url": format!("{}/actions/runs/{}/job/{}", shape::html(repo), run.id, job.id),
        "status": job.status, "conclusion": job.conclusion, "created_at": time(job.created_at),
        "started_at": time(job.created_at), "completed_at": ended.then(|| time(job.created_at)), "name": job.name,
        "steps": [], "check_run_url": call.below(&format!("check-runs/{}", job.check_run)), "labels": [],
        "runner_id": null, "runner_name": null, "runner_group_id": null, "runner_group_name": null,
        "workflow_name": null,
    })
}

pub(super) fn approvals(world: &mut World, call: &Call) -> Reply {
    let repo = repo(world, call);
    let Some(run) = find(repo, call.number(5)) else { return Reply::not_found() };
    let show = |review: &Review| {
        let environment = environments::find(repo, &review.environment).map(|found| environments::short(call, found));
        json!({
            "state": review.state, "comment": review.comment,
            "user": shape::user(&call.base, &world.user(&review.by)),
            "environments": environment.into_iter().collect::<Vec<_>>(),
        })
    };
    Reply::json(200, run.reviews.iter().map(show).collect())
}

pub(super) fn pending(world: &mut World, call: &Call) -> Reply {
    let repo = repo(world, call);
    let Some(run) = find(repo, call.number(5)) else { return Reply::not_found() };
    let show = |name: &String| {
        let environment = environments::find(repo, name)?;
        Some(json!({
            "environment": environments::short(call, environment), "wait_timer": environment.wait_timer.unwrap_or(0),
            "wait_timer_started_at": environment.wait_timer.map(|_| time(run.at)), "current_user_can_approve": false,
            "reviewers": environments::reviewers(world, call, environment),
        }))
    };
    Reply::json(200, run.waits_for.iter().filter_map(show).collect())
}

pub(super) fn cancel(world: &mut World, call: &Call) -> Reply {
    let number = call.number(5);
    let Some(run) = repo_mut(world, call).runs.iter_mut().find(|run| run.id == number) else {
        return Reply::not_found();
    };
    if run.status == "completed" {
        return Reply::error(409, "Cannot cancel a workflow run that is completed.");
    }
    run.waits_for.clear();
    run.steps = [("completed".to_owned(), Some("cancelled".to_owned()))].into();
    Reply::json(202, json!({}))
}

pub(super) fn dispatch(world: &mut World, call: &Call) -> Reply {
    let Some(workflow) = workflow_id(repo(world, call), call.segment(5)) else { return Reply::not_found() };
    let details = call.body.get("return_run_details");
    if details.is_some() && !world.settings.run_details {
        return Reply::error(400, "Invalid request.\n\n\"return_run_details\" is not a permitted key.");
    }
    let git_ref = call.text("ref").unwrap_or_default();
    if repo(world, call).resolve(&git_ref).is_none() {
        return Reply::error(422, &format!("No ref found for: {git_ref}"));
    }
    let inputs = call.body.get("inputs").and_then(Value::as_object).cloned().unwrap_or_default();
    let run = start(world, call, workflow, "workflow_dispatch", &git_ref, inputs);
    if details != Some(&json!(true)) {
        return Reply::empty(204);
    }
    let html = format!("{}/actions/runs/{run}", shape::html(repo(world, call)));
    let url = call.below(&format!("actions/runs/{run}"));
    Reply::json(200, json!({"workflow_run_id": run, "run_url": url, "html_url": html}))
}

pub(super) fn repository_dispatch(world: &mut World, call: &Call) -> Reply {
    let Some(event) = call.text("event_type") else { return Reply::invalid("Dispatch", "event_type", "missing") };
    let payload = call.body.get("client_payload").and_then(Value::as_object).cloned().unwrap_or_default();
    let repository = repo(world, call);
    let branch = repository.default_branch.clone();
    let waiting: Vec<u64> = repository
        .workflows
        .iter()
        .filter(|workflow| workflow.event.as_ref() == Some(&event))
        .map(|workflow| workflow.id)
        .collect();
    for workflow in waiting {
        start(world, call, workflow, "repository_dispatch", &branch, payload.clone());
    }
    Reply::empty(204)
}

fn start(world: &mut World, call: &Call, workflow: u64, event: &str, git_ref: &str, inputs: Map<String, Value>) -> u64 {
    let (id, suite) = (world.id(), world.id());
    let (hidden, now, actor) = (world.settings.runs_appear_after, call.now, call.token.login.clone());
    let repo = repo_mut(world, call);
    let commit = repo.resolve(git_ref).map(|commit| commit.sha.clone()).unwrap_or_default();
    let definition = repo.workflows.iter().find(|one| one.id == workflow).expect("the workflow was found").clone();
    let mut title = definition.run_name.clone();
    for (name, value) in &inputs {
        title = title.replace(&format!("{{{name}}}"), value.as_str().unwrap_or_default());
    }
    repo.runs.push(Run {
        id,
        workflow,
        title,
        event: event.to_owned(),
        commit,
        branch: Some(git_ref.to_owned()),
        actor,
        suite,
        at: now,
        status: "queued".to_owned(),
        conclusion: None,
        steps: definition.steps.into(),
        hidden,
        reviews: Vec::new(),
        waits_for: Vec::new(),
        jobs: Vec::new(),
        inputs,
    });
    id
}
