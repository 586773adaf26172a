//! How a registry learns who we are: its challenge, the scopes that a request needs, and tokens.
//!
//! The flow is Docker's (distribution `docs/content/spec/auth/token.md`, and `oauth.md` for identity tokens). Where the
//! credentials go is decided by [`realm`]: to the token server that the registry itself names, over TLS, wherever that
//! is, because no rule tells which host belongs to whom (Docker Hub's is another domain's); over plain HTTP only when the
//! registry itself is spoken to in plain HTTP. A redirect of a token server is not followed to another origin.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{HeaderMap, WWW_AUTHENTICATE};
use http_auth::ChallengeParser;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

use super::address::Scheme;
use super::error::Trouble;
use crate::promotion::image::Repository;

/// The lifetime of a token whose answer does not tell it (distribution `token.md`, "expires_in").
const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);

/// What a registry wants to know before it serves us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A user's name and password, with every request.
    Basic,
    /// A token from a token server.
    Bearer { realm: Url, service: Option<String>, scope: Option<String> },
}

impl Challenge {
    /// Reads the challenges of a 401; `Bearer` wins over `Basic`.
    pub(super) fn read(headers: &HeaderMap) -> Result<Self, Trouble> {
        let nonsense = |why: String| Trouble::Nonsense { why };
        let mut basic = false;
        let mut others = Vec::new();
        for value in headers.get_all(WWW_AUTHENTICATE) {
            let Ok(value) = value.to_str() else { continue };
            for challenge in ChallengeParser::new(value) {
                let Ok(challenge) = challenge else { break };
                let parameter = |name: &str| {
                    let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                    found.map(|(_, value)| value.to_unescaped())
                };
                if challenge.scheme.eq_ignore_ascii_case("bearer") {
                    let realm =
                        parameter("realm").ok_or_else(|| nonsense("a Bearer challenge without realm".into()))?;
                    let realm = Url::parse(&realm)
                        .map_err(|_| nonsense("a Bearer challenge whose realm is no address".into()))?;
                    return Ok(Self::Bearer { realm, service: parameter("service"), scope: parameter("scope") });
                } else if challenge.scheme.eq_ignore_ascii_case("basic") {
                    basic = true;
                } else {
                    others.push(challenge.scheme.to_owned());
                }
            }
        }
        if basic {
            return Ok(Self::Basic);
        }
        Err(if others.is_empty() {
            nonsense("401 without a challenge (WWW-Authenticate)".into())
        } else {
            let says = format!("it wants to be told who we are by {}, which is not known here", others.join(" or "));
            Trouble::CredentialsRefused { says }
        })
    }
}

/// Whether a token server may be spoken to, and given credentials, by a registry spoken to in `scheme`.
pub(super) fn realm(realm: &Url, scheme: Scheme) -> Result<(), Trouble> {
    let named = |why: &str| Err(Trouble::UnsafeTarget { why: format!("the token server {}: {why}", shown(realm)) });
    if !realm.username().is_empty() || realm.password().is_some() {
        return named("its address holds credentials");
    }
    match (realm.scheme(), scheme) {
        ("https", _) | ("http", Scheme::Http) => Ok(()),
        ("http", Scheme::Https) => named("credentials are not sent over plain HTTP"),
        _ => named("it is neither https nor http"),
    }
}

/// An address without its query, for messages: queries of storage addresses are signed and as good as a password.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string()
}

/// What requests need to be allowed to do: repositories of one registry, each for reading, or for reading and writing.
///
/// Repositories to write to come first, for some token servers read the first scope only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Scopes(Vec<(String, bool)>);

impl Scopes {
    /// Reading a repository.
    pub(super) fn pull(repository: &Repository) -> Self {
        Self(vec![(repository.path().to_owned(), false)])
    }

    /// Reading and writing a repository.
    pub(super) fn push(repository: &Repository) -> Self {
        Self(vec![(repository.path().to_owned(), true)])
    }

    /// Both together.
    pub(super) fn and(mut self, other: Self) -> Self {
        for (path, push) in other.0 {
            match self.0.iter_mut().find(|(known, _)| *known == path) {
                Some((_, known)) => *known |= push,
                None => self.0.push((path, push)),
            }
        }
        self.0.sort_by(|(a, a_push), (b, b_push)| b_push.cmp(a_push).then_with(|| a.cmp(b)));
        self
    }

    /// Whether all of `needed` is among these.
    pub(super) fn cover(&self, needed: &Self) -> bool {
        needed.0.iter().all(|(path, push)| self.0.iter().any(|(known, may)| known == path && (*may || !push)))
    }

    /// As a token server is asked.
    pub(super) fn names(&self) -> impl Iterator<Item = String> + '_ {
        self.0.iter().map(|(path, push)| format!("repository:{path}:{}", if *push { "pull,push" } else { "pull" }))
    }

    /// Whether something is to be written.
    pub(super) fn write(&self) -> bool {
        self.0.iter().any(|(_, push)| *push)
    }
}

/// A token, and until when it is used.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) secret: SecretString,
    expires: Instant,
}

impl Token {
    /// A token that does not end.
    pub(super) fn lasting(secret: SecretString) -> Self {
        // A century is far enough, and no clock overflows.
        Self { secret, expires: Instant::now() + Duration::from_secs(100 * 365 * 24 * 3600) }
    }

    /// Reads a token server's answer to a request that was sent at `asked`.
    pub(super) fn read(body: &[u8], asked: Instant) -> Result<Self, Trouble> {
        #[derive(Deserialize)]
        struct Answer {
            token: Option<SecretString>,
            access_token: Option<SecretString>,
            expires_in: Option<f64>,
        }
        // The parser's message could quote the token.
        let answer: Answer = serde_json::from_slice(body)
            .map_err(|_| Trouble::Nonsense { why: "the token server's answer is not a token".to_owned() })?;
        let given = |secret: &SecretString| !secret.expose_secret().is_empty();
        let secret = (answer.token.filter(given))
            .or_else(|| answer.access_token.filter(given))
            .ok_or_else(|| Trouble::Nonsense { why: "the token server's answer holds no token".to_owned() })?;
        let lifetime = answer
            .expires_in
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .filter(|lifetime| !lifetime.is_zero())
            .unwrap_or(DEFAULT_LIFETIME)
            .min(Duration::from_secs(24 * 3600));
        Ok(Self { secret, expires: asked + lifetime - margin(lifetime) })
    }

    /// Whether it can still be used for a request that is sent now.
    pub(super) fn is_fresh(&self) -> bool {
        Instant::now() < self.expires
    }
}

/// How long before its end a token is replaced: clocks differ, and requests take time.
fn margin(lifetime: Duration) -> Duration {
    (lifetime / 10).min(Duration::from_secs(30))
}

/// The header of a Basic authentication (RFC 7617).
pub(super) fn basic(username: &str, password: &SecretString) -> SecretString {
    let pair = SecretString::from(format!("{username}:{}", password.expose_secret()));
    SecretString::from(format!("Basic {}", STANDARD.encode(pair.expose_secret())))
}

/// The header of a Bearer authentication (RFC 6750).
pub(super) fn bearer(token: &SecretString) -> SecretString {
    SecretString::from(format!("Bearer {}", token.expose_secret()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(values: &[&str]) -> Result<Challenge, Trouble> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, value.parse().unwrap());
        }
        Challenge::read(&headers)
    }

    fn repository(path: &str) -> Repository {
        format!("registry.test/{path}").parse().unwrap()
    }

    #[test]
    fn challenges_are_read() {
        let ghcr = r#"Bearer realm="https://ghcr.io/token",service="ghcr.io",scope="repository:acme/api:pull""#;
        let Ok(Challenge::Bearer { realm, service, scope }) = challenge(&[ghcr]) else { panic!() };
        assert_eq!(realm.as_str(), "https://ghcr.io/token");
        assert_eq!((service.as_deref(), scope.as_deref()), (Some("ghcr.io"), Some("repository:acme/api:pull")));
        assert_eq!(challenge(&[r#"Basic realm="x""#]), Ok(Challenge::Basic));
        let joined = format!("Basic realm=\"x\", {ghcr}");
        for both in [&["Basic realm=\"x\"", ghcr][..], &[joined.as_str()][..]] {
            assert!(matches!(challenge(both), Ok(Challenge::Bearer { .. })), "{both:?}");
        }
        for bad in [&[][..], &["Bearer service=\"x\""], &["Bearer realm=\"not an address\""]] {
            assert!(matches!(challenge(bad), Err(Trouble::Nonsense { .. })), "{bad:?}");
        }
        assert!(matches!(challenge(&["Negotiate realm=\"x\""]), Err(Trouble::CredentialsRefused { .. })));
    }

    #[test]
    fn credentials_go_over_plain_http_only_where_the_registry_does() {
        let allowed = |url: &str, scheme| realm(&Url::parse(url).unwrap(), scheme).is_ok();
        assert!(allowed("https://auth.docker.io/token", Scheme::Https));
        assert!(allowed("https://auth.docker.io/token", Scheme::Http));
        assert!(allowed("http://127.0.0.1:5001/token", Scheme::Http));
        assert!(!allowed("http://auth.docker.io/token", Scheme::Https));
        assert!(!allowed("ftp://auth.docker.io/token", Scheme::Https));
        assert!(!allowed("https://user:pw@auth.docker.io/token", Scheme::Https));
    }

    #[test]
    fn what_is_written_to_comes_first() {
        let scopes = Scopes::pull(&repository("acme/api")).and(Scopes::push(&repository("acme/prod")));
        assert_eq!(scopes.names().collect::<Vec<_>>(), ["repository:acme/prod:pull,push", "repository:acme/api:pull"]);
        assert!(scopes.cover(&Scopes::pull(&repository("acme/prod"))));
        assert!(!scopes.cover(&Scopes::push(&repository("acme/api"))));
        assert!(!Scopes::pull(&repository("acme/prod")).cover(&Scopes::push(&repository("acme/prod"))));
        let same = Scopes::pull(&repository("acme/api")).and(Scopes::push(&repository("acme/api")));
        assert_eq!(same, Scopes::push(&repository("acme/api")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_used_as_long_as_it_says_and_not_longer() {
        let token = Token::read(br#"{"token":"x","expires_in":300}"#, Instant::now()).unwrap();
        tokio::time::advance(Duration::from_secs(269)).await;
        assert!(token.is_fresh());
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(!token.is_fresh());
        for (body, seconds) in [
            (r#"{"access_token":"x"}"#, 54),
            (r#"{"token":"x","expires_in":0}"#, 54),
            (r#"{"token":"x","expires_in":-5}"#, 54),
            (r#"{"token":"x","expires_in":1e300}"#, 54),
            (r#"{"token":"","access_token":"x","expires_in":10}"#, 9),
        ] {
            let token = Token::read(body.as_bytes(), Instant::now()).unwrap();
            tokio::time::advance(Duration::from_secs(seconds) - Duration::from_millis(1)).await;
            assert!(token.is_fresh(), "{body}");
            tokio::time::advance(Duration::from_secs(1)).await;
            assert!(!token.is_fresh(), "{body}");
        }
        for body in ["", "{}", "<html>", r#"{"token":5}"#] {
            assert!(matches!(Token::read(body.as_bytes(), Instant::now()), Err(Trouble::Nonsense { .. })), "{body}");
        }
    }

    #[test]
    fn no_secret_is_shown() {
        let token = Token::lasting("s3cret".into());
        assert!(!format!("{token:?}").contains("s3cret"));
        assert!(!format!("{:?}", basic("u", &"s3cret".into())).contains("s3cret"));
        let url = Url::parse("https://u:pw@storage.test/x?X-Amz-Signature=s3cret").unwrap();
        assert_eq!(shown(&url), "https://storage.test/x");
    }
}
