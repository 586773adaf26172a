//! A program that dies at any moment: every HTTP request and every ledger transaction is a place to die at, before and
//! after, and whoever comes next makes of it what an undisturbed run would have made.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use serde_json::Value;
use testbed::image::{Artifact, Content, CosignKind, Descriptor, cosign};
use testbed::registry::Snapshot;
use testbed::runner::Runner;
use tidegate::promotion::state::State;

use crate::promotion::scene::{Scene, Visit, small};

/// Two services go into repositories of their own, in the environment's and in an immutable tag.
const CONFIGURATION: &str = r#"version: 1
services:
  api: { image: "{here}/acme/api" }
  web: { image: "{here}/acme/web" }
environments:
  staging: { tag: staging }
  production:
    from: staging
    tag: production
    repository: "{here}/prod/{{ service }}"
    immutable-tags: ["production-{{ sequence }}"]
retry: { attempts: 3, initial: 5ms, max: 10ms }
"#;

/// SIGABRT.
const ABORTED: Option<i32> = Some(6);

/// How a promotion ends that nothing disturbs.
struct Undisturbed {
    tags: [BTreeMap<String, BTreeMap<String, String>>; 2],
    images: Value,
    /// The places at which the program can die, in their order.
    points: Vec<String>,
}

impl Undisturbed {
    /// Their numbers.
    fn numbers(&self) -> impl Iterator<Item = u64> {
        1..=self.points.len() as u64
    }
}

/// An image with cosign's signature and a referrer.
fn signed(number: u64) -> Content {
    let image = small(number);
    let signature = cosign(CosignKind::Signature, image.digest());
    let document = &image.documents()[0];
    let subject = Descriptor::of(&document.media_type, &document.bytes);
    let bill = Artifact::new("application/spdx+json").layer("application/spdx+json", "{}").subject(&subject).build();
    image.with(signature).with(bill)
}

fn arrange(scene: Scene) -> Scene {
    let scene = scene.configured(CONFIGURATION);
    scene.place(&signed(1), "acme/api", &["staging"]);
    scene.place(&signed(2), "acme/web", &["staging"]);
    scene.place(&small(3), "prod/api", &["production"]);
    scene.place(&small(4), "prod/web", &["production"]);
    scene
}

fn tags(snapshot: &[Snapshot; 2]) -> [BTreeMap<String, BTreeMap<String, String>>; 2] {
    snapshot.clone().map(|one| one.tags)
}

/// What the outputs say of the images, wherever the registry is.
fn images(scene: &Scene, visit: &Visit) -> Value {
    serde_json::from_str(&visit.output("images").replace(&scene.here.host(), "here")).unwrap()
}

fn undisturbed(scene: Scene) -> Undisturbed {
    let scene = arrange(scene);
    let log = scene.step().workspace().join("points");
    let visit = scene.visit(&scene.production().env("TIDEGATE_CRASH_LOG", log.to_str().unwrap()));
    visit.succeeded();
    let points = std::fs::read_to_string(log).unwrap();
    for what in ["http request", "http answer", "ledger begin", "ledger commit"] {
        assert!(points.contains(what), "{points}");
    }
    let tags = tags(&scene.snapshot());
    for service in ["api", "web"] {
        let tags = &tags[0][&format!("prod/{service}")];
        // The two tags, what is kept, and the signature.
        assert_eq!((tags.len(), &tags["production-1"]), (4, &tags["production"]), "{tags:?}");
    }
    Undisturbed { tags, images: images(&scene, &visit), points: points.lines().map(ToOwned::to_owned).collect() }
}

/// Runs the step so that it dies at a place. Whether it did: a run that goes another way may have fewer places.
fn dies(scene: &Scene, step: &Runner, at: u64) -> bool {
    let finished = step.clone().env("TIDEGATE_CRASH_AT", &at.to_string()).run();
    assert!(finished.signal == ABORTED || finished.code == Some(0), "{at}: {finished}");
    // Whatever it left, it left no intent with two outcomes, and no broken chain.
    if !scene.runs().is_empty() {
        scene.assert_sound();
    }
    finished.signal == ABORTED
}

/// The world and the record are as an undisturbed run leaves them.
fn is_whole(scene: &Scene, visit: &Visit, undisturbed: &Undisturbed) {
    visit.succeeded();
    assert_eq!(tags(&scene.snapshot()), undisturbed.tags);
    assert_eq!(images(scene, visit), undisturbed.images);
    let run = scene.run();
    assert_eq!((run.state, run.lease), (State::CompletedSuccessfully, None), "{visit:?}");
    assert!(run.candidates.iter().all(|candidate| candidate.sequence == Some(1)));
    assert!(run.candidates.iter().all(|candidate| candidate.moved));
    let outcomes = scene.entries().iter().filter(|entry| entry.text.contains(r#""kind":"settled""#)).count();
    assert!(run.intents.values().all(|intended| intended.outcome.is_some()));
    assert_eq!(outcomes, run.intents.len(), "{visit:?}");
    let record = visit.record().unwrap();
    assert_eq!(record["services_deployed"], serde_json::json!(["api", "web"]), "{record}");
    assert_eq!((&record["status"], &record["audit_head"]["hash"]), (&"success".into(), &run.head.as_str().into()));
    scene.assert_sound();
}

fn attempt(scene: &Scene, number: u32) -> Runner {
    scene.production().env("GITHUB_RUN_ATTEMPT", &number.to_string())
}

/// Does something for each number, several at a time, and tells of all that fail.
fn each(numbers: impl Iterator<Item = u64>, act: impl Fn(u64) + Sync) {
    let numbers: Vec<u64> = numbers.collect();
    let (next, failed) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                loop {
                    let place = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap();
                    let Some(number) = numbers.get(place) else { break };
                    if catch_unwind(AssertUnwindSafe(|| act(*number))).is_err() {
                        failed.lock().unwrap().push(*number);
                    }
                }
            });
        }
    });
    assert_eq!(*failed.lock().unwrap(), Vec::<u64>::new());
}

fn on_sqlite() -> &'static Undisturbed {
    static UNDISTURBED: OnceLock<Undisturbed> = OnceLock::new();
    UNDISTURBED.get_or_init(|| undisturbed(Scene::new().on_a_file()))
}

#[test]
fn killed_anywhere_and_run_again_on_sqlite() {
    let undisturbed = on_sqlite();
    let survived = AtomicU64::new(0);
    each(undisturbed.numbers(), |point| {
        let scene = arrange(Scene::new().on_a_file());
        if !dies(&scene, &attempt(&scene, 1), point) {
            survived.fetch_add(1, Ordering::Relaxed);
        }
        let visit = scene.finish(attempt(&scene, 2).start());
        is_whole(&scene, &visit, undisturbed);
    });
    assert!(survived.into_inner() < undisturbed.points.len() as u64 / 10);
}

#[test]
fn killed_anywhere_and_run_again_on_postgresql() {
    let undisturbed = undisturbed(Scene::new().on_postgres());
    each(undisturbed.numbers(), |point| {
        let scene = arrange(Scene::new().on_postgres());
        dies(&scene, &attempt(&scene, 1), point);
        let visit = scene.finish(attempt(&scene, 2).start());
        is_whole(&scene, &visit, &undisturbed);
    });
}

#[test]
fn killed_and_killed_again() {
    let undisturbed = on_sqlite();
    each(undisturbed.numbers().skip(2).step_by(11), |point| {
        let scene = arrange(Scene::new().on_a_file());
        dies(&scene, &attempt(&scene, 1), point);
        dies(&scene, &attempt(&scene, 2), 1 + point * 7 % 40);
        let visit = scene.finish(attempt(&scene, 3).start());
        is_whole(&scene, &visit, undisturbed);
    });
}
