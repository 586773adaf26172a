//! What GitHub has answered, with its ETag: asking again costs nothing of the primary rate limit when nothing changed.

use std::collections::VecDeque;

use bytes::Bytes;
use http::HeaderValue;
use url::Url;

/// How many answers are kept.
const ENTRIES: usize = 64;

/// The largest answer that is kept, in bytes.
const LARGEST: usize = 1024 * 1024;

/// An answer that is kept.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// What GitHub calls this state of it.
    pub(super) etag: HeaderValue,
    /// Where the list goes on.
    pub(super) link: Option<HeaderValue>,
    /// The body.
    pub(super) body: Bytes,
}

/// The answers that are kept, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Cache(VecDeque<(Url, Entry)>);

impl Cache {
    /// The answer to a GET of this address.
    pub(super) fn get(&self, url: &Url) -> Option<Entry> {
        self.0.iter().find(|(kept, _)| kept == url).map(|(_, entry)| entry.clone())
    }

    /// Keeps an answer, unless it is large.
    pub(super) fn put(&mut self, url: &Url, entry: Entry) {
        self.forget(url);
        if entry.body.len() > LARGEST {
            return;
        }
        if self.0.len() >= ENTRIES {
            self.0.pop_front();
        }
        self.0.push_back((url.clone(), entry));
    }

    /// Forgets the answer to a GET of this address.
    pub(super) fn forget(&mut self, url: &Url) {
        self.0.retain(|(kept, _)| kept != url);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(number: usize) -> Url {
        Url::parse(&format!("https://api.github.com/x?page={number}")).unwrap()
    }

    fn entry(length: usize) -> Entry {
        Entry { etag: HeaderValue::from_static("\"a\""), link: None, body: Bytes::from(vec![0; length]) }
    }

    #[test]
    fn it_is_bounded_and_keeps_the_newest() {
        let mut cache = Cache::default();
        for number in 0..=ENTRIES {
            cache.put(&url(number), entry(1));
        }
        assert!(cache.get(&url(0)).is_none());
        assert!(cache.get(&url(ENTRIES)).is_some());
        cache.put(&url(ENTRIES), entry(LARGEST + 1));
        assert!(cache.get(&url(ENTRIES)).is_none());
        cache.put(&url(1), entry(2));
        assert_eq!(cache.get(&url(1)).unwrap().body.len(), 2);
        cache.forget(&url(1));
        assert!(cache.get(&url(1)).is_none());
    }
}
