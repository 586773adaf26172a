//! Channels that hang, fail, throttle and refuse: they are tried as long as that makes sense, and change no verdict.

use std::time::Duration;

use testbed::fault::{Action, Answer, Rule};

use super::scene::Scene;

const TEAM: &str = "team: { slack: \"${SLACK}\", on: [succeeded] }";

/// What the newest run has on record of `succeeded`: how it ended, after how many attempts.
fn outcome(scene: &Scene) -> (&'static str, u32) {
    let run = scene.run();
    let (delivery, attempts) = run.notification("succeeded", "team").unwrap().delivery.unwrap();
    (delivery.name(), attempts)
}

#[test]
fn what_may_pass_is_tried_again() {
    for answer in [Answer::status(500), Answer::status(503), Answer::retry_after_seconds(1)] {
        let scene = Scene::new(TEAM, "");
        let fault = scene.channels.fault(Rule::on("POST", "/services/*").times(1).act(Action::Answer(answer)));
        let finished = scene.promote();
        assert!(finished.is_success(), "{finished}");
        assert_eq!(fault.hits(), 1);
        assert_eq!(outcome(&scene), ("sent", 2));
        assert_eq!(scene.told("/services").len(), 1);
    }
}

#[test]
fn what_will_not_pass_is_told_and_changes_nothing() {
    let cases = [
        (Answer::status(500), 3),
        (Answer::status(404).body("no_service for /services/T0000/B0000/secretsecret"), 1),
        (Answer::status(301).header("location", "http://127.0.0.1:9/"), 1),
        (Answer::retry_after_seconds(3600), 1),
    ];
    for (answer, attempts) in cases {
        let scene = Scene::new(TEAM, "");
        scene.channels.fault(Rule::on("POST", "/services/*").act(Action::Answer(answer)));
        let finished = scene.promote();
        assert!(finished.is_success(), "{finished}");
        assert_eq!(outcome(&scene), ("failed", attempts), "{finished}");
        assert_eq!(finished.outputs().unwrap()["status"], "SUCCESS");
        let warnings = finished.annotations("warning");
        assert!(warnings.iter().any(|text| text.contains("channel `team` was not told of `succeeded`")), "{finished}");
        scene.assert_nothing_leaked(&finished);
    }
}

#[test]
fn a_channel_that_hangs_delays_the_end_a_little_and_the_others_not_at_all() {
    let scene = Scene::new("team: { slack: \"${SLACK}\", on: [succeeded] }\nhook: { webhook: \"${HOOK}\" }", "");
    scene.channels.fault(Rule::on("POST", "/services/*").act(Action::Hang));
    let finished = scene.promote();
    assert!(finished.is_success(), "{finished}");
    assert_eq!(outcome(&scene).0, "failed");
    assert!(finished.duration < Duration::from_secs(40), "{:?}", finished.duration);
    assert_eq!(scene.told("/hook").len(), 1);
}

#[test]
fn slacks_own_errors_are_read() {
    let bot = "team: { slack-bot: \"${SLACK_TOKEN}\", channel: C1, api: \"{channels}/api\", on: [succeeded] }";
    for (error, expected) in [("channel_not_found", ("failed", 1)), ("internal_error", ("sent", 2))] {
        let scene = Scene::new(bot, "");
        let body = format!(r#"{{"ok":false,"error":"{error}"}}"#);
        let answer = Answer::status(200).header("content-type", "application/json").body(body);
        scene.channels.fault(Rule::on("POST", "/api/*").times(1).act(Action::Answer(answer)));
        let finished = scene.promote();
        assert!(finished.is_success(), "{finished}");
        assert_eq!(outcome(&scene), expected, "{finished}");
    }
}
