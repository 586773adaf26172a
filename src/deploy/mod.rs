//! How a service is put in place: the driver's trait, and one file or folder for each driver.
//!
//! | file | what it does |
//! |---|---|
//! | `order` | what a driver is told, and the values of its templates |
//! | `log` | what a driver says while it works |
//! | `http`, `workflow`, `compose`, `lambda`, `command` | the drivers |

mod command;
mod compose;
mod http;
mod lambda;
mod log;
mod order;
mod workflow;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;

pub use self::log::Log;
pub use self::order::{Facts, Order};
use crate::config::{self, FillError, RenderError, SecretReader};
use crate::github::Hub;
use crate::promotion::deployment::{Handle, Running};
use crate::promotion::fault::{Code, Fault};
use crate::promotion::retry::RetryPolicy;

/// What drivers are built with.
#[derive(Debug, Clone)]
pub struct Kit {
    /// The configuration's secrets.
    pub secrets: SecretReader,
    /// How patiently requests are tried again.
    pub retry: RetryPolicy,
    /// The workspace, to which relative paths belong.
    pub workspace: PathBuf,
    /// GitHub, where the job has a repository and a token.
    pub github: Option<Hub>,
    /// The address of GitHub's API.
    pub api_url: String,
}

/// A driver puts releases of one service in place in one environment.
///
/// Each call may be dropped at any point: what it has begun elsewhere then goes on, and [`Driver::observe`] tells of it.
#[async_trait]
pub trait Driver: fmt::Debug + Send + Sync {
    /// Its name, as the configuration has it.
    fn name(&self) -> &'static str;

    /// How often, and how long in all, what it has begun is observed.
    fn pace(&self) -> Pace;

    /// Whether an order can be given: every template has its values, every secret is set. Asks nobody, changes nothing.
    ///
    /// # Errors
    /// What is missing.
    fn check(&self, order: &Order) -> Result<(), Fault>;

    /// Begins to put the order's release in place, or does all of it.
    ///
    /// Guarantee: idempotent for one order; asked again for an order that was carried out, nothing is different in the
    /// end. When it returns, the order was carried out ([`Begun::Done`]), or goes on elsewhere and is followed by the
    /// handle ([`Begun::GoesOn`]).
    ///
    /// # Errors
    /// A [`Setback`], which says what is known of the world.
    async fn start(&self, order: &Order, log: &Log) -> Result<Begun, Setback>;

    /// Tells how far an order is; changes nothing.
    ///
    /// With a handle it tells of what the handle names. Without one (the visit that began it was cut off before it
    /// could record one) it looks at what is there, and says [`Progress::Unknown`] rather than guess.
    ///
    /// # Errors
    /// What keeps it from looking; it may pass.
    async fn observe(&self, order: &Order, handle: Option<&Handle>) -> Result<Progress, Fault>;

    /// Begins to put back what the order names: the release that was there before the deployment of
    /// [`Order::undoes`], or an earlier one.
    ///
    /// Guarantee: as [`Driver::start`]; and asked again after it was done, it finds nothing left to do.
    ///
    /// # Errors
    /// As [`Driver::start`].
    async fn roll_back(&self, order: &Order, log: &Log) -> Result<Begun, Setback>;

    /// Stops what was begun, as far as that can be done; idempotent. What is in place after that is not promised.
    ///
    /// # Errors
    /// What keeps it from asking.
    async fn cancel(&self, order: &Order, handle: &Handle) -> Result<(), Fault>;

    /// What runs now, by digest or version, never by tag; one entry for each place. Empty where the driver cannot tell;
    /// an entry without digest and version is a place where nothing runs. Changes nothing.
    ///
    /// # Errors
    /// What keeps it from looking.
    async fn running(&self, order: &Order) -> Result<Vec<Running>, Fault>;
}

/// How often something is looked at, and how long in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The time between two looks.
    pub every: Duration,
    /// All of it.
    pub timeout: Duration,
}

/// What has begun.
#[derive(Debug, Clone, PartialEq)]
pub enum Begun {
    /// All is done.
    Done(Report),
    /// It goes on elsewhere.
    GoesOn(Handle),
}

/// How far something is.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// It was never begun: it can be begun now.
    NotStarted,
    /// It goes on.
    InProgress(Report),
    /// It is in place.
    Applied(Report),
    /// It has ended, and is not in place.
    Failed(Report),
    /// It cannot be told, and why.
    Unknown(String),
}

/// What the other side has told (untrusted).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The state that it is in.
    pub state: Option<String>,
    /// The version that was made.
    pub version: Option<String>,
    /// A message for people.
    pub message: Option<String>,
    /// Where a person can look at it.
    pub url: Option<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told: Vec<&str> = [&self.state, &self.message].into_iter().filter_map(Option::as_deref).collect();
        if told.is_empty() { f.write_str("nothing was said about it") } else { f.write_str(&told.join(": ")) }
    }
}

/// Why something was not put in place, and what is known of the world.
#[derive(Debug, Clone, PartialEq)]
pub enum Setback {
    /// Nothing was changed.
    Untouched(Fault),
    /// It was begun and has failed: what runs may be the one, the other, or nothing.
    Failed(Fault),
    /// It is not known whether it was begun.
    Uncertain(Fault),
}

impl Setback {
    /// The fault.
    #[must_use]
    pub const fn fault(&self) -> &Fault {
        match self {
            Self::Untouched(fault) | Self::Failed(fault) | Self::Uncertain(fault) => fault,
        }
    }

    /// A setback of which it is not known whether anything was begun.
    #[must_use]
    pub fn uncertain(why: impl Into<String>) -> Self {
        Self::Uncertain(Fault::new(Code::DeploymentUncertain, why))
    }
}

/// What cannot be filled in was not begun.
impl From<FillError> for Setback {
    fn from(error: FillError) -> Self {
        Self::Untouched(fill_fault(error))
    }
}

impl From<RenderError> for Setback {
    fn from(error: RenderError) -> Self {
        Self::from(FillError::from(error))
    }
}

/// A value of a template that is missing, or a secret that is not set.
fn fill_fault(error: FillError) -> Fault {
    match error {
        FillError::Secret(error) => error.into(),
        FillError::Template(error) => Fault::new(Code::ConfigurationInvalid, error.to_string())
            .with_fix("give the value that is missing (an input), or use another one in the template"),
    }
}

/// The driver that a configuration describes.
///
/// # Errors
/// A secret that is not set or is not what it must be; what a driver needs of the job and does not have.
pub fn driver(settings: &config::Driver, kit: &Kit) -> Result<Box<dyn Driver>, Fault> {
    match settings {
        config::Driver::Command(settings) => Ok(Box::new(command::Command::new(settings, kit))),
        config::Driver::Http(settings) => Ok(Box::new(http::Http::new(settings, kit)?)),
        config::Driver::Workflow(settings) => Ok(Box::new(workflow::Workflow::new(settings, kit)?)),
        config::Driver::Compose(settings) => Ok(Box::new(compose::Compose::new(settings, kit))),
        config::Driver::Lambda(settings) => Ok(Box::new(lambda::Lambda::new(settings, kit)?)),
    }
}
