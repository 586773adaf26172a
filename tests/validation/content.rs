//! What must not be in an image: one image for each defect, refused for exactly that.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use testbed::fault::{Action, Answer, Rule};
use testbed::image::{Artifact, Content, Image};
use tidegate::promotion::check::Verdict;

use super::layers::{archive, layered};
use super::scene::{REPOSITORY, Scene, told};

fn promoted(policy: &str, image: &Content) -> super::scene::Told {
    let scene = Scene::new(policy);
    scene.candidate(image);
    let told = scene.promote();
    assert_eq!(scene.production().is_some(), told.finished.is_success());
    told
}

#[test]
fn files_with_setuid() {
    let policy = "{ content: { setuid: { allow: [/usr/bin/su] } } }";
    let base = || archive(&[("usr/bin/su", 0o4755, "x"), ("usr/bin/ls", 0o755, "x")]);
    promoted(policy, &layered(&[base()])).says("setuid", Verdict::Pass, &["none"]);
    for hidden in ["usr/bin/mount", "/usr/bin/mount", "../../usr/bin/mount", "./usr/./bin/mount"] {
        let image = layered(&[base(), archive(&[(hidden, 0o4755, "x")])]);
        promoted(policy, &image).fails_by("setuid", &["/usr/bin/mount (4755)"]);
    }
    // What a layer above takes away is not there.
    let taken = layered(&[archive(&[("usr/bin/mount", 0o4755, "x")]), archive(&[("usr/bin/.wh.mount", 0, "")])]);
    promoted(policy, &taken).says("setuid", Verdict::Pass, &["none"]);
    let changed = layered(&[archive(&[("usr/bin/mount", 0o4755, "x")]), archive(&[("usr/bin/mount", 0o755, "x")])]);
    promoted(policy, &changed).says("setuid", Verdict::Pass, &["none"]);
    // A severity alone asks for it, too.
    let image = layered(&[archive(&[("usr/bin/mount", 0o4755, "x")])]);
    promoted("{ severity: { setuid: fail } }", &image).fails_by("setuid", &["/usr/bin/mount (4755)"]);
    promoted("{ severity: { setuid: warn } }", &image).says("setuid", Verdict::Warn, &["/usr/bin/mount (4755)"]);
    // A layer that is no archive may hold anything.
    promoted(policy, &layered(&[base(), b"hello".to_vec()])).fails_by("setuid", &["layer 2", "cannot be looked into"]);
    promoted(policy, &layered(&[base()[..700].to_vec()])).fails_by("setuid", &["cut off"]);
    // Thousands of entries are no trouble.
    let names: Vec<String> = (0..20_000).map(|number| format!("srv/file-{number}")).collect();
    let many: Vec<(&str, u32, &str)> = names.iter().map(|name| (name.as_str(), 0o644, "")).collect();
    promoted(policy, &layered(&[archive(&many)])).says("setuid", Verdict::Pass, &["none"]);
}

#[test]
fn databases_of_packages_and_releases() {
    let policy = "{ content: { packages: true, end-of-life: {} } }";
    let apk = "P:musl\nV:1.2.5-r0\n\nP:zlib\nV:1.3\n\n";
    let with = |release: &str| {
        layered(&[archive(&[("etc/os-release", 0o644, release), ("lib/apk/db/installed", 0o644, apk)])])
    };
    let good = promoted(policy, &with("ID=alpine\nVERSION_ID=3.23.1\n"));
    good.says("packages", Verdict::Pass, &["/lib/apk/db/installed: 2 packages"]);
    good.says("end-of-life", Verdict::Pass, &["alpine 3.23.1, maintained until"]);
    promoted(policy, &with("ID=alpine\nVERSION_ID=3.10.2\n"))
        .fails_by("end-of-life", &["alpine 3.10.2, which is no longer"]);
    promoted(policy, &with("ID=debian\nVERSION_ID=\"10\"\n"))
        .fails_by("end-of-life", &["debian 10, maintained until 2024"]);
    promoted(policy, &with("ID=templeos\n")).says("end-of-life", Verdict::Warn, &["not known here"]);
    let bare = layered(&[archive(&[("app/server", 0o755, "x")])]);
    promoted("{ content: { packages: true } }", &bare).fails_by("packages", &["none"]);
}

#[test]
fn ports_secrets_and_base_images() {
    let small = || Image::manifest("linux/amd64").layers(1, 100);
    let exposing = |port: &str| {
        let port = port.to_owned();
        small().edit_config(move |config| config["config"]["ExposedPorts"] = json!({ port.clone(): {} })).build()
    };
    let ports = "{ content: { ports: { allow: [8080] } } }";
    promoted(ports, &exposing("8080/tcp")).says("ports", Verdict::Pass, &["8080/tcp"]);
    promoted(ports, &exposing("22/tcp")).fails_by("ports", &["22/tcp", "EXPOSE"]);
    promoted(ports, &exposing("8080/udp")).fails_by("ports", &["8080/udp"]);
    let written = |key: &'static str, value: Value| {
        small().edit_config(move |config| config["config"][key] = value.clone()).build()
    };
    promoted(ports, &written("ExposedPorts", Value::Null)).says("ports", Verdict::Pass, &["none"]);
    promoted(ports, &written("ExposedPorts", json!(["22/tcp"]))).fails_by("ports", &["not what lists ports"]);
    let told = promoted(ports, &written("exposedPorts", json!({"22/tcp": {}})));
    told.says("consistent", Verdict::Fail, &["the field `ExposedPorts` in another spelling"]);

    let secrets = "{ content: { secrets: { allow: [PUBLIC_TOKEN] } } }";
    promoted(secrets, &small().env("PUBLIC_TOKEN", "x").env("DB_PASSWORD_FILE", "/run/x").build()).says(
        "secrets",
        Verdict::Pass,
        &[],
    );
    let told = promoted(secrets, &small().env("DB_PASSWORD", "hunter2-hunter2").build());
    told.fails_by("secrets", &["the variable DB_PASSWORD"]);
    assert_eq!(told.finished.places_with("hunter2-hunter2"), Vec::<String>::new());
    let history = small().edit_config(|config| {
        config["history"][0]["created_by"] = json!("RUN |1 NPM_TOKEN=hunter2-hunter2 /bin/sh -c npm ci");
    });
    let told = promoted(secrets, &history.build());
    told.fails_by("secrets", &["NPM_TOKEN in step 1 of the history"]);
    assert_eq!(told.finished.places_with("hunter2-hunter2"), Vec::<String>::new());

    let base = "{ content: { base-image: { allow: ['docker.io/library/debian:*'] } } }";
    let on = |name: &str| small().label("org.opencontainers.image.base.name", name).build();
    promoted(base, &on("docker.io/library/debian:13")).says("base-image", Verdict::Pass, &[]);
    promoted(base, &on("docker.io/evil/debian:13")).fails_by("base-image", &["docker.io/evil/debian:13"]);
    promoted(base, &small().build()).fails_by("base-image", &["no label"]);
}

/// The file is SARIF by its published schema, which `script/setup` brings.
#[track_caller]
fn is_sarif(path: &Path) {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    let judged = Command::new(target.join("judges/bin/check-jsonschema"))
        // The schema is of a time when patterns were not of Unicode.
        .args(["--regex-variant", "nonunicode", "--schemafile"])
        .arg(target.join("sarif/sarif-2.1.0.json"))
        .arg(path)
        .output()
        .expect("check-jsonschema can be started; script/setup installs it");
    let said = [judged.stdout, judged.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(judged.status.success(), "{said}");
}

#[test]
fn growth_and_what_changes() {
    let scene = Scene::new("{ content: { growth: { total: 50% } } }");
    let before = Image::manifest("linux/amd64").layers(2, 10_000).user("root").env("OLD", "1").build();
    before.place(scene.registry.contents(), REPOSITORY, &["production"]);
    scene.candidate(&Image::manifest("linux/amd64").layers(3, 20_000).seed(2).build());
    let told = scene.promote();
    told.fails_by("growth", &["in all", "at most 50% more"]);
    for text in ["### What changes", "| ✏️ | user |", "`OLD`", "| ✏️ | size |"] {
        assert!(told.finished.summary().contains(text), "{text}: {}", told.finished.summary());
    }
    scene.candidate(&Image::manifest("linux/amd64").layers(2, 11_000).seed(3).build());
    scene.promote().says("growth", Verdict::Pass, &[]);
    // The plan says it too, and leaves the findings for others.
    scene.candidate(&Image::manifest("linux/amd64").layers(2, 90_000).seed(4).build());
    let step = scene.step.clone().input("operation", "plan").input("until", "validation");
    let plan = step.env("GITHUB_RUN_ID", "17").run();
    assert_eq!(plan.code, Some(1), "{plan}");
    assert!(plan.stdout.contains("what changes against"), "{plan}");
    assert!(plan.stdout.contains("profile standard; these checks fail:"), "{plan}");
    let read = |name: &str| -> Value {
        let path = scene.step.workspace().join(".tidegate").join(name);
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    };
    is_sarif(&scene.step.workspace().join(".tidegate/validation.sarif"));
    let sarif = read("validation.sarif");
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    let growth = results.iter().find(|one| one["ruleId"] == "growth").unwrap();
    assert_eq!(growth["level"], "error");
    assert_eq!(growth["locations"][0]["physicalLocation"]["artifactLocation"]["uri"], ".github/tidegate.yml");
    let input = read("validation-input.json");
    assert_eq!(input["candidates"][0]["service"], "api");
    assert!(input["candidates"][0]["findings"].as_array().unwrap().iter().any(|one| one["check"] == "growth"));
}

#[test]
fn what_is_replaced_and_cannot_be_read_has_no_size() {
    let candidate = Image::manifest("linux/amd64").layers(1, 900).seed(2).build();
    let before = Image::manifest("linux/amd64").layers(1, 900).build();
    let scene = || {
        let scene = Scene::new("{ content: { growth: { total: 50% } } }");
        scene.candidate(&candidate);
        scene
    };
    scene().promote().says("growth", Verdict::Skipped, &["there is nothing that it replaces"]);
    let readable = scene();
    before.place(readable.registry.contents(), REPOSITORY, &["production"]);
    readable.promote().says("growth", Verdict::Pass, &["in all"]);
    let manifest = before.document(before.digest()).unwrap().json();
    let config = manifest["config"]["digest"].as_str().unwrap();
    // Its configuration is denied, or gone.
    let denied = scene();
    before.place(denied.registry.contents(), REPOSITORY, &["production"]);
    let answer = Action::Answer(Answer::error(403, "DENIED", "no"));
    denied.registry.fault(Rule::on("GET", &format!("/v2/{REPOSITORY}/blobs/{config}")).act(answer));
    denied.promote().fails_by("growth", &["what it replaces cannot be read"]);
    let gone = scene();
    before.clone().without(config).place(gone.registry.contents(), REPOSITORY, &["production"]);
    gone.promote().fails_by("growth", &["what it replaces cannot be read"]);
}

#[test]
fn packages_that_databases_list_are_compared() {
    let with = |packages: &[(&str, &str)]| {
        let listed: Vec<String> = packages
            .iter()
            .map(|(name, version)| format!("Package: {name}\nStatus: install ok installed\nVersion: {version}\n"))
            .collect();
        layered(&[archive(&[("app/x", 0o644, "x")]), archive(&[("var/lib/dpkg/status", 0o644, &listed.join("\n"))])])
    };
    let scene = Scene::new("{ content: { packages: true } }");
    with(&[("libc6", "2.40"), ("gone", "1")]).place(scene.registry.contents(), REPOSITORY, &["production"]);
    scene.candidate(&with(&[("libc6", "2.41"), ("fresh", "3")]));
    let plan =
        scene.step.clone().input("operation", "plan").input("until", "validation").env("GITHUB_RUN_ID", "17").run();
    for text in
        ["libc6 (linux/amd64): 2.40 -> 2.41", "gone (linux/amd64): removed, was 1", "fresh (linux/amd64): added, 3"]
    {
        assert!(plan.stdout.contains(text), "{text}: {plan}");
    }
    let told = scene.promote();
    told.passes();
    assert!(told.finished.summary().contains("package `libc6`"), "{}", told.finished.summary());
}

#[test]
fn severities_and_profiles_are_of_each_environment() {
    let scene = Scene::new("{}");
    scene.file(
        ".github/tidegate.yml",
        format!(
            "version: 1\nservices: {{ api: {{ image: {}/{REPOSITORY} }} }}\nenvironments:\n  staging: {{ tag: staging }}\n  \
             qa: {{ from: staging, tag: qa, validate: {{ profile: minimal, severity: {{ user: warn }} }} }}\n  \
             production: {{ from: staging, tag: production, validate: {{ severity: {{ user: fail, secrets: off }} }} }}\n",
            scene.registry.host()
        ),
    );
    scene.candidate(
        &Image::manifest("linux/amd64").layers(1, 100).user("root").env("DB_PASSWORD", "hunter2-hunter2").build(),
    );
    let qa = scene.step.clone().input("environment", "qa").env("GITHUB_RUN_ID", "18");
    let plan = qa.clone().input("operation", "plan").run();
    let text = "profile minimal; these checks fail: exists, consistent, command; warn: user; are off: ";
    assert!(plan.stdout.contains(text), "{plan}");
    let in_qa = told(&qa);
    in_qa.says("user", Verdict::Warn, &["root"]);
    in_qa.passes();
    assert!(in_qa.of("secrets").is_empty() && in_qa.of("layers").is_empty(), "{}", in_qa.finished);
    scene.promote().fails_by("user", &["root"]);
}

#[test]
fn lists_of_what_is_in_the_image() {
    let image = Image::manifest("linux/amd64").layers(1, 100).build();
    let spdx = |license: &str| {
        json!({"spdxVersion": "SPDX-2.3", "packages": [
            {"name": "musl", "versionInfo": "1.2", "licenseDeclared": license,
             "externalRefs": [{"referenceType": "purl", "referenceLocator": "pkg:apk/alpine/musl@1.2?arch=x"}]}]})
    };
    let about = |digest: &str| {
        json!({"_type": "https://in-toto.io/Statement/v0.1", "predicateType": "https://spdx.dev/Document",
            "subject": [{"name": "x", "digest": {"sha256": digest.trim_start_matches("sha256:")}}], "predicate": spdx("MIT")})
    };
    let denying = "{ sbom: { deny-licenses: ['AGPL-*'], deny-packages: ['pkg:apk/alpine/log4j*', left-pad] } }";
    for (what, media_type, document, verdict, says) in [
        ("good", "application/spdx+json", spdx("MIT"), Verdict::Pass, "1 packages by spdx"),
        ("a choice", "application/spdx+json", spdx("MIT OR AGPL-3.0-only"), Verdict::Pass, "1 packages"),
        ("a licence", "application/spdx+json", spdx("AGPL-3.0-only"), Verdict::Fail, "musl@1.2 (AGPL-3.0-only)"),
        ("an attestation", "application/vnd.in-toto+json", about(image.digest()), Verdict::Pass, "1 packages"),
        ("of another", "application/vnd.in-toto+json", about(&"0".repeat(64)), Verdict::Fail, "about another image"),
        (
            "broken",
            "application/spdx+json",
            json!({"spdxVersion": "SPDX-2.3", "packages": 1}),
            Verdict::Fail,
            "malformed",
        ),
    ] {
        let scene = Scene::new(denying);
        scene.candidate(&image);
        let bill = Artifact::new(media_type).layer(media_type, document.to_string()).subject(image.root()).build();
        bill.place(scene.registry.contents(), REPOSITORY, &[]);
        let told = scene.promote();
        told.says("sbom", verdict, &[says]);
        assert_eq!(scene.production().is_some(), verdict == Verdict::Pass, "{what}");
    }
    promoted("{ sbom: {} }", &image).fails_by("sbom", &["none"]);
    // A list that is none, and one that cannot be read: not even where none is required, nor beside a good one.
    let kind = "application/spdx+json";
    let attached = |bytes: &str| Artifact::new(kind).layer(kind, bytes.to_owned()).subject(image.root()).build();
    let empty = attached(r#"{"spdxVersion":"SPDX-2.3"}"#);
    let (cut, binary) = (attached(&spdx("MIT").to_string()[..60]), attached(""));
    let gone = {
        let bill = attached(r#"{"spdxVersion":"SPDX-2.3","packages":[]}"#);
        let digest = testbed::digest::sha256(br#"{"spdxVersion":"SPDX-2.3","packages":[]}"#);
        bill.without(&digest)
    };
    let good = attached(&spdx("MIT").to_string());
    let lenient = denying.replace("sbom: {", "sbom: { required: false,");
    for (what, policy, bills, fails) in [
        ("empty", "{ sbom: {} }", vec![&empty], Some("it lists nothing")),
        ("empty, and not required", &lenient, vec![&empty], Some("it lists nothing")),
        ("empty beside a good one", denying, vec![&empty, &good], None),
        ("cut off, and not required", &lenient, vec![&cut], Some("it cannot be read")),
        ("without text, and not required", &lenient, vec![&binary], Some("it is empty")),
        ("gone, and not required", &lenient, vec![&gone], Some("none that counts")),
        ("cut off beside a good one", denying, vec![&cut, &good], Some("it cannot be read")),
        ("gone beside a good one", &lenient, vec![&gone, &good], Some("attach the list again")),
        ("cut off where nothing is denied", "{ sbom: {} }", vec![&cut, &good], None),
    ] {
        let scene = Scene::new(policy);
        scene.candidate(&image);
        bills.iter().for_each(|bill| bill.place(scene.registry.contents(), REPOSITORY, &[]));
        let told = scene.promote();
        match fails {
            Some(says) => told.says("sbom", Verdict::Fail, &[says]),
            None => told.says("sbom", Verdict::Pass, &["1 packages"]),
        }
        assert_eq!(scene.production().is_some(), fails.is_none(), "{what}");
    }
    promoted("{ sbom: { required: false } }", &image).says("sbom", Verdict::Skipped, &["none"]);
    let left_pad =
        json!({"bomFormat": "CycloneDX", "specVersion": "1.5", "components": [{"name": "left-pad", "version": "1"}]});
    let kind = "application/vnd.cyclonedx+json";
    let scene = Scene::new(denying);
    scene.candidate(&image);
    let bill = Artifact::new(kind).layer(kind, left_pad.to_string()).subject(image.root()).build();
    bill.place(scene.registry.contents(), REPOSITORY, &[]);
    scene.promote().fails_by("sbom", &["left-pad@1"]);
}
