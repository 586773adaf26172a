//! What is known about one registry while the program runs.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OnceCell;
use url::Url;

use super::address::{Scheme, Trust, is_loopback, leads_to_private};
use super::auth::{Scopes, Token};
use super::credentials::Credential;
use super::error::Trouble;
use super::limiter::Limiter;
use crate::promotion::image::Repository;

/// Who a registry wants us to be, as far as it has said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Greeting {
    /// Nothing was asked yet.
    Unknown,
    /// It answered without asking.
    Open,
    /// It wants a name and a password with every request.
    Basic,
    /// It wants tokens.
    Bearer { realm: Url, service: Option<String> },
}

/// One registry.
#[derive(Debug)]
pub(super) struct Host {
    /// The name under which references know it.
    pub(super) name: String,
    pub(super) trust: Trust,
    /// Admits requests.
    pub(super) limiter: Limiter,
    /// Held by the first request until its answer tells how the registry is spoken to.
    pub(super) contact: tokio::sync::Mutex<()>,
    /// Held while a token is fetched, so that everybody else waits for it instead of fetching one too.
    pub(super) fetching: tokio::sync::Mutex<()>,
    pub(super) credential: OnceCell<Option<Credential>>,
    scheme: Mutex<Option<Scheme>>,
    greeting: Mutex<Greeting>,
    tokens: Mutex<Vec<(Scopes, Arc<Token>)>>,
    private: OnceCell<bool>,
    without_referrers: AtomicBool,
    refused_mounts: Mutex<BTreeSet<(String, String)>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Host {
    pub(super) fn new(name: &str, insecure: &BTreeSet<String>) -> Self {
        let trust = if is_loopback(name) {
            Trust::Loopback
        } else if insecure.contains(name) {
            Trust::Insecure
        } else {
            Trust::Public
        };
        Self {
            name: name.to_owned(),
            trust,
            limiter: Limiter::new(),
            contact: tokio::sync::Mutex::const_new(()),
            fetching: tokio::sync::Mutex::const_new(()),
            credential: OnceCell::const_new(),
            scheme: Mutex::new(if trust == Trust::Public { Some(Scheme::Https) } else { None }),
            greeting: Mutex::new(Greeting::Unknown),
            tokens: Mutex::default(),
            private: OnceCell::const_new(),
            without_referrers: AtomicBool::new(false),
            refused_mounts: Mutex::default(),
        }
    }

    /// The address of the registry's interface, with a path below it.
    pub(super) fn url(&self, scheme: Scheme, path: &str) -> Result<Url, Trouble> {
        // Docker Hub's interface has a name of its own (docker/distribution `reference`, registry-1).
        let host = if self.name == "docker.io" { "registry-1.docker.io" } else { &self.name };
        let text = format!("{}://{host}/v2/{path}", scheme.name());
        Url::parse(&text).map_err(|error| Trouble::Nonsense { why: format!("{text} is no address: {error}") })
    }

    /// How it is spoken to, once that is known.
    pub(super) fn scheme(&self) -> Option<Scheme> {
        *lock(&self.scheme)
    }

    /// How it is spoken to, as far as that is known.
    pub(super) fn spoken(&self) -> Scheme {
        self.scheme().unwrap_or(Scheme::Https)
    }

    pub(super) fn settle_scheme(&self, scheme: Scheme) {
        *lock(&self.scheme) = Some(scheme);
    }

    pub(super) fn greeting(&self) -> Greeting {
        lock(&self.greeting).clone()
    }

    pub(super) fn settle_greeting(&self, greeting: Greeting) {
        *lock(&self.greeting) = greeting;
    }

    /// It answered without asking who we are; what it asked before counts more.
    pub(super) fn answered_openly(&self) {
        let mut greeting = lock(&self.greeting);
        if *greeting == Greeting::Unknown {
            *greeting = Greeting::Open;
        }
    }

    /// A fresh token that covers what is needed; the narrowest, for some servers grant less than was asked for.
    pub(super) fn token(&self, needs: &Scopes) -> Option<Arc<Token>> {
        let mut tokens = lock(&self.tokens);
        tokens.retain(|(_, token)| token.is_fresh());
        let covering = tokens.iter().filter(|(scopes, _)| scopes.cover(needs));
        covering.min_by_key(|(scopes, _)| scopes.names().count()).map(|(_, token)| Arc::clone(token))
    }

    pub(super) fn keep_token(&self, scopes: Scopes, token: &Arc<Token>) {
        let mut tokens = lock(&self.tokens);
        tokens.retain(|(known, _)| *known != scopes);
        tokens.push((scopes, Arc::clone(token)));
    }

    pub(super) fn drop_token(&self, refused: &Arc<Token>) {
        lock(&self.tokens).retain(|(_, token)| !Arc::ptr_eq(token, refused));
    }

    /// Whether it is in a private network, and may point to other places there.
    pub(super) async fn is_private(&self) -> bool {
        *self
            .private
            .get_or_init(|| async {
                match (self.trust, self.url(Scheme::Https, "")) {
                    (Trust::Loopback | Trust::Insecure, _) => true,
                    (Trust::Public, Ok(url)) => leads_to_private(&url).await,
                    (Trust::Public, Err(_)) => false,
                }
            })
            .await
    }

    /// Whether it has no referrers API.
    pub(super) fn is_without_referrers(&self) -> bool {
        self.without_referrers.load(Ordering::Relaxed)
    }

    pub(super) fn settle_without_referrers(&self) {
        self.without_referrers.store(true, Ordering::Relaxed);
    }

    /// Whether it refused to mount from one repository into the other.
    pub(super) fn refuses_mount(&self, from: &Repository, to: &Repository) -> bool {
        lock(&self.refused_mounts).contains(&(from.path().to_owned(), to.path().to_owned()))
    }

    pub(super) fn settle_refused_mount(&self, from: &Repository, to: &Repository) {
        lock(&self.refused_mounts).insert((from.path().to_owned(), to.path().to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_host_is_trusted_as_far_as_it_should_be() {
        let insecure = BTreeSet::from(["registry.lan:5000".to_owned()]);
        for (name, trust, schemes) in [
            ("ghcr.io", Trust::Public, &[Scheme::Https][..]),
            ("registry.lan:5001", Trust::Public, &[Scheme::Https]),
            ("10.0.0.1:5000", Trust::Public, &[Scheme::Https]),
            ("registry.lan:5000", Trust::Insecure, &[Scheme::Https, Scheme::Http]),
            ("127.0.0.1:5000", Trust::Loopback, &[Scheme::Http, Scheme::Https]),
        ] {
            let host = Host::new(name, &insecure);
            assert_eq!(host.trust, trust, "{name}");
            assert_eq!(host.trust.schemes(), schemes, "{name}");
        }
        let hub = Host::new("docker.io", &insecure).url(Scheme::Https, "library/nginx/tags/list").unwrap();
        assert_eq!(hub.as_str(), "https://registry-1.docker.io/v2/library/nginx/tags/list");
    }

    #[test]
    fn the_narrowest_token_that_covers_is_used() {
        let host = Host::new("ghcr.io", &BTreeSet::new());
        let repository = |path: &str| format!("ghcr.io/{path}").parse::<Repository>().unwrap();
        let (api, prod) = (repository("acme/api"), repository("acme/prod"));
        let wide = Arc::new(Token::lasting("wide".into()));
        let narrow = Arc::new(Token::lasting("narrow".into()));
        host.keep_token(Scopes::push(&prod).and(Scopes::pull(&api)), &wide);
        assert!(Arc::ptr_eq(&host.token(&Scopes::pull(&api)).unwrap(), &wide));
        host.keep_token(Scopes::pull(&api), &narrow);
        assert!(Arc::ptr_eq(&host.token(&Scopes::pull(&api)).unwrap(), &narrow));
        assert!(Arc::ptr_eq(&host.token(&Scopes::push(&prod)).unwrap(), &wide));
        assert!(host.token(&Scopes::push(&api)).is_none());
        host.drop_token(&wide);
        assert!(host.token(&Scopes::push(&prod)).is_none());
    }
}
