//! Environments, and what protects them.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::client::GitHub;
use super::error::GitHubError;
use super::pages::Shape;
use super::repository::RepositoryName;
use crate::promotion::environment_review::{Branches, Protection, Reviewers};
use crate::promotion::login::Login;

const CLASS: &str = "github/environments";

/// An environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// Its id.
    pub id: u64,
    /// Its name, as it was written when it was made; GitHub does not tell upper from lower case.
    pub name: String,
    /// What protects it.
    pub protection: Protection,
}

/// A pattern of names that may deploy into an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BranchPolicy {
    /// The pattern, e.g. `release/*`.
    pub name: String,
    /// Whether it is of tags, and not of branches.
    pub is_of_tags: bool,
}

#[derive(Deserialize)]
struct EnvironmentModel {
    id: u64,
    name: String,
    #[serde(default)]
    protection_rules: Option<Vec<RuleModel>>,
    deployment_branch_policy: Option<PolicyModel>,
}

#[derive(Deserialize)]
struct RuleModel {
    #[serde(rename = "type")]
    kind: String,
    wait_timer: Option<u32>,
    prevent_self_review: Option<bool>,
    reviewers: Option<Vec<ReviewerModel>>,
}

/// A person or a team that may review.
#[derive(Deserialize)]
pub(super) struct ReviewerModel {
    reviewer: Option<NamesModel>,
}

#[derive(Deserialize)]
struct NamesModel {
    login: Option<String>,
    slug: Option<String>,
}

#[derive(Deserialize)]
struct PolicyModel {
    #[serde(default)]
    protected_branches: bool,
}

#[derive(Deserialize)]
struct BranchPolicyModel {
    name: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

/// People and teams from a list of reviewers.
pub(super) fn reviewers_of(models: Vec<ReviewerModel>) -> (BTreeSet<Login>, BTreeSet<String>) {
    let names: Vec<NamesModel> = models.into_iter().filter_map(|model| model.reviewer).collect();
    let users = names.iter().filter_map(|names| names.login.as_deref()).map(Login::new).collect();
    let teams = names.iter().filter(|names| names.login.is_none()).filter_map(|names| names.slug.clone()).collect();
    (users, teams)
}

impl From<EnvironmentModel> for Environment {
    fn from(model: EnvironmentModel) -> Self {
        let mut protection = Protection {
            branches: model
                .deployment_branch_policy
                .map(|policy| if policy.protected_branches { Branches::Protected } else { Branches::Named }),
            ..Protection::default()
        };
        for rule in model.protection_rules.into_iter().flatten() {
            match rule.kind.as_str() {
                "wait_timer" => protection.wait_timer = rule.wait_timer,
                "required_reviewers" => {
                    let (users, teams) = reviewers_of(rule.reviewers.unwrap_or_default());
                    let prevent_self_review = rule.prevent_self_review.unwrap_or(false);
                    protection.reviewers = Some(Reviewers { prevent_self_review, users, teams });
                }
                "branch_policy" => {}
                _ => protection.unknown.push(rule.kind),
            }
        }
        Self { id: model.id, name: model.name, protection }
    }
}

impl GitHub {
    /// An environment; nothing where there is none, or the token may not see it (GitHub docs, "Get an environment";
    /// actions: read).
    ///
    /// Worth asking before a deployment: one into an environment that does not exist makes it, without any protection.
    ///
    /// # Errors
    /// What GitHub says.
    pub async fn environment(
        &self,
        repository: &RepositoryName,
        name: &str,
    ) -> Result<Option<Environment>, GitHubError> {
        let what = format!("reading the environment {name} of {repository}");
        let request = self.get(&repository.path(&["environments", name]), CLASS, what)?.needs("actions", "read");
        Ok(self.find::<EnvironmentModel>(&request).await?.map(Environment::from))
    }

    /// The names of branches and tags that may deploy into an environment whose policy is [`Branches::Named`] (GitHub
    /// docs, "List deployment branch policies"; actions: read).
    ///
    /// # Errors
    /// What GitHub says.
    pub async fn branch_policies(
        &self,
        repository: &RepositoryName,
        environment: &str,
    ) -> Result<Vec<BranchPolicy>, GitHubError> {
        let what = format!("reading the branch policies of the environment {environment} of {repository}");
        let path = repository.path(&["environments", environment, "deployment-branch-policies"]);
        let request = self.get(&path, CLASS, what)?.needs("actions", "read");
        let models: Vec<BranchPolicyModel> = self.all(&request, Shape::Under("branch_policies")).await?;
        let policy = |model: BranchPolicyModel| {
            Some(BranchPolicy { name: model.name?, is_of_tags: model.kind.as_deref() == Some("tag") })
        };
        Ok(models.into_iter().filter_map(policy).collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn environment(value: serde_json::Value) -> Environment {
        Environment::from(serde_json::from_value::<EnvironmentModel>(value).unwrap())
    }

    #[test]
    fn rules_are_read_also_those_that_come_later() {
        let rules = json!([
            {"id": 1, "type": "wait_timer", "wait_timer": 30},
            {"id": 2, "type": "required_reviewers", "prevent_self_review": true, "reviewers": [
                {"type": "User", "reviewer": {"login": "Ann"}},
                {"type": "Team", "reviewer": {"slug": "release", "name": "Release"}},
                {"type": "Moon", "reviewer": {}},
                {"type": "User"},
            ]},
            {"id": 3, "type": "branch_policy"},
            {"id": 4, "type": "phase_of_the_moon"},
        ]);
        let policy = json!({"protected_branches": false, "custom_branch_policies": true});
        let seen =
            environment(json!({"id": 7, "name": "x", "protection_rules": rules, "deployment_branch_policy": policy}));
        assert_eq!(seen.protection.wait_timer, Some(30));
        let reviewers = seen.protection.reviewers.unwrap();
        assert_eq!(reviewers.users, [Login::new("ann")].into());
        assert_eq!(reviewers.teams, ["release".to_owned()].into());
        assert!(reviewers.prevent_self_review);
        assert_eq!(seen.protection.branches, Some(Branches::Named));
        assert_eq!(seen.protection.unknown, ["phase_of_the_moon"]);
    }

    #[test]
    fn missing_rules_are_none() {
        for value in [json!({"id": 7, "name": "x"}), json!({"id": 7, "name": "x", "protection_rules": null})] {
            assert_eq!(environment(value).protection, Protection::default());
        }
    }
}
