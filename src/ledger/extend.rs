//! How a run grows: its fold, the events that follow, and what is recognised as done already.

use chrono::{DateTime, TimeDelta, Utc};

use super::chain;
use super::projection::Folded;
use super::session::{Database, Trouble};
use super::store::Store;
use super::transact::Done;
use super::transaction::{Locked, Newest, Transaction, read};
use super::{Fence, Head, LedgerError, Opened};
use crate::promotion::event::{Event, Link, Opening, Record};
use crate::promotion::identity::DeploymentId;

/// The most ids tried for a new run. A commit that is promoted more often within so many seconds is a mistake.
const IDS: u32 = 600;

/// Whether a fence still stands: its lease is held under its token, expired or not. Whoever holds an environment may also
/// write to another run of it, to settle what that one left behind.
pub(super) fn check_fence(locked: &Locked, fence: Option<&Fence>) -> Result<(), LedgerError> {
    let Some(fence) = fence else { return Ok(()) };
    let stands = locked.scope == fence.scope
        && locked.environment == fence.environment
        && locked.lease.token == fence.token
        && locked.lease.holder.is_some();
    if stands { Ok(()) } else { Err(LedgerError::LeaseLost(fence.environment.clone())) }
}

/// Refuses the events that only the ledger itself may add, because their numbers are its own.
pub(super) fn refuse_own(event: &Event) -> Result<(), LedgerError> {
    match event {
        Event::SequenceTaken { .. } | Event::LeaseTaken { .. } => {
            Err(LedgerError::Corrupt(format!("an event of kind {} is the ledger's own", event.kind())))
        }
        _ => Ok(()),
    }
}

/// Makes a run's next record, never older than its last.
fn seal(folded: &Folded, clock: DateTime<Utc>, event: &Event) -> Result<Record, LedgerError> {
    chain::seal(&Head::of(&folded.run), clock.max(folded.run.updated_at), event)
        .map_err(|error| LedgerError::Corrupt(error.to_string()))
}

fn apply(folded: &mut Folded, record: &Record) -> Result<(), LedgerError> {
    folded.apply(record).map_err(|illegal| LedgerError::Corrupt(format!("run {}: {illegal}", record.run)))
}

impl<D: Database> Store<D> {
    /// The run as it is, from memory where nobody else has appended to it.
    pub(super) async fn fold(&self, transaction: &mut Transaction, head: &Head) -> Result<Folded, Trouble> {
        if let Some(known) = self.remembered(head) {
            return Ok(known);
        }
        let records = transaction.records(&head.run, 0).await?;
        let folded =
            Folded::fold(&records).map_err(|illegal| LedgerError::Corrupt(format!("run {}: {illegal}", head.run)))?;
        if Head::of(&folded.run) == *head {
            Ok(folded)
        } else {
            let why = format!("run {} ends at event {}, and its row says {}", head.run, folded.run.seq, head.seq);
            Err(LedgerError::Corrupt(why).into())
        }
    }

    /// Appends events to a run that is held and whose head is the one that the caller has seen.
    pub(super) async fn extend(
        &self,
        transaction: &mut Transaction,
        locked: &Locked,
        events: &[Event],
    ) -> Result<Done<Vec<Record>>, Trouble> {
        let before = self.fold(transaction, &locked.head).await?;
        let mut after = before.clone();
        let mut added = Vec::with_capacity(events.len());
        for event in events {
            let record = seal(&after, locked.clock, event)?;
            apply(&mut after, &record)?;
            added.push(record);
        }
        transaction.insert(&added, &self.writer).await?;
        transaction.put(after.changed_rows(&before)).await?;
        Ok(Done { answer: added.clone(), added, folded: Some(after) })
    }

    /// The same for one event.
    pub(super) async fn extend_by_one(
        &self,
        transaction: &mut Transaction,
        locked: &Locked,
        event: Event,
    ) -> Result<Done<Record>, Trouble> {
        let done = self.extend(transaction, locked, &[event]).await?;
        match done.added.last().cloned() {
            Some(record) => Ok(done.map(|_| record)),
            None => Err(LedgerError::Corrupt("an event that was appended is gone".into()).into()),
        }
    }

    /// Takes in records that follow `before` and verify, as far as they are not there; and says so in an event.
    pub(super) async fn take_in(
        &self,
        transaction: &mut Transaction,
        before: &Head,
        records: &[Record],
    ) -> Result<Done<u64>, Trouble> {
        let locked = transaction.lock_run(&before.run).await?;
        if locked.head.seq < before.seq {
            let (run, last, first) = (&before.run, locked.head.seq, before.seq + 1);
            let why = format!("run {run} ends at event {last} here, and what is imported begins at event {first}");
            return Err(LedgerError::Corrupt(why).into());
        }
        let there = transaction.entries(&before.run, before.seq.saturating_sub(1)).await?;
        let expected = std::iter::once((before.seq, &before.hash)).filter(|(seq, _)| *seq > 0);
        let expected = expected.chain(records.iter().map(|record| (record.seq, &record.hash)));
        if there.iter().zip(expected).any(|(there, (seq, hash))| there.seq != seq || there.hash != *hash) {
            return Err(LedgerError::Conflict(before.run.clone()).into());
        }
        let missing: Vec<Record> = records.iter().filter(|record| record.seq > locked.head.seq).cloned().collect();
        let events = missing.len() as u64;
        if events == 0 {
            return Ok(Done::nothing(0));
        }
        let known = self.fold(transaction, &locked.head).await?;
        let mut after = known.clone();
        let mut added = missing;
        for record in &added {
            refuse_own(&record.event)?;
            apply(&mut after, record)?;
        }
        let imported = seal(&after, locked.clock, &Event::Imported { events })?;
        apply(&mut after, &imported)?;
        added.push(imported);
        transaction.insert(&added, &self.writer).await?;
        transaction.put(after.changed_rows(&known)).await?;
        Ok(Done { answer: events, added, folded: Some(after) })
    }

    /// The events after `head`, if they are these and this execution's own: a call whose answer was lost.
    pub(super) async fn recognise(
        &self,
        transaction: &mut Transaction,
        head: &Head,
        events: &[Event],
    ) -> Result<Vec<Record>, Trouble> {
        let records = self.own_after(transaction, head, events.len()).await?;
        let same = records.iter().map(|record| &record.event).eq(events);
        if same { Ok(records) } else { Err(LedgerError::Conflict(head.run.clone()).into()) }
    }

    /// The same for one event, of which not everything is known.
    pub(super) async fn recognise_one(
        &self,
        transaction: &mut Transaction,
        head: &Head,
        expected: impl Fn(&Event) -> bool,
    ) -> Result<Record, Trouble> {
        let mut records = self.own_after(transaction, head, 1).await?;
        let record = records.pop().filter(|record| expected(&record.event));
        record.ok_or_else(|| LedgerError::Conflict(head.run.clone()).into())
    }

    /// The records after `head`, at least one and at most `count`, if this execution has written them.
    async fn own_after(
        &self,
        transaction: &mut Transaction,
        head: &Head,
        count: usize,
    ) -> Result<Vec<Record>, Trouble> {
        let mut written = transaction.written(&head.run, head.seq.saturating_sub(1)).await?.into_iter();
        let follows = written.next().is_some_and(|(last, _)| last.seq == head.seq && last.hash == head.hash);
        let ours: Vec<_> = written.take(count).collect();
        if !follows || ours.is_empty() || ours.iter().any(|(_, writer)| *writer != self.writer) {
            return Err(LedgerError::Conflict(head.run.clone()).into());
        }
        Ok(read(ours.into_iter().map(|(entry, _)| entry).collect())?)
    }

    /// Makes a new run in an environment that is held.
    pub(super) async fn begin_run(
        &self,
        transaction: &mut Transaction,
        mut opening: Opening,
        commit: &str,
        clock: DateTime<Utc>,
    ) -> Result<Done<Opened>, Trouble> {
        let newest = transaction.newest(&opening.scope, &opening.environment).await?;
        // Runs of an environment are opened one after the other, whatever its clock does.
        let at = newest.as_ref().map_or(clock, |newest| clock.max(newest.opened_at + TimeDelta::milliseconds(1)));
        opening.predecessor = newest.map(|Newest { head: Head { run, seq, hash }, .. }| Link { run, seq, hash });
        let mut id = DeploymentId::new(at, commit);
        for _ in 0..IDS {
            let record =
                chain::seal(&chain::before_first(id.clone()), at, &Event::RunOpened(Box::new(opening.clone())))
                    .map_err(|error| LedgerError::Corrupt(error.to_string()))?;
            let folded = Folded::fold(std::slice::from_ref(&record))
                .map_err(|illegal| LedgerError::Corrupt(illegal.to_string()))?;
            if transaction.claim(&folded.run).await? {
                transaction.insert(std::slice::from_ref(&record), &self.writer).await?;
                transaction.put(folded.rows()).await?;
                let added = vec![record];
                return Ok(Done { answer: Opened::New(added.clone()), added, folded: Some(folded) });
            }
            id = id.next_second();
        }
        Err(LedgerError::Corrupt(format!("the ids of {IDS} seconds from {at} on are taken for this commit")).into())
    }
}
