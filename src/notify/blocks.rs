//! A message as Slack's blocks.
//!
//! Everything that others wrote stands in plain text and rich text elements, which Slack shows as they are: no mention,
//! link or markup in them means anything. Limits are those of `@slack/types` 3.2.0, and the one on all blocks together,
//! which Slack does not document (`msg_blocks_too_long` beyond about 13,200 characters; slackapi/bolt-js#2509).

use serde_json::{Value, json};

use super::Letter;
use super::message::{cut, mark};
use crate::promotion::untrusted::line;

/// The longest header.
const HEADER: usize = 150;

/// The longest text that is shown where blocks are not: in notifications.
const FALLBACK: usize = 600;

/// The most that is said beside the title.
const TEXT: usize = 3000;

/// The longest name and value of a fact.
const FACT: (usize, usize) = (75, 400);

/// The longest address.
const LINK: usize = 1000;

/// The most characters of all blocks together.
const ALL: usize = 11_000;

/// The message, as `chat.postMessage` and incoming webhooks take it.
pub(super) fn blocks(letter: &Letter) -> Value {
    let message = &letter.message;
    // The mark and its space take two characters, or three where it has a variation selector.
    let title = line(&message.title, HEADER - 4);
    let headline = format!("{} {title}", mark(message.event));
    let text = cut(letter.text(), TEXT);
    let mut room = ALL - headline.chars().count() - text.chars().count();
    let mut blocks = vec![json!({ "type": "header", "text": { "type": "plain_text", "text": headline } })];
    if !text.is_empty() {
        blocks.push(rich(vec![json!({ "type": "text", "text": text })]));
    }
    let mut elements = Vec::new();
    for (name, value) in &message.facts {
        let (name, value) = (line(name, FACT.0), line(value, FACT.1));
        let length = name.chars().count() + value.chars().count() + 3;
        if value.is_empty() || length > room {
            continue;
        }
        room -= length;
        if !elements.is_empty() {
            elements.push(json!({ "type": "text", "text": "\n" }));
        }
        elements.push(json!({ "type": "text", "text": format!("{name}: "), "style": { "bold": true } }));
        elements.push(json!({ "type": "text", "text": value }));
    }
    for (name, url) in message.links.iter().filter(|(_, url)| url.len() <= LINK) {
        if !elements.is_empty() {
            elements.push(json!({ "type": "text", "text": "\n" }));
        }
        elements.push(json!({ "type": "link", "url": url, "text": line(name, FACT.0) }));
    }
    if !elements.is_empty() {
        blocks.push(rich(elements));
    }
    // This one is read as markup.
    let fallback = if text.is_empty() { headline } else { format!("{headline}: {}", line(&text, FALLBACK / 2)) };
    json!({ "text": escaped(&line(&fallback, FALLBACK)), "blocks": blocks })
}

fn rich(elements: Vec<Value>) -> Value {
    json!({ "type": "rich_text", "elements": [{ "type": "rich_text_section", "elements": elements }] })
}

/// Text in which Slack's own markup means nothing (Slack docs, "Formatting text": `&`, `<` and `>` are to be replaced).
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
