//! The shapes that many answers hold: people, repositories, commits, apps. Every field is there that GitHub's published
//! description requires.

use serde_json::{Value, json};

use super::world::{Commit, Repo, User, World, time};

/// The page of the documentation that errors point to.
pub(super) const DOCUMENTATION: &str = "https://docs.github.com/rest";

pub(super) fn node(kind: &str, id: u64) -> String {
    format!("{kind}_{id}")
}

/// `simple-user`.
pub(super) fn user(base: &str, user: &User) -> Value {
    let url = format!("{base}/users/{}", encode(&user.login));
    let mut shape = json!({
        "login": user.login,
        "id": user.id,
        "node_id": node("U", user.id),
        "avatar_url": format!("https://avatars.test/u/{}", user.id),
        "gravatar_id": "",
        "url": url,
        "html_url": format!("https://github.test/{}", encode(&user.login)),
        "type": user.kind,
        "site_admin": false,
    });
    for name in ["followers", "following", "gists", "starred", "subscriptions", "organizations", "repos", "events"] {
        let key = if name == "organizations" { "organizations_url".to_owned() } else { format!("{name}_url") };
        shape[key] = json!(format!("{url}/{name}"));
    }
    shape["received_events_url"] = json!(format!("{url}/received_events"));
    shape
}

/// `minimal-repository`, and with `whole` the rest of `full-repository`.
pub(super) fn repository(world: &World, base: &str, repo: &Repo, whole: bool) -> Value {
    let url = format!("{base}/repos/{}/{}", repo.owner, repo.name);
    let html = html(repo);
    let mut shape = json!({
        "id": repo.id,
        "node_id": node("R", repo.id),
        "name": repo.name,
        "full_name": format!("{}/{}", repo.owner, repo.name),
        "owner": user(base, &world.user(&repo.owner)),
        "private": repo.private,
        "html_url": html,
        "description": null,
        "fork": false,
        "url": url,
    });
    for name in [
        "archive",
        "assignees",
        "blobs",
        "branches",
        "collaborators",
        "comments",
        "commits",
        "compare",
        "contents",
        "contributors",
        "deployments",
        "downloads",
        "events",
        "forks",
        "git_commits",
        "git_refs",
        "git_tags",
        "hooks",
        "issue_comment",
        "issue_events",
        "issues",
        "keys",
        "labels",
        "languages",
        "merges",
        "milestones",
        "notifications",
        "pulls",
        "releases",
        "stargazers",
        "statuses",
        "subscribers",
        "subscription",
        "tags",
        "teams",
        "trees",
    ] {
        shape[format!("{name}_url")] = json!(format!("{url}/{name}"));
    }
    if whole {
        let rest = json!({
            "clone_url": format!("{html}.git"), "git_url": format!("git:{html}.git"), "ssh_url": format!("git@{html}.git"),
            "svn_url": html, "mirror_url": null, "homepage": null, "language": null, "license": null,
            "default_branch": repo.default_branch, "forks": 0, "forks_count": 0, "open_issues": 0,
            "open_issues_count": 0, "watchers": 0, "watchers_count": 0, "stargazers_count": 0, "network_count": 0,
            "subscribers_count": 0, "size": 1, "has_issues": true, "has_downloads": true, "has_projects": false, "has_wiki": false,
            "has_pages": false, "has_discussions": false, "archived": false, "disabled": false,
            "pushed_at": time(world.now()), "created_at": time(world.now()), "updated_at": time(world.now()),
        });
        merge(&mut shape, rest);
    }
    shape
}

/// The repository's page.
pub(super) fn html(repo: &Repo) -> String {
    format!("https://github.test/{}/{}", repo.owner, repo.name)
}

/// `integration`.
pub(super) fn app(world: &World, base: &str, id: u64) -> Value {
    let slug = if id == super::ACTIONS_APP { "github-actions".to_owned() } else { format!("app-{id}") };
    json!({
        "id": id,
        "slug": slug,
        "node_id": node("A", id),
        "client_id": format!("Iv1.{id}"),
        "owner": user(base, &world.user("github")),
        "name": slug,
        "description": null,
        "external_url": "https://github.test",
        "html_url": format!("https://github.test/apps/{slug}"),
        "created_at": "2020-01-01T00:00:00Z",
        "updated_at": "2020-01-01T00:00:00Z",
        "permissions": {"checks": "write"},
        "events": [],
    })
}

/// `commit`.
pub(super) fn commit(world: &World, base: &str, repo: &Repo, commit: &Commit) -> Value {
    let url = format!("{base}/repos/{}/{}/commits/{}", repo.owner, repo.name, commit.sha);
    let who = json!({"name": commit.author, "email": "someone@users.test", "date": time(world.now())});
    let parents: Vec<Value> =
        commit.parents.iter().map(|sha| json!({"sha": sha, "url": format!("{base}/commits/{sha}")})).collect();
    let author = user(base, &world.user(&commit.author));
    json!({
        "sha": commit.sha,
        "node_id": format!("C_{}", commit.sha),
        "url": url,
        "html_url": format!("{}/commit/{}", html(repo), commit.sha),
        "comments_url": format!("{url}/comments"),
        "commit": {
            "url": url, "author": who, "committer": who, "message": commit.message, "comment_count": 0,
            "tree": {"sha": commit.sha, "url": url},
        },
        "author": author,
        "committer": author,
        "parents": parents,
    })
}

/// `team`.
pub(super) fn team(base: &str, organisation: &str, slug: &str) -> Value {
    let url = format!("{base}/orgs/{organisation}/teams/{slug}");
    json!({
        "id": 1, "node_id": "T_1", "url": url, "members_url": format!("{url}/members"), "name": slug, "slug": slug,
        "description": null, "permission": "push", "html_url": format!("https://github.test/orgs/{organisation}"),
        "repositories_url": format!("{url}/repos"), "parent": null, "type": "organization",
    })
}

/// Adds fields to an object.
pub(super) fn merge(shape: &mut Value, rest: Value) {
    if let (Some(shape), Value::Object(rest)) = (shape.as_object_mut(), rest) {
        shape.extend(rest);
    }
}

/// A segment of an address.
pub(super) fn encode(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
