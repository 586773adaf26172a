//! What GitHub is shown of a run: deployments, records, issues about failures; and what it may not be shown.

use testbed::fault::{Action, Answer, Rule};
use testbed::github::{NewCheckRun, SeenIssue};

use super::scene::{Scene, image};

/// The issues about failures.
fn failures(scene: &Scene) -> Vec<SeenIssue> {
    scene.api.issues().into_iter().filter(|issue| issue.labels.contains(&"tidegate-failure".to_owned())).collect()
}

#[test]
fn the_deployment_that_the_job_made_is_used_and_not_doubled() {
    let scene = Scene::new("github: { deployment: reuse, url: \"https://{{ environment }}.acme.test/\" }");
    let own = scene.api.deployment(&scene.commit, "production", true, &["in_progress"]);
    let check = NewCheckRun::under_way("promote", "in_progress").with_deployment(own);
    let check = scene.api.check_run(&scene.commit, &check);
    scene.visit(&scene.step().input("check-run-id", &check.to_string())).succeeded();
    let deployments = scene.api.deployments();
    assert_eq!(deployments.len(), 1, "{deployments:#?}");
    assert_eq!(deployments[0].states, ["in_progress", "in_progress", "success"]);
    let set = scene.github.received();
    assert!(set.iter().any(|one| one.body["environment_url"] == "https://production.acme.test/"));
}

#[test]
fn an_environment_that_is_not_there_is_not_made() {
    let scene = Scene::new("github: { environment: nowhere }");
    let visit = scene.visit(&scene.step());
    visit.succeeded();
    assert_eq!(scene.api.environments(), ["production"]);
    assert!(scene.api.deployments().is_empty());
    assert!(visit.summary().contains("would make it without protection"), "{visit:?}");
}

#[test]
fn what_the_token_may_not_show_stops_nothing_and_is_named_once() {
    let scene = Scene::new("");
    // What a fork's token may.
    let token = scene.github.job_token_with(&[
        ("contents", "read"),
        ("actions", "read"),
        ("deployments", "read"),
        ("issues", "read"),
    ]);
    let visit = scene.visit(&scene.step_with(&token));
    visit.succeeded();
    assert_eq!(scene.production().as_deref(), Some(image(1, &scene.commit).digest()));
    let run = scene.newest();
    let named = |permission: &str| run.faults.iter().filter(|one| one.fault.fix.contains(permission)).count();
    assert_eq!(named("deployments: write"), 1, "{:#?}", run.faults);
    assert!(named("statuses: write") >= 1, "{:#?}", run.faults);
}

#[test]
fn a_failure_has_one_issue_until_the_next_success() {
    let mut scene = Scene::new("github: { labels: [urgent], record: true }");
    scene.api.make_private();
    let rule =
        || Rule::on("PUT", "/v2/acme/api/manifests/production").act(Action::Answer(Answer::error(403, "DENIED", "no")));
    let fault = scene.registry.fault(rule());
    for _ in 0..2 {
        assert_eq!(scene.visit(&scene.step()).code, Some(1));
        scene.again();
    }
    fault.remove();
    let open = failures(&scene);
    assert_eq!(open.len(), 1, "{open:#?}");
    assert!(open[0].open && open[0].labels.contains(&"urgent".to_owned()), "{open:#?}");
    assert!(open[0].body.contains(scene.newest().id.as_str()), "it is about the newest failure");
    assert!(open[0].comments.iter().any(|text| text.contains("failed too")), "{open:#?}");
    scene.visit(&scene.step()).succeeded();
    let closed = failures(&scene);
    assert!(closed.len() == 1 && !closed[0].open && closed[0].comments.iter().any(|text| text.contains("succeeded")));
    let records = scene.github.deployment_records();
    assert_eq!(records.len(), 1, "{records:#?}");
    assert_eq!(records[0]["digest"], image(1, &scene.commit).digest());
}

#[test]
fn what_is_turned_off_is_not_written() {
    let scene = Scene::new("github: { status: false, deployment: off, issues: false }");
    scene.visit(&scene.step()).succeeded();
    assert_eq!(scene.github.received().iter().filter(|one| one.method != "GET").count(), 0);
    assert!(scene.github.log().is_empty(), "{:?}", scene.github.log());
}
