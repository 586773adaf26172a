//! What requests are for, and how many of each there were.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::promotion::event::Traffic;

/// What a request is for. Every request has exactly one class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Who we are: requests answered with a challenge, and token requests.
    Auth,
    /// What validation reads of an image.
    Inspect,
    /// Where a tag points, before and after.
    Look,
    /// The tag that keeps a previous digest alive.
    Keep,
    /// Signatures, attestations, SBOMs and whatever else refers to an image.
    Attached,
    /// The image itself, on its way to its place, and its tags.
    Copy,
}

impl Class {
    /// All classes.
    pub const ALL: [Self; 6] = [Self::Auth, Self::Inspect, Self::Look, Self::Keep, Self::Attached, Self::Copy];

    /// The name in [`Traffic`].
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Inspect => "inspect",
            Self::Look => "look",
            Self::Keep => "keep",
            Self::Attached => "attached",
            Self::Copy => "copy",
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::Auth => 0,
            Self::Inspect => 1,
            Self::Look => 2,
            Self::Keep => 3,
            Self::Attached => 4,
            Self::Copy => 5,
        }
    }
}

/// Counts requests by class, and bytes of bodies.
///
/// The sum of the classes is what a proxy between us and all registries would log: each request that was sent is
/// counted once, retries and redirects too; one for which no connection could be made is not, for nobody saw it.
#[derive(Debug, Default)]
pub(super) struct Meter {
    requests: Mutex<[u64; Class::ALL.len()]>,
    received: AtomicU64,
    sent: AtomicU64,
}

impl Meter {
    /// Counts a request that is about to be sent.
    pub(super) fn count(&self, class: Class) {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)[class.index()] += 1;
    }

    /// Takes a request back that was counted and that no server took for one.
    pub(super) fn forget(&self, class: Class) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests[class.index()] = requests[class.index()].saturating_sub(1);
    }

    /// Counts a request in another class, once its answer has told what it was.
    pub(super) fn reclassify(&self, from: Class, to: Class) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests[from.index()] = requests[from.index()].saturating_sub(1);
        requests[to.index()] += 1;
    }

    /// Adds bytes of a body that came in.
    pub(super) fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Adds bytes of a body that went out.
    pub(super) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// All that was counted so far; classes without a request are left out.
    pub(super) fn traffic(&self) -> Traffic {
        let counts = *self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let requests: BTreeMap<String, u64> = Class::ALL
            .into_iter()
            .map(|class| (class.name().to_owned(), counts[class.index()]))
            .filter(|(_, count)| *count > 0)
            .collect();
        Traffic { requests, received: self.received.load(Ordering::Relaxed), sent: self.sent.load(Ordering::Relaxed) }
    }
}

/// What was counted between two moments.
pub(super) fn difference(now: &Traffic, earlier: &Traffic) -> Traffic {
    let requests = now
        .requests
        .iter()
        .map(|(class, count)| (class.clone(), count.saturating_sub(earlier.requests.get(class).copied().unwrap_or(0))))
        .filter(|(_, count)| *count > 0)
        .collect();
    Traffic {
        requests,
        received: now.received.saturating_sub(earlier.received),
        sent: now.sent.saturating_sub(earlier.sent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_is_counted_in_one_class() {
        for (index, class) in Class::ALL.into_iter().enumerate() {
            assert_eq!(class.index(), index);
        }
        let meter = Meter::default();
        meter.count(Class::Copy);
        meter.count(Class::Copy);
        let earlier = meter.traffic();
        meter.count(Class::Look);
        meter.reclassify(Class::Look, Class::Auth);
        meter.count(Class::Copy);
        meter.forget(Class::Copy);
        meter.received(3);
        let now = meter.traffic();
        assert_eq!(now.total(), 3);
        let since = difference(&now, &earlier);
        assert_eq!(since.requests, BTreeMap::from([("auth".to_owned(), 1)]));
        assert_eq!((since.received, since.sent), (3, 0));
    }
}
