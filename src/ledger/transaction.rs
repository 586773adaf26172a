//! What the ledger does inside one transaction: each method is one statement, or a few that belong together.

use chrono::{DateTime, Utc};
use tokio::time::{Instant, timeout_at};

use super::chain::Entry;
use super::projection::{Derived, Folded};
use super::session::{Row, Session, Trouble, Value};
use super::statements::Statements;
use super::transact::silent;
use super::{Fence, Head, LEASE_TTL, LedgerError};
use crate::promotion::event::Record;
use crate::promotion::identity::DeploymentId;
use crate::promotion::run::Run;

/// A transaction under way, and what to say in it.
pub(super) struct Transaction {
    session: Box<dyn Session>,
    /// The statements.
    pub(super) sql: &'static Statements,
    deadline: Instant,
}

/// A run and its environment, held until the transaction ends.
#[derive(Debug)]
pub(super) struct Locked {
    pub(super) scope: String,
    pub(super) environment: String,
    pub(super) head: Head,
    pub(super) lease: LeaseRow,
    /// The database's time.
    pub(super) clock: DateTime<Utc>,
}

impl Locked {
    /// Who else has the lease, and until when.
    pub(super) fn held_by_another(&self) -> Option<(DeploymentId, DateTime<Utc>)> {
        let lease = self.lease.holder.clone().zip(self.lease.expires_at);
        lease.filter(|(holder, until)| *holder != self.head.run && *until > self.clock)
    }
}

/// A lease as its row has it.
#[derive(Debug)]
pub(super) struct LeaseRow {
    pub(super) token: u64,
    pub(super) holder: Option<DeploymentId>,
    pub(super) expires_at: Option<DateTime<Utc>>,
}

/// The newest run of an environment.
#[derive(Debug)]
pub(super) struct Newest {
    pub(super) head: Head,
    pub(super) opened_at: DateTime<Utc>,
}

/// Reads entries as they are kept.
pub(super) fn read(entries: Vec<Entry>) -> Result<Vec<Record>, LedgerError> {
    let records = entries.into_iter().map(Entry::read).collect::<Result<_, _>>();
    records.map_err(|broken| LedgerError::Corrupt(broken.to_string()))
}

impl Transaction {
    /// A transaction that was just begun, and when it must be over.
    pub(super) fn new(session: Box<dyn Session>, sql: &'static Statements, deadline: Instant) -> Self {
        Self { session, sql, deadline }
    }

    /// The session, to be ended, and when it must be over.
    pub(super) fn into_session(self) -> (Box<dyn Session>, Instant) {
        (self.session, self.deadline)
    }

    /// Runs one statement.
    pub(super) async fn fetch(&mut self, sql: &'static str, arguments: Vec<Value>) -> Result<Vec<Row>, Trouble> {
        timeout_at(self.deadline, self.session.fetch(sql, arguments)).await.unwrap_or_else(|_| Err(silent()))
    }

    /// Runs statements without arguments.
    pub(super) async fn script(&mut self, sql: &'static str) -> Result<(), Trouble> {
        timeout_at(self.deadline, self.session.script(sql)).await.unwrap_or_else(|_| Err(silent()))
    }

    /// Runs one statement that returns a number.
    pub(super) async fn number(&mut self, sql: &'static str) -> Result<u64, Trouble> {
        match self.fetch(sql, Vec::new()).await?.first() {
            Some(row) => row.number(0),
            None => Ok(0),
        }
    }

    /// Holds an environment until the transaction ends, and tells the time.
    pub(super) async fn lock_environment(&mut self, scope: &str, environment: &str) -> Result<DateTime<Utc>, Trouble> {
        let free =
            vec![Value::text(scope), Value::text(environment), Value::number(0), Value::Text(None), Value::Time(None)];
        self.fetch(self.sql.put_lease, free).await?;
        let rows = self.fetch(self.sql.lock_environment, vec![Value::text(scope), Value::text(environment)]).await?;
        let row = rows.first().ok_or_else(|| LedgerError::Corrupt("a lease row that was just made is gone".into()))?;
        row.time(1)
    }

    /// Holds a run, and its environment, until the transaction ends.
    pub(super) async fn lock_run(&mut self, run: &DeploymentId) -> Result<Locked, Trouble> {
        let rows = self.fetch(self.sql.lock_run, vec![Value::text(run.as_str())]).await?;
        let row = rows.first().ok_or_else(|| LedgerError::RunUnknown(run.clone()))?;
        Ok(Locked {
            scope: row.text(0)?.to_owned(),
            environment: row.text(1)?.to_owned(),
            head: Head { run: run.clone(), seq: row.number(2)?, hash: row.text(3)?.to_owned() },
            lease: LeaseRow { token: row.number(4)?, holder: row.maybe_parsed(5)?, expires_at: row.maybe_time(6)? },
            clock: row.time(7)?,
        })
    }

    /// The newest run of an environment.
    pub(super) async fn newest(&mut self, scope: &str, environment: &str) -> Result<Option<Newest>, Trouble> {
        let rows = self.fetch(self.sql.newest_run, vec![Value::text(scope), Value::text(environment)]).await?;
        let read = |row: &Row| {
            let head = Head { run: row.parsed(0)?, seq: row.number(1)?, hash: row.text(2)?.to_owned() };
            Ok(Newest { head, opened_at: row.time(3)? })
        };
        rows.first().map(read).transpose()
    }

    /// Takes the id of a new run; not when it is taken.
    pub(super) async fn claim(&mut self, run: &Run) -> Result<bool, Trouble> {
        let row = vec![
            Value::text(run.id.as_str()),
            Value::text(&run.opening.scope),
            Value::text(&run.opening.environment),
            Value::text(run.opening.operation.name()),
            Value::text(&run.opening.requestor),
            Value::text(&run.head),
            Value::time(run.opened_at),
            Value::Flag(false),
        ];
        Ok(!self.fetch(self.sql.claim_run, row).await?.is_empty())
    }

    /// A run's entries after a place, in order, each with who wrote it.
    pub(super) async fn written(&mut self, run: &DeploymentId, after: u64) -> Result<Vec<(Entry, String)>, Trouble> {
        let rows = self.fetch(self.sql.events, vec![Value::text(run.as_str()), Value::number(after)]).await?;
        let read = |row: Row| {
            let entry = Entry {
                run: row.parsed(0)?,
                seq: row.number(1)?,
                at: row.time(2)?,
                previous: row.text(3)?.to_owned(),
                hash: row.text(4)?.to_owned(),
                text: row.text(5)?.to_owned(),
            };
            Ok((entry, row.text(6)?.to_owned()))
        };
        rows.into_iter().map(read).collect()
    }

    /// A run's entries after a place, in order.
    pub(super) async fn entries(&mut self, run: &DeploymentId, after: u64) -> Result<Vec<Entry>, Trouble> {
        Ok(self.written(run, after).await?.into_iter().map(|(entry, _)| entry).collect())
    }

    /// A run's records after a place, in order.
    pub(super) async fn records(&mut self, run: &DeploymentId, after: u64) -> Result<Vec<Record>, Trouble> {
        Ok(read(self.entries(run, after).await?)?)
    }

    /// Takes the next number of a service in the run's environment.
    pub(super) async fn count(&mut self, locked: &Locked, service: &str) -> Result<u64, Trouble> {
        let counter = vec![Value::text(&locked.scope), Value::text(&locked.environment), Value::text(service)];
        match self.fetch(self.sql.count, counter).await?.first() {
            Some(row) => row.number(0),
            None => Err(LedgerError::Corrupt("a counter does not count".to_owned()).into()),
        }
    }

    /// Renews a lease; not when it was taken over or given back.
    pub(super) async fn renew(&mut self, fence: &Fence) -> Result<bool, Trouble> {
        let lease = vec![
            Value::text(&fence.scope),
            Value::text(&fence.environment),
            Value::number(fence.token),
            Value::number(u64::try_from(LEASE_TTL.as_millis()).unwrap_or(u64::MAX)),
        ];
        Ok(!self.fetch(self.sql.renew, lease).await?.is_empty())
    }

    /// Adds records.
    pub(super) async fn insert(&mut self, records: &[Record], writer: &str) -> Result<(), Trouble> {
        for record in records {
            let row = vec![
                Value::text(record.run.as_str()),
                Value::number(record.seq),
                Value::time(record.at),
                Value::text(record.event.kind()),
                Value::text(&record.previous),
                Value::text(&record.hash),
                Value::text(&record.text),
                Value::text(writer),
            ];
            self.fetch(self.sql.insert_event, row).await?;
        }
        Ok(())
    }

    /// Puts rows into the derived tables.
    pub(super) async fn put(&mut self, rows: Vec<Derived>) -> Result<(), Trouble> {
        for row in rows {
            self.fetch(row.table.put(self.sql), row.values).await?;
        }
        Ok(())
    }

    /// Empties the derived tables and fills them from the events. What a live lease's heartbeat has won stays.
    pub(super) async fn refill(&mut self) -> Result<(), Trouble> {
        self.script(self.sql.lock_all).await?;
        let held = self.fetch(self.sql.held_leases, Vec::new()).await?;
        self.script(self.sql.empty).await?;
        for row in self.fetch(self.sql.runs_with_events, Vec::new()).await? {
            let id: DeploymentId = row.parsed(0)?;
            let records = self.records(&id, 0).await?;
            let folded =
                Folded::fold(&records).map_err(|illegal| LedgerError::Corrupt(format!("run {id}: {illegal}")))?;
            self.put(folded.rows()).await?;
        }
        for lease in held {
            let values = vec![
                Value::text(lease.text(0)?),
                Value::text(lease.text(1)?),
                Value::number(lease.number(2)?),
                Value::time(lease.time(3)?),
            ];
            self.fetch(self.sql.restore_lease, values).await?;
        }
        Ok(())
    }
}
