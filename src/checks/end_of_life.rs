//! `end-of-life`: the release of the operating system still gets security updates.

use async_trait::async_trait;
use chrono::{DateTime, NaiveTime, Utc};

use super::contents::{Contents, each};
use super::releases::{End, end_of};
use super::{Check, Name, Observation, Subject};
use crate::config::CheckName;
use crate::promotion::fault::Fault;

/// Each platform's operating system is one that is still maintained.
#[derive(Debug)]
pub(super) struct EndOfLife;

const FIX: &str = "rebuild the image on a release that still gets security updates";

#[async_trait]
impl Check for EndOfLife {
    fn name(&self) -> Name {
        Name::Chosen(CheckName::EndOfLife)
    }

    fn reads_layers(&self) -> bool {
        true
    }

    async fn look(&self, subject: &Subject<'_>) -> Result<Vec<Observation>, Fault> {
        let before = subject.policy.policy.content.end_of_life.as_ref().and_then(|one| one.before).unwrap_or_default();
        let wanted = if before.is_zero() {
            "a release of the operating system that still gets security updates".to_owned()
        } else {
            format!("a release that gets security updates for {} yet", humantime::format_duration(before))
        };
        let then = subject.now + before;
        each(subject, &wanted, |contents| observe(contents, then, &wanted)).await
    }
}

fn observe(contents: &Contents, then: DateTime<Utc>, wanted: &str) -> Observation {
    // The first is the administrator's, usually a link to the second.
    let release = contents.releases.get("etc/os-release").or_else(|| contents.releases.get("usr/lib/os-release"));
    let Some(release) = release else {
        return Observation::nothing("nothing in it tells of an operating system");
    };
    let field = |wanted: &str| {
        let mut values = release.lines().filter_map(|line| line.strip_prefix(wanted)?.strip_prefix('='));
        values.next().map(|value| value.trim().trim_matches(['"', '\'']).to_lowercase()).unwrap_or_default()
    };
    let (system, version) = (field("ID"), field("VERSION_ID"));
    let seen = if version.is_empty() { system.clone() } else { format!("{system} {version}") };
    match end_of(&system, &version) {
        End::Never => Observation::good(format!("{seen}, which has no releases that end"), wanted),
        End::On(day) => {
            let good = day.and_time(NaiveTime::MIN).and_utc() > then;
            let seen = format!("{seen}, maintained until {day}");
            Observation::either(good, seen, wanted, FIX)
        }
        End::Before => Observation::bad(format!("{seen}, which is no longer maintained"), wanted, FIX),
        End::Unknown => Observation::doubtful(
            format!("{seen}, of which it is not known here until when it is maintained"),
            wanted,
            "look it up, and turn the check off if that is as it should be",
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn releases_end() {
        let observed = |release: &str| {
            let contents = Contents {
                releases: BTreeMap::from([("usr/lib/os-release".to_owned(), release.to_owned())]),
                ..Contents::default()
            };
            observe(&contents, "2026-11-01T00:00:00Z".parse().unwrap(), "w")
        };
        assert!(observed("NAME=x\nID=debian\nVERSION_ID=\"13\"\n").is_good());
        assert!(!observed("ID=debian\nVERSION_ID=\"10\"\n").is_good());
        assert!(!observed("ID=alpine\nVERSION_ID=3.10.2\n").is_good());
        assert!(observed("ID=wolfi\nVERSION_ID=20230201\n").is_good());
        assert!(!observed("ID=templeos\n").is_good());
    }
}
