//! The ledger: where events live.
//!
//! One trait, [`Ledger`], states what is guaranteed after each call returns; PostgreSQL and SQLite implement it, and one
//! suite of contract tests holds both to it.
//!
//! | file | what it does |
//! |---|---|
//! | `address` | where the ledger is |
//! | `chain`, `audit`, `lines` | the audit chain of a run, of many, and records in a file; no database needed |
//! | `heartbeat`, `spool`, `spool_file` | keeping a lease, and going on while the database is away |
//! | `store`, `transact`, `extend`, `history`, `migrate` | the one implementation of the trait |
//! | `projection` | from events to the rows of the derived tables; pure |
//! | `transaction`, `statements`, `session` | one transaction: its steps, its SQL, its connection |
//! | `postgres`, `sqlite` | the two databases |

mod address;
mod audit;
pub mod chain;
mod extend;
mod heartbeat;
mod history;
#[cfg(test)]
mod invented;
pub mod lines;
mod migrate;
mod postgres;
mod projection;
mod rehearsal;
mod session;
mod spool;
mod spool_file;
mod sqlite;
mod statements;
mod store;
mod transact;
mod transaction;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::promotion::event::{Event, Opening, Record};
use crate::promotion::fault::{Category, Code, Fault};
use crate::promotion::identity::DeploymentId;
use crate::promotion::run::Run;

use address::Place;
use chain::Entry;
use postgres::PostgresDatabase;
use sqlite::SqliteDatabase;
use store::Store;

pub use address::{LedgerAddress, Parts};
pub use audit::{Audit, Audited};
pub use heartbeat::{Heartbeat, Standing};
pub use history::{BadDigest, Filter, Past};
pub use rehearsal::Rehearsal;
pub use spool::{Imported, Spooling};

/// How long a lease lives without a heartbeat.
pub const LEASE_TTL: Duration = Duration::from_secs(90);

/// How often a lease is renewed.
pub const HEARTBEAT: Duration = Duration::from_secs(20);

/// The last event of a run that somebody has seen: the next one is appended only if it still is the last. Kept where
/// nobody can change it, it is an anchor for an [`Audit`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
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

/// Why the ledger did not do what was asked. No variant carries an address or a password.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// It cannot be reached, or the connection broke: nothing was done.
    #[error("the ledger cannot be reached: {0}")]
    Unreachable(String),
    /// The connection broke while the end of the transaction was under way: these records may be there or not. If they
    /// are, they are there exactly so.
    #[error("the ledger cannot be reached: {why}")]
    InDoubt {
        /// What broke.
        why: String,
        /// What may have been recorded.
        records: Vec<Record>,
    },
    /// It does not accept who we are, or what we want to do.
    #[error("the ledger refuses: {0}")]
    Refused(String),
    /// We lack a right in the database.
    #[error("the ledger refuses: {0}")]
    Denied(String),
    /// Its schema is that of a later version of this program.
    #[error("the ledger's schema has version {found}, and this program knows {known}")]
    TooNew {
        /// Its version.
        found: u64,
        /// The newest that this program knows.
        known: u64,
    },
    /// The address is not a ledger's.
    #[error("the ledger's address is not usable: {0}")]
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
        let message = error.to_string();
        match error {
            LedgerError::Unreachable(_) | LedgerError::InDoubt { .. } => Self::new(Code::LedgerUnreachable, message),
            LedgerError::Refused(_) => Self::new(Code::LedgerRefused, message),
            LedgerError::Denied(_) => Self::new(Code::LedgerRefused, message)
                .in_category(Category::Permission)
                .with_fix("let a role that may CREATE in the database run once, then grant the rights that migrations/postgres/grants.sql lists"),
            LedgerError::TooNew { .. } => Self::new(Code::LedgerRefused, message)
                .in_category(Category::Validation)
                .with_fix("use the version of this program that the other jobs on this ledger use"),
            LedgerError::BadAddress(_) => Self::new(Code::InputInvalid, message),
            LedgerError::RunUnknown(_) => Self::new(Code::RunUnknown, message),
            LedgerError::Conflict(_) => Self::new(Code::VisitConflict, message),
            LedgerError::LeaseLost(_) => Self::new(Code::LeaseLost, message),
            LedgerError::Corrupt(_) => Self::new(Code::LedgerCorrupt, message),
        }
    }
}

/// The ledger at an address. Nothing is connected to before the first call.
#[must_use]
pub fn connect(address: &LedgerAddress) -> Box<dyn Ledger> {
    match &address.0 {
        Place::Postgres(options) => {
            Box::new(Store::new(PostgresDatabase::new((**options).clone(), &address.to_string())))
        }
        Place::Sqlite { path, .. } => Box::new(Store::new(SqliteDatabase::new(path))),
    }
}

/// Where events live.
///
/// Every call is one transaction. When it returns `Ok`, what it did is durable and the derived tables (`run`,
/// `candidate`, `fault`, `bad_digest`, `lease`, `counter`, `outbox`) are those that the events fold to. When it returns an error other
/// than [`LedgerError::InDoubt`], nothing was done.
///
/// `append`, `take_sequence`, `acquire` and `release` are safe to repeat with the same head on the same ledger object
/// after an answer that was lost: what is done already is recognised and returned. Somebody else's event of the same
/// words is not taken for our own.
#[async_trait]
pub trait Ledger: Send + Sync + fmt::Debug {
    /// Whether there is a ledger to read: not where nobody has ever prepared one.
    async fn exists(&self) -> Result<bool, LedgerError>;

    /// Brings the schema up to this version. Does nothing when it is; may be called by many at once.
    async fn prepare(&self) -> Result<(), LedgerError>;

    /// Takes up the newest run with the opening's key, or makes a new one.
    ///
    /// A run that ended as anything but `completed-successfully` is not taken up. A new run has the id
    /// `{now}-{commit}`, in the first second that is free, and its predecessor filled in: the last event, now, of the
    /// newest run of the same scope and environment. Of two callers with one key exactly one gets [`Opened::New`]; it
    /// gets that again while nobody has appended to the run.
    async fn open(&self, opening: Opening, commit: &str) -> Result<Opened, LedgerError>;

    /// All records of a run, in order. The chain is not verified here.
    ///
    /// # Errors
    /// [`LedgerError::RunUnknown`]; [`LedgerError::Corrupt`] when a text is no event.
    async fn load(&self, run: &DeploymentId) -> Result<Vec<Record>, LedgerError>;

    /// All records of a run as they are kept, in order, for [`chain`]: also those that are no events any more.
    async fn entries(&self, run: &DeploymentId) -> Result<Vec<Entry>, LedgerError>;

    /// Appends events to a run whose head is `head`, all or none.
    ///
    /// With a fence, only while the lease is held under that token, expired or not: what nobody has taken over may still
    /// be written. Whoever holds an environment may write to its other runs, too, to settle what they left behind.
    ///
    /// # Errors
    /// [`LedgerError::Conflict`] when the head is another; [`LedgerError::LeaseLost`] when the token is not the lease's;
    /// [`LedgerError::Corrupt`] when an event cannot follow the run's events (see [`Run::allows`]), or is one that only
    /// [`Ledger::take_sequence`] and [`Ledger::acquire`] may add.
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

    /// Who holds the lease of an environment now, and until when at the least; nobody, where it is free or has run out.
    async fn lease(&self, scope: &str, environment: &str)
    -> Result<Option<(DeploymentId, DateTime<Utc>)>, LedgerError>;

    /// Services' parts in past runs, the newest first, from the derived tables.
    async fn past(&self, filter: &Filter) -> Result<Vec<Past>, LedgerError>;

    /// The digests of a service that were marked bad in an environment, the newest mark first: every
    /// [`Event::MarkedBad`] there is. Whether one has lived there since is for who asks to tell, from [`Ledger::past`].
    async fn bad_digests(&self, scope: &str, environment: &str, service: &str) -> Result<Vec<BadDigest>, LedgerError>;

    /// The ids of runs, the newest first.
    async fn runs(&self, filter: &Filter) -> Result<Vec<DeploymentId>, LedgerError>;

    /// The runs of an environment that are not over and have changed the world, or have announced something of which the
    /// outcome is not known; the newest first. What their interruption left behind is [`Run::unsettled`].
    async fn unsettled(&self, scope: &str, environment: &str) -> Result<Vec<Run>, LedgerError>;

    /// The ids of all runs that have events, for an audit: it does not trust the derived tables.
    async fn recorded(&self) -> Result<Vec<DeploymentId>, LedgerError>;

    /// The heads of all runs as the derived tables have them: anchors against somebody who cut events off and forgot
    /// these.
    async fn heads(&self) -> Result<Vec<Head>, LedgerError>;

    /// Inserts a run's records that were kept in a file while the database was away, and [`Event::Imported`] after
    /// them. Records that are there already are passed over; the rest must follow the run's head. Returns how many were
    /// inserted.
    ///
    /// # Errors
    /// [`LedgerError::Conflict`] when the run has other events at those places; [`LedgerError::Corrupt`] when the
    /// records do not verify, or do not reach back to the run's head.
    async fn import(&self, records: &[Record]) -> Result<u64, LedgerError>;

    /// Empties the derived tables, makes those that are missing, and fills them from `event`. The end of a lease that
    /// is held stays what its heartbeat has made it.
    async fn rebuild(&self) -> Result<(), LedgerError>;
}
