//! Whom a run waits for, and what they said, is told by the channels that want it.

use testbed::channels::Channels;

use super::scene::{Scene, Visit};

/// Runs the step with a channel that wants all of it; `say` is what people write into the issue under its code.
fn told(keys: &str, say: impl Fn(&str) -> Option<String>) -> (Visit, Vec<String>, String) {
    let (scene, channels) = (Scene::new(keys), Channels::start());
    let notify =
        "  team: { slack: \"${SLACK}\", on: [approval-needed, approval-reminder, approved, rejected, timed-out] }\n";
    let step = scene.step_telling(notify).env("SLACK", &format!("{}/services/secretsecret", channels.url()));
    let mut running = step.start();
    if let Some(wait) = say("").map(|_| "the approvers were reminded") {
        running.wait_for(wait);
        let issue = scene.api.issues().remove(0);
        let code = issue.body.split("/approve ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
        scene.api.comment(issue.number, Some("bob"), &say(&code).unwrap());
    }
    let visit = scene.finish(running);
    let told = channels.told();
    let titles =
        told.iter().map(|told| told.json()["blocks"][0]["text"]["text"].as_str().unwrap().to_owned()).collect();
    let last = told.last().map(|told| told.body.clone()).unwrap_or_default();
    (visit, titles, last)
}

const PATIENT: &str = "gates: { approval: { via: issue, approvers: [bob], minimum: 1, timeout: 1h, reminder: 200ms } }";

#[test]
fn a_yes_is_told_after_the_question_and_the_reminder() {
    let (visit, titles, _) = told(PATIENT, |code| Some(format!("/approve {code}")));
    visit.succeeded();
    assert_eq!(
        titles,
        [
            "✋ Approval needed: api to production",
            "⏰ Still waiting for approval: api to production",
            "👍 Approved: api to production"
        ]
    );
}

#[test]
fn a_no_is_told_with_its_words() {
    let (visit, titles, last) = told(PATIENT, |code| Some(format!("/reject {code} not on a Friday")));
    visit.was_stopped(3, "approval-rejected", &["not on a Friday"]);
    assert_eq!(titles.last().unwrap(), "🚫 Rejected: api to production");
    assert!(last.contains("not on a Friday"), "{last}");
}

#[test]
fn that_nobody_answered_is_told() {
    let keys = "gates: { approval: { via: issue, approvers: [bob], minimum: 1, timeout: 1500ms } }";
    let (visit, titles, _) = told(keys, |_| None);
    visit.was_stopped(3, "approval-timed-out", &["nobody answered in time"]);
    assert_eq!(titles, ["✋ Approval needed: api to production", "⌛ Not approved in time: api to production"]);
}
