//! GitHub's rate limits: what an answer says about them.
//!
//! There are two. The *primary* one counts requests per hour (1,000 for a job's token, shared by all jobs of the
//! repository); the *secondary* ones watch for bursts. Both answer 403 or 429, and 403 is also what a missing permission
//! looks like (GitHub docs, "Rate limits for the REST API" and "Best practices for using the REST API").

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use http::{HeaderMap, StatusCode};

/// The least wait after a secondary limit that does not say how long it lasts (GitHub docs, "Best practices": "wait for
/// at least one minute").
const SECONDARY_LEAST: Duration = Duration::from_secs(60);

/// The most that such a wait grows to.
const SECONDARY_MOST: Duration = Duration::from_secs(15 * 60);

/// What is added to the time at which the primary limit ends, so that it has ended everywhere.
const AFTER_RESET: Duration = Duration::from_secs(2);

/// A rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// So many requests an hour.
    Primary,
    /// Too many at once, or too many that create something.
    Secondary,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Primary => "primary",
            Self::Secondary => "secondary",
        })
    }
}

/// A request that was not carried out because of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Throttle {
    /// Which limit.
    pub(super) limit: Limit,
    /// How long to wait.
    pub(super) wait: Duration,
}

/// Whether an answer says that a limit is reached, and for how long. `before` is how often in a row it has said so
/// already, `now` our own clock, used where the answer has no `date`.
pub(super) fn throttle(
    status: StatusCode,
    headers: &HeaderMap,
    message: &str,
    before: u32,
    now: DateTime<Utc>,
) -> Option<Throttle> {
    if status != StatusCode::FORBIDDEN && status != StatusCode::TOO_MANY_REQUESTS {
        return None;
    }
    let now = text(headers, "date").and_then(http_date).unwrap_or(now);
    let says_so = status == StatusCode::TOO_MANY_REQUESTS || message.to_ascii_lowercase().contains("rate limit");
    if let Some(wait) = text(headers, "retry-after").and_then(|text| retry_after(text, now)) {
        return Some(Throttle { limit: Limit::Secondary, wait });
    }
    if !says_so {
        return None;
    }
    if text(headers, "x-ratelimit-remaining") == Some("0")
        && let Some(reset) = text(headers, "x-ratelimit-reset").and_then(|text| text.parse().ok())
    {
        let seconds = u64::try_from(i64::saturating_sub(reset, now.timestamp())).unwrap_or(0);
        return Some(Throttle { limit: Limit::Primary, wait: Duration::from_secs(seconds) + AFTER_RESET });
    }
    let wait = SECONDARY_LEAST.saturating_mul(2_u32.saturating_pow(before)).min(SECONDARY_MOST);
    Some(Throttle { limit: Limit::Secondary, wait })
}

/// `Retry-After` in seconds or as a date (RFC 9110, section 10.2.3).
fn retry_after(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    Some((http_date(text)? - now).to_std().unwrap_or_default())
}

fn http_date(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc2822(text.trim()).ok().map(|date| date.to_utc())
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const NOW: i64 = 1_732_185_300; // Thu, 21 Nov 2024 10:35:00 GMT

    fn seen(status: u16, headers: &[(&str, &str)], message: &str, before: u32) -> Option<(Limit, u64)> {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap()))
            .collect();
        let now = DateTime::from_timestamp(NOW, 0).unwrap();
        throttle(StatusCode::from_u16(status).unwrap(), &headers, message, before, now)
            .map(|throttle| (throttle.limit, throttle.wait.as_secs()))
    }

    #[test]
    fn limits_are_told_from_permissions() {
        let empty: &[(&str, &str)] = &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1732185330")];
        let exceeded = "API rate limit exceeded for installation ID 1.";
        let secondary = "You have exceeded a secondary rate limit.";
        let table = [
            (403, &[][..], "Resource not accessible by integration", None),
            (403, empty, "Resource not accessible by integration", None),
            (404, empty, exceeded, None),
            (403, empty, exceeded, Some((Limit::Primary, 32))),
            (429, empty, "", Some((Limit::Primary, 32))),
            (403, &[("x-ratelimit-remaining", "12")], secondary, Some((Limit::Secondary, 60))),
            (429, &[], "", Some((Limit::Secondary, 60))),
            (403, &[("retry-after", "7")], secondary, Some((Limit::Secondary, 7))),
            (429, &[("retry-after", "Thu, 21 Nov 2024 10:35:09 GMT")], "", Some((Limit::Secondary, 9))),
            (429, &[("retry-after", "Thu, 21 Nov 2024 10:00:00 GMT")], "", Some((Limit::Secondary, 0))),
            (429, &[("retry-after", "soon")], "", Some((Limit::Secondary, 60))),
        ];
        for (status, headers, message, expected) in table {
            assert_eq!(seen(status, headers, message, 0), expected, "{status} {headers:?} {message}");
        }
    }

    #[test]
    fn the_time_is_the_servers() {
        let headers = [
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "1732185330"),
            ("date", "Thu, 21 Nov 2024 10:35:20 GMT"),
        ];
        assert_eq!(seen(429, &headers, "", 0), Some((Limit::Primary, 12)));
    }

    #[test]
    fn waits_of_no_stated_length_grow_and_end() {
        let waits: Vec<_> = (0..40).filter_map(|before| seen(429, &[], "", before)).map(|(_, wait)| wait).collect();
        assert_eq!(waits[..5], [60, 120, 240, 480, 900]);
        assert!(waits.len() == 40 && waits[5..].iter().all(|wait| *wait == 900));
    }
}
