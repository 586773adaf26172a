//! Nothing is promoted while a freeze window is open.

use async_trait::async_trait;
use chrono::{DateTime, Datelike as _, Days, NaiveDateTime, TimeDelta, Timelike as _, Utc};

use super::{Gate, Look, Subject};
use crate::config::{Freeze as Window, FreezeWindow, WeeklyWindow, Zone};
use crate::promotion::fault::{Code, Fault};

/// The minutes of a week.
const WEEK: i64 = 7 * 24 * 60;

/// Nothing is promoted while a window is open.
pub(super) struct Freeze {
    windows: Vec<Window>,
}

impl Freeze {
    pub(super) const fn new(windows: Vec<Window>) -> Self {
        Self { windows }
    }
}

#[async_trait]
impl Gate for Freeze {
    fn name(&self) -> String {
        "freeze".to_owned()
    }

    fn code(&self) -> Code {
        Code::Frozen
    }

    fn override_word(&self) -> Option<&'static str> {
        Some("freeze")
    }

    fn is_seen_again(&self) -> bool {
        true
    }

    async fn look(&self, _: &Subject) -> Result<Look, Fault> {
        Ok(at(&self.windows, Utc::now()))
    }
}

/// What is seen of the windows at a time.
fn at(windows: &[Window], now: DateTime<Utc>) -> Look {
    let wanted = "a time outside of every freeze window";
    let closed: Vec<String> = windows
        .iter()
        .filter_map(|window| {
            let until = open_until(window, now)?;
            let reason = window.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
            Some(format!("{} lasts until {until} {}{reason}", name(&window.window), window.timezone.0.name()))
        })
        .collect();
    if closed.is_empty() {
        Look::open(format!("no window is open at {}", now.format("%Y-%m-%d %H:%M UTC")), wanted)
    } else {
        Look::closed(closed.join("; "), wanted)
    }
}

fn name(window: &FreezeWindow) -> &'static str {
    match window {
        FreezeWindow::Weekly(_) => "a weekly freeze",
        FreezeWindow::Once { .. } => "a freeze",
    }
}

/// When, in local time, an open window ends; nothing while it is not open.
///
/// The local clock decides, whatever it does: its first minute is in the window and its last is not, also on a day when
/// the clock is put forward or back.
fn open_until(window: &Window, now: DateTime<Utc>) -> Option<String> {
    let Zone(zone) = window.timezone;
    let local = now.with_timezone(&zone).naive_local();
    let until = match &window.window {
        FreezeWindow::Once { from, until } => (*from <= local && local < *until).then_some(*until),
        FreezeWindow::Weekly(weekly) => weekly_until(weekly, local),
    }?;
    Some(until.format("%a %Y-%m-%d %H:%M").to_string())
}

fn weekly_until(weekly: &WeeklyWindow, local: NaiveDateTime) -> Option<NaiveDateTime> {
    let minute = i64::from(local.weekday().num_days_from_monday()) * 24 * 60
        + i64::from(local.hour()) * 60
        + i64::from(local.minute());
    let (from, until) = (i64::from(weekly.from.minutes()), i64::from(weekly.until.minutes()));
    let length = (until - from).rem_euclid(WEEK);
    let since = (minute - from).rem_euclid(WEEK);
    if since >= length {
        return None;
    }
    let monday = local.date().checked_sub_days(Days::new(u64::from(local.weekday().num_days_from_monday())))?;
    let end = monday.and_hms_opt(0, 0, 0)? + TimeDelta::minutes(minute - since + length);
    Some(end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::Configuration;

    /// The windows that a configuration's text describes.
    fn windows(text: &str) -> Vec<Window> {
        let yaml = format!(
            "version: 1\nservices: {{ api: {{ image: ghcr.io/acme/api }} }}\nenvironments:\n  production: {{ tag: production, gates: {{ freeze: [{text}] }} }}\n"
        );
        let configuration = Configuration::parse("tidegate.yml", &yaml).unwrap();
        configuration.environment("production").unwrap().settings().gates.freeze.clone()
    }

    fn is_open(text: &str, time: &str) -> bool {
        at(&windows(text), time.parse().unwrap()).sight == super::super::Sight::Open
    }

    #[test]
    fn a_weekly_window_holds_its_first_minute_and_not_its_last() {
        let weekend = "{ weekly: \"Fri 16:00 - Mon 08:00\", timezone: Europe/Berlin, reason: weekend }";
        for (time, open) in [
            // In summer Berlin is two hours ahead.
            ("2026-07-03T13:59:59Z", true),
            ("2026-07-03T14:00:00Z", false),
            ("2026-07-05T12:00:00Z", false),
            ("2026-07-06T05:59:59Z", false),
            ("2026-07-06T06:00:00Z", true),
            // In winter one: the same words, another hour.
            ("2026-01-09T14:59:59Z", true),
            ("2026-01-09T15:00:00Z", false),
            ("2026-01-12T06:59:59Z", false),
            ("2026-01-12T07:00:00Z", true),
            // The clock is put forward in the night to 29 March, and back in the night to 25 October.
            ("2026-03-27T14:59:59Z", true),
            ("2026-03-27T15:00:00Z", false),
            ("2026-03-30T05:59:59Z", false),
            ("2026-03-30T06:00:00Z", true),
            ("2026-10-23T14:00:00Z", false),
            ("2026-10-26T06:59:59Z", false),
            ("2026-10-26T07:00:00Z", true),
        ] {
            assert_eq!(is_open(weekend, time), open, "{time}");
        }
    }

    #[test]
    fn the_hour_that_comes_twice_and_the_one_that_does_not_come() {
        let night = "{ weekly: \"Sun 02:00 - Sun 03:00\", timezone: Europe/Berlin }";
        // 25 October 2026: 02:30 comes twice.
        assert!(!is_open(night, "2026-10-25T00:30:00Z") && !is_open(night, "2026-10-25T01:30:00Z"));
        assert!(is_open(night, "2026-10-25T02:00:00Z"));
        // 29 March 2026: there is no 02:30; 01:59:59 is followed by 03:00.
        assert!(is_open(night, "2026-03-29T00:59:59Z") && is_open(night, "2026-03-29T01:00:00Z"));
    }

    #[test]
    fn a_window_that_comes_once() {
        let once = "{ from: \"2026-12-23 18:00\", until: \"2027-01-04 06:00\", timezone: America/New_York }";
        for (time, open) in [
            ("2026-12-23T22:59:59Z", true),
            ("2026-12-23T23:00:00Z", false),
            ("2027-01-04T10:59:59Z", false),
            ("2027-01-04T11:00:00Z", true),
        ] {
            assert_eq!(is_open(once, time), open, "{time}");
        }
        let look = at(&windows(once), "2026-12-24T12:00:00Z".parse().unwrap());
        assert_eq!(look.seen, "a freeze lasts until Mon 2027-01-04 06:00 America/New_York");
    }

    proptest! {
        /// At every minute a weekly window and the window that is its complement are open and closed the other way
        /// round, and the end that is told of a window that is open lies ahead.
        #[test]
        fn a_window_and_its_complement(from in 0i64..WEEK, length in 1i64..WEEK, minute in 0i64..(60 * 24 * 400)) {
            let text = |from: i64, until: i64| {
                let word = |minute: i64| {
                    let day = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"][(minute / 1440) as usize];
                    format!("{day} {:02}:{:02}", minute % 1440 / 60, minute % 60)
                };
                format!("{{ weekly: \"{} - {}\", timezone: Australia/Lord_Howe }}", word(from), word(until))
            };
            let until = (from + length) % WEEK;
            let now = "2026-01-01T00:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::minutes(minute);
            let (inside, outside) = (windows(&text(from, until)), windows(&text(until, from)));
            prop_assert_ne!(open_until(&inside[0], now).is_some(), open_until(&outside[0], now).is_some());
            let FreezeWindow::Weekly(weekly) = &inside[0].window else { panic!() };
            let local = now.with_timezone(&inside[0].timezone.0).naive_local();
            if let Some(end) = weekly_until(weekly, local) {
                prop_assert!(end > local && end - local <= TimeDelta::minutes(length));
            }
        }
    }
}
