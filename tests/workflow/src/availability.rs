//! Which contexts may be used where.
//!
//! Follows the table "Context availability" of GitHub's documentation of contexts.

/// A place in a workflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// `run-name`, and `concurrency` of the workflow.
    Workflow,
    /// `env` of the workflow.
    WorkflowEnv,
    /// The default of a called workflow's input.
    InputDefault,
    /// An output of a called workflow.
    WorkflowOutput,
    /// `if` of a job.
    JobIf,
    /// `name`, `runs-on`, `timeout-minutes`, `concurrency`, `environment` and `with` of a job.
    Job,
    /// `env` of a job.
    JobEnv,
    /// `secrets` of a call.
    CallSecrets,
    /// `outputs` of a job.
    JobOutputs,
    /// `environment.url` of a job.
    EnvironmentUrl,
    /// `if` of a step.
    StepIf,
    /// The other keys of a step.
    Step,
    /// The default of an action's input.
    ActionInput,
}

impl Place {
    /// The contexts that may be used there.
    #[must_use]
    pub const fn contexts(self) -> &'static [&'static str] {
        match self {
            Self::Workflow | Self::InputDefault => &["github", "inputs", "vars"],
            Self::WorkflowEnv => &["github", "secrets", "inputs", "vars"],
            Self::WorkflowOutput => &["github", "jobs", "vars", "inputs"],
            Self::JobIf => &["github", "needs", "vars", "inputs"],
            Self::Job => &["github", "needs", "strategy", "matrix", "vars", "inputs"],
            Self::JobEnv | Self::CallSecrets => &["github", "needs", "strategy", "matrix", "vars", "secrets", "inputs"],
            Self::EnvironmentUrl => {
                &["github", "needs", "strategy", "matrix", "job", "runner", "env", "vars", "steps", "inputs"]
            }
            Self::JobOutputs | Self::Step => {
                &["github", "needs", "strategy", "matrix", "job", "runner", "env", "vars", "secrets", "steps", "inputs"]
            }
            Self::StepIf => {
                &["github", "needs", "strategy", "matrix", "job", "runner", "env", "vars", "steps", "inputs"]
            }
            Self::ActionInput => &["github", "strategy", "matrix", "job", "runner"],
        }
    }

    /// Whether the status functions may be called there.
    #[must_use]
    pub const fn has_status(self) -> bool {
        matches!(self, Self::JobIf | Self::StepIf)
    }

    /// Whether `hashFiles` may be called there.
    #[must_use]
    pub const fn has_files(self) -> bool {
        matches!(self, Self::StepIf | Self::Step)
    }
}
