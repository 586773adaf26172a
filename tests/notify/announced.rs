//! `operation: notify`: other workflows speak through the same channels.

use testbed::fault::{Action, Answer, Rule};
use testbed::runner::Runner;

use super::scene::Scene;

const CHANNELS: &str = r#"
team: { slack: "${SLACK}", on: [drift, succeeded] }
oncall: { teams: "${TEAMS}", at-least: high }
hook: { webhook: "${HOOK}", on: [started], environments: [staging] }
"#;

fn notify(scene: &Scene, event: &str, message: &str) -> Runner {
    scene.step().input("environment", "").input("operation", "notify").input("event", event).input("message", message)
}

#[test]
fn whoever_wants_the_event_is_told() {
    let scene = Scene::new(CHANNELS, "");
    let finished = notify(&scene, "drift", "Something else runs\nexpected a, found <!channel>").run();
    assert!(finished.is_success(), "{finished}");
    let slack = scene.told("/services").remove(0).json();
    assert_eq!(slack["blocks"][0]["text"]["text"], "🔀 Something else runs");
    assert_eq!(slack["blocks"][1]["elements"][0]["elements"][0]["text"], "expected a, found <!channel>");
    assert_eq!((scene.told("/workflows").len(), scene.told("/hook").len()), (1, 0));
    assert!(finished.stdout.contains("team: sent"), "{finished}");
    assert!(finished.stdout.contains("oncall: accepted"), "{finished}");
}

#[test]
fn how_bad_it_is_said_to_be_decides_for_channels_that_ask_for_that() {
    let scene = Scene::new(CHANNELS, "");
    for (severity, told) in [("low", 0), ("medium", 0), ("high", 1), ("critical", 2)] {
        assert!(notify(&scene, "recovered", "x").input("severity", severity).run().is_success());
        assert_eq!(scene.told("/workflows").len(), told, "{severity}");
    }
    // A channel that names events is told of those, however bad they are.
    assert!(notify(&scene, "drift", "x").input("severity", "low").run().is_success());
    assert_eq!((scene.told("/services").len(), scene.told("/workflows").len()), (1, 2));
}

#[test]
fn named_channels_are_told_whatever_they_are_told_else() {
    let scene = Scene::new(CHANNELS, "");
    let finished =
        notify(&scene, "succeeded", "Backup done").input("channels", "hook").input("severity", "critical").run();
    assert!(finished.is_success(), "{finished}");
    let hook = scene.told("/hook").remove(0).json();
    assert_eq!((&hook["title"], &hook["severity"]), (&"Backup done".into(), &"critical".into()));
    assert_eq!(scene.channels.told().len(), 1);
    let unknown = notify(&scene, "succeeded", "x").input("channels", "hok").run();
    assert_eq!(unknown.code, Some(2), "{unknown}");
    assert!(unknown.stdout.contains("did you mean `hook`"), "{unknown}");
}

#[test]
fn what_is_missing_or_fails_is_told() {
    let scene = Scene::new(CHANNELS, "");
    for (step, text) in [
        (notify(&scene, "", "x"), "`event`: is missing"),
        (notify(&scene, "drift", ""), "`message`: is missing"),
        (notify(&scene, "drfit", "x"), "did you mean `drift`"),
        (notify(&scene, "drift", "x").input("severity", "loud"), "is not a severity"),
    ] {
        let finished = step.run();
        assert_eq!(finished.code, Some(2), "{finished}");
        assert!(finished.stdout.contains(text), "{finished}");
    }
    scene.channels.fault(Rule::on("POST", "/services/*").act(Action::Answer(Answer::status(404))));
    let finished = notify(&scene, "drift", "x").run();
    assert_eq!(finished.code, Some(1), "{finished}");
    assert!(finished.stdout.contains("oncall: accepted"), "{finished}");
}

#[test]
fn a_template_is_filled_also_where_there_is_no_run() {
    let channels = r#"hook: { webhook: "${HOOK}", headers: { x-about: "{{ environment }}/{{ digest }}" } }"#;
    let scene = Scene::new(channels, "");
    let finished = notify(&scene, "drift", "x").input("environment", "staging").run();
    assert!(finished.is_success(), "{finished}");
    assert_eq!(scene.told("/hook").remove(0).headers["x-about"], "staging/");
    // Nobody is told in a rehearsal, and no secret is needed for it.
    let finished = notify(&scene, "drift", "x").input("dry-run", "true").env("HOOK", "").run();
    assert!(finished.is_success() && finished.stdout.contains("these would be told of `drift`: hook"), "{finished}");
    assert_eq!(scene.channels.told().len(), 1);
}
