//! The ledger on a database: the one implementation of its logic.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::chain::{self, Entry};
use super::extend::{check_fence, refuse_own};
use super::projection::Folded;
use super::session::{Database, Trouble, Value};
use super::transact::{Done, reading, writing};
use super::transaction::{Transaction, read};
use super::{Acquired, BadDigest, Fence, Filter, Head, Ledger, LedgerError, Opened, Past, history, migrate};
use crate::promotion::event::{Event, Opening, Record};
use crate::promotion::identity::DeploymentId;
use crate::promotion::run::Run;
use crate::promotion::state::State;

/// The most folded runs kept in memory.
const KEPT: usize = 8;

/// A ledger on a database.
#[derive(Debug)]
pub(super) struct Store<D> {
    pub(super) database: D,
    /// Names this execution in what it writes.
    pub(super) writer: String,
    /// Runs as they were after the last transaction here; right as long as the run's head still is theirs.
    folded: Mutex<HashMap<DeploymentId, Folded>>,
}

impl<D: Database> Store<D> {
    /// A ledger on `database`.
    pub(super) fn new(database: D) -> Self {
        Self { database, writer: uuid::Uuid::new_v4().to_string(), folded: Mutex::default() }
    }

    /// Keeps a run in memory as it was left.
    pub(super) fn remember(&self, folded: Option<Folded>) {
        let Some(folded) = folded else { return };
        let mut known = self.folded.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KEPT && !known.contains_key(&folded.run.id) {
            known.clear();
        }
        known.insert(folded.run.id.clone(), folded);
    }

    /// The run in memory, if it still has this head.
    pub(super) fn remembered(&self, head: &Head) -> Option<Folded> {
        let known = self.folded.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&head.run).filter(|known| Head::of(&known.run) == *head).cloned()
    }

    /// The newest run with a key, if it is to be taken up.
    async fn known_run(&self, transaction: &mut Transaction, opening: &Opening) -> Result<Option<Opened>, Trouble> {
        let Some(key) = &opening.key else { return Ok(None) };
        let rows = transaction.fetch(transaction.sql.run_by_key, vec![Value::text(key.as_str())]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let id: DeploymentId = row.parsed(0)?;
        let over = row.maybe_time(1)?.is_some();
        if over && row.text(2)? != State::CompletedSuccessfully.name() {
            return Ok(None);
        }
        let written = transaction.written(&id, 0).await?;
        // A run that we have just made, and nobody has touched, is new still: the answer was lost.
        let just_made = written.len() == 1 && written.iter().all(|(_, writer)| *writer == self.writer);
        let records = read(written.into_iter().map(|(entry, _)| entry).collect())?;
        Ok(Some(if over {
            Opened::Finished(records)
        } else if just_made {
            Opened::New(records)
        } else {
            Opened::Resumed(records)
        }))
    }
}

#[async_trait]
impl<D: Database> Ledger for Store<D> {
    async fn exists(&self) -> Result<bool, LedgerError> {
        reading!(self, "look for a schema", |transaction| migrate::exists(transaction).await)
    }

    async fn prepare(&self) -> Result<(), LedgerError> {
        // Looked at first, because a role that may only use the schema can do no more.
        if reading!(self, "look at the schema", |transaction| migrate::is_current(transaction).await)? {
            return Ok(());
        }
        writing!(self, "migrate", Overhaul, |transaction| {
            migrate::run(transaction).await?;
            Ok(Done::nothing(()))
        })
    }

    async fn open(&self, opening: Opening, commit: &str) -> Result<Opened, LedgerError> {
        writing!(self, "open", Write, |transaction| {
            let clock = transaction.lock_environment(&opening.scope, &opening.environment).await?;
            match self.known_run(transaction, &opening).await? {
                Some(known) => Ok(Done::nothing(known)),
                None => self.begin_run(transaction, opening.clone(), commit, clock).await,
            }
        })
    }

    async fn load(&self, run: &DeploymentId) -> Result<Vec<Record>, LedgerError> {
        read(self.entries(run).await?)
    }

    async fn entries(&self, run: &DeploymentId) -> Result<Vec<Entry>, LedgerError> {
        let entries = reading!(self, "load", |transaction| transaction.entries(run, 0).await)?;
        if entries.is_empty() { Err(LedgerError::RunUnknown(run.clone())) } else { Ok(entries) }
    }

    async fn append(&self, head: &Head, fence: Option<&Fence>, events: &[Event]) -> Result<Vec<Record>, LedgerError> {
        events.iter().try_for_each(refuse_own)?;
        writing!(self, "append", Write, |transaction| {
            let locked = transaction.lock_run(&head.run).await?;
            if locked.head != *head {
                return self.recognise(transaction, head, events).await.map(Done::nothing);
            }
            check_fence(&locked, fence)?;
            self.extend(transaction, &locked, events).await
        })
    }

    async fn take_sequence(&self, head: &Head, fence: Option<&Fence>, service: &str) -> Result<Record, LedgerError> {
        writing!(self, "take a sequence number", Write, |transaction| {
            let locked = transaction.lock_run(&head.run).await?;
            if locked.head != *head {
                let ours = |event: &Event| matches!(event, Event::SequenceTaken { service: of, .. } if of == service);
                return self.recognise_one(transaction, head, ours).await.map(Done::nothing);
            }
            check_fence(&locked, fence)?;
            let number = transaction.count(&locked, service).await?;
            self.extend_by_one(transaction, &locked, Event::SequenceTaken { service: service.to_owned(), number }).await
        })
    }

    async fn peek_sequence(&self, scope: &str, environment: &str, service: &str) -> Result<u64, LedgerError> {
        reading!(self, "peek at a sequence number", |transaction| {
            Ok(history::last_number(transaction, scope, environment, service).await? + 1)
        })
    }

    async fn acquire(&self, head: &Head) -> Result<Acquired, LedgerError> {
        writing!(self, "acquire", Write, |transaction| {
            let locked = transaction.lock_run(&head.run).await?;
            let lease = &locked.lease;
            if locked.head != *head {
                let held = lease.holder.as_ref() == Some(&head.run);
                let ours = |event: &Event| held && *event == Event::LeaseTaken { token: lease.token };
                let taken = self.recognise_one(transaction, head, ours).await?;
                return Ok(Done::nothing(Acquired::Taken(Box::new(taken))));
            }
            if let Some((by, until)) = locked.held_by_another() {
                return Ok(Done::nothing(Acquired::Held { by, until }));
            }
            let taken = Event::LeaseTaken { token: lease.token + 1 };
            let done = self.extend_by_one(transaction, &locked, taken).await?;
            Ok(done.map(|record| Acquired::Taken(Box::new(record))))
        })
    }

    async fn renew(&self, fence: &Fence) -> Result<(), LedgerError> {
        writing!(self, "renew", Write, |transaction| {
            if transaction.renew(fence).await? {
                Ok(Done::nothing(()))
            } else {
                Err(LedgerError::LeaseLost(fence.environment.clone()).into())
            }
        })
    }

    async fn release(&self, head: &Head, fence: &Fence) -> Result<Record, LedgerError> {
        let released = Event::LeaseReleased { token: fence.token };
        writing!(self, "release", Write, |transaction| {
            let locked = transaction.lock_run(&head.run).await?;
            if locked.head != *head {
                return self.recognise_one(transaction, head, |event| *event == released).await.map(Done::nothing);
            }
            check_fence(&locked, Some(fence))?;
            self.extend_by_one(transaction, &locked, released.clone()).await
        })
    }

    async fn lease(
        &self,
        scope: &str,
        environment: &str,
    ) -> Result<Option<(DeploymentId, DateTime<Utc>)>, LedgerError> {
        reading!(self, "look at a lease", |transaction| history::lease(transaction, scope, environment).await)
    }

    async fn past(&self, filter: &Filter) -> Result<Vec<Past>, LedgerError> {
        reading!(self, "look at the past", |transaction| history::past(transaction, filter).await)
    }

    async fn bad_digests(&self, scope: &str, environment: &str, service: &str) -> Result<Vec<BadDigest>, LedgerError> {
        reading!(self, "look for bad digests", |transaction| history::bad_digests(
            transaction,
            scope,
            environment,
            service
        )
        .await)
    }

    async fn runs(&self, filter: &Filter) -> Result<Vec<DeploymentId>, LedgerError> {
        reading!(self, "list runs", |transaction| history::runs(transaction, filter).await)
    }

    async fn unsettled(&self, scope: &str, environment: &str) -> Result<Vec<Run>, LedgerError> {
        reading!(self, "look for unsettled runs", |transaction| {
            history::unsettled(transaction, scope, environment).await
        })
    }

    async fn recorded(&self) -> Result<Vec<DeploymentId>, LedgerError> {
        reading!(self, "list recorded runs", |transaction| history::recorded(transaction).await)
    }

    async fn heads(&self) -> Result<Vec<Head>, LedgerError> {
        reading!(self, "list heads", |transaction| history::heads(transaction).await)
    }

    async fn import(&self, records: &[Record]) -> Result<u64, LedgerError> {
        let Some(first) = records.first() else { return Ok(0) };
        let before = Head { run: first.run.clone(), seq: first.seq.saturating_sub(1), hash: first.previous.clone() };
        let entries: Vec<Entry> = records.iter().map(Entry::from).collect();
        chain::verify_after(&before, &entries).map_err(|broken| LedgerError::Corrupt(broken.to_string()))?;
        writing!(self, "import", Write, |transaction| self.take_in(transaction, &before, records).await)
    }

    async fn rebuild(&self) -> Result<(), LedgerError> {
        writing!(self, "rebuild", Overhaul, |transaction| {
            migrate::restore_derived(transaction).await?;
            transaction.refill().await?;
            Ok(Done::nothing(()))
        })
    }
}
