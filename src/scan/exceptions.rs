//! The file with exceptions: vulnerabilities that somebody answers for, until a day.
//!
//! ```yaml
//! exceptions:
//!   - id: CVE-2019-1549
//!     package: openssl          # only in this package; default: in any
//!     reason: the affected function is not called
//!     owner: security@acme.test
//!     expires: 2027-03-31       # the last day on which it holds (UTC), or a time
//! ```

use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use serde::{Deserialize, Deserializer};

use super::{Unreadable, Vulnerability, document};

/// An exception.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exception {
    /// The vulnerability's identifier.
    #[serde(deserialize_with = "filled")]
    pub id: String,
    /// The package in which it is excepted; none for any.
    #[serde(default)]
    pub package: Option<String>,
    /// Why.
    #[serde(deserialize_with = "filled")]
    pub reason: String,
    /// Who answers for it.
    #[serde(deserialize_with = "filled")]
    pub owner: String,
    /// When it no longer holds.
    #[serde(deserialize_with = "end")]
    pub expires: DateTime<Utc>,
}

impl Exception {
    /// Whether it is about this vulnerability.
    #[must_use]
    pub fn covers(&self, vulnerability: &Vulnerability) -> bool {
        vulnerability.is_called(&self.id)
            && self.package.as_ref().is_none_or(|package| *package == vulnerability.package)
    }

    /// Whether its time is over.
    #[must_use]
    pub fn has_expired(&self, now: DateTime<Utc>) -> bool {
        now >= self.expires
    }
}

/// The most brackets that may be open at one place.
const MAX_OPEN: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    exceptions: Vec<Exception>,
}

/// Reads a file of exceptions, YAML or JSON.
///
/// # Errors
/// What is malformed, an exception without a reason, an owner or an end included.
pub fn read(bytes: &[u8]) -> Result<Vec<Exception>, Unreadable> {
    let text = document::text(bytes)?;
    let malformed = |why: String| Unreadable::Malformed { format: "a list of exceptions", why };
    if is_deep(&text) {
        return Err(malformed("it is nested too deeply".to_owned()));
    }
    let document = serde_yaml::from_str::<Document>(&text).map_err(|error| malformed(error.to_string()))?;
    Ok(document.exceptions)
}

/// Whether more brackets are open somewhere than any list of exceptions has. The time that YAML takes grows with the square
/// of them, before anything is there that could be counted.
fn is_deep(text: &str) -> bool {
    let mut open = 0_usize;
    text.bytes().any(|byte| {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        open > MAX_OPEN
    })
}

fn filled<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.trim().is_empty() { Err(serde::de::Error::custom("an empty text")) } else { Ok(text.trim().to_owned()) }
}

fn end<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if let Ok(time) = DateTime::parse_from_rfc3339(&text) {
        return Ok(time.with_timezone(&Utc));
    }
    let day = text.parse::<NaiveDate>().ok().and_then(|day| day.checked_add_days(Days::new(1)));
    let end = day.map(|day| day.and_time(NaiveTime::MIN).and_utc());
    end.ok_or_else(|| serde::de::Error::custom(format!("`{text}` is no day, e.g. `2027-03-31`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_says_what_why_who_and_until_when() {
        let one = |more: &str| read(format!("exceptions:\n- {{ id: CVE-1, reason: r, {more} }}").as_bytes());
        let good = &one("owner: o, expires: 2027-03-31").unwrap()[0];
        assert!(!good.has_expired("2027-03-31T23:59:59Z".parse().unwrap()));
        assert!(good.has_expired("2027-04-01T00:00:00Z".parse().unwrap()));
        assert!(one(r#"owner: o, expires: "2027-03-31T10:00:00+02:00""#).is_ok());
        for more in [
            "expires: 2027-03-31",
            "owner: o",
            "owner: '', expires: 2027-03-31",
            "owner: o, expires: soon",
            "owner: o, expires: 2027-02-30",
            "owner: o, expires: 2027-03-31, until: 2028-01-01",
        ] {
            assert!(one(more).is_err(), "{more}");
        }
        assert!(read(b"[]").is_err() && read(b"").is_err() && read(b"exceptions: {}").is_err());
    }
}
