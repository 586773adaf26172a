//! `force`: what it overrules, how loud it is, and what it never overrules.

use testbed::image::{Defect, Image};
use tidegate::promotion::check::Verdict;

use super::scene::{Scene, one_service};

const STRICT: &str = "validate: { platforms: [linux/amd64, linux/arm64], labels: [org.acme.owner], layers: deep }";

#[test]
fn failed_checks_are_overruled_loudly() {
    let scene = Scene::new().configured(&one_service(STRICT));
    let image = Image::manifest("linux/amd64").layers(1, 200).defect(Defect::NoCommand).build();
    scene.place(&image, "acme/api", &["staging"]);
    let before = scene.snapshot();
    let refused = scene.visit(&scene.production());
    refused.was_stopped(1, "check-failed", &["platforms", "labels", "command", "`force` and a `reason`"]);
    assert_eq!(scene.snapshot(), before);
    assert_eq!(refused.output("failed-stage"), "validation");

    let reason = "the | old one is on fire";
    let forced = scene.production().input("force", "true").input("reason", reason).env("GITHUB_RUN_ATTEMPT", "2");
    let visit = scene.visit(&forced);
    assert!(visit.is_success(), "{visit:?}");
    assert_eq!((visit.output("status"), visit.output("sequence")), ("SUCCESS", "2"));
    assert_eq!(scene.tag("acme/api", "production").as_deref(), Some(image.digest()));
    let warnings = visit.annotations("warning").join("\n");
    for text in ["octocat overruled", "api: command", "api: labels", "api: platforms", reason] {
        assert!(warnings.contains(text), "{text} is not in {warnings}");
    }
    assert!(
        visit.summary().contains("⚠️ Forced") && visit.summary().contains("old one is on fire"),
        "{}",
        visit.summary()
    );
    let record = visit.record().unwrap();
    assert_eq!(record["forced"]["by"], "octocat");
    assert_eq!(record["forced"]["reason"], reason);
    assert_eq!(record["errors"][0]["fault"]["code"], "forced");
    assert_eq!(visit.json("errors")["severity"]["medium"], 1);
    let run = scene.run_of(&visit);
    assert!(run.findings.iter().any(|finding| finding.verdict == Verdict::Fail));
    scene.assert_sound();
}

#[test]
fn what_nothing_overrules() {
    for (defect, code, text) in [
        (Defect::LayerBytes, "check-failed", "`force` does not overrule layers"),
        (Defect::DiffId, "check-failed", "`force` does not overrule layers"),
        (Defect::MissingConfig, "check-failed", "`force` does not overrule"),
        (Defect::MissingManifest, "check-failed", "`force` does not overrule"),
        (Defect::ConfigBytes, "check-failed", "its digest is"),
    ] {
        let scene = Scene::new().configured(&one_service("validate: { layers: deep }"));
        let image = Image::index(&["linux/amd64"]).layers(1, 200).defect(defect).build();
        scene.place(&image, "acme/api", &["staging"]);
        let before = scene.snapshot();
        let visit = scene.visit(&scene.production().input("force", "true").input("reason", "in a hurry"));
        visit.was_stopped(1, code, &[text]);
        assert_eq!(scene.snapshot(), before, "{defect:?}");
    }
    // A source that does not exist.
    let scene = Scene::new().configured(&one_service(""));
    let visit = scene.visit(&scene.production().input("force", "true").input("reason", "in a hurry"));
    visit.was_stopped(1, "image-absent", &["acme/api:staging"]);
}

#[test]
fn force_has_no_word_where_nothing_failed() {
    let scene = Scene::new().configured(&one_service(""));
    scene.place(&super::scene::small(1), "acme/api", &["staging"]);
    let visit = scene.visit(&scene.production().input("force", "true").input("reason", "just in case"));
    visit.succeeded();
    assert!(scene.run().forced.is_none() && visit.annotations("warning").is_empty());
}
