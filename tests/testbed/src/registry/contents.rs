//! What a registry holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use serde_json::Value;

use super::settings::Lag;

/// The repositories of a registry, in memory. Clones share the same content, so that two servers can serve it.
///
/// The functions here go around the API and its checks: this is how a test arranges what a registry would refuse.
#[derive(Clone, Default)]
pub struct Contents(Arc<Mutex<BTreeMap<String, Repository>>>);

#[derive(Default)]
struct Repository {
    manifests: BTreeMap<String, Manifest>,
    blobs: BTreeMap<String, Bytes>,
    tags: BTreeMap<String, Tag>,
}

struct Tag {
    digest: String,
    /// What the tag named before it was last written.
    previous: Option<String>,
    /// How many reads are left that do not see the last write.
    stale_reads: u32,
    shows_old: bool,
}

/// A manifest as it was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Its `Content-Type`.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Bytes,
}

/// What a registry holds at one moment, by digests: two are equal when nothing was changed between them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The tags and what they name, by repository.
    pub tags: BTreeMap<String, BTreeMap<String, String>>,
    /// The manifests, by repository.
    pub manifests: BTreeMap<String, BTreeSet<String>>,
    /// The blobs, by repository.
    pub blobs: BTreeMap<String, BTreeSet<String>>,
}

/// What a read of a tag sees.
pub(super) enum Resolved {
    Digest(String),
    Unknown,
}

impl Contents {
    /// The names of all repositories that hold something.
    #[must_use]
    pub fn repositories(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    /// What is there now, e.g. to find out later that nothing was changed.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for (name, found) in self.lock().iter() {
            let tags = found.tags.iter().map(|(name, tag)| (name.clone(), tag.digest.clone())).collect();
            snapshot.tags.insert(name.clone(), tags);
            snapshot.manifests.insert(name.clone(), found.manifests.keys().cloned().collect());
            snapshot.blobs.insert(name.clone(), found.blobs.keys().cloned().collect());
        }
        snapshot
    }

    /// The tags of a repository, sorted; empty when there is no such repository.
    #[must_use]
    pub fn tags(&self, repository: &str) -> Vec<String> {
        self.look(repository, |found| found.tags.keys().cloned().collect())
    }

    /// The digest that a tag names; a read like this one sees the last write at once.
    #[must_use]
    pub fn digest(&self, repository: &str, tag: &str) -> Option<String> {
        self.look(repository, |found| found.tags.get(tag).map(|tag| tag.digest.clone()))
    }

    /// The digests of all manifests of a repository.
    #[must_use]
    pub fn manifests(&self, repository: &str) -> Vec<String> {
        self.look(repository, |found| found.manifests.keys().cloned().collect())
    }

    /// A manifest, by its tag or digest.
    #[must_use]
    pub fn manifest(&self, repository: &str, reference: &str) -> Option<Manifest> {
        self.look(repository, |found| {
            let digest = found.tags.get(reference).map_or(reference, |tag| &tag.digest);
            found.manifests.get(digest).cloned()
        })
    }

    /// The digests of all blobs of a repository.
    #[must_use]
    pub fn blobs(&self, repository: &str) -> Vec<String> {
        self.look(repository, |found| found.blobs.keys().cloned().collect())
    }

    /// The bytes of a blob.
    #[must_use]
    pub fn blob(&self, repository: &str, digest: &str) -> Option<Bytes> {
        self.look(repository, |found| found.blobs.get(digest).cloned())
    }

    /// Stores a blob under this digest, whatever its bytes are.
    pub fn put_blob(&self, repository: &str, digest: &str, bytes: impl Into<Bytes>) {
        self.change(repository, |found| {
            found.blobs.insert(digest.to_owned(), bytes.into());
        });
    }

    /// Stores a manifest under this digest, whatever its bytes are, and whether or not its blobs are there.
    pub fn put_manifest(&self, repository: &str, digest: &str, media_type: &str, bytes: impl Into<Bytes>) {
        let manifest = Manifest { media_type: media_type.to_owned(), bytes: bytes.into() };
        self.change(repository, |found| {
            found.manifests.insert(digest.to_owned(), manifest);
        });
    }

    /// Points a tag to a digest, whether or not that manifest is there; every read sees it at once.
    pub fn put_tag(&self, repository: &str, tag: &str, digest: &str) {
        self.write_tag(repository, tag, digest, None);
    }

    /// Removes a blob; what is not there is no error.
    pub fn remove_blob(&self, repository: &str, digest: &str) {
        self.change(repository, |found| found.blobs.remove(digest));
    }

    /// Removes a manifest; tags that name it stay.
    pub fn remove_manifest(&self, repository: &str, digest: &str) {
        self.change(repository, |found| found.manifests.remove(digest));
    }

    /// Removes a tag.
    pub fn remove_tag(&self, repository: &str, tag: &str) {
        self.change(repository, |found| found.tags.remove(tag));
    }

    /// Whether the repository holds anything.
    pub(super) fn is_known(&self, repository: &str) -> bool {
        self.lock().contains_key(repository)
    }

    /// Points a tag to a digest; with a lag the next reads do not see it.
    pub(super) fn write_tag(&self, repository: &str, tag: &str, digest: &str, lag: Option<Lag>) {
        self.change(repository, |found| {
            let previous = found.tags.get(tag).map(|tag| tag.digest.clone());
            let (stale_reads, shows_old) = lag.map_or((0, false), |lag| (lag.reads, lag.shows_old));
            let written = Tag { digest: digest.to_owned(), previous, stale_reads, shows_old };
            found.tags.insert(tag.to_owned(), written);
        });
    }

    /// What a read through the API sees of a tag: the digest, or the past while the tag lags.
    pub(super) fn read_tag(&self, repository: &str, tag: &str) -> Resolved {
        let mut all = self.lock();
        let Some(tag) = all.get_mut(repository).and_then(|found| found.tags.get_mut(tag)) else {
            return Resolved::Unknown;
        };
        if tag.stale_reads == 0 {
            return Resolved::Digest(tag.digest.clone());
        }
        tag.stale_reads -= 1;
        match &tag.previous {
            Some(digest) if tag.shows_old => Resolved::Digest(digest.clone()),
            _ => Resolved::Unknown,
        }
    }

    /// The manifests whose `subject` is this digest.
    pub(super) fn referrers(&self, repository: &str, subject: &str) -> Vec<(String, Manifest)> {
        let refers = |manifest: &Manifest| {
            serde_json::from_slice::<Value>(&manifest.bytes)
                .is_ok_and(|document| document["subject"]["digest"].as_str() == Some(subject))
        };
        self.look(repository, |found| {
            found
                .manifests
                .iter()
                .filter(|(_, manifest)| refers(manifest))
                .map(|(digest, manifest)| (digest.clone(), manifest.clone()))
                .collect()
        })
    }

    fn look<T: Default>(&self, repository: &str, read: impl FnOnce(&Repository) -> T) -> T {
        self.lock().get(repository).map(read).unwrap_or_default()
    }

    fn change<T>(&self, repository: &str, write: impl FnOnce(&mut Repository) -> T) -> T {
        write(self.lock().entry(repository.to_owned()).or_default())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Repository>> {
        self.0.lock().expect("no thread panicked while it held the content")
    }
}
