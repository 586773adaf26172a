//! A workflow has succeeded for the candidate's commit.

use std::time::Duration;

use async_trait::async_trait;

use super::{Gate, Look, Subject, short, together};
use crate::config::WorkflowGate;
use crate::github::runs::{RunFilter, WorkflowRun};
use crate::promotion::fault::{Code, Fault};

/// How many of the newest runs are looked at.
const LOOKED_AT: usize = 20;

/// The workflow has succeeded for every commit.
pub(super) struct Workflow {
    rule: WorkflowGate,
}

impl Workflow {
    pub(super) const fn new(rule: WorkflowGate) -> Self {
        Self { rule }
    }
}

#[async_trait]
impl Gate for Workflow {
    fn name(&self) -> String {
        "workflow".to_owned()
    }

    fn code(&self) -> Code {
        Code::WorkflowNotGreen
    }

    fn wait(&self) -> Duration {
        self.rule.wait
    }

    async fn look(&self, subject: &Subject) -> Result<Look, Fault> {
        let hub = subject.hub()?;
        let mut looks = Vec::new();
        for commit in subject.commits()?.into_keys() {
            let filter = RunFilter {
                workflow: Some(self.rule.file.clone()),
                commit: Some(commit.to_owned()),
                event: self.rule.event.clone(),
                branch: self.rule.branch.clone(),
            };
            let runs = hub.github.newest_workflow_runs(&hub.repository, &filter, LOOKED_AT).await?;
            looks.push(newest(&self.rule.file, commit, runs.iter(), subject.job.workflow_run));
        }
        Ok(together(looks))
    }
}

/// How the newest run of a workflow for a commit stands; our own does not count, because it is under way.
pub(super) fn newest<'r>(
    file: &str,
    commit: &str,
    runs: impl Iterator<Item = &'r WorkflowRun>,
    own: Option<u64>,
) -> Look {
    let wanted = format!("a run of {file} that has succeeded");
    let newest =
        runs.filter(|run| run.commit == commit && Some(run.id) != own).max_by_key(|run| (run.created_at, run.id));
    let commit = short(commit);
    match newest {
        None => Look::not_yet(format!("{file} has not run for {commit}"), wanted),
        Some(run) if !run.has_ended() => {
            Look::not_yet(format!("{file} is {} for {commit}: {}", run.status, run.url), wanted)
        }
        Some(run) if run.has_succeeded() => {
            Look::open(format!("{file} has succeeded for {commit}: {}", run.url), wanted)
        }
        Some(run) => {
            let how = run.conclusion.as_deref().unwrap_or("without a conclusion");
            Look::closed(format!("{file} has ended as {how} for {commit}: {}", run.url), wanted)
        }
    }
}
