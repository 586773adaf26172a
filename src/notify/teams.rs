//! A workflow's webhook of Teams, which is told an Adaptive Card.
//!
//! Text of others stands in text runs, which know no Markdown (Adaptive Cards, "TextRun"). The webhook answers 202 for
//! whatever it is given and drops later what is larger than 28 KiB, so that is looked at here.

use async_trait::async_trait;
use http::StatusCode;
use reqwest::Client;
use serde_json::{Value, json};

use super::call::{Address, call, post};
use super::message::{cut, mark};
use super::{Channel, Letter, Receipt, Refused};
use crate::config::NotifyEvent;
use crate::promotion::fault::Severity;
use crate::promotion::untrusted::line;

/// The largest message that arrives.
pub(super) const LARGEST: usize = 28 << 10;

/// The longest title, text, and fact, to begin with.
const LENGTHS: (usize, usize, usize) = (300, 4000, 600);

/// A workflow that posts what it is sent into a channel or a chat.
#[derive(Debug)]
pub(super) struct Teams {
    pub(super) client: Client,
    pub(super) address: Address,
}

#[async_trait]
impl Channel for Teams {
    async fn send(&self, letter: &Letter) -> Result<Receipt, Refused> {
        let request = post(self.address.url()?, &message(letter));
        let answer = call(&self.client, request, &[self.address.secret()]).await?;
        Ok(if answer.status == StatusCode::ACCEPTED { Receipt::accepted() } else { Receipt::sent() })
    }
}

/// The message with its card, cut until it arrives.
pub(super) fn message(letter: &Letter) -> Value {
    let (title, mut text, mut fact) = LENGTHS;
    loop {
        let message = sized(letter, title, text, fact);
        if message.to_string().len() <= LARGEST || fact == 0 {
            return message;
        }
        (text, fact) = (text / 2, fact / 2);
    }
}

fn sized(letter: &Letter, title: usize, text: usize, fact: usize) -> Value {
    let told = &letter.message;
    let headline = format!("{} {}", mark(told.event), run(&told.title, title));
    let mut body = vec![json!({
        "type": "RichTextBlock",
        "inlines": [{ "type": "TextRun", "text": headline, "weight": "Bolder", "size": "Medium", "color": color(told.event) }],
    })];
    let said = cut(letter.text(), text.max(1));
    body.extend(said.lines().map(|said| rich(vec![json!({ "type": "TextRun", "text": run(said, text) })])));
    for (name, value) in told.facts.iter().filter(|(_, value)| !value.is_empty()).take(if fact == 0 { 0 } else { 25 }) {
        body.push(rich(vec![
            json!({ "type": "TextRun", "text": format!("{}: ", run(name, fact)), "weight": "Bolder" }),
            json!({ "type": "TextRun", "text": run(value, fact) }),
        ]));
    }
    let actions: Vec<Value> = told
        .links
        .iter()
        .filter(|(_, url)| url.len() <= 2000)
        .take(5)
        .map(|(name, url)| json!({ "type": "Action.OpenUrl", "title": run(name, 60), "url": url }))
        .collect();
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "fallbackText": run(&told.title, 300),
                "body": body,
                "actions": actions,
            },
        }],
    })
}

fn rich(inlines: Vec<Value>) -> Value {
    json!({ "type": "RichTextBlock", "spacing": "Small", "inlines": inlines })
}

/// One line, in which `{{DATE(…)}}` and templates mean nothing.
fn run(text: &str, max: usize) -> String {
    line(text, max).replace("{{", "{\u{200b}{").replace("${", "$\u{200b}{")
}

const fn color(event: NotifyEvent) -> &'static str {
    match event.severity() {
        Severity::Critical | Severity::High => "Attention",
        Severity::Medium => "Warning",
        Severity::Low => "Default",
    }
}
