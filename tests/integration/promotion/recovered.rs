//! What an interrupted run left behind is settled: by `recover`, or by whoever comes next.

use testbed::runner::Runner;
use tidegate::promotion::act::Outcome;
use tidegate::promotion::state::State;

use super::scene::{Scene, Visit, one_service, release, small, wait};

/// A run that was killed when the registry got this request: before it was carried out, or after.
fn cut_off(method: &str, path: &str, carried_out: bool) -> Scene {
    let scene = Scene::new().configured(&one_service(r#"immutable-tags: ["production-{{ sequence }}"]"#)).on_a_file();
    scene.place(&small(9), "acme/api", &["production"]);
    scene.place(&release(1), "acme/api", &["staging"]);
    scene.killed_at(&scene.production(), method, path, carried_out);
    assert!(scene.run().ended.is_none());
    scene
}

/// Killed when the environment's tag was to move, after the other one had.
fn in_the_middle(carried_out: bool) -> Scene {
    cut_off("PUT", "/v2/acme/api/manifests/production", carried_out)
}

fn recover(scene: &Scene) -> Runner {
    scene.step().input("operation", "recover")
}

fn says(visit: &Visit, text: &str) {
    assert!(visit.is_success(), "{visit:?}");
    assert!(visit.lines().iter().any(|line| line.contains(text)), "{text}:\n{visit:?}");
}

/// The run is over, with one outcome for its one change, and everything is in place.
fn is_settled(scene: &Scene, found: bool) {
    let run = scene.runs().remove(0);
    assert_eq!(run.state, State::CompletedSuccessfully);
    let outcomes: Vec<_> = run.intents.values().filter_map(|one| one.outcome.clone()).collect();
    assert!(outcomes.contains(&Outcome::TagsMoved { found }), "{outcomes:?}");
    assert_eq!(run.unsettled().count(), 0);
    let lease = wait(async { scene.ledger().lease(&run.opening.scope, "production").await.unwrap() });
    assert_eq!(lease, None);
    assert_eq!(scene.tag("acme/api", "production-1").as_deref(), Some(release(1).digest()));
    scene.assert_sound();
}

#[test]
fn a_named_run_is_settled_by_looking_at_the_world() {
    for carried_out in [false, true] {
        let scene = in_the_middle(carried_out);
        let id = scene.run().id.to_string();
        // Somebody of another workflow run, who knows its name.
        let step = recover(&scene).input("deployment-id", &id).env("GITHUB_RUN_ID", "2");
        let visit = scene.visit(&step);
        says(&visit, "was settled, and is completed-successfully");
        assert_eq!((visit.output("deployment-id"), visit.output("status")), (id.as_str(), "SUCCESS"));
        is_settled(&scene, carried_out);
        assert_eq!(scene.tag("acme/api", "production").as_deref(), Some(release(1).digest()));
        // Once more: there is nothing to do, and nobody is asked.
        says(&scene.visit(&step), "it is over");
    }
}

#[test]
fn a_run_of_ones_own_workflow_run_is_settled_and_a_strangers_that_may_be_alive_is_not() {
    let scene = in_the_middle(false);
    let (entries, snapshot) = (scene.entries(), scene.snapshot());
    let visit = scene.visit(&recover(&scene).env("GITHUB_RUN_ID", "2"));
    says(&visit, "may be at work");
    assert_eq!((scene.entries(), scene.snapshot()), (entries.clone(), snapshot));
    // A look tells what is to be done, and does none of it.
    says(&scene.visit(&recover(&scene).input("dry-run", "true")), "needs to be settled");
    assert_eq!(scene.entries(), entries);
    says(&scene.visit(&recover(&scene)), "was settled");
    is_settled(&scene, false);
}

#[test]
fn a_lease_that_has_run_out_is_nobodys() {
    let scene = in_the_middle(true);
    expire(&scene);
    says(&scene.visit(&recover(&scene).env("GITHUB_RUN_ID", "2")), "was settled");
    is_settled(&scene, true);
    says(&scene.visit(&recover(&scene)), "there is no run to settle");
}

#[test]
fn another_environments_runs_are_left_alone() {
    let scene = in_the_middle(true);
    says(&scene.visit(&recover(&scene).input("environment", "elsewhere")), "there is no run to settle");
    says(&scene.visit(&recover(&scene).input("environment", "production")), "was settled");
}

/// Lets every lease end now.
fn expire(scene: &Scene) {
    let file = scene.ledger_file();
    let sql = "UPDATE lease SET expires_at = '2001-01-01T00:00:00.000Z' WHERE holder IS NOT NULL";
    wait(crate::ledger::place::run_on_file(&file, sql));
}

#[test]
fn whoever_comes_next_settles_first() {
    for carried_out in [false, true] {
        let scene = in_the_middle(carried_out);
        expire(&scene);
        scene.place(&release(2), "acme/api", &["staging"]);
        let visit = scene.visit(&scene.production().env("GITHUB_RUN_ID", "2"));
        visit.succeeded();
        is_settled(&scene, carried_out);
        assert_eq!(visit.output("sequence"), "2");
        // The plan was made anew on what is there now.
        assert_eq!(visit.output("previous-digest"), release(1).digest());
        assert_eq!(scene.tag("acme/api", "production").as_deref(), Some(release(2).digest()));
        assert_eq!(scene.tag("acme/api", "production-2").as_deref(), Some(release(2).digest()));
        let kept = format!("tidegate-keep-{}", &release(1).digest()[7..19]);
        assert_eq!(scene.tag("acme/api", &kept).as_deref(), Some(release(1).digest()));
    }
}

#[test]
fn what_somebody_else_has_moved_meanwhile_is_not_touched() {
    let scene = in_the_middle(false);
    scene.place(&small(5), "acme/api", &["production"]);
    let visit = scene.visit(&recover(&scene));
    assert_eq!(scene.tag("acme/api", "production").as_deref(), Some(small(5).digest()));
    let run = scene.run();
    assert_eq!((run.state, run.unsettled().count()), (State::Failed, 0));
    assert_eq!(visit.output("reason-code"), "target-moved");
    scene.assert_sound();
}

#[test]
fn a_run_that_has_changed_nothing_is_left_to_its_next_visit() {
    let scene = cut_off("PUT", "/v2/acme/api/manifests/tidegate-keep-*", false);
    assert!(!scene.run().changed_the_world());
    says(&scene.visit(&recover(&scene)), "needs nothing");
    // It still keeps others waiting, until somebody who knows says that it is gone.
    assert!(scene.run().lease.is_some());
    let blocked = scene.visit(&scene.production().env("GITHUB_RUN_ID", "2"));
    let id = scene.runs()[0].id.to_string();
    blocked.was_stopped(3, "lock-taken", &["production", &id, "operation: recover"]);
    let named = recover(&scene).input("deployment-id", &id).env("GITHUB_RUN_ID", "3");
    says(&scene.visit(&named), "its lease was given back");
    assert!(scene.runs()[0].lease.is_none());
    scene.visit(&scene.production().env("GITHUB_RUN_ID", "4")).succeeded();
}

#[test]
fn recovery_knows_the_registrys_password() {
    let here =
        testbed::registry::Registry::builder().auth(testbed::registry::Auth::Basic).user("ann", "s3cret").start();
    let scene = Scene::with(here, testbed::registry::Registry::start()).configured(&one_service("")).on_a_file();
    scene.place(&release(1), "acme/api", &["staging"]);
    let known = |step: Runner| step.input("registry-username", "ann").input("registry-password", "s3cret");
    scene.killed_at(&known(scene.production()), "PUT", "/v2/acme/api/manifests/production", false);
    let visit = scene.visit(&known(recover(&scene)));
    says(&visit, "was settled");
    assert_eq!(scene.tag("acme/api", "production").as_deref(), Some(release(1).digest()));
}
