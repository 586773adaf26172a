//! Approvals: people say yes to a plan, or do not.

use std::time::Duration;

use serde_json::json;
use testbed::fault::{Action, Answer, Rule};
use testbed::github::{NewCheckRun, NewEnvironment, SeenIssue};
use testbed::image::Image;
use testbed::postgres::Postgres;
use testbed::runner::{Runner, Running, Signal};
use tidegate::promotion::event::Consent;
use tidegate::promotion::state::State;

use super::scene::{Scene, Visit, image};

/// Two of three must say yes in an issue.
const BY_ISSUE: &str = "gates: { approval: { via: issue, approvers: [bob, cyd, octocat], minimum: 2, timeout: 1h } }";

/// The same, without a job that waits.
const PARKED: &str =
    "gates: { approval: { via: issue, approvers: [bob, cyd], minimum: 2, timeout: 1h, while-pending: park } }";

/// The only request for approval.
#[track_caller]
fn asked(scene: &Scene) -> SeenIssue {
    let issues: Vec<SeenIssue> =
        scene.api.issues().into_iter().filter(|issue| issue.labels.contains(&"tidegate-approval".to_owned())).collect();
    assert_eq!(issues.len(), 1, "{issues:#?}");
    issues.into_iter().next().unwrap()
}

/// The code of a request, from the text that people read.
fn code(issue: &SeenIssue) -> String {
    issue.body.split("/approve ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned()
}

/// Waits until it is asked.
fn asks(scene: &Scene, running: &mut Running) -> SeenIssue {
    running.wait_for("waiting for 2 more yes");
    asked(scene)
}

/// The step that a comment on the issue starts: another workflow run, in an empty workspace, told nothing.
fn commented(scene: &mut Scene, issue: &SeenIssue, by: &str) -> Visit {
    let run = scene.api.run("promote.yml", &scene.commit, by);
    let event = json!({
        "action": "created",
        "issue": { "number": issue.number, "body": issue.body, "labels": [{ "name": "tidegate-approval" }] },
        "comment": { "id": 1, "body": "/approve", "user": { "login": by } },
    });
    let step: Runner = scene
        .empty_step(&scene.github.job_token())
        .env("GITHUB_RUN_ID", &run.to_string())
        .env("GITHUB_ACTOR", by)
        .env("GITHUB_TRIGGERING_ACTOR", by)
        .event("issue_comment", &event);
    scene.visit(&step)
}

#[test]
fn two_of_three_say_yes_in_an_issue() {
    let scene = Scene::new(
        "gates: { approval: { via: issue, approvers: [bob, cyd, octocat], minimum: 2, timeout: 1h, reminder: 200ms } }",
    );
    scene.github.person("eve");
    let mut running = scene.step().start();
    let issue = asks(&scene, &mut running);
    assert!(issue.open && issue.body.contains(image(1, &scene.commit).digest()), "{issue:#?}");
    assert!(issue.body.contains("/reject ") && issue.assignees.contains(&"bob".to_owned()), "{issue:#?}");
    assert!(!issue.body.contains("What changes in the images"), "there is nothing that it replaces: {issue:#?}");
    let code = code(&issue);
    let yes = format!("/approve {code}");
    // A stranger, somebody whose words were edited, one who left out the code, and who asked, by another spelling.
    scene.api.comment(issue.number, Some("eve"), &yes);
    let edited = scene.api.comment(issue.number, Some("bob"), "no");
    scene.api.edit_comment(issue.number, edited, &yes);
    scene.api.comment(issue.number, Some("cyd"), "/approve");
    scene.api.comment(issue.number, Some("OctoCat"), &yes);
    running.wait_for("cannot approve a request of their own");
    running.wait_for("the approvers were reminded");
    scene.api.comment(issue.number, Some("bob"), &format!("{yes} looks good\n<b>really</b>"));
    running.wait_for("waiting for 1 more yes");
    assert_eq!(scene.production(), None);
    scene.api.comment(issue.number, Some("Cyd"), &yes);
    let visit = scene.finish(running);
    visit.succeeded();
    assert_eq!(visit.output("approved-by").to_lowercase(), "bob,cyd");
    assert_eq!(scene.production().as_deref(), Some(image(1, &scene.commit).digest()));
    let closed = asked(&scene);
    assert!(!closed.open && closed.comments.iter().any(|text| text.contains("Approved by @bob, @")), "{closed:#?}");
    // Each of those that may approve and said it wrongly is told so, once; the stranger is not.
    let told = |text: &str| closed.comments.iter().filter(|comment| comment.contains(text)).count();
    assert_eq!((told("edited the comment"), told("left out the code"), told("@eve")), (1, 1, 0), "{closed:#?}");
    let record = scene.newest();
    let Some((_, Consent::People { approvers, bound: true })) = &record.consent else { panic!("{:?}", record.consent) };
    assert_eq!(approvers.len(), 2);
    assert!(visit.summary().contains("looks good") && !visit.summary().contains("<b>"), "{visit:?}");
}

/// With a look every 75 seconds that is 48 requests an hour.
#[test]
fn who_is_asked_sees_what_changes_in_the_image() {
    let scene = Scene::new(BY_ISSUE);
    let before = Image::manifest("linux/amd64").layers(1, 200).seed(7).user("root").env("OLD", "1").build();
    before.place(scene.registry.contents(), "acme/api", &["production"]);
    let mut running = scene.step().start();
    let issue = asks(&scene, &mut running);
    for text in ["### What changes in the images", "| user |", "`OLD`", "| label"] {
        assert!(issue.body.contains(text), "{text}: {issue:#?}");
    }
    scene.api.comment(issue.number, Some("bob"), &format!("/reject {}", code(&issue)));
    assert_eq!(scene.finish(running).code, Some(3));
}

#[test]
fn a_look_at_the_answers_costs_one_request() {
    let scene = Scene::new(BY_ISSUE);
    let mut running = scene.step().start();
    let issue = asks(&scene, &mut running);
    scene.github.clear_log();
    while scene.github.log().len() < 5 {
        std::thread::sleep(Duration::from_millis(10));
    }
    let wanted = format!("GET /repos/acme/api/issues/{}/comments", issue.number);
    let log: Vec<String> = scene.github.log().iter().map(|entry| entry.line()).collect();
    assert!(log.iter().all(|line| line.starts_with(&wanted)), "{log:#?}");
    running.signal(Signal::TERM);
    assert_eq!(scene.finish(running).code, Some(143));
    // An hour of it by the released program's own pace.
    assert!(3_600 / tidegate::pace::approvals().as_secs() < 60);
}

#[test]
fn one_no_is_enough() {
    let scene = Scene::new(BY_ISSUE);
    let mut running = scene.step().start();
    let issue = asks(&scene, &mut running);
    scene.api.comment(issue.number, Some("bob"), &format!("/approve {}", code(&issue)));
    scene.api.comment(issue.number, Some("cyd"), &format!("/reject {} not on a Friday", code(&issue)));
    let visit = scene.finish(running);
    visit.was_stopped(3, "approval-rejected", &["cyd said no: not on a Friday"]);
    assert_eq!((visit.output("state"), scene.production()), ("rejected", None));
    assert!(!asked(&scene).open && scene.newest().state == State::Rejected);
    // What was rejected is asked anew by another workflow run.
    let mut scene = scene;
    scene.again();
    let mut running = scene.step().start();
    running.wait_for("waiting for 2 more yes");
    running.signal(Signal::TERM);
    scene.finish(running);
    assert_eq!(scene.api.issues().iter().filter(|issue| issue.open).count(), 1);
}

#[test]
fn nobody_in_time_is_not_a_no() {
    let scene = Scene::new("gates: { approval: { via: issue, approvers: [bob, cyd], minimum: 2, timeout: 1500ms } }");
    let visit = scene.visit(&scene.step());
    visit.was_stopped(3, "approval-timed-out", &["nobody answered in time"]);
    assert_eq!(visit.output("state"), "cancelled");
    let issue = asked(&scene);
    assert!(!issue.open && issue.comments.iter().any(|text| text.contains("Timed out")), "{issue:#?}");
    assert_eq!(scene.production(), None);
}

#[test]
fn a_run_that_is_stopped_finds_its_issue_again() {
    let scene = Scene::new(BY_ISSUE);
    let mut running = scene.step().start();
    let issue = asks(&scene, &mut running);
    running.signal(Signal::KILL);
    let _ = running.wait();
    let running = scene.step().env("GITHUB_RUN_ATTEMPT", "2").start();
    for by in ["bob", "cyd"] {
        scene.api.comment(issue.number, Some(by), &format!("/approve {}", code(&issue)));
    }
    scene.finish(running).succeeded();
    assert_eq!(asked(&scene).number, issue.number);
}

#[test]
fn a_parked_run_is_taken_up_by_comments_in_an_empty_workspace() {
    let mut scene = Scene::new(PARKED);
    let visit = scene.visit(&scene.step());
    assert!(visit.is_success(), "{visit:?}");
    assert_eq!(
        (visit.output("decision"), visit.output("status"), visit.output("state")),
        ("wait", "", "pending-approval")
    );
    let issue = asked(&scene);
    assert!(visit.summary().contains(&format!("Answer in [issue {}]", issue.number)), "{visit:?}");
    let before = scene.github.log().len();
    scene.api.comment(issue.number, Some("bob"), &format!("/approve {}", code(&issue)));
    let first = commented(&mut scene, &issue, "bob");
    assert_eq!((first.code, first.output("decision")), (Some(0), "wait"), "{first:?}");
    let asked_for = scene.github.log().len() - before;
    assert!(asked_for < 10, "one look at a parked run costs {asked_for} requests");
    scene.api.comment(issue.number, Some("cyd"), &format!("/approve {}", code(&issue)));
    let second = commented(&mut scene, &issue, "cyd");
    second.succeeded();
    assert_eq!(second.output("deployment-id"), visit.output("deployment-id"));
    assert_eq!(second.output("approved-by"), "bob,cyd");
    assert_eq!(scene.production().as_deref(), Some(image(1, &scene.commit).digest()));
    // Comments on what is over, and on other issues, are nothing to do.
    assert_eq!(commented(&mut scene, &issue, "bob").code, Some(0));
    let other = scene.api.issue("eve", "Help", &issue.body, &["tidegate-approval"], false);
    let forged = scene.api.issues().into_iter().find(|issue| issue.number == other).unwrap();
    let nothing = commented(&mut scene, &forged, "eve");
    assert_eq!(nothing.code, Some(0), "{nothing:?}");
    assert_eq!(scene.runs().len(), 1);
}

#[test]
fn a_schedule_reminds_of_a_parked_run_goes_on_with_it_and_ends_it_in_time() {
    let reminding = PARKED.replace("timeout: 1h", "timeout: 1h, reminder: 50ms");
    let mut scene = Scene::new(&reminding);
    let visit = scene.visit(&scene.step());
    assert_eq!(visit.output("decision"), "wait", "{visit:?}");
    let issue = asked(&scene);
    let recover = |scene: &mut Scene| {
        scene.again();
        scene.visit(&scene.empty_step(&scene.github.job_token()).input("operation", "recover"))
    };
    let reminders =
        |scene: &Scene| asked(scene).comments.iter().filter(|text| text.contains("more yes is needed")).count();
    for _ in 0..2 {
        let before = reminders(&scene);
        std::thread::sleep(Duration::from_millis(60));
        let looked = recover(&mut scene);
        assert_eq!(looked.code, Some(0), "{looked:?}");
        assert!(looked.stdout.contains("waits for people, was looked after, and is pending-approval"), "{looked:?}");
        assert_eq!(reminders(&scene), before + 1);
    }
    // What was approved meanwhile, without an event, is gone on with.
    for by in ["bob", "cyd"] {
        scene.api.comment(issue.number, Some(by), &format!("/approve {}", code(&issue)));
    }
    let looked = recover(&mut scene);
    assert_eq!(looked.code, Some(0), "{looked:?}");
    assert_eq!(scene.production().as_deref(), Some(image(1, &scene.commit).digest()));
    assert_eq!(scene.newest().state, State::CompletedSuccessfully);
    // A request whose time is up is closed.
    let mut scene = Scene::new(&PARKED.replace("timeout: 1h", "timeout: 12s"));
    assert_eq!(scene.visit(&scene.step()).output("decision"), "wait");
    std::thread::sleep(Duration::from_secs(13));
    let looked = recover(&mut scene);
    assert_eq!((looked.code, scene.newest().state), (Some(3), State::Cancelled), "{looked:?}");
    assert!(!asked(&scene).open);
}

#[test]
fn migrations_are_kept_with_a_parked_plan() {
    let database = Postgres::shared().database();
    let keys = format!("{PARKED}\nmigrate: {{ prisma: prisma/migrations, database: \"${{DATABASE_URL}}\" }}");
    let mut scene = Scene::new(&keys.replace("minimum: 2", "minimum: 1"));
    let with = |step: Runner| step.env("DATABASE_URL", &database.url());
    let lock = "provider = \"postgresql\"\n";
    let step = |scene: &Scene| {
        with(scene.step())
            .file("prisma/migrations/migration_lock.toml", lock)
            .file("prisma/migrations/20240101000000_first/migration.sql", "CREATE TABLE parked (id int);")
    };
    let visit = scene.visit(&step(&scene));
    assert_eq!(visit.output("decision"), "wait", "{visit:?}");
    let issue = asked(&scene);
    scene.api.comment(issue.number, Some("bob"), &format!("/approve {}", code(&issue)));
    // Another workspace, in which there is nothing.
    scene.again();
    let recover = with(scene.empty_step(&scene.github.job_token())).input("operation", "recover");
    let looked = scene.visit(&recover);
    assert_eq!((looked.code, scene.newest().state), (Some(0), State::CompletedSuccessfully), "{looked:?}");
    assert_eq!(database.psql("select count(*) from parked"), "0");
    assert_eq!(database.psql("select migration_name from _prisma_migrations"), "20240101000000_first");
    // What is too large to be kept is told before anybody is asked.
    scene.again();
    image(2, &scene.commit).place(scene.registry.contents(), "acme/api", &["staging"]);
    let large = format!("-- {}\nSELECT 1;", "x".repeat(5 * 1024 * 1024));
    let step = step(&scene).file("prisma/migrations/20240102000000_large/migration.sql", large);
    let visit = scene.visit(&step);
    visit.was_stopped(2, "configuration-invalid", &["larger than what is kept", "while-pending: wait"]);
    assert_eq!(scene.api.issues().iter().filter(|issue| issue.open).count(), 0);
}

#[test]
fn parking_takes_a_ledger_that_outlives_the_job() {
    let scene = Scene::new(PARKED);
    let visit = scene.visit(&scene.step().input("database-url", ""));
    assert_eq!(visit.code, Some(2), "{visit:?}");
    assert!(visit.annotations("error")[0].contains("outlive"), "{visit:?}");
    assert!(scene.api.issues().is_empty());
}

#[test]
fn what_moves_after_the_approval_is_not_promoted() {
    let mut scene = Scene::new(PARKED);
    scene.visit(&scene.step());
    let issue = asked(&scene);
    for by in ["bob", "cyd"] {
        scene.api.comment(issue.number, Some(by), &format!("/approve {}", code(&issue)));
    }
    image(2, &scene.commit).place(scene.registry.contents(), "acme/api", &["staging"]);
    let visit = commented(&mut scene, &issue, "cyd");
    visit.was_stopped(1, "source-moved", &["points to"]);
    assert_eq!(scene.production(), None);
}

#[test]
fn an_approval_of_another_configuration_is_void() {
    let mut scene = Scene::new(PARKED);
    scene.visit(&scene.step());
    let issue = asked(&scene);
    for by in ["bob", "cyd"] {
        scene.api.comment(issue.number, Some(by), &format!("/approve {}", code(&issue)));
    }
    scene.configure(&format!("{PARKED}\nimmutable-tags: [\"production-{{{{ sequence }}}}\"]"));
    scene.visit(&scene.step()).was_stopped(3, "plan-changed", &["has changed since the plan was made"]);
    assert!(!asked(&scene).open, "nobody should answer what nobody waits for");
    assert_eq!(scene.production(), None);
}

#[test]
fn a_team_that_cannot_be_read_is_told_before_anybody_is_asked() {
    let scene = Scene::new("gates: { approval: { via: issue, approvers: [\"@acme/release\"], timeout: 1h } }");
    scene.github.team("acme", "release", &["bob", "octocat"]);
    let visit = scene.visit(&scene.step());
    assert_eq!(visit.code, Some(1), "{visit:?}");
    assert!(visit.annotations("error")[0].contains("team"), "{visit:?}");
    let asked = |scene: &Scene| scene.api.issues().iter().any(|issue| issue.title.starts_with("Approve"));
    assert!(!asked(&scene));
    // A person's token may; the fewest who could say yes are counted without who asks.
    let mut scene = scene;
    scene.configure("gates: { approval: { via: issue, approvers: [\"@acme/release\"], minimum: 2, timeout: 1h } }");
    scene.again();
    let visit = scene.visit(&scene.step_with(&scene.github.person_token("ann")));
    visit.was_stopped(2, "approval-impossible", &["only 1 of the approvers may"]);
    assert!(!asked(&scene));
}

#[test]
fn a_lost_answer_makes_no_second_issue() {
    let scene = Scene::without_contract(BY_ISSUE);
    let rule = Rule::on("POST", "/repos/acme/api/issues").nth(1);
    scene.github.fault(rule.act(Action::Disguise(Answer::html(502))));
    let mut running = scene.step().start();
    let issue = asks(&scene, &mut running);
    scene.api.comment(issue.number, Some("bob"), &format!("/reject {}", code(&issue)));
    scene.finish(running);
    assert_eq!(scene.api.issues().len(), 1);
}

#[test]
fn a_token_that_dies_while_people_are_asked_is_named() {
    let scene = Scene::new(BY_ISSUE);
    let token = scene.github.job_token();
    let mut running = scene.step_with(&token).start();
    asks(&scene, &mut running);
    scene.github.expire(&token);
    let visit = scene.finish(running);
    assert_eq!((visit.code, visit.output("reason-code")), (Some(1), "github-token-expired"), "{visit:?}");
    assert_eq!(scene.production(), None);
}

#[test]
fn who_may_not_write_issues_is_told_which_permission() {
    let scene = Scene::new(BY_ISSUE);
    let token = scene.github.job_token_with(&[("contents", "read"), ("issues", "read"), ("statuses", "write")]);
    let visit = scene.visit(&scene.step_with(&token));
    visit.was_stopped(1, "token-lacks-permission", &["issues: write"]);
}

/// A scene whose environment on GitHub has reviewers, and a job in it.
fn reviewed(keys: &str, name: &str) -> (Scene, Runner) {
    let scene = Scene::new(keys);
    scene.api.environment(&NewEnvironment::named(name).reviewer("bob").reviewer("cyd").reviewer("octocat"));
    let check = scene.api.job(scene.run, "promote", "in_progress");
    let step = scene.step().input("check-run-id", &check.to_string());
    (scene, step)
}

#[test]
fn reviewers_of_an_environment_approve_what_was_planned_before() {
    let keys =
        "gates: { approval: { via: environment, require-binding: true } }\ngithub: { environment: \"prod / eu\" }";
    let scene = Scene::new(keys);
    scene.api.environment(&NewEnvironment::named("prod / eu").reviewer("bob"));
    let planned = scene.visit(&scene.step().input("until", "conditions"));
    assert_eq!(planned.output("decision"), "proceed", "{planned:?}");
    std::thread::sleep(Duration::from_millis(1_100));
    let check = scene.api.job(scene.run, "promote", "in_progress");
    scene.api.review(scene.run, "Prod / EU", "bob", "approved", "go");
    let visit = scene.visit(&scene.step().input("check-run-id", &check.to_string()));
    visit.succeeded();
    assert_eq!(visit.output("approved-by"), "bob");
    assert!(matches!(scene.newest().consent, Some((_, Consent::People { bound: true, .. }))));
}

#[test]
fn a_review_that_may_have_been_of_something_else_is_not_bound() {
    let (mut scene, step) = reviewed("gates: { approval: { environment: live } }", "live");
    scene.api.review(scene.run, "live", "bob", "approved", "");
    let visit = scene.visit(&step);
    visit.succeeded();
    assert!(visit.summary().contains("not bound to the plan"), "{visit:?}");
    image(2, &scene.commit).place(scene.registry.contents(), "acme/api", &["staging"]);
    scene.configure("gates: { approval: { environment: live, require-binding: true } }");
    scene.again();
    scene.api.review(scene.run, "live", "bob", "approved", "");
    scene.visit(&scene.step()).was_stopped(3, "approval-unbound", &["may have approved something else"]);
}

#[test]
fn a_review_that_does_not_count_is_no_approval() {
    let (mut scene, step) = reviewed("gates: { approval: { environment: live } }", "live");
    scene.visit(&step).was_stopped(3, "approval-missing", &["no approval of this run can be read"]);
    scene.again();
    scene.api.review(scene.run, "live", "OctoCat", "approved", "mine");
    scene.visit(&scene.step()).was_stopped(3, "approval-missing", &["cannot approve a run of their own"]);
    scene.again();
    scene.api.review(scene.run, "live", "bob", "approved", "");
    scene.api.review(scene.run, "live", "cyd", "rejected", "no");
    let visit = scene.visit(&scene.step());
    visit.was_stopped(3, "approval-rejected", &["cyd said no"]);
    assert_eq!(visit.output("state"), "rejected");
    scene.configure("gates: { approval: { environment: production } }");
    scene.again();
    scene.visit(&scene.step()).was_stopped(3, "approval-missing", &["has no required reviewers"]);
    assert_eq!(scene.production(), None);
}

#[test]
fn both_ways_may_be_required() {
    let keys = "gates: { approval: { via: both, environment: live, approvers: [cyd, bob], timeout: 1h } }";
    let (scene, step) = reviewed(keys, "live");
    scene.api.review(scene.run, "live", "bob", "approved", "");
    let mut running = step.start();
    running.wait_for("waiting for 1 more yes");
    let issue = asked(&scene);
    scene.api.comment(issue.number, Some("cyd"), &format!("/approve {}", code(&issue)));
    let visit = scene.finish(running);
    visit.succeeded();
    assert_eq!(visit.output("approved-by"), "bob,cyd");
}

#[test]
fn where_nobody_is_asked_the_record_says_why() {
    let scene = Scene::new("");
    let visit = scene.visit(&scene.step());
    visit.succeeded();
    assert_eq!(visit.output("approved-by"), "policy");
    assert!(visit.summary().contains("the configuration asks for no approval"));
}

#[test]
fn the_watcher_tells_whom_the_job_waits_for_and_gives_up_in_time() {
    let keys = "gates: { approval: { environment: live, timeout: 1h, reminder: 100ms } }";
    let (scene, _) = reviewed(keys, "live");
    scene.api.wait_for_review(scene.run, "live");
    let watch = || scene.step().input("operation", "watch");
    let mut running = watch().start();
    running.wait_for("one of bob, cyd, octocat must review it");
    running.wait_for("::notice");
    scene.api.review(scene.run, "live", "bob", "approved", "");
    let visit = scene.finish(running);
    assert!(visit.is_success() && visit.stdout.contains("bob let the job into live"), "{visit:?}");
    let mut scene = scene;
    scene.configure("gates: { approval: { environment: live, timeout: 300ms } }");
    scene.again();
    scene.api.wait_for_review(scene.run, "live");
    let visit = scene.visit(&scene.step().input("operation", "watch"));
    assert_eq!(visit.code, Some(3), "{visit:?}");
    let cancelled = scene.github.log().iter().any(|entry| entry.line().contains("/cancel"));
    assert!(cancelled && visit.annotations("error")[0].contains("nobody let the job into live"), "{visit:?}");
}

#[test]
fn from_late_check_to_closed_failure_issue() {
    let keys = "gates:
  checks: { required: all, wait: 30s }
  approval: { via: issue, approvers: [bob, cyd], minimum: 2, timeout: 1h }";
    let mut scene = Scene::new(keys);
    for number in 0..9 {
        scene.api.check_run(&scene.commit, &NewCheckRun::ended(&format!("test-{number}"), "success"));
    }
    let late = scene.api.check_run(&scene.commit, &NewCheckRun::under_way("scan", "in_progress"));
    // An earlier release in production, and a failure that is still open.
    image(9, &scene.commit).place(scene.registry.contents(), "acme/api", &["production"]);
    let earlier = scene.api.deployment(&scene.commit, "production", true, &["in_progress", "success"]);
    let reject = scene.registry.fault(
        Rule::on("PUT", "/v2/acme/api/manifests/production").act(Action::Answer(Answer::error(403, "DENIED", "no"))),
    );
    let play = |scene: &Scene| {
        let mut running = scene.step().start();
        let issue = loop {
            let open = scene
                .api
                .issues()
                .into_iter()
                .find(|issue| issue.open && issue.labels.contains(&"tidegate-approval".to_owned()));
            match open {
                Some(issue) => break issue,
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        running.wait_for("waiting for 2 more yes");
        for by in ["bob", "cyd"] {
            scene.api.comment(issue.number, Some(by), &format!("/approve {}", code(&issue)));
        }
        scene.finish(running)
    };
    let ending = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(1_500));
            scene.api.end_check_run(late, "success");
        });
        play(&scene)
    });
    assert_eq!(ending.code, Some(1), "{ending:?}");
    let failed =
        scene.api.issues().into_iter().find(|issue| issue.labels.contains(&"tidegate-failure".to_owned())).unwrap();
    assert!(
        failed.open && failed.title.starts_with("api in production") && failed.body.contains("### Commands"),
        "{failed:#?}"
    );
    assert_eq!(scene.api.deployments().last().unwrap().states, ["in_progress", "failure"]);
    reject.remove();
    scene.again();
    scene.github.clear_log();
    let visit = play(&scene);
    visit.succeeded();
    assert_eq!(scene.production().as_deref(), Some(image(1, &scene.commit).digest()));
    let deployments = scene.api.deployments();
    assert_eq!(deployments.last().unwrap().states, ["in_progress", "success"]);
    assert!(deployments.last().unwrap().production);
    let replaced = deployments.iter().find(|one| one.id == earlier).unwrap();
    assert_eq!(replaced.states.last().map(String::as_str), Some("inactive"));
    let failed = scene.api.issues().into_iter().find(|issue| issue.number == failed.number).unwrap();
    assert!(!failed.open && failed.comments.iter().any(|text| text.contains("succeeded")), "{failed:#?}");
    // Ten checks and one approval: what it may cost without the looks at the comments while nobody answers.
    let looks = |entry: &&testbed::log::Entry| entry.method == "GET" && entry.path().ends_with("/comments");
    let log = scene.github.log();
    let cost = log.len() - log.iter().filter(looks).count();
    assert!(cost <= 40, "{cost} requests: {:#?}", log.iter().map(|entry| entry.line()).collect::<Vec<_>>());
}
