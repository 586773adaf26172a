//! What leaves the machine when a visit is over: the archive, the artifact, the trace.

use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use testbed::fault::{Action, Answer, Rule};
use testbed::moto::Moto;
use testbed::runner::{Finished, Runner};

use super::scene::Scene;

/// Adds `audit:` to the scene's configuration.
fn audited(scene: &Scene, audit: &str) {
    let path = scene.step().workspace().join(".github/tidegate.yml");
    let mut configuration = std::fs::read_to_string(&path).unwrap();
    configuration.push_str(&format!("audit: {audit}\n"));
    std::fs::write(path, configuration).unwrap();
}

fn scene(audit: &str) -> Scene {
    let scene = Scene::new("team: { slack: \"${SLACK}\", on: [succeeded] }", "");
    audited(&scene, audit);
    scene
}

fn with_keys(scene: &Scene) -> Runner {
    scene.step().env("ARCHIVE_ID", "an-id-of-a-key").env("ARCHIVE_KEY", "a-secret-of-a-key")
}

const CREDENTIALS: &str =
    "credentials: { access-key-id: \"${ARCHIVE_ID}\", secret-access-key: \"${ARCHIVE_KEY}\" }, region: us-east-1";

fn assert_no_key(finished: &Finished) {
    let told: String = finished.stdout.lines().filter(|line| !line.starts_with("::add-mask::")).collect();
    for text in [&told, &finished.stderr, &finished.summary().to_owned()] {
        assert!(!text.contains("a-secret-of-a-key") && !text.contains("sig=secret"), "{finished}");
    }
}

#[test]
fn the_trail_is_archived_and_verifies_from_there() {
    let moto = Moto::start();
    moto.bucket("acme-audit");
    let scene =
        scene(&format!("{{ archive: s3://acme-audit/tide/gate, endpoint: \"{}\", {CREDENTIALS} }}", moto.url()));
    let finished = with_keys(&scene).run();
    assert!(finished.is_success(), "{finished}");
    let run = scene.run();
    let folder = format!("tide/gate/acme/api/production/{}", run.id);
    assert!(finished.stdout.contains(&format!("archived in s3://acme-audit/{folder}")), "{finished}");
    let object =
        |name: &str| moto.object("acme-audit", &format!("{folder}/{name}")).unwrap_or_else(|| panic!("{name}"));
    let trail = object("audit.jsonl");
    assert_eq!(trail.lines().count() as u64, run.seq);
    assert!(object("compliance.html").contains("<main>"));
    assert_eq!(serde_json::from_str::<Value>(&object("record.json")).unwrap()["deployment_id"], run.id.as_str());
    // What lies there is enough to verify the run, without any database.
    let step = scene.step().file("from-the-archive.jsonl", &trail);
    let anchor = format!("{}:{}:{}", run.id, run.seq, run.head);
    let audit =
        step.input("operation", "audit").input("audit-file", "from-the-archive.jsonl").input("anchor", &anchor).run();
    assert!(audit.is_success(), "{audit}");
    assert_no_key(&finished);
}

#[test]
fn a_storage_that_refuses_is_told_and_changes_nothing() {
    let denied = "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";
    let cases = [
        (Answer::status(403).body(denied), "let the credentials write"),
        (Answer::status(404).body("<Error><Code>NoSuchBucket</Code></Error>"), "make the bucket"),
        (Answer::status(500), "check the storage"),
    ];
    for (answer, fix) in cases {
        let scene = Scene::new("team: { slack: \"${SLACK}\", on: [succeeded] }", "");
        audited(
            &scene,
            &format!("{{ archive: s3://acme-audit, endpoint: \"{}\", {CREDENTIALS} }}", scene.channels.url()),
        );
        scene.channels.fault(Rule::on("PUT", "/acme-audit/*").act(Action::Answer(answer)));
        let finished = with_keys(&scene).run();
        assert!(finished.is_success(), "{finished}");
        let warnings = finished.annotations("warning");
        assert!(warnings.iter().any(|text| text.contains("cannot be archived") && text.contains(fix)), "{finished}");
        assert_no_key(&finished);
    }
    // A missing key is told before anything is done.
    let scene = scene(&format!("{{ archive: s3://acme-audit, {CREDENTIALS} }}"));
    let finished = scene.promote();
    assert_eq!(finished.code, Some(2), "{finished}");
    assert!(finished.stdout.contains("ARCHIVE_ID"), "{finished}");
}

/// A step that the runner has told where artifacts go.
fn with_artifacts(scene: &Scene) -> Runner {
    let claims = json!({ "scp": "Actions.ExampleScope Actions.Results:run-id:job-id" }).to_string();
    let token = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims));
    scene.step().env("ACTIONS_RUNTIME_TOKEN", &token).env("ACTIONS_RESULTS_URL", &format!("{}/", scene.channels.url()))
}

#[test]
fn the_trail_becomes_an_artifact_of_the_workflow_run() {
    let scene = scene("{ artifact-retention: 365d }");
    let fault =
        scene.channels.fault(Rule::on("POST", "*/CreateArtifact").times(1).act(Action::Answer(Answer::status(503))));
    let finished = with_artifacts(&scene).run();
    assert!(finished.is_success(), "{finished}");
    assert_eq!(fault.hits(), 1);
    let run = scene.run();
    let told = scene.told("/twirp/");
    let [create, finalize] = told.as_slice() else { panic!("{told:?}") };
    let (created, finalized) = (create.json(), finalize.json());
    let name = format!("tidegate-{}", run.id);
    assert_eq!((&created["name"], &created["version"]), (&name.as_str().into(), &4.into()));
    assert_eq!(
        (&created["workflow_run_backend_id"], &created["workflow_job_run_backend_id"]),
        (&"run-id".into(), &"job-id".into())
    );
    // The repository allows 90 days.
    let expires: chrono::DateTime<chrono::Utc> = created["expires_at"].as_str().unwrap().parse().unwrap();
    let days = (expires - chrono::Utc::now()).num_days();
    assert!((88..=90).contains(&days), "{days}");
    let blob = scene.told("/blob").remove(0);
    assert_eq!(blob.headers["x-ms-blob-type"], "BlockBlob");
    assert!(!blob.headers.contains_key("authorization"));
    let hash = format!("sha256:{}", hex::encode(Sha256::digest(&blob.bytes)));
    assert_eq!(finalized["hash"], hash.as_str());
    assert_eq!(finalized["size"], blob.bytes.len().to_string().as_str());
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(blob.bytes)).unwrap();
    let mut trail = String::new();
    zip.by_name("audit.jsonl").unwrap().read_to_string(&mut trail).unwrap();
    assert_eq!(trail.lines().count() as u64, run.seq);
    assert_no_key(&finished);
}

#[test]
fn an_artifact_that_cannot_be_uploaded_is_a_warning_with_another_way() {
    let scene = scene("{}");
    scene.channels.fault(Rule::on("POST", "*/CreateArtifact").act(Action::Answer(Answer::status(409).body("exists"))));
    let finished = with_artifacts(&scene).run();
    assert!(finished.is_success(), "{finished}");
    let warnings = finished.annotations("warning");
    assert!(warnings.iter().any(|text| text.contains("actions/upload-artifact")), "{finished}");
    // Whoever does not want it is not asked, and on a server that does not have it, it is not tried.
    for (audit, server) in [("{ artifact: false }", "https://github.com"), ("{}", "https://github.acme.test")] {
        let scene = self::scene(audit);
        assert!(with_artifacts(&scene).env("GITHUB_SERVER_URL", server).run().is_success());
        assert!(scene.told("/twirp/").is_empty());
    }
}

#[test]
fn the_run_is_sent_as_a_trace_where_a_collector_is_named() {
    let scene = scene("{}");
    let step = scene
        .step()
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &scene.channels.url())
        .env("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20tracer");
    let finished = step.run();
    assert!(finished.is_success(), "{finished}");
    let told = scene.told("/v1/traces");
    let [trace] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(trace.headers["authorization"], "Bearer tracer");
    let spans = trace.json()["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().len();
    assert_eq!(spans, scene.run().stages.len() + 1);

    scene.channels.fault(Rule::on("POST", "/v1/traces").act(Action::Answer(Answer::status(500))));
    let finished = step.env("GITHUB_RUN_ID", "16000000002").run();
    assert!(finished.is_success(), "{finished}");
    assert!(finished.annotations("warning").iter().any(|text| text.contains("OpenTelemetry")), "{finished}");
}
