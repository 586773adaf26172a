//! The events are the truth: everything else can be thrown away and comes back the same, to the byte.

use std::collections::BTreeMap;

use testbed::image::{Defect, Image};
use tidegate::promotion::run::Run;
use tidegate::report::{record::record, summary::summary};

use super::scene::{Scene, one_service, release, small, wait};

/// The record and the summary of every run.
fn told(runs: &[Run]) -> Vec<(String, String)> {
    runs.iter().map(|run| (serde_json::to_string_pretty(&record(run)).unwrap(), summary(run))).collect()
}

/// The files of every run in the workspace.
fn files(scene: &Scene) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for run in scene.runs() {
        for name in ["record.json", "report.md", "audit.jsonl"] {
            let path = scene.folder().join(run.id.as_str()).join(name);
            files.extend(std::fs::read(&path).ok().map(|bytes| (path.display().to_string(), bytes)));
        }
    }
    files
}

/// A history with everything in it: successes, a refusal, something forced, nothing to do, a run that was cut off and
/// taken up again, and one that is not over.
fn lived(scene: Scene) -> Scene {
    let scene = scene.configured(&one_service(r#"immutable-tags: ["production-{{ sequence }}"]"#));
    let job = |run: &str| scene.production().env("GITHUB_RUN_ID", run);
    scene.place(&release(1), "acme/api", &["staging"]);
    scene.visit(&job("1")).succeeded();
    scene.place(&release(2), "acme/api", &["staging"]);
    scene.visit(&job("2")).succeeded();
    scene.visit(&job("3")).succeeded();
    let broken = Image::manifest("linux/amd64").layers(1, 200).defect(Defect::NoCommand).build();
    scene.place(&broken, "acme/api", &["staging"]);
    scene.visit(&job("4")).was_stopped(1, "check-failed", &[]);
    let forced = scene.visit(&job("5").input("force", "true").input("reason", "a | reason\nof two lines"));
    assert!(forced.is_success(), "{forced:?}");
    scene.place(&small(3), "acme/api", &["staging"]);
    scene.killed_at(&job("6"), "PUT", "/v2/acme/api/manifests/production", true);
    scene.finish(job("6").env("GITHUB_RUN_ATTEMPT", "2").start()).succeeded();
    scene.place(&small(4), "acme/api", &["staging"]);
    assert!(scene.visit(&job("7").input("until", "validation")).is_success());
    scene
}

fn comes_back(scene: Scene) {
    let scene = lived(scene);
    let (runs, rows, files_before) = (scene.runs(), wait(scene.book().derived()), files(&scene));
    assert_eq!((runs.len(), files_before.len()), (7, 21));
    assert!(rows.values().all(|rows| !rows.is_empty()) || rows["outbox"].is_empty(), "{rows:?}");
    wait(scene.book().drop_derived());
    wait(async { scene.ledger().rebuild().await.unwrap() });
    assert_eq!(wait(scene.book().derived()), rows);
    assert_eq!(told(&scene.runs()), told(&runs));
    // What a visit to a finished run writes anew is what was there.
    let again = scene.finish(scene.production().env("GITHUB_RUN_ID", "6").env("GITHUB_RUN_ATTEMPT", "3").start());
    assert!(again.is_success(), "{again:?}");
    assert_eq!(files(&scene), files_before);
    // And life goes on, with the next number.
    let last = scene.visit(&scene.production().env("GITHUB_RUN_ID", "8"));
    last.succeeded();
    assert_eq!(last.output("sequence"), "8");
    scene.assert_sound();
}

#[test]
fn everything_comes_back_from_the_events_on_sqlite() {
    comes_back(Scene::new().on_a_file());
}

#[test]
fn everything_comes_back_from_the_events_on_postgresql() {
    comes_back(Scene::new().on_postgres());
}
