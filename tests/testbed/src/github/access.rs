//! Who may do what, and how often.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use http::{HeaderMap, header};
use serde_json::json;

use super::call::Reply;
use super::shape::DOCUMENTATION;
use super::world::World;

/// What a job's token may have at most.
pub(super) const OF_THE_JOB: [&str; 10] = [
    "actions",
    "artifact_metadata",
    "attestations",
    "checks",
    "contents",
    "deployments",
    "issues",
    "packages",
    "pull_requests",
    "statuses",
];

/// A permission, e.g. `("deployments", "write")`.
pub(super) type Needed = Option<(&'static str, &'static str)>;

/// A token.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) login: String,
    /// Whether it is a person's, who may ask for their own name.
    pub(super) of_person: bool,
    pub(super) permissions: BTreeMap<String, String>,
    /// Whether it may see private repositories.
    pub(super) sees_private: bool,
    pub(super) limit: u64,
    pub(super) remaining: u64,
    pub(super) resets_at: DateTime<Utc>,
    pub(super) expires_at: Option<DateTime<Utc>>,
}

impl Token {
    pub(super) fn may(&self, needed: Needed) -> bool {
        let Some((name, access)) = needed else { return true };
        match self.permissions.get(name).map(String::as_str) {
            Some("write") => true,
            Some("read") => access == "read",
            _ => false,
        }
    }
}

/// The token that a request carries.
pub(super) fn token_of(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    text.strip_prefix("Bearer ").or_else(|| text.strip_prefix("token "))
}

/// Counts a request, and refuses it if there have been too many, or the token is not good.
pub(super) fn admit(world: &mut World, headers: &HeaderMap) -> Result<Token, Reply> {
    let now = world.now();
    let Some(text) = token_of(headers) else {
        return Err(Reply::error(401, "Requires authentication"));
    };
    let Some(token) = world.tokens.get_mut(text).filter(|token| token.expires_at.is_none_or(|end| now < end)) else {
        return Err(Reply::error(401, "Bad credentials"));
    };
    if now >= token.resets_at {
        token.remaining = token.limit;
        token.resets_at = now + chrono::TimeDelta::hours(1);
    }
    if token.remaining == 0 {
        let message = format!("API rate limit exceeded for {}.", token.login);
        let body = json!({"message": message, "documentation_url": DOCUMENTATION});
        return Err(limits(token, Reply::json(403, body)));
    }
    token.remaining -= 1;
    Ok(token.clone())
}

/// Gives the request back that was counted: nothing changed since it was asked the last time.
pub(super) fn give_back(world: &mut World, headers: &HeaderMap) {
    if let Some(token) = token_of(headers).and_then(|text| world.tokens.get_mut(text)) {
        token.remaining += 1;
    }
}

/// The headers that say how much is left.
pub(super) fn limits(token: &Token, mut reply: Reply) -> Reply {
    for (name, value) in [
        ("x-ratelimit-limit", token.limit.to_string()),
        ("x-ratelimit-remaining", token.remaining.to_string()),
        ("x-ratelimit-used", (token.limit - token.remaining.min(token.limit)).to_string()),
        ("x-ratelimit-reset", token.resets_at.timestamp().to_string()),
        ("x-ratelimit-resource", "core".to_owned()),
    ] {
        reply = reply.header(name, &value);
    }
    reply
}

/// What GitHub says when a permission is missing.
pub(super) fn forbidden() -> Reply {
    Reply::error(403, "Resource not accessible by integration")
}
