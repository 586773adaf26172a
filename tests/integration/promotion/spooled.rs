//! A database that goes away: before the first change the run stops, after it the run goes on, and nothing is lost.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use testbed::fault::{Action, Rule};
use testbed::postgres::Postgres;
use testbed::runner::Signal;
use tidegate::promotion::state::State;

use super::scene::{Scene, one_service, release, small};
use crate::ledger::place::Place;

/// A scene with a database cluster of its own, and what takes it away and brings it back.
fn scene_of(cluster: &Postgres, pooled: bool) -> Scene {
    let database = cluster.database();
    let pool = pooled.then(|| database.pool());
    let scene = Scene::new().configured(&one_service("")).on(Place::Postgres { database, pool });
    scene.place(&release(1), "acme/api", &["staging"]);
    scene.place(&small(9), "acme/api", &["production"]);
    scene
}

/// Takes the database away when this request has been carried out.
fn away_after(scene: &Scene, cluster: &Postgres, method: &str, path: &str) {
    let cluster = cluster.clone();
    let stop = move || tokio::task::block_in_place(|| cluster.stop());
    scene.here.fault(Rule::on(method, path).nth(1).act(Action::call_after(stop)));
}

fn spool(scene: &Scene) -> Vec<PathBuf> {
    let Ok(folder) = std::fs::read_dir(scene.folder().join("spool")) else { return Vec::new() };
    folder
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "jsonl"))
        .collect()
}

#[test]
fn before_the_first_change_the_run_stops() {
    let cluster = Postgres::start();
    let scene = scene_of(&cluster, false);
    away_after(&scene, &cluster, "HEAD", "/v2/acme/api/manifests/production");
    let snapshot = scene.snapshot();
    let visit = scene.finish(scene.production().start());
    visit.was_stopped(3, "ledger-unreachable", &["nothing is promoted that cannot be recorded"]);
    assert_eq!((scene.snapshot(), spool(&scene)), (snapshot, vec![]));
    cluster.start_again();
    let again = scene.finish(scene.production().env("GITHUB_RUN_ATTEMPT", "2").start());
    again.succeeded();
    assert_eq!(again.output("sequence"), "1");
    scene.assert_sound();
}

#[test]
fn after_it_the_run_is_finished_and_what_it_did_comes_into_the_ledger_later() {
    for (pooled, next) in [(false, "recover"), (true, "promote")] {
        let cluster = Postgres::start();
        let scene = scene_of(&cluster, pooled);
        away_after(&scene, &cluster, "PUT", "/v2/acme/api/manifests/production");
        let visit = scene.finish(scene.production().start());
        assert_eq!((visit.code, visit.output("state")), (Some(0), "completed-successfully"), "{visit:?}");
        assert_eq!(scene.tag("acme/api", "production").as_deref(), Some(release(1).digest()));
        let files = spool(&scene);
        assert_eq!(files.len(), 1, "{visit:?}");
        let kept = std::fs::read_to_string(&files[0]).unwrap();
        assert!(kept.contains("run-ended"), "{kept}");
        let head = visit.json("result")["audit_head"].clone();
        cluster.start_again();
        if pooled {
            // For a second the pool does not try again.
            std::thread::sleep(Duration::from_millis(1500));
        }
        assert!(scene.run().ended.is_none(), "the database knows nothing of it yet");
        let step = if next == "recover" {
            scene.step().input("operation", "recover")
        } else {
            scene.production().env("GITHUB_RUN_ATTEMPT", "2")
        };
        let later = scene.finish(step.start());
        assert!(later.is_success(), "{later:?}");
        assert!(later.lines().iter().any(|line| line.contains("are in the ledger now")), "{later:?}");
        assert_eq!(spool(&scene), Vec::<PathBuf>::new());
        let run = scene.runs().remove(0);
        assert_eq!((run.state, run.lease), (State::CompletedSuccessfully, None));
        assert_eq!(run.unsettled().count(), 0);
        assert!(run.imported > 0);
        scene.assert_sound();
        // The anchor that the job summary showed still holds.
        let anchor = format!("{}:{}:{}", run.id, head["seq"], head["hash"].as_str().unwrap());
        let audit = scene.step().input("operation", "audit").input("anchor", &anchor);
        assert!(scene.finish(audit.start()).is_success());
    }
}

#[test]
fn a_signal_while_the_database_is_away_is_recorded_too() {
    let cluster = Postgres::start();
    let scene = scene_of(&cluster, false);
    away_after(&scene, &cluster, "PUT", "/v2/acme/api/manifests/production");
    let running = scene.production().start();
    let begin = Instant::now();
    while scene.tag("acme/api", "production").as_deref() != Some(release(1).digest()) {
        assert!(begin.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(400));
    let begin = Instant::now();
    running.signal(Signal::TERM);
    let visit = scene.finish(running);
    assert!(begin.elapsed() < Duration::from_secs(6), "{:?}", begin.elapsed());
    assert_eq!((visit.code, visit.output("state")), (Some(143), "interrupted"), "{visit:?}");
    assert_eq!(spool(&scene).len(), 1, "{visit:?}");
    cluster.start_again();
    let next = scene.finish(scene.production().env("GITHUB_RUN_ATTEMPT", "2").start());
    next.succeeded();
    assert_eq!(next.output("deployment-id"), visit.output("deployment-id"));
    assert_eq!(spool(&scene), Vec::<PathBuf>::new());
    let run = scene.run();
    assert_eq!((run.state, run.lease, run.unsettled().count()), (State::CompletedSuccessfully, None, 0));
    scene.assert_sound();
}
