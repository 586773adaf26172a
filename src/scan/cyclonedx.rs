//! CycloneDX with vulnerabilities (JSON, 1.4 and later).
//!
//! A list of components is written in the same format, and scanners write an empty list of vulnerabilities where they
//! have not looked for any. So a document that lists none is no report: it does not prove that somebody looked.

use std::collections::HashMap;

use serde::Deserialize;

use super::{Remedy, Report, Severity, Unreadable, Vulnerability, digest, parse, time};

const FORMAT: &str = "CycloneDX";

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    metadata: Option<Metadata>,
    #[serde(default)]
    components: Option<Vec<Component>>,
    #[serde(default)]
    vulnerabilities: Option<Vec<Found>>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    timestamp: Option<String>,
    #[serde(default)]
    component: Option<Component>,
}

#[derive(Deserialize)]
struct Component {
    #[serde(default, rename = "bom-ref")]
    reference: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    purl: Option<String>,
    #[serde(default)]
    properties: Option<Vec<Property>>,
    #[serde(default)]
    components: Option<Vec<Component>>,
}

#[derive(Deserialize)]
struct Property {
    #[serde(default)]
    name: String,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
struct Found {
    #[serde(default)]
    id: String,
    #[serde(default)]
    references: Option<Vec<Reference>>,
    #[serde(default)]
    ratings: Option<Vec<Rating>>,
    #[serde(default)]
    recommendation: Option<String>,
    #[serde(default)]
    analysis: Option<Analysis>,
    #[serde(default)]
    affects: Option<Vec<Affected>>,
}

#[derive(Deserialize)]
struct Reference {
    #[serde(default)]
    id: String,
}

#[derive(Deserialize)]
struct Rating {
    #[serde(default)]
    severity: Option<String>,
    #[serde(default)]
    score: Option<f64>,
}

#[derive(Deserialize)]
struct Analysis {
    #[serde(default)]
    state: Option<String>,
}

#[derive(Deserialize)]
struct Affected {
    #[serde(default, rename = "ref")]
    reference: String,
}

pub(super) fn read(text: &str) -> Result<Vec<Report>, Unreadable> {
    let document: Document = parse(FORMAT, text)?;
    let found = document.vulnerabilities.unwrap_or_default();
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let (made_at, about) = document.metadata.map_or((None, None), |metadata| (metadata.timestamp, metadata.component));
    let mut report = Report::new(FORMAT).claiming(about.iter().flat_map(digests));
    report.made_at = made_at.as_deref().and_then(time);
    let mut components = HashMap::new();
    about.iter().for_each(|component| list(component, &mut components));
    document.components.iter().flatten().for_each(|component| list(component, &mut components));
    report.vulnerabilities =
        found.iter().filter(|found| counts(found)).flat_map(|found| each(found, &components)).collect();
    Ok(vec![report])
}

/// The digests by which a component that is an image is known.
fn digests(component: &Component) -> Vec<crate::promotion::digest::Digest> {
    // `pkg:oci/name@sha256%3A…?repository_url=…` (purl-spec, `oci`).
    let of_purl = component
        .purl
        .iter()
        .map(|purl| purl.split(['?', '#']).next().unwrap_or_default().replace("%3A", ":").replace("%3a", ":"));
    let names = ["aquasecurity:trivy:RepoDigest", "aquasecurity:trivy:ImageID", "syft:image:digest"];
    let of_properties = component.properties.iter().flatten().filter(|one| names.contains(&one.name.as_str()));
    let of_version = component.version.iter().cloned();
    let texts = of_purl.chain(of_properties.map(|one| one.value.clone())).chain(of_version);
    texts.filter_map(|text| digest(&text)).collect()
}

fn list<'c>(component: &'c Component, all: &mut HashMap<&'c str, &'c Component>) {
    if let Some(reference) = &component.reference {
        all.insert(reference, component);
    }
    component.components.iter().flatten().for_each(|inner| list(inner, all));
}

/// Whether nobody has said that it does not apply.
fn counts(found: &Found) -> bool {
    let state = found.analysis.as_ref().and_then(|analysis| analysis.state.as_deref());
    !matches!(state, Some("resolved" | "resolved_with_pedigree" | "false_positive" | "not_affected"))
}

/// The vulnerability in each package that it affects.
fn each(found: &Found, components: &HashMap<&str, &Component>) -> Vec<Vulnerability> {
    // Several rate the same; the worst counts.
    let severity = |rating: &Rating| {
        let word = rating.severity.as_deref().map_or(Severity::Unknown, Severity::of_word);
        if word == Severity::Unknown { rating.score.map_or(word, Severity::of_score) } else { word }
    };
    let severity = found.ratings.iter().flatten().map(severity).max().unwrap_or(Severity::Unknown);
    let recommendation = found.recommendation.as_ref().filter(|text| !text.trim().is_empty());
    let one = Vulnerability {
        id: found.id.clone(),
        aliases: found.references.iter().flatten().map(|reference| reference.id.clone()).collect(),
        severity,
        package: String::new(),
        version: String::new(),
        purl: None,
        remedy: recommendation.cloned().map_or(Remedy::Untold, Remedy::Fixed),
        exploited: false,
    };
    let affected: Vec<Vulnerability> = found
        .affects
        .iter()
        .flatten()
        .map(|affected| match components.get(affected.reference.as_str()) {
            Some(component) => Vulnerability {
                package: component.name.clone().unwrap_or_else(|| affected.reference.clone()),
                version: component.version.clone().unwrap_or_default(),
                purl: component.purl.clone(),
                ..one.clone()
            },
            None => Vulnerability { package: affected.reference.clone(), ..one.clone() },
        })
        .collect();
    if affected.is_empty() { vec![one] } else { affected }
}
