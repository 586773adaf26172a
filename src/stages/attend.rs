//! Attending to work that takes its time: what is tried again is recorded while it goes on, and progress is shown.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, MissedTickBehavior};

use super::visit::Visit;
use crate::promotion::event::Event;
use crate::promotion::fault::Fault;
use crate::promotion::state::State;
use crate::registry::{Registries, Retry};

/// How often progress is shown.
const TICK: Duration = Duration::from_millis(500);

/// How many repeated attempts of one piece of work are recorded; the rest is counted by the registry's requests.
const RECORDED: usize = 50;

/// A client whose repeated attempts are heard of, and the one who hears.
pub(super) struct Attended {
    pub(super) registries: Registries,
    pub(super) attention: Attention,
}

/// Hears of repeated attempts.
pub(super) struct Attention {
    retries: UnboundedReceiver<Retry>,
    registries: Registries,
}

/// A client for a piece of work that will be attended to.
pub(super) fn attended(registries: &Registries) -> Attended {
    let (tell, retries) = unbounded_channel();
    let observed = registries.observed_by(Arc::new(move |retry: &Retry| {
        // Nobody listens any more when the work is over.
        let _ = tell.send(retry.clone());
    }));
    Attended { attention: Attention { retries, registries: observed.clone() }, registries: observed }
}

impl Attention {
    /// Lets the work run to its end, and records on the way what is tried again.
    ///
    /// # Errors
    /// What the ledger says; the work is then given up.
    pub(super) async fn to<T>(mut self, visit: &mut Visit, work: impl Future<Output = T>) -> Result<T, Fault> {
        tokio::pin!(work);
        let begin = self.registries.traffic();
        let mut recorded = 0;
        let mut ticks = tokio::time::interval_at(Instant::now() + TICK, TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let done = loop {
            tokio::select! {
                biased;
                Some(retry) = self.retries.recv() => {
                    recorded += 1;
                    if recorded <= RECORDED {
                        note(visit, &retry).await?;
                    }
                }
                done = &mut work => break done,
                _ = ticks.tick() => {
                    let since = self.registries.traffic_since(&begin);
                    visit.audience().progress(&crate::report::lines::traffic(&since));
                }
            }
        };
        while let Ok(retry) = self.retries.try_recv() {
            recorded += 1;
            if recorded <= RECORDED {
                note(visit, &retry).await?;
            }
        }
        if visit.run().state == State::PromotionRetrying {
            visit.enter(State::PromotionRunning).await?;
        }
        Ok(done)
    }
}

async fn note(visit: &mut Visit, retry: &Retry) -> Result<(), Fault> {
    let mut events = Vec::new();
    if visit.run().state == State::PromotionRunning {
        events.push(Event::StateChanged { to: State::PromotionRetrying });
    }
    events.push(Event::Retried {
        what: retry.what.clone(),
        attempt: retry.attempt,
        wait_ms: u64::try_from(retry.wait.as_millis()).unwrap_or(u64::MAX),
        because: retry.because.clone(),
    });
    visit.record(events).await
}
