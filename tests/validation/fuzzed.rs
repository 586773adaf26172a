//! What the fuzz targets do, with a stable compiler: real documents, spoilt in every way that chance finds.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::layers::archive;

#[path = "../../fuzz/entries.rs"]
mod entries;

/// Documents as they are made; what is spoilt is one of them.
fn documents() -> Vec<Value> {
    let digest = format!("sha256:{}", "1".repeat(64));
    let vulnerability =
        json!({"VulnerabilityID": "CVE-1", "PkgName": "a", "InstalledVersion": "1", "Severity": "HIGH"});
    vec![
        json!({"SchemaVersion": 2, "CreatedAt": "2026-01-01T00:00:00Z", "ArtifactName": "x",
            "Metadata": {"RepoDigests": [format!("r/x@{digest}")], "ImageConfig": {"architecture": "amd64"}},
            "Results": [{"Target": "x", "Vulnerabilities": [vulnerability]}]}),
        json!({"matches": [{"vulnerability": {"id": "GHSA-1", "severity": "Low", "fix": {"state": "fixed", "versions": ["2"]}},
            "relatedVulnerabilities": [{"id": "CVE-1"}], "artifact": {"name": "a", "version": "1", "purl": "pkg:npm/a@1"}}],
            "source": {"type": "image", "target": {"manifestDigest": digest, "imageID": "", "repoDigests": []}},
            "descriptor": {"name": "grype", "timestamp": "2026-01-01T00:00:00Z", "db": {"built": "2026-01-01T00:00:00Z"}}}),
        json!({"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "s", "rules": [
            {"id": "CVE-1", "properties": {"security-severity": "9.8"}}]}}, "results": [{"ruleId": "CVE-1",
            "ruleIndex": 0, "message": {"text": "x"}, "suppressions": [{"kind": "external", "status": "accepted"}]}]}]}),
        json!({"bomFormat": "CycloneDX", "specVersion": "1.5", "components": [{"name": "a", "version": "1", "bom-ref": "a",
            "licenses": [{"expression": "MIT OR Apache-2.0"}], "purl": "pkg:npm/a@1"}],
            "vulnerabilities": [{"id": "CVE-1", "ratings": [{"severity": "high"}], "affects": [{"ref": "a"}]}]}),
        json!({"spdxVersion": "SPDX-2.3", "packages": [{"name": "a", "versionInfo": "1", "licenseDeclared": "MIT",
            "externalRefs": [{"referenceType": "purl", "referenceLocator": "pkg:apk/a@1"}]}]}),
        json!({"_type": "https://in-toto.io/Statement/v1", "predicateType": "https://in-toto.io/attestation/vulns/v0.2",
            "subject": [{"name": "x", "digest": {"sha256": "1".repeat(64)}}], "predicate": {
            "scanner": {"uri": "s", "result": [{"id": "CVE-1", "severity": [{"method": "nvd", "score": "9.8"}]}]},
            "metadata": {"scanFinishedOn": "2026-01-01T00:00:00Z"}}}),
        json!({"@context": "https://openvex.dev/ns/v0.2.0", "@id": "x", "author": "a", "timestamp": "2026-01-01T00:00:00Z",
            "version": 1, "statements": [{"vulnerability": {"name": "CVE-1"}, "products": [{"@id": "pkg:oci/x"}],
            "status": "not_affected", "justification": "component_not_present"}]}),
        json!({"vulnerabilities": [{"cveID": "CVE-1"}]}),
        json!({"exceptions": [{"id": "CVE-1", "reason": "r", "owner": "o", "expires": "2030-01-01"}]}),
        serde_json::from_str(include_str!("sigstore/bundle_v3_github.whl.sigstore")).unwrap(),
        serde_json::from_str(include_str!("sigstore/conda-attestation.sigstore.json")).unwrap(),
        serde_json::from_str(include_str!("sigstore/github-private-attestation.sigstore.json")).unwrap(),
    ]
}

/// Every place in a document.
pub(crate) fn places(document: &Value) -> Vec<String> {
    let inside: Vec<(String, &Value)> = match document {
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.replace('~', "~0").replace('/', "~1"), value)).collect()
        }
        Value::Array(items) => items.iter().enumerate().map(|(number, value)| (number.to_string(), value)).collect(),
        _ => return vec![String::new()],
    };
    let below = inside.into_iter().flat_map(|(name, value)| {
        places(value).into_iter().map(move |place| format!("/{name}{place}")).collect::<Vec<_>>()
    });
    std::iter::once(String::new()).chain(below).collect()
}

/// What may stand in the place of something else.
fn values() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!(true)),
        any::<i64>().prop_map(|number| json!(number)),
        any::<f64>().prop_map(|number| json!(number)),
        ".{0,40}".prop_map(|text| json!(text)),
        Just(json!([])),
        Just(json!({})),
        Just(json!([[[[[[[[{"a": [{}]}]]]]]]]])),
        Just(json!("9".repeat(10_000))),
        prop::collection::vec(Just(json!({"id": "x"})), 100..200).prop_map(Value::from),
    ]
}

fn spoilt() -> impl Strategy<Value = String> {
    let documents = documents();
    let changes = prop::collection::vec((any::<prop::sample::Index>(), values()), 0..3);
    (0..documents.len(), changes, prop::option::weighted(0.2, any::<prop::sample::Index>())).prop_map(
        move |(number, changes, cut)| {
            let mut document = documents[number].clone();
            for (place, value) in changes {
                let places = places(&document);
                if let Some(old) = document.pointer_mut(place.get::<String>(&places)) {
                    *old = value;
                }
            }
            let text = document.to_string();
            let end = cut.map_or(text.len(), |cut| cut.index(text.len()));
            text.char_indices().take_while(|(at, _)| *at < end).map(|(_, letter)| letter).collect()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn nothing_crashes_and_nothing_is_proven(text in spoilt(), noise in prop::collection::vec(any::<u8>(), 0..500)) {
        entries::reports(text.as_bytes());
        entries::bills(&text);
        entries::bundles(&text);
        entries::reports(&noise);
        entries::bills(&String::from_utf8_lossy(&noise));
        entries::bundles(&String::from_utf8_lossy(&noise));
    }

    #[test]
    fn archives_are_the_same_however_they_come(
        at in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), cut in any::<prop::sample::Index>(),
    ) {
        let files = [("usr/bin/su", 0o4755, "x"), ("var/lib/dpkg/status", 0o644, "Package: a\nVersion: 1\n"), ("etc/.wh.x", 0, "")];
        let mut bytes = archive(&files);
        for (at, byte) in at {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        entries::archives(&bytes);
        entries::archives(&bytes[..cut.index(bytes.len())]);
    }
}

#[test]
fn however_deep_or_large_it_is_nothing_crashes() {
    for text in [
        "[".repeat(1_000_000),
        "{\"a\":".repeat(1_000_000),
        format!("{{\"matches\": [{}]}}", vec!["{}"; 100_000].join(",")),
        format!("{{\"spdxVersion\": \"SPDX-2.3\", \"packages\": {}1{}}}", "[".repeat(5_000), "]".repeat(5_000)),
        format!("{{\"bomFormat\": \"CycloneDX\", \"components\": [{}]}}", vec!["{\"name\":\"a\"}"; 100_000].join(",")),
        format!("exceptions:\n{}", "- [".repeat(10_000)),
        format!("exceptions:\n{}", "- ".repeat(50_000)),
        "a: &a [x]\nb: &b [*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c]\nexceptions: [*d,*d,*d,*d]\n"
            .to_owned(),
    ] {
        entries::reports(text.as_bytes());
        entries::bills(&text);
        entries::bundles(&text);
    }
}
