//! Registries behind counting proxies, clients for them, and skopeo.

use std::process::Command;
use std::time::Duration;

use testbed::client::Client;
use testbed::docker_registry::DockerRegistry;
use testbed::image::Content;
use testbed::log::Entry;
use testbed::proxy::Proxy;
use testbed::registry::{Registry, Settings};
use tidegate::promotion::digest::Digest;
use tidegate::promotion::event::Traffic;
use tidegate::promotion::image::{Repository, Tag};
use tidegate::promotion::retry::RetryPolicy;
use tidegate::registry::{Class, CopyOptions, Credentials, Options, Registries};

/// Which registry a test runs against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Debian's docker-registry.
    Docker,
    /// The testbed's.
    StandIn,
}

impl Kind {
    pub(crate) const BOTH: [Self; 2] = [Self::Docker, Self::StandIn];
}

enum Server {
    Docker(DockerRegistry),
    StandIn(Registry),
}

/// A registry behind a proxy that counts.
pub(crate) struct Place {
    server: Server,
    pub(crate) proxy: Proxy,
}

impl Place {
    pub(crate) fn start(kind: Kind) -> Self {
        let server = match kind {
            Kind::Docker => Server::Docker(DockerRegistry::start()),
            Kind::StandIn => Server::StandIn(Registry::start()),
        };
        Self::before(server)
    }

    /// The testbed's registry with habits.
    pub(crate) fn with(settings: Settings) -> Self {
        Self::before(Server::StandIn(Registry::builder().settings(settings).start()))
    }

    fn before(server: Server) -> Self {
        let endpoint = match &server {
            Server::Docker(registry) => registry.endpoint(),
            Server::StandIn(registry) => registry.endpoint(),
        };
        Self { proxy: Proxy::start(&endpoint), server }
    }

    /// The testbed's registry, where this is one.
    pub(crate) fn stand_in(&self) -> &Registry {
        match &self.server {
            Server::StandIn(registry) => registry,
            Server::Docker(_) => panic!("docker-registry has no such knobs"),
        }
    }

    /// A repository, through the proxy.
    pub(crate) fn repository(&self, path: &str) -> Repository {
        repository(&self.proxy.host(), path)
    }

    /// The judge, past the proxy.
    pub(crate) fn client(&self) -> Client {
        match &self.server {
            Server::Docker(registry) => registry.endpoint().client(),
            Server::StandIn(registry) => registry.endpoint().client(),
        }
    }

    pub(crate) fn push(&self, content: &Content, path: &str, tags: &[&str]) {
        content.push(&self.client(), path, tags).unwrap();
    }

    /// The digest that skopeo sees at a tag.
    pub(crate) fn skopeo(&self, path: &str, tag: &str) -> String {
        let host = match &self.server {
            Server::Docker(registry) => registry.host().to_owned(),
            Server::StandIn(registry) => registry.host(),
        };
        let output = Command::new("skopeo")
            .args(["inspect", "--raw", "--tls-verify=false", &format!("docker://{host}/{path}:{tag}")])
            .output()
            .expect("skopeo is installed");
        assert!(output.status.success(), "skopeo: {}", String::from_utf8_lossy(&output.stderr));
        Digest::sha256(&output.stdout).to_string()
    }

    /// Checks that every manifest and blob of some content is there, byte for byte.
    pub(crate) fn has_all_of(&self, content: &Content, path: &str) {
        let client = self.client();
        for document in content.documents() {
            let there =
                client.manifest(path, &document.digest).unwrap_or_else(|| panic!("{} is not there", document.digest));
            assert_eq!(there.bytes, document.bytes);
            assert_eq!(there.media_type, document.media_type);
        }
        for (digest, bytes) in content.blobs() {
            assert_eq!(client.blob(path, digest).as_ref(), Some(bytes), "{digest}");
        }
    }
}

/// The habits of a sound registry, but for what is changed.
pub(crate) fn habits(change: impl FnOnce(&mut Settings)) -> Settings {
    let mut settings = Settings::default();
    change(&mut settings);
    settings
}

pub(crate) fn repository(host: &str, path: &str) -> Repository {
    format!("{host}/{path}").parse().unwrap()
}

pub(crate) fn digest(content: &Content) -> Digest {
    content.digest().parse().unwrap()
}

pub(crate) fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

/// Retries at once, and not often.
pub(crate) fn impatient() -> RetryPolicy {
    RetryPolicy { attempts: 3, initial: Duration::from_millis(5), factor: 1.0, max: Duration::from_millis(5) }
}

pub(crate) fn options() -> Options {
    Options { retry: impatient(), ..Options::default() }
}

/// A client that nobody knows.
pub(crate) fn anonymous() -> Registries {
    Registries::new(options())
}

/// A client with a login.
pub(crate) fn known(host: &str, username: &str, password: &str) -> Registries {
    let credentials = Credentials::anonymous().with_login(host, username, password.into());
    Registries::new(Options { credentials, ..options() })
}

/// Content only, without what is attached.
pub(crate) const BARE: CopyOptions = CopyOptions { attached: false };

pub(crate) fn counted(traffic: &Traffic, class: Class) -> u64 {
    traffic.requests.get(class.name()).copied().unwrap_or(0)
}

/// That what was counted is what the proxies saw, and nothing else.
pub(crate) fn assert_all_counted(traffic: &Traffic, logs: &[&[Entry]]) {
    let seen: usize = logs.iter().map(|log| log.len()).sum();
    assert_eq!(traffic.total(), seen as u64, "{:?}\n{}", traffic.requests, lines(logs));
}

fn lines(logs: &[&[Entry]]) -> String {
    let all = logs.iter().flat_map(|log| log.iter());
    all.map(|entry| format!("{:?} {} {}\n", entry.status, entry.method, entry.target)).collect()
}
