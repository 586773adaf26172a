//! Gates: what keeps a promotion from beginning, and what lets it.

use testbed::github::{NewCheckRun, NewEnvironment, NewWorkflow};
use testbed::sshd::Sshd;
use tidegate::promotion::event::{Event, VisitOpening};
use tidegate::promotion::gate::Standing;
use tidegate::promotion::state::State;

use super::scene::{Scene, image, wait};

/// How a gate stood in the newest run.
#[track_caller]
fn standing(scene: &Scene, gate: &str) -> Standing {
    let run = scene.newest();
    run.gates.iter().find(|one| one.gate == gate).unwrap_or_else(|| panic!("{:?}", run.gates)).standing
}

#[test]
fn a_late_check_is_waited_for() {
    let scene = Scene::new("gates: { checks: { also: [security-scan], wait: 30s } }");
    scene.api.require_check("main", "build", None);
    scene.api.require_check_by_rule("main", "test", Some(15_368));
    for name in ["build", "test"] {
        scene.api.check_run(&scene.commit, &NewCheckRun::ended(name, "success"));
    }
    let own = scene.api.job(scene.run, "promote", "in_progress");
    let mut running = scene.step().input("check-run-id", &own.to_string()).start();
    running.wait_for("waiting for checks");
    let late = scene.api.check_run(&scene.commit, &NewCheckRun::under_way("security-scan", "in_progress"));
    running.wait_for("security-scan: check run: in_progress");
    scene.api.end_check_run(late, "success");
    let visit = scene.finish(running);
    visit.succeeded();
    assert_eq!(standing(&scene, "checks"), Standing::Open);
    assert!(visit.summary().contains("### Gates"), "{visit:?}");
    assert_eq!(scene.production().as_deref(), Some(image(1, &scene.commit).digest()));
}

#[test]
fn all_closed_gates_are_told_together_with_their_fixes() {
    let keys = "gates:
  checks: { also: [build, deploy-docs], wait: 0s, ignore: [\"*docs\"] }
  workflow: { file: ci.yml, wait: 0s }
  order: { workflows: [ci.yml, scan.yml], wait: 0s }
  environment: { reviewers: true, prevent-self-review: true, wait-timer: 10m, branches: protected }
  deployments: { wait: 0s }
  branches: [release]
  soak: 1h
  freeze: [{ weekly: \"Mon 00:00 - Sun 24:00\", timezone: Europe/Berlin, reason: holidays }, { weekly: \"Sun 12:00 - Mon 12:00\" }]
  resources:
    database: { tcp: \"127.0.0.1:9\", timeout: 500ms }
    site: { url: \"http://127.0.0.1:9/health?token=x\" }
    tool: { command: [sh, -c, 'echo no quota >&2; exit 4'] }";
    // Two weekly windows of which one is open at any time.
    let scene = Scene::new(&keys.replace("Mon 00:00 - Sun 24:00", "Mon 12:00 - Sun 12:00"));
    for file in ["ci.yml", "scan.yml"] {
        scene.api.workflow(&NewWorkflow::file(file));
    }
    let failed = scene.api.run("ci.yml", &scene.commit, "ann");
    scene.api.end_run(failed, "failure");
    scene.api.commit("release", "Another", "ann");
    scene.api.check_run(&scene.commit, &NewCheckRun::ended("build", "failure"));
    scene.api.deployment(&scene.commit, "production", true, &["in_progress"]);
    let other = scene.api.commit("side", "Aside", "bob");
    image(2, &other).place(scene.registry.contents(), "acme/api", &["staging"]);
    let visit = scene.visit(&scene.step());
    assert_eq!(visit.code, Some(3), "{visit:?}");
    assert_eq!(visit.output("decision"), "stop");
    let run = scene.newest();
    let closed: Vec<&str> =
        run.gates.iter().filter(|one| one.standing == Standing::Closed).map(|one| one.gate.as_str()).collect();
    let all = [
        "freeze",
        "soak",
        "environment",
        "deployments",
        "branches",
        "workflow",
        "order",
        "checks",
        "resources.database",
        "resources.site",
        "resources.tool",
    ];
    assert_eq!(closed, all, "{:#?}", run.gates);
    assert!(run.gates.iter().all(|one| one.fix.is_some() && !one.seen.is_empty() && !one.wanted.is_empty()));
    let codes: Vec<&str> = run.faults.iter().map(|one| one.fault.code.name()).collect();
    for code in ["frozen", "not-soaked", "environment-unprotected", "deployment-in-progress", "branch-refused"] {
        assert!(codes.contains(&code), "{codes:?}");
    }
    assert!(!format!("{visit:?}").contains("token=x"), "what may be secret is not shown");
    assert!(visit.summary().contains("ended with 4: no quota"), "{visit:?}");
    assert_eq!(scene.production(), None);
    assert!(run.ended.is_some() && !run.changed_the_world());
}

#[test]
fn gates_that_hold_let_through() {
    let sshd = Sshd::start();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let keys = format!(
        "gates:
  workflow: {{ file: ci.yml, branch: main, event: push }}
  order: {{ workflows: [ci.yml, scan.yml] }}
  environment: {{ name: live, reviewers: true, prevent-self-review: true, wait-timer: 10m, branches: protected }}
  deployments: {{}}
  branches: [\"release/*\", main]
  clean: true
  resources:
    database: {{ tcp: \"{}\" }}
    tool: {{ command: [sh, -c, 'test \"$QUOTA\" = 5 && test \"$1\" = production', sh, \"{{{{ environment }}}}\"], env: {{ QUOTA: \"5\" }} }}
    disk: {{ disk: /, free: 1KiB, ssh: {{ hosts: [127.0.0.1], user: {}, port: {}, key: \"${{SSH_KEY}}\", host-keys: [\"{}\"] }} }}",
        listener.local_addr().unwrap(),
        sshd.user(),
        sshd.port(),
        sshd.fingerprint(),
    );
    let scene = Scene::new(&keys);
    let protected = NewEnvironment::named("live").reviewer("bob").preventing_self_review().wait_timer(10);
    scene.api.environment(&protected.protected_branches());
    for file in ["ci.yml", "scan.yml"] {
        scene.api.workflow(&NewWorkflow::file(file));
        let run = scene.api.run(file, &scene.commit, "ann");
        scene.api.end_run(run, "success");
        scene.github.advance(std::time::Duration::from_secs(5));
    }
    scene.api.deployment(&scene.commit, "production", true, &["in_progress", "success"]);
    let visit = scene.visit(&scene.step().env("SSH_KEY", &sshd.key()));
    visit.succeeded();
    let run = scene.newest();
    assert!(run.gates.iter().all(|one| one.standing == Standing::Open), "{:#?}", run.gates);
    assert_eq!(run.gates.len(), 9, "{:#?}", run.gates);
    assert!(!visit.summary().contains("PRIVATE KEY"));
}

#[test]
fn a_freeze_is_passed_over_with_a_reason_and_loudly() {
    let scene = Scene::new("gates: { freeze: [{ from: 2020-01-01, until: 2100-01-01 }] }");
    scene.visit(&scene.step()).was_stopped(3, "frozen", &["lasts until", "UTC"]);
    let refused = scene.visit(&scene.step().input("override", "freeze"));
    assert_eq!(refused.code, Some(2), "{refused:?}");
    let passed = scene.visit(&scene.step().input("override", "freeze").input("reason", "the site is down"));
    passed.succeeded();
    assert_eq!(standing(&scene, "freeze"), Standing::Overridden);
    assert!(passed.summary().contains("the site is down"), "{passed:?}");
    assert!(passed.annotations("warning").iter().any(|text| text.contains("override: freeze")), "{passed:?}");
}

#[test]
fn a_digest_that_turned_out_bad_is_not_promoted_again() {
    let mut scene = Scene::new("github: { status: false }");
    scene.visit(&scene.step()).succeeded();
    let digest = image(1, &scene.commit).digest().parse().unwrap();
    let ledger = scene.ledger();
    // Another run finds it bad, as a rollback does.
    image(2, &scene.commit).place(scene.registry.contents(), "acme/api", &["production"]);
    let first = scene.newest();
    wait(async {
        let mut opening = first.opening.clone();
        opening.key = None;
        let opened = ledger.open(opening, "0123456789ab").await.unwrap();
        let tidegate::ledger::Opened::New(records) = opened else { panic!("{opened:?}") };
        let head = |records: &[tidegate::promotion::event::Record]| {
            let last = records.last().unwrap();
            tidegate::ledger::Head { run: last.run.clone(), seq: last.seq, hash: last.hash.clone() }
        };
        let events = [
            Event::VisitStarted(VisitOpening { number: 1, ..VisitOpening::default() }),
            Event::MarkedBad { service: "api".to_owned(), digest, because: "it answered with 500".to_owned() },
            Event::RunEnded { state: State::Failed, exit: tidegate::promotion::fault::Exit::Failed, reason: None },
        ];
        ledger.append(&head(&records), None, &events).await.unwrap();
    });
    scene.again();
    let refused = scene.visit(&scene.step());
    refused.was_stopped(3, "digest-bad", &["it answered with 500"]);
    let step = scene.step().input("override", "bad-digest").input("reason", "the database was to blame");
    scene.visit(&step).succeeded();
    assert_eq!(standing(&scene, "bad-digest"), Standing::Overridden);
    // It has lived since: the mark no longer counts.
    scene.again();
    image(2, &scene.commit).place(scene.registry.contents(), "acme/api", &["production"]);
    scene.visit(&scene.step()).succeeded();
}

#[test]
fn a_soaked_digest_goes_on_and_another_does_not() {
    let mut scene = Scene::new("gates: { soak: 1s }");
    scene.visit(&scene.step()).was_stopped(3, "not-soaked", &["no run brought"]);
    image(1, &scene.commit).place(scene.registry.contents(), "acme/api", &["build"]);
    image(7, &scene.commit).place(scene.registry.contents(), "acme/api", &["staging"]);
    scene.visit(&scene.step().input("environment", "staging")).succeeded();
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    scene.again();
    scene.visit(&scene.step()).succeeded();
    assert_eq!(standing(&scene, "soak"), Standing::Open);
}

#[test]
fn an_image_that_does_not_say_its_commit_is_not_taken_for_the_jobs() {
    let scene = Scene::new("gates: { workflow: { file: promote.yml, wait: 0s } }");
    let silent = testbed::image::Image::manifest("linux/amd64")
        .layers(1, 200)
        .seed(5)
        .label("org.opencontainers.image.revision", "main")
        .build();
    silent.place(scene.registry.contents(), "acme/api", &["staging"]);
    scene.visit(&scene.step()).was_stopped(3, "revision-unknown", &["says it was built from `main`"]);
}

#[test]
fn a_check_that_is_red_again_stops_the_run_before_the_tag_moves() {
    let scene = Scene::new("gates: { checks: { required: named, also: [build], wait: 0s } }");
    scene.api.check_run(&scene.commit, &NewCheckRun::ended("build", "success"));
    scene.visit(&scene.step().input("until", "validation"));
    scene.github.advance(std::time::Duration::from_secs(5));
    scene.api.check_run(&scene.commit, &NewCheckRun::ended("build", "failure"));
    scene.visit(&scene.step()).was_stopped(3, "checks-not-green", &["build: check run: failure"]);
    assert_eq!(scene.production(), None);
}

#[test]
fn what_the_token_may_not_read_is_not_green_and_the_permission_is_named() {
    let scene = Scene::new("gates: { checks: { also: [build], wait: 0s } }");
    scene.api.check_run(&scene.commit, &NewCheckRun::ended("build", "success"));
    let token = scene.github.job_token_with(&[("contents", "read"), ("statuses", "write"), ("actions", "read")]);
    let visit = scene.visit(&scene.step_with(&token));
    visit.was_stopped(1, "token-lacks-permission", &["the gate `checks` could not be looked at", "checks: read"]);
    assert_eq!(standing(&scene, "checks"), Standing::Unknown);
    let without = scene.visit(&scene.step().input("github-token", ""));
    without.was_stopped(2, "github-required", &["checks"]);
}

#[test]
fn a_rehearsal_looks_at_the_gates_and_waits_for_none() {
    let scene = Scene::new("gates: { checks: { also: [build], wait: 10m } }");
    let visit = scene.visit(&scene.step().input("operation", "plan"));
    assert_eq!(visit.code, Some(3), "{visit:?}");
    assert!(visit.stdout.contains("build is missing"), "{visit:?}");
    assert!(scene.api.statuses(&scene.commit).is_empty());
}
