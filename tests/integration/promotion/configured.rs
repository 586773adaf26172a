//! Promotion by a configuration: several services, tags that never move, services without an image.

use testbed::image::Content;
use tidegate::promotion::act::Act;
use tidegate::promotion::event::{Conclusion, Event};
use tidegate::promotion::stage::Stage;

use super::scene::{Scene, one_service, release, small, wait};

const TWO_SERVICES: &str = r#"version: 1
services:
  api: { image: "{here}/acme/api" }
  web: { image: "{here}/acme/web", environments: { production: { repository: "{there}/prod/web" } } }
environments:
  staging: { tag: staging }
  production:
    from: staging
    tag: production
    repository: "{here}/prod/{{ service }}"
    immutable-tags: ["production-{{ sequence }}", "{{ revision }}"]
retry: { attempts: 3, initial: 5ms, max: 10ms }
"#;

/// The requests that put something at a path of a registry, in their order.
fn puts(entries: &[testbed::log::Entry], repository: &str) -> Vec<String> {
    let prefix = format!("/v2/{repository}/manifests/");
    let puts = entries.iter().filter(|entry| entry.method == "PUT" && entry.status == Some(201));
    puts.filter_map(|entry| entry.path().strip_prefix(&prefix).map(str::to_owned)).collect()
}

#[test]
fn several_services_move_together_and_last() {
    let configuration = TWO_SERVICES.replace("{there}", "{here}");
    let scene = Scene::new().configured(&configuration);
    let images: Vec<Content> = vec![release(1), release(2)];
    for (image, service) in images.iter().zip(["api", "web"]) {
        scene.place(image, &format!("acme/{service}"), &["staging"]);
        scene.place(&small(9), &format!("prod/{service}"), &["production"]);
    }
    let visit = scene.visit(&scene.production());
    visit.succeeded();
    let revision = "0123456789abcdef0123456789abcdef01234567";
    let log = scene.here.log();
    let mut order = Vec::new();
    for (image, service) in images.iter().zip(["api", "web"]) {
        let repository = format!("prod/{service}");
        for tag in ["production", "production-1", revision] {
            assert_eq!(scene.tag(&repository, tag).as_deref(), Some(image.digest()), "{service} {tag}");
        }
        let kept = format!("tidegate-keep-{}", &small(9).digest()[7..19]);
        assert_eq!(scene.tag(&repository, &kept).as_deref(), Some(small(9).digest()));
        let puts = puts(&log, &repository);
        assert_eq!(puts.last().map(String::as_str), Some("production"), "{puts:?}");
        order.extend(puts);
    }
    // Content before what is kept, that before the tags that never move, and the environment's own tags at the end: of both
    // services before the next of either.
    let all: Vec<(usize, String)> = log
        .iter()
        .filter(|entry| entry.method == "PUT" && entry.path().contains("/manifests/"))
        .map(|entry| entry.path().rsplit('/').next().unwrap().to_owned())
        .map(|name| match name.as_str() {
            "production" => (3, name),
            one if one.starts_with("production-") || one == revision => (2, name),
            one if one.starts_with("tidegate-keep-") => (1, name),
            _ => (0, name),
        })
        .collect();
    assert!(all.is_sorted_by_key(|(rank, _)| *rank), "{all:#?}");
    assert_eq!(all.iter().filter(|(rank, _)| *rank == 3).count(), 2);

    let run = scene.run();
    let moves: Vec<_> = run.intents.values().filter(|one| matches!(one.act, Act::MoveTags { .. })).collect();
    let [one] = moves.as_slice() else { panic!("the tags were announced {} times", moves.len()) };
    let Act::MoveTags { moves } = &one.act else { unreachable!() };
    assert_eq!(moves.len(), 6);
    assert!(
        run.intents.values().all(|one| one.outcome.as_ref().is_some_and(tidegate::promotion::act::Outcome::is_done))
    );
    // Values for one are empty with two; all of them are in `images`.
    assert_eq!((visit.output("sequence"), visit.output("digest"), visit.output("previous-digest")), ("", "", ""));
    let told = visit.json("images");
    for (number, (image, service)) in images.iter().zip(["api", "web"]).enumerate() {
        assert_eq!(told[number]["service"], service);
        assert_eq!(told[number]["digest"], image.digest());
        assert_eq!(told[number]["previous_digest"], small(9).digest());
        assert_eq!(told[number]["sequence"], 1);
        assert_eq!(told[number]["tags"], serde_json::json!(["production", "production-1", revision]));
    }
    assert_eq!(visit.record().unwrap()["services_deployed"], serde_json::json!(["api", "web"]));
    scene.assert_sound();
}

#[test]
fn a_tag_that_cannot_move_takes_back_those_that_did() {
    let scene = Scene::new().configured(TWO_SERVICES);
    for (number, service) in [(1, "api"), (2, "web")] {
        scene.place(&release(number), &format!("acme/{service}"), &["staging"]);
    }
    scene.place(&small(9), "prod/api", &["production"]);
    small(9).place(scene.there.contents(), "prod/web", &["production"]);
    let refused = testbed::fault::Answer::error(403, "DENIED", "no");
    let rule = testbed::fault::Rule::on("PUT", "/v2/prod/web/manifests/production");
    scene.there.fault(rule.act(testbed::fault::Action::Answer(refused)));
    let visit = scene.visit(&scene.production());
    visit.was_stopped(1, "push-denied", &["web", "was put back to", small(9).digest()]);
    assert_eq!(scene.tag("prod/api", "production").as_deref(), Some(small(9).digest()));
    assert_eq!(scene.there.contents().digest("prod/web", "production").as_deref(), Some(small(9).digest()));
    assert_eq!(visit.output("failed-stage"), "copy");
    assert_eq!(scene.run().unsettled().count(), 0);
    scene.assert_sound();
}

#[test]
fn chosen_services_and_other_places() {
    let scene = Scene::new().configured(TWO_SERVICES);
    scene.place(&release(1), "acme/api", &["staging"]);
    scene.place(&release(2), "acme/web", &["staging"]);
    scene.visit(&scene.production().input("services", "web")).succeeded();
    assert_eq!(scene.there.contents().digest("prod/web", "production").as_deref(), Some(release(2).digest()));
    assert_eq!(scene.tag("prod/api", "production"), None);
    // Another set of services is another run, also in the same workflow run.
    let both = scene.visit(&scene.production().input("services", "web,\napi"));
    both.succeeded();
    let numbers: Vec<_> = both.json("images").as_array().unwrap().iter().map(|one| one["sequence"].clone()).collect();
    assert_eq!(numbers, [2, 1]);
    assert_eq!(scene.tag("prod/api", "production").as_deref(), Some(release(1).digest()));
    scene.assert_sound();
}

#[test]
fn a_tag_that_never_moves_is_never_moved() {
    let configuration = one_service(r#"immutable-tags: ["{{ version }}"]"#);
    let scene = Scene::new().configured(&configuration);
    scene.place(&small(1), "acme/api", &["staging"]);
    scene.visit(&scene.production().env("GITHUB_RUN_ID", "1")).succeeded();
    assert_eq!(scene.tag("acme/api", "1.0.0").as_deref(), Some(small(1).digest()));
    // The same digest again is nothing to do, with two requests; another one under the same version is refused.
    let seen = scene.seen();
    scene.visit(&scene.production().env("GITHUB_RUN_ID", "2")).succeeded();
    assert_eq!(scene.seen() - seen, 2);
    scene.place(&small(2), "acme/api", &["staging"]);
    let before = scene.snapshot();
    let visit = scene.visit(&scene.production().env("GITHUB_RUN_ID", "3"));
    visit.was_stopped(1, "tag-immutable", &["acme/api:1.0.0", small(1).digest(), small(2).digest()]);
    assert_eq!(scene.snapshot(), before);
    // Somebody made it between the plan and the copy.
    scene.here.contents().remove_tag("acme/api", "1.0.0");
    let contents = scene.here.contents().clone();
    let fault = scene.here.fault(
        testbed::fault::Rule::on("GET", "/v2/acme/api/blobs/*")
            .nth(1)
            .act(testbed::fault::Action::call(move || contents.put_tag("acme/api", "1.0.0", small(1).digest()))),
    );
    let visit = scene.visit(&scene.production().env("GITHUB_RUN_ID", "4"));
    assert_eq!(fault.hits(), 1);
    visit.was_stopped(1, "tag-immutable", &["acme/api:1.0.0"]);
    assert_eq!(scene.tag("acme/api", "production").as_deref(), Some(small(1).digest()));
}

/// The states that a run went through.
fn states(scene: &Scene, service: &str) -> Vec<String> {
    let run = scene.runs().into_iter().rfind(|run| run.opening.services == [service]).unwrap();
    let records = wait(async { scene.ledger().load(&run.id).await.unwrap() });
    let state = |event: &Event| match event {
        Event::StateChanged { to } => Some(to.to_string()),
        Event::RunEnded { state, .. } => Some(state.to_string()),
        _ => None,
    };
    records.iter().filter_map(|record| state(&record.event)).collect()
}

#[test]
fn a_service_without_an_image_goes_the_same_way() {
    let configuration = one_service("").replace("services:\n", "services:\n  worker: {}\n");
    let scene = Scene::new().configured(&configuration);
    scene.place(&small(1), "acme/api", &["staging"]);
    scene.visit(&scene.production().input("services", "api")).succeeded();
    let seen = scene.seen();
    let visit = scene.visit(&scene.production().input("services", "worker").input("version", "7.1"));
    visit.succeeded();
    assert_eq!(scene.seen(), seen);
    assert_eq!((visit.output("sequence"), visit.output("digest")), ("1", ""));
    assert_eq!(visit.json("images")[0]["version"], "7.1");
    assert_eq!(states(&scene, "worker"), states(&scene, "api"));
    let run = scene.run_of(&visit);
    for stage in [Stage::Validation, Stage::Copy] {
        assert_eq!(run.conclusion(stage), Some(Conclusion::Skipped), "{stage}");
    }
    // Beside one with an image.
    let both = scene.visit(&scene.production().input("version", "7.2"));
    both.succeeded();
    assert_eq!(scene.run_of(&both).conclusion(Stage::Copy), Some(Conclusion::Done));
    scene.assert_sound();
}

#[test]
fn the_source_is_what_the_environment_before_has_or_a_tag_of_the_request() {
    let configuration = one_service("").replace("from: staging", r#"from-tag: "build-{{ vars.number }}""#);
    let scene = Scene::new().configured(&configuration);
    scene.place(&small(1), "acme/api", &["build-17"]);
    scene.place(&small(2), "acme/api", &["hotfix"]);
    scene.visit(&scene.production().input("variables", "number=17").env("GITHUB_RUN_ID", "1")).succeeded();
    assert_eq!(scene.tag("acme/api", "production").as_deref(), Some(small(1).digest()));
    let by_hand = scene.production().input("image", &scene.filled("{here}/acme/api:hotfix"));
    scene.visit(&by_hand.env("GITHUB_RUN_ID", "2")).succeeded();
    assert_eq!(scene.tag("acme/api", "production").as_deref(), Some(small(2).digest()));
    let visit = scene.visit(&scene.production().env("GITHUB_RUN_ID", "3"));
    visit.was_stopped(2, "configuration-invalid", &["number"]);
}
