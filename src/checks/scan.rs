//! `scan`: known vulnerabilities, by the reports of scanners.
//!
//! A report counts for a platform if it names that platform's manifest or configuration, or the image as a whole and
//! either the architecture that was scanned or an image with a single platform. Several reports about one platform count
//! together. What cannot be read fails: it may be the report that matters.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{Check, Depth, Name, Observation, Subject};
use crate::config::{CheckName, CheckSeverity, Scan as Policy, Threshold};
use crate::promotion::digest::Digest;
use crate::promotion::fault::{Code, Fault};
use crate::registry::{Inspection, PlatformInspection};
use crate::scan::gate::{Knowledge, judge};
use crate::scan::openvex::Image;
use crate::scan::scanner::Scanner;
use crate::scan::{self, CLOCK_SKEW, Report, Unreadable, document, exceptions, exploited, openvex};

/// The vulnerabilities of each platform's image are within the policy, and a report says so that is about this digest.
#[derive(Debug)]
pub(super) struct Scan;

const FIX: &str = "update the packages that are named; what cannot be updated is excepted in the file `scan.exceptions`, \
                   with a reason, an owner and an end";

/// The words in the types of what is a report, or may have one in it.
const REPORTS: [&str; 5] = ["sarif", "vuln", "trivy", "grype", "application/json"];

/// A report, and where it is from.
struct Found {
    origin: String,
    report: Report,
}

/// All that was found: reports, and what could not be read.
#[derive(Default)]
struct Findings {
    reports: Vec<Found>,
    unreadable: Vec<(String, Unreadable)>,
    /// How many documents are something else than a report.
    others: usize,
}

impl Findings {
    fn take(&mut self, origin: String, read: Result<Vec<Report>, Unreadable>) {
        match read {
            Ok(reports) if reports.is_empty() => self.others += 1,
            Ok(reports) => {
                self.reports.extend(reports.into_iter().map(|report| Found { origin: origin.clone(), report }));
            }
            Err(error) => self.unreadable.push((origin, error)),
        }
    }
}

#[async_trait]
impl Check for Scan {
    fn name(&self) -> Name {
        Name::Chosen(CheckName::Scan)
    }

    async fn look(&self, subject: &Subject<'_>) -> Result<Vec<Observation>, Fault> {
        let policy = subject.policy.policy.scan.clone().unwrap_or_default();
        let knowledge = knowledge(&policy, subject.workspace)?;
        let mut findings = from_files(&policy, subject.workspace)?;
        if policy.attached {
            attached(subject, &mut findings).await?;
        }
        let mut observations: Vec<Observation> = findings
            .unreadable
            .iter()
            .map(|(origin, error)| {
                let fix = "write the report again; what is no report does not belong where reports are looked for";
                Observation::bad(format!("{origin}: {error}"), wanted(&policy), fix)
            })
            .collect();
        for platform in &subject.inspection.platforms {
            observations.push(observe(subject, platform, &policy, &knowledge, &findings).await?.of(platform));
        }
        Ok(observations)
    }
}

/// What the policy's files say of single vulnerabilities.
fn knowledge(policy: &Policy, workspace: &Path) -> Result<Knowledge, Fault> {
    let mut knowledge = Knowledge::default();
    if let Some(path) = &policy.exceptions {
        knowledge.exceptions = of_file(path, workspace, exceptions::read)?;
    }
    if let Some(path) = &policy.known_exploited_file
        && policy.known_exploited != CheckSeverity::Off
    {
        knowledge.exploited = of_file(path, workspace, exploited::read)?;
    }
    for path in &policy.vex {
        knowledge.statements.extend(of_file(path, workspace, openvex::read)?);
    }
    Ok(knowledge)
}

fn of_file<T>(path: &str, workspace: &Path, read: impl FnOnce(&[u8]) -> Result<T, Unreadable>) -> Result<T, Fault> {
    document::read_file(&workspace.join(path)).and_then(|bytes| read(&bytes)).map_err(|error| {
        Fault::new(Code::ConfigurationInvalid, format!("{path}: {error}"))
            .with_fix("correct the file that `scan` names, or check it out before this step")
    })
}

/// The reports in files.
fn from_files(policy: &Policy, workspace: &Path) -> Result<Findings, Fault> {
    let mut findings = Findings::default();
    let paths = document::find(workspace, &policy.reports)
        .map_err(|why| Fault::new(Code::ConfigurationInvalid, format!("`scan.reports`: {why}")))?;
    if policy.required && !policy.run {
        let named = policy.reports.iter().filter(|pattern| !pattern.contains(['*', '?', '[']));
        for missing in named.filter(|name| !workspace.join(name).exists()) {
            findings.unreadable.push((missing.clone(), Unreadable::Unread { why: "it is not there".to_owned() }));
        }
    }
    for path in paths {
        let origin = path.strip_prefix(workspace).unwrap_or(&path).display().to_string();
        findings.take(origin, document::read_file(&path).and_then(|bytes| scan::read(&bytes)));
    }
    Ok(findings)
}

/// The reports that are attached to the image. Documents of other kinds are passed over.
async fn attached(subject: &Subject<'_>, findings: &mut Findings) -> Result<(), Fault> {
    for attachment in subject.evidence.attachments(subject).await?.iter() {
        let origin = format!("attached {}", attachment.manifest.short());
        match &attachment.bytes {
            // What is no JSON at all is a signature or the like, where it does not say to be a report; what was tampered
            // with names its own fault.
            Ok(bytes) => match scan::read(bytes) {
                Err(Unreadable::NotJson { .. } | Unreadable::NotText | Unreadable::Empty)
                    if !attachment.says_to_be(&REPORTS) =>
                {
                    findings.others += 1;
                }
                Ok(reports) => {
                    let reports = reports.into_iter().map(|mut report| {
                        // What says nothing of itself is about what it is attached to.
                        if report.claims.is_empty() {
                            report.claims.push(BTreeSet::from([attachment.subject.clone()]));
                        }
                        report
                    });
                    findings.take(origin, Ok(reports.collect()));
                }
                Err(error) => findings.take(origin, Err(error)),
            },
            Err(error) => findings.unreadable.push((origin, Unreadable::Unread { why: error.to_string() })),
        }
    }
    Ok(())
}

async fn observe(
    subject: &Subject<'_>,
    platform: &PlatformInspection,
    policy: &Policy,
    knowledge: &Knowledge,
    findings: &Findings,
) -> Result<Observation, Fault> {
    let root = &subject.inspection.root.digest;
    let about: Vec<&Found> =
        findings.reports.iter().filter(|found| is_about(&found.report, subject.inspection, platform)).collect();
    let (recent, stale): (Vec<_>, Vec<_>) =
        about.iter().map(|found| (found, age(&found.report, policy, subject.now))).partition(|(_, age)| age.is_ok());
    let mut reports: Vec<(String, &Report)> =
        recent.iter().map(|(found, _)| (found.origin.clone(), &found.report)).collect();
    let scanned: Vec<Report>;
    let mut trouble = String::new();
    if reports.is_empty() && policy.run {
        if subject.depth == Depth::Headers {
            return Ok(Observation::nothing("a scanner is run in the validation"));
        }
        match scanned_here(subject, platform).await {
            Ok(found) => scanned = found,
            Err(why) => {
                trouble = format!("; {why}");
                scanned = Vec::new();
            }
        }
        let good = scanned.iter().filter(|report| is_about(report, subject.inspection, platform));
        reports.extend(good.map(|report| ("run here".to_owned(), report)));
    }
    if reports.is_empty() {
        let why = match stale.first() {
            Some((found, Err(why))) => format!("{}: {why}{trouble}", found.origin),
            _ if findings.reports.is_empty() && findings.others == 0 => format!("no report{trouble}"),
            _ => format!(
                "no report about this digest among {} reports and {} other documents{trouble}",
                findings.reports.len(),
                findings.others
            ),
        };
        if !policy.required && stale.is_empty() && trouble.is_empty() {
            return Ok(Observation::nothing(why));
        }
        let (repository, platform) = (subject.repository, &platform.facts.platform);
        let fix = format!(
            "scan this very digest: `trivy image --platform {platform} --format json --output report.json {repository}@{root}`"
        );
        return Ok(Observation::bad(why, wanted(policy), fix));
    }
    let digests = digests(subject.inspection, platform);
    let image = Image { repository: subject.repository, digests: &digests };
    let vulnerabilities = reports.iter().flat_map(|(_, report)| report.vulnerabilities.iter().cloned());
    let judgement = judge(vulnerabilities, policy, knowledge, image, subject.now);
    let origins: Vec<String> = reports.iter().map(|(origin, report)| format!("{} ({origin})", report.format)).collect();
    let summary = format!("{} by {}", judgement.summary(), origins.join(", "));
    Ok(if !judgement.failures.is_empty() {
        Observation::bad(format!("{summary}; {}", judgement.failures.join("; ")), wanted(policy), FIX)
    } else if !judgement.warnings.is_empty() {
        Observation::doubtful(format!("{summary}; {}", judgement.warnings.join("; ")), wanted(policy), FIX)
    } else {
        Observation::good(summary, wanted(policy))
    })
}

/// The digests by which a platform's image is known.
fn digests(inspection: &Inspection, platform: &PlatformInspection) -> BTreeSet<Digest> {
    BTreeSet::from([inspection.root.digest.clone(), platform.manifest.digest.clone(), platform.facts.config.clone()])
}

/// Whether a report is about a platform's image; see the module.
pub(super) fn is_about(report: &Report, inspection: &Inspection, platform: &PlatformInspection) -> bool {
    if !report.is_about(&digests(inspection, platform)) {
        return false;
    }
    let platforms = &inspection.platforms;
    let names = |one: &PlatformInspection| report.names(&one.manifest.digest) || report.names(&one.facts.config);
    if platforms.len() == 1 || names(platform) {
        return true;
    }
    // Two platforms may have the same architecture, in variants.
    let same = |one: &&PlatformInspection| report.architecture.as_ref() == Some(&one.facts.platform.architecture);
    !platforms.iter().any(names) && same(&platform) && platforms.iter().filter(same).count() == 1
}

/// Whether a report, and the database behind it, is recent enough; why not.
fn age(report: &Report, policy: &Policy, now: DateTime<Utc>) -> Result<(), String> {
    let Some(made_at) = report.made_at else {
        return Err(format!("the report ({}) does not say when it was made", report.format));
    };
    within("the report", made_at, policy.max_age, now)?;
    report.database_at.map_or(Ok(()), |at| within("the scanner's database", at, policy.database_max_age, now))
}

fn within(what: &str, at: DateTime<Utc>, most: Duration, now: DateTime<Utc>) -> Result<(), String> {
    let age = now.signed_duration_since(at);
    if age < -CLOCK_SKEW {
        return Err(format!("{what} is from {at}, which is in the future"));
    }
    if age.to_std().unwrap_or_default() > most {
        return Err(format!("{what} is from {at}, and may be {} old", humantime::format_duration(most)));
    }
    Ok(())
}

/// Runs a scanner on a copy of a platform's image.
async fn scanned_here(subject: &Subject<'_>, platform: &PlatformInspection) -> Result<Vec<Report>, String> {
    let Some(scanner) = Scanner::on_path() else {
        return Err("neither `trivy` nor `grype` is on the PATH (in a container action: on the container's)".to_owned());
    };
    let scratch = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
    let layout = scratch.path().join("image");
    let exported = subject.registries.export(subject.repository, platform, &layout).await;
    exported.map_err(|error| error.to_string())?;
    let report = scanner.scan(&layout, scratch.path()).await?;
    let reports = scan::read(&report).map_err(|error| format!("what {} wrote: {error}", scanner.name()))?;
    // It has just been made, of a folder that holds nothing but this image.
    let reports = reports.into_iter().map(|mut report| {
        report.claims = vec![BTreeSet::from([platform.manifest.digest.clone()])];
        report
    });
    Ok(reports.collect())
}

/// The policy in words.
fn wanted(policy: &Policy) -> String {
    let mut parts = Vec::new();
    match policy.fail_on {
        Threshold::Never => {}
        Threshold::Critical => parts.push("no critical vulnerability".to_owned()),
        Threshold::Negligible => parts.push("no vulnerability".to_owned()),
        threshold => parts.push(format!("no {threshold} vulnerability or worse")),
    }
    parts.extend(policy.max.iter().map(|(severity, most)| format!("at most {most} {severity}")));
    if policy.known_exploited == CheckSeverity::Fail {
        parts.push("none that is known to be exploited".to_owned());
    }
    if policy.fixable_only {
        parts.push("counting what can be fixed".to_owned());
    }
    parts.push(format!("by a report about this digest, at most {} old", humantime::format_duration(policy.max_age)));
    parts.join(", ")
}
