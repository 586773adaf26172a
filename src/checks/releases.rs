//! Until when releases of operating systems get security updates for everybody. Paid extensions do not count.
//!
//! Debian's and Ubuntu's days are those of Debian's package `distro-info-data` (version 0.58+deb12u6: for Debian the end of
//! LTS, for Ubuntu that of standard support); the others are those that <https://endoflife.date> collects from what the
//! makers have published, as of July 2026. Where a maker tells only the month, it is the month's last day.

use chrono::NaiveDate;

/// When a release ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// On this day.
    On(NaiveDate),
    /// Before those that are known here.
    Before,
    /// There are no releases that end.
    Never,
    /// It is not known here.
    Unknown,
}

/// Systems that are always the newest.
const ROLLING: [&str; 6] = ["wolfi", "chainguard", "arch", "gentoo", "opensuse-tumbleweed", "void"];

/// `ID`, the beginning of `VERSION_ID`, and the last day.
const RELEASES: &[(&str, &str, (i32, u32, u32))] = &[
    ("alpine", "3.17", (2024, 11, 22)),
    ("alpine", "3.18", (2025, 5, 9)),
    ("alpine", "3.19", (2025, 11, 1)),
    ("alpine", "3.20", (2026, 4, 1)),
    ("alpine", "3.21", (2026, 11, 1)),
    ("alpine", "3.22", (2027, 5, 1)),
    ("alpine", "3.23", (2027, 11, 1)),
    ("alpine", "3.24", (2028, 6, 1)),
    ("almalinux", "8", (2029, 3, 1)),
    ("almalinux", "9", (2032, 5, 31)),
    ("almalinux", "10", (2035, 5, 31)),
    ("amzn", "2", (2026, 6, 30)),
    ("amzn", "2023", (2029, 6, 30)),
    ("azurelinux", "3", (2027, 8, 31)),
    ("centos", "7", (2024, 6, 30)),
    ("centos", "8", (2021, 12, 31)),
    ("centos", "9", (2027, 5, 31)),
    ("centos", "10", (2030, 1, 1)),
    ("debian", "10", (2024, 6, 30)),
    ("debian", "11", (2026, 8, 31)),
    ("debian", "12", (2028, 6, 30)),
    ("debian", "13", (2030, 6, 30)),
    ("fedora", "41", (2025, 12, 15)),
    ("fedora", "42", (2026, 5, 13)),
    ("fedora", "43", (2026, 12, 9)),
    ("mariner", "2", (2025, 7, 31)),
    ("opensuse-leap", "15.6", (2026, 4, 30)),
    ("opensuse-leap", "16.0", (2027, 10, 31)),
    ("ol", "7", (2024, 12, 31)),
    ("ol", "8", (2029, 7, 31)),
    ("ol", "9", (2032, 6, 30)),
    ("rhel", "7", (2024, 6, 30)),
    ("rhel", "8", (2029, 5, 31)),
    ("rhel", "9", (2032, 5, 31)),
    ("rhel", "10", (2035, 5, 31)),
    ("rocky", "8", (2029, 5, 31)),
    ("rocky", "9", (2032, 5, 31)),
    ("rocky", "10", (2035, 5, 31)),
    ("ubuntu", "18.04", (2023, 5, 31)),
    ("ubuntu", "20.04", (2025, 5, 29)),
    ("ubuntu", "22.04", (2027, 6, 1)),
    ("ubuntu", "24.04", (2029, 5, 31)),
    ("ubuntu", "25.04", (2026, 1, 15)),
    ("ubuntu", "25.10", (2026, 7, 9)),
    ("ubuntu", "26.04", (2031, 5, 29)),
];

/// When a release ends, by `ID` and `VERSION_ID` of `os-release`.
pub(super) fn end_of(system: &str, version: &str) -> End {
    if ROLLING.contains(&system) {
        return End::Never;
    }
    let releases = || RELEASES.iter().filter(|(name, _, _)| *name == system);
    let is =
        |release: &str| version == release || version.strip_prefix(release).is_some_and(|rest| rest.starts_with('.'));
    if let Some((_, _, (year, month, day))) = releases().find(|(_, release, _)| is(release)) {
        return NaiveDate::from_ymd_opt(*year, *month, *day).map_or(End::Unknown, End::On);
    }
    let number = |text: &str| -> Vec<u32> { text.split('.').map_while(|part| part.parse().ok()).collect() };
    let first = releases().map(|(_, release, _)| number(release)).min();
    let asked = number(version);
    match first {
        Some(first) if !asked.is_empty() && asked < first => End::Before,
        _ => End::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_found_by_the_beginning_of_their_version() {
        assert_eq!(end_of("alpine", "3.20.3"), End::On(NaiveDate::from_ymd_opt(2026, 4, 1).unwrap()));
        assert_eq!(end_of("alpine", "3.2"), End::Before);
        assert_eq!(end_of("alpine", "3.99"), End::Unknown);
        assert_eq!(end_of("debian", "9"), End::Before);
        assert_eq!(end_of("debian", ""), End::Unknown);
        assert_eq!(end_of("wolfi", "1"), End::Never);
        for (_, _, (year, month, day)) in RELEASES {
            assert!(NaiveDate::from_ymd_opt(*year, *month, *day).is_some());
        }
    }
}
