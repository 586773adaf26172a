//! `deploy.workflow`: another workflow.

use std::time::Duration;

use indexmap::IndexMap;
use serde::Serialize;

use crate::config::check::Checker;
use crate::config::collection::Map;
use crate::config::literal::Lit;
use crate::config::names::{EventType, GithubRepository, Line, WorkflowFile};
use crate::config::path::Path;
use crate::config::secret::{Secret, SecretText};
use crate::config::section::section;
use crate::config::template::{Deployment, In, Template, TemplateText};
use crate::config::time::PositiveDuration;
use crate::config::value::{Json, JsonText};

/// The most inputs that a dispatch takes (GitHub's limit for `workflow_dispatch`).
const MAX_INPUTS: usize = 25;

/// The most keys at the top of a payload (GitHub's limit for `repository_dispatch`).
const MAX_PAYLOAD_KEYS: usize = 10;

/// Another workflow.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WorkflowDriver {
    /// The repository, `owner/name`; none for this one.
    pub repository: Option<String>,
    /// The token that may start it; none for the job's.
    pub token: Option<Secret>,
    /// How a deployment is started.
    pub deploy: Dispatch,
    /// How a rollback is started; none where it is a deployment of the target.
    pub rollback: Option<Dispatch>,
    /// How often to look.
    pub every: Duration,
    /// How long it may take.
    pub timeout: Duration,
}

/// How a workflow is started.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dispatch {
    /// By `workflow_dispatch`.
    Workflow {
        /// The workflow's file name.
        file: String,
        /// The branch or tag that it runs on; none for the default branch.
        reference: Option<Template>,
        /// Its inputs.
        inputs: IndexMap<String, Template>,
        /// The input that a nonce is put into, where GitHub does not tell which run it has started.
        correlation_input: Option<String>,
    },
    /// By `repository_dispatch`.
    Repository {
        /// The type of the event.
        event: String,
        /// What goes with it.
        payload: IndexMap<String, Json>,
    },
}

section! {
    /// Another workflow, in this or another repository. Its conclusion is the deployment's.
    struct WorkflowKeys from RawWorkflowDriver, one_of ["file", "event"], finish workflow => WorkflowDriver {
        /// The workflow's file name; it is started by `workflow_dispatch`.
        optional file: Lit<WorkflowFile> => String,
        /// The type of event for `repository_dispatch`.
        optional event: Lit<EventType> => String,
        /// The repository, `owner/name`. Default: this one.
        optional repository: Lit<GithubRepository> => String,
        /// The branch or tag that it runs on. Default: the repository's default branch.
        optional r#ref: In<Deployment, TemplateText> => Template,
        /// The inputs of `file`. They are shown on GitHub: no secret belongs into them.
        default(IndexMap::new()) inputs: In<Deployment, Map<Line, TemplateText>> => IndexMap<String, Template>,
        /// The input of `file` that a nonce is put into, so that the run is found where GitHub does not tell which one
        /// it has started. The workflow must show it in its `run-name`.
        optional correlation_input: Lit<Line> => String,
        /// What goes with `event`.
        default(IndexMap::new()) payload: In<Deployment, Map<Line, JsonText>> => IndexMap<String, Json>,
        /// The token that may start it. Default: the job's, which may in this repository.
        optional token: SecretText => Secret,
        /// How a rollback is started. Default: as a deployment, of the target.
        optional rollback: RawRollbackDispatch => Dispatch,
        /// How often to look. Default: `10s`.
        default(Duration::from_secs(10)) every: Lit<PositiveDuration> => Duration,
        /// How long it may take. Default: `30m`.
        default(Duration::from_secs(1800)) timeout: Lit<PositiveDuration> => Duration,
    }
}

section! {
    /// How a rollback is started.
    struct RollbackDispatch from RawRollbackDispatch, one_of ["file", "event"], finish rollback => Dispatch {
        /// The workflow's file name; it is started by `workflow_dispatch`.
        optional file: Lit<WorkflowFile> => String,
        /// The type of event for `repository_dispatch`.
        optional event: Lit<EventType> => String,
        /// The branch or tag that it runs on. Default: the repository's default branch.
        optional r#ref: In<Deployment, TemplateText> => Template,
        /// The inputs of `file`; `digest` and `version` are those of the target.
        default(IndexMap::new()) inputs: In<Deployment, Map<Line, TemplateText>> => IndexMap<String, Template>,
        /// The input of `file` that a nonce is put into.
        optional correlation_input: Lit<Line> => String,
        /// What goes with `event`.
        default(IndexMap::new()) payload: In<Deployment, Map<Line, JsonText>> => IndexMap<String, Json>,
    }
}

fn rollback(keys: RollbackDispatch, written: &[String], at: &Path, checker: &mut Checker<'_>) -> Option<Dispatch> {
    let good = siblings(keys.file.is_some(), &keys.inputs, &keys.payload, written, at, checker);
    let dispatch = match (keys.file, keys.event) {
        (Some(file), _) => Dispatch::Workflow {
            file,
            reference: keys.r#ref,
            inputs: keys.inputs,
            correlation_input: keys.correlation_input,
        },
        (None, event) => Dispatch::Repository { event: event?, payload: keys.payload },
    };
    good.then_some(dispatch)
}

fn workflow(keys: WorkflowKeys, written: &[String], at: &Path, checker: &mut Checker<'_>) -> Option<WorkflowDriver> {
    let (repository, token, every, timeout) = (keys.repository, keys.token, keys.every, keys.timeout);
    let (file, event, r#ref, inputs) = (keys.file, keys.event, keys.r#ref, keys.inputs);
    let (correlation_input, payload) = (keys.correlation_input, keys.payload);
    let mut good = true;
    if repository.is_some() && token.is_none() {
        checker.missing(at, "token");
        good = false;
    }
    if every > timeout {
        checker.problem(&at.key("every"), "is longer than `timeout`", "look more often, or longer");
        good = false;
    }
    let dispatch = RollbackDispatch { file, event, r#ref, inputs, correlation_input, payload };
    let deploy = rollback(dispatch, written, at, checker)?;
    good.then_some(WorkflowDriver { repository, token, deploy, rollback: keys.rollback, every, timeout })
}

/// Checks that nothing belongs to the other way of starting a workflow, and GitHub's limits.
fn siblings(
    by_file: bool,
    inputs: &IndexMap<String, Template>,
    payload: &IndexMap<String, Json>,
    written: &[String],
    at: &Path,
    checker: &mut Checker<'_>,
) -> bool {
    let mut good = if by_file {
        checker.belongs(at, written, &["payload"], &["event"])
    } else {
        checker.belongs(at, written, &["ref", "inputs", "correlation-input"], &["file"])
    };
    for (key, count, most) in [("inputs", inputs.len(), MAX_INPUTS), ("payload", payload.len(), MAX_PAYLOAD_KEYS)] {
        if count > most {
            checker.problem(
                &at.key(key),
                format!("has {count} keys, and GitHub takes {most}"),
                "put some of them into one",
            );
            good = false;
        }
    }
    good
}
