//! A run that is told to stop, and a run whose program was killed: what the runner's signals and its post step do.

use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use sqlx::Executor as _;
use testbed::fault::{Action, Fault, Rule};
use testbed::runner::{Running, Signal};
use tidegate::promotion::state::State;

use super::scene::{PROGRAM, Scene, Visit, one_service, release, small, wait};

/// What the runner leaves between its signals, less a reserve.
const SOON: Duration = Duration::from_secs(5);

fn until(met: impl Fn() -> bool) {
    let begin = Instant::now();
    while !met() {
        assert!(begin.elapsed() < Duration::from_secs(30), "it does not come to that");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Sends a signal, and sees that it is obeyed in time.
fn stopped(scene: &Scene, running: Running, signal: Signal) -> Visit {
    let begin = Instant::now();
    running.signal(signal);
    let visit = scene.finish(running);
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    visit
}

/// The visit tells that it was interrupted, and so does the ledger; nobody has to wait for its lease.
fn is_interrupted(scene: &Scene, visit: &Visit, signal: Signal) {
    let (code, name) = if signal == Signal::INT { (130, "SIGINT") } else { (143, "SIGTERM") };
    assert_eq!(visit.code, Some(code), "{visit:?}");
    let told = ["state", "decision", "status", "reason-code"].map(|output| visit.output(output));
    assert_eq!(told, ["interrupted", "stop", "FAILURE", "interrupted"], "{visit:?}");
    assert!(visit.annotations("error").iter().any(|text| text.contains(name) && text.contains("\nfix: ")), "{visit:?}");
    assert!(visit.summary().contains("was interrupted"), "{}", visit.summary());
    assert_eq!(visit.record().unwrap()["state"], "interrupted");
    assert_eq!(visit.state().unwrap().get("finished").map(String::as_str), Some("true"), "{visit:?}");
    let run = scene.run_of(visit);
    assert_eq!((run.state, run.lease), (State::Interrupted, None));
    assert_eq!(run.visits.last().unwrap().interrupted.as_deref(), Some(name));
    let lease = wait(async { scene.ledger().lease(&run.opening.scope, &run.opening.environment).await.unwrap() });
    assert_eq!(lease.filter(|(holder, _)| *holder == run.id), None);
    scene.assert_sound();
}

/// A scene whose registry is silent at this request, and what tells when it came.
fn silent_at(more: &str, method: &str, path: &str) -> (Scene, Fault) {
    let scene = Scene::new().configured(&one_service(more)).on_a_file();
    scene.place(&release(1), "acme/api", &["staging"]);
    let fault = scene.here.fault(Rule::on(method, path).act(Action::Hang));
    (scene, fault)
}

#[test]
fn a_run_that_is_stopped_anywhere_says_so_and_goes_on_when_it_is_run_again() {
    let elsewhere = "repository: \"{here}/prod/{{ service }}\"";
    for (signal, more, method, path, stage) in [
        (Signal::TERM, "", "HEAD", "/v2/acme/api/manifests/staging", "conditions"),
        (Signal::INT, "validate: { layers: deep }", "GET", "/v2/acme/api/blobs/*", "conditions"),
        (Signal::INT, elsewhere, "POST", "/v2/prod/api/blobs/uploads/*", "copy"),
        (Signal::TERM, "", "PUT", "/v2/acme/api/manifests/production", "copy"),
        (Signal::TERM, elsewhere, "PUT", "/v2/prod/api/manifests/production", "copy"),
    ] {
        let (scene, fault) = silent_at(more, method, path);
        let running = scene.production().start();
        until(|| fault.hits() > 0);
        let visit = stopped(&scene, running, signal);
        is_interrupted(&scene, &visit, signal);
        assert_eq!(scene.run().stages.last().unwrap().stage.name(), stage);
        fault.remove();
        // Whoever comes next has nobody to wait for: the same run, or another one.
        let next = scene.production().env("GITHUB_RUN_ATTEMPT", "2");
        let next = scene.finish(next.start());
        next.succeeded();
        assert_eq!(next.output("deployment-id"), visit.output("deployment-id"));
        assert_eq!(scene.runs().len(), 1);
        scene.assert_sound();
    }
}

#[test]
fn a_run_that_waits_for_another_can_be_stopped() {
    let lock = "gates: { lock: { wait: 1m } }";
    let (scene, fault) = silent_at(lock, "PUT", "/v2/acme/api/manifests/production");
    let first = scene.production().env("GITHUB_RUN_ID", "1").start();
    until(|| fault.hits() > 0);
    let second = scene.production().env("GITHUB_RUN_ID", "2").start();
    // It has come to its approval, and has nothing to do but to wait.
    until(|| scene.runs().get(1).is_some_and(|run| run.state == State::ApprovalGranted));
    std::thread::sleep(Duration::from_millis(300));
    let visit = stopped(&scene, second, Signal::INT);
    is_interrupted(&scene, &visit, Signal::INT);
    // The first one has kept its lease, and is not disturbed.
    assert!(scene.runs()[0].lease.is_some());
    let visit = stopped(&scene, first, Signal::TERM);
    is_interrupted(&scene, &visit, Signal::TERM);
}

#[test]
fn before_there_is_a_run_a_signal_ends_it_all_the_same() {
    let scene = Scene::new().configured(&one_service("")).on_a_file();
    scene.place(&small(1), "acme/api", &["staging"]);
    // Somebody else has the ledger's file, so that the run cannot be opened.
    let place = scene.book();
    scene.visit(&scene.production().env("GITHUB_RUN_ID", "1")).succeeded();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut file = runtime.block_on(place.open());
    #[expect(clippy::disallowed_methods, reason = "tests look behind the ledger's back")]
    let begin = sqlx::raw_sql("BEGIN EXCLUSIVE");
    runtime.block_on(file.execute(begin)).unwrap();
    let running = scene.production().env("GITHUB_RUN_ID", "2").start();
    std::thread::sleep(Duration::from_millis(700));
    let visit = stopped(&scene, running, Signal::TERM);
    assert_eq!((visit.code, visit.output("reason-code")), (Some(143), "interrupted"), "{visit:?}");
    assert!(visit.summary().contains("Nothing was begun"), "{}", visit.summary());
    drop(file);
    assert_eq!(scene.runs().len(), 1);
}

#[test]
fn a_second_signal_waits_for_nothing() {
    let (scene, fault) = silent_at("", "PUT", "/v2/acme/api/manifests/production");
    let running = scene.production().start();
    until(|| fault.hits() > 0);
    // What is to be recorded cannot be: somebody has the ledger's file.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut file = runtime.block_on(scene.book().open());
    #[expect(clippy::disallowed_methods, reason = "tests look behind the ledger's back")]
    let begin = sqlx::raw_sql("BEGIN EXCLUSIVE");
    runtime.block_on(file.execute(begin)).unwrap();
    running.signal(Signal::INT);
    std::thread::sleep(Duration::from_millis(300));
    let begin = Instant::now();
    running.signal(Signal::TERM);
    let visit = scene.finish(running);
    assert!(begin.elapsed() < Duration::from_millis(1500), "{:?}", begin.elapsed());
    assert_eq!((visit.code, visit.output("reason-code")), (Some(143), "interrupted"), "{visit:?}");
    // It could not be recorded, so the post step is left to do it.
    assert_eq!(visit.state().unwrap().get("finished"), None, "{visit:?}");
    drop(file);
    fault.remove();
    scene.finish(scene.production().env("GITHUB_RUN_ATTEMPT", "2").start()).succeeded();
}

/// The post step of a step that left this state.
fn finaliser(scene: &Scene, state: &std::collections::BTreeMap<String, String>) -> Visit {
    let program = scene.step().workspace().join("tidegate-finalise");
    if !program.exists() {
        symlink(PROGRAM, &program).unwrap();
    }
    let step = scene.production().program(program);
    let step = state.iter().fold(step, |step, (name, value)| step.env(&format!("STATE_{name}"), value));
    scene.finish(step.start())
}

#[test]
fn the_post_step_tells_of_a_run_that_was_killed() {
    for (method, path) in
        [("PUT", "/v2/acme/api/manifests/production"), ("GET", "/v2/acme/api/manifests/*"), ("HEAD", "/v2/*")]
    {
        let scene = Scene::new().configured(&one_service("")).on_a_file();
        scene.place(&release(1), "acme/api", &["staging"]);
        let killed = scene.killed_at(&scene.production(), method, path, false);
        let state = killed.state().unwrap();
        assert_eq!(state.get("deployment-id").map(String::as_str), Some(scene.run().id.as_str()));
        assert!(scene.run().is_visited());
        let visit = finaliser(&scene, &state);
        assert!(visit.is_success() && visit.summary().is_empty(), "{visit:?}");
        let run = scene.run();
        assert_eq!((run.state, run.lease), (State::Interrupted, None), "{visit:?}");
        // Another run has nobody to wait for, and goes on where that one was cut off.
        let next = scene.finish(scene.production().env("GITHUB_RUN_ID", "2").start());
        next.succeeded();
        scene.assert_sound();
    }
}

#[test]
fn the_post_step_has_nothing_to_say_of_a_run_that_told_its_end_itself() {
    let scene = Scene::new().configured(&one_service("")).on_a_file();
    scene.place(&release(1), "acme/api", &["staging"]);
    let visit = scene.visit(&scene.production());
    visit.succeeded();
    let entries = scene.entries();
    let post = finaliser(&scene, &visit.state().unwrap());
    assert!(post.is_success() && post.values().is_empty(), "{post:?}");
    // A step that never began a run left nothing.
    assert!(finaliser(&scene, &std::collections::BTreeMap::new()).is_success());
    assert_eq!(scene.entries(), entries);
}
