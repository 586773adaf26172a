//! Trivy's JSON (aquasecurity/trivy `pkg/types/report.go`), version 2, and the list that versions before 0.20 wrote.
//!
//! Trivy writes the same report whatever it was told to look for, secrets or licences alone too, and does not tell. What
//! tells is a target of packages, which is there for every operating system that Trivy knows, whether it found something or
//! not. So a report with other targets alone, or with an operating system and no target, proves no scan.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Remedy, Report, Severity, Unreadable, Vulnerability, digest, parse, time};

const FORMAT: &str = "a report of Trivy";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    #[serde(default)]
    created_at: Option<String>,
    #[serde(default)]
    metadata: Option<Metadata>,
    #[serde(default)]
    results: Option<Vec<Target>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    #[serde(default, rename = "ImageID")]
    image_id: Option<String>,
    #[serde(default)]
    repo_digests: Option<Vec<String>>,
    #[serde(default)]
    image_config: Option<ImageConfig>,
    #[serde(default, rename = "OS")]
    system: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct ImageConfig {
    #[serde(default)]
    architecture: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Target {
    /// What kind of target it is; versions before 0.20 do not tell.
    #[serde(default)]
    class: Option<String>,
    #[serde(default)]
    vulnerabilities: Option<Vec<Found>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Found {
    #[serde(rename = "VulnerabilityID")]
    id: String,
    #[serde(default, rename = "VendorIDs")]
    vendor_ids: Option<Vec<String>>,
    #[serde(default)]
    pkg_name: String,
    #[serde(default)]
    pkg_identifier: Option<Identifier>,
    #[serde(default)]
    installed_version: String,
    #[serde(default)]
    fixed_version: Option<String>,
    #[serde(default)]
    severity: String,
}

#[derive(Deserialize)]
struct Identifier {
    #[serde(default, rename = "PURL")]
    purl: Option<String>,
}

pub(super) fn read(text: &str) -> Result<Vec<Report>, Unreadable> {
    let document: Document = parse(FORMAT, text)?;
    let metadata = document.metadata;
    let targets = document.results.unwrap_or_default();
    let has_system = metadata.as_ref().is_some_and(|metadata| metadata.system.is_some());
    if !targets.iter().any(is_of_packages) && (has_system || !targets.is_empty()) {
        return Ok(Vec::new());
    }
    let digests = metadata.iter().flat_map(|metadata| {
        metadata.repo_digests.iter().flatten().chain(&metadata.image_id).filter_map(|text| digest(text))
    });
    let mut report = Report::new("Trivy").claiming(digests);
    report.architecture = metadata.and_then(|metadata| metadata.image_config).and_then(|config| config.architecture);
    report.made_at = document.created_at.as_deref().and_then(time);
    report.vulnerabilities = vulnerabilities(targets);
    Ok(vec![report])
}

/// Whether it is a target whose packages were looked at.
fn is_of_packages(target: &Target) -> bool {
    target.vulnerabilities.is_some() || target.class.as_ref().is_none_or(|class| class.ends_with("-pkgs"))
}

/// The list of old versions does not say what it is about.
pub(super) fn read_list(text: &str) -> Result<Vec<Report>, Unreadable> {
    let targets: Vec<Target> = parse(FORMAT, text)?;
    Ok(vec![Report { vulnerabilities: vulnerabilities(targets), ..Report::new("Trivy (before 0.20)") }])
}

fn vulnerabilities(targets: Vec<Target>) -> Vec<Vulnerability> {
    targets.into_iter().flat_map(|target| target.vulnerabilities.unwrap_or_default()).map(vulnerability).collect()
}

fn vulnerability(found: Found) -> Vulnerability {
    let fixed = found.fixed_version.filter(|version| !version.trim().is_empty());
    Vulnerability {
        id: found.id,
        aliases: found.vendor_ids.unwrap_or_default(),
        severity: Severity::of_word(&found.severity),
        package: found.pkg_name,
        version: found.installed_version,
        purl: found.pkg_identifier.and_then(|identifier| identifier.purl).filter(|purl| !purl.is_empty()),
        remedy: fixed.map_or(Remedy::None, Remedy::Fixed),
        exploited: false,
    }
}
