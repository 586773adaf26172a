//! Events of PagerDuty (Events API v2).

use async_trait::async_trait;
use reqwest::Client;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};
use url::Url;

use super::call::{call, post};
use super::{Channel, Letter, Receipt, Refused};
use crate::promotion::fault::Severity;
use crate::promotion::untrusted::line;

/// PagerDuty's API.
pub(super) const API: &str = "https://events.pagerduty.com/";

/// The longest summary and deduplication key: 1,024 and 255 characters (PagerDuty docs, "Send an alert event"), with
/// room for what a text is made harmless with.
const SUMMARY: usize = 1000;
const KEY: usize = 255;

/// The longest detail. An event has 512 KB at the most.
const DETAIL: usize = 4000;

/// A service of PagerDuty.
#[derive(Debug)]
pub(super) struct Pagerduty {
    pub(super) client: Client,
    pub(super) api: Url,
    pub(super) key: SecretString,
}

#[async_trait]
impl Channel for Pagerduty {
    async fn send(&self, letter: &Letter) -> Result<Receipt, Refused> {
        let url = self.api.join("v2/enqueue").map_err(|_| Refused::finally("the API's address cannot be used"))?;
        let mut json = event(letter);
        json["routing_key"] = Value::from(self.key.expose_secret().trim());
        call(&self.client, post(url, &json), &[&self.key]).await?;
        Ok(Receipt::sent())
    }
}

/// The event, without its routing key. One environment is one incident: what is good ends it.
pub(super) fn event(letter: &Letter) -> Value {
    let message = &letter.message;
    let key: String = format!("tidegate/{}", message.subject).chars().take(KEY).collect();
    if message.severity == Severity::Low {
        return json!({ "event_action": "resolve", "dedup_key": key });
    }
    let mut details: Map<String, Value> =
        message.facts.iter().map(|(name, value)| (line(name, 100), Value::from(line(value, DETAIL)))).collect();
    if !letter.text().is_empty() {
        details.insert("What happened".to_owned(), Value::from(line(letter.text(), DETAIL)));
    }
    let severity = match message.severity {
        Severity::Critical => "critical",
        Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low => "info",
    };
    json!({
        "event_action": "trigger",
        "dedup_key": key,
        "payload": {
            "summary": line(&message.title, SUMMARY),
            "source": line(&message.subject, 200),
            "severity": severity,
            "timestamp": message.at,
            "class": message.event.name(),
            "custom_details": details,
        },
        "links": message.links.iter().map(|(name, url)| json!({ "href": url, "text": line(name, 100) })).collect::<Vec<_>>(),
        "client": "Tidegate",
    })
}
