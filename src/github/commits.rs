//! Commits: how two are related, and what lies between them.

use serde::Deserialize;

use super::client::{GitHub, decode, nonsense};
use super::error::GitHubError;
use super::identity::Account;
use super::pages::{PAGE, Shape};
use super::repository::RepositoryName;
use crate::promotion::login::Login;

const CLASS: &str = "github/commits";

/// How a head is related to a base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// They are one commit.
    Identical,
    /// The base is an ancestor of the head.
    Ahead,
    /// The head is an ancestor of the base.
    Behind,
    /// Neither is an ancestor of the other.
    Diverged,
}

/// What lies between two commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// How the head is related to the base.
    pub relation: Relation,
    /// How many commits the head has that the base has not.
    pub ahead: u64,
    /// How many commits the base has that the head has not.
    pub behind: u64,
    /// Those that the head has and the base has not, the oldest first; where there are very many, not all.
    pub commits: Vec<Commit>,
    /// The web address of the comparison.
    pub url: String,
}

/// A commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its id.
    pub sha: String,
    /// Its message (untrusted).
    pub message: String,
    /// Who wrote it, if that is somebody on GitHub.
    pub author: Option<Login>,
    /// Its web address.
    pub url: String,
}

/// A pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullRequest {
    /// Its number.
    pub number: u64,
    /// Its title (untrusted).
    pub title: String,
    /// Whose it is.
    pub author: Option<Login>,
    /// Whether it was merged.
    pub is_merged: bool,
    /// Its web address.
    pub url: String,
}

#[derive(Deserialize)]
struct ComparisonModel {
    status: String,
    ahead_by: u64,
    behind_by: u64,
    #[serde(default)]
    commits: Vec<CommitModel>,
    html_url: String,
}

#[derive(Deserialize)]
struct CommitModel {
    sha: String,
    commit: GitCommitModel,
    author: Option<AuthorModel>,
    html_url: String,
}

#[derive(Deserialize)]
struct GitCommitModel {
    #[serde(default)]
    message: String,
}

/// An account, or an empty object.
#[derive(Deserialize)]
struct AuthorModel {
    login: Option<String>,
}

#[derive(Deserialize)]
struct PullRequestModel {
    number: u64,
    title: String,
    user: Option<Account>,
    merged_at: Option<String>,
    html_url: String,
}

impl From<CommitModel> for Commit {
    fn from(model: CommitModel) -> Self {
        let login = model.author.and_then(|author| author.login);
        Self {
            sha: model.sha,
            message: model.commit.message,
            author: login.as_deref().map(Login::new),
            url: model.html_url,
        }
    }
}

impl GitHub {
    /// The commit that a branch, a tag or an abbreviation stands for (GitHub docs, "Get a commit"; contents: read).
    ///
    /// # Errors
    /// What GitHub says.
    pub async fn commit(&self, repository: &RepositoryName, reference: &str) -> Result<Commit, GitHubError> {
        let what = format!("reading the commit {reference} of {repository}");
        let request = self.get(&repository.path(&["commits", reference]), CLASS, what)?.needs("contents", "read");
        Ok(self.fetch::<CommitModel>(&request.query("per_page", "1")).await?.into())
    }

    /// What lies between two commits, branches or tags (GitHub docs, "Compare two commits"; contents: read). Of the
    /// commits at most `pages` times 100 are read.
    ///
    /// # Errors
    /// What GitHub says.
    pub async fn compare(
        &self,
        repository: &RepositoryName,
        base: &str,
        head: &str,
        pages: usize,
    ) -> Result<Comparison, GitHubError> {
        let request = self.comparison(repository, base, head)?.query("per_page", &PAGE.to_string());
        let mut page = 1;
        let mut comparison: Option<Comparison> = None;
        loop {
            let answer = self.send(&request.clone().query("page", &page.to_string())).await?;
            let model: ComparisonModel = decode(&answer.body, &request.what)?;
            let commits: Vec<Commit> = model.commits.into_iter().map(Commit::from).collect();
            let full = commits.len() >= PAGE;
            match &mut comparison {
                Some(comparison) => comparison.commits.extend(commits),
                None => {
                    comparison = Some(Comparison {
                        relation: relation(&model.status, &request.what)?,
                        ahead: model.ahead_by,
                        behind: model.behind_by,
                        commits,
                        url: model.html_url,
                    });
                }
            }
            page += 1;
            if let Some(comparison) = comparison.take_if(|_| !full || page > pages) {
                return Ok(comparison);
            }
        }
    }

    /// Whether a commit can be reached from a branch, a tag or another commit: whether it is it, or an ancestor of it.
    ///
    /// # Errors
    /// What GitHub says.
    pub async fn is_reachable(
        &self,
        repository: &RepositoryName,
        commit: &str,
        from: &str,
    ) -> Result<bool, GitHubError> {
        let request = self.comparison(repository, from, commit)?.query("per_page", "1");
        let model: ComparisonModel = self.fetch(&request).await?;
        Ok(matches!(relation(&model.status, &request.what)?, Relation::Identical | Relation::Behind))
    }

    /// The pull requests that a commit came with (GitHub docs, "List pull requests associated with a commit";
    /// pull-requests: read).
    ///
    /// # Errors
    /// What GitHub says.
    pub async fn pull_requests_of(
        &self,
        repository: &RepositoryName,
        commit: &str,
    ) -> Result<Vec<PullRequest>, GitHubError> {
        let what = format!("reading the pull requests of {commit} in {repository}");
        let request = self.get(&repository.path(&["commits", commit, "pulls"]), CLASS, what)?;
        let models: Vec<PullRequestModel> = self.all(&request.needs("pull-requests", "read"), Shape::Bare).await?;
        let pull_request = |model: PullRequestModel| PullRequest {
            number: model.number,
            title: model.title,
            author: model.user.map(|user| Login::new(&user.login)),
            is_merged: model.merged_at.is_some(),
            url: model.html_url,
        };
        Ok(models.into_iter().map(pull_request).collect())
    }

    fn comparison(
        &self,
        repository: &RepositoryName,
        base: &str,
        head: &str,
    ) -> Result<super::request::Request, GitHubError> {
        let what = format!("comparing {base} with {head} in {repository}");
        let path = format!("{base}...{head}");
        Ok(self.get(&repository.path(&["compare", &path]), CLASS, what)?.needs("contents", "read"))
    }
}

fn relation(status: &str, what: &str) -> Result<Relation, GitHubError> {
    match status {
        "identical" => Ok(Relation::Identical),
        "ahead" => Ok(Relation::Ahead),
        "behind" => Ok(Relation::Behind),
        "diverged" => Ok(Relation::Diverged),
        other => Err(nonsense(what, format!("two commits cannot be `{}`", other.escape_debug()))),
    }
}
