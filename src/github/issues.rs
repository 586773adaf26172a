//! Issues and their comments.

use chrono::{DateTime, Utc};
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::GitHub;
use super::error::GitHubError;
use super::identity::Account;
use super::pages::Shape;
use super::repository::RepositoryName;
use super::text;
use crate::promotion::approval;
use crate::promotion::login::Login;
use crate::promotion::marker::Marker;

const CLASS: &str = "github/issues";

/// The most characters of an issue's or a comment's text that GitHub takes.
const BODY: usize = 65_536;

/// The most characters of a title that GitHub takes.
const TITLE: usize = 256;

/// The most people that GitHub assigns to an issue.
const ASSIGNEES: usize = 10;

/// An issue to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewIssue {
    /// The title.
    pub title: String,
    /// The text; what is too long is cut. The mark comes before it.
    pub body: String,
    /// The label by which it is found again. GitHub makes it if it is not there.
    pub label: String,
    /// More labels.
    pub labels: Vec<String>,
    /// Whose attention is asked; those who cannot be assigned are left out.
    pub assignees: Vec<Login>,
    /// The mark by which it is known.
    pub marker: Marker,
}

/// An issue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// Its number.
    pub number: u64,
    /// Its title.
    pub title: String,
    /// Its text.
    pub body: String,
    /// Whether it is open.
    pub is_open: bool,
    /// When it was opened, to the second.
    pub created_at: DateTime<Utc>,
    /// Its web address.
    pub url: String,
}

/// Which issues are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Those that are open.
    Open,
    /// All.
    All,
}

/// Why an issue is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClosedAs {
    /// It is done.
    Completed,
    /// It is not going to be done.
    NotPlanned,
}

#[derive(Clone, Deserialize)]
struct IssueModel {
    number: u64,
    title: String,
    body: Option<String>,
    state: String,
    user: Option<Account>,
    created_at: DateTime<Utc>,
    html_url: String,
    /// There for pull requests, which GitHub lists among the issues.
    pull_request: Option<Value>,
}

#[derive(Deserialize)]
struct CommentModel {
    id: u64,
    body: Option<String>,
    user: Option<Account>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    html_url: Option<String>,
}

impl From<IssueModel> for Issue {
    fn from(model: IssueModel) -> Self {
        Self {
            number: model.number,
            title: model.title,
            body: model.body.unwrap_or_default(),
            is_open: model.state == "open",
            created_at: model.created_at,
            url: model.html_url,
        }
    }
}

impl From<CommentModel> for approval::Comment {
    fn from(model: CommentModel) -> Self {
        Self {
            id: model.id,
            author: model.user.map(|user| Login::new(&user.login)),
            body: model.body.unwrap_or_default(),
            created_at: model.created_at,
            updated_at: model.updated_at,
            url: model.html_url,
        }
    }
}

impl GitHub {
    /// Our issue with this label and this mark; the oldest where there are several (GitHub docs, "List repository
    /// issues"; issues: read).
    ///
    /// GitHub's search lags behind what was just written, this list does not. An issue counts as ours only if we wrote
    /// it: anybody can open one with our mark in it.
    ///
    /// # Errors
    /// What GitHub says.
    pub async fn find_issue(
        &self,
        repository: &RepositoryName,
        label: &str,
        marker: &Marker,
        which: Which,
    ) -> Result<Option<Issue>, GitHubError> {
        Ok(self.find_issue_model(repository, label, marker, which).await?.map(Issue::from))
    }

    /// Our open issue with a label and a mark: the one that is there, or a new one, and whether it is new (GitHub docs,
    /// "Create an issue"; issues: write).
    ///
    /// Of two that are opened at the same time the newer one is closed again.
    ///
    /// # Errors
    /// What GitHub says.
    pub async fn open_issue(&self, repository: &RepositoryName, new: &NewIssue) -> Result<(Issue, bool), GitHubError> {
        let look = || self.find_issue_model(repository, &new.label, &new.marker, Which::Open);
        if let Some(found) = look().await? {
            return Ok((found.into(), false));
        }
        let mut body = json!({
            "title": text::cut(&new.title, TITLE),
            "body": marked(&new.marker, &new.body),
            "labels": std::iter::once(&new.label).chain(&new.labels).collect::<Vec<_>>(),
        });
        if !new.assignees.is_empty() {
            body["assignees"] = new.assignees.iter().take(ASSIGNEES).map(Login::as_str).collect();
        }
        let what = format!("opening an issue in {repository}");
        let request = self.request(Method::POST, &repository.path(&["issues"]), CLASS, what)?.needs("issues", "write");
        let made = match self.create::<IssueModel, _, _>(&request.clone().json(&body)?, look).await {
            // Somebody who cannot be assigned must not keep the issue from being opened.
            Err(error) if error.is_refused_with(422) && body.get("assignees").is_some() => {
                if let Some(fields) = body.as_object_mut() {
                    fields.remove("assignees");
                }
                self.create(&request.json(&body)?, look).await?
            }
            made => made?,
        };
        match look().await? {
            Some(older) if older.number < made.number => {
                self.close_issue(repository, made.number, ClosedAs::NotPlanned).await?;
                Ok((older.into(), false))
            }
            _ => Ok((made.into(), true)),
        }
    }

    /// An issue (GitHub docs, "Get an issue"; issues: read).
    ///
    /// # Errors
    /// What GitHub says.
    pub async fn issue(&self, repository: &RepositoryName, number: u64) -> Result<Issue, GitHubError> {
        let what = format!("reading issue {number} of {repository}");
        let request = self.get(&repository.path(&["issues", &number.to_string()]), CLASS, what)?;
        Ok(self.fetch::<IssueModel>(&request.needs("issues", "read")).await?.into())
    }

    /// Gives an issue of ours another title and text (GitHub docs, "Update an issue"; issues: write).
    ///
    /// # Errors
    /// What GitHub says.
    pub async fn rewrite_issue(
        &self,
        repository: &RepositoryName,
        number: u64,
        title: &str,
        marker: &Marker,
        body: &str,
    ) -> Result<(), GitHubError> {
        let change = json!({ "title": text::cut(title, TITLE), "body": marked(marker, body) });
        self.change_issue(repository, number, "rewriting", &change).await
    }

    /// Closes an issue; one that is closed stays so (GitHub docs, "Update an issue"; issues: write).
    ///
    /// # Errors
    /// What GitHub says.
    pub async fn close_issue(
        &self,
        repository: &RepositoryName,
        number: u64,
        closed_as: ClosedAs,
    ) -> Result<(), GitHubError> {
        let reason = match closed_as {
            ClosedAs::Completed => "completed",
            ClosedAs::NotPlanned => "not_planned",
        };
        self.change_issue(repository, number, "closing", &json!({ "state": "closed", "state_reason": reason })).await
    }

    /// All comments of an issue, in order (GitHub docs, "List issue comments"; issues: read).
    ///
    /// # Errors
    /// What GitHub says.
    pub async fn comments(
        &self,
        repository: &RepositoryName,
        number: u64,
    ) -> Result<Vec<approval::Comment>, GitHubError> {
        Ok(self.comment_models(repository, number).await?.into_iter().map(approval::Comment::from).collect())
    }

    /// Writes a comment, once for each mark: where ours with this mark is there, nothing is written (GitHub docs, "Create
    /// an issue comment"; issues: write).
    ///
    /// # Errors
    /// What GitHub says.
    pub async fn comment(
        &self,
        repository: &RepositoryName,
        number: u64,
        marker: &Marker,
        body: &str,
    ) -> Result<(), GitHubError> {
        let look = || async {
            let identity = self.identity().await?;
            let is_it = |model: &CommentModel| {
                identity.may_be(model.user.as_ref()) && marker.is_on(model.body.as_deref().unwrap_or_default())
            };
            Ok(self.comment_models(repository, number).await?.into_iter().find(is_it))
        };
        if look().await?.is_some() {
            return Ok(());
        }
        let what = format!("writing a comment to issue {number} of {repository}");
        let path = number.to_string();
        let request = self
            .request(Method::POST, &repository.path(&["issues", &path, "comments"]), CLASS, what)?
            .needs("issues", "write")
            .json(&json!({ "body": marked(marker, body) }))?;
        let made: CommentModel = self.create(&request, look).await?;
        tracing::debug!(issue = number, comment = made.id, "comment written");
        Ok(())
    }

    async fn find_issue_model(
        &self,
        repository: &RepositoryName,
        label: &str,
        marker: &Marker,
        which: Which,
    ) -> Result<Option<IssueModel>, GitHubError> {
        if label.is_empty() || label.contains(',') {
            return Err(GitHubError::Invalid(format!("`{label}` is not a label: it must not hold a comma")));
        }
        let identity = self.identity().await?;
        let request = self
            .get(&repository.path(&["issues"]), CLASS, format!("looking for our issue in {repository}"))?
            .needs("issues", "read")
            .query("state", if which == Which::Open { "open" } else { "all" })
            .query("labels", label);
        let models: Vec<IssueModel> = self.all(&request, Shape::Bare).await?;
        let is_ours = |model: &IssueModel| {
            model.pull_request.is_none()
                && identity.may_be(model.user.as_ref())
                && marker.is_on(model.body.as_deref().unwrap_or_default())
        };
        Ok(models.into_iter().filter(is_ours).min_by_key(|model| model.number))
    }

    async fn comment_models(&self, repository: &RepositoryName, number: u64) -> Result<Vec<CommentModel>, GitHubError> {
        let what = format!("reading the comments of issue {number} of {repository}");
        let path = number.to_string();
        let request = self.get(&repository.path(&["issues", &path, "comments"]), CLASS, what)?;
        self.all(&request.needs("issues", "read"), Shape::Bare).await
    }

    async fn change_issue(
        &self,
        repository: &RepositoryName,
        number: u64,
        doing: &str,
        change: &Value,
    ) -> Result<(), GitHubError> {
        let request = self
            .request(
                Method::PATCH,
                &repository.path(&["issues", &number.to_string()]),
                CLASS,
                format!("{doing} issue {number} of {repository}"),
            )?
            .needs("issues", "write")
            .json(change)?
            .harmless();
        self.send(&request).await?;
        Ok(())
    }
}

fn marked(marker: &Marker, body: &str) -> String {
    text::cut(&marker.put_on(body), BODY)
}
