//! Mail by Brevo (API v3, "Send a transactional email").

use async_trait::async_trait;
use http::HeaderValue;
use reqwest::Client;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use url::Url;

use super::call::{call, post};
use super::mail::content;
use super::{Channel, Letter, Receipt, Refused};
use crate::config::Mail;

/// Brevo's API.
pub(super) const API: &str = "https://api.brevo.com/";

/// An account of Brevo, and who is written to.
#[derive(Debug)]
pub(super) struct Brevo {
    pub(super) client: Client,
    pub(super) api: Url,
    pub(super) key: SecretString,
    pub(super) mail: Mail,
}

#[async_trait]
impl Channel for Brevo {
    async fn send(&self, letter: &Letter) -> Result<Receipt, Refused> {
        let url = self.api.join("v3/smtp/email").map_err(|_| Refused::finally("the API's address cannot be used"))?;
        let mut request = post(url, &self.json(letter));
        let mut key = HeaderValue::from_str(self.key.expose_secret().trim())
            .map_err(|_| Refused::finally("the key cannot stand in a header"))?;
        key.set_sensitive(true);
        request.headers_mut().insert("api-key", key);
        call(&self.client, request, &[&self.key]).await?;
        // It is on its way; whether it arrives is told to the account's webhooks.
        Ok(Receipt::accepted())
    }
}

impl Brevo {
    fn json(&self, letter: &Letter) -> Value {
        let content = content(letter);
        let mut json = json!({
            "sender": json!({ "email": self.mail.from }),
            "to": addresses(&self.mail.to),
            "subject": content.subject,
            "htmlContent": content.html,
            "textContent": content.text,
            // The same in every attempt, so that it is sent once (Brevo docs, "Idempotency").
            "headers": { "idempotencyKey": letter.id() },
        });
        if !self.mail.cc.is_empty() {
            json["cc"] = addresses(&self.mail.cc);
        }
        json
    }
}

fn addresses(addresses: &[String]) -> Value {
    addresses.iter().map(|address| json!({ "email": address })).collect()
}
