//! The wait that the other side asks for.

use std::time::Duration;

use chrono::{DateTime, Utc};
use http::header::{HeaderMap, RETRY_AFTER};

/// The wait that an answer's `Retry-After` asks for.
#[must_use]
pub fn asked(headers: &HeaderMap) -> Option<Duration> {
    header(headers.get(RETRY_AFTER)?.to_str().ok()?, Utc::now())
}

/// The value of `Retry-After`: seconds or a date (RFC 9110, 10.2.3), or, as some registries write it, a Go duration.
#[must_use]
pub fn header(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    if let Some(duration) = go_duration(text) {
        return Some(duration);
    }
    let date = DateTime::parse_from_rfc2822(text).ok()?;
    Some((date.with_timezone(&Utc) - now).to_std().unwrap_or(Duration::ZERO))
}

/// Reads a duration as Go's `time.Duration.String` writes it, e.g. `12.5ms` or `1m30s`.
#[must_use]
pub fn go_duration(text: &str) -> Option<Duration> {
    let mut seconds = 0.0;
    let mut rest = text;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let (number, tail) = rest.split_at(number_end);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let factor = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * factor;
        rest = tail;
    }
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_retry_after_is_read() {
        let now = DateTime::parse_from_rfc3339("2026-01-02T03:04:05Z").unwrap().with_timezone(&Utc);
        for (text, wait) in [
            ("120", Some(120.0)),
            (" 0 ", Some(0.0)),
            ("Fri, 02 Jan 2026 03:05:05 GMT", Some(60.0)),
            ("Fri, 02 Jan 2026 03:00:00 GMT", Some(0.0)),
            ("12.5ms", Some(0.0125)),
            ("soon", None),
            ("-1", None),
            ("", None),
        ] {
            assert_eq!(header(text, now).map(|wait| wait.as_secs_f64()), wait, "{text}");
        }
    }
}
