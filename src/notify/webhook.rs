//! A webhook of anybody's, signed.

use async_trait::async_trait;
use chrono::Utc;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderName, HeaderValue};
use indexmap::IndexMap;
use reqwest::Client;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};
use sha2::Sha256;

use super::call::{Address, call, post};
use super::{Channel, Letter, Receipt, Refused};
use crate::config::Template;

/// The version of what is sent; it grows when a field changes its meaning or goes.
const SCHEMA: u32 = 1;

/// The longest text of others in one field.
const FIELD: usize = 4000;

/// A header's value.
#[derive(Debug)]
pub(super) enum Header {
    Template(Template),
    Secret(SecretString),
}

/// An address that takes JSON.
#[derive(Debug)]
pub(super) struct Webhook {
    pub(super) client: Client,
    pub(super) address: Address,
    pub(super) hmac: Option<SecretString>,
    pub(super) headers: IndexMap<String, Header>,
}

#[async_trait]
impl Channel for Webhook {
    async fn send(&self, letter: &Letter) -> Result<Receipt, Refused> {
        let json = body(letter);
        let mut request = post(self.address.url()?, &json);
        self.fill(request.headers_mut(), letter)?;
        let mut secrets = vec![self.address.secret()];
        secrets.extend(self.hmac.as_ref());
        if let Some(key) = &self.hmac {
            let at = Utc::now().timestamp();
            let signature = signature(key, at, json.to_string().as_bytes());
            let header = HeaderValue::from_str(&format!("t={at},v1={signature}"))
                .map_err(|_| Refused::finally("the signature cannot stand in a header"))?;
            request.headers_mut().insert("x-tidegate-signature", header);
        }
        call(&self.client, request, &secrets).await?;
        Ok(Receipt::sent())
    }
}

impl Webhook {
    fn fill(&self, headers: &mut HeaderMap, letter: &Letter) -> Result<(), Refused> {
        for (name, value) in &self.headers {
            let unusable = || Refused::finally(format!("the header `{name}` cannot be sent"));
            let (text, sensitive) = match value {
                Header::Template(template) => {
                    let text = template.render(&letter.message.values);
                    (text.map_err(|error| Refused::finally(error.to_string()))?, false)
                }
                Header::Secret(secret) => (secret.expose_secret().to_owned(), true),
            };
            let mut value = HeaderValue::from_str(text.trim()).map_err(|_| unusable())?;
            value.set_sensitive(sensitive);
            headers.insert(HeaderName::from_bytes(name.as_bytes()).map_err(|_| unusable())?, value);
        }
        let delivery = HeaderValue::from_str(&letter.id()).map_err(|_| Refused::finally("the message has no id"))?;
        headers.insert("x-tidegate-delivery", delivery);
        headers.insert("x-tidegate-event", HeaderValue::from_static(letter.message.event.name()));
        Ok(())
    }
}

/// The signature of a body: HMAC-SHA-256 over `{seconds}.{body}`, in hexadecimal.
pub(super) fn signature(key: &SecretString, at: i64, body: &[u8]) -> String {
    // HMAC takes keys of any length (RFC 2104, 2).
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.expose_secret().trim().as_bytes()) else {
        return String::new();
    };
    mac.update(at.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}

/// What is sent. Texts are as they were seen: whoever shows them has to neutralise them for where they are shown.
pub(super) fn body(letter: &Letter) -> Value {
    let message = &letter.message;
    let cut = |text: &str| text.chars().take(FIELD).collect::<String>();
    let facts: Map<String, Value> =
        message.facts.iter().map(|(name, value)| (cut(name), Value::from(cut(value)))).collect();
    let mut values = message.values.clone();
    values.remove("message");
    json!({
        "schema": SCHEMA,
        "event": message.event.name(),
        "severity": message.severity.name(),
        "title": cut(&message.title),
        "text": cut(letter.text()),
        "at": message.at,
        "deployment_id": message.run,
        "facts": facts,
        "links": message.links.iter().map(|(name, url)| json!({ "name": name, "url": url })).collect::<Vec<_>>(),
        "values": values,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_what_others_compute() {
        // printf '%s' '1732185300.{"a":1}' | openssl dgst -sha256 -hmac key
        let signed = signature(&SecretString::from("key"), 1_732_185_300, br#"{"a":1}"#);
        assert_eq!(signed, "ae7a7da306fb613c631053928ff37dfa4aee843d072e2e23d015920472005981");
    }
}
