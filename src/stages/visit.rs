//! One execution on a run: what is recorded, and under whose right.

use std::sync::Arc;

use super::audience::Audience;
use crate::ledger::{Fence, Head, Ledger, LedgerError};
use crate::notify::{Outbox, Post, Settled};
use crate::promotion::act::{Act, Outcome};
use crate::promotion::event::{Event, Record};
use crate::promotion::fault::Fault;
use crate::promotion::run::{IllegalEvent, Run};
use crate::promotion::stage::Stage;
use crate::promotion::state::State;

/// A run in our hands: its fold, the ledger that it is written to, and the lease under which it is.
#[derive(Debug)]
pub(super) struct Visit {
    run: Run,
    ledger: Arc<dyn Ledger>,
    fence: Option<Fence>,
    audience: Arc<dyn Audience>,
    /// Whom people are told by; nobody is told of what is only rehearsed or looked at.
    outbox: Option<Outbox>,
}

impl From<IllegalEvent> for Fault {
    fn from(error: IllegalEvent) -> Self {
        Self::defect(error.to_string())
    }
}

impl Visit {
    /// Takes up a run from its records, and lets everybody hear those that are new.
    ///
    /// # Errors
    /// When the records are not a run's.
    pub(super) fn take_up(
        records: &[Record],
        new: bool,
        ledger: Arc<dyn Ledger>,
        audience: Arc<dyn Audience>,
    ) -> Result<Self, Fault> {
        let run = Run::fold(records)?;
        if new {
            for record in records {
                audience.heard(&run, record);
            }
        }
        Ok(Self { run, ledger, fence: None, audience, outbox: None })
    }

    /// Tells everybody that this run is in our hands.
    pub(super) fn announce_in_hand(&self, records: &[Record]) {
        self.audience.in_hand(&self.run, records);
    }

    /// The run as it is now.
    #[must_use]
    pub(super) const fn run(&self) -> &Run {
        &self.run
    }

    /// The ledger.
    #[must_use]
    pub(super) fn ledger(&self) -> &Arc<dyn Ledger> {
        &self.ledger
    }

    /// Who listens.
    #[must_use]
    pub(super) fn audience(&self) -> &Arc<dyn Audience> {
        &self.audience
    }

    /// The lease under which is written.
    #[must_use]
    pub(super) const fn fence(&self) -> Option<&Fence> {
        self.fence.as_ref()
    }

    /// Says something for the stage's log alone.
    pub(super) fn say(&self, text: &str) {
        self.audience.said(&self.run, text);
    }

    /// Writes under this lease from now on.
    pub(super) fn hold(&mut self, fence: Option<Fence>) {
        self.fence = fence;
    }

    /// Writes under the lease that the run itself took, if it has one.
    pub(super) fn hold_own_lease(&mut self) {
        let opening = &self.run.opening;
        self.fence = self.run.lease.map(|token| Fence {
            scope: opening.scope.clone(),
            environment: opening.environment.clone(),
            token,
        });
    }

    /// Tells people what happens from now on, and what an earlier visit has left to be told.
    pub(super) fn tell_by(&mut self, post: Option<Arc<Post>>) {
        self.outbox = post.map(Outbox::new);
        if let Some(outbox) = &mut self.outbox {
            outbox.send(&self.run);
        }
    }

    /// Waits until everybody was told, or could not be, and records it.
    ///
    /// # Errors
    /// What the ledger says.
    pub(super) async fn finish_telling(&mut self) -> Result<(), Fault> {
        let Some(outbox) = &mut self.outbox else { return Ok(()) };
        let settled = outbox.finish().await;
        if settled.is_empty() {
            return Ok(());
        }
        self.record(settled.into_iter().flat_map(Settled::events).collect()).await
    }

    /// Records events, all or none, and with them the notifications that they cause. Those are sent as soon as they are on
    /// record.
    ///
    /// # Errors
    /// What the ledger says. When its answer was lost, the run is loaded again to learn what was done.
    pub(super) async fn record(&mut self, events: Vec<Event>) -> Result<(), Fault> {
        let events = match &mut self.outbox {
            Some(outbox) => outbox.with_notifications(&self.run, events),
            None => events,
        };
        let ledger = Arc::clone(&self.ledger);
        let records = ledger.append(&Head::of(&self.run), self.fence.as_ref(), &events).await?;
        self.take_in(&records)?;
        if let Some(outbox) = &mut self.outbox {
            outbox.send(&self.run);
        }
        Ok(())
    }

    /// Takes in records that the ledger made by itself.
    ///
    /// # Errors
    /// When one cannot follow: a defect.
    pub(super) fn take_in(&mut self, records: &[Record]) -> Result<(), Fault> {
        for record in records {
            self.run.apply(record)?;
            self.audience.heard(&self.run, record);
        }
        Ok(())
    }

    /// Records one event.
    ///
    /// # Errors
    /// What the ledger says.
    pub(super) async fn note(&mut self, event: Event) -> Result<(), Fault> {
        self.record(vec![event]).await
    }

    /// Enters a state, unless the run is in it.
    ///
    /// # Errors
    /// What the ledger says; a defect when the state cannot follow.
    pub(super) async fn enter(&mut self, to: State) -> Result<(), Fault> {
        if self.run.state == to { Ok(()) } else { self.note(Event::StateChanged { to }).await }
    }

    /// Announces an act, before it is done. The number names it when it is settled.
    ///
    /// # Errors
    /// What the ledger says; then the act must not be done.
    pub(super) async fn announce(&mut self, stage: Stage, act: Act) -> Result<u64, Fault> {
        self.note(Event::Intent { stage, act }).await?;
        Ok(self.run.seq)
    }

    /// Tells what became of an act.
    ///
    /// # Errors
    /// What the ledger says.
    pub(super) async fn settle(&mut self, intent: u64, outcome: Outcome) -> Result<(), Fault> {
        self.note(Event::Settled { intent, outcome }).await
    }

    /// Takes the next sequence number for a service, unless it has one.
    ///
    /// # Errors
    /// What the ledger says.
    pub(super) async fn number(&mut self, service: &str) -> Result<(), Fault> {
        if self.run.candidate(service).is_some_and(|candidate| candidate.sequence.is_some()) {
            return Ok(());
        }
        let ledger = Arc::clone(&self.ledger);
        let record = ledger.take_sequence(&Head::of(&self.run), self.fence.as_ref(), service).await?;
        self.take_in(&[record])
    }

    /// Gives the lease back: the one that is held, or else the one that an earlier visit of this run had when it was cut
    /// off.
    ///
    /// # Errors
    /// What the ledger says; a lease that was lost is no error.
    pub(super) async fn release(&mut self) -> Result<(), Fault> {
        if self.fence.is_none() {
            self.hold_own_lease();
        }
        let Some(fence) = self.fence.clone() else { return Ok(()) };
        let ledger = Arc::clone(&self.ledger);
        match ledger.release(&Head::of(&self.run), &fence).await {
            Ok(record) => {
                self.fence = None;
                self.take_in(&[record])
            }
            Err(LedgerError::LeaseLost(_)) => {
                self.fence = None;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}
