//! Reports inside attestations: in-toto statements with cosign's or in-toto's predicate of vulnerabilities, by
//! themselves, in a DSSE envelope, or in a Sigstore bundle.
//!
//! What is said is read here; who says it is not looked at. A statement's subject is one more claim about which image it
//! is, besides what the report in it says.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Remedy, Report, Severity, Unreadable, Vulnerability, parse, read_json, time};
use crate::promotion::digest::Digest;

const STATEMENT: &str = "an in-toto statement";
const ENVELOPE: &str = "a DSSE envelope";
const PREDICATE: &str = "a predicate of vulnerabilities";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    predicate_type: String,
    #[serde(default)]
    subject: Option<Vec<Subject>>,
    #[serde(default)]
    predicate: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Subject {
    #[serde(default)]
    digest: std::collections::BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    dsse_envelope: Envelope,
}

#[derive(Deserialize)]
struct Predicate {
    scanner: Scanner,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Scanner {
    #[serde(default)]
    db: Option<Database>,
    result: Box<RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Database {
    #[serde(default)]
    last_update: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    scan_started_on: Option<String>,
    #[serde(default)]
    scan_finished_on: Option<String>,
}

/// A finding in in-toto's own form (in-toto/attestation `spec/predicates/vulns.md`).
#[derive(Deserialize)]
struct Found {
    id: String,
    #[serde(default)]
    severity: Option<Vec<Rating>>,
}

#[derive(Deserialize)]
struct Rating {
    #[serde(default)]
    score: serde_json::Value,
}

pub(super) fn read_bundle(text: &str, depth: usize) -> Result<Vec<Report>, Unreadable> {
    let bundle: Bundle = parse("a Sigstore bundle", text)?;
    read_payload(&bundle.dsse_envelope, depth)
}

pub(super) fn read_envelope(text: &str, depth: usize) -> Result<Vec<Report>, Unreadable> {
    read_payload(&parse(ENVELOPE, text)?, depth)
}

fn read_payload(envelope: &Envelope, depth: usize) -> Result<Vec<Report>, Unreadable> {
    if envelope.payload_type != "application/vnd.in-toto+json" {
        return Ok(Vec::new());
    }
    let malformed = |why: String| Unreadable::Malformed { format: ENVELOPE, why };
    let payload = STANDARD.decode(&envelope.payload).map_err(|error| malformed(error.to_string()))?;
    let text = std::str::from_utf8(&payload).map_err(|error| malformed(error.to_string()))?;
    read_statement(text, deeper(depth)?)
}

pub(super) fn read_statement(text: &str, depth: usize) -> Result<Vec<Report>, Unreadable> {
    let statement: Statement = parse(STATEMENT, text)?;
    let of_cosign = statement.predicate_type.starts_with("https://cosign.sigstore.dev/attestation/vuln/");
    let of_in_toto = statement.predicate_type.starts_with("https://in-toto.io/attestation/vulns");
    if !of_cosign && !of_in_toto {
        return Ok(Vec::new());
    }
    let Some(predicate) = statement.predicate else {
        return Err(Unreadable::Malformed { format: STATEMENT, why: "it has no predicate".to_owned() });
    };
    let subjects: Vec<Digest> = statement.subject.iter().flatten().flat_map(digests).collect();
    let reports = read_predicate(predicate.get(), deeper(depth)?)?;
    Ok(reports.into_iter().map(|report| report.claiming(subjects.clone())).collect())
}

fn digests(subject: &Subject) -> Vec<Digest> {
    subject.digest.iter().filter_map(|(algorithm, hex)| format!("{algorithm}:{hex}").parse().ok()).collect()
}

pub(super) fn read_predicate(text: &str, depth: usize) -> Result<Vec<Report>, Unreadable> {
    let predicate: Predicate = parse(PREDICATE, text)?;
    let result = predicate.scanner.result.get();
    let mut reports = match serde_json::from_str::<Vec<Found>>(result) {
        Ok(found) => {
            let vulnerabilities = found.into_iter().map(vulnerability).collect();
            vec![Report { vulnerabilities, ..Report::new("in-toto") }]
        }
        Err(_) => read_json(result, deeper(depth)?)?,
    };
    if reports.is_empty() {
        let why = "the scanner's result is in no format that is known".to_owned();
        return Err(Unreadable::Malformed { format: PREDICATE, why });
    }
    // When it began is how old it is: what came later was not seen.
    let metadata = &predicate.metadata;
    let made_at = [&metadata.scan_started_on, &metadata.scan_finished_on];
    let made_at = made_at.into_iter().filter_map(|text| time(text.as_deref()?)).min();
    let database_at = predicate.scanner.db.and_then(|database| time(database.last_update.as_deref()?));
    for report in &mut reports {
        report.made_at = made_at.into_iter().chain(report.made_at).min();
        report.database_at = database_at.into_iter().chain(report.database_at).min();
    }
    Ok(reports)
}

fn vulnerability(found: Found) -> Vulnerability {
    let severity = |rating: &Rating| match &rating.score {
        serde_json::Value::String(text) => {
            text.trim().parse::<f64>().map_or_else(|_| Severity::of_word(text), Severity::of_score)
        }
        number => number.as_f64().map_or(Severity::Unknown, Severity::of_score),
    };
    Vulnerability {
        severity: found.severity.iter().flatten().map(severity).max().unwrap_or(Severity::Unknown),
        id: found.id,
        aliases: Vec::new(),
        package: String::new(),
        version: String::new(),
        purl: None,
        remedy: Remedy::Untold,
        exploited: false,
    }
}

fn deeper(depth: usize) -> Result<usize, Unreadable> {
    let why = "reports are packed into each other without end".to_owned();
    depth.checked_sub(1).ok_or(Unreadable::Malformed { format: STATEMENT, why })
}
