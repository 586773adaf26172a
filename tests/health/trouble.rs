//! Trouble of our own while a version is watched or taken back: the database goes, the runner is killed, what is to be gone
//! back to is deleted. Nothing bad is left in silence.

use std::time::Duration;

use testbed::fault::{Action, Answer, Rule};
use testbed::postgres::Postgres;
use testbed::runner::Runner;
use testbed::service::Behaviour;
use tidegate::ledger::{Filter, LedgerAddress, connect};
use tidegate::promotion::run::Run;
use tidegate::promotion::state::State;

use crate::scene::{PROBES, Scene, version, wait, watched};

/// A version may be gone back to as soon as it was verified.
const SOON: &str = "rollback: { lived: 1ms }\n";

/// Watched for long enough to do something meanwhile: 10 ticks.
fn long() -> String {
    format!("{PROBES}  monitor: {{ for: 3s, every: 300ms, samples: 3 }}\n{SOON}")
}

/// All runs of a database, the oldest first.
fn runs(url: &str) -> Vec<Run> {
    let ledger = connect(&LedgerAddress::parse(&url.to_owned().into()).unwrap());
    wait(async {
        let mut runs = Vec::new();
        for id in ledger.runs(&Filter::default()).await.unwrap() {
            runs.insert(0, Run::fold(&ledger.load(&id).await.unwrap()).unwrap());
        }
        runs
    })
}

#[test]
fn the_database_goes_while_it_is_watched() {
    let cluster = Postgres::start();
    let database = cluster.database();
    let url = database.url();
    let scene = Scene::with(&long());
    let on = |step: Runner| step.input("database-url", &url);
    scene.place(1, Behaviour::Healthy);
    let mut running = on(scene.next_step()).start();
    running.wait_for("tick 2 of 10");
    cluster.stop();
    let visit = scene.finish(running);
    // What was begun is finished, and what was found out is kept in a file.
    visit.ended(0, "completed-successfully", "healthy", "");
    cluster.start_again();
    scene.place(2, Behaviour::DiesAfter(Duration::from_millis(900)));
    let step = on(scene.next_step());
    let mut running = step.start();
    running.wait_for("tick 2 of 10");
    let all = runs(&url);
    assert_eq!((all.len(), all[0].state, all[0].health.ticks.len()), (2, State::CompletedSuccessfully, 10), "{all:#?}");
    cluster.stop();
    let visit = scene.finish(running);
    // Without a ledger there is no second run to take it back with: that is said, with what to do.
    visit.ended(5, "rollback-failed", "unhealthy", "rollback-failed");
    visit.says(&format!("docker buildx imagetools create --tag {}", scene.registry.host()));
    visit.says("--operation rollback");
    assert!(!visit.finished.annotations("error").is_empty(), "{visit:?}");
    assert_eq!(scene.production().as_deref(), Some(version(2).digest()));
    cluster.start_again();
    // Somebody does as they were told.
    let back = on(scene.next_step()).input("operation", "rollback").input("confirm", "ROLLBACK");
    let visit = scene.visit(&back.input("reason", "it does not live"));
    assert_eq!(visit.finished.code, Some(0), "{visit:?}");
    assert_eq!(scene.production().as_deref(), Some(version(1).digest()));
    assert!(runs(&url).iter().all(|run| run.ended.is_some()));
}

#[test]
fn the_runner_is_killed_while_it_watches_and_what_was_seen_counts() {
    let scene = Scene::with(&long());
    scene.place(1, Behaviour::Healthy);
    let step = scene.next_step();
    let mut running = step.start();
    running.wait_for("tick 3 of 10");
    drop(running);
    let asked = scene.service.asked(version(1).digest());
    let visit = scene.visit(&step.env("GITHUB_RUN_ATTEMPT", "2"));
    visit.ended(0, "completed-successfully", "healthy", "");
    let run = scene.run_of(&visit);
    assert_eq!((run.health.ticks.len(), run.visits.len()), (10, 2));
    // It was not watched from the beginning again: at most eight ticks of three samples.
    let again = scene.service.asked(version(1).digest()) - asked;
    assert!(again <= 24, "{again} more questions");
    // Killed while it is taken back, it is taken back.
    scene.place(2, Behaviour::Dead);
    let step = scene.next_step();
    let mut running = step.start();
    running.wait_for("it is taken back by run");
    drop(running);
    let visit = scene.visit(&step.env("GITHUB_RUN_ATTEMPT", "2"));
    assert_eq!(visit.finished.code, Some(4), "{visit:?}");
    assert_eq!(scene.production().as_deref(), Some(version(1).digest()));
    assert_eq!(scene.runs().len(), 3, "there is one rollback");
    scene.assert_sound();
}

#[test]
fn what_is_to_be_gone_back_to_is_deleted_after_it_was_chosen() {
    let scene = Scene::with(&watched(SOON));
    scene.promote(1, Behaviour::Healthy).ended(0, "completed-successfully", "healthy", "");
    scene.place(2, Behaviour::Dead);
    // The first move of the tag is the promotion; the second would put back what is not there any more.
    let gone = Answer::error(404, "MANIFEST_UNKNOWN", "manifest unknown");
    let fault =
        scene.registry.fault(Rule::on("PUT", "/v2/acme/api/manifests/production").skip(1).act(Action::Answer(gone)));
    let visit = scene.visit(&scene.next_step());
    visit.ended(5, "rollback-failed", "unhealthy", "rollback-failed");
    visit.says("could not be rolled back: a human is needed");
    visit.says("docker buildx imagetools create");
    assert_eq!(scene.production().as_deref(), Some(version(2).digest()));
    // As soon as it can be, it is done by hand.
    fault.remove();
    let by_hand =
        scene.next_step().input("operation", "rollback").input("reason", "it is dead").input("confirm", "ROLLBACK");
    scene.visit(&by_hand).ended(0, "completed-successfully", "healthy", "");
    assert_eq!(scene.production().as_deref(), Some(version(1).digest()));
    scene.assert_sound();
}
