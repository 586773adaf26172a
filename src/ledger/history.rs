//! What the ledger tells of past runs.

use chrono::{DateTime, Utc};

use super::projection::Folded;
use super::session::{Row, Trouble, Value};
use super::transaction::Transaction;
use super::{Head, LedgerError};
use crate::promotion::digest::Digest;
use crate::promotion::identity::DeploymentId;
use crate::promotion::run::Run;
use crate::promotion::state::State;

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
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// Whether something was, or may have been, done to the world.
    pub changed_the_world: bool,
    /// Whether the service's tags were moved, or found in place.
    pub moved: bool,
    /// What was promoted.
    pub digest: Option<Digest>,
    /// What it replaced.
    pub previous: Option<Digest>,
    /// The version, for a service without an image.
    pub version: Option<String>,
    /// The run that this one takes back.
    pub rolls_back: Option<DeploymentId>,
    /// When the run was opened.
    pub opened_at: DateTime<Utc>,
    /// When its last event was recorded.
    pub updated_at: DateTime<Utc>,
}

/// That a digest turned out bad in an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadDigest {
    /// The run that found it bad.
    pub run: DeploymentId,
    /// When.
    pub at: DateTime<Utc>,
    /// The digest.
    pub digest: Digest,
    /// Why (may quote others: untrusted).
    pub because: String,
}

/// How far back it is looked, in services of runs.
const FAR_BACK: u32 = 500;

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

impl Filter {
    /// What was done in an environment, as far back as it matters for what is done there next.
    #[must_use]
    pub fn history(scope: &str, environment: &str) -> Self {
        Self {
            scope: Some(scope.to_owned()),
            environment: Some(environment.to_owned()),
            limit: Some(FAR_BACK),
            ..Self::default()
        }
    }

    fn arguments(&self) -> Vec<Value> {
        vec![
            Value::maybe(self.scope.as_deref()),
            Value::maybe(self.environment.as_deref()),
            Value::maybe(self.service.as_deref()),
            Value::number(u64::from(self.unfinished)),
            Value::number(self.limit.map_or(u64::MAX, u64::from)),
        ]
    }
}

/// Services' parts in runs, the newest first.
pub(super) async fn past(transaction: &mut Transaction, filter: &Filter) -> Result<Vec<Past>, Trouble> {
    let rows = transaction.fetch(transaction.sql.past, filter.arguments()).await?;
    rows.iter().map(read_past).collect()
}

fn read_past(row: &Row) -> Result<Past, Trouble> {
    let state = row.text(5)?;
    let state = State::ALL.into_iter().find(|known| known.name() == state);
    let ended_at = row.maybe_time(6)?;
    let digest: Option<Digest> = row.maybe_parsed(9)?;
    Ok(Past {
        run: row.parsed(0)?,
        environment: row.text(1)?.to_owned(),
        service: row.text(2)?.to_owned(),
        sequence: row.maybe_number(3)?,
        operation: row.text(4)?.to_owned(),
        state: state.ok_or_else(|| LedgerError::Corrupt("a run is in a state that does not exist".into()))?,
        ended: ended_at.is_some(),
        ended_at,
        changed_the_world: row.flag(7)?,
        moved: row.flag(8)?,
        previous: row.maybe_parsed(10)?,
        version: Some(row.text(11)?.to_owned()).filter(|version| digest.is_none() && !version.is_empty()),
        digest,
        rolls_back: row.maybe_parsed(12)?,
        opened_at: row.time(13)?,
        updated_at: row.time(14)?,
    })
}

/// The last sequence number that was taken; 0 when none was.
pub(super) async fn last_number(
    transaction: &mut Transaction,
    scope: &str,
    environment: &str,
    service: &str,
) -> Result<u64, Trouble> {
    let counter = vec![Value::text(scope), Value::text(environment), Value::text(service)];
    let rows = transaction.fetch(transaction.sql.last_number, counter).await?;
    rows.first().map_or(Ok(0), |row| row.number(0))
}

/// Who holds the lease of an environment, and until when.
pub(super) async fn lease(
    transaction: &mut Transaction,
    scope: &str,
    environment: &str,
) -> Result<Option<(DeploymentId, DateTime<Utc>)>, Trouble> {
    let place = vec![Value::text(scope), Value::text(environment)];
    let rows = transaction.fetch(transaction.sql.lease, place).await?;
    rows.first().map(|row| Ok((row.parsed(0)?, row.time(1)?))).transpose()
}

/// The marks of a service's bad digests, the newest first.
pub(super) async fn bad_digests(
    transaction: &mut Transaction,
    scope: &str,
    environment: &str,
    service: &str,
) -> Result<Vec<BadDigest>, Trouble> {
    let place = vec![Value::text(scope), Value::text(environment), Value::text(service)];
    let rows = transaction.fetch(transaction.sql.bad_digests, place).await?;
    let read = |row: &Row| {
        Ok(BadDigest {
            run: row.parsed(0)?,
            at: row.time(1)?,
            digest: row.parsed(2)?,
            because: row.text(3)?.to_owned(),
        })
    };
    rows.iter().map(read).collect()
}

/// The ids of runs, the newest first.
pub(super) async fn runs(transaction: &mut Transaction, filter: &Filter) -> Result<Vec<DeploymentId>, Trouble> {
    let rows = transaction.fetch(transaction.sql.runs, filter.arguments()).await?;
    rows.iter().map(|row| row.parsed(0)).collect()
}

/// The ids of all runs that have events.
pub(super) async fn recorded(transaction: &mut Transaction) -> Result<Vec<DeploymentId>, Trouble> {
    let rows = transaction.fetch(transaction.sql.runs_with_events, Vec::new()).await?;
    rows.iter().map(|row| row.parsed(0)).collect()
}

/// The heads of all runs, as their rows have them.
pub(super) async fn heads(transaction: &mut Transaction) -> Result<Vec<Head>, Trouble> {
    let rows = transaction.fetch(transaction.sql.heads, Vec::new()).await?;
    let read = |row: &Row| Ok(Head { run: row.parsed(0)?, seq: row.number(1)?, hash: row.text(2)?.to_owned() });
    rows.iter().map(read).collect()
}

/// The runs of an environment that are not over and have changed the world, or may have; the newest first.
pub(super) async fn unsettled(
    transaction: &mut Transaction,
    scope: &str,
    environment: &str,
) -> Result<Vec<Run>, Trouble> {
    let place = vec![Value::text(scope), Value::text(environment)];
    let rows = transaction.fetch(transaction.sql.unsettled, place).await?;
    let mut runs = Vec::with_capacity(rows.len());
    for row in rows {
        let id: DeploymentId = row.parsed(0)?;
        let records = transaction.records(&id, 0).await?;
        let folded = Folded::fold(&records).map_err(|illegal| LedgerError::Corrupt(format!("run {id}: {illegal}")))?;
        runs.push(folded.run);
    }
    Ok(runs)
}
