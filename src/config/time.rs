//! Time: durations, time zones, and the windows in which nothing is promoted.

use std::str::FromStr as _;
use std::time::Duration;

use chrono::{NaiveDateTime, Weekday};
use serde::{Serialize, Serializer};

use super::literal::{Literal, NotOne};
use super::suggest;

/// The longest duration: no arithmetic with it and a date can overflow.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 86_400);

/// The pattern of durations: everything that humantime reads, with a unit.
const DURATION: &str = r"^\s*([0-9][0-9 ]*(\.[0-9]+)?\s*[a-zA-Zµ]+\s*)+$";

/// The syntax of durations, as the crate humantime has it.
pub(super) struct AnyDuration;

impl Literal for AnyDuration {
    type Value = Duration;
    const WANTED: &'static str = "a duration with its unit, e.g. `30s`, `5m` or `1h 30m`";
    const PATTERN: Option<&'static str> = Some(DURATION);

    fn read(text: &str) -> Result<Duration, NotOne> {
        if text.trim().bytes().all(|b| b.is_ascii_digit()) {
            return Err(
                NotOne::because("has no unit").with_fix(format!("write `{}s`, or the unit that is meant", text.trim()))
            );
        }
        let duration = humantime::parse_duration(text).map_err(|error| {
            let said = error.to_string();
            // It goes on with a list of units, which the fix shows shorter.
            NotOne::because(format!("is not a duration: {}", said.split(',').next().unwrap_or_default()))
        })?;
        if duration > LONGEST { Err(NotOne::because("is longer than a hundred years")) } else { Ok(duration) }
    }
}

/// The syntax of durations that are not zero.
pub(super) struct PositiveDuration;

impl Literal for PositiveDuration {
    type Value = Duration;
    const WANTED: &'static str = AnyDuration::WANTED;
    const PATTERN: Option<&'static str> = AnyDuration::PATTERN;

    fn read(text: &str) -> Result<Duration, NotOne> {
        match AnyDuration::read(text)? {
            Duration::ZERO => Err(NotOne::because("is no time at all").with_fix("write a duration longer than zero")),
            duration => Ok(duration),
        }
    }
}

/// A time zone of the IANA database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zone(pub chrono_tz::Tz);

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.name())
    }
}

/// The syntax of time zones.
pub(super) struct ZoneSyntax;

impl Literal for ZoneSyntax {
    type Value = Zone;
    const WANTED: &'static str = "a time zone of the IANA database, e.g. `Europe/Berlin` or `UTC`";

    fn read(text: &str) -> Result<Zone, NotOne> {
        chrono_tz::Tz::from_str(text).map(Zone).map_err(|_| {
            let wrong = NotOne::because("is not a time zone of the IANA database");
            let known = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
            match suggest::fix(text, known, "time zones") {
                near if near.starts_with("did you mean") => wrong.with_fix(near),
                _ => wrong,
            }
        })
    }
}

/// Minutes of a week, which begins on Monday at 00:00 local time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct WeekMinute(u16);

/// The minutes of a week.
const WEEK: u16 = 7 * 24 * 60;

impl WeekMinute {
    /// The minutes since Monday 00:00, less than a week.
    #[must_use]
    pub const fn minutes(self) -> u16 {
        self.0
    }
}

/// A window that comes back every week, in local time: the first minute is in it, the last is not. It may go over the
/// end of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct WeeklyWindow {
    /// When it begins.
    pub from: WeekMinute,
    /// When it ends.
    pub until: WeekMinute,
}

/// The syntax of weekly windows.
pub(super) struct WeeklySyntax;

impl Literal for WeeklySyntax {
    type Value = WeeklyWindow;
    const WANTED: &'static str = "a weekly window, e.g. `Fri 16:00 - Mon 08:00`";
    const PATTERN: Option<&'static str> =
        Some(r"^\s*[A-Za-z]{3,9}\s+[0-9]{1,2}:[0-9]{2}\s*[-–]\s*[A-Za-z]{3,9}\s+[0-9]{1,2}:[0-9]{2}\s*$");

    fn read(text: &str) -> Result<WeeklyWindow, NotOne> {
        let (from, until) = text
            .split_once(['-', '–'])
            .ok_or_else(|| NotOne::because("has no `-` between its beginning and its end"))?;
        let window = WeeklyWindow { from: week_minute(from)?, until: week_minute(until)? };
        if window.from == window.until {
            return Err(NotOne::because("begins when it ends"));
        }
        Ok(window)
    }
}

/// Reads `Fri 16:00`; `Fri 24:00` is `Sat 00:00`.
fn week_minute(text: &str) -> Result<WeekMinute, NotOne> {
    let mut words = text.split_whitespace();
    let (Some(day), Some(time), None) = (words.next(), words.next(), words.next()) else {
        return Err(NotOne::because("has something else than a day and a time on one side"));
    };
    let day = Weekday::from_str(day).map_err(|_| {
        let days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
        NotOne::because("has a day that is none").with_fix(suggest::fix(day, days, "days"))
    })?;
    let digits = |text: &str| (1..=2).contains(&text.len()).then(|| text.parse::<u16>().ok()).flatten();
    let minute = time
        .split_once(':')
        .and_then(|(hours, minutes)| Some((digits(hours)?, digits(minutes)?)))
        .filter(|(hours, minutes)| *minutes < 60 && (*hours < 24 || (*hours == 24 && *minutes == 0)))
        .map(|(hours, minutes)| hours * 60 + minutes)
        .ok_or_else(|| NotOne::because("has a time that is none").with_fix("write times from `00:00` to `24:00`"))?;
    let day = u16::try_from(day.num_days_from_monday()).unwrap_or_default();
    Ok(WeekMinute((day * 24 * 60 + minute) % WEEK))
}

/// The syntax of a local date and time.
pub(super) struct LocalTimeSyntax;

impl Literal for LocalTimeSyntax {
    type Value = NaiveDateTime;
    const WANTED: &'static str = "a local date and time, e.g. `2026-12-23 18:00`";
    const PATTERN: Option<&'static str> = Some("^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?)?$");

    fn read(text: &str) -> Result<NaiveDateTime, NotOne> {
        // chrono reads shorter fields as well; the schema does not.
        let plain = text.replacen('T', " ", 1);
        let (date, time) = plain.split_once(' ').unwrap_or((&plain, "00:00"));
        let shaped = date.len() == 10 && matches!(time.len(), 5 | 8);
        ["%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S"]
            .iter()
            .find_map(|format| NaiveDateTime::parse_from_str(&format!("{date} {time}"), format).ok())
            .filter(|_| shaped)
            .ok_or_else(|| {
                NotOne::because("is not a date and time")
                    .with_fix("write e.g. `2026-12-23 18:00`, without an offset: the zone is the key `timezone`")
            })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn window(text: &str) -> Option<(u16, u16)> {
        WeeklySyntax::read(text).ok().map(|window| (window.from.minutes(), window.until.minutes()))
    }

    #[test]
    fn weekly_windows() {
        assert_eq!(window("Fri 16:00 - Mon 08:00"), Some((4 * 1440 + 960, 480)));
        assert_eq!(window("friday 16:00–sat 24:00"), Some((4 * 1440 + 960, 6 * 1440)));
        assert_eq!(window("Sun 24:00 - Mon 1:30"), Some((0, 90)));
        for text in [
            "Fri 16:00",
            "Fri - Mon",
            "Fri 16 - Mon 8",
            "Fri 25:00 - Mon 08:00",
            "Fri 16:60 - Mon 08:00",
            "Xyz 16:00 - Mon 08:00",
            "Fri 16:00 - Fri 16:00",
            "Sun 24:00 - Mon 00:00",
            "Fri 24:01 - Mon 08:00",
            "",
            "-",
        ] {
            assert_eq!(window(text), None, "{text}");
        }
    }

    #[test]
    fn zones_and_dates() {
        assert!(ZoneSyntax::read("Europe/Berlin").is_ok());
        assert!(
            ZoneSyntax::read("Europe/Berlim")
                .is_err_and(|error| error.fix.is_some_and(|fix| fix.contains("Europe/Berlin")))
        );
        for text in ["2026-12-23 18:00", "2026-12-23T18:00:30", "2026-12-23"] {
            assert!(LocalTimeSyntax::read(text).is_ok(), "{text}");
        }
        for text in ["2026-12-32 18:00", "2026-12-23 18:00+01:00", "2026-12-23T18:00Z", "23.12.2026", "2026-1-2 18:00"]
        {
            assert!(LocalTimeSyntax::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(AnyDuration::read("1h 30m").ok(), Some(Duration::from_secs(5400)));
        for text in ["30", "0", "-5s", "5 parsecs", "", "200years", "99999999999999999999s"] {
            assert!(AnyDuration::read(text).is_err(), "{text}");
        }
        assert!(AnyDuration::read("0s").is_ok() && PositiveDuration::read("0s").is_err());
    }

    proptest! {
        #[test]
        fn an_accepted_duration_round_trips(
            text in "[0-9]{1,6} ?(ns|us|ms|s|sec|m|min|h|hours|d|w|M|y)( [0-9]{1,3}(s|m|h))?",
        ) {
            if let Ok(duration) = AnyDuration::read(&text) {
                let shown = humantime::format_duration(duration).to_string();
                prop_assert_eq!(AnyDuration::read(&shown).ok(), Some(duration));
                prop_assert!(regex::Regex::new(DURATION).unwrap().is_match(&text), "{text} does not fit the schema");
            }
        }

        #[test]
        fn nothing_panics(text in "\\PC{0,40}") {
            let _ = (WeeklySyntax::read(&text), LocalTimeSyntax::read(&text));
            let _ = (AnyDuration::read(&text), ZoneSyntax::read(&text));
        }
    }
}
