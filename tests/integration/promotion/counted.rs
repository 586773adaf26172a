//! How many requests a promotion costs, by class, exactly; and that their sum is what a proxy sees.

use std::collections::BTreeMap;

use testbed::image::Content;
use testbed::log::Entry;
use testbed::registry::{Registry, Settings};

use super::scene::{Scene, Visit, release};

/// The requests of a visit's last stages, by class.
fn counts(scene: &Scene, visit: &Visit, number: u64) -> BTreeMap<String, u64> {
    let run = scene.run_of(visit);
    let mut counts = BTreeMap::new();
    for stage in run.stages.iter().filter(|stage| stage.visit == number) {
        for (class, count) in &stage.traffic.requests {
            *counts.entry(class.clone()).or_default() += count;
        }
    }
    counts
}

fn expected(counts: &[(&str, u64)]) -> BTreeMap<String, u64> {
    counts.iter().filter(|(_, count)| *count > 0).map(|(class, count)| ((*class).to_owned(), *count)).collect()
}

/// Child manifests and blobs of an image.
fn shape(image: &Content) -> (u64, u64) {
    (image.documents().len() as u64 - 1, image.blobs().len() as u64)
}

/// The requests that read or write content and tags of the image itself: what the class `copy` must be.
fn of_the_copy(entries: &[Entry]) -> u64 {
    let counts = |entry: &&Entry| {
        let attached = entry.path().contains("/referrers/")
            || entry.path().contains("/tags/")
            || entry.path().contains("/sha256-");
        entry.method != "HEAD" && !attached
    };
    entries.iter().filter(counts).count() as u64
}

#[test]
fn a_cold_copy_costs_what_it_must() {
    let image = release(1);
    let (m, b) = shape(&image);
    assert_eq!((m, b), (2, 6));
    for (to, mounts, copy) in [
        ("production", true, 2),
        ("{here}/prod/api:live", true, 2 * m + 2 + b),
        ("{there}/prod/api:live", true, 2 * m + 2 + 3 * b),
        // Every mount is answered with an upload.
        ("{here}/prod/api:live", false, 2 * m + 2 + 3 * b),
    ] {
        let settings = {
            let mut settings = Settings::default();
            settings.mounts = mounts;
            settings
        };
        let scene = Scene::with(Registry::builder().settings(settings).start(), Registry::start()).on_a_file();
        scene.place(&image, "acme/api", &["staging"]);
        let step = scene.plain("{here}/acme/api:staging", to);
        let first = scene.visit(&step.clone().input("until", "validation"));
        assert!(first.is_success(), "{first:?}");
        // Source and target, the index and the images, their configurations.
        let inspected = expected(&[("inspect", 1 + 1 + m + m), ("look", 1)]);
        assert_eq!(counts(&scene, &first, 1), inspected, "{to}");
        scene.here.clear_log();
        scene.there.clear_log();
        let second = scene.visit(&step);
        second.succeeded();
        let counted = counts(&scene, &second, 2);
        // The target before it is moved, and after.
        assert_eq!((counted["copy"], counted["look"]), (copy, 2), "{to}: {counted:?}");
        // The source, once more before its tag counts.
        assert_eq!(counted["inspect"], 1, "{to}: {counted:?}");
        let log = [scene.here.log(), scene.there.log()].concat();
        assert_eq!(of_the_copy(&log), copy, "{log:#?}");
        assert_eq!(counted.values().sum::<u64>(), log.len() as u64);
    }
}

#[test]
fn one_visit_reads_nothing_twice() {
    let image = release(1);
    let (m, b) = shape(&image);
    for (to, copy) in [
        // The bytes are here already.
        ("production", 1),
        ("{here}/prod/api:live", m + 1 + b),
        // Configurations too.
        ("{there}/prod/api:live", m + 1 + 3 * b - m),
    ] {
        let scene = Scene::new();
        scene.place(&image, "acme/api", &["staging"]);
        let visit = scene.visit(&scene.plain("{here}/acme/api:staging", to));
        visit.succeeded();
        let counted = counts(&scene, &visit, 1);
        assert!(counted["copy"] <= copy + m, "{to}: {counted:?}");
        assert_eq!((counted["inspect"], counted["look"]), (2 + 2 * m + 1, 3), "{to}: {counted:?}");
    }
}

#[test]
fn what_is_kept_costs_two_and_once_only() {
    let scene = Scene::new();
    for (run, kept) in [(1, 0), (2, 2), (3, 2), (4, 1)] {
        // What is kept was read already, to be compared with. The third goes back to the first one's image, the fourth
        // on to the second's, which is kept already.
        let image = release(if run % 2 == 1 { 1 } else { 2 });
        scene.place(&image, "acme/api", &["staging"]);
        let visit =
            scene.visit(&scene.plain("{here}/acme/api:staging", "production").env("GITHUB_RUN_ID", &run.to_string()));
        visit.succeeded();
        let counted = counts(&scene, &visit, 1);
        assert_eq!(counted.get("keep").copied().unwrap_or_default(), kept, "{run}: {counted:?}");
    }
}

#[test]
fn nothing_to_do_costs_two_in_all() {
    let scene = Scene::new();
    scene.place(&release(1), "acme/api", &["staging"]);
    let step = |run: &str| scene.plain("{here}/acme/api:staging", "{there}/prod/api:live").env("GITHUB_RUN_ID", run);
    scene.visit(&step("1")).succeeded();
    let visit = scene.visit(&step("2"));
    assert_eq!(counts(&scene, &visit, 1), expected(&[("inspect", 1), ("look", 1)]));
}
