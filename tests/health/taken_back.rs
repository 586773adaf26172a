//! What does not live is taken back, by itself and by hand; wherever the program is killed, nothing is left bad in silence.

use std::time::Duration;

use testbed::service::Behaviour;
use tidegate::promotion::event::Operation;
use tidegate::promotion::run::Run;
use tidegate::promotion::state::State;

use crate::scene::{PROBES, Scene, Visit, version, watched};

/// A version may be gone back to as soon as it was verified.
const SOON: &str = "rollback: { lived: 1ms }\n";

fn scene() -> Scene {
    Scene::with(&watched(SOON))
}

fn good(scene: &Scene, number: u64) {
    scene.promote(number, Behaviour::Healthy).ended(0, "completed-successfully", "healthy", "");
}

/// The run that takes back another, which names it, and is named by it.
#[track_caller]
fn taking_back(scene: &Scene, visit: &Visit) -> Run {
    let run = scene.run_of(visit);
    let id = run.rollback.run.clone().unwrap();
    let other = scene.runs().into_iter().find(|one| one.id == id).unwrap();
    assert_eq!(other.opening.rolls_back.as_ref(), Some(&run.id));
    assert_eq!(other.opening.operation, Operation::Rollback);
    other
}

/// It was rolled back to this version, which runs, and everybody says so.
#[track_caller]
fn was_rolled_back(scene: &Scene, visit: &Visit, to: u64) {
    visit.ended(4, "rolled-back", "unhealthy", "unhealthy");
    let digest = version(to).digest().to_owned();
    assert_eq!((visit.output("rolled-back"), visit.output("rollback-digest")), ("true", digest.as_str()), "{visit:?}");
    assert_eq!(scene.production(), Some(digest.clone()));
    assert_eq!(scene.service.runs(), Some(digest));
    visit.says("was rolled back");
    let other = taking_back(scene, visit);
    assert_eq!(other.state, State::CompletedSuccessfully);
    assert!(other.health.verdict.is_some(), "it was verified too");
    let record = visit.record();
    assert_eq!(record["rollback"]["run"], other.id.as_str());
    assert_eq!(record["bad_digests"].as_array().unwrap().len(), 1, "{record:#}");
    scene.assert_sound();
}

#[test]
fn what_dies_while_it_is_watched_is_taken_back() {
    let scene = scene();
    good(&scene, 1);
    good(&scene, 2);
    let visit = scene.promote(3, Behaviour::DiesAfter(Duration::from_millis(250)));
    was_rolled_back(&scene, &visit, 2);
    // The other run left its own record and report.
    let folder = scene.step.workspace().join(".tidegate").join(taking_back(&scene, &visit).id.as_str());
    assert!(folder.join("record.json").exists() && folder.join("report.md").exists());
    // Met again it tells the same and asks nobody.
    let again = scene
        .visit(&scene.step.clone().input("deployment-id", visit.output("deployment-id")).env("GITHUB_RUN_ID", "773"));
    again.ended(4, "rolled-back", "unhealthy", "unhealthy");
}

#[test]
fn every_bad_way_leads_back() {
    for behaviour in [
        Behaviour::Dead,
        Behaviour::Flaps(4),
        Behaviour::Slow(Duration::from_millis(900)),
        Behaviour::Poses(version(1).digest().to_owned()),
        Behaviour::Endless,
        Behaviour::RedirectLoop,
    ] {
        let scene = scene();
        good(&scene, 1);
        let visit = scene.promote(2, behaviour);
        was_rolled_back(&scene, &visit, 1);
    }
}

#[test]
fn a_version_that_was_never_verified_is_not_gone_back_to() {
    let scene = scene();
    good(&scene, 1);
    let bad = scene.promote(2, Behaviour::Dead);
    was_rolled_back(&scene, &bad, 1);
    good(&scene, 3);
    // Version 3 is gone from the registry when version 4 turns out bad: version 2 was bad, so it is version 1.
    scene.place(4, Behaviour::Dead);
    scene.registry.contents().remove_tag("acme/api", "production");
    scene.registry.contents().put_tag("acme/api", "production", version(3).digest());
    let contents = scene.registry.contents().clone();
    contents.remove_manifest("acme/api", version(3).digest());
    let visit = scene.visit(&scene.next_step());
    assert_eq!(visit.finished.code, Some(4), "{visit:?}");
    assert_eq!(scene.production().as_deref(), Some(version(1).digest()));
    let other = taking_back(&scene, &visit);
    let (_, chosen) = other.targets.iter().next().unwrap();
    let passed: Vec<_> = chosen.passed_over.iter().map(|one| one.because.as_str()).collect();
    assert!(passed.iter().any(|why| why.contains("cannot be had any more")), "{passed:?}");
}

#[test]
fn the_first_version_has_no_way_back_and_says_what_to_do() {
    let scene = scene();
    let visit = scene.promote(1, Behaviour::Dead);
    visit.ended(5, "rollback-failed", "unhealthy", "rollback-failed");
    assert_eq!(visit.output("rolled-back"), "false");
    visit.says("could not be rolled back: a human is needed");
    visit.says("fix it forward");
    let errors = visit.finished.annotations("error");
    assert!(errors.iter().any(|text| text.contains(version(1).digest())), "{errors:?}");
}

#[test]
fn a_rollback_that_does_not_live_either_is_not_rolled_back() {
    let scene = scene();
    good(&scene, 1);
    scene.service.behaves(version(1).digest(), Behaviour::DiesAfter(Duration::from_millis(1)));
    // It is asked before the deployment for a moment, and answers well.
    scene.place(2, Behaviour::Dead);
    let visit = scene.visit(&scene.next_step());
    assert!(matches!(visit.finished.code, Some(5 | 6)), "{visit:?}");
    let rollbacks = scene.runs().iter().filter(|run| run.opening.operation == Operation::Rollback).count();
    assert!(rollbacks <= 1, "a rollback was rolled back");
    if visit.finished.code == Some(5) {
        visit.says("docker buildx imagetools create");
        visit.says("--confirm ROLLBACK");
    }
}

#[test]
fn what_was_there_before_there_were_runs_is_gone_back_to_where_it_answered_well() {
    let scene = scene();
    version(1).place(scene.registry.contents(), "acme/api", &["production"]);
    let visit = scene.promote(2, Behaviour::Dead);
    was_rolled_back(&scene, &visit, 1);
}

#[test]
fn by_hand_it_goes_back_to_the_best_or_to_the_one_that_is_named() {
    let scene = scene();
    for number in [1, 2, 3] {
        good(&scene, number);
    }
    let by_hand = |scene: &Scene| {
        scene.next_step().input("operation", "rollback").input("reason", "it is slow").input("confirm", "ROLLBACK")
    };
    // Without a reason, or without the word, nothing is done.
    for name in ["reason", "confirm"] {
        let visit = scene.visit(&by_hand(&scene).input(name, ""));
        assert_eq!((visit.finished.code, visit.output("reason-code")), (Some(2), "input-invalid"), "{visit:?}");
    }
    let visit = scene.visit(&by_hand(&scene));
    visit.ended(0, "completed-successfully", "healthy", "");
    assert_eq!(scene.production().as_deref(), Some(version(2).digest()));
    assert_eq!(visit.output("previous-digest"), version(3).digest());
    visit.says("Rolled back production");
    let run = scene.run_of(&visit);
    assert!(run.bad_digests.iter().any(|bad| bad.digest.as_str() == version(3).digest()));
    // And to the very first, by name.
    let visit = scene.visit(&by_hand(&scene).input("digest", version(1).digest()));
    visit.ended(0, "completed-successfully", "healthy", "");
    assert_eq!(scene.production().as_deref(), Some(version(1).digest()));
    // What the registry does not have cannot be named.
    let visit = scene.visit(&by_hand(&scene).input("digest", version(99).digest()));
    assert_eq!((visit.finished.code, visit.output("reason-code")), (Some(1), "no-way-back"), "{visit:?}");
    scene.assert_sound();
}

/// Killed at any of these places, it is taken back all the same. The places are chosen from the names of all of them.
fn killed_at(scene: impl Fn() -> Scene, places: impl Fn(&[&str]) -> Vec<usize>) {
    let log = {
        let scene = scene();
        good(&scene, 1);
        scene.place(2, Behaviour::Dead);
        let log = scene.step.workspace().join("crash.log");
        let visit = scene.visit(&scene.next_step().env("TIDEGATE_CRASH_LOG", &log.display().to_string()));
        assert_eq!(visit.finished.code, Some(4), "{visit:?}");
        std::fs::read_to_string(log).unwrap()
    };
    let names: Vec<&str> = log.lines().filter_map(|line| Some(line.split_once(' ')?.1)).collect();
    let count = names.len();
    let places = places(&names);
    assert!(!places.is_empty(), "{names:?}");
    // Each is a promotion of its own, and every run another one.
    for place in places {
        let scene = scene();
        good(&scene, 1);
        scene.place(2, Behaviour::Dead);
        let step = scene.next_step();
        let killed = step.clone().env("TIDEGATE_CRASH_AT", &place.to_string()).run();
        assert!(killed.signal.is_some() || killed.code == Some(4), "{place} of {count}: {killed}");
        let visit = scene.visit(&step.env("GITHUB_RUN_ATTEMPT", "2"));
        // Where it was killed after its end, a new run finds the digest bad, or promotes it again and takes it back.
        assert_ne!(visit.finished.code, Some(0), "{place} of {count}: {visit:?}");
        assert_eq!(scene.production().as_deref(), Some(version(1).digest()), "{place} of {count}: {visit:?}");
        assert!(scene.runs().iter().all(|run| run.ended.is_some()), "{place} of {count}");
        scene.assert_sound();
    }
}

#[test]
fn killed_anywhere_it_comes_to_the_same_end() {
    // A sample of all places, from the first failed probe to the end.
    killed_at(scene, |names| (names.len() / 4..=names.len()).step_by(31).collect());
}

#[test]
fn killed_before_it_has_said_that_its_check_failed_it_comes_to_the_same_end() {
    // There is no window that would ask again: what was answered must count.
    let scene = || Scene::with(&format!("{PROBES}{SOON}"));
    killed_at(scene, |names| {
        // The probes are the last that is asked before the run is opened that takes back.
        let open = names.iter().rposition(|name| *name == "ledger commit open").unwrap();
        let asked = names[..open].iter().rposition(|name| *name == "http answer").unwrap();
        // Places are counted from 1.
        (asked + 2..=open + 1).collect()
    });
}

#[test]
fn an_environment_is_verified_on_its_own() {
    let scene = scene();
    good(&scene, 1);
    let verify = |scene: &Scene| scene.visit(&scene.next_step().input("operation", "verify"));
    let visit = verify(&scene);
    visit.ended(0, "completed-successfully", "healthy", "");
    visit.says("is what was verified there");
    // It is down.
    scene.service.behaves(version(1).digest(), Behaviour::Dead);
    verify(&scene).ended(1, "failed", "unhealthy", "unhealthy");
    scene.service.behaves(version(1).digest(), Behaviour::Healthy);
    // Somebody has moved the tag by hand.
    version(9).place(scene.registry.contents(), "acme/api", &["production"]);
    let visit = verify(&scene);
    visit.ended(1, "failed", "healthy", "drift");
    visit.says("was verified there by run");
    assert_eq!(scene.production().as_deref(), Some(version(9).digest()));
    assert!(scene.runs().iter().skip(1).all(|run| run.intents.is_empty() && run.lease.is_none()));
    scene.assert_sound();
}
