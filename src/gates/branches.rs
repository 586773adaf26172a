//! The candidate's commit is on a branch that may be promoted.

use async_trait::async_trait;

use super::{Gate, Look, Subject, short, together};
use crate::promotion::fault::{Code, Fault};
use crate::promotion::wildcard::is_like;

/// Every commit is on one of these branches.
pub(super) struct Branches {
    allowed: Vec<String>,
}

impl Branches {
    pub(super) const fn new(allowed: Vec<String>) -> Self {
        Self { allowed }
    }

    /// The branches to look at: those that are named, and the job's own where a pattern stands for it.
    fn candidates(&self, git_ref: Option<&str>) -> Vec<String> {
        let own = git_ref.and_then(|reference| reference.strip_prefix("refs/heads/"));
        let mut branches: Vec<String> = Vec::new();
        for allowed in &self.allowed {
            let branch = match own {
                Some(own) if allowed.contains('*') && is_like(allowed, own, true) => own,
                _ if allowed.contains('*') => continue,
                _ => allowed,
            };
            if !branches.iter().any(|known| known == branch) {
                branches.push(branch.to_owned());
            }
        }
        branches
    }
}

#[async_trait]
impl Gate for Branches {
    fn name(&self) -> String {
        "branches".to_owned()
    }

    fn code(&self) -> Code {
        Code::BranchRefused
    }

    async fn look(&self, subject: &Subject) -> Result<Look, Fault> {
        let hub = subject.hub()?;
        let wanted = format!("a commit of {}", self.allowed.join(" or "));
        let branches = self.candidates(subject.job.git_ref.as_deref());
        if branches.is_empty() {
            let own = subject.job.git_ref.as_deref().unwrap_or("no branch");
            return Ok(Look::closed(format!("no pattern stands for {own}, which this job runs on"), wanted)
                .with_fix("run the workflow on the branch that is to be promoted, or name it in `gates.branches`"));
        }
        let mut looks = Vec::new();
        for commit in subject.commits()?.into_keys() {
            let mut found = None;
            for branch in &branches {
                if hub.github.is_reachable(&hub.repository, commit, branch).await? {
                    found = Some(branch);
                    break;
                }
            }
            looks.push(match found {
                Some(branch) => Look::open(format!("{} is on {branch}", short(commit)), wanted.clone()),
                None => Look::closed(format!("{} is not on {}", short(commit), branches.join(", ")), wanted.clone()),
            });
        }
        Ok(together(looks))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_stands_for_the_branch_of_the_job_alone() {
        let gate = Branches::new(vec!["main".into(), "release/*".into()]);
        assert_eq!(gate.candidates(Some("refs/heads/release/2")), ["main", "release/2"]);
        assert_eq!(gate.candidates(Some("refs/tags/release/2")), ["main"]);
        assert_eq!(gate.candidates(None), ["main"]);
    }
}
