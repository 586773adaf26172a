//! Images that are put together so that the wrong part of them is looked at.

use serde_json::{Value, json};
use testbed::image::{Content, Image};
use tidegate::promotion::check::Verdict;

use super::layers::{archive, layered};
use super::scene::Scene;

/// An image that runs as somebody, with these entries for another, which runs as root.
fn two(entries: impl Fn(Value) -> Vec<Value> + Send + Sync + 'static) -> Content {
    let evil = Image::manifest("linux/amd64").layers(1, 200).seed(7).user("root").build();
    let root = evil.root();
    let descriptor = json!({"mediaType": root.media_type, "digest": root.digest, "size": root.size});
    let index = Image::index(&["linux/amd64"]).layers(1, 200).edit_index(move |index| {
        let mut entries = entries(descriptor.clone());
        entries.extend(index["manifests"].as_array().unwrap().iter().cloned());
        index["manifests"] = json!(entries);
    });
    index.build().with(evil)
}

fn entry(mut descriptor: Value, platform: &str, annotations: &Value) -> Value {
    let (os, architecture) = platform.split_once('/').unwrap();
    descriptor["platform"] = json!({"os": os, "architecture": architecture});
    descriptor["annotations"] = annotations.clone();
    descriptor
}

#[test]
fn an_entry_that_a_runtime_may_choose_is_looked_at() {
    let attested = || json!({"vnd.docker.reference.type": "attestation-manifest"});
    let scene = Scene::new("{ severity: { user: fail } }");
    // It says that it is an attestation, and is for a platform.
    scene.candidate(&two(move |evil| vec![entry(evil, "linux/amd64", &attested())]));
    scene.promote().fails_by("user", &["root"]);
    // It is an attestation, and then for a platform.
    scene.candidate(&two(|evil| {
        vec![entry(evil.clone(), "unknown/unknown", &json!({})), entry(evil, "linux/amd64", &json!({}))]
    }));
    scene.promote().fails_by("user", &["root"]);
    assert_eq!(scene.production(), None);
    // No runtime chooses this one.
    scene.candidate(&two(move |evil| vec![entry(evil, "unknown/unknown", &attested())]));
    let told = scene.promote();
    told.says("user", Verdict::Pass, &[]);
    told.passes();
}

#[test]
fn a_layer_that_lives_elsewhere_is_not_taken_for_harmless() {
    let scene = Scene::new("{ content: { setuid: { allow: [] } } }");
    let elsewhere =
        |platform: &str| Image::manifest(platform).layers(1, 200).foreign_layer("https://elsewhere.test/layer").build();
    scene.candidate(&elsewhere("linux/amd64"));
    scene.promote().fails_by("setuid", &["layer 1 lives elsewhere, and is not read"]);
    scene.candidate(&elsewhere("windows/amd64"));
    scene.promote().says("setuid", Verdict::Pass, &["none"]);
}

#[test]
fn setuid_under_a_name_that_only_some_take() {
    // A file under an empty name, which stands for that in its header, and a harmless one likewise.
    let mut builder = tar::Builder::new(Vec::new());
    for (name, mode) in [("usr/bin/evil", 0o4755), ("harmless", 0o755)] {
        builder.append_pax_extensions([("path", b"".as_slice())]).unwrap();
        let file = archive(&[(name, mode, "")]);
        builder.get_mut().extend(&file[..512]);
    }
    let image = layered(&[builder.into_inner().unwrap()]);
    let scene = Scene::new("{ content: { setuid: { allow: [] } } }");
    scene.candidate(&image);
    scene.promote().fails_by("setuid", &["/usr/bin/evil (4755)"]);
}
