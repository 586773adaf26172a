//! Known vulnerabilities: which reports count, for which platform, and what the policy makes of them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use testbed::image::{Artifact, Content, Descriptor, Image};
use tidegate::promotion::check::Verdict;

use super::scene::{REPOSITORY, Scene};

const TWO: [&str; 2] = ["linux/amd64", "linux/arm64"];

fn two() -> Content {
    Image::index(&TWO).layers(1, 200).build()
}

fn single() -> Content {
    Image::manifest("linux/amd64").layers(1, 200).build()
}

fn ago(hours: i64) -> String {
    (Utc::now() - TimeDelta::hours(hours)).to_rfc3339()
}

/// A report of Trivy about an image, with vulnerabilities of these severities.
fn trivy(digest: &str, severities: &[&str]) -> Value {
    let found: Vec<Value> = severities
        .iter()
        .enumerate()
        .map(|(number, severity)| {
            json!({
                "VulnerabilityID": format!("CVE-2026-{number}"), "PkgName": "openssl", "InstalledVersion": "1.0",
                "FixedVersion": "1.1", "Severity": severity,
                "PkgIdentifier": {"PURL": "pkg:apk/alpine/openssl@1.0?arch=x86_64"},
            })
        })
        .collect();
    json!({
        "SchemaVersion": 2, "CreatedAt": ago(1), "ArtifactName": "x", "ArtifactType": "container_image",
        "Metadata": {"RepoDigests": [format!("registry.test/acme/api@{digest}")]},
        "Results": [{"Target": "x", "Vulnerabilities": found}],
    })
}

/// A report of Grype about a manifest.
fn grype(manifest: &str, severity: &str) -> Value {
    json!({
        "matches": [{
            "vulnerability": {"id": "GHSA-1", "severity": severity, "fix": {"state": "not-fixed", "versions": []}},
            "relatedVulnerabilities": [{"id": "CVE-2026-1"}],
            "artifact": {"name": "lodash", "version": "4.0", "purl": "pkg:npm/lodash@4.0"},
        }],
        "source": {"type": "image", "target": {"manifestDigest": manifest, "imageID": "", "repoDigests": []}},
        "descriptor": {"name": "grype", "timestamp": ago(1), "db": {"status": {"built": ago(24)}}},
    })
}

fn statement(predicate_type: &str, subject: &str, predicate: &Value) -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1", "predicateType": predicate_type,
        "subject": [{"name": "api", "digest": {"sha256": subject.trim_start_matches("sha256:")}}],
        "predicate": predicate,
    })
}

fn envelope(statement: &Value) -> Value {
    json!({
        "payloadType": "application/vnd.in-toto+json", "payload": STANDARD.encode(statement.to_string()),
        "signatures": [{"sig": "AA=="}],
    })
}

fn cosign_predicate(result: &Value) -> Value {
    json!({
        "invocation": {"parameters": null}, "scanner": {"uri": "pkg:github/aquasecurity/trivy", "result": result,
        "db": {"lastUpdate": ago(30)}}, "metadata": {"scanStartedOn": ago(2), "scanFinishedOn": ago(2)},
    })
}

#[test]
fn a_report_about_the_digest_decides() {
    let image = single();
    for (severities, verdict, texts) in [
        (&[][..], Verdict::Pass, &["no vulnerability by Trivy (scan/a.json)"][..]),
        (&["HIGH", "LOW"], Verdict::Warn, &["1 high, 1 low", "CVE-2026-0 in openssl 1.0 (fixed in 1.1)"]),
        (&["CRITICAL"], Verdict::Fail, &["1 critical", "critical: CVE-2026-0 in openssl", "update the packages"]),
        (&["SPICY"], Verdict::Warn, &["1 unknown"]),
    ] {
        let scene = Scene::new("{ scan: { reports: [scan/*.json], attached: false } }");
        scene.candidate(&image);
        scene.file("scan/a.json", trivy(image.digest(), severities).to_string());
        let told = scene.promote();
        told.says("scan", verdict, texts);
        assert_eq!(scene.production().is_some(), verdict != Verdict::Fail);
    }
}

#[test]
fn a_report_must_be_this_images_and_recent_and_there() {
    let image = single();
    let other = Image::manifest("linux/amd64").layers(1, 200).seed(9).build();
    let mut old = trivy(image.digest(), &[]);
    old["CreatedAt"] = json!(ago(30));
    let mut future = trivy(image.digest(), &[]);
    future["CreatedAt"] = json!(ago(-30));
    let mut undated = trivy(image.digest(), &[]);
    undated["CreatedAt"] = Value::Null;
    let mut stale = grype(image.digest(), "Low");
    stale["descriptor"]["db"] = json!({"built": ago(24 * 8)});
    // Its name is this image's, and what was scanned is another: the repository's digest alone is a claim that fits.
    let mut contradicted = cosign_predicate(&trivy(other.digest(), &[]));
    contradicted = statement("https://cosign.sigstore.dev/attestation/vuln/v1", image.digest(), &contradicted);
    let mut folder = trivy(image.digest(), &[]);
    folder["Metadata"] = json!({});
    for (report, texts) in [
        (
            trivy(other.digest(), &[]).to_string(),
            &["no report about this digest among 1 reports", "trivy image --platform"][..],
        ),
        (folder.to_string(), &["no report about this digest among 1 reports"]),
        (contradicted.to_string(), &["no report about this digest among 1 reports"]),
        (json!({"hello": 1}).to_string(), &["among 0 reports and 1 other documents"]),
        (old.to_string(), &["may be 1day old"]),
        (future.to_string(), &["in the future"]),
        (undated.to_string(), &["does not say when it was made"]),
        (stale.to_string(), &["the scanner's database is from", "may be 5days old"]),
        (String::new(), &["scan/a.json: it is empty"]),
        (trivy(image.digest(), &[]).to_string()[..100].to_owned(), &["scan/a.json: it is not JSON"]),
        ("[[[[".repeat(50_000), &["scan/a.json: it is"]),
        (r#"{"SchemaVersion":2,"ArtifactName":1,"Results":"none"}"#.to_owned(), &["malformed"]),
    ] {
        let scene = Scene::new("{ scan: { reports: ['scan/**/*.json'], attached: false } }");
        scene.candidate(&image);
        scene.file("scan/a.json", report);
        scene.promote().fails_by("scan", texts);
        assert_eq!(scene.production(), None);
    }
    // A good one beside a broken one: the broken one may be the one that matters.
    let scene = Scene::new("{ scan: { reports: [scan/*], attached: false } }");
    scene.candidate(&image);
    scene.file("scan/a.json", trivy(image.digest(), &[]).to_string());
    scene.file("scan/b.json", "{");
    scene.promote().fails_by("scan", &["scan/b.json: it is not JSON"]);
    // One that is named and is not there: its scanner may have failed.
    let scene = Scene::new("{ scan: { reports: [scan/a.json, scan/b.json], attached: false } }");
    scene.candidate(&image);
    scene.file("scan/a.json", trivy(image.digest(), &[]).to_string());
    scene.promote().fails_by("scan", &["scan/b.json: it cannot be read: it is not there"]);
    scene.file("scan/b.json", trivy(image.digest(), &[]).to_string());
    scene.promote().passes();
    let scene = Scene::new("{ scan: { reports: [scan/a.json, scan/b.json], attached: false, required: false } }");
    scene.candidate(&image);
    scene.file("scan/a.json", trivy(image.digest(), &[]).to_string());
    scene.promote().says("scan", Verdict::Pass, &["no vulnerability"]);
    // What is not required is skipped where it is absent, and counts where it is there.
    let scene = Scene::new("{ scan: { reports: [scan/*], required: false } }");
    scene.candidate(&image);
    scene.promote().says("scan", Verdict::Skipped, &["no report"]);
}

#[test]
fn a_report_in_the_encoding_of_another_shell_is_read() {
    let image = single();
    let scene = Scene::new("{ scan: { reports: [scan/*.json], attached: false } }");
    scene.candidate(&image);
    let text = trivy(image.digest(), &["CRITICAL"]).to_string();
    let bytes: Vec<u8> = [0xff, 0xfe].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    scene.file("scan/a.json", bytes);
    scene.promote().fails_by("scan", &["1 critical"]);
}

#[test]
fn every_platform_needs_its_report() {
    let image = two();
    let manifest = |platform: &str| image.child(platform).unwrap().digest;
    let scene = Scene::new("{ scan: { reports: [scan/*.json], attached: false } }");
    scene.candidate(&image);
    scene.file("scan/amd64.json", grype(&manifest("linux/amd64"), "Medium").to_string());
    let told = scene.promote();
    told.fails_by("scan", &["no report about this digest"]);
    let failing: Vec<_> = told.of("scan").into_iter().filter(|one| one.verdict == Verdict::Fail).collect();
    assert_eq!(failing.len(), 1);
    assert_eq!(failing[0].platform.as_ref().unwrap().to_string(), "linux/arm64");
    // The index's digest alone does not say which platform was scanned; with the architecture it does.
    scene.file("scan/arm64.json", trivy(image.digest(), &[]).to_string());
    scene.promote().fails_by("scan", &["no report about this digest"]);
    let mut of_arm = trivy(image.digest(), &["LOW"]);
    of_arm["Metadata"]["ImageConfig"] = json!({"architecture": "arm64"});
    scene.file("scan/arm64.json", of_arm.to_string());
    let told = scene.promote();
    told.says("scan", Verdict::Pass, &["1 medium by Grype", "1 low by Trivy"]);
    told.passes();
}

#[test]
fn reports_that_are_attached_count() {
    let image = two();
    let child = |platform: &str| image.child(platform).unwrap();
    let attach = |subject: &Descriptor, media_type: &str, document: &Value| {
        Artifact::new(media_type).layer(media_type, document.to_string()).subject(subject).build()
    };
    let arm = child("linux/arm64");
    let amd = child("linux/amd64");
    // SARIF says nothing of its image: it is about what it is attached to.
    let sarif = |level: &str| {
        json!({"version": "2.1.0", "runs": [{
            "tool": {"driver": {"name": "s", "rules": [{"id": "CVE-1", "properties": {"security-severity": level}}]}},
            "invocations": [{"endTimeUtc": ago(1), "executionSuccessful": true}],
            "results": [
                {"ruleId": "CVE-1", "message": {"text": "x"}},
                {"ruleId": "CVE-1", "message": {"text": "y"}, "suppressions": [{"kind": "external", "status": "accepted"}]},
            ],
        }]})
    };
    let vulns = statement(
        "https://in-toto.io/attestation/vulns/v0.2",
        &amd.digest,
        &json!({
            "scanner": {"uri": "s", "result": [{"id": "CVE-7", "severity": [{"method": "nvd", "score": "9.8"}]}]},
            "metadata": {"scanStartedOn": ago(1), "scanFinishedOn": ago(1)},
        }),
    );
    for (of_amd, verdict, text) in [
        (attach(&amd, "application/sarif+json", &sarif("9.8")), Verdict::Fail, "1 critical by SARIF"),
        (attach(&amd, "application/sarif+json", &sarif("3.1")), Verdict::Pass, "1 low by SARIF"),
        (
            attach(&amd, "application/vnd.dsse.envelope.v1+json", &envelope(&vulns)),
            Verdict::Fail,
            "1 critical by in-toto",
        ),
        (
            attach(
                &amd,
                "application/vnd.dev.sigstore.bundle.v0.3+json",
                &json!({"mediaType": "x", "dsseEnvelope": envelope(&statement(
                    "https://cosign.sigstore.dev/attestation/vuln/v1",
                    &amd.digest,
                    &cosign_predicate(&trivy(&amd.digest, &["HIGH"])),
                ))}),
            ),
            Verdict::Warn,
            "1 high by Trivy",
        ),
        (attach(&amd, "application/json", &json!({"matches": 7})), Verdict::Fail, "malformed"),
        (attach(&amd, "application/json", &trivy(&arm.digest, &[])), Verdict::Fail, "no report about this digest"),
    ] {
        let scene = Scene::new("{ scan: {} }");
        scene.candidate(&image.clone().with(of_amd));
        attach(&arm, "application/json", &grype(&arm.digest, "Low")).place(scene.registry.contents(), REPOSITORY, &[]);
        scene.promote().says("scan", verdict, &[text]);
    }
}

#[test]
fn exceptions_statements_and_what_is_exploited() {
    let image = single();
    let scene = Scene::new("{ scan: { reports: [scan/*.json], exceptions: exceptions.yml, attached: false } }");
    scene.candidate(&image);
    scene.file("scan/a.json", trivy(image.digest(), &["CRITICAL"]).to_string());
    let told = scene.promote();
    assert_eq!((told.finished.code, told.reason.as_str()), (Some(2), "configuration-invalid"), "{}", told.finished);
    let exception = |expires: &str| {
        format!("exceptions:\n- {{ id: CVE-2026-0, reason: not called, owner: ann, expires: {expires} }}\n")
    };
    scene.file("exceptions.yml", exception("2020-01-01"));
    scene.promote().fails_by("scan", &["the exception of ann for CVE-2026-0 ended on 2020-01-02"]);
    scene.file("exceptions.yml", exception("2999-01-01"));
    let told = scene.promote();
    told.says("scan", Verdict::Pass, &["no vulnerability, 1 excused"]);

    let scene = Scene::new("{ scan: { reports: [scan/*.json], vex: [vex.json], attached: false } }");
    scene.candidate(&image);
    scene.file("scan/a.json", trivy(image.digest(), &["CRITICAL"]).to_string());
    let vex = |product: &str, at: &str| {
        json!({"@context": "https://openvex.dev/ns/v0.2.0", "@id": "x", "author": "a", "timestamp": at, "version": 1,
            "statements": [{"vulnerability": {"name": "CVE-2026-0"}, "products": [{"@id": product}],
                "status": "not_affected", "justification": "vulnerable_code_not_in_execute_path"}]})
        .to_string()
    };
    let of = |digest: &str| format!("pkg:oci/api@{}", digest.replace(':', "%3A"));
    scene.file("vex.json", vex(&of(&format!("sha256:{}", "0".repeat(64))), &ago(1)));
    scene.promote().fails_by("scan", &["1 critical"]);
    scene.file("vex.json", vex(&of(image.digest()), &ago(-1)));
    scene.promote().fails_by("scan", &["1 critical"]);
    scene.file("vex.json", vex(&of(image.digest()), &ago(1)));
    scene.promote().says("scan", Verdict::Pass, &["1 excused"]);

    let scene = Scene::new(
        "{ scan: { reports: [scan/*.json], known-exploited: fail, known-exploited-file: kev.json, attached: false } }",
    );
    scene.candidate(&image);
    scene.file("scan/a.json", trivy(image.digest(), &["LOW"]).to_string());
    scene.file("kev.json", json!({"title": "x", "vulnerabilities": [{"cveID": "CVE-2026-0"}]}).to_string());
    scene.promote().fails_by("scan", &["known to be exploited: CVE-2026-0"]);
}

#[test]
fn an_attached_report_that_is_cut_off_is_no_other_document() {
    let image = single();
    let attach =
        |kind: &str, text: &str| Artifact::new(kind).layer(kind, text.to_owned()).subject(image.root()).build();
    let report = trivy(image.digest(), &["CRITICAL"]).to_string();
    for (what, content, verdict, says) in [
        ("cut off", attach("application/json", &report[..90]), Verdict::Fail, "it is not JSON"),
        ("empty", attach("application/sarif+json", ""), Verdict::Fail, "it is empty"),
        ("another document", attach("text/plain", "hello"), Verdict::Skipped, "1 other documents"),
    ] {
        let scene = Scene::new("{ scan: { required: false } }");
        scene.candidate(&image);
        content.place(scene.registry.contents(), REPOSITORY, &[]);
        scene.promote().says("scan", verdict, &[says]);
        assert_eq!(scene.production().is_some(), verdict == Verdict::Skipped, "{what}");
    }
}

#[test]
fn a_scanner_on_the_path_is_run_without_our_secrets() {
    let image = two();
    let scene = Scene::new("{ scan: { run: true, attached: false } }");
    scene.candidate(&image);
    let told = scene.promote();
    told.fails_by("scan", &["neither `trivy` nor `grype` is on the PATH"]);
    // A scanner that tells what it sees: it finds a vulnerability exactly where no secret is in its environment and the
    // image is whole.
    let script = r#"#!/bin/sh
for last; do :; done
id=clean; env | grep -q -i -e token -e password && id=secret
test -f "$last/index.json" && test "$(ls "$last/blobs/sha256" | wc -l)" = 3 || id=incomplete
echo '{"SchemaVersion":2,"CreatedAt":"'$(date -u +%Y-%m-%dT%H:%M:%SZ)'","ArtifactName":"x","Metadata":{},"Results":[{"Vulnerabilities":[{"VulnerabilityID":"'$id'","PkgName":"p","Severity":"HIGH"}]}]}'
"#;
    scene.file("bin/trivy", script);
    let folder = scene.step.workspace().join("bin");
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(folder.join("trivy"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", folder.display());
    let step = scene.step.clone().env("PATH", &path).env("REGISTRY_PASSWORD", "x").env("AWS_SESSION_TOKEN", "y");
    let told = super::scene::told(&step);
    told.says("scan", Verdict::Warn, &["1 high by Trivy (run here); clean in p"]);
    told.passes();
}
