//! What GitHub is shown of a run: deployments, records, issues about failures; and what it may not be shown.

use std::time::Duration;

use testbed::fault::{Action, Answer, Rule};
use testbed::github::{NewCheckRun, NewEnvironment, SeenIssue};
use testbed::service::{Behaviour, Service};

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

#[test]
fn a_look_that_finds_something_opens_an_issue_and_the_next_good_one_closes_it() {
    let mut scene = Scene::new("");
    let service = Service::following(scene.registry.contents(), "acme/api", "production");
    let probe = service.url("/health");
    scene.configure(&format!(
        "health:\n  retries: 1\n  interval: 10ms\n  timeout: 5s\n  probes: {{ api: {{ url: \"{probe}\" }} }}"
    ));
    scene.visit(&scene.step()).succeeded();
    let digest = image(1, &scene.commit).digest().to_owned();
    let look = |scene: &mut Scene| {
        scene.again();
        scene.visit(&scene.step().input("operation", "verify"))
    };
    assert_eq!(look(&mut scene).code, Some(0));
    assert!(failures(&scene).is_empty());
    service.behaves(&digest, Behaviour::Dead);
    for _ in 0..2 {
        look(&mut scene).was_stopped(1, "unhealthy", &["503"]);
    }
    let open = failures(&scene);
    assert!(open.len() == 1 && open[0].open && open[0].title.contains("is not well"), "{open:#?}");
    // It lives again, and is another than it should be.
    service.behaves(&digest, Behaviour::Healthy);
    let other = image(7, &scene.commit);
    other.place(scene.registry.contents(), "acme/api", &["production"]);
    look(&mut scene).was_stopped(1, "drift", &["was verified there by run"]);
    let open = failures(&scene);
    assert!(open.len() == 1 && open[0].open && open[0].body.contains("was verified there"), "{open:#?}");
    scene.registry.contents().put_tag("acme/api", "production", &digest);
    assert_eq!(look(&mut scene).code, Some(0));
    let closed = failures(&scene);
    assert!(closed.len() == 1 && !closed[0].open, "{closed:#?}");
}

#[test]
fn an_environments_name_may_have_spaces_and_slashes() {
    let name = "production / eu west-1 (blue)";
    let scene = Scene::new(&format!("github: {{ environment: \"{name}\" }}\ngates: {{ deployments: {{}} }}"));
    scene.api.environment(&NewEnvironment::named(name));
    scene.visit(&scene.step()).succeeded();
    let deployments = scene.api.deployments();
    assert_eq!(deployments.len(), 1, "{deployments:#?}");
    assert_eq!((deployments[0].environment.as_str(), deployments[0].production), (name, true));
    assert_eq!(deployments[0].states.last().map(String::as_str), Some("success"));
}

#[test]
fn a_rate_limit_is_waited_for_where_there_is_time_and_told_where_there_is_none() {
    let scene = Scene::new("gates: { checks: { also: [test] } }");
    scene.api.check_run(&scene.commit, &NewCheckRun::ended("test", "success"));
    let token = scene.github.job_token();
    scene.github.set_remaining(&token, 3, Duration::from_secs(1));
    scene.visit(&scene.step_with(&token)).succeeded();
    let scene = Scene::new("gates: { checks: { also: [test] } }");
    let token = scene.github.job_token();
    scene.github.set_remaining(&token, 0, Duration::from_secs(50 * 60));
    let visit = scene.visit(&scene.step_with(&token).input("timeout", "40s"));
    assert!(
        visit.code != Some(0) && visit.annotations("error").iter().any(|text| text.contains("rate limit")),
        "{visit:?}"
    );
    assert_eq!(scene.production(), None);
}
