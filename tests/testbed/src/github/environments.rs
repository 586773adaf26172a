//! Environments.

use serde_json::{Value, json};

use super::call::{Call, Reply};
use super::repositories::repo;
use super::shape;
use super::world::{Environment, Repo, World};

/// GitHub does not tell upper from lower case here.
pub(super) fn find<'a>(repo: &'a Repo, name: &str) -> Option<&'a Environment> {
    repo.environments.iter().find(|environment| environment.name.eq_ignore_ascii_case(name))
}

pub(super) fn show(world: &mut World, call: &Call) -> Reply {
    let Some(environment) = find(repo(world, call), call.segment(4)) else { return Reply::not_found() };
    let mut rules = Vec::new();
    let mut rule = |kind: &str, rest: Value| {
        let id = environment.id * 10 + rules.len() as u64;
        let mut rule = json!({"id": id, "node_id": shape::node("GA", id), "type": kind});
        shape::merge(&mut rule, rest);
        rules.push(rule);
    };
    if let Some(minutes) = environment.wait_timer {
        rule("wait_timer", json!({"wait_timer": minutes}));
    }
    if !environment.users.is_empty() || !environment.teams.is_empty() {
        let reviewers = reviewers(world, call, environment);
        rule(
            "required_reviewers",
            json!({"prevent_self_review": environment.prevent_self_review, "reviewers": reviewers}),
        );
    }
    if environment.branches.is_some() {
        rule("branch_policy", json!({}));
    }
    for kind in &environment.odd_rules {
        rule(kind, json!({}));
    }
    let mut shown = short(call, environment);
    let policy = environment
        .branches
        .as_ref()
        .map(|names| json!({"protected_branches": names.is_empty(), "custom_branch_policies": !names.is_empty()}));
    shape::merge(&mut shown, json!({"protection_rules": rules, "deployment_branch_policy": policy}));
    Reply::json(200, shown)
}

/// An environment without its rules.
pub(super) fn short(call: &Call, environment: &Environment) -> Value {
    json!({
        "id": environment.id, "node_id": shape::node("EN", environment.id), "name": environment.name,
        "url": call.below(&format!("environments/{}", shape::encode(&environment.name))),
        "html_url": "https://github.test/deployments", "created_at": "2020-01-01T00:00:00Z",
        "updated_at": "2020-01-01T00:00:00Z",
    })
}

/// Who may review.
pub(super) fn reviewers(world: &World, call: &Call, environment: &Environment) -> Vec<Value> {
    let user = |login: &String| json!({"type": "User", "reviewer": shape::user(&call.base, &world.user(login))});
    let team = |(organisation, slug): &(String, String)| json!({"type": "Team", "reviewer": shape::team(&call.base, organisation, slug)});
    environment.users.iter().map(user).chain(environment.teams.iter().map(team)).collect()
}

pub(super) fn branch_policies(world: &mut World, call: &Call) -> Reply {
    let Some(environment) = find(repo(world, call), call.segment(4)) else { return Reply::not_found() };
    let policy = |(index, (name, is_of_tags)): (usize, &(String, bool))| {
        let kind = if *is_of_tags { "tag" } else { "branch" };
        json!({"id": index + 1, "node_id": format!("BP_{index}"), "name": name, "type": kind})
    };
    let policies = environment.branches.iter().flatten().enumerate().map(policy).collect();
    Reply::list_under("branch_policies", policies, json!({}))
}

pub(super) fn custom_rules(world: &mut World, call: &Call) -> Reply {
    let Some(environment) = find(repo(world, call), call.segment(4)) else { return Reply::not_found() };
    let rule = |(index, slug): (usize, &String)| {
        let app = json!({
            "id": index + 1, "slug": slug, "node_id": format!("A_{index}"),
            "integration_url": format!("{}/apps/{slug}", call.base),
        });
        json!({"id": index + 1, "node_id": format!("CR_{index}"), "enabled": true, "app": app})
    };
    let rules: Vec<Value> = environment.apps.iter().enumerate().map(rule).collect();
    Reply::json(200, json!({"total_count": rules.len(), "custom_deployment_protection_rules": rules}))
}
