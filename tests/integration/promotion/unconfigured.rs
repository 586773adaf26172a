//! Promotion without a configuration: `image` and `to` say all.

use testbed::image::{CosignKind, Image, cosign};
use tidegate::promotion::state::State;

use super::scene::{Scene, release, small};

#[test]
fn a_tag_of_the_same_repository() {
    let scene = Scene::new();
    let image = release(1);
    scene.place(&image, "acme/api", &["staging"]);
    let visit = scene.visit(&scene.plain("{here}/acme/api:staging", "production"));
    visit.succeeded();
    assert_eq!(scene.tag("acme/api", "production").as_deref(), Some(image.digest()));
    for (name, value) in [
        ("state", "completed-successfully"),
        ("digest", image.digest()),
        ("previous-digest", ""),
        ("sequence", "1"),
        ("failed-stage", ""),
        ("error-category", ""),
        ("error-count", "0"),
        ("rolled-back", "false"),
    ] {
        assert_eq!(visit.output(name), value, "{name}");
    }
    let here = scene.here.host();
    let images = visit.json("images");
    assert_eq!(images[0]["image"], format!("{here}/acme/api@{}", image.digest()));
    assert_eq!((&images[0]["service"], &images[0]["tags"][0]), (&"acme/api".into(), &"production".into()));
    assert_eq!(visit.json("result")["deployment_id"], visit.output("deployment-id"));

    let record = visit.record().unwrap();
    for (field, value) in [
        ("deployment_id", visit.output("deployment-id")),
        ("environment", &format!("{here}/acme/api:production")),
        ("status", "success"),
        ("git_sha", "0123456789abcdef0123456789abcdef01234567"),
        ("requestor", "octocat"),
        ("digest", image.digest()),
    ] {
        assert_eq!(record[field], value, "{field}");
    }
    assert_eq!(record["services_deployed"], serde_json::json!(["acme/api"]));
    assert_eq!(record["rollback_available"], false);
    assert!(record["timestamp"].is_string() && record["health_checks"].is_object());
    assert!(record["validation"].as_array().unwrap().len() > 3 && record["timings"].as_array().unwrap().len() > 3);
    let run = scene.run();
    assert_eq!(record["audit_head"], serde_json::json!({"seq": run.seq, "hash": run.head}));
    assert!(visit.summary().contains("✅ Promoted to") && visit.summary().contains(&run.head));
    assert_eq!(visit.file_of("report-path").unwrap(), visit.summary());
    assert_eq!(visit.file_of("audit-path").unwrap().lines().count() as u64, run.seq);
    assert!(run.lease.is_none());
    for stage in ["conditions", "approval", "validation", "copy", "report"] {
        let log = scene.folder().join(run.id.as_str()).join(format!("{stage}-{}.log", run.id));
        assert!(std::fs::read_to_string(&log).unwrap().contains("is done"), "{}", log.display());
    }
    scene.assert_sound();
}

#[test]
fn another_repository_and_another_registry_with_what_is_attached() {
    for there in [false, true] {
        let scene = Scene::new();
        let image = release(1);
        let image = image.clone().with(cosign(CosignKind::Signature, image.digest()));
        scene.place(&image, "acme/api", &["staging"]);
        let registry = if there { &scene.there } else { &scene.here };
        let to = format!("{}/prod/api:live", registry.host());
        let visit = scene.visit(&scene.plain("{here}/acme/api:staging", &to));
        visit.succeeded();
        assert_eq!(registry.contents().digest("prod/api", "live").as_deref(), Some(image.digest()));
        for document in image.documents() {
            let copy = registry.contents().manifest("prod/api", &document.digest).unwrap();
            assert_eq!((&copy.bytes, &copy.media_type), (&document.bytes, &document.media_type));
        }
        assert_eq!(registry.contents().blobs("prod/api").len(), image.blobs().len());
        let signature = format!("{}.sig", image.digest().replace(':', "-"));
        assert!(registry.contents().digest("prod/api", &signature).is_some());
        assert_eq!(registry.open_uploads(), 0);
    }
}

#[test]
fn the_next_one_keeps_what_it_replaces() {
    let scene = Scene::new();
    let (first, second) = (release(1), release(2));
    scene.place(&first, "acme/api", &["staging"]);
    scene.visit(&scene.plain("{here}/acme/api:staging", "{here}/prod/api:live").env("GITHUB_RUN_ID", "1")).succeeded();
    scene.place(&second, "acme/api", &["staging"]);
    let visit = scene.visit(&scene.plain("{here}/acme/api:staging", "{here}/prod/api:live").env("GITHUB_RUN_ID", "2"));
    visit.succeeded();
    assert_eq!((visit.output("sequence"), visit.output("previous-digest")), ("2", first.digest()));
    assert_eq!(visit.record().unwrap()["rollback_available"], true);
    let kept = format!("tidegate-keep-{}", &first.digest()[7..19]);
    assert_eq!(scene.tag("prod/api", &kept).as_deref(), Some(first.digest()));
    assert_eq!(scene.tag("prod/api", "live").as_deref(), Some(second.digest()));
    scene.assert_sound();
}

#[test]
fn what_is_there_already_costs_two_requests_and_writes_nothing() {
    for to in ["production", "{here}/prod/api:live", "{there}/prod/api:live"] {
        let scene = Scene::new();
        scene.place(&release(1), "acme/api", &["staging"]);
        scene.visit(&scene.plain("{here}/acme/api:staging", to).env("GITHUB_RUN_ID", "1")).succeeded();
        let (before, seen) = (scene.snapshot(), scene.seen());
        let visit = scene.visit(&scene.plain("{here}/acme/api:staging", to).env("GITHUB_RUN_ID", "2"));
        visit.succeeded();
        assert_eq!((scene.seen() - seen, scene.snapshot()), (2, before), "{to}");
        assert_eq!(visit.output("sequence"), "2");
        assert!(visit.summary().contains("Nothing to do"), "{}", visit.summary());
        assert!(!scene.runs()[1].changed_the_world());
        assert_eq!(visit.record().unwrap()["services_deployed"].as_array().unwrap().len(), 1);
    }
}

#[test]
fn a_digest_names_the_image_or_pins_it() {
    let scene = Scene::new();
    let (image, other) = (small(1), small(2));
    scene.place(&image, "acme/api", &["staging"]);
    scene.place(&other, "acme/api", &["next"]);
    let by_digest = format!("{{here}}/acme/api@{}", image.digest());
    scene.visit(&scene.plain(&by_digest, "one").env("GITHUB_RUN_ID", "1")).succeeded();
    assert_eq!(scene.tag("acme/api", "one").as_deref(), Some(image.digest()));
    let pinned = scene.plain("{here}/acme/api:staging", "two").input("digest", image.digest());
    scene.visit(&pinned.env("GITHUB_RUN_ID", "2")).succeeded();
    assert_eq!(scene.tag("acme/api", "two").as_deref(), Some(image.digest()));

    let before = scene.snapshot();
    for (run, image) in
        [("3", "{here}/acme/api:next".to_owned()), ("4", format!("{{here}}/acme/api:next@{}", image.digest()))]
    {
        let wrong = scene.plain(&image, "three").env("GITHUB_RUN_ID", run);
        let wrong = if run == "3" { wrong.input("digest", small(1).digest()) } else { wrong };
        let visit = scene.visit(&wrong);
        visit.was_stopped(1, "source-moved", &[other.digest(), small(1).digest()]);
    }
    assert_eq!(scene.snapshot(), before);
}

#[test]
fn every_kind_of_image_arrives_byte_for_byte() {
    let foreign = "https://mirror.acme.test/layer";
    let images = [
        Image::index(&["linux/amd64", "linux/arm64", "linux/arm/v7"]).layers(1, 300).nested().attestations().build(),
        Image::index(&["linux/amd64"]).layers(2, 300).foreign_layer(foreign).build(),
        Image::manifest("linux/amd64").layers(1, 300).format(testbed::image::Format::Docker).build(),
        Image::manifest("linux/amd64").layers(1, 300).compression(testbed::image::Compression::Zstd).build(),
    ];
    let scene = Scene::new();
    for (number, image) in images.iter().enumerate() {
        scene.place(image, "acme/api", &["staging"]);
        let to = format!("{{there}}/prod/api-{number}:live");
        scene.visit(&scene.plain("{here}/acme/api:staging", &to)).succeeded();
        for document in image.documents() {
            let copy = scene.there.contents().manifest(&format!("prod/api-{number}"), &document.digest).unwrap();
            assert_eq!(copy.bytes, document.bytes);
        }
    }
    assert!(scene.runs().iter().all(|run| run.state == State::CompletedSuccessfully));
    scene.assert_sound();
}

#[test]
fn the_command_line_does_the_same_as_the_action() {
    let scene = Scene::new();
    let image = small(1);
    scene.place(&image, "acme/api", &["staging"]);
    let from = scene.filled("{here}/acme/api:staging");
    let step = testbed::runner::Runner::outside_actions(super::scene::PROGRAM);
    let finished =
        step.clone().arguments(&["promote", "--image", &from, "--to", "production", "--requestor", "me"]).run();
    assert_eq!(finished.code, Some(0), "{finished}");
    assert_eq!(scene.tag("acme/api", "production").as_deref(), Some(image.digest()));
    assert!(finished.stdout.contains("completed-successfully") && !finished.stdout.contains("::"), "{finished}");
    // Nobody says that the next one belongs to it.
    let again = step.arguments(&["--image", &from, "--to", "production"]).run();
    assert!(again.stdout.contains("nothing to do"), "{again}");
}
