//! Repositories, branches, commits, pull requests, teams and people.

use serde_json::{Value, json};

use super::call::{Call, Reply};
use super::shape;
use super::world::{Pull, Repo, World, time};

/// The repository of the call; the router has found it.
pub(super) fn repo<'a>(world: &'a World, call: &Call) -> &'a Repo {
    world.repo(call.segment(1), call.segment(2)).expect("the router has found the repository")
}

/// The same, to be changed.
pub(super) fn repo_mut<'a>(world: &'a mut World, call: &Call) -> &'a mut Repo {
    world.repo_mut(call.segment(1), call.segment(2)).expect("the router has found the repository")
}

pub(super) fn whoami(world: &mut World, call: &Call) -> Reply {
    if !call.token.of_person {
        return super::access::forbidden();
    }
    let mut user = shape::user(&call.base, &world.user(&call.token.login));
    let rest = json!({
        "name": null, "company": null, "blog": null, "location": null, "email": null, "hireable": null, "bio": null,
        "public_repos": 0, "public_gists": 0, "followers": 0, "following": 0,
        "created_at": "2020-01-01T00:00:00Z", "updated_at": "2020-01-01T00:00:00Z",
    });
    shape::merge(&mut user, rest);
    Reply::json(200, user)
}

pub(super) fn show(world: &mut World, call: &Call) -> Reply {
    Reply::json(200, shape::repository(world, &call.base, repo(world, call), true))
}

pub(super) fn branch(world: &mut World, call: &Call) -> Reply {
    let repo = repo(world, call);
    let name = call.segment(4);
    let Some(branch) = repo.branches.get(name) else { return Reply::error(404, "Branch not found") };
    let commit = repo.resolve(name).expect("a branch points to a commit");
    let url = call.below(&format!("branches/{}", shape::encode(name)));
    let checks: Vec<Value> =
        branch.required.iter().map(|(context, app)| json!({"context": context, "app_id": app})).collect();
    let contexts: Vec<&String> = branch.required.iter().map(|(context, _)| context).collect();
    let is_protected = !branch.required.is_empty();
    let mut required = json!({"enforcement_level": if is_protected { "non_admins" } else { "off" }});
    shape::merge(&mut required, json!({"contexts": contexts, "checks": checks}));
    Reply::json(
        200,
        json!({
            "name": name,
            "commit": shape::commit(world, &call.base, repo, commit),
            "_links": {"self": url, "html": format!("{}/tree/{}", shape::html(repo), shape::encode(name))},
            "protected": is_protected || !branch.rules.is_empty(),
            "protection": {"enabled": is_protected, "required_status_checks": required},
            "protection_url": format!("{url}/protection"),
        }),
    )
}

pub(super) fn rules(world: &mut World, call: &Call) -> Reply {
    let Some(branch) = repo(world, call).branches.get(call.segment(5)) else { return Reply::list(Vec::new()) };
    let origin = json!({"ruleset_source_type": "Repository", "ruleset_source": "acme/api", "ruleset_id": 1});
    let mut all = vec![json!({"type": "deletion"})];
    for (context, app) in &branch.rules {
        let mut check = json!({"context": context});
        if let Some(app) = app {
            check["integration_id"] = json!(app);
        }
        let parameters = json!({"required_status_checks": [check], "strict_required_status_checks_policy": false});
        all.push(json!({"type": "required_status_checks", "parameters": parameters}));
    }
    for rule in &mut all {
        shape::merge(rule, origin.clone());
    }
    Reply::list(all)
}

pub(super) fn commit(world: &mut World, call: &Call) -> Reply {
    let repo = repo(world, call);
    match repo.resolve(call.segment(4)) {
        Some(commit) => Reply::json(200, shape::commit(world, &call.base, repo, commit)),
        None => Reply::error(422, &format!("No commit found for SHA: {}", call.segment(4))),
    }
}

pub(super) fn compare(world: &mut World, call: &Call) -> Reply {
    let repo = repo(world, call);
    let ends =
        call.segment(4).split_once("...").and_then(|(base, head)| Some((repo.resolve(base)?, repo.resolve(head)?)));
    let Some((base, head)) = ends else { return Reply::not_found() };
    let (before, after) = (repo.ancestry(&base.sha), repo.ancestry(&head.sha));
    let ahead: Vec<&super::world::Commit> =
        repo.commits.iter().filter(|commit| after.contains(&commit.sha) && !before.contains(&commit.sha)).collect();
    let behind = before.difference(&after).count();
    let status = match (ahead.len(), behind) {
        (0, 0) => "identical",
        (_, 0) => "ahead",
        (0, _) => "behind",
        _ => "diverged",
    };
    let shared = repo.commits.iter().rev().find(|commit| before.contains(&commit.sha) && after.contains(&commit.sha));
    let Some(shared) = shared else { return Reply::error(404, "No common ancestor between the two") };
    let url = call.below(&format!("compare/{}...{}", base.sha, head.sha));
    let html = format!("{}/compare/{}...{}", shape::html(repo), base.sha, head.sha);
    let commits: Vec<Value> = ahead.iter().map(|commit| shape::commit(world, &call.base, repo, commit)).collect();
    let beside = json!({
        "url": url, "html_url": html, "permalink_url": html, "diff_url": format!("{html}.diff"),
        "patch_url": format!("{html}.patch"), "status": status, "ahead_by": ahead.len(), "behind_by": behind,
        "total_commits": ahead.len(),
        "base_commit": shape::commit(world, &call.base, repo, base),
        "merge_base_commit": shape::commit(world, &call.base, repo, shared),
        "files": [],
    });
    Reply::list_beside("commits", commits, beside)
}

pub(super) fn pulls_of_commit(world: &mut World, call: &Call) -> Reply {
    let repo = repo(world, call);
    let of_commit = repo.pulls.iter().filter(|pull| pull.commit == call.segment(4));
    Reply::list(of_commit.map(|pull| show_pull(world, call, repo, pull)).collect())
}

fn show_pull(world: &World, call: &Call, repo: &Repo, pull: &Pull) -> Value {
    let url = call.below(&format!("pulls/{}", pull.number));
    let html = format!("{}/pull/{}", shape::html(repo), pull.number);
    let issue = call.below(&format!("issues/{}", pull.number));
    let author = shape::user(&call.base, &world.user(&pull.author));
    let end = |name: &str| {
        json!({
            "label": format!("{}:{name}", repo.owner), "ref": name, "sha": pull.commit,
            "user": shape::user(&call.base, &world.user(&repo.owner)),
            "repo": shape::repository(world, &call.base, repo, true),
        })
    };
    let link = |href: &str| json!({"href": href});
    let now = time(call.now);
    json!({
        "id": pull.id, "node_id": shape::node("PR", pull.id), "number": pull.number, "state": "closed", "locked": false,
        "title": pull.title, "user": author, "body": null, "labels": [], "milestone": null, "assignee": null,
        "url": url, "html_url": html, "diff_url": format!("{html}.diff"), "patch_url": format!("{html}.patch"),
        "issue_url": issue, "commits_url": format!("{url}/commits"), "review_comments_url": format!("{url}/comments"),
        "review_comment_url": format!("{url}/comments/1"), "comments_url": format!("{issue}/comments"),
        "statuses_url": call.below(&format!("statuses/{}", pull.commit)),
        "created_at": now, "updated_at": now, "closed_at": now, "merged_at": now, "merge_commit_sha": pull.commit,
        "head": end("topic"), "base": end("main"), "author_association": "MEMBER", "auto_merge": null,
        "_links": {
            "self": link(&url), "html": link(&html), "issue": link(&issue), "comments": link(&issue),
            "review_comments": link(&url), "review_comment": link(&url), "commits": link(&url), "statuses": link(&url),
        },
    })
}

pub(super) fn team_members(world: &mut World, call: &Call) -> Reply {
    let Some(members) = world.teams.get(&team(call)) else { return Reply::not_found() };
    let active = members.iter().filter(|(_, state)| **state == "active");
    Reply::list(active.map(|(login, _)| shape::user(&call.base, &world.user(login))).collect())
}

pub(super) fn membership(world: &mut World, call: &Call) -> Reply {
    let login = call.segment(5);
    let found = world.teams.get(&team(call));
    let member = found.and_then(|members| members.iter().find(|(name, _)| name.eq_ignore_ascii_case(login)));
    let Some((_, state)) = member else { return Reply::not_found() };
    let url = format!("{}/orgs/{}/teams/{}/memberships/{login}", call.base, call.segment(1), call.segment(3));
    Reply::json(200, json!({"url": url, "role": "member", "state": state}))
}

fn team(call: &Call) -> (String, String) {
    (call.segment(1).to_ascii_lowercase(), call.segment(3).to_owned())
}
