//! Every way in which a version may behave, and the verdict over it.

use std::time::Duration;

use testbed::runner::Runner;
use testbed::service::Behaviour;
use tidegate::promotion::health::Health;

use crate::scene::{PROBES, Scene, version, watched};

#[test]
fn a_healthy_version_passes_and_everything_that_was_asked_is_on_record() {
    let scene = Scene::with(&watched("  settle: 100ms\n  readiness: { timeout: 5s, consecutive: 2 }\n"));
    let visit = scene.promote(1, Behaviour::Healthy);
    visit.ended(0, "completed-successfully", "healthy", "");
    assert_eq!(visit.output("success-rate"), "100");
    visit.says("### Health");
    visit.says("no failure in 24 samples");
    let probe = &visit.record()["health_checks"]["api"];
    assert_eq!((&probe["status"], &probe["samples"]), (&"passed".into(), &25.into()));
    let run = scene.run_of(&visit);
    assert_eq!((run.health.ticks.len(), run.health.readiness), (6, 2));
    assert!(run.health.ready && run.health.baseline.is_none());
    let out = visit.finished.to_string();
    assert!(out.contains("tick 3 of 6: api 4/4"), "{out}");
    scene.assert_sound();
}

#[test]
fn what_a_version_does_decides() {
    let late = Duration::from_millis(900);
    for (behaviour, why) in [
        (Behaviour::Dead, "503"),
        (Behaviour::DiesAfter(Duration::from_millis(250)), "samples failed"),
        (Behaviour::Flaps(4), "failed"),
        (Behaviour::Slow(late), "no answer within 500ms"),
        (Behaviour::Poses(version(7).digest().to_owned()), "another version answers"),
        (Behaviour::Huge, "larger than"),
        (Behaviour::Endless, "larger than"),
        (Behaviour::RedirectLoop, "302"),
        (Behaviour::Silent, "no answer"),
    ] {
        let scene = Scene::with(&watched(""));
        let visit = scene.promote(1, behaviour.clone());
        assert_eq!((visit.output("health"), visit.output("failed-stage")), ("unhealthy", "verification"), "{visit:?}");
        visit.says(why);
        let run = scene.run_of(&visit);
        assert_eq!(run.health.verdict.as_ref().map(|(health, _)| *health), Some(Health::Unhealthy), "{behaviour:?}");
        assert!(run.faults.iter().any(|one| one.fault.code.name() == "unhealthy"));
    }
}

#[test]
fn what_cannot_be_asked_is_not_the_candidates_fault() {
    // A name that nobody resolves; a token that is not taken any more.
    let unknown = PROBES.replace("{service}", "http://nobody.invalid");
    let locked = format!("{}    locked: {{ url: \"{{service}}/\", bearer: \"${{TOKEN}}\" }}\n", PROBES);
    for (keys, behaviour) in [(unknown, Behaviour::Healthy), (locked, Behaviour::Locked)] {
        let scene = Scene::with(&keys);
        scene.place(1, behaviour);
        let visit = scene.visit(&scene.next_step().env("TOKEN", "s3cret-token"));
        visit.ended(6, "inconclusive", "inconclusive", "health-unknown");
        assert!(!visit.finished.to_string().replace("::add-mask::s3cret-token", "").contains("s3cret"), "{visit:?}");
        assert_eq!(scene.production().as_deref(), Some(version(1).digest()));
    }
}

#[test]
fn an_outage_that_was_there_already_is_not_blamed_on_the_candidate() {
    let scene = Scene::with(&watched(""));
    scene.promote(1, Behaviour::Healthy).ended(0, "completed-successfully", "healthy", "");
    scene.service.behaves(version(1).digest(), Behaviour::Dead);
    let visit = scene.promote(2, Behaviour::Dead);
    visit.ended(6, "inconclusive", "inconclusive", "health-unknown");
    visit.says("already before the deployment");
    assert_eq!(scene.production().as_deref(), Some(version(2).digest()));
    // What heals it is healthy.
    let visit = scene.promote(3, Behaviour::Healthy);
    visit.ended(0, "completed-successfully", "healthy", "");
    visit.says("failed before anything was changed");
}

#[test]
fn a_probe_that_is_not_critical_warns() {
    let keys = watched("").replace("  monitor", "    other: { tcp: \"127.0.0.1:9\", critical: false }\n  monitor");
    let scene = Scene::with(&keys);
    let visit = scene.promote(1, Behaviour::Healthy);
    visit.ended(0, "completed-successfully", "healthy", "");
    visit.says("a probe that is not critical fails");
    visit.says("refuses the connection");
}

#[test]
fn a_missing_secret_and_an_unclear_probe_are_noticed_before_anything_is_changed() {
    let scene = Scene::with("health:\n  probes:\n    db: { postgres: \"${NOBODY_SET_THIS}\" }\n");
    scene.promote(1, Behaviour::Healthy).ended(2, "failed", "", "secret-unset");
    assert_eq!(scene.production(), None);
}

#[test]
fn a_secret_that_a_later_job_lacks_says_nothing_of_what_was_deployed() {
    let scene = Scene::with(&format!(
        "{PROBES}    locked: {{ url: \"{{service}}/\", bearer: \"${{TOKEN}}\" }}\nrollback: {{ lived: 1ms }}\n"
    ));
    let with_token = |step: Runner| step.env("TOKEN", "s3cret-token");
    scene.place(1, Behaviour::Healthy);
    scene.visit(&with_token(scene.next_step())).ended(0, "completed-successfully", "healthy", "");
    scene.place(2, Behaviour::Healthy);
    let step = scene.next_step();
    let visit = scene.visit(&with_token(step.clone()).input("until", "copy"));
    assert_eq!(visit.finished.code, Some(0), "{visit:?}");
    let visit = scene.visit(&step);
    visit.ended(6, "inconclusive", "inconclusive", "secret-unset");
    assert_eq!(scene.production().as_deref(), Some(version(2).digest()));
}

#[test]
fn a_smoke_test_goes_on_with_what_it_has_captured() {
    let smoke = "  smoke:\n    - { name: login, url: \"{service}/login\", capture: { token: \"$.token\" } }\n    \
                 - { name: use, url: \"{service}/use?t={{ captured.token }}\", body: { \"$.token\": \"{{ captured.token }}\" } }\n";
    let scene = Scene::with(&format!("{PROBES}{smoke}"));
    scene.promote(1, Behaviour::Healthy).ended(0, "completed-successfully", "healthy", "");
    let wrong = smoke.replace("\"$.token\": \"{{ captured.token }}\"", "\"$.token\": t-2");
    let scene = Scene::with(&format!("{PROBES}{wrong}"));
    let visit = scene.promote(1, Behaviour::Healthy);
    assert_eq!(visit.output("health"), "unhealthy", "{visit:?}");
    visit.says("use: $.token is");
}

#[test]
fn a_smoke_test_that_failed_before_is_not_blamed_on_the_candidate() {
    let scene = Scene::with(PROBES);
    scene.promote(1, Behaviour::Healthy).ended(0, "completed-successfully", "healthy", "");
    scene.configure(&format!("{PROBES}  smoke:\n    - {{ name: shop, url: \"{{service}}/shop\", status: 418 }}\n"));
    let visit = scene.promote(2, Behaviour::Healthy);
    visit.ended(6, "inconclusive", "inconclusive", "health-unknown");
    visit.says("already before the deployment");
    assert_eq!(scene.production().as_deref(), Some(version(2).digest()));
}

#[test]
fn the_plan_says_what_the_window_can_detect() {
    let scene = Scene::with(&watched(""));
    scene.place(1, Behaviour::Healthy);
    let visit = scene.visit(&scene.next_step().input("operation", "plan"));
    visit.says("24 samples at 95.00% tolerate 1 failure");
    assert_eq!(scene.production(), None);
}
