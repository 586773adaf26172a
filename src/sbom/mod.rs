//! Software bills of materials: the packages in an image, with their licences, by SPDX and CycloneDX.

mod cyclonedx;
mod licenses;
mod spdx;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

pub use licenses::is_denied;

use crate::config::SbomFormat;
use crate::promotion::digest::Digest;

/// How deep a bill may be packed: bundle, envelope, statement.
const MAX_DEPTH: usize = 4;

/// A package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version; empty where the bill does not say.
    pub version: String,
    /// Its package URL.
    pub purl: Option<String>,
    /// Its licences, as SPDX expressions or as names.
    pub licenses: Vec<String>,
}

/// A bill of materials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bill {
    /// Its format.
    pub format: SbomFormat,
    /// The digests that it says it is about; none where it does not say.
    pub subjects: Vec<Digest>,
    /// What is in the image.
    pub packages: Vec<Package>,
}

/// The keys at the top of a document by which its format is known.
#[derive(Deserialize)]
struct Marks {
    #[serde(rename = "spdxVersion", default)]
    spdx: Option<serde::de::IgnoredAny>,
    #[serde(rename = "@graph", default)]
    graph: Option<serde::de::IgnoredAny>,
    #[serde(rename = "bomFormat", default)]
    cyclonedx: Option<serde::de::IgnoredAny>,
    #[serde(rename = "predicateType", default)]
    predicate_type: Option<String>,
    #[serde(default)]
    predicate: Option<Box<RawValue>>,
    #[serde(default)]
    subject: Option<Vec<Subject>>,
    #[serde(rename = "payloadType", default)]
    payload_type: Option<String>,
    #[serde(default)]
    payload: Option<String>,
    #[serde(rename = "dsseEnvelope", default)]
    envelope: Option<Box<RawValue>>,
    /// Where older versions of cosign put the document.
    #[serde(rename = "Data", default)]
    data: Option<String>,
}

#[derive(Deserialize)]
struct Subject {
    #[serde(default)]
    digest: BTreeMap<String, String>,
}

/// Reads the bill in a document: by itself, or in a statement, an envelope or a bundle. None where it is JSON and
/// something else.
///
/// # Errors
/// What has the marks of a bill, and not its form.
pub fn read(text: &str) -> Result<Option<Bill>, String> {
    read_at(text, MAX_DEPTH)
}

fn read_at(text: &str, depth: usize) -> Result<Option<Bill>, String> {
    let Some(depth) = depth.checked_sub(1) else { return Err("it is packed without end".to_owned()) };
    let marks: Marks = serde_json::from_str(text).map_err(|error| format!("it cannot be read: {error}"))?;
    if marks.spdx.is_some() {
        return spdx::read(text).map(Some);
    }
    if marks.cyclonedx.is_some() {
        return cyclonedx::read(text).map(Some);
    }
    if marks.graph.is_some() && text.contains("spdx.org/rdf/3") {
        return Err("it is SPDX 3, and versions 2 are read".to_owned());
    }
    if let Some(predicate_type) = &marks.predicate_type {
        return in_statement(&marks, predicate_type, depth);
    }
    if let (Some("application/vnd.in-toto+json"), Some(payload)) = (marks.payload_type.as_deref(), &marks.payload) {
        let payload = STANDARD.decode(payload).map_err(|error| format!("its payload: {error}"))?;
        let payload = String::from_utf8(payload).map_err(|error| format!("its payload: {error}"))?;
        return read_at(&payload, depth);
    }
    if let Some(envelope) = marks.envelope {
        return read_at(envelope.get(), depth);
    }
    marks.data.map_or(Ok(None), |data| read_at(&data, depth))
}

fn in_statement(marks: &Marks, predicate_type: &str, depth: usize) -> Result<Option<Bill>, String> {
    let is_bill =
        ["https://spdx.dev/Document", "https://cyclonedx.org/bom"].iter().any(|one| predicate_type.starts_with(one));
    let Some(predicate) = marks.predicate.as_ref().filter(|_| is_bill) else { return Ok(None) };
    let subjects = marks.subject.iter().flatten().flat_map(|subject| &subject.digest);
    let subjects: Vec<Digest> =
        subjects.filter_map(|(algorithm, hex)| format!("{algorithm}:{hex}").parse().ok()).collect();
    match read_at(predicate.get(), depth)? {
        Some(bill) => Ok(Some(Bill { subjects, ..bill })),
        None => Err(format!("its predicate is not what `{predicate_type}` says")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn bills_are_found_however_they_are_packed() {
        let spdx = json!({"spdxVersion": "SPDX-2.3", "packages": [
            {"name": "musl", "versionInfo": "1.2", "licenseConcluded": "NOASSERTION", "licenseDeclared": "MIT",
             "externalRefs": [{"referenceType": "purl", "referenceLocator": "pkg:apk/alpine/musl@1.2"}]}]});
        let bill = read(&spdx.to_string()).unwrap().unwrap();
        assert_eq!(bill.packages[0].licenses, ["MIT"]);
        let hex = "a".repeat(64);
        let statement = json!({"_type": "x", "predicateType": "https://spdx.dev/Document", "predicate": spdx,
            "subject": [{"name": "i", "digest": {"sha256": hex}}]});
        let payload = STANDARD.encode(statement.to_string());
        let envelope = json!({"payloadType": "application/vnd.in-toto+json", "payload": payload, "signatures": []});
        let bundle = json!({"mediaType": "x", "dsseEnvelope": envelope});
        for document in [&statement, &envelope, &bundle] {
            let found = read(&document.to_string()).unwrap().unwrap();
            assert_eq!(found.packages, bill.packages);
            assert_eq!(found.subjects.len(), 1);
        }
        let cyclonedx = json!({"bomFormat": "CycloneDX", "components": [
            {"name": "zlib", "version": "1.3", "purl": "pkg:apk/zlib@1.3",
             "licenses": [{"license": {"id": "Zlib"}}, {"expression": "MIT OR GPL-2.0-only"}],
             "components": [{"name": "inner"}]}]});
        let bill = read(&cyclonedx.to_string()).unwrap().unwrap();
        assert_eq!(bill.packages.len(), 2);
        assert_eq!(bill.packages[0].licenses, ["Zlib", "MIT OR GPL-2.0-only"]);
        assert_eq!(read("{}"), Ok(None));
        let other = json!({"predicateType": "https://slsa.dev/provenance/v1", "predicate": {}});
        assert_eq!(read(&other.to_string()), Ok(None));
        for broken in [
            json!({"spdxVersion": "SPDX-2.3", "packages": 7}),
            json!({"bomFormat": "CycloneDX", "components": {}}),
            json!({"predicateType": "https://spdx.dev/Document", "predicate": {}}),
            json!({"@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld", "@graph": []}),
        ] {
            assert!(read(&broken.to_string()).is_err(), "{broken}");
        }
    }

    proptest! {
        #[test]
        fn nothing_crashes(text in ".{0,200}") {
            let _ = read(&text);
        }
    }
}
