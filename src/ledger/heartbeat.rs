//! Keeping a lease while work goes on.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use super::{Fence, HEARTBEAT, LEASE_TTL, Ledger, LedgerError};

/// The wait after a renewal that failed.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// How a lease stands, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is ours.
    Held,
    /// It could not be renewed in time: anybody may take it, and nobody is known to have. It may be held again later.
    Unrenewed,
    /// Somebody has taken it, or it was given back. It will not be ours again.
    Gone,
}

/// Renews a lease until it is dropped.
#[derive(Debug)]
pub struct Heartbeat {
    standing: watch::Receiver<Standing>,
    task: JoinHandle<()>,
}

impl Heartbeat {
    /// Renews the lease every [`HEARTBEAT`]. A ledger that is away is tolerated until [`LEASE_TTL`] has run out.
    #[must_use]
    pub fn start(ledger: Arc<dyn Ledger>, fence: Fence) -> Self {
        Self::renewing(move || {
            let (ledger, fence) = (Arc::clone(&ledger), fence.clone());
            async move { ledger.renew(&fence).await }
        })
    }

    fn renewing<R>(renew: impl Fn() -> R + Send + Sync + 'static) -> Self
    where
        R: Future<Output = Result<(), LedgerError>> + Send + 'static,
    {
        let (tell, standing) = watch::channel(Standing::Held);
        Self { standing, task: tokio::spawn(beat(renew, tell)) }
    }

    /// How the lease stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        *self.standing.borrow()
    }

    /// To be told of every change.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// Waits until the lease is not known to be held, and tells how it stands then.
    pub async fn lost(&self) -> Standing {
        let mut standing = self.standing.clone();
        // The task ends only after it has told that the lease is gone.
        standing.wait_for(|standing| *standing != Standing::Held).await.map_or(Standing::Gone, |standing| *standing)
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn beat<R>(renew: impl Fn() -> R, tell: watch::Sender<Standing>)
where
    R: Future<Output = Result<(), LedgerError>>,
{
    let say = |standing| {
        tell.send_if_modified(|said| std::mem::replace(said, standing) != standing);
    };
    let mut renewed = Instant::now();
    let mut wait = HEARTBEAT;
    loop {
        sleep(wait).await;
        let asked = Instant::now();
        let over = renewed + LEASE_TTL;
        // While the lease lives, no answer may keep us from noticing its end.
        let answer = if asked < over { timeout_at(over, renew()).await.ok() } else { Some(renew().await) };
        match answer {
            Some(Ok(())) => {
                // It counts from before it was asked for: the database's clock may have done so too.
                renewed = asked;
                wait = HEARTBEAT;
                say(Standing::Held);
            }
            Some(Err(LedgerError::LeaseLost(_))) => return say(Standing::Gone),
            Some(Err(_)) | None => {
                wait = if Instant::now() >= over { AFTER_FAILURE } else { AFTER_FAILURE.min(over - Instant::now()) };
                if Instant::now() >= over {
                    say(Standing::Unrenewed);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A ledger's answers by the time since the beginning.
    fn heartbeat(
        answer: impl Fn(u64) -> Result<(), LedgerError> + Send + Sync + 'static,
    ) -> (Heartbeat, Arc<Mutex<Vec<u64>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let begin = Instant::now();
        let log = Arc::clone(&asked);
        let heartbeat = Heartbeat::renewing(move || {
            let now = begin.elapsed().as_secs();
            log.lock().unwrap().push(now);
            let answer = answer(now);
            async move { answer }
        });
        (heartbeat, asked)
    }

    fn away() -> Result<(), LedgerError> {
        Err(LedgerError::Unreachable("away".into()))
    }

    #[tokio::test(start_paused = true)]
    async fn beats_until_dropped() {
        let (heartbeat, asked) = heartbeat(|_| Ok(()));
        sleep(Duration::from_secs(101)).await;
        assert_eq!(heartbeat.standing(), Standing::Held);
        drop(heartbeat);
        sleep(Duration::from_secs(100)).await;
        assert_eq!(*asked.lock().unwrap(), [20, 40, 60, 80, 100]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_was_taken_over_is_gone() {
        let (heartbeat, asked) =
            heartbeat(|now| if now < 50 { Ok(()) } else { Err(LedgerError::LeaseLost("production".into())) });
        assert_eq!(heartbeat.lost().await, Standing::Gone);
        sleep(Duration::from_secs(100)).await;
        assert_eq!(*asked.lock().unwrap(), [20, 40, 60]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_ledger_that_is_away_for_a_while_is_tolerated() {
        let (heartbeat, _) = heartbeat(|now| if (30..100).contains(&now) { away() } else { Ok(()) });
        sleep(Duration::from_secs(300)).await;
        assert_eq!(heartbeat.standing(), Standing::Held);
        assert!(!heartbeat.watch().has_changed().unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_ledger_that_is_away_too_long_is_told_when_the_lease_ends_and_not_before() {
        let begin = Instant::now();
        let (heartbeat, _) = heartbeat(|now| if (30..300).contains(&now) { away() } else { Ok(()) });
        assert_eq!(heartbeat.lost().await, Standing::Unrenewed);
        // The last renewal was at 20.
        assert_eq!(begin.elapsed().as_secs(), 110);
        sleep(Duration::from_secs(300)).await;
        assert_eq!(heartbeat.standing(), Standing::Held);
    }

    #[tokio::test(start_paused = true)]
    async fn a_ledger_that_never_answers_is_noticed_in_time() {
        let begin = Instant::now();
        let heartbeat = Heartbeat::renewing(std::future::pending);
        assert_eq!(heartbeat.lost().await, Standing::Unrenewed);
        assert_eq!(begin.elapsed(), LEASE_TTL);
    }
}
