//! `validate.scan`: known vulnerabilities.

use std::time::Duration;

use indexmap::IndexMap;

use super::check::Checker;
use super::collection::Map;
use super::literal::Lit;
use super::names::FilePath;
use super::number::Whole;
use super::path::Path;
use super::section::{section, words};
use super::validate::{CheckSeverity, DAY, Lifetime};

words! {
    /// How bad a vulnerability is, as scanners have it.
    pub enum Vulnerability {
        /// Critical.
        Critical = "critical",
        /// High.
        High = "high",
        /// Medium.
        Medium = "medium",
        /// Low.
        Low = "low",
        /// Negligible.
        Negligible = "negligible",
        /// The scanner does not say.
        Unknown = "unknown",
    }
}

words! {
    /// From where on a vulnerability counts.
    pub enum Threshold {
        /// Critical ones.
        Critical = "critical",
        /// High ones and worse.
        High = "high",
        /// Medium ones and worse.
        Medium = "medium",
        /// Low ones and worse.
        Low = "low",
        /// All.
        Negligible = "negligible",
        /// None.
        Never = "never",
    }
}

section! {
    /// Known vulnerabilities, from the reports of scanners. A report must be about the promoted digest.
    pub struct Scan from RawScan, finish scan => Scan {
        /// Files with reports; `*` and `**` stand for any name and any folders. Trivy, Grype, SARIF, CycloneDX and the
        /// in-toto predicates are read.
        default(Vec::new()) reports: Vec<Lit<FilePath>> => Vec<String>,
        /// Whether reports that are attached to the image count as well. Default: true.
        default(true) attached: bool,
        /// Whether to run `trivy` or `grype` where there is no report and one of them is on the PATH. Default: false.
        default(false) run: bool,
        /// Whether there must be a report for every platform. Default: true.
        default(true) required: bool,
        /// From where on a vulnerability fails the check. Default: `critical`.
        default(Threshold::Critical) fail_on: Threshold,
        /// From where on a vulnerability is warned of. Default: `high`.
        default(Threshold::High) warn_on: Threshold,
        /// Whether only those count that a newer version of the package fixes. Default: false.
        default(false) fixable_only: bool,
        /// How many of a severity may be there; more fail the check.
        default(IndexMap::new()) max: Map<Vulnerability, Whole<0, 1_000_000>> => IndexMap<Vulnerability, u32>,
        /// What a vulnerability does that is known to be exploited, whatever its severity. It takes
        /// `known-exploited-file`.
        default(CheckSeverity::Off) known_exploited: CheckSeverity,
        /// The catalogue of known exploited vulnerabilities, as CISA publishes it in JSON.
        optional known_exploited_file: Lit<FilePath> => String,
        /// A file with exceptions: id, reason, owner, expiry. An expired one fails the check.
        optional exceptions: Lit<FilePath> => String,
        /// Files with OpenVEX statements.
        default(Vec::new()) vex: Vec<Lit<FilePath>> => Vec<String>,
        /// How old a report may be. Default: `24h`.
        default(DAY) max_age: Lifetime => Duration,
        /// How old the scanner's database may have been. Default: `5d`.
        default(5 * DAY) database_max_age: Lifetime => Duration,
    }
}

impl Default for Scan {
    /// What holds where a profile asks for a scan and the configuration says nothing about it.
    fn default() -> Self {
        Self {
            reports: Vec::new(),
            attached: true,
            run: false,
            required: true,
            fail_on: Threshold::Critical,
            warn_on: Threshold::High,
            fixable_only: false,
            max: IndexMap::new(),
            known_exploited: CheckSeverity::Off,
            known_exploited_file: None,
            exceptions: None,
            vex: Vec::new(),
            max_age: DAY,
            database_max_age: 5 * DAY,
        }
    }
}

fn scan(scan: Scan, _: &[String], at: &Path, checker: &mut Checker<'_>) -> Option<Scan> {
    let mut good = true;
    if scan.known_exploited != CheckSeverity::Off && scan.known_exploited_file.is_none() {
        checker.problem(
            &at.key("known-exploited"),
            "needs the catalogue, and none is named",
            "add `known-exploited-file` with the path of CISA's JSON",
        );
        good = false;
    }
    if scan.required && scan.reports.is_empty() && !scan.attached && !scan.run {
        checker.key_problem(
            at,
            "a report must be there, and none can come from anywhere",
            "add `reports`, or allow `attached` or `run`",
        );
        good = false;
    }
    good.then_some(scan)
}
