//! Trivy's JSON (aquasecurity/trivy `pkg/types/report.go`), version 2, and the list that versions before 0.20 wrote.

use serde::Deserialize;

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
}

#[derive(Deserialize)]
struct ImageConfig {
    #[serde(default)]
    architecture: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Target {
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
    let digests = metadata.iter().flat_map(|metadata| {
        metadata.repo_digests.iter().flatten().chain(&metadata.image_id).filter_map(|text| digest(text))
    });
    let mut report = Report::new("Trivy").claiming(digests);
    report.architecture = metadata.and_then(|metadata| metadata.image_config).and_then(|config| config.architecture);
    report.made_at = document.created_at.as_deref().and_then(time);
    report.vulnerabilities = vulnerabilities(document.results.unwrap_or_default());
    Ok(vec![report])
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
