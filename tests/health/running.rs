//! What runs, as the driver tells it, while it is watched: it must be what was promoted, beside everything that answers.

use testbed::runner::Runner;
use testbed::service::Behaviour;

use crate::scene::{Scene, version, watched};

/// A program deploys by writing down what runs, and tells it so often; then it does `later`.
fn told(times: u32, later: &str, more: &str) -> Scene {
    let driver = "deploy:\n  command:\n    run: [sh, deploy.sh, \"{{ digest }}\"]\n    rollback: [sh, deploy.sh, \"{{ digest }}\"]\n    \
                  running: [sh, running.sh]\n";
    let scene = Scene::with(&format!("{}{driver}", watched(more)));
    let running =
        format!("echo >>asked\n[ \"$(wc -l <asked)\" -le {times} ] || {{ {later}; }}\ncat runs 2>/dev/null || true\n");
    let _ = scene.step.clone().file("deploy.sh", "printf %s \"$1\" >runs\n: >asked\n").file("running.sh", running);
    scene
}

#[test]
fn another_version_that_comes_while_it_is_watched_is_found() {
    // Once after the deployment, once before the window, and twice in it.
    let other = version(9).digest().to_owned();
    let scene = told(4, &format!("echo {other}; exit"), "");
    let visit = scene.promote(1, Behaviour::Healthy);
    assert_eq!((visit.output("health"), visit.output("failed-stage")), ("unhealthy", "verification"), "{visit:?}");
    visit.says("running-digest");
    let run = scene.run_of(&visit);
    let told = run.health.after_deployment("running-digest").find_map(|sample| sample.note.as_deref());
    assert_eq!(told, Some(format!("{} should run, and what runs is {other}", version(1).digest()).as_str()));
    assert_eq!(run.health.ticks.len(), 3, "{visit:?}");
}

#[test]
fn a_driver_that_falls_silent_says_nothing_of_the_candidate() {
    let scene = told(2, "echo 'no host answers' >&2; exit 1", "");
    let visit = scene.promote(1, Behaviour::Healthy);
    visit.ended(6, "inconclusive", "inconclusive", "health-unknown");
    visit.says("no host answers");
    assert_eq!(scene.production().as_deref(), Some(version(1).digest()));
}

#[test]
fn what_runs_is_asked_once_in_each_tick_where_it_can_be_told_and_was_not_declined() {
    let scene = told(100, "false", "");
    let visit = scene.promote(1, Behaviour::Healthy);
    visit.ended(0, "completed-successfully", "healthy", "");
    let probe = &visit.record()["health_checks"]["running-digest"];
    assert_eq!((&probe["status"], &probe["samples"]), (&"passed".into(), &7.into()));
    // Not of what ran before.
    let visit = scene.promote(2, Behaviour::Healthy);
    visit.ended(0, "completed-successfully", "healthy", "");
    let baseline = scene.run_of(&visit).health.baseline.unwrap();
    assert!(!baseline.is_empty() && baseline.iter().all(|sample| sample.probe == "api"), "{baseline:?}");

    let scene = told(100, "false", "  running-digest: false\n");
    let visit = scene.promote(1, Behaviour::Healthy);
    visit.ended(0, "completed-successfully", "healthy", "");
    assert!(visit.record()["health_checks"]["running-digest"].is_null(), "{:#}", visit.record());
}

/// A program that needs a secret to deploy, and to tell what runs.
fn secretive(more: &str) -> Scene {
    let driver = "deploy:\n  command:\n    run: [sh, deploy.sh, \"{{ digest }}\"]\n    running: [sh, running.sh]\n    \
                  env: { TOKEN: \"${DEPLOY_TOKEN}\" }\n";
    let scene = Scene::with(&format!("{}{driver}", watched(more)));
    let running = "cat runs 2>/dev/null || true\n";
    let _ = scene.step.clone().file("deploy.sh", "printf %s \"$1\" >runs\n").file("running.sh", running);
    scene.place(1, Behaviour::Healthy);
    scene
}

fn with_token(step: &Runner) -> Runner {
    step.clone().env("DEPLOY_TOKEN", "t0p-s3cret-token")
}

#[test]
fn a_later_job_that_lacks_what_deploys_verifies_all_the_same_and_says_so() {
    let scene = secretive("");
    let step = scene.next_step();
    let visit = scene.visit(&with_token(&step).input("until", "deployment"));
    assert_eq!(visit.finished.code, Some(0), "{visit:?}");
    let visit = scene.visit(&step);
    visit.ended(0, "completed-successfully", "healthy", "");
    visit.says("it is not asked what runs of api");
}

#[test]
fn where_it_must_be_asked_what_runs_a_job_that_cannot_says_nothing_of_what_was_deployed() {
    let scene = secretive("  running-digest: true\n");
    let step = scene.next_step();
    let visit = scene.visit(&with_token(&step).input("until", "deployment"));
    assert_eq!(visit.finished.code, Some(0), "{visit:?}");
    scene.visit(&step).ended(6, "inconclusive", "inconclusive", "secret-unset");
    assert_eq!(scene.production().as_deref(), Some(version(1).digest()));
}

#[test]
fn what_was_asked_before_a_kill_is_asked_after_it_or_is_not_known() {
    let scene = secretive("");
    let step = scene.next_step();
    let mut running = with_token(&step).start();
    running.wait_for("tick 2 of 6");
    drop(running);
    scene.visit(&step.env("GITHUB_RUN_ATTEMPT", "2")).ended(6, "inconclusive", "inconclusive", "secret-unset");
    assert_eq!(scene.production().as_deref(), Some(version(1).digest()));
}
