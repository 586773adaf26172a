//! How numbers and times are written for people.

use chrono::{DateTime, TimeDelta, Utc};

/// Bytes, in binary units.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// A span of time: milliseconds below a second, else as `humantime` writes whole seconds.
pub(super) fn span(from: DateTime<Utc>, to: DateTime<Utc>) -> String {
    let span = (to - from).max(TimeDelta::zero());
    if span < TimeDelta::seconds(1) {
        return format!("{} ms", span.num_milliseconds());
    }
    if span < TimeDelta::seconds(60) {
        let tenths = span.num_milliseconds() / 100;
        return format!("{}.{} s", tenths / 10, tenths % 10);
    }
    let seconds = u64::try_from(span.num_seconds()).unwrap_or_default();
    humantime::format_duration(std::time::Duration::from_secs(seconds)).to_string()
}

/// A time given in milliseconds.
pub(super) fn millis(count: u64) -> String {
    let start = DateTime::UNIX_EPOCH;
    span(start, start + TimeDelta::milliseconds(i64::try_from(count).unwrap_or(i64::MAX / 2)))
}

/// A point in time, to the second.
pub(super) fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(3 << 30), "3.0 GiB");
        let start = DateTime::from_timestamp(1_732_185_300, 0).unwrap();
        assert_eq!(span(start, start + TimeDelta::milliseconds(12)), "12 ms");
        assert_eq!(span(start, start + TimeDelta::milliseconds(2_345)), "2.3 s");
        assert_eq!(span(start, start + TimeDelta::seconds(3_725)), "1h 2m 5s");
        assert_eq!(time(start), "2024-11-21 10:35:00 UTC");
    }
}
