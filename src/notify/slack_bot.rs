//! A bot of Slack: what belongs to one run is one thread, and its first message is kept up to date.

use std::time::Duration;

use async_trait::async_trait;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use reqwest::Client;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::blocks::blocks;
use super::call::{call, post};
use super::{Channel, Letter, Receipt, Refused};
use crate::http::retry_after;
use crate::promotion::event::Delivery;
use crate::promotion::retry::RetryClass;
use crate::promotion::untrusted::line;

/// Slack's API.
pub(super) const API: &str = "https://slack.com/api/";

/// A bot in a channel (scope `chat:write`).
#[derive(Debug)]
pub(super) struct SlackBot {
    pub(super) client: Client,
    pub(super) api: Url,
    pub(super) token: SecretString,
    pub(super) channel: String,
    pub(super) thread: bool,
    pub(super) update: bool,
}

/// What Slack answers, with status 200, whether or not it has done it.
#[derive(Debug, Deserialize)]
struct Said {
    ok: bool,
    #[serde(default)]
    error: String,
    #[serde(default)]
    channel: String,
    #[serde(default)]
    ts: String,
}

/// The place of a message: its channel's id and its time, which is its name there.
struct Place<'a> {
    channel: &'a str,
    ts: &'a str,
}

impl<'a> Place<'a> {
    fn read(reference: &'a str) -> Option<Self> {
        let (channel, ts) = reference.split_once(' ')?;
        Some(Self { channel, ts })
    }
}

#[async_trait]
impl Channel for SlackBot {
    async fn send(&self, letter: &Letter) -> Result<Receipt, Refused> {
        let content = blocks(letter);
        let Some(first) = letter.first.as_deref().and_then(Place::read) else {
            let said = self.ask("chat.postMessage", with(&content, &[("channel", &self.channel)])).await?;
            let keeps = self.thread || self.update;
            let reference = keeps.then(|| format!("{} {}", said.channel, said.ts));
            return Ok(Receipt { delivery: Delivery::Sent, reference });
        };
        if self.update {
            let changed = with(&content, &[("channel", first.channel), ("ts", first.ts)]);
            match self.ask("chat.update", changed).await {
                Ok(_) if !self.thread => return Ok(Receipt::sent()),
                Ok(_) => {}
                // Somebody has deleted it, or it is too old to be changed: what is new is told all the same.
                Err(refused) if refused.class == RetryClass::Final => {}
                Err(refused) => return Err(refused),
            }
        }
        let mut place = vec![("channel", first.channel)];
        if self.thread {
            place.push(("thread_ts", first.ts));
        }
        self.ask("chat.postMessage", with(&content, &place)).await?;
        Ok(Receipt::sent())
    }
}

impl SlackBot {
    /// Calls a method (Slack docs, "Using the Slack Web API").
    async fn ask(&self, method: &str, json: Value) -> Result<Said, Refused> {
        let url = self.api.join(method).map_err(|_| Refused::finally("the API's address cannot be used"))?;
        let mut request = post(url, &json);
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", self.token.expose_secret().trim()))
            .map_err(|_| Refused::finally("the token cannot stand in a header"))?;
        bearer.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, bearer);
        let answer = call(&self.client, request, &[&self.token]).await?;
        let said: Said = serde_json::from_slice(&answer.body)
            .map_err(|_| Refused::finally("its answer is not one of Slack's: is `api` the address of Slack's API?"))?;
        if said.ok {
            return Ok(said);
        }
        let why = format!("Slack says {}", line(&said.error, 100));
        let passing =
            ["ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"];
        let after = retry_after::asked(&answer.headers);
        let class = if passing.contains(&said.error.as_str()) {
            RetryClass::Passing { after: after.or(Some(Duration::from_secs(1))) }
        } else {
            RetryClass::Final
        };
        Err(Refused { why, class })
    }
}

/// A message with where it goes.
fn with(content: &Value, place: &[(&str, &str)]) -> Value {
    let mut all = content.clone();
    for (name, value) in place {
        all[*name] = json!(value);
    }
    // Addresses in the text are shown, and not fetched.
    all["unfurl_links"] = json!(false);
    all["unfurl_media"] = json!(false);
    all
}
