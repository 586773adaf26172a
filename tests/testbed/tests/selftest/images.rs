//! Images are what they are said to be.

use std::collections::BTreeSet;

use serde_json::Value;
use testbed::digest;
use testbed::image::{
    Artifact, Compression, Content, CosignKind, Defect, Format, Image, Platform, cosign, media_type, referrer_loop,
};
use testbed::registry::Registry;

/// Every digest that a manifest of the content names: blobs, and children.
fn named(content: &Content) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut blobs, mut children) = (BTreeSet::new(), BTreeSet::new());
    for document in content.documents().iter().map(testbed::image::Document::json) {
        let digest = |descriptor: &Value| descriptor["digest"].as_str().map(str::to_owned);
        blobs.extend(digest(&document["config"]));
        let layers = document["layers"].as_array().into_iter().flatten();
        blobs.extend(layers.filter(|layer| layer["urls"].is_null()).filter_map(digest));
        children.extend(document["manifests"].as_array().into_iter().flatten().filter_map(digest));
    }
    (blobs, children)
}

fn config(content: &Content, platform: &str) -> Value {
    let child = content.child(platform).expect("the platform");
    let manifest = content.document(&child.digest).expect("its manifest").json();
    let digest = manifest["config"]["digest"].as_str().expect("a digest");
    serde_json::from_slice(&content.blobs()[digest]).expect("JSON")
}

#[test]
fn every_form_is_complete_and_named_by_its_digests() {
    let platforms = ["linux/amd64", "linux/arm64", "linux/arm/v7"];
    let forms = [
        Image::manifest("linux/amd64").build(),
        Image::index(&platforms).build(),
        Image::index(&platforms).format(Format::Docker).build(),
        Image::index(&platforms).compression(Compression::Zstd).layers(5, 100).build(),
        Image::index(&platforms).compression(Compression::None).attestations().nested().build(),
        Image::index(&platforms).foreign_layer("https://example.com/layer").build(),
        Image::index(&platforms).sha512_blobs().sha512_children().build(),
    ];
    for content in forms {
        let (blobs, children) = named(&content);
        assert_eq!(blobs, content.blobs().keys().cloned().collect());
        let root = BTreeSet::from([content.digest().to_owned()]);
        let documents: BTreeSet<String> = content.documents().iter().map(|document| document.digest.clone()).collect();
        assert_eq!(documents, &children | &root);
        assert!(content.blobs().iter().all(|(name, bytes)| digest::matches(name, bytes)));
        assert!(content.documents().iter().all(|document| digest::matches(&document.digest, &document.bytes)));
        content.push(&Registry::start().endpoint().client(), "a", &["t"]).expect("a sound image is accepted");
    }
}

#[test]
fn the_same_image_is_built_again() {
    let build = |seed| Image::index(&["linux/amd64", "linux/arm64"]).seed(seed).attestations().build();
    assert_eq!(build(1), build(1));
    assert_ne!(build(1).digest(), build(2).digest());
}

#[test]
fn layers_are_shared_as_asked() {
    let image = Image::index(&["linux/amd64", "linux/arm64"]).layers(4, 100).shared_layers(1).build();
    // Two configurations, one common layer, three of each platform's own.
    assert_eq!(image.blobs().len(), 2 + 1 + 3 + 3);
}

#[test]
fn the_configuration_says_what_was_asked() {
    let image = Image::index(&["linux/arm/v7"])
        .label("a", "b")
        .command(&[])
        .entrypoint(&["/run"])
        .user("root")
        .env("A", "1")
        .created("2020-01-01T00:00:00Z")
        .edit_config(|config| config["author"] = "ann".into())
        .build();
    let config = config(&image, "linux/arm/v7");
    assert_eq!((config["architecture"].as_str(), config["variant"].as_str()), (Some("arm"), Some("v7")));
    assert_eq!((config["created"].as_str(), config["author"].as_str()), (Some("2020-01-01T00:00:00Z"), Some("ann")));
    let inner = &config["config"];
    assert_eq!((inner["User"].as_str(), inner["Labels"]["a"].as_str()), (Some("root"), Some("b")));
    assert!(inner["Cmd"].is_null() && inner["Env"].as_array().expect("a list").contains(&"A=1".into()));
    assert_eq!(config["rootfs"]["diff_ids"].as_array().map(Vec::len), Some(2));
}

#[test]
fn attestations_name_their_platforms() {
    let image = Image::index(&["linux/amd64", "linux/arm64"]).attestations().build();
    let children = image.children();
    assert_eq!(children.len(), 4);
    for (platform, attestation) in children[..2].iter().zip(&children[2..]) {
        assert_eq!(attestation.platform, Some(Platform::parse("unknown/unknown")));
        assert_eq!(attestation.annotations["vnd.docker.reference.digest"], platform.digest);
        assert_eq!(attestation.annotations["vnd.docker.reference.type"], "attestation-manifest");
    }
}

#[test]
fn defects_are_refused_or_accepted_as_they_say() {
    for defect in Defect::ALL {
        for format in [Format::Oci, Format::Docker] {
            let spoiled = Image::index(&["linux/amd64", "linux/arm64"]).format(format).defect_on("linux/arm64", defect);
            let spoiled = spoiled.build();
            assert_ne!(spoiled, Image::index(&["linux/amd64", "linux/arm64"]).format(format).build(), "{defect:?}");
            let pushed = spoiled.push(&Registry::start().endpoint().client(), "a", &["t"]);
            assert_eq!(pushed.is_err(), defect.is_refused(), "{defect:?}: {pushed:?}");
            let registry = Registry::start();
            spoiled.place(registry.contents(), "a", &["t"]);
            assert_eq!(registry.endpoint().client().digest("a", "t").as_deref(), Some(spoiled.digest()), "{defect:?}");
        }
    }
}

#[test]
fn what_is_attached() {
    let image = Image::index(&["linux/amd64", "linux/arm64"]).build();
    let child = image.child("linux/arm64").expect("a platform");
    let bundle = Artifact::new("application/vnd.dev.sigstore.bundle.v0.3+json").layer("application/json", "{}");
    let whole = image
        .clone()
        .with(bundle.clone().subject(image.root()).build())
        .with(bundle.subject(&child).tag("sbom").build())
        .with(cosign(CosignKind::Signature, image.digest()))
        .with(cosign(CosignKind::Attestation, &child.digest))
        .with(referrer_loop(image.root()))
        .with_fallback_tags();
    assert_eq!(whole.digest(), image.digest());
    let registry = Registry::start();
    whole.push(&registry.endpoint().client(), "a", &["t"]).expect("all of it is accepted");
    let tag = |digest: &str, suffix: &str| format!("{}{suffix}", digest.replace(':', "-"));
    let mut expected = vec![
        "sbom".to_owned(),
        "t".to_owned(),
        tag(image.digest(), ""),
        tag(image.digest(), ".sig"),
        tag(&child.digest, ""),
        tag(&child.digest, ".att"),
    ];
    expected.sort();
    assert_eq!(registry.contents().tags("a"), expected);
    let fallback = registry.contents().manifest("a", &tag(image.digest(), "")).expect("the fallback index");
    let fallback: Value = serde_json::from_slice(&fallback.bytes).expect("JSON");
    let kinds: BTreeSet<&str> = fallback["manifests"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|one| one["artifactType"].as_str())
        .collect();
    assert_eq!(
        kinds,
        BTreeSet::from(["application/vnd.dev.sigstore.bundle.v0.3+json", "application/vnd.testbed.loop"])
    );
    assert_eq!(fallback["mediaType"], media_type::OCI_INDEX);
}
