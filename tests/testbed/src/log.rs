//! The log of requests.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// One request, as the server saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The method.
    pub method: String,
    /// The path with its query, as sent.
    pub target: String,
    /// The status of the answer; `None` while there is none, or when the connection was closed without one.
    pub status: Option<u16>,
    /// Whom the registry took the caller for.
    pub user: Option<String>,
    /// The scheme of the `Authorization` header, e.g. `Bearer`; `None` without that header.
    pub authorization: Option<String>,
    /// How many bytes of the request's body were read.
    pub received: u64,
    /// How many bytes of the answer's body were handed out.
    pub sent: u64,
    /// When the request arrived, since the server started.
    pub arrived: Duration,
    /// When the answer began, since the server started.
    pub answered: Option<Duration>,
}

impl Entry {
    /// The path without its query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The method and the path, e.g. `GET /v2/`: what most assertions compare.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path())
    }
}

/// A log that is written while tests read it.
#[derive(Clone)]
pub(crate) struct Log {
    started: Instant,
    records: Arc<Mutex<Vec<Record>>>,
}

struct Record {
    entry: Entry,
    received: Arc<AtomicU64>,
    sent: Arc<AtomicU64>,
}

/// A request that is under way.
pub(crate) struct Open {
    log: Log,
    index: usize,
    /// Counts the bytes of the request's body.
    pub(crate) received: Arc<AtomicU64>,
    /// Counts the bytes of the answer's body.
    pub(crate) sent: Arc<AtomicU64>,
}

impl Log {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), records: Arc::default() }
    }

    /// Notes a request that has arrived.
    pub(crate) fn open<B>(&self, request: &http::Request<B>) -> Open {
        let target = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned();
        let authorization = request.headers().get(http::header::AUTHORIZATION).map(|value| {
            let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
            text.split(' ').next().unwrap_or_default().to_owned()
        });
        let entry = Entry {
            method: request.method().to_string(),
            target,
            status: None,
            user: None,
            authorization,
            received: 0,
            sent: 0,
            arrived: self.started.elapsed(),
            answered: None,
        };
        let (received, sent) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let mut records = self.lock();
        records.push(Record { entry, received: Arc::clone(&received), sent: Arc::clone(&sent) });
        Open { log: self.clone(), index: records.len() - 1, received, sent }
    }

    /// All requests so far, in the order of their arrival.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let count = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        let complete = |record: &Record| Entry {
            received: count(&record.received),
            sent: count(&record.sent),
            ..record.entry.clone()
        };
        self.lock().iter().map(complete).collect()
    }

    /// Forgets what was logged; requests that are under way are forgotten too.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Record>> {
        self.records.lock().expect("no thread panicked while it held the log")
    }
}

impl Open {
    /// Notes the answer.
    pub(crate) fn answered(&self, status: u16, user: Option<String>) {
        let at = self.log.started.elapsed();
        let mut records = self.log.lock();
        // The log may have been cleared meanwhile: then this place is another request's, or nobody's.
        if let Some(record) = records.get_mut(self.index).filter(|record| Arc::ptr_eq(&record.sent, &self.sent)) {
            record.entry.status = Some(status);
            record.entry.answered = Some(at);
            record.entry.user = user;
        }
    }
}

/// The largest number of requests that were unanswered at the same time.
#[must_use]
pub fn peak_in_flight(entries: &[Entry]) -> usize {
    let mut changes: Vec<(Duration, bool)> = entries
        .iter()
        .filter_map(|entry| entry.answered.map(|answered| [(entry.arrived, true), (answered, false)]))
        .flatten()
        .collect();
    // At the same instant an answer counts before an arrival.
    changes.sort();
    let (mut now, mut peak) = (0_usize, 0);
    for (_, arrival) in changes {
        now = if arrival { now + 1 } else { now.saturating_sub(1) };
        peak = peak.max(now);
    }
    peak
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_counts_what_overlaps() {
        let log = Log::new();
        let request = http::Request::get("/v2/?a=b").body(()).expect("a request");
        let (first, second) = (log.open(&request), log.open(&request));
        first.answered(200, None);
        second.answered(200, None);
        log.open(&request).answered(200, Some("ann".into()));
        let entries = log.entries();
        assert_eq!(entries[2].line(), "GET /v2/");
        assert_eq!(entries[2].user.as_deref(), Some("ann"));
        assert_eq!(peak_in_flight(&entries), 2);
        log.clear();
        first.answered(500, None);
        assert!(log.entries().is_empty());
    }
}
