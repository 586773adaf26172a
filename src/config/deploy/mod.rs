//! `deploy`: how a service is put in place, one file per driver.

mod command;
mod compose;
mod http;
mod lambda;
mod workflow;

use serde::Serialize;

pub use self::command::CommandDriver;
pub use self::compose::{ComposeDriver, ComposeMode, HostCommands, RegistryLogin};
pub use self::http::{
    Authentication, Basic, Body, Call, ClientAuthentication, HttpDriver, Method, MutualTls, OAuth, Outcome,
    RunningCall, StatusCall,
};
pub use self::lambda::{Credentials, LambdaDriver, LambdaPackage, Shift};
pub use self::workflow::{Dispatch, WorkflowDriver};

use self::command::RawCommandDriver;
use self::compose::RawComposeDriver;
use self::http::RawHttpDriver;
pub(super) use self::lambda::RawCredentials;
use self::lambda::RawLambdaDriver;
use self::workflow::RawWorkflowDriver;
use super::check::Checker;
use super::path::Path;
use super::section::section;

pub(super) use self::command::no_injection;
pub(super) use self::http::RawBasic;

/// How a service is put in place.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Driver {
    /// By a deployment API.
    Http(Box<HttpDriver>),
    /// By another workflow.
    Workflow(Box<WorkflowDriver>),
    /// By Docker Compose on hosts that are reached over SSH.
    Compose(Box<ComposeDriver>),
    /// As an AWS Lambda function.
    Lambda(Box<LambdaDriver>),
    /// By a program.
    Command(Box<CommandDriver>),
}

impl Driver {
    /// The key that chooses it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Workflow(_) => "workflow",
            Self::Compose(_) => "compose",
            Self::Lambda(_) => "lambda",
            Self::Command(_) => "command",
        }
    }

    /// Whether it tells what runs.
    #[must_use]
    pub const fn tells_what_runs(&self) -> bool {
        match self {
            Self::Http(driver) => driver.running.is_some(),
            Self::Workflow(_) => false,
            Self::Compose(_) | Self::Lambda(_) => true,
            Self::Command(driver) => driver.running.is_some(),
        }
    }
}

section! {
    /// How a service is put in place.
    struct DeployKeys from RawDeploy,
        one_of ["http", "workflow", "compose", "lambda", "command"],
        finish deploy => Driver
    {
        /// By a deployment API.
        optional http: RawHttpDriver => HttpDriver,
        /// By another workflow, in this or another repository.
        optional workflow: RawWorkflowDriver => WorkflowDriver,
        /// By Docker Compose on hosts that are reached over SSH.
        optional compose: RawComposeDriver => ComposeDriver,
        /// As an AWS Lambda function.
        optional lambda: RawLambdaDriver => LambdaDriver,
        /// By a program: of the container's own PATH, or on the command line.
        optional command: RawCommandDriver => CommandDriver,
    }
}

fn deploy(keys: DeployKeys, _: &[String], _: &Path, _: &mut Checker<'_>) -> Option<Driver> {
    None.or(keys.http.map(Box::new).map(Driver::Http))
        .or(keys.workflow.map(Box::new).map(Driver::Workflow))
        .or(keys.compose.map(Box::new).map(Driver::Compose))
        .or(keys.lambda.map(Box::new).map(Driver::Lambda))
        .or(keys.command.map(Box::new).map(Driver::Command))
}
