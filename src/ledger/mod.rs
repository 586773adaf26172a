//! The ledger: where events live.
//!
//! One trait, [`Ledger`], states what is guaranteed after each call returns; PostgreSQL and SQLite implement it, and one
//! suite of contract tests holds both to it.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::promotion::digest::Digest;
use crate::promotion::event::{Event, Opening, Record};
use crate::promotion::fault::{Code, Fault};
use crate::promotion::identity::DeploymentId;
use crate::promotion::run::Run;
use crate::promotion::state::State;

/// How long a lease lives without a heartbeat.
pub const LEASE_TTL: Duration = Duration::from_secs(90);

/// How often a lease is renewed.
pub const HEARTBEAT: Duration = Duration::from_secs(20);

/// The last event of a run that somebody has seen: the next one is appended only if it still is the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The run.
    pub run: DeploymentId,
    /// The place of its last event.
    pub seq: u64,
    /// The hash of its last event.
    pub hash: String,
}

impl Head {
    /// The head of a folded run.
    #[must_use]
    pub fn of(run: &Run) -> Self {
        Self { run: run.id.clone(), seq: run.seq, hash: run.head.clone() }
    }
}

/// The right to change an environment, proven with every write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// The scope of the environment (`owner/name`, or `local`).
    pub scope: String,
    /// The environment.
    pub environment: String,
    /// The fencing token under which the lease was taken.
    pub token: u64,
}

/// What [`Ledger::open`] found or made.
#[derive(Debug, Clone)]
pub enum Opened {
    /// A new run; these are its records.
    New(Vec<Record>),
    /// A run with the same key that is not over; these are its records.
    Resumed(Vec<Record>),
    /// A run with the same key that ended as `completed-successfully`; these are its records.
    Finished(Vec<Record>),
}

/// What [`Ledger::acquire`] found.
#[derive(Debug, Clone)]
pub enum Acquired {
    /// The lease is ours; the record says so.
    Taken(Box<Record>),
    /// Somebody else has it.
    Held {
        /// Whose it is.
        by: DeploymentId,
        /// When it ends, if it is not renewed.
        until: DateTime<Utc>,
    },
}

/// One service's part in a past run, from the derived tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// The run.
    pub run: DeploymentId,
    /// The environment.
    pub environment: String,
    /// The service.
    pub service: String,
    /// Its sequence number.
    pub sequence: Option<u64>,
    /// The run's operation, by name.
    pub operation: String,
    /// The run's state.
    pub state: State,
    /// Whether the run is over.
    pub ended: bool,
    /// Whether something was, or may have been, done to the world.
    pub changed_the_world: bool,
    /// What was promoted.
    pub digest: Option<Digest>,
    /// What it replaced.
    pub previous: Option<Digest>,
    /// When the run was opened.
    pub opened_at: DateTime<Utc>,
    /// When its last event was recorded.
    pub updated_at: DateTime<Utc>,
}

/// Which runs are meant; an empty filter means the whole ledger.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only this scope.
    pub scope: Option<String>,
    /// Only this environment.
    pub environment: Option<String>,
    /// Only this service.
    pub service: Option<String>,
    /// Only runs that are not over.
    pub unfinished: bool,
    /// At most so many, the newest first.
    pub limit: Option<u32>,
}

/// Why the ledger did not do what was asked. No variant carries an address or a password.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// It cannot be reached, or the connection broke: what was asked may or may not have been done.
    #[error("the ledger cannot be reached: {0}")]
    Unreachable(String),
    /// It does not accept who we are, or what we want to do.
    #[error("the ledger refuses: {0}")]
    Refused(String),
    /// The address is not a ledger's.
    #[error("`database-url` is not usable: {0}")]
    BadAddress(String),
    /// The run is not in it.
    #[error("run {0} is not in the ledger")]
    RunUnknown(DeploymentId),
    /// Somebody else has appended to the run.
    #[error("another visit has appended to run {0}")]
    Conflict(DeploymentId),
    /// The lease is not ours any more.
    #[error("the lease on {0} was taken over")]
    LeaseLost(String),
    /// It holds what it cannot hold.
    #[error("the ledger is damaged: {0}")]
    Corrupt(String),
}

impl From<LedgerError> for Fault {
    fn from(error: LedgerError) -> Self {
        let code = match &error {
            LedgerError::Unreachable(_) => Code::LedgerUnreachable,
            LedgerError::Refused(_) => Code::LedgerRefused,
            LedgerError::BadAddress(_) => Code::InputInvalid,
            LedgerError::RunUnknown(_) => Code::RunUnknown,
            LedgerError::Conflict(_) => Code::VisitConflict,
            LedgerError::LeaseLost(_) => Code::LeaseLost,
            LedgerError::Corrupt(_) => Code::LedgerCorrupt,
        };
        Self::new(code, error.to_string())
    }
}

/// Where events live.
///
/// Every call is one transaction. When it returns `Ok`, what it did is durable and the derived tables (`run`,
/// `candidate`, `fault`, `lease`, `counter`, `outbox`) are those that the events fold to. When it returns an error other
/// than [`LedgerError::Unreachable`], nothing was done. After `Unreachable` the caller loads the run to learn what was.
#[async_trait]
pub trait Ledger: Send + Sync + fmt::Debug {
    /// Brings the schema up to this version. Does nothing when it is; may be called by many at once.
    async fn prepare(&self) -> Result<(), LedgerError>;

    /// Takes up the newest run with the opening's key, or makes a new one.
    ///
    /// A run that ended as anything but `completed-successfully` is not taken up. A new run has the id
    /// `{now}-{commit}`, in the first second that is free, and its predecessor filled in: the last event, now, of the
    /// newest run of the same scope and environment. Of two callers with one key exactly one gets [`Opened::New`].
    async fn open(&self, opening: Opening, commit: &str) -> Result<Opened, LedgerError>;

    /// All records of a run, in order. The chain is not verified here.
    async fn load(&self, run: &DeploymentId) -> Result<Vec<Record>, LedgerError>;

    /// Appends events to a run whose head is `head`, all or none.
    ///
    /// With a fence, only while the lease is held under that token, expired or not: what nobody has taken over may still
    /// be written. Appending the same events to the same head again, after an answer that was lost, is recognised and
    /// returns the records that are there.
    ///
    /// # Errors
    /// [`LedgerError::Conflict`] when the head is another; [`LedgerError::LeaseLost`] when the token is not the lease's;
    /// [`LedgerError::Corrupt`] when an event cannot follow the run's events (see [`Run::allows`]).
    async fn append(&self, head: &Head, fence: Option<&Fence>, events: &[Event]) -> Result<Vec<Record>, LedgerError>;

    /// Takes the next sequence number of a service in the run's environment and appends [`Event::SequenceTaken`].
    ///
    /// Numbers are per scope, environment and service, from 1, without gaps and never twice.
    async fn take_sequence(&self, head: &Head, fence: Option<&Fence>, service: &str) -> Result<Record, LedgerError>;

    /// The number that [`Ledger::take_sequence`] would take.
    async fn peek_sequence(&self, scope: &str, environment: &str, service: &str) -> Result<u64, LedgerError>;

    /// Takes the lease on the run's environment for [`LEASE_TTL`], by the database's clock, and appends
    /// [`Event::LeaseTaken`] with a token greater than every one before.
    ///
    /// Free, expired, and the run's own leases are taken at once.
    async fn acquire(&self, head: &Head) -> Result<Acquired, LedgerError>;

    /// Renews the lease for another [`LEASE_TTL`].
    ///
    /// # Errors
    /// [`LedgerError::LeaseLost`] when the token is not the lease's any more.
    async fn renew(&self, fence: &Fence) -> Result<(), LedgerError>;

    /// Gives the lease back and appends [`Event::LeaseReleased`]. The token is never used again.
    async fn release(&self, head: &Head, fence: &Fence) -> Result<Record, LedgerError>;

    /// Services' parts in past runs, the newest first, from the derived tables.
    async fn past(&self, filter: &Filter) -> Result<Vec<Past>, LedgerError>;

    /// The ids of runs, the newest first.
    async fn runs(&self, filter: &Filter) -> Result<Vec<DeploymentId>, LedgerError>;

    /// Inserts records that were kept in a file while the database was away. Records that are there already are passed
    /// over; the rest must follow the run's head.
    ///
    /// # Errors
    /// [`LedgerError::Conflict`] when the run has other events at those places.
    async fn import(&self, records: &[Record]) -> Result<u64, LedgerError>;

    /// Empties the derived tables and fills them from `event`.
    async fn rebuild(&self) -> Result<(), LedgerError>;
}
