//! Reports as real scanners write them: every one is read, and its counts are right.
//!
//! The reports are not part of the project. Where their folder (`TIDEGATE_SCANS`, or `data/scans` of what is shared
//! beside the checkout) is absent, the cases are reported as ignored, by name.

#![allow(clippy::expect_used, reason = "a test may give up with a clear message")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use tidegate::scan::{self, Remedy, Severity};

/// A report: its file, how many vulnerabilities of which severity, how many of them can be fixed, a digest that it names,
/// and whether it says when it was made.
type Expected = (&'static str, &'static [(Severity, usize)], usize, Option<&'static str>, bool);

const EXPECTED: &[Expected] = &[
    (
        "grype-image.json",
        &[(Severity::Critical, 1), (Severity::Low, 1)],
        1,
        Some("sha256:ca738abb87a8d58f112d3400ebb079b61ceae7dc290beb34bda735be4b1941d5"),
        false,
    ),
    ("grype-image.sarif", &[(Severity::High, 2)], 1, None, false),
    (
        "trivy-alpine-310.json",
        &[(Severity::Medium, 4)],
        4,
        Some("sha256:961769676411f082461f9ef46626dd7a2d1e2b2a38e6a44364bcbecf51e66dd4"),
        true,
    ),
    (
        "trivy-alpine-310.sarif",
        &[(Severity::Medium, 4)],
        4,
        Some("sha256:961769676411f082461f9ef46626dd7a2d1e2b2a38e6a44364bcbecf51e66dd4"),
        false,
    ),
    (
        "trivy-alpine-distroless.json",
        &[(Severity::Medium, 1)],
        1,
        Some("sha256:22848737c0d272ad5d7c7369d8ca830a62929e63e38edcb22085139a6ae0688d"),
        true,
    ),
    (
        "trivy-centos-7-ignore-unfixed.json",
        &[(Severity::Medium, 1), (Severity::Low, 1)],
        2,
        Some("sha256:f1cb7c7d58b73eac859c395882eec49d50651244e342cd6c68a5c7809785f427"),
        true,
    ),
    (
        "trivy-ubuntu-1804.json",
        &[(Severity::Medium, 4), (Severity::Low, 1)],
        4,
        Some("sha256:a2a15febcdf362f6115e801d37b5e60d6faaeedcb9896155e5fe9d754025be12"),
        true,
    ),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let folder = folder();
    let trials = EXPECTED.iter().map(|expected| {
        let path = folder.join(expected.0);
        let absent = !path.exists();
        Trial::test(format!("scans::{}", expected.0), move || read(&path, expected)).with_ignored_flag(absent)
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn folder() -> PathBuf {
    std::env::var_os("TIDEGATE_SCANS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared").join("data/scans"), PathBuf::from)
}

fn read(path: &Path, expected: &Expected) -> Result<(), Failed> {
    let (_, counts, fixable, names, is_dated) = expected;
    let bytes = std::fs::read(path)?;
    let reports = scan::read(&bytes).map_err(|error| error.to_string())?;
    let [report] = reports.as_slice() else { return Err("not one report".into()) };
    let mut found: BTreeMap<Severity, usize> = BTreeMap::new();
    for one in &report.vulnerabilities {
        *found.entry(one.severity).or_default() += 1;
        if one.package.is_empty() || one.version.is_empty() || !one.id.starts_with("CVE-") || one.id.contains("package")
        {
            return Err(format!("something was not read of {one:?}").into());
        }
    }
    let fixed = report.vulnerabilities.iter().filter(|one| matches!(one.remedy, Remedy::Fixed(_))).count();
    let wanted: BTreeMap<Severity, usize> = counts.iter().copied().collect();
    if found != wanted || fixed != *fixable || report.made_at.is_some() != *is_dated {
        return Err(format!("{found:?}, {fixed} fixable, made {:?}", report.made_at).into());
    }
    let named = names.is_none_or(|text| report.names(&text.parse().expect("a digest")));
    if !named || names.is_some() == report.claims.is_empty() {
        return Err(format!("it is about {:?}", report.claims).into());
    }
    // Cut off anywhere, it is an error and not a shorter report.
    for at in [1, bytes.len() / 3, bytes.len() - 2] {
        if scan::read(&bytes[..at]).is_ok() {
            return Err(format!("cut off after {at} bytes it is still read").into());
        }
    }
    Ok(())
}
