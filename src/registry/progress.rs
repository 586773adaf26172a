//! How far an upload has come: what bounds it, for no one can say how long it may take.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tokio::time::Instant;

use super::class::Meter;
use super::error::Trouble;
use crate::http::READ_TIMEOUT;

/// The longest wait for the answer to an upload once its last byte is out: registries hash and move what they got.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// How far an upload has come, so that one that stands still is given up.
#[derive(Debug)]
pub(super) struct Progress {
    moved: Mutex<Instant>,
    complete: AtomicBool,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { moved: Mutex::new(Instant::now()), complete: AtomicBool::new(false) }
    }

    /// A part was taken by the connection.
    pub(super) fn moved(&self) {
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// The last part was.
    pub(super) fn completed(&self) {
        self.moved();
        self.complete.store(true, Ordering::Relaxed);
    }

    /// Returns once nothing has moved for too long.
    pub(super) async fn stalled(&self) -> Trouble {
        loop {
            let patience = if self.complete.load(Ordering::Relaxed) { COMMIT_TIMEOUT } else { READ_TIMEOUT };
            let until = *self.moved.lock().unwrap_or_else(PoisonError::into_inner) + patience;
            if until <= Instant::now() {
                return Trouble::Broken { why: format!("nothing moved for {} s", patience.as_secs()) };
            }
            tokio::time::sleep_until(until).await;
        }
    }
}

/// The body of an upload: what `parts` yields, counted, and watched.
pub(super) fn counted_body(
    meter: &Arc<Meter>,
    parts: impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static,
    progress: &Arc<Progress>,
) -> reqwest::Body {
    let meter = Arc::clone(meter);
    let progress = Arc::clone(progress);
    reqwest::Body::wrap_stream(parts.inspect(move |part| {
        if let Ok(part) = part {
            meter.sent(part.len());
            progress.moved();
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_upload_is_given_up_when_nothing_moves() {
        let progress = Arc::new(Progress::new());
        let moving = async {
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_secs(50)).await;
                progress.moved();
            }
            progress.completed();
            Instant::now()
        };
        let (completed, stalled) = tokio::join!(moving, async {
            let trouble = progress.stalled().await;
            (Instant::now(), trouble)
        });
        // It took more than eight minutes, and then as long as an answer may take.
        assert_eq!(stalled.0 - completed, COMMIT_TIMEOUT);
        assert!(matches!(stalled.1, Trouble::Broken { .. }));
    }
}
