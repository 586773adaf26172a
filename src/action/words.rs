//! What the text of an input says.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use crate::config::{NotifyEvent, nearest};
use crate::promotion::event::Operation;
use crate::promotion::fault::Severity;

pub(super) fn parse<T: FromStr>(text: &str) -> Result<T, String>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| error.to_string())
}

pub(super) fn operation(text: &str) -> Result<Operation, String> {
    text.parse().map_err(|text: String| {
        let names: Vec<&str> = Operation::ALL.into_iter().map(Operation::name).collect();
        let hint = nearest(&text, &names).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
        format!("`{text}` is not an operation ({}){hint}", names.join(", "))
    })
}

/// YAML 1.2's core schema, as the toolkit's `getBooleanInput` reads it.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "true" | "True" | "TRUE" => Ok(true),
        "false" | "False" | "FALSE" => Ok(false),
        _ => Err(format!("`{text}` is neither `true` nor `false`")),
    }
}

pub(super) fn port(text: &str) -> Result<u16, String> {
    text.parse().ok().filter(|port| *port != 0).ok_or_else(|| format!("`{text}` is not a port"))
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text)
        .map_err(|error| format!("`{text}` is not a time ({error}); write e.g. `30m`"))?;
    if duration.is_zero() { Err("must be longer than nothing".to_owned()) } else { Ok(duration) }
}

/// A time ago, or a day or time in UTC.
pub(super) fn since(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(ago) = humantime::parse_duration(text) {
        let then = TimeDelta::from_std(ago).ok().and_then(|ago| Utc::now().checked_sub_signed(ago));
        return then.ok_or_else(|| format!("`{text}` is too long ago"));
    }
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().and_then(|day| day.and_hms_opt(0, 0, 0));
    day.map(|time| time.and_utc())
        .or_else(|| DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc()))
        .ok_or_else(|| format!("`{text}` is neither a time ago, e.g. `30d`, nor a day, e.g. `2026-11-01`"))
}

pub(super) fn event(text: &str) -> Result<NotifyEvent, String> {
    NotifyEvent::ALL.iter().copied().find(|event| event.name() == text).ok_or_else(|| {
        let names: Vec<&str> = NotifyEvent::ALL.iter().map(|event| event.name()).collect();
        let hint = nearest(text, &names).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
        format!("`{text}` is not an event ({}){hint}", names.join(", "))
    })
}

pub(super) fn severity(text: &str) -> Result<Severity, String> {
    let found = Severity::ALL.into_iter().find(|severity| severity.name() == text);
    found.ok_or_else(|| format!("`{text}` is not a severity (low, medium, high, critical)"))
}

pub(super) fn log_format(text: &str) -> Result<bool, String> {
    match text {
        "text" => Ok(false),
        "json" => Ok(true),
        _ => Err(format!("`{text}` is neither `text` nor `json`")),
    }
}

pub(super) fn items(text: &str) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    for item in text.split(['\n', ',']).map(str::trim).filter(|item| !item.is_empty()) {
        if !items.iter().any(|known| known == item) {
            items.push(item.to_owned());
        }
    }
    items
}

pub(super) fn pairs(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut pairs = BTreeMap::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once('=').ok_or_else(|| format!("`{line}` is not `name=value`"))?;
        let name = name.trim();
        let good = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !good {
            return Err(format!("`{name}` is not a name: letters, digits and `_`, a letter first"));
        }
        if pairs.insert(name.to_owned(), value.trim().to_owned()).is_some() {
            return Err(format!("`{name}` is given twice"));
        }
    }
    Ok(pairs)
}
