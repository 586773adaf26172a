//! A comment on GitHub: on an issue, or on the pull request that the candidate's commit came from.

use std::fmt::Write as _;
use std::sync::Arc;

use async_trait::async_trait;

use super::message::mark;
use super::{Channel, Letter, Receipt, Refused};
use crate::config::GithubComment;
use crate::github::{GitHub, RepositoryName};
use crate::promotion::fault::{Category, Fault};
use crate::promotion::marker::Marker;
use crate::promotion::untrusted::{code, markdown};

/// The longest title, line of text, and value; the whole comment is cut by the client (65,536 characters).
const LENGTHS: (usize, usize, usize) = (300, 1000, 500);

/// The most lines of text.
const LINES: usize = 30;

/// Comments in the repository of the job.
#[derive(Debug)]
pub(super) struct Github {
    pub(super) github: Arc<GitHub>,
    pub(super) repository: RepositoryName,
    pub(super) on: GithubComment,
}

#[async_trait]
impl Channel for Github {
    async fn send(&self, letter: &Letter) -> Result<Receipt, Refused> {
        let number = match self.on {
            GithubComment::Issue(number) => u64::from(number),
            GithubComment::PullRequest => self.pull_request(letter).await?,
        };
        let marker = Marker::new("notification").with("key", letter.key());
        let written = self.github.comment(&self.repository, number, &marker, &body(letter)).await;
        written.map_err(|error| refused(error.into()))?;
        Ok(Receipt::sent())
    }
}

impl Github {
    async fn pull_request(&self, letter: &Letter) -> Result<u64, Refused> {
        let Some(commit) = &letter.message.commit else {
            return Err(Refused::finally("the run has no commit, and so no pull request"));
        };
        let found = self.github.pull_requests_of(&self.repository, commit).await;
        let found = found.map_err(|error| refused(error.into()))?;
        // What was merged is what was built; an open one that shows the same commit is another proposal.
        let chosen = found.iter().find(|one| one.is_merged).or(found.first());
        chosen.map(|one| one.number).ok_or_else(|| {
            Refused::finally(format!(
                "no pull request belongs to commit {}",
                commit.chars().take(12).collect::<String>()
            ))
        })
    }
}

/// GitHub's client has tried what is worth another attempt.
fn refused(fault: Fault) -> Refused {
    let fix = match fault.category {
        Category::Permission | Category::Authentication => format!("; {}", fault.fix),
        _ => String::new(),
    };
    Refused::finally(format!("{}{fix}", fault.message))
}

/// The comment, without its mark.
pub(super) fn body(letter: &Letter) -> String {
    let message = &letter.message;
    let mut out = format!("### {} {}\n\n", mark(message.event), markdown(&message.title, LENGTHS.0));
    for said in letter.text().lines().filter(|line| !line.trim().is_empty()).take(LINES) {
        let _ = writeln!(out, "{}\n", markdown(said, LENGTHS.1));
    }
    if !message.facts.is_empty() {
        let _ = writeln!(out, "| | |\n|---|---|");
        for (name, value) in message.facts.iter().filter(|(_, value)| !value.is_empty()) {
            let _ = writeln!(out, "| {} | {} |", markdown(name, 100), code(value, LENGTHS.2));
        }
        let _ = writeln!(out);
    }
    for (name, url) in &message.links {
        let _ = writeln!(out, "[{}]({})", markdown(name, 100), url.replace(['(', ')', ' ', '<', '>'], ""));
    }
    out
}
