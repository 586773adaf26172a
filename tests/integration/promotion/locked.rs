//! Two at once on one environment: one has the lease, the other waits, or is refused.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use testbed::fault::{Action, Rule};
use testbed::runner::Runner;
use tidegate::promotion::run::Run;
use tidegate::promotion::state::State;

use super::scene::{Scene, one_service, release, small};

fn with_lock(wait: &str) -> Scene {
    Scene::new().configured(&one_service(&format!("gates: {{ lock: {{ wait: {wait} }} }}"))).on_a_file()
}

/// A run that stands still while it holds the lease, until the sender is used or dropped: the registry does not answer its
/// first request for a tag that is to move.
fn standing_still(scene: &Scene) -> mpsc::Sender<()> {
    let (go_on, wait) = mpsc::channel();
    let wait = std::sync::Mutex::new(wait);
    let hook = Action::call(move || {
        // On a thread of the server's: whatever else it has to do goes to another.
        tokio::task::block_in_place(|| {
            let _ = wait.lock().unwrap().recv_timeout(Duration::from_secs(30));
        });
    });
    scene.here.fault(Rule::on("PUT", "/v2/acme/api/manifests/production").nth(1).act(hook));
    go_on
}

fn until_it_holds(scene: &Scene, number: usize) {
    let begin = Instant::now();
    while !scene.runs().get(number).is_some_and(|run| run.changed_the_world()) {
        assert!(begin.elapsed() < Duration::from_secs(20), "nobody gets so far");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn job(scene: &Scene, run: &str) -> Runner {
    scene.production().env("GITHUB_RUN_ID", run)
}

#[test]
fn without_a_wait_the_second_is_refused() {
    let scene = with_lock("0s");
    scene.place(&release(1), "acme/api", &["staging"]);
    let go_on = standing_still(&scene);
    let first = job(&scene, "1").start();
    until_it_holds(&scene, 0);
    let holder = scene.runs()[0].id.to_string();
    let second = scene.finish(job(&scene, "2").start());
    second.was_stopped(3, "lock-taken", &["production", &holder, "gates.lock.wait"]);
    assert!(second.summary().contains("was not begun"), "{}", second.summary());
    drop(go_on);
    scene.finish(first).succeeded();
    assert_eq!(scene.tag("acme/api", "production").as_deref(), Some(release(1).digest()));
    // The numbers are those of both; whoever comes again has the next.
    let third = scene.visit(&job(&scene, "2").env("GITHUB_RUN_ATTEMPT", "2"));
    third.succeeded();
    assert_eq!((second.output("sequence"), third.output("sequence")), ("2", "3"));
    scene.assert_sound();
}

#[test]
fn with_a_wait_the_second_goes_on_after_the_first_and_on_what_it_left() {
    let scene = with_lock("1m");
    scene.place(&small(9), "acme/api", &["production"]);
    scene.place(&release(1), "acme/api", &["staging"]);
    let go_on = standing_still(&scene);
    let first = job(&scene, "1").start();
    until_it_holds(&scene, 0);
    scene.place(&release(2), "acme/api", &["staging"]);
    let second = job(&scene, "2").start();
    let begin = Instant::now();
    while scene.runs().get(1).is_none_or(|run| run.consent.is_none()) {
        assert!(begin.elapsed() < Duration::from_secs(20), "the second does not get so far");
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(scene.runs()[1].state, State::ApprovalGranted);
    drop(go_on);
    let first = scene.finish(first);
    // The source had moved before the first one's tags did: it was not promoted, and put nothing in the second one's way.
    let second = scene.finish(second);
    second.succeeded();
    assert_eq!(scene.tag("acme/api", "production").as_deref(), Some(release(2).digest()));
    first.succeeded();
    assert_eq!(second.output("previous-digest"), release(1).digest());
    let runs = scene.runs();
    assert!(runs[0].ended.as_ref().unwrap().at <= runs[1].intents.values().next().map(|_| runs[1].updated_at).unwrap());
    scene.assert_sound();
}

#[test]
fn whoever_was_overtaken_by_a_later_run_does_not_undo_it() {
    let scene = with_lock("0s");
    scene.place(&release(1), "acme/api", &["staging"]);
    let earlier = scene.visit(&job(&scene, "1").input("until", "validation"));
    assert!(earlier.is_success());
    scene.place(&release(2), "acme/api", &["staging", "next"]);
    let later = scene.visit(&job(&scene, "2"));
    later.succeeded();
    scene.place(&release(1), "acme/api", &["staging"]);
    let back = scene.visit(&job(&scene, "1"));
    back.was_stopped(3, "plan-changed", &[later.output("deployment-id"), "begun later"]);
    assert_eq!(scene.tag("acme/api", "production").as_deref(), Some(release(2).digest()));
    scene.assert_sound();
}

#[test]
fn whoever_comes_back_after_an_earlier_run_plans_anew() {
    let scene = with_lock("0s");
    scene.place(&release(1), "acme/api", &["staging"]);
    scene.visit(&job(&scene, "1").input("until", "validation"));
    scene.place(&release(2), "acme/api", &["staging"]);
    scene.visit(&job(&scene, "2").input("until", "validation"));
    scene.place(&release(1), "acme/api", &["staging"]);
    scene.visit(&job(&scene, "1")).succeeded();
    scene.place(&release(2), "acme/api", &["staging"]);
    let second = scene.visit(&job(&scene, "2"));
    second.succeeded();
    assert_eq!((second.output("previous-digest"), second.output("sequence")), (release(1).digest(), "2"));
    assert_eq!(scene.tag("acme/api", "production").as_deref(), Some(release(2).digest()));
    scene.assert_sound();
}

#[test]
fn of_many_at_once_all_are_in_order() {
    let scene = with_lock("1m");
    for number in 1..=4 {
        scene.place(&small(number), "acme/api", &[&format!("build-{number}")]);
    }
    let running: Vec<_> = (1..=4)
        .map(|number| {
            let image = scene.filled(&format!("{{here}}/acme/api:build-{number}"));
            job(&scene, &number.to_string()).input("image", &image).start()
        })
        .collect();
    let visits: Vec<_> = running.into_iter().map(|running| scene.finish(running)).collect();
    let mut numbers: Vec<&str> = visits.iter().map(|visit| visit.output("sequence")).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, ["1", "2", "3", "4"]);
    // Each either succeeded or was overtaken by one that was begun later; the last one begun is what is there.
    let runs = scene.runs();
    for run in &runs {
        let overtaken = run.decisive_fault().is_some_and(|fault| fault.code.name() == "plan-changed");
        assert!(run.state == State::CompletedSuccessfully || overtaken, "{:?}", run.faults);
        assert!(run.lease.is_none());
    }
    // Two may have been begun in the same millisecond.
    let begun = runs.iter().map(|run| run.opened_at).max();
    let last: Vec<&Run> = runs.iter().filter(|run| Some(run.opened_at) == begun).collect();
    assert!(last.iter().all(|run| run.state == State::CompletedSuccessfully), "{last:?}");
    let there = scene.tag("acme/api", "production");
    assert!(last.iter().any(|run| run.candidates[0].digest.as_ref().map(ToString::to_string) == there), "{there:?}");
    scene.assert_sound();
}

#[test]
fn the_deadline_ends_the_wait() {
    let scene = with_lock("1m");
    scene.place(&release(1), "acme/api", &["staging"]);
    let go_on = standing_still(&scene);
    let first = job(&scene, "1").start();
    until_it_holds(&scene, 0);
    let second = scene.finish(job(&scene, "2").input("timeout", "5s").start());
    second.was_stopped(1, "deadline-passed", &["is being changed by run", "`timeout`"]);
    assert!(second.duration < Duration::from_secs(20), "{:?}", second.duration);
    drop(go_on);
    scene.finish(first).succeeded();
}

#[test]
fn the_deadline_stops_what_was_not_begun_and_nothing_that_was() {
    // Before the first change: a registry that does not answer in time.
    let scene = with_lock("0s");
    scene.place(&small(9), "acme/api", &["production"]);
    scene.place(&release(1), "acme/api", &["staging"]);
    let before = scene.snapshot();
    let slow = scene.here.fault(Rule::on("GET", "/v2/acme/api/blobs/*").act(Action::Delay(Duration::from_secs(60))));
    let visit = scene.visit(&job(&scene, "1").input("timeout", "1s"));
    visit.was_stopped(1, "deadline-passed", &["the deadline has passed"]);
    assert!(visit.duration < Duration::from_secs(30), "{:?}", visit.duration);
    assert_eq!(scene.snapshot(), before);
    slow.remove();
    // After it: the tag takes longer than there is time, and is moved, looked at and recorded all the same.
    let rule = Rule::on("PUT|HEAD", "/v2/acme/api/manifests/production").skip(2);
    let slow = scene.here.fault(rule.act(Action::Delay(Duration::from_secs(4))));
    let visit = scene.visit(&job(&scene, "2").input("timeout", "6s"));
    assert!(slow.hits() >= 2 && visit.duration > Duration::from_secs(7), "{visit:?}");
    visit.succeeded();
    assert_eq!(scene.tag("acme/api", "production").as_deref(), Some(release(1).digest()));
}
