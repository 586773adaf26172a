//! Repositories and their branches.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use super::client::GitHub;
use super::error::GitHubError;
use super::pages::Shape;
use crate::promotion::required_checks::Requirement;

const CLASS: &str = "github/repository";

/// A repository's name: `owner/name`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepositoryName {
    owner: String,
    name: String,
}

impl RepositoryName {
    /// The person or organisation that it belongs to.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// The segments of an address below it.
    pub(super) fn path<'a>(&'a self, below: &[&'a str]) -> Vec<&'a str> {
        ["repos", &self.owner, &self.name].into_iter().chain(below.iter().copied()).collect()
    }
}

impl FromStr for RepositoryName {
    type Err = GitHubError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let good = |part: &str| {
            let known = part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
            !part.is_empty() && part.len() <= 100 && known && !matches!(part, "." | "..")
        };
        match text.split_once('/') {
            Some((owner, name)) if good(owner) && good(name) => {
                Ok(Self { owner: owner.to_owned(), name: name.to_owned() })
            }
            _ => Err(GitHubError::Invalid(format!(
                "`{}` is not a repository on GitHub: write `owner/name`",
                text.chars().take(100).collect::<String>().escape_debug()
            ))),
        }
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

/// A repository.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Repository {
    /// Its id.
    pub id: u64,
    /// The branch that pull requests go to.
    pub default_branch: String,
    /// Whether only some may see it.
    #[serde(default)]
    pub private: bool,
    owner: Owner,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Owner {
    #[serde(default, rename = "type")]
    kind: String,
}

impl Repository {
    /// Whether it belongs to an organisation, which some of GitHub's features ask for.
    #[must_use]
    pub fn is_of_organisation(&self) -> bool {
        self.owner.kind == "Organization"
    }
}

/// A branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// The commit at its end.
    pub commit: String,
    /// Whether it is protected, by a rule of either kind.
    pub protected: bool,
}

#[derive(Deserialize)]
struct BranchModel {
    commit: CommitModel,
    #[serde(default)]
    protected: bool,
    protection: Option<ProtectionModel>,
}

#[derive(Deserialize)]
struct CommitModel {
    sha: String,
}

#[derive(Deserialize)]
struct ProtectionModel {
    required_status_checks: Option<RequiredModel>,
}

#[derive(Deserialize)]
struct RequiredModel {
    #[serde(default)]
    contexts: Vec<String>,
    #[serde(default)]
    checks: Vec<CheckModel>,
}

/// A required check; its app is `app_id` on branches and `integration_id` in rulesets.
#[derive(Deserialize)]
struct CheckModel {
    context: String,
    #[serde(alias = "integration_id")]
    app_id: Option<i64>,
}

#[derive(Deserialize)]
struct RuleModel {
    #[serde(rename = "type")]
    kind: String,
    parameters: Option<ParametersModel>,
}

#[derive(Deserialize)]
struct ParametersModel {
    #[serde(default)]
    required_status_checks: Vec<CheckModel>,
}

impl From<CheckModel> for Requirement {
    fn from(model: CheckModel) -> Self {
        // Minus one stands for any app.
        Self { name: model.context, app: model.app_id.and_then(|id| u64::try_from(id).ok()) }
    }
}

impl GitHub {
    /// A repository (GitHub docs, "Get a repository"; metadata: read).
    ///
    /// # Errors
    /// What GitHub says.
    pub async fn repository(&self, repository: &RepositoryName) -> Result<Repository, GitHubError> {
        let what = format!("reading the repository {repository}");
        self.fetch(&self.get(&repository.path(&[]), CLASS, what)?.needs("contents", "read")).await
    }

    /// A branch (GitHub docs, "Get a branch"; contents: read).
    ///
    /// # Errors
    /// What GitHub says.
    pub async fn branch(&self, repository: &RepositoryName, branch: &str) -> Result<Branch, GitHubError> {
        let model = self.branch_model(repository, branch).await?;
        Ok(Branch { commit: model.commit.sha, protected: model.protected })
    }

    /// The checks that a branch requires: those of its rulesets and those of its branch protection together.
    ///
    /// The job's token may read both, other than the protection's own address, which wants `administration: read`
    /// (GitHub docs, "Get rules for a branch", "Get a branch").
    ///
    /// # Errors
    /// What GitHub says. A part that cannot be read is an error: half of the requirements are none.
    pub async fn required_checks(
        &self,
        repository: &RepositoryName,
        branch: &str,
    ) -> Result<BTreeSet<Requirement>, GitHubError> {
        let what = format!("reading the rules of branch {branch} in {repository}");
        let request = self.get(&repository.path(&["rules", "branches", branch]), CLASS, what)?;
        let rules: Vec<RuleModel> = self.all(&request.needs("contents", "read"), Shape::Bare).await?;
        let of_rules = rules
            .into_iter()
            .filter(|rule| rule.kind == "required_status_checks")
            .filter_map(|rule| rule.parameters)
            .flat_map(|parameters| parameters.required_status_checks);
        let protection = self.branch_model(repository, branch).await?.protection;
        let required = protection.and_then(|protection| protection.required_status_checks);
        let of_protection = required.into_iter().flat_map(|required| {
            // `contexts` is the older list of the same; it says nothing of apps.
            let older: Vec<String> = required
                .contexts
                .into_iter()
                .filter(|context| !required.checks.iter().any(|check| check.context == *context))
                .collect();
            required.checks.into_iter().chain(older.into_iter().map(|context| CheckModel { context, app_id: None }))
        });
        Ok(of_rules.chain(of_protection).map(Requirement::from).collect())
    }

    async fn branch_model(&self, repository: &RepositoryName, branch: &str) -> Result<BranchModel, GitHubError> {
        let what = format!("reading branch {branch} of {repository}");
        self.fetch(&self.get(&repository.path(&["branches", branch]), CLASS, what)?.needs("contents", "read")).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        let name: RepositoryName = "acme/api.v2_x-y".parse().unwrap();
        assert_eq!(name.to_string(), "acme/api.v2_x-y");
        assert_eq!(name.path(&["issues"]), ["repos", "acme", "api.v2_x-y", "issues"]);
        for bad in ["", "acme", "acme/", "/api", "acme/api/x", "acme/..", "a b/c", "acme/api?x"] {
            assert!(bad.parse::<RepositoryName>().is_err(), "{bad}");
        }
    }
}
