//! Issues and their comments.

use serde_json::{Value, json};

use super::call::{Call, Reply};
use super::repositories::{repo, repo_mut};
use super::shape;
use super::world::{Comment, Issue, Repo, World, time};

/// The most characters of a text.
const BODY: usize = 65_536;

pub(super) fn list(world: &mut World, call: &Call) -> Reply {
    let wanted = call.parameter("state").unwrap_or("open");
    let labels: Vec<&str> = call.parameter("labels").map(|labels| labels.split(',').collect()).unwrap_or_default();
    let matches = |issue: &&Issue| {
        (wanted == "all" || issue.open == (wanted == "open"))
            && labels.iter().all(|label| issue.labels.iter().any(|own| own.eq_ignore_ascii_case(label)))
    };
    let mut found: Vec<&Issue> = repo(world, call).issues.iter().filter(matches).collect();
    found.sort_by_key(|issue| std::cmp::Reverse(issue.number));
    Reply::list(found.into_iter().map(|issue| show(world, call, issue)).collect())
}

pub(super) fn one(world: &mut World, call: &Call) -> Reply {
    match find(repo(world, call), call.number(4)) {
        Some(issue) => Reply::json(200, show(world, call, issue)),
        None => Reply::not_found(),
    }
}

fn find(repo: &Repo, number: u64) -> Option<&Issue> {
    repo.issues.iter().find(|issue| issue.number == number)
}

fn texts(call: &Call, name: &str) -> Vec<String> {
    let list = call.body.get(name).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(|one| one.as_str().map(str::to_owned)).collect()
}

pub(super) fn create(world: &mut World, call: &Call) -> Reply {
    let Some(title) = call.text("title").filter(|title| !title.is_empty()) else {
        return Reply::invalid("Issue", "title", "missing_field");
    };
    if title.chars().count() > 256 {
        return Reply::invalid("Issue", "title", "too_long");
    }
    let body = call.text("body").unwrap_or_default();
    if body.chars().count() > BODY {
        return Reply::invalid("Issue", "body", "too_long");
    }
    let assignees = texts(call, "assignees");
    let known = |login: &String| world.users.contains_key(&login.to_ascii_lowercase());
    if !assignees.iter().all(known) || assignees.len() > 10 {
        return Reply::invalid("Issue", "assignees", "invalid");
    }
    let number = super::next_number(repo(world, call));
    let issue = Issue {
        id: world.id(),
        number,
        title,
        body,
        author: call.token.login.clone(),
        labels: texts(call, "labels"),
        assignees,
        open: true,
        state_reason: None,
        is_pull_request: false,
        at: call.now,
        comments: Vec::new(),
    };
    let shown = show(world, call, &issue);
    repo_mut(world, call).issues.push(issue);
    Reply::json(201, shown)
}

pub(super) fn update(world: &mut World, call: &Call) -> Reply {
    let number = call.number(4);
    let state = call.text("state");
    if state.as_ref().is_some_and(|state| !matches!(state.as_str(), "open" | "closed")) {
        return Reply::invalid("Issue", "state", "invalid");
    }
    let Some(issue) = repo_mut(world, call).issues.iter_mut().find(|issue| issue.number == number) else {
        return Reply::not_found();
    };
    if let Some(state) = state {
        issue.open = state == "open";
        issue.state_reason = call.text("state_reason");
    }
    if let Some(title) = call.text("title") {
        issue.title = title;
    }
    if let Some(body) = call.text("body") {
        issue.body = body;
    }
    one(world, call)
}

fn show(world: &World, call: &Call, issue: &Issue) -> Value {
    let repo = repo(world, call);
    let url = call.below(&format!("issues/{}", issue.number));
    let kind = if issue.is_pull_request { "pull" } else { "issues" };
    let html = format!("{}/{kind}/{}", shape::html(repo), issue.number);
    let label = |name: &String| {
        json!({
            "id": 1, "node_id": "LA_1", "url": call.below(&format!("labels/{}", shape::encode(name))), "name": name,
            "description": null, "color": "ededed", "default": false,
        })
    };
    let assignees: Vec<Value> =
        issue.assignees.iter().map(|login| shape::user(&call.base, &world.user(login))).collect();
    let mut shown = json!({
        "id": issue.id, "node_id": shape::node("I", issue.id), "url": url, "html_url": html,
        "repository_url": format!("{}/repos/{}/{}", call.base, call.segment(1), call.segment(2)),
        "labels_url": format!("{url}/labels"), "comments_url": format!("{url}/comments"),
        "events_url": format!("{url}/events"), "number": issue.number,
        "state": if issue.open { "open" } else { "closed" }, "state_reason": issue.state_reason, "title": issue.title,
        "body": issue.body, "user": shape::user(&call.base, &world.user(&issue.author)),
        "labels": issue.labels.iter().map(label).collect::<Vec<_>>(),
        "assignee": assignees.first(), "assignees": assignees, "milestone": null, "locked": false,
        "comments": issue.comments.len(), "closed_at": (!issue.open).then(|| time(call.now)),
        "created_at": time(issue.at), "updated_at": time(issue.at), "author_association": "NONE",
    });
    if issue.is_pull_request {
        shown["pull_request"] = json!({"url": url, "html_url": html, "diff_url": format!("{html}.diff"), "patch_url": format!("{html}.patch")});
    }
    shown
}

pub(super) fn comments(world: &mut World, call: &Call) -> Reply {
    let Some(issue) = find(repo(world, call), call.number(4)) else { return Reply::not_found() };
    Reply::list(issue.comments.iter().map(|comment| show_comment(world, call, issue.number, comment)).collect())
}

pub(super) fn comment(world: &mut World, call: &Call) -> Reply {
    let number = call.number(4);
    let body = call.text("body").unwrap_or_default();
    if body.is_empty() || body.chars().count() > BODY {
        return Reply::invalid("IssueComment", "body", "invalid");
    }
    if find(repo(world, call), number).is_none() {
        return Reply::not_found();
    }
    let author = Some(call.token.login.clone());
    let comment = Comment { id: world.id(), author, body, created_at: call.now, updated_at: call.now };
    let shown = show_comment(world, call, number, &comment);
    if let Some(issue) = repo_mut(world, call).issues.iter_mut().find(|issue| issue.number == number) {
        issue.comments.push(comment);
    }
    Reply::json(201, shown)
}

fn show_comment(world: &World, call: &Call, issue: u64, comment: &Comment) -> Value {
    let html = format!("{}/issues/{issue}#issuecomment-{}", shape::html(repo(world, call)), comment.id);
    json!({
        "id": comment.id, "node_id": shape::node("IC", comment.id),
        "url": call.below(&format!("issues/comments/{}", comment.id)), "html_url": html,
        "issue_url": call.below(&format!("issues/{issue}")), "body": comment.body,
        "user": comment.author.as_ref().map(|login| shape::user(&call.base, &world.user(login))),
        "created_at": time(comment.created_at), "updated_at": time(comment.updated_at),
        "author_association": "NONE",
    })
}
