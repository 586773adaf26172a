//! Registries: references resolved, images inspected and verified, content copied, tags moved.
//!
//! The transport is this program's own, on the one HTTP stack (see [`crate::http`]). What it holds itself to:
//!
//! - Manifest bytes are sacred: raw in, raw out, the digest checked on reading, on the answer to writing, and on
//!   reading back.
//! - Every request has one [`Class`] and is counted at the one place where requests are sent. For class
//!   [`Class::Copy`] the number is exact on a cold cache, for an image of M manifests below its root and B different
//!   blobs: same repository 2; other repository of the same registry 2M + 2 + B; other registry, or where every mount is
//!   answered with an upload, 2M + 2 + 3B. The root is written with its first tag, each further tag is one more.
//! - Credentials go to a registry's own origin and to the token server that it names (see `auth`), never along a
//!   redirect or an upload's `Location` to another host; and no private address is gone to because a registry on the
//!   internet says so.
//! - Everything is bounded: sizes, redirects, pages, depths, attempts, waits, and the deadline. Content is streamed in
//!   constant memory.
//! - Everything can be dropped at any time: nothing is spawned that outlives the future it was for.

mod address;
mod answer;
mod ask;
mod attached;
mod attachments;
mod auth;
mod blobs;
mod class;
mod clients;
mod content;
mod credentials;
mod error;
mod export;
mod host;
mod inspect;
mod layer;
mod limiter;
mod login;
mod manifest;
mod manifests;
mod patience;
mod progress;
mod referrers;
mod tags;
mod targets;
mod transport;
mod tree;
mod unpack;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

pub use attachments::Attachment;
pub use class::Class;
pub use content::CopyOptions;
pub use credentials::{Credentials, default_docker_config};
pub use error::{RegistryError, Trouble};
pub use inspect::{ImageConfig, Inspection, PlatformInspection, Problem};
pub use layer::{Compression, LayerDefect, LayerLimits, LayerReading};
pub use manifest::{Content, DeclaredPlatform, Descriptor, Manifest};
pub use manifests::{Head, Pushed};
pub use patience::{Observer, Retry};
pub use tags::keep_tag;

use crate::promotion::event::Traffic;
use crate::promotion::image::Repository;
use crate::promotion::retry::RetryPolicy;

/// How registries are spoken to.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Who we are.
    pub credentials: Credentials,
    /// Registries, as `host` or `host:port`, whose certificates need not verify and which may be spoken to in plain
    /// HTTP. Those on this machine always may.
    pub insecure: Vec<String>,
    /// Hosts, as `host` or `host:port`, that a registry on the internet may point to although they are at private
    /// addresses, e.g. a storage with a private endpoint.
    pub private_hosts: Vec<String>,
    /// How often and how patiently something is tried.
    pub retry: RetryPolicy,
    /// When everything must have ended.
    pub deadline: Option<Instant>,
}

/// The client for all registries. Clones share everything: connections, tokens, what was learnt of each registry, the
/// cache of manifests, and the counts.
#[derive(Clone)]
pub struct Registries {
    shared: Arc<Shared>,
    deadline: Option<Instant>,
    observer: Option<Observer>,
}

struct Shared {
    credentials: Credentials,
    insecure: BTreeSet<String>,
    private_hosts: BTreeSet<String>,
    retry: RetryPolicy,
    clients: clients::Clients,
    meter: Arc<class::Meter>,
    hosts: Mutex<BTreeMap<String, Arc<host::Host>>>,
    manifests: manifest::Cache,
}

impl Registries {
    /// A client that knows nobody yet; nothing is sent.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let names = |list: Vec<String>| list.into_iter().map(|name| name.to_ascii_lowercase()).collect();
        Self {
            deadline: options.deadline,
            observer: None,
            shared: Arc::new(Shared {
                credentials: options.credentials,
                insecure: names(options.insecure),
                private_hosts: names(options.private_hosts),
                retry: options.retry,
                clients: clients::Clients::default(),
                meter: Arc::default(),
                hosts: Mutex::default(),
                manifests: manifest::Cache::default(),
            }),
        }
    }

    /// The same client with another deadline.
    #[must_use]
    pub fn with_deadline(&self, deadline: Option<Instant>) -> Self {
        Self { deadline, ..self.clone() }
    }

    /// The same client, telling `observer` of every failed attempt that is followed by another.
    #[must_use]
    pub fn observed_by(&self, observer: Observer) -> Self {
        Self { observer: Some(observer), ..self.clone() }
    }

    /// All requests and bytes so far, of all clones.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.shared.meter.traffic()
    }

    /// Requests and bytes since an earlier [`Self::traffic`].
    #[must_use]
    pub fn traffic_since(&self, earlier: &Traffic) -> Traffic {
        class::difference(&self.traffic(), earlier)
    }

    fn policy(&self) -> RetryPolicy {
        self.shared.retry
    }

    fn host(&self, repository: &Repository) -> Arc<host::Host> {
        let mut hosts = self.shared.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let name = repository.registry();
        let host =
            hosts.entry(name.to_owned()).or_insert_with(|| Arc::new(host::Host::new(name, &self.shared.insecure)));
        Arc::clone(host)
    }
}

impl std::fmt::Debug for Registries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registries").field("traffic", &self.traffic()).finish_non_exhaustive()
    }
}
