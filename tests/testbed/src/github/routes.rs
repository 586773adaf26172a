//! Which address is whose, and what a token needs for it.

use super::access::Needed;
use super::call::{Call, Reply};
use super::world::World;
use super::{actions, artifacts, checks, deployments, environments, issues, repositories};

/// What answers a request.
pub(super) type Handler = fn(&mut World, &Call) -> Reply;

/// The handler of an address, and the permission that it needs.
pub(super) fn route(method: &str, path: &[&str]) -> Option<(Needed, Handler)> {
    let found: (Needed, Handler) = match (method, path) {
        ("GET", ["user"]) => (None, repositories::whoami),
        ("GET", ["orgs", _, "teams", _, "members"]) => (Some(("members", "read")), repositories::team_members),
        ("GET", ["orgs", _, "teams", _, "memberships", _]) => (Some(("members", "read")), repositories::membership),
        ("POST", ["orgs", _, "artifacts", "metadata", "deployment-record"]) => {
            (Some(("artifact_metadata", "write")), artifacts::record)
        }
        ("GET", ["repos", _, _]) => (None, repositories::show),
        (_, ["repos", _, _, rest @ ..]) => return below_repository(method, rest),
        _ => return None,
    };
    Some(found)
}

fn below_repository(method: &str, path: &[&str]) -> Option<(Needed, Handler)> {
    let needs = |name, access| Some((name, access));
    let found: (Needed, Handler) = match (method, path) {
        ("GET", ["branches", _]) => (needs("contents", "read"), repositories::branch),
        ("GET", ["rules", "branches", _]) => (None, repositories::rules),
        ("GET", ["commits", _]) => (needs("contents", "read"), repositories::commit),
        ("GET", ["compare", _]) => (needs("contents", "read"), repositories::compare),
        ("GET", ["commits", _, "pulls"]) => (needs("pull_requests", "read"), repositories::pulls_of_commit),
        ("GET", ["commits", _, "check-runs"]) => (needs("checks", "read"), checks::of_commit),
        ("GET", ["check-runs", _]) => (needs("checks", "read"), checks::one),
        ("GET", ["commits", _, "status"]) => (needs("statuses", "read"), checks::combined),
        ("POST", ["statuses", _]) => (needs("statuses", "write"), checks::set_status),
        ("GET", ["environments", _]) => (needs("actions", "read"), environments::show),
        ("GET", ["environments", _, "deployment-branch-policies"]) => {
            (needs("actions", "read"), environments::branch_policies)
        }
        ("GET", ["environments", _, "deployment_protection_rules"]) => {
            (needs("actions", "read"), environments::custom_rules)
        }
        ("GET", ["actions", "runs"]) => (needs("actions", "read"), actions::list),
        ("GET", ["actions", "runs", _]) => (needs("actions", "read"), actions::one),
        ("GET", ["actions", "runs", _, "jobs"]) => (needs("actions", "read"), actions::jobs),
        ("GET", ["actions", "runs", _, "attempts", _, "jobs"]) => (needs("actions", "read"), actions::jobs),
        ("GET", ["actions", "runs", _, "approvals"]) => (needs("actions", "read"), actions::approvals),
        ("GET", ["actions", "runs", _, "pending_deployments"]) => (needs("actions", "read"), actions::pending),
        ("POST", ["actions", "runs", _, "cancel"]) => (needs("actions", "write"), actions::cancel),
        ("GET", ["actions", "workflows", _, "runs"]) => (needs("actions", "read"), actions::list_of_workflow),
        ("POST", ["actions", "workflows", _, "dispatches"]) => (needs("actions", "write"), actions::dispatch),
        ("POST", ["dispatches"]) => (needs("contents", "write"), actions::repository_dispatch),
        ("GET", ["deployments"]) => (needs("deployments", "read"), deployments::list),
        ("POST", ["deployments"]) => (needs("deployments", "write"), deployments::create),
        ("GET", ["deployments", _, "statuses"]) => (needs("deployments", "read"), deployments::statuses),
        ("POST", ["deployments", _, "statuses"]) => (needs("deployments", "write"), deployments::set_status),
        ("GET", ["issues"]) => (needs("issues", "read"), issues::list),
        ("POST", ["issues"]) => (needs("issues", "write"), issues::create),
        ("GET", ["issues", _]) => (needs("issues", "read"), issues::one),
        ("PATCH", ["issues", _]) => (needs("issues", "write"), issues::update),
        ("GET", ["issues", _, "comments"]) => (needs("issues", "read"), issues::comments),
        ("POST", ["issues", _, "comments"]) => (needs("issues", "write"), issues::comment),
        ("GET", ["attestations", _]) => (needs("attestations", "read"), artifacts::attestations),
        _ => return None,
    };
    Some(found)
}
