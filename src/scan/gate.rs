//! What a policy makes of the vulnerabilities of an image: a pure decision.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::exceptions::Exception;
use super::openvex::{self, Image, Statement};
use super::{Remedy, Severity, Vulnerability};
use crate::config::{CheckSeverity, Scan, Threshold};

/// How many vulnerabilities are named in one sentence.
const NAMED: usize = 5;

/// What people know about single vulnerabilities.
#[derive(Debug, Clone, Default)]
pub struct Knowledge {
    /// The exceptions.
    pub exceptions: Vec<Exception>,
    /// The statements that a product is not affected.
    pub statements: Vec<Statement>,
    /// What is known to be exploited, in capitals.
    pub exploited: BTreeSet<String>,
}

/// What a policy makes of an image's vulnerabilities.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judgement {
    /// How many count, by severity.
    pub counts: BTreeMap<Severity, usize>,
    /// How many were taken out by an exception or a statement.
    pub excused: usize,
    /// How many do not count because nothing fixes them.
    pub unfixable: usize,
    /// Why it fails, a sentence each.
    pub failures: Vec<String>,
    /// What is warned of, a sentence each.
    pub warnings: Vec<String>,
}

impl Judgement {
    /// The counts in words: `2 critical, 1 high`.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut parts: Vec<String> = Severity::ALL
            .iter()
            .filter_map(|severity| Some(format!("{} {}", self.counts.get(severity)?, severity.name())))
            .collect();
        if parts.is_empty() {
            parts.push("no vulnerability".to_owned());
        }
        if self.excused > 0 {
            parts.push(format!("{} excused", self.excused));
        }
        if self.unfixable > 0 {
            parts.push(format!("{} without a fix not counted", self.unfixable));
        }
        parts.join(", ")
    }
}

/// Judges the vulnerabilities of an image, as all its reports together have them. The same vulnerability in the same
/// version of a package counts once, with its worst severity.
///
/// A severity that the scanner does not give is warned of, and fails where everything fails: it may be anything.
#[must_use]
pub fn judge(
    vulnerabilities: impl IntoIterator<Item = Vulnerability>,
    policy: &Scan,
    knowledge: &Knowledge,
    image: Image<'_>,
    now: DateTime<Utc>,
) -> Judgement {
    let mut judgement = Judgement::default();
    let mut failing: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    let mut warned = Vec::new();
    for one in once(vulnerabilities) {
        if openvex::clears(&knowledge.statements, &one, image, now) {
            judgement.excused += 1;
            continue;
        }
        let mut exceptions = knowledge.exceptions.iter().filter(|exception| exception.covers(&one)).peekable();
        let first = exceptions.peek().copied();
        if exceptions.any(|exception| !exception.has_expired(now)) {
            judgement.excused += 1;
            continue;
        }
        if let Some(expired) = first {
            judgement.failures.push(format!(
                "the exception of {} for {} ended on {}",
                expired.owner,
                expired.id,
                expired.expires.format("%Y-%m-%d %H:%M UTC")
            ));
        }
        let exploited = one.exploited || is_in(&knowledge.exploited, &one);
        match policy.known_exploited {
            CheckSeverity::Fail if exploited => failing.entry("known to be exploited").or_default().push(named(&one)),
            CheckSeverity::Warn if exploited => warned.push(format!("{}, known to be exploited", named(&one))),
            _ => {}
        }
        if policy.fixable_only && one.remedy == Remedy::None {
            judgement.unfixable += 1;
            continue;
        }
        *judgement.counts.entry(one.severity).or_default() += 1;
        if reaches(one.severity, policy.fail_on) {
            failing.entry(one.severity.name()).or_default().push(named(&one));
        } else if reaches(one.severity, policy.warn_on)
            || (one.severity == Severity::Unknown && policy.warn_on != Threshold::Never)
        {
            warned.push(named(&one));
        }
    }
    judgement.failures.extend(failing.into_iter().map(|(why, list)| format!("{why}: {}", listed(&list))));
    for (severity, most) in &policy.max {
        let count = judgement.counts.get(&severity_of(*severity)).copied().unwrap_or_default();
        if count > *most as usize {
            judgement.failures.push(format!("{count} {severity}, and {most} may be there"));
        }
    }
    if !warned.is_empty() {
        judgement.warnings.push(listed(&warned));
    }
    let future = knowledge.statements.iter().filter(|statement| statement.is_of_the_future(now)).count();
    if future > 0 {
        judgement.warnings.push(format!("{future} OpenVEX statements are dated in the future, and not heard"));
    }
    let late = knowledge.exceptions.iter().filter(|exception| exception.has_expired(now)).count();
    if late > 0 && judgement.failures.is_empty() {
        judgement.warnings.push(format!("{late} exceptions have ended, and nothing needs them"));
    }
    judgement
}

/// Each vulnerability once for each version of each package, the worst first.
fn once(vulnerabilities: impl IntoIterator<Item = Vulnerability>) -> Vec<Vulnerability> {
    let mut all: BTreeMap<(String, String, String), Vulnerability> = BTreeMap::new();
    for one in vulnerabilities {
        let key = (one.id.to_ascii_uppercase(), one.package.clone(), one.version.clone());
        match all.entry(key) {
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(one);
            }
            std::collections::btree_map::Entry::Occupied(mut entry) => {
                let known = entry.get_mut();
                known.severity = known.severity.max(one.severity);
                known.exploited |= one.exploited;
                if known.remedy == Remedy::None {
                    known.remedy = one.remedy;
                }
                known.aliases.extend(one.aliases);
                known.purl = known.purl.take().or(one.purl);
            }
        }
    }
    let mut all: Vec<Vulnerability> = all.into_values().collect();
    all.sort_by_key(|one| std::cmp::Reverse(one.severity));
    all
}

fn is_in(exploited: &BTreeSet<String>, one: &Vulnerability) -> bool {
    std::iter::once(&one.id).chain(&one.aliases).any(|name| exploited.contains(&name.to_ascii_uppercase()))
}

fn reaches(severity: Severity, threshold: Threshold) -> bool {
    match threshold {
        Threshold::Critical => severity >= Severity::Critical,
        Threshold::High => severity >= Severity::High,
        Threshold::Medium => severity >= Severity::Medium,
        Threshold::Low => severity >= Severity::Low,
        Threshold::Negligible => true,
        Threshold::Never => false,
    }
}

const fn severity_of(severity: crate::config::Vulnerability) -> Severity {
    use crate::config::Vulnerability as Configured;
    match severity {
        Configured::Critical => Severity::Critical,
        Configured::High => Severity::High,
        Configured::Medium => Severity::Medium,
        Configured::Low => Severity::Low,
        Configured::Negligible => Severity::Negligible,
        Configured::Unknown => Severity::Unknown,
    }
}

fn named(one: &Vulnerability) -> String {
    let place = match (one.package.as_str(), one.version.as_str()) {
        ("", _) => String::new(),
        (package, "") => format!(" in {package}"),
        (package, version) => format!(" in {package} {version}"),
    };
    let remedy = match &one.remedy {
        Remedy::Fixed(versions) if !versions.is_empty() => format!(" (fixed in {versions})"),
        Remedy::Fixed(_) | Remedy::Untold => String::new(),
        Remedy::None => " (no fix yet)".to_owned(),
    };
    format!("{}{place}{remedy}", one.id)
}

fn listed(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMED);
    let shown = names[..names.len() - more].join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::promotion::image::Repository;

    fn one(id: &str, severity: Severity) -> Vulnerability {
        Vulnerability {
            id: id.to_owned(),
            aliases: Vec::new(),
            severity,
            package: "p".to_owned(),
            version: "1".to_owned(),
            purl: None,
            remedy: Remedy::None,
            exploited: false,
        }
    }

    fn judged(list: Vec<Vulnerability>, policy: &Scan, knowledge: &Knowledge) -> Judgement {
        let repository: Repository = "ghcr.io/acme/api".parse().unwrap();
        let image = Image { repository: &repository, digests: &BTreeSet::new() };
        judge(list, policy, knowledge, image, "2026-06-01T00:00:00Z".parse().unwrap())
    }

    fn exception(expires: &str) -> Exception {
        Exception {
            id: "cve-1".to_owned(),
            package: None,
            reason: "r".to_owned(),
            owner: "ann".to_owned(),
            expires: expires.parse().unwrap(),
        }
    }

    #[test]
    fn thresholds_counts_and_fixes() {
        let critical = || vec![one("CVE-1", Severity::Critical), one("CVE-2", Severity::High)];
        let policy = Scan::default();
        let judgement = judged(critical(), &policy, &Knowledge::default());
        assert_eq!(judgement.summary(), "1 critical, 1 high");
        assert_eq!(judgement.failures, ["critical: CVE-1 in p 1 (no fix yet)"]);
        assert_eq!(judgement.warnings, ["CVE-2 in p 1 (no fix yet)"]);

        let fixable = Scan { fixable_only: true, ..Scan::default() };
        let judgement = judged(critical(), &fixable, &Knowledge::default());
        assert_eq!((judgement.failures.len(), judgement.unfixable), (0, 2));
        let untold = Vulnerability { remedy: Remedy::Untold, ..one("CVE-1", Severity::Critical) };
        assert_eq!(judged(vec![untold], &fixable, &Knowledge::default()).failures.len(), 1, "it may have a fix");

        let max = Scan {
            fail_on: Threshold::Never,
            max: [(crate::config::Vulnerability::High, 0)].into_iter().collect(),
            ..Scan::default()
        };
        assert_eq!(judged(critical(), &max, &Knowledge::default()).failures, ["1 high, and 0 may be there"]);
    }

    #[test]
    fn the_same_counts_once_with_its_worst_severity() {
        let twice = vec![one("CVE-1", Severity::Low), one("cve-1", Severity::Critical), one("CVE-1", Severity::Low)];
        let judgement = judged(twice, &Scan::default(), &Knowledge::default());
        assert_eq!(judgement.counts, BTreeMap::from([(Severity::Critical, 1)]));
    }

    #[test]
    fn an_exception_holds_until_it_ends_and_then_fails() {
        let with = |expires| Knowledge { exceptions: vec![exception(expires)], ..Knowledge::default() };
        let critical = || vec![one("CVE-1", Severity::Critical)];
        let held = judged(critical(), &Scan::default(), &with("2026-06-02T00:00:00Z"));
        assert_eq!((held.failures.len(), held.excused), (0, 1));
        let ended = judged(critical(), &Scan::default(), &with("2026-05-31T00:00:00Z"));
        assert!(ended.failures[0].contains("the exception of ann for cve-1 ended on 2026-05-31"), "{ended:?}");
        // Also where the severity alone would not fail.
        let low = judged(vec![one("CVE-1", Severity::Low)], &Scan::default(), &with("2026-05-31T00:00:00Z"));
        assert_eq!(low.failures.len(), 1);
        let unneeded = judged(Vec::new(), &Scan::default(), &with("2026-05-31T00:00:00Z"));
        assert_eq!((unneeded.failures.len(), unneeded.warnings.len()), (0, 1));
    }

    #[test]
    fn what_is_exploited_fails_whatever_its_severity() {
        let policy = Scan { known_exploited: CheckSeverity::Fail, fixable_only: true, ..Scan::default() };
        let knowledge = Knowledge { exploited: BTreeSet::from(["CVE-1".to_owned()]), ..Knowledge::default() };
        let judgement = judged(vec![one("cve-1", Severity::Low)], &policy, &knowledge);
        assert!(judgement.failures[0].starts_with("known to be exploited: cve-1"), "{judgement:?}");
    }

    proptest! {
        #[test]
        fn an_unknown_severity_never_passes_in_silence(word in "[a-z]{0,8}") {
            let list = vec![Vulnerability { severity: Severity::of_word(&word), ..one("CVE-1", Severity::Low) }];
            let judgement = judged(list.clone(), &Scan::default(), &Knowledge::default());
            if list[0].severity == Severity::Unknown {
                prop_assert!(!judgement.warnings.is_empty());
                let all = Scan { fail_on: Threshold::Negligible, ..Scan::default() };
                prop_assert!(!judged(list, &all, &Knowledge::default()).failures.is_empty());
            }
        }

        #[test]
        fn more_vulnerabilities_never_make_it_better(severities in proptest::collection::vec(0usize..6, 0..12), more in 0usize..6) {
            let list: Vec<Vulnerability> =
                severities.iter().enumerate().map(|(n, s)| one(&format!("CVE-{n}"), Severity::ALL[*s])).collect();
            let before = judged(list.clone(), &Scan::default(), &Knowledge::default());
            let after = judged([list, vec![one("CVE-99", Severity::ALL[more])]].concat(), &Scan::default(), &Knowledge::default());
            prop_assert!(before.failures.is_empty() || !after.failures.is_empty());
        }
    }
}
