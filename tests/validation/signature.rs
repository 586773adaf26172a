//! Signatures: who signed what, in every form that is in use, and every way in which it is not so.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use testbed::image::{Artifact, Content, CosignKind, Descriptor, Image, cosign_layer};
use testbed::sigstore::{COSIGN_SIGN, Identity, Key, Sigstore, statement};
use tidegate::promotion::check::Verdict;

use super::scene::{REPOSITORY, Scene, told};

const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

const POLICY: &str = "{ signature: { issuer: 'https://token.actions.githubusercontent.com', identity: \
                      'https://github.com/acme/api/.*', trust-root: root.json } }";

fn release() -> Identity {
    Identity::workflow("acme/api", "release.yml", "refs/heads/main")
}

fn single() -> Content {
    Image::manifest("linux/amd64").layers(1, 200).build()
}

fn signed(digest: &str) -> Value {
    statement(COSIGN_SIGN, digest, &json!({}))
}

/// A scene that trusts this Sigstore.
fn scene(policy: &str, sigstore: &Sigstore, image: &Content) -> Scene {
    let scene = Scene::new(policy);
    scene.file("root.json", sigstore.trusted_root().to_string());
    scene.candidate(image);
    scene
}

/// Attaches a bundle as cosign does since its version 3.
fn attach(scene: &Scene, subject: &Descriptor, bundle: &Value) {
    let artifact = Artifact::new(BUNDLE).layer(BUNDLE, bundle.to_string()).subject(subject).build();
    artifact.place(scene.registry.contents(), REPOSITORY, &[]);
}

/// Attaches a signature as cosign did before.
fn attach_old(scene: &Scene, subject: &str, (payload, annotations): (Vec<u8>, BTreeMap<String, String>)) {
    let content = cosign_layer(CosignKind::Signature, subject, payload.into(), annotations);
    content.place(scene.registry.contents(), REPOSITORY, &[]);
}

/// The image is promoted, or its provenance is refused for a reason.
#[track_caller]
fn comes_to(scene: &Scene, what: &str, says: Option<&str>) {
    let told = scene.promote();
    match says {
        None => told.says("provenance", Verdict::Pass, &["built from https://github.com/acme/api at refs/heads/main"]),
        Some(says) => told.fails_by("provenance", &[says]),
    }
    assert_eq!(scene.production().is_some(), says.is_none(), "{what}");
}

#[test]
fn a_bundle_by_the_right_identity_is_accepted_and_every_forgery_is_refused() {
    let sigstore = Sigstore::new();
    let image = single();
    let other = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
    let good = || sigstore.bundle(&release(), &signed(image.digest()));
    let expired = Identity { years: (2020, 2021), ..release() };
    let elsewhere = Identity { issuer: "https://accounts.google.com".to_owned(), ..release() };
    let tampered = |pointer: &str, value: Value| {
        let mut bundle = good();
        *bundle.pointer_mut(pointer).unwrap() = value;
        bundle
    };
    let mut unlogged = good();
    unlogged["verificationMaterial"]["tlogEntries"] = json!([]);
    let mut unproven = good();
    unproven["verificationMaterial"]["tlogEntries"][0].as_object_mut().unwrap().remove("inclusionProof");
    let mut borrowed = good();
    borrowed["verificationMaterial"]["tlogEntries"] =
        sigstore.bundle(&release(), &signed(other))["verificationMaterial"]["tlogEntries"].clone();
    let lookalike = Identity::workflow("acme/api.evil", "release.yml", "refs/heads/main");
    for (what, bundle, says) in [
        ("good", good(), None),
        ("another identity", sigstore.bundle(&lookalike, &signed(image.digest())), Some("another identity is wanted")),
        ("another issuer", sigstore.bundle(&elsewhere, &signed(image.digest())), Some("another issuer is wanted")),
        ("another digest", sigstore.bundle(&release(), &signed(other)), Some("does not match any subject")),
        (
            "an attestation",
            sigstore.bundle(&release(), &statement("https://slsa.dev/provenance/v1", image.digest(), &json!({}))),
            Some("nothing that could prove it"),
        ),
        ("an expired certificate", sigstore.bundle(&expired, &signed(image.digest())), Some("proves it")),
        ("another authority", Sigstore::new().bundle(&release(), &signed(image.digest())), Some("proves it")),
        (
            "a payload of another",
            tampered(
                "/dsseEnvelope/payload",
                sigstore.bundle(&release(), &signed(other))["dsseEnvelope"]["payload"].clone(),
            ),
            Some("proves it"),
        ),
        (
            "a signature of another",
            tampered(
                "/dsseEnvelope/signatures/0/sig",
                sigstore.bundle(&release(), &signed(other))["dsseEnvelope"]["signatures"][0]["sig"].clone(),
            ),
            Some("proves it"),
        ),
        (
            "another time",
            tampered("/verificationMaterial/tlogEntries/0/integratedTime", json!("1767225601")),
            Some("proves it"),
        ),
        ("no log", unlogged, Some("proves it")),
        ("no proof of the log", unproven, Some("proves it")),
        ("somebody else's log entry", borrowed, Some("proves it")),
        ("a key", Key::new().bundle(&signed(image.digest())), Some("by a key")),
        ("nothing of a bundle", json!({"mediaType": BUNDLE}), Some("no bundle")),
    ] {
        let scene = scene(POLICY, &sigstore, &image);
        attach(&scene, image.root(), &bundle);
        let step = scene.step.clone().input("force", "true").input("reason", "in a hurry");
        let told = told(&step);
        match says {
            None => {
                told.says("signature", Verdict::Pass, &["release.yml@refs/heads/main"]);
                told.passes();
            }
            Some(says) => {
                told.fails_by("signature", &[says]);
                assert!(told.one("signature").unforceable, "{what}");
                assert_eq!(scene.production(), None, "{what}");
            }
        }
    }
    // Nothing at all, and what only looks like it.
    let bare = scene(POLICY, &sigstore, &image);
    bare.promote().fails_by("signature", &["nothing that could prove it"]);
    testbed::image::cosign(CosignKind::Signature, image.digest()).place(bare.registry.contents(), REPOSITORY, &[]);
    bare.promote().fails_by("signature", &["proves it"]);
}

#[test]
fn signatures_in_the_old_form() {
    let sigstore = Sigstore::new();
    let image = single();
    let other = Image::manifest("linux/amd64").layers(1, 200).seed(5).build();
    let good = || sigstore.old_style(&release(), image.digest());
    let expired = Identity { years: (2020, 2021), ..release() };
    let mut unpromised = good();
    unpromised.1.remove("dev.sigstore.cosign/bundle");
    let mut forged = good();
    forged.0 = String::from_utf8(forged.0).unwrap().replace("acme/api", "acme/bad").into_bytes();
    for (what, signature, says) in [
        ("good", good(), None),
        ("of another digest", sigstore.old_style(&release(), other.digest()), Some("it signs sha256:")),
        ("without the log's promise", unpromised, Some("proves it")),
        ("a changed payload", forged, Some("proves it")),
        ("an expired certificate", sigstore.old_style(&expired, image.digest()), Some("proves it")),
        ("by a key", Key::new().old_style(image.digest()), Some("by a key")),
    ] {
        let scene = scene(POLICY, &sigstore, &image);
        attach_old(&scene, image.digest(), signature);
        let told = scene.promote();
        match says {
            None => told.says("signature", Verdict::Pass, &["release.yml@refs/heads/main"]),
            Some(says) => told.fails_by("signature", &[says]),
        }
        assert_eq!(scene.production().is_some(), says.is_none(), "{what}");
    }
}

#[test]
fn signatures_by_a_key() {
    let sigstore = Sigstore::new();
    let image = single();
    let (key, stranger) = (Key::new(), Key::new());
    let policy = "{ signature: { keys: [cosign.pub, second.pub] } }";
    let keyed = |policy: &str| {
        let scene = scene(policy, &sigstore, &image);
        scene.file("cosign.pub", Key::new().public_pem());
        scene.file("second.pub", key.public_pem());
        scene
    };
    let old = keyed(policy);
    attach_old(&old, image.digest(), key.old_style(image.digest()));
    old.promote().says("signature", Verdict::Pass, &["the key second.pub"]);
    let new = keyed(policy);
    attach(&new, image.root(), &key.bundle(&signed(image.digest())));
    new.promote().says("signature", Verdict::Pass, &["the key second.pub"]);

    let wrong = keyed(policy);
    attach_old(&wrong, image.digest(), stranger.old_style(image.digest()));
    attach(&wrong, image.root(), &stranger.bundle(&signed(image.digest())));
    wrong.promote().fails_by("signature", &["proves it"]);
    let other = keyed(policy);
    let zeros = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
    attach_old(&other, image.digest(), key.old_style(zeros));
    attach(&other, image.root(), &key.bundle(&signed(zeros)));
    other.promote().fails_by("signature", &["it signs sha256:0000", "about another digest"]);

    // In a log, where that is asked for.
    let logged = "{ signature: { keys: second.pub, transparency-log: true, trust-root: root.json } }";
    let scene = keyed(logged);
    attach(&scene, image.root(), &key.bundle(&signed(image.digest())));
    scene.promote().fails_by("signature", &["in a transparency log"]);
    attach(&scene, image.root(), &sigstore.bundle_by_key(&key, &signed(image.digest())));
    scene.promote().says("signature", Verdict::Pass, &["the key second.pub"]);
    // A key that is none.
    let broken = keyed(policy);
    broken.file("cosign.pub", "hello");
    let told = broken.promote();
    assert_eq!((told.finished.code, told.reason.as_str()), (Some(2), "configuration-invalid"), "{}", told.finished);
}

#[test]
fn an_index_is_signed_as_a_whole_or_platform_by_platform() {
    let sigstore = Sigstore::new();
    let image = Image::index(&["linux/amd64", "linux/arm64"]).layers(1, 200).build();
    let whole = scene(POLICY, &sigstore, &image);
    attach(&whole, image.root(), &sigstore.bundle(&release(), &signed(image.digest())));
    whole.promote().says("signature", Verdict::Pass, &[]);
    let each = scene(POLICY, &sigstore, &image);
    let child = |platform: &str| image.child(platform).unwrap();
    let sign = |platform: &str| {
        let child = child(platform);
        attach(&each, &child, &sigstore.bundle(&release(), &signed(&child.digest)));
    };
    sign("linux/amd64");
    let told = each.promote();
    told.fails_by("signature", &["nothing that could prove it"]);
    assert_eq!(told.of("signature").iter().filter(|one| one.verdict == Verdict::Fail).count(), 1);
    sign("linux/arm64");
    each.promote().says("signature", Verdict::Pass, &[]);
}

#[test]
fn a_trust_root_that_is_none_or_another() {
    let (sigstore, image) = (Sigstore::new(), single());
    let scene = scene(POLICY, &sigstore, &image);
    attach(&scene, image.root(), &sigstore.bundle(&release(), &signed(image.digest())));
    scene.file("root.json", Sigstore::new().trusted_root().to_string());
    scene.promote().fails_by("signature", &["proves it"]);
    scene.file("root.json", "{}");
    assert_eq!(scene.promote().reason, "configuration-invalid");
    // The public root knows nothing of it.
    scene.policy(&POLICY.replace(", trust-root: root.json", ""));
    scene.promote().fails_by("signature", &["proves it"]);
}

#[test]
fn provenance_says_where_from_and_by_whom() {
    let (sigstore, image) = (Sigstore::new(), single());
    let predicate = |repository: &str, reference: &str| {
        json!({
            "buildDefinition": {
                "buildType": "https://actions.github.io/buildtypes/workflow/v1",
                "externalParameters": {"workflow": {
                    "ref": reference, "repository": repository, "path": ".github/workflows/release.yml"}},
            },
            "runDetails": {"builder": {"id": "https://github.com/acme/api/.github/workflows/release.yml@refs/heads/main"}},
        })
    };
    let slsa = "https://slsa.dev/provenance/v1";
    let policy = "{ provenance: { source: 'https://github.com/acme/api', ref: refs/heads/main, from: registry, trust-root: root.json } }";
    let good = predicate("https://github.com/acme/api", "refs/heads/main");
    let of =
        |identity: &Identity, predicate: &Value| sigstore.bundle(identity, &statement(slsa, image.digest(), predicate));
    let branch = Identity::workflow("acme/api", "release.yml", "refs/heads/evil");
    let unclaimed = Identity { claims: BTreeMap::new(), ..release() };
    for (what, bundle, says) in [
        ("good", of(&release(), &good), None),
        ("by its predicate alone", of(&unclaimed, &good), None),
        (
            "another branch",
            of(&branch, &predicate("https://github.com/acme/api", "refs/heads/evil")),
            Some("from the ref `refs/heads/evil`"),
        ),
        (
            "a predicate that says otherwise",
            of(&release(), &predicate("https://github.com/evil/api", "refs/heads/main")),
            Some("built from `https://github.com/evil/api`"),
        ),
        (
            "another repository's workflow",
            of(&Identity::workflow("evil/api", "release.yml", "refs/heads/main"), &good),
            Some("another identity is wanted"),
        ),
        (
            "about another digest",
            sigstore.bundle(&release(), &statement(slsa, &format!("sha256:{}", "0".repeat(64)), &good)),
            Some("does not match any subject"),
        ),
        (
            "another kind of attestation",
            sigstore.bundle(&release(), &statement("https://spdx.dev/Document", image.digest(), &good)),
            Some("nothing that could prove it"),
        ),
        ("says nothing", of(&unclaimed, &json!({})), Some("does not say from which repository")),
    ] {
        let scene = scene(policy, &sigstore, &image);
        attach(&scene, image.root(), &bundle);
        comes_to(&scene, what, says);
    }
    // The same in the old form.
    let old = |identity: &Identity, digest: &str, predicate: &Value| {
        sigstore.old_attestation(identity, &statement(slsa, digest, predicate))
    };
    let made = || old(&release(), image.digest(), &good);
    let other = format!("sha256:{}", "0".repeat(64));
    let without = |name: &str| {
        let mut attestation = made();
        attestation.1.remove(name).unwrap();
        attestation
    };
    let promise = "dev.sigstore.cosign/bundle";
    let mut borrowed = made();
    borrowed.1.insert(promise.to_owned(), old(&release(), &other, &good).1[promise].clone());
    let mut forged = made();
    let mut envelope: Value = serde_json::from_slice(&forged.0).unwrap();
    let of_another: Value = serde_json::from_slice(&old(&release(), &other, &good).0).unwrap();
    envelope["signatures"] = of_another["signatures"].clone();
    forged.0 = envelope.to_string().into_bytes();
    let mut before = made();
    let mut entry: Value = serde_json::from_str(&before.1[promise]).unwrap();
    entry["Payload"]["body"] = json!(STANDARD.encode(r#"{"apiVersion":"0.0.1","kind":"intoto","spec":{}}"#));
    before.1.insert(promise.to_owned(), entry.to_string());
    let expired = Identity { years: (2020, 2021), ..release() };
    let evil = Identity::workflow("evil/api", "release.yml", "refs/heads/main");
    for (what, attestation, says) in [
        ("good", made(), None),
        ("about another digest", old(&release(), &other, &good), Some("does not match any subject")),
        ("another repository's workflow", old(&evil, image.digest(), &good), Some("another identity is wanted")),
        (
            "a predicate that says otherwise",
            old(&release(), image.digest(), &predicate("https://github.com/evil/api", "refs/heads/main")),
            Some("built from `https://github.com/evil/api`"),
        ),
        ("without the log's promise", without(promise), Some("proves it")),
        ("the promise of another", borrowed, Some("proves it")),
        ("without a certificate", without("dev.sigstore.cosign/certificate"), Some("by a key")),
        ("an expired certificate", old(&expired, image.digest(), &good), Some("proves it")),
        (
            "another authority",
            Sigstore::new().old_attestation(&release(), &statement(slsa, image.digest(), &good)),
            Some("proves it"),
        ),
        ("forged", forged, Some("proves it")),
        ("logged in a form that is not read", before, Some("unsupported Rekor entry format: intoto/0.0.1")),
    ] {
        let scene = scene(policy, &sigstore, &image);
        let (envelope, annotations) = attestation;
        let content = cosign_layer(CosignKind::Attestation, image.digest(), envelope.into(), annotations);
        content.place(scene.registry.contents(), REPOSITORY, &[]);
        comes_to(&scene, what, says);
    }
    let builder = policy.replace("ref: refs/heads/main", "builder: 'https://github.com/acme/builder/.*'");
    let scene = scene(&builder, &sigstore, &image);
    attach(&scene, image.root(), &of(&release(), &good));
    scene.promote().fails_by("provenance", &["its builder is"]);
}
