//! Grype's JSON (anchore/grype `grype/presenter/models/document.go`).

use serde::Deserialize;

use super::{Remedy, Report, Severity, Unreadable, Vulnerability, digest, parse, time};

const FORMAT: &str = "a report of Grype";

#[derive(Deserialize)]
struct Document {
    matches: Vec<Match>,
    #[serde(default)]
    source: Option<Source>,
    #[serde(default)]
    descriptor: Option<Descriptor>,
}

#[derive(Deserialize)]
struct Match {
    vulnerability: Found,
    #[serde(default, rename = "relatedVulnerabilities")]
    related: Option<Vec<Related>>,
    artifact: Artifact,
}

#[derive(Deserialize)]
struct Found {
    id: String,
    #[serde(default)]
    severity: String,
    #[serde(default)]
    fix: Option<Fix>,
    #[serde(default, rename = "knownExploited")]
    known_exploited: Option<Vec<serde::de::IgnoredAny>>,
}

#[derive(Deserialize)]
struct Fix {
    #[serde(default)]
    state: String,
    #[serde(default)]
    versions: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Related {
    id: String,
}

#[derive(Deserialize)]
struct Artifact {
    #[serde(default)]
    name: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    purl: Option<String>,
}

#[derive(Deserialize)]
struct Source {
    // A folder's is a string.
    #[serde(default)]
    target: serde_json::Value,
}

#[derive(Deserialize)]
struct Descriptor {
    #[serde(default)]
    timestamp: Option<String>,
    #[serde(default)]
    db: serde_json::Value,
}

pub(super) fn read(text: &str) -> Result<Vec<Report>, Unreadable> {
    let document: Document = parse(FORMAT, text)?;
    let target = document.source.map(|source| source.target).unwrap_or_default();
    let texts = |pointer: &str| target.pointer(pointer).and_then(serde_json::Value::as_str);
    let repositories = target.get("repoDigests").and_then(serde_json::Value::as_array);
    let digests = [texts("/manifestDigest"), texts("/imageID")]
        .into_iter()
        .flatten()
        .chain(repositories.into_iter().flatten().filter_map(serde_json::Value::as_str))
        .filter_map(digest);
    let mut report = Report::new("Grype").claiming(digests);
    report.architecture = texts("/architecture").filter(|text| !text.is_empty()).map(ToOwned::to_owned);
    if let Some(descriptor) = document.descriptor {
        report.made_at = descriptor.timestamp.as_deref().and_then(time);
        // `built` stood beside `schemaVersion` before Grype 0.88, and is in `status` since.
        let built = descriptor.db.pointer("/status/built").or_else(|| descriptor.db.get("built"));
        report.database_at = built.and_then(serde_json::Value::as_str).and_then(time);
    }
    report.vulnerabilities = document.matches.into_iter().map(vulnerability).collect();
    Ok(vec![report])
}

fn vulnerability(one: Match) -> Vulnerability {
    let found = one.vulnerability;
    let remedy = match found.fix {
        Some(fix) if fix.state == "fixed" || fix.versions.as_ref().is_some_and(|versions| !versions.is_empty()) => {
            Remedy::Fixed(fix.versions.unwrap_or_default().join(", "))
        }
        Some(fix) if fix.state == "not-fixed" || fix.state == "wont-fix" => Remedy::None,
        // "unknown" and what is left out.
        _ => Remedy::Untold,
    };
    Vulnerability {
        id: found.id,
        aliases: one.related.unwrap_or_default().into_iter().map(|related| related.id).collect(),
        severity: Severity::of_word(&found.severity),
        package: one.artifact.name,
        version: one.artifact.version,
        purl: one.artifact.purl.filter(|purl| !purl.is_empty()),
        remedy,
        exploited: found.known_exploited.is_some_and(|list| !list.is_empty()),
    }
}
