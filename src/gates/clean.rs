//! What is deployed is what is committed, and its tag was not moved.

use std::time::Duration;

use async_trait::async_trait;

use super::{Gate, Look, Subject, short, together};
use crate::process::{ProcessError, Program};
use crate::promotion::fault::{Code, Fault};

/// Nothing uncommitted, and no tag that was moved.
pub(super) struct Clean;

#[async_trait]
impl Gate for Clean {
    fn name(&self) -> String {
        "clean".to_owned()
    }

    fn code(&self) -> Code {
        Code::ReferenceUnclean
    }

    async fn look(&self, subject: &Subject) -> Result<Look, Fault> {
        let wanted = "what is committed, and nothing else";
        let mut looks = Vec::new();
        for candidate in &subject.candidates {
            if let Some(commit) = candidate.commit.as_deref().filter(|commit| commit.contains("dirty")) {
                let seen = format!("the image of {} was built from `{commit}`", candidate.service);
                return Ok(Look::closed(seen, wanted));
            }
        }
        let commits = subject.commits()?;
        if let Some(tag) = subject.job.git_ref.as_deref().and_then(|reference| reference.strip_prefix("refs/tags/")) {
            let hub = subject.hub()?;
            let now = hub.github.commit(&hub.repository, &format!("tags/{tag}")).await?.sha;
            for commit in commits.keys() {
                looks.push(if *commit == now {
                    Look::open(format!("the tag {tag} is {}", short(commit)), wanted)
                } else {
                    Look::closed(
                        format!("the tag {tag} is {} now, and the image was built from {}", short(&now), short(commit)),
                        wanted,
                    )
                });
            }
        } else {
            let commits: Vec<&str> = commits.keys().map(|commit| short(commit)).collect();
            looks.push(Look::open(format!("built from {}", commits.join(", ")), wanted));
        }
        looks.push(workspace(subject, wanted).await?);
        Ok(together(looks))
    }
}

/// What of the workspace is not committed, where a repository is checked out there.
async fn workspace(subject: &Subject, wanted: &str) -> Result<Look, Fault> {
    if !subject.workspace.join(".git").exists() {
        return Ok(Look::open("no repository is checked out", wanted));
    }
    let status = Program::new("git")
        // The workspace belongs to somebody else in a container.
        .arguments([
            "-c",
            "safe.directory=*",
            "-c",
            "core.fsmonitor=false",
            "status",
            "--porcelain",
            "--untracked-files=no",
        ])
        .directory(&subject.workspace)
        .timeout(Duration::from_secs(60))
        .run()
        .await;
    let ended = match status {
        Err(ProcessError::Absent { .. }) => {
            return Ok(Look::open("the workspace was not compared, because there is no `git` here", wanted));
        }
        ended => ended?,
    };
    if !ended.is_good() {
        return Ok(Look::closed(format!("`git status` {}", ended.told()), wanted));
    }
    let changed: Vec<String> =
        ended.stdout.text().lines().take(10).map(|line| line.get(3..).unwrap_or(line).to_owned()).collect();
    Ok(if changed.is_empty() {
        Look::open("nothing in the workspace is uncommitted", wanted)
    } else {
        Look::closed(format!("not committed in the workspace: {}", changed.join(", ")), wanted)
    })
}
