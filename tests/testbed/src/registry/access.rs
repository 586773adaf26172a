//! Who may do what: Basic, or docker's token flow with opaque tokens.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};
use serde_json::{Value, json};

use super::error::Error;
use super::settings::{Settings, TokenField};
use crate::fault::glob;
use crate::random;

/// How callers are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Everybody may do everything.
    None,
    /// A user's name and password with every request.
    Basic,
    /// docker's token flow (distribution, "Token Authentication Specification"): a challenge names the token endpoint,
    /// which gives opaque tokens for scopes. It knows GET only, as GHCR's does.
    Token,
    /// Everybody may do everything, but a request with an `Authorization` header is refused with 400, as storage
    /// services refuse it whose addresses are signed.
    SignedAddresses,
}

/// A user, and what he or she may do.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) password: String,
    /// Patterns of repositories, and the actions on them.
    pub(crate) grants: Vec<(String, Vec<String>)>,
}

impl User {
    /// A user with grants as `(pattern of repositories, actions separated by commas)`.
    pub(crate) fn new(name: &str, password: &str, grants: &[(&str, &str)]) -> Self {
        let grants = grants
            .iter()
            .map(|(pattern, actions)| ((*pattern).to_owned(), actions.split(',').map(str::to_owned).collect()))
            .collect();
        Self { name: name.into(), password: password.into(), grants }
    }

    /// Whether the user may do this.
    pub(crate) fn may(&self, repository: &str, action: &str) -> bool {
        self.grants
            .iter()
            .any(|(pattern, actions)| glob(pattern, repository) && actions.iter().any(|one| one == action))
    }
}

/// Actions on a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) repository: String,
    pub(crate) actions: Vec<String>,
}

impl Scope {
    /// Reads `repository:<name>:<action>,<action>`, several of them separated by spaces; other types are left out.
    pub(crate) fn parse_all(text: &str) -> impl Iterator<Item = Self> + '_ {
        text.split(' ').filter_map(|scope| {
            let (name, actions) = scope.strip_prefix("repository:")?.rsplit_once(':')?;
            Some(Self { repository: name.to_owned(), actions: actions.split(',').map(str::to_owned).collect() })
        })
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "repository:{}:{}", self.repository, self.actions.join(","))
    }
}

struct Token {
    user: Option<String>,
    scopes: Vec<Scope>,
    expires: Instant,
    uses: Option<u32>,
}

/// The users and the tokens given to them.
pub(super) struct Access {
    auth: Auth,
    users: Vec<User>,
    tokens: Mutex<HashMap<String, Token>>,
}

/// What the token endpoint calls the registry.
const SERVICE: &str = "testbed";

impl Access {
    pub(super) fn new(auth: Auth, users: Vec<User>) -> Self {
        Self { auth, users, tokens: Mutex::default() }
    }

    /// Makes every token given so far invalid.
    pub(super) fn expire_tokens(&self) {
        self.tokens().clear();
    }

    /// Decides whether a request may be carried out; the user's name where there is one.
    pub(super) fn authorize(
        &self,
        settings: &Settings,
        base: &str,
        headers: &HeaderMap,
        needed: &[Scope],
    ) -> Result<Option<String>, Error> {
        match self.auth {
            Auth::None => Ok(None),
            Auth::Basic => self.authorize_basic(settings, headers, needed),
            Auth::Token => self.authorize_token(settings, base, headers, needed),
            Auth::SignedAddresses if headers.contains_key(header::AUTHORIZATION) => {
                Err(Error::bad_request("only one authentication mechanism is allowed"))
            }
            Auth::SignedAddresses => Ok(None),
        }
    }

    fn authorize_basic(
        &self,
        settings: &Settings,
        headers: &HeaderMap,
        needed: &[Scope],
    ) -> Result<Option<String>, Error> {
        let challenge = || Error::unauthorized("Basic realm=\"testbed\"");
        let only_pull = needed.iter().all(|scope| scope.actions == ["pull"]);
        let Some((name, password)) = basic(headers) else {
            return if settings.anonymous_pull && only_pull { Ok(None) } else { Err(challenge()) };
        };
        let user = self.user(settings, &name, &password).ok_or_else(challenge)?;
        let allowed = |scope: &Scope| scope.actions.iter().all(|action| user.may(&scope.repository, action));
        if needed.iter().all(allowed) { Ok(Some(name)) } else { Err(Error::denied("requested access is denied")) }
    }

    fn authorize_token(
        &self,
        settings: &Settings,
        base: &str,
        headers: &HeaderMap,
        needed: &[Scope],
    ) -> Result<Option<String>, Error> {
        let scopes: Vec<String> = needed.iter().map(ToString::to_string).collect();
        let challenge = |error: Option<&str>| {
            let mut challenge = format!("Bearer realm=\"{base}/token\",service=\"{SERVICE}\"");
            if !scopes.is_empty() {
                challenge.push_str(&format!(",scope=\"{}\"", scopes.join(" ")));
            }
            if let Some(error) = error {
                challenge.push_str(&format!(",error=\"{error}\""));
            }
            Error::unauthorized(&challenge)
        };
        let given = credentials(headers, "bearer").ok_or_else(|| challenge(None))?;
        let mut tokens = self.tokens();
        let token = tokens.get_mut(&given).ok_or_else(|| challenge(Some("invalid_token")))?;
        if token.expires <= Instant::now() || token.uses == Some(0) {
            tokens.remove(&given);
            return Err(challenge(Some("invalid_token")));
        }
        token.uses = token.uses.map(|uses| uses - 1);
        let granted = |repository: &str, action: &String| {
            token.scopes.iter().any(|scope| scope.repository == repository && scope.actions.contains(action))
        };
        if needed.iter().all(|scope| scope.actions.iter().all(|action| granted(&scope.repository, action))) {
            return Ok(token.user.clone());
        }
        if settings.denies_what_is_missing {
            return Err(Error::denied("permission_denied: The token provided does not match expected scopes."));
        }
        Err(challenge(Some("insufficient_scope")))
    }

    /// Answers the token endpoint. `exists` says whether a repository is there: GHCR does not tell strangers.
    pub(super) fn token(
        &self,
        settings: &Settings,
        headers: &HeaderMap,
        query: &[(String, String)],
        exists: impl Fn(&str) -> bool,
    ) -> Result<(Value, Option<String>), Error> {
        if !query.iter().any(|(name, value)| name == "service" && value == SERVICE) {
            return Err(Error::bad_request("the parameter `service` is missing or names another service"));
        }
        let refused = || {
            if settings.denies_what_is_missing {
                Error::denied("denied")
            } else {
                Error::unauthorized("Basic realm=\"testbed\"")
            }
        };
        let given = headers.contains_key(header::AUTHORIZATION);
        let user = basic(headers).and_then(|(name, password)| self.user(settings, &name, &password));
        if user.is_none() && (given || !settings.anonymous_pull) {
            return Err(refused());
        }
        let may = |scope: &Scope, action: &String| match user {
            Some(user) => user.may(&scope.repository, action),
            None => action == "pull" && (!settings.denies_what_is_missing || exists(&scope.repository)),
        };
        let wanted: Vec<Scope> =
            query.iter().filter(|(name, _)| name == "scope").flat_map(|(_, value)| Scope::parse_all(value)).collect();
        let scopes: Vec<Scope> = wanted
            .iter()
            .map(|scope| Scope {
                repository: scope.repository.clone(),
                actions: scope.actions.iter().filter(|action| may(scope, action)).cloned().collect(),
            })
            .collect();
        if settings.denies_what_is_missing && scopes.iter().any(|scope| scope.actions.is_empty()) {
            return Err(refused());
        }
        let user = user.map(|user| user.name.clone());
        Ok((self.issue(settings, user.clone(), scopes), user))
    }

    fn issue(&self, settings: &Settings, user: Option<String>, scopes: Vec<Scope>) -> Value {
        let token = random::hex(24);
        let expires = Instant::now() + settings.token_lifetime;
        self.tokens().insert(token.clone(), Token { user, scopes, expires, uses: settings.token_uses });
        let mut answer = match settings.token_field {
            TokenField::Both => json!({"token": token, "access_token": token}),
            TokenField::Token => json!({"token": token}),
            TokenField::AccessToken => json!({"access_token": token}),
        };
        if settings.announce_expiry {
            answer["expires_in"] = settings.token_lifetime.as_secs().into();
            answer["issued_at"] = chrono::Utc::now().to_rfc3339().into();
        }
        answer
    }

    fn user(&self, settings: &Settings, name: &str, password: &str) -> Option<&User> {
        self.users.iter().find(|user| user.password == password && (settings.ignore_user_names || user.name == name))
    }

    fn tokens(&self) -> MutexGuard<'_, HashMap<String, Token>> {
        self.tokens.lock().expect("no thread panicked while it held the tokens")
    }
}

/// What follows the scheme in the `Authorization` header.
fn credentials(headers: &HeaderMap, scheme: &str) -> Option<String> {
    let (given, credentials) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    given.eq_ignore_ascii_case(scheme).then(|| credentials.to_owned())
}

/// The name and the password of a `Basic` header.
pub(crate) fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let decoded = STANDARD.decode(credentials(headers, "basic")?).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}
