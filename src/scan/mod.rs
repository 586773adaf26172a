//! Known vulnerabilities: the reports of scanners read into one model, and what a policy makes of them.
//!
//! | file | what it reads |
//! |---|---|
//! | `trivy`, `grype`, `sarif`, `cyclonedx` | the formats of reports |
//! | `attested` | reports inside in-toto statements, DSSE envelopes and Sigstore bundles |
//! | `exceptions`, `openvex`, `exploited` | what people know about single vulnerabilities |
//! | `document` | bytes from files: bounded, in whatever encoding a shell wrote them |
//! | `gate` | the decision: pure |
//! | `scanner` | a scanner that is run here |
//!
//! Everything that is read was written by others. What cannot be understood is an error and never an empty report; what
//! does not say to which image it belongs belongs to none.

mod attested;
mod cyclonedx;
pub mod document;
pub mod exceptions;
pub mod exploited;
pub mod gate;
mod grype;
pub mod openvex;
mod sarif;
pub mod scanner;
mod trivy;

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike as _, TimeDelta, Utc};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::promotion::digest::Digest;

/// How deep reports may be packed into each other: bundle, statement, predicate, report.
const MAX_DEPTH: usize = 5;

/// A clock may go a little ahead of ours.
pub const CLOCK_SKEW: TimeDelta = TimeDelta::minutes(5);

/// How bad a vulnerability is. Ordered: `Unknown` is the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// The scanner does not say, or in a word that nobody knows.
    Unknown,
    /// Negligible.
    Negligible,
    /// Low.
    Low,
    /// Medium.
    Medium,
    /// High.
    High,
    /// Critical.
    Critical,
}

impl Severity {
    /// All, the worst first.
    pub const ALL: [Self; 6] = [Self::Critical, Self::High, Self::Medium, Self::Low, Self::Negligible, Self::Unknown];

    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Negligible => "negligible",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// The severity that a scanner's word means.
    #[must_use]
    pub fn of_word(word: &str) -> Self {
        match word.trim().to_ascii_lowercase().as_str() {
            "critical" => Self::Critical,
            "high" | "important" => Self::High,
            "medium" | "moderate" => Self::Medium,
            "low" => Self::Low,
            "negligible" | "none" | "info" | "informational" => Self::Negligible,
            _ => Self::Unknown,
        }
    }

    /// The severity of a CVSS score, as GitHub's code scanning draws the lines: from 9 critical, from 7 high, from 4
    /// medium, above 0 low. What is outside 0 to 10 is unknown, and so is 0, which scanners write for "not rated".
    #[must_use]
    pub fn of_score(score: f64) -> Self {
        match score {
            _ if !(score > 0.0 && score <= 10.0) => Self::Unknown,
            _ if score >= 9.0 => Self::Critical,
            _ if score >= 7.0 => Self::High,
            _ if score >= 4.0 => Self::Medium,
            _ => Self::Low,
        }
    }
}

/// Whether there is a version of the package without the vulnerability.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// In these versions.
    Fixed(String),
    /// Not yet, or not ever.
    None,
    /// The report does not say.
    Untold,
}

/// A vulnerability in a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vulnerability {
    /// Its identifier, e.g. `CVE-2019-1549`.
    pub id: String,
    /// Other identifiers of the same.
    pub aliases: Vec<String>,
    /// How bad it is.
    pub severity: Severity,
    /// The package; empty where the report does not say.
    pub package: String,
    /// The package's version; empty where the report does not say.
    pub version: String,
    /// The package URL, where the report has one.
    pub purl: Option<String>,
    /// Whether it can be had without.
    pub remedy: Remedy,
    /// Whether the scanner knows that it is exploited.
    pub exploited: bool,
}

impl Vulnerability {
    /// Whether this is one of its names.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        self.id.eq_ignore_ascii_case(name) || self.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(name))
    }
}

/// A scanner's report about one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The format, for people.
    pub format: &'static str,
    /// What the report says of the image that it is about: each set must name the image, by the digest of its index, of
    /// a manifest or of a configuration. A report without any is about no image.
    pub claims: Vec<BTreeSet<Digest>>,
    /// The architecture that was scanned, where the report tells.
    pub architecture: Option<String>,
    /// When it was made.
    pub made_at: Option<DateTime<Utc>>,
    /// When the scanner's database was made.
    pub database_at: Option<DateTime<Utc>>,
    /// What was found; what the scanner was told to ignore is left out.
    pub vulnerabilities: Vec<Vulnerability>,
}

impl Report {
    fn new(format: &'static str) -> Self {
        Self {
            format,
            claims: Vec::new(),
            architecture: None,
            made_at: None,
            database_at: None,
            vulnerabilities: Vec::new(),
        }
    }

    /// The same, with the digests that it names.
    fn claiming(mut self, digests: impl IntoIterator<Item = Digest>) -> Self {
        let claim: BTreeSet<Digest> = digests.into_iter().collect();
        if !claim.is_empty() {
            self.claims.push(claim);
        }
        self
    }

    /// Whether one of these digests is what the report says it is about, in everything that it says of that.
    #[must_use]
    pub fn is_about(&self, image: &BTreeSet<Digest>) -> bool {
        !self.claims.is_empty() && self.claims.iter().all(|claim| !claim.is_disjoint(image))
    }

    /// Whether it names this digest.
    #[must_use]
    pub fn names(&self, digest: &Digest) -> bool {
        self.claims.iter().any(|claim| claim.contains(digest))
    }
}

/// Why bytes are no report that can be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// There is nothing.
    #[error("it is empty")]
    Empty,
    /// There is more than is read.
    #[error("it has more than {limit} bytes, and no more are read")]
    TooLarge {
        /// The most.
        limit: u64,
    },
    /// It cannot be read at all.
    #[error("it cannot be read: {why}")]
    Unread {
        /// Why.
        why: String,
    },
    /// It is not text.
    #[error("it is not text in UTF-8 or UTF-16")]
    NotText,
    /// It is not JSON.
    #[error("it is not JSON: {why}")]
    NotJson {
        /// Why.
        why: String,
    },
    /// It has the marks of a format, and not its form.
    #[error("it is {format}, and malformed: {why}")]
    Malformed {
        /// The format.
        format: &'static str,
        /// Why.
        why: String,
    },
}

/// The keys at the top of a document by which its format is known.
#[derive(Deserialize)]
struct Marks {
    #[serde(rename = "SchemaVersion")]
    schema_version: Option<IgnoredAny>,
    #[serde(rename = "ArtifactName")]
    artifact_name: Option<IgnoredAny>,
    #[serde(rename = "Results")]
    results: Option<IgnoredAny>,
    matches: Option<IgnoredAny>,
    runs: Option<IgnoredAny>,
    #[serde(rename = "bomFormat")]
    bom_format: Option<IgnoredAny>,
    #[serde(rename = "predicateType")]
    predicate_type: Option<IgnoredAny>,
    payload: Option<IgnoredAny>,
    #[serde(rename = "payloadType")]
    payload_type: Option<IgnoredAny>,
    #[serde(rename = "dsseEnvelope")]
    envelope: Option<IgnoredAny>,
    scanner: Option<IgnoredAny>,
    metadata: Option<IgnoredAny>,
}

/// Reads the reports in a document; none where it is JSON and something else than a report.
///
/// # Errors
/// What is not JSON, and what has the marks of a report and not its form.
pub fn read(bytes: &[u8]) -> Result<Vec<Report>, Unreadable> {
    let text = document::text(bytes)?;
    read_json(&text, MAX_DEPTH)
}

fn read_json(text: &str, depth: usize) -> Result<Vec<Report>, Unreadable> {
    if text.trim_start().starts_with('[') {
        return trivy::read_list(text);
    }
    let marks: Marks = serde_json::from_str(text).map_err(|error| Unreadable::NotJson { why: error.to_string() })?;
    if marks.schema_version.is_some() && (marks.artifact_name.is_some() || marks.results.is_some()) {
        trivy::read(text)
    } else if marks.matches.is_some() {
        grype::read(text)
    } else if marks.runs.is_some() {
        sarif::read(text)
    } else if marks.bom_format.is_some() {
        cyclonedx::read(text)
    } else if marks.predicate_type.is_some() {
        attested::read_statement(text, depth)
    } else if marks.payload.is_some() && marks.payload_type.is_some() {
        attested::read_envelope(text, depth)
    } else if marks.envelope.is_some() {
        attested::read_bundle(text, depth)
    } else if marks.scanner.is_some() && marks.metadata.is_some() {
        attested::read_predicate(text, depth)
    } else {
        Ok(Vec::new())
    }
}

/// Reads a document of a known format.
fn parse<T: DeserializeOwned>(format: &'static str, text: &str) -> Result<T, Unreadable> {
    serde_json::from_str(text).map_err(|error| Unreadable::Malformed { format, why: error.to_string() })
}

/// A time as reports write it; the zero of Go's clock is none.
fn time(text: &str) -> Option<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(text.trim()).ok()?.with_timezone(&Utc);
    (time.year() > 1970).then_some(time)
}

/// The digest in `repository@sha256:…`, or the text itself.
fn digest(text: &str) -> Option<Digest> {
    text.rsplit('@').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_report_is_none_or_an_error_and_never_an_empty_report() {
        for text in [
            "{}",
            r#"{"bomFormat":"CycloneDX","components":[]}"#,
            r#"{"vulnerabilities":[]}"#,
            // Trivy with other scanners than that of vulnerabilities.
            r#"{"SchemaVersion":2,"ArtifactName":"x","Results":[{"Target":"/key","Class":"secret","Secrets":[]}]}"#,
            r#"{"SchemaVersion":2,"ArtifactName":"x","Results":[{"Target":"OS Packages","Class":"license"},{"Class":"config"}]}"#,
            r#"{"SchemaVersion":2,"ArtifactName":"x","Metadata":{"OS":{"Family":"alpine","Name":"3.10.2"}}}"#,
        ] {
            assert_eq!(read(text.as_bytes()), Ok(Vec::new()), "{text}");
        }
        // Nothing was found where somebody looked.
        for text in [
            r#"{"SchemaVersion":2,"ArtifactName":"scratch","Metadata":{}}"#,
            r#"{"SchemaVersion":2,"ArtifactName":"x","Results":[{"Target":"alpine","Class":"os-pkgs"},{"Class":"secret"}]}"#,
            r#"{"SchemaVersion":2,"ArtifactName":"x","Results":[{"Target":"old"}]}"#,
            r#"{"runs":[{"tool":{"driver":{}},"results":[],"invocations":[{"executionSuccessful":true}]}]}"#,
        ] {
            let reports = read(text.as_bytes()).unwrap();
            assert!(reports.len() == 1 && reports[0].vulnerabilities.is_empty(), "{text}: {reports:?}");
        }
        for (text, says) in [
            ("", "empty"),
            (" \n", "empty"),
            ("{", "not JSON"),
            ("<xml/>", "not JSON"),
            ("12", "not JSON"),
            ("null", "not JSON"),
            (r#"{"SchemaVersion":2,"ArtifactName":"x","Results":{}}"#, "malformed"),
            (r#"{"SchemaVersion":2,"ArtifactName":"x","Results":[{"Vulnerabilities":[{"Severity":1}]}]}"#, "malformed"),
            (r#"{"matches":{}}"#, "malformed"),
            (r#"{"matches":[{}]}"#, "malformed"),
            (r#"{"runs":[{"results":"none"}]}"#, "malformed"),
            (r#"{"runs":[{"tool":{"driver":{}}}]}"#, "nobody has looked"),
            (r#"{"runs":[{"tool":{"driver":{}},"results":null}]}"#, "nobody has looked"),
            (
                r#"{"runs":[{"tool":{"driver":{}},"results":[],"invocations":[{"executionSuccessful":false}]}]}"#,
                "a run says that it failed",
            ),
            (r#"{"bomFormat":"CycloneDX","vulnerabilities":7}"#, "malformed"),
            (r#"{"payload":"%%%","payloadType":"application/vnd.in-toto+json"}"#, "malformed"),
            (r#"{"matches":[],"matches":[]}"#, "duplicate"),
            ("[1]", "malformed"),
        ] {
            let error = read(text.as_bytes()).expect_err(text).to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
        let deep = format!("{{\"runs\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(matches!(read(deep.as_bytes()), Err(Unreadable::Malformed { .. })), "depth is bounded");
    }

    #[test]
    fn scores_and_words() {
        for (score, severity) in [
            (9.0, Severity::Critical),
            (8.9, Severity::High),
            (7.0, Severity::High),
            (4.0, Severity::Medium),
            (0.1, Severity::Low),
            (0.0, Severity::Unknown),
            (-1.0, Severity::Unknown),
            (11.0, Severity::Unknown),
            (f64::NAN, Severity::Unknown),
        ] {
            assert_eq!(Severity::of_score(score), severity, "{score}");
        }
        for (word, severity) in
            [("CRITICAL", Severity::Critical), ("Negligible", Severity::Negligible), ("spicy", Severity::Unknown)]
        {
            assert_eq!(Severity::of_word(word), severity, "{word}");
        }
    }

    proptest! {
        #[test]
        fn nothing_crashes(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = read(&bytes);
        }

        #[test]
        fn nothing_like_a_report_crashes(cut in 0usize..2_000, with in ".{0,20}") {
            let text = r#"{"SchemaVersion":2,"ArtifactName":"a","Metadata":{"ImageID":"sha256:x","RepoDigests":["a@b"]},"Results":[{"Vulnerabilities":[{"VulnerabilityID":"CVE-1","PkgName":"p","Severity":"HIGH"}]}]}"#;
            let at = cut % text.len();
            let _ = read(format!("{}{with}{}", &text[..at], &text[at..]).as_bytes());
        }
    }
}
