//! Named workflows have run for the candidate's commit one after the other.

use std::time::Duration;

use async_trait::async_trait;

use super::workflow::newest;
use super::{Gate, Look, Sight, Subject, short, together};
use crate::config::Order as Rule;
use crate::github::runs::{RunFilter, WorkflowRun};
use crate::promotion::fault::{Code, Fault};

/// How many of the newest runs of a commit are looked at.
const LOOKED_AT: usize = 100;

/// The workflows have succeeded for every commit, in their order.
pub(super) struct Order {
    rule: Rule,
}

impl Order {
    pub(super) const fn new(rule: Rule) -> Self {
        Self { rule }
    }
}

#[async_trait]
impl Gate for Order {
    fn name(&self) -> String {
        "order".to_owned()
    }

    fn code(&self) -> Code {
        Code::WorkflowsOutOfOrder
    }

    fn wait(&self) -> Duration {
        self.rule.wait
    }

    async fn look(&self, subject: &Subject) -> Result<Look, Fault> {
        let hub = subject.hub()?;
        let mut looks = Vec::new();
        for commit in subject.commits()?.into_keys() {
            let filter = RunFilter { commit: Some(commit.to_owned()), ..RunFilter::default() };
            let runs = hub.github.newest_workflow_runs(&hub.repository, &filter, LOOKED_AT).await?;
            looks.push(look(&self.rule.workflows, commit, &runs, subject.job.workflow_run));
        }
        Ok(together(looks))
    }
}

/// Whether the newest run of each workflow has succeeded, and none began before that of the workflow before it.
fn look(workflows: &[String], commit: &str, runs: &[WorkflowRun], own: Option<u64>) -> Look {
    let of = |file: &'_ str| {
        let file = file.to_owned();
        runs.iter().filter(move |run| is_of(run, &file))
    };
    let each: Vec<Look> = workflows.iter().map(|file| newest(file, commit, of(file), own)).collect();
    if each.iter().any(|look| look.sight != Sight::Open) {
        return together(each);
    }
    let wanted = workflows.join(", then ");
    let begun = |file: &String| {
        of(file).filter(|run| run.commit == commit && Some(run.id) != own).map(|run| run.created_at).max()
    };
    for pair in workflows.windows(2) {
        if begun(&pair[0]) > begun(&pair[1]) {
            return Look::closed(format!("{} has run before {} for {}", pair[1], pair[0], short(commit)), wanted);
        }
    }
    Look::open(format!("they have for {}", short(commit)), wanted)
}

/// Whether a run is of a workflow's file: GitHub tells `.github/workflows/ci.yml`, at times with `@` and a reference.
fn is_of(run: &WorkflowRun, file: &str) -> bool {
    let path = run.path.split('@').next().unwrap_or_default();
    path.rsplit('/').next() == Some(file)
}
