//! Trying again: how long the other side asks us to wait, and the one loop in which everything is repeated.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use chrono::Utc;
use http::header::{HeaderMap, RETRY_AFTER};
use regex::bytes::Regex;
use tokio::time::Instant;

use super::Registries;
use super::error::{RegistryError, Trouble};
use crate::http::retry_after;
use crate::promotion::retry::RetryClass;

/// The longest wait that the other side may ask for; whoever asks for more is not waited for.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);

/// Told of each failed attempt that is followed by another.
pub type Observer = Arc<dyn Fn(&Retry) + Send + Sync>;

/// A failed attempt that is followed by another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// What is tried.
    pub what: String,
    /// The number of the attempt that failed, from 1.
    pub attempt: u32,
    /// The wait before the next.
    pub wait: Duration,
    /// Why it failed (may quote the registry: untrusted).
    pub because: String,
}

impl Registries {
    /// Does something, again and again as long as its trouble may pass, the policy has attempts left, and the deadline
    /// leaves time for the wait.
    pub(super) async fn patiently<T, F, Fut>(&self, doing: &str, mut attempt: F) -> Result<T, RegistryError>
    where
        F: FnMut(u32) -> Fut,
        Fut: Future<Output = Result<T, Trouble>>,
    {
        let mut tried = Vec::new();
        let mut number = 1;
        loop {
            let trouble = match self.before_the_deadline(attempt(number)).await {
                Ok(done) => return Ok(done),
                Err(trouble) => trouble,
            };
            let class = trouble.retry_class(number);
            let Some(wait) = self.policy().wait(number, class, rand::random()) else {
                return Err(RegistryError { doing: doing.to_owned(), trouble, tried });
            };
            let too_long = matches!(class, RetryClass::Passing { after: Some(after) } if after > LONGEST_WAIT);
            if too_long || self.deadline.is_some_and(|deadline| Instant::now() + wait >= deadline) {
                tried.push(format!("attempt {number}: {trouble}"));
                let limit = if too_long { "is longer than is waited" } else { "does not end before the deadline" };
                tried.push(format!("no further attempt: a wait of {} {limit}", humantime::format_duration(wait)));
                return Err(RegistryError { doing: doing.to_owned(), trouble, tried });
            }
            let retry = Retry { what: doing.to_owned(), attempt: number, wait, because: trouble.to_string() };
            tracing::debug!(what = %retry.what, attempt = number, wait = ?wait, because = %retry.because, "trying again");
            if let Some(observer) = &self.observer {
                observer(&retry);
            }
            tried.push(format!("attempt {number}: {trouble}"));
            tokio::time::sleep(wait).await;
            number += 1;
        }
    }

    /// Lets something run no longer than to the deadline.
    pub(super) async fn before_the_deadline<T>(
        &self,
        work: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, Trouble> {
        match self.deadline {
            Some(deadline) => tokio::time::timeout_at(deadline, work).await.unwrap_or(Err(Trouble::Deadline)),
            None => work.await,
        }
    }
}

/// The wait that an answer asks for: `Retry-After` in seconds or as a date (RFC 9110, 10.2.3), or the Go duration that
/// GHCR writes into the message of a 429.
pub(super) fn asked(headers: &HeaderMap, body: &[u8]) -> Option<Duration> {
    headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| retry_after::header(text, Utc::now()))
        .or_else(|| message(body))
}

fn message(body: &[u8]) -> Option<Duration> {
    #[expect(clippy::expect_used, reason = "a constant pattern, run by the tests below")]
    static WAIT: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"(?i)retry-after:\s*([0-9.]+[0-9.a-zµμ]*)").expect("a constant pattern"));
    let text = std::str::from_utf8(WAIT.captures(body)?.get(1)?.as_bytes()).ok()?;
    retry_after::go_duration(text).or_else(|| text.parse::<u64>().ok().map(Duration::from_secs))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use proptest::prelude::*;

    use super::super::Options;
    use super::*;

    #[test]
    fn a_wait_in_a_message_is_read() {
        for (body, wait) in [
            ("TOOMANYREQUESTS: retry-after: 12.5ms, allowed: 2000/minute", Some(0.0125)),
            ("Retry-After: 1m30s", Some(90.0)),
            ("retry-after: 250µs, allowed: 44000/minute", Some(0.000_25)),
            ("retry-after: 3", Some(3.0)),
            ("retry later", None),
        ] {
            assert_eq!(message(body.as_bytes()).map(|wait| wait.as_secs_f64()), wait, "{body}");
        }
    }

    /// Tries something that fails as told, and gives what came of it, how long it took, and who was told of it.
    async fn tried(options: Options, failures: &[Trouble]) -> (Result<u32, RegistryError>, Duration, Vec<Retry>) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let client = Registries::new(options).observed_by(Arc::new({
            let seen = Arc::clone(&seen);
            move |retry: &Retry| seen.lock().unwrap().push(retry.clone())
        }));
        let began = Instant::now();
        let outcome = client
            .patiently("do something", |attempt| {
                let failure = failures.get(attempt as usize - 1).cloned();
                async move { failure.map_or(Ok(attempt), Err) }
            })
            .await;
        let seen = seen.lock().unwrap().clone();
        (outcome, began.elapsed(), seen)
    }

    fn throttled(after: Option<Duration>, secondary: bool) -> Trouble {
        Trouble::Throttled { after, secondary, says: "429".to_owned() }
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_tried_again_and_everybody_is_told() {
        let failed = Trouble::Failed { after: None, says: "503".to_owned() };
        let (outcome, took, seen) = tried(Options::default(), &[failed.clone(), failed.clone()]).await;
        assert_eq!(outcome, Ok(3));
        // Half of a second and of two at the least.
        assert!(took >= Duration::from_millis(1_500) && took <= Duration::from_millis(3_010), "{took:?}");
        assert_eq!(seen.iter().map(|retry| retry.attempt).collect::<Vec<_>>(), [1, 2]);

        let forever = vec![failed; 10];
        let (outcome, _, seen) = tried(Options::default(), &forever).await;
        let error = outcome.unwrap_err();
        assert_eq!((error.tried.len(), seen.len()), (4, 4));
        assert_eq!(error.to_string(), "cannot do something: it failed (503)");
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_pass_is_not_tried_again() {
        let denied = Trouble::Denied { anonymous: false, says: "403".to_owned() };
        let (outcome, took, seen) = tried(Options::default(), &[denied]).await;
        assert!(outcome.unwrap_err().tried.is_empty() && seen.is_empty() && took.is_zero());
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_asked_for_is_kept_but_not_for_ever() {
        let minute = Some(Duration::from_secs(60));
        let (outcome, took, _) = tried(Options::default(), &[throttled(minute, false)]).await;
        assert_eq!(outcome, Ok(2));
        assert!(took >= Duration::from_secs(60) && took < Duration::from_secs(67), "{took:?}");

        // GHCR's secondary limit: a minute, then two, then four.
        let (outcome, took, _) = tried(Options::default(), &vec![throttled(None, true); 3]).await;
        assert_eq!(outcome, Ok(4));
        assert!(took >= Duration::from_secs(420) && took < Duration::from_secs(470), "{took:?}");

        let (outcome, took, seen) =
            tried(Options::default(), &[throttled(Some(Duration::from_secs(3_600)), false)]).await;
        assert!(took.is_zero() && seen.is_empty());
        assert!(outcome.unwrap_err().tried[1].contains("longer than is waited"));
    }

    #[tokio::test(start_paused = true)]
    async fn no_wait_leads_past_the_deadline() {
        let deadline = Some(Instant::now() + Duration::from_secs(90));
        let options = Options { deadline, ..Options::default() };
        let (outcome, took, seen) = tried(options, &vec![throttled(None, true); 3]).await;
        assert!(took < Duration::from_secs(90), "{took:?}");
        assert_eq!(seen.len(), 1);
        let error = outcome.unwrap_err();
        assert!(error.tried.last().unwrap().contains("deadline"), "{:?}", error.tried);

        let client = Registries::new(Options::default()).with_deadline(Some(Instant::now() + Duration::from_secs(5)));
        let hung = client.patiently("hang", |_| std::future::pending::<Result<(), Trouble>>()).await;
        assert_eq!(hung.unwrap_err().trouble, Trouble::Deadline);
    }

    proptest! {
        #[test]
        fn what_go_writes_is_read(hours in 0u64..100, minutes in 0u64..60, millis in 0u64..60_000) {
            let text = format!("{hours}h{minutes}m{}.{:03}s", millis / 1_000, millis % 1_000);
            let wanted = Duration::from_millis(hours * 3_600_000 + minutes * 60_000 + millis);
            let read = retry_after::go_duration(&text).unwrap();
            prop_assert!(read.abs_diff(wanted) < Duration::from_millis(1));
        }

        #[test]
        fn nothing_makes_it_panic(text in any::<String>()) {
            let _ = retry_after::go_duration(&text);
            let _ = retry_after::header(&text, Utc::now());
            let _ = message(text.as_bytes());
        }
    }
}
