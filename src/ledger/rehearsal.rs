//! A ledger in memory, for `plan` and `dry-run`: the same code runs, and nothing is recorded anywhere.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::chain::{self, Entry};
use super::{Acquired, BadDigest, Fence, Filter, Head, Ledger, LedgerError, Opened, Past};
use crate::promotion::event::{Event, Opening, Record};
use crate::promotion::identity::DeploymentId;
use crate::promotion::run::Run;

/// A ledger in memory before a real one that is only read: numbers are looked at and not taken, the past is the real
/// one's.
#[derive(Debug)]
pub struct Rehearsal {
    real: Option<Arc<dyn Ledger>>,
    records: Mutex<Vec<Record>>,
}

impl Rehearsal {
    /// A rehearsal before a ledger; none where there is none yet.
    #[must_use]
    pub fn before(real: Option<Arc<dyn Ledger>>) -> Self {
        Self { real, records: Mutex::default() }
    }

    fn records(&self) -> MutexGuard<'_, Vec<Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, head: &Head, events: &[Event]) -> Result<Vec<Record>, LedgerError> {
        let mut records = self.records();
        let mut run = Run::fold(records.iter()).map_err(|error| LedgerError::Corrupt(error.to_string()))?;
        let mut head = head.clone();
        let mut added = Vec::new();
        for event in events {
            let at = chain::to_millisecond(Utc::now()).max(run.updated_at);
            let record = chain::seal(&head, at, event).map_err(|error| LedgerError::Corrupt(error.to_string()))?;
            run.apply(&record).map_err(|error| LedgerError::Corrupt(error.to_string()))?;
            head = Head { run: record.run.clone(), seq: record.seq, hash: record.hash.clone() };
            added.push(record);
        }
        records.extend(added.iter().cloned());
        Ok(added)
    }

    fn one(&self, head: &Head, event: Event) -> Result<Record, LedgerError> {
        let mut added = self.add(head, &[event])?;
        added.pop().ok_or_else(|| LedgerError::Corrupt("an event was not added".to_owned()))
    }
}

#[async_trait]
impl Ledger for Rehearsal {
    async fn exists(&self) -> Result<bool, LedgerError> {
        Ok(true)
    }

    async fn prepare(&self) -> Result<(), LedgerError> {
        Ok(())
    }

    async fn open(&self, opening: Opening, _: &str) -> Result<Opened, LedgerError> {
        let at = chain::to_millisecond(Utc::now());
        // Not the commit's: a real run of this second has that id.
        let head = chain::before_first(DeploymentId::new(at, &format!("{:016x}", rand::random::<u64>())));
        let record = chain::seal(&head, at, &Event::RunOpened(Box::new(opening)))
            .map_err(|error| LedgerError::Corrupt(error.to_string()))?;
        let records = vec![record];
        (*self.records()).clone_from(&records);
        Ok(Opened::New(records))
    }

    async fn load(&self, run: &DeploymentId) -> Result<Vec<Record>, LedgerError> {
        let records = self.records().clone();
        if records.first().is_some_and(|first| first.run == *run) {
            Ok(records)
        } else {
            Err(LedgerError::RunUnknown(run.clone()))
        }
    }

    async fn entries(&self, run: &DeploymentId) -> Result<Vec<Entry>, LedgerError> {
        Ok(self.load(run).await?.iter().map(Entry::from).collect())
    }

    async fn append(&self, head: &Head, _: Option<&Fence>, events: &[Event]) -> Result<Vec<Record>, LedgerError> {
        self.add(head, events)
    }

    async fn take_sequence(&self, head: &Head, _: Option<&Fence>, service: &str) -> Result<Record, LedgerError> {
        let run = Run::fold(self.records().iter()).map_err(|error| LedgerError::Corrupt(error.to_string()))?;
        let number = self.peek_sequence(&run.opening.scope, &run.opening.environment, service).await?;
        self.one(head, Event::SequenceTaken { service: service.to_owned(), number })
    }

    async fn peek_sequence(&self, scope: &str, environment: &str, service: &str) -> Result<u64, LedgerError> {
        match &self.real {
            Some(real) => real.peek_sequence(scope, environment, service).await,
            None => Ok(1),
        }
    }

    async fn acquire(&self, head: &Head) -> Result<Acquired, LedgerError> {
        Ok(Acquired::Taken(Box::new(self.one(head, Event::LeaseTaken { token: head.seq + 1 })?)))
    }

    async fn renew(&self, _: &Fence) -> Result<(), LedgerError> {
        Ok(())
    }

    async fn release(&self, head: &Head, fence: &Fence) -> Result<Record, LedgerError> {
        self.one(head, Event::LeaseReleased { token: fence.token })
    }

    async fn lease(&self, _: &str, _: &str) -> Result<Option<(DeploymentId, DateTime<Utc>)>, LedgerError> {
        Ok(None)
    }

    async fn past(&self, filter: &Filter) -> Result<Vec<Past>, LedgerError> {
        match &self.real {
            Some(real) => real.past(filter).await,
            None => Ok(Vec::new()),
        }
    }

    async fn bad_digests(&self, scope: &str, environment: &str, service: &str) -> Result<Vec<BadDigest>, LedgerError> {
        match &self.real {
            Some(real) => real.bad_digests(scope, environment, service).await,
            None => Ok(Vec::new()),
        }
    }

    async fn runs(&self, filter: &Filter) -> Result<Vec<DeploymentId>, LedgerError> {
        match &self.real {
            Some(real) => real.runs(filter).await,
            None => Ok(Vec::new()),
        }
    }

    async fn unsettled(&self, _: &str, _: &str) -> Result<Vec<Run>, LedgerError> {
        // Whoever only looks settles nothing.
        Ok(Vec::new())
    }

    async fn recorded(&self) -> Result<Vec<DeploymentId>, LedgerError> {
        Ok(self.records().first().map(|first| first.run.clone()).into_iter().collect())
    }

    async fn heads(&self) -> Result<Vec<Head>, LedgerError> {
        Ok(Run::fold(self.records().iter()).ok().map(|run| Head::of(&run)).into_iter().collect())
    }

    async fn import(&self, _: &[Record]) -> Result<u64, LedgerError> {
        Ok(0)
    }

    async fn rebuild(&self) -> Result<(), LedgerError> {
        Ok(())
    }
}
