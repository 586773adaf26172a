//! How many requests a registry is sent at a time, and when.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

/// The requests in flight to begin with.
const START: f64 = 16.0;
/// The most that are ever in flight.
const MOST: f64 = 64.0;

/// Additive increase, multiplicative decrease: one more in flight for every full round of answers, half as many when
/// the registry throttles, never fewer than one.
#[derive(Debug, Clone, Copy)]
struct Aimd {
    limit: f64,
    decreased: Option<Instant>,
}

impl Aimd {
    const fn new() -> Self {
        Self { limit: START, decreased: None }
    }

    fn answered(&mut self) {
        self.limit = (self.limit + 1.0 / self.limit).min(MOST);
    }

    /// Requests that were under way at the last decrease say nothing new: one burst halves once.
    fn throttled(&mut self, sent: Instant, now: Instant) {
        if self.decreased.is_none_or(|decreased| sent >= decreased) {
            self.limit = (self.limit / 2.0).max(1.0);
            self.decreased = Some(now);
        }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 64")]
    const fn limit(&self) -> usize {
        self.limit as usize
    }
}

/// Admits requests to one registry: so many at a time, and none before the registry wants one.
#[derive(Debug)]
pub(super) struct Limiter {
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Debug)]
struct State {
    aimd: Aimd,
    in_flight: usize,
    not_before: Option<Instant>,
}

/// The right to have one request in flight; given back on drop.
#[derive(Debug)]
pub(super) struct Permit<'a> {
    limiter: &'a Limiter,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.limiter.state().in_flight -= 1;
        self.limiter.freed.notify_one();
    }
}

impl Limiter {
    pub(super) const fn new() -> Self {
        Self {
            state: Mutex::new(State { aimd: Aimd::new(), in_flight: 0, not_before: None }),
            freed: Notify::const_new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until one more request may be in flight.
    pub(super) async fn acquire(&self) -> Permit<'_> {
        loop {
            let freed = self.freed.notified();
            {
                let mut state = self.state();
                if state.in_flight < state.aimd.limit() {
                    state.in_flight += 1;
                    let more = state.in_flight < state.aimd.limit();
                    drop(state);
                    if more {
                        // The limit may have risen by more than the one that was woken for.
                        self.freed.notify_one();
                    }
                    return Permit { limiter: self };
                }
            }
            freed.await;
        }
    }

    /// The moment before which nothing is to be sent, where it is still to come.
    pub(super) fn not_before(&self) -> Option<Instant> {
        self.state().not_before.filter(|moment| *moment > Instant::now())
    }

    /// A request was answered, and not throttled.
    pub(super) fn answered(&self) {
        self.state().aimd.answered();
    }

    /// A request that was sent at `sent` was throttled; nothing is to be sent before `not_before`.
    pub(super) fn throttled(&self, sent: Instant, not_before: Option<Instant>) {
        let mut state = self.state();
        state.aimd.throttled(sent, Instant::now());
        state.not_before = state.not_before.max(not_before);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_burst_halves_once_and_a_quiet_time_raises_again() {
        let mut aimd = Aimd::new();
        let start = Instant::now();
        tokio::time::advance(Duration::from_secs(1)).await;
        for _ in 0..10 {
            aimd.throttled(start, Instant::now());
        }
        assert_eq!(aimd.limit(), 8);
        aimd.throttled(Instant::now(), Instant::now());
        assert_eq!(aimd.limit(), 4);
        for _ in 0..5 {
            aimd.answered();
        }
        assert_eq!(aimd.limit(), 5);
    }

    proptest! {
        #[test]
        fn the_limit_stays_between_one_and_the_most(steps in proptest::collection::vec(any::<bool>(), 0..2_000)) {
            let mut aimd = Aimd::new();
            let now = Instant::now();
            for throttled in steps {
                if throttled { aimd.throttled(now, now) } else { aimd.answered() }
                prop_assert!((1..=64).contains(&aimd.limit()));
            }
        }
    }

    #[tokio::test]
    async fn never_more_in_flight_than_the_limit_and_nobody_waits_for_ever() {
        let limiter = Limiter::new();
        limiter.throttled(Instant::now(), None);
        limiter.throttled(Instant::now(), None);
        let most = std::sync::atomic::AtomicUsize::new(0);
        let work = (0..200).map(|_| async {
            let permit = limiter.acquire().await;
            most.fetch_max(limiter.state().in_flight, std::sync::atomic::Ordering::Relaxed);
            tokio::task::yield_now().await;
            limiter.answered();
            drop(permit);
        });
        tokio::time::timeout(Duration::from_secs(10), futures_util::future::join_all(work)).await.unwrap();
        assert_eq!(limiter.state().in_flight, 0);
        // 200 answers raise a limit of 4 to at most 21: sqrt(4² + 2 × 200).
        assert!((4..=21).contains(&most.into_inner()));
    }

    #[tokio::test]
    async fn a_permit_given_up_while_waiting_is_not_lost() {
        let limiter = Limiter::new();
        let mut held = Vec::new();
        for _ in 0..16 {
            held.push(limiter.acquire().await);
        }
        assert!(tokio::time::timeout(Duration::from_millis(10), limiter.acquire()).await.is_err());
        held.clear();
        for _ in 0..16 {
            held.push(tokio::time::timeout(Duration::from_secs(1), limiter.acquire()).await.unwrap());
        }
    }
}
