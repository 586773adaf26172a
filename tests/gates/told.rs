//! Whom a run waits for, and what they said, is told by the channels that want it.

use testbed::channels::Channels;
use testbed::fault::{Action, Answer, Rule};

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
    let (visit, mut titles, _) = told(PATIENT, |code| Some(format!("/approve {code}")));
    visit.succeeded();
    // They may have been reminded more than once.
    titles.dedup();
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

#[test]
fn an_issue_is_commented_once_even_where_the_answer_is_lost() {
    let scene = Scene::without_contract("");
    let issue = scene.api.issue("ann", "Releases", "What is released", &[], false);
    let path = format!("/repos/acme/api/issues/{issue}/comments");
    let lost = scene.github.fault(Rule::on("POST", &path).times(1).act(Action::Disguise(Answer::html(502))));
    let channels = format!("  log: {{ github: {{ issue: {issue} }}, on: [succeeded] }}\n");
    let visit = scene.visit(&scene.step_telling(&channels));
    visit.succeeded();
    assert_eq!(lost.hits(), 1);
    let seen = scene.api.issues().into_iter().find(|one| one.number == issue).unwrap();
    let told = seen.comments.iter().filter(|text| text.contains("Succeeded: api to production")).count();
    assert_eq!(told, 1, "{seen:#?}");
    let (how, _) = scene.newest().notification("succeeded", "log").unwrap().delivery.unwrap();
    assert_eq!(how.name(), "sent");
}

#[test]
fn a_comment_that_is_forbidden_names_the_permission_and_changes_nothing() {
    let scene = Scene::new("");
    let issue = scene.api.issue("ann", "Releases", "What is released", &[], false);
    let path = format!("/repos/acme/api/issues/{issue}/comments");
    let denied = Answer::status(403).header("content-type", "application/json").body(
        r#"{"message":"Resource not accessible by integration","documentation_url":"https://docs.github.com/rest"}"#,
    );
    scene.github.fault(Rule::on("POST", &path).act(Action::Answer(denied)));
    let channels = format!("  log: {{ github: {{ issue: {issue} }}, on: [succeeded] }}\n");
    let visit = scene.visit(&scene.step_telling(&channels));
    visit.succeeded();
    let warnings = visit.annotations("warning");
    assert!(warnings.iter().any(|text| text.contains("`log`") && text.contains("issues: write")), "{visit:?}");
}
