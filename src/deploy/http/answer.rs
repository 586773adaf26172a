//! What an answer of a deployment API says. All of it is untrusted.

use bytes::Bytes;
use serde_json::Value;

use crate::config::Pointer;
use crate::promotion::untrusted::line;

/// How much of a text of an answer is kept.
const TEXT: usize = 1000;

/// How much of an answer is quoted.
const EXCERPT: usize = 300;

/// An answer that was accepted.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    media_type: String,
    body: Bytes,
    json: Option<Value>,
}

impl Answer {
    pub(super) fn new(status: u16, media_type: &str, body: Bytes) -> Self {
        let json = serde_json::from_slice(&body).ok();
        Self { status, media_type: media_type.to_ascii_lowercase(), body, json }
    }

    pub(super) const fn is_json(&self) -> bool {
        self.json.is_some()
    }

    /// Whether it is a page for people: a login, a proxy, somebody else.
    pub(super) fn is_a_page(&self) -> bool {
        let begins = self.body.trim_ascii_start();
        let html = |tag: &[u8]| begins.len() >= tag.len() && begins[..tag.len()].eq_ignore_ascii_case(tag);
        self.media_type.contains("html") || html(b"<!doctype html") || html(b"<html")
    }

    /// A member of the answer that has a value.
    pub(super) fn member(&self, name: &str) -> Option<&Value> {
        self.json.as_ref()?.get(name).filter(|value| !value.is_null())
    }

    /// The text, number or truth at a pointer.
    pub(super) fn text_at(&self, pointer: &Pointer) -> Option<String> {
        text(self.json.as_ref()?.pointer(pointer.as_str())?)
    }

    /// What an answer that was accepted says of an error all the same: a member `error` or `errors` with something in it.
    pub(super) fn own_error(&self) -> Option<String> {
        let object = self.json.as_ref()?.as_object()?;
        let error = ["error", "errors"].into_iter().find_map(|name| object.get(name))?;
        let said = match error {
            Value::Null | Value::Bool(false) => false,
            Value::String(text) => !text.is_empty(),
            Value::Array(items) => !items.is_empty(),
            Value::Object(members) => !members.is_empty(),
            Value::Number(number) => number.as_f64() != Some(0.0),
            Value::Bool(true) => true,
        };
        said.then(|| text(error).unwrap_or_else(|| line(&error.to_string(), EXCERPT)))
    }

    /// Its beginning, in one line.
    pub(super) fn excerpt(&self) -> String {
        let beginning = String::from_utf8_lossy(&self.body[..self.body.len().min(4 * EXCERPT)]).into_owned();
        if beginning.trim().is_empty() { "(nothing)".to_owned() } else { line(&beginning, EXCERPT) }
    }
}

/// A value that a person would read as one text.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.chars().take(TEXT).collect()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &str) -> Answer {
        Answer::new(200, "application/json", Bytes::copy_from_slice(body.as_bytes()))
    }

    #[test]
    fn an_error_inside_a_success_is_seen() {
        for (body, error) in [
            (r#"{"error":"no such site"}"#, Some("no such site")),
            (r#"{"errors":[{"code":1}]}"#, Some(r#"[{"code":1}]"#)),
            (r#"{"error":true}"#, Some("true")),
            (r#"{"error":null,"id":1}"#, None),
            (r#"{"error":"","errors":[]}"#, None),
            (r#"{"error":false}"#, None),
            (r#"{"error":0}"#, None),
            ("[]", None),
            ("not json", None),
        ] {
            assert_eq!(answer(body).own_error().as_deref(), error, "{body}");
        }
    }

    #[test]
    fn a_page_is_no_answer() {
        assert!(answer("  <!DOCTYPE html><title>Log in</title>").is_a_page());
        assert!(Answer::new(200, "text/html; charset=utf-8", Bytes::new()).is_a_page());
        assert!(!answer("{}").is_a_page() && !answer("").is_a_page());
        assert_eq!(answer(" \n").excerpt(), "(nothing)");
    }
}
