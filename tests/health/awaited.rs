//! What the run cannot take back is asked of people: it waits, or is parked, sees what they have done, and has others told
//! when nobody does anything.

use std::time::{Duration, Instant};

use testbed::channels::{Channels, Told};
use testbed::runner::Runner;
use testbed::service::Behaviour;
use tidegate::promotion::state::State;

use crate::scene::{PROBES, Scene, version};

/// Two channels: everybody, and those who are told when nobody does anything.
const NOTIFY: &str = "\
notify:
  team: { webhook: \"${TEAM}\", at-least: high }
  oncall: { webhook: \"${ONCALL}\", on: [drift] }
";

struct Place {
    scene: Scene,
    channels: Channels,
}

impl Place {
    /// Version 1 is good and version 2 is dead, and nobody but people may take it back.
    fn new(rollback: &str) -> Self {
        let scene = Scene::with(&format!("{PROBES}rollback: {{ automatic: false, lived: 1ms, {rollback} }}\n"));
        scene.also(NOTIFY);
        let place = Self { scene, channels: Channels::start() };
        place.scene.place(1, Behaviour::Healthy);
        place.scene.visit(&place.step()).ended(0, "completed-successfully", "healthy", "");
        place.scene.place(2, Behaviour::Dead);
        place
    }

    /// The step in a workflow run of its own.
    fn step(&self) -> Runner {
        let hook = |path: &str| format!("{}/{path}", self.channels.url());
        self.scene.next_step().env("TEAM", &hook("team")).env("ONCALL", &hook("oncall")).env("TIDEGATE_PACE_MS", "40")
    }

    fn told(&self, path: &str) -> Vec<Told> {
        self.channels.told().into_iter().filter(|told| told.path == format!("/{path}")).collect()
    }

    /// Waits until something was told so often.
    fn wait_until_told(&self, path: &str, times: usize) {
        let begin = Instant::now();
        while self.told(path).len() < times {
            assert!(begin.elapsed() < Duration::from_secs(30), "{path} was told {:?}", self.told(path));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Somebody points the tag back.
    fn take_back(&self) {
        self.scene.registry.contents().put_tag("acme/api", "production", version(1).digest());
    }
}

fn texts(told: &[Told]) -> String {
    told.iter().map(|one| one.json().to_string()).collect()
}

#[test]
fn it_waits_until_people_have_taken_it_back_and_has_others_told_meanwhile() {
    let place = Place::new("escalate: [oncall], escalate-after: 250ms, timeout: 5m");
    let mut running = place.step().start();
    running.wait_for("for people to take it back");
    // Everybody is told at once, with the commands; those who are named for it when nobody does anything, and again.
    place.wait_until_told("team", 1);
    let team = texts(&place.told("team"));
    assert!(team.contains("TAKE IT BACK") && team.contains("imagetools create"), "{team}");
    place.wait_until_told("oncall", 2);
    // Something else that does not live either is not what is waited for.
    place.scene.service.behaves(version(1).digest(), Behaviour::Dead);
    place.take_back();
    running.wait_for("what is there now does not live: api");
    place.scene.service.behaves(version(1).digest(), Behaviour::Healthy);
    let visit = place.scene.finish(running);
    visit.ended(4, "rolled-back", "unhealthy", "unhealthy");
    assert_eq!((visit.output("rolled-back"), visit.output("rollback-digest")), ("true", version(1).digest()));
    let run = place.scene.run_of(&visit);
    let asked = run.rollback.asked.clone().unwrap();
    assert!(asked.escalations >= 2 && run.rollback.run.is_none(), "{asked:?}");
    assert!(run.lease.is_none() && run.bad_digests.iter().any(|bad| bad.digest.as_str() == version(2).digest()));
    let told: Vec<&str> = run.notifications.iter().map(|one| one.topic.as_str()).collect();
    for topic in ["rollback-needed", "rollback-needed#1", "rollback-needed#2", "rolled-back"] {
        assert!(told.contains(&topic), "{topic} is not in {told:?}");
    }
    place.scene.assert_sound();
}

#[test]
fn a_rollback_by_hand_goes_through_while_it_is_waited_for() {
    let place = Place::new("while-pending: wait, timeout: 5m");
    let mut running = place.step().start();
    running.wait_for("for people to take it back");
    let by_hand =
        place.step().input("operation", "rollback").input("reason", "it is dead").input("confirm", "ROLLBACK");
    place.scene.visit(&by_hand).ended(0, "completed-successfully", "healthy", "");
    let visit = place.scene.finish(running);
    visit.ended(4, "rolled-back", "unhealthy", "unhealthy");
    assert_eq!(visit.output("rollback-digest"), version(1).digest());
    assert_eq!(place.scene.runs().len(), 3);
    place.scene.assert_sound();
}

#[test]
fn where_nobody_does_anything_in_time_that_is_said() {
    let place = Place::new("escalate: [oncall], escalate-after: 100ms, timeout: 600ms");
    let visit = place.scene.visit(&place.step());
    visit.ended(5, "rollback-failed", "unhealthy", "rollback-failed");
    visit.says("nobody has taken it back in time");
    visit.says("docker buildx imagetools create");
    assert!(texts(&place.told("team")).contains("ROLLBACK FAILED"), "{:?}", place.told("team"));
    assert!(!place.told("oncall").is_empty());
    assert_eq!(place.scene.production().as_deref(), Some(version(2).digest()));
    place.scene.assert_sound();
}

#[test]
fn parked_it_costs_no_runner_and_a_schedule_looks_after_it() {
    let place = Place::new("while-pending: park, escalate: [oncall], escalate-after: 50ms, timeout: 1h");
    let visit = place.scene.visit(&place.step());
    assert_eq!((visit.finished.code, visit.output("decision")), (Some(0), "wait"), "{visit:?}");
    let id = visit.output("deployment-id").to_owned();
    let recover = || place.scene.visit(&place.step().input("operation", "recover").input("environment", ""));
    std::thread::sleep(Duration::from_millis(60));
    let looked = recover();
    assert_eq!(looked.finished.code, Some(0), "{looked:?}");
    assert!(
        looked.finished.stdout.contains(&format!("run {id}, which waits for people, was looked after")),
        "{looked:?}"
    );
    assert!(!place.told("oncall").is_empty());
    let state = || place.scene.runs().into_iter().find(|run| run.id.as_str() == id).unwrap().state;
    assert_eq!(state(), State::RollingBack);
    place.take_back();
    let looked = recover();
    assert_eq!((looked.finished.code, state()), (Some(4), State::RolledBack), "{looked:?}");
    // There is nothing left to look after.
    assert_eq!(recover().finished.code, Some(0));
    place.scene.assert_sound();
}

#[test]
fn killed_while_it_waits_it_goes_on_waiting() {
    let place = Place::new("while-pending: wait, timeout: 5m");
    let step = place.step();
    let mut running = step.start();
    running.wait_for("for people to take it back");
    drop(running);
    let mut running = step.start();
    running.wait_for("for people to take it back");
    place.take_back();
    let visit = place.scene.finish(running);
    visit.ended(4, "rolled-back", "unhealthy", "unhealthy");
    let asked = place.scene.run_of(&visit).seq;
    assert!(asked > 0);
    place.scene.assert_sound();
}
