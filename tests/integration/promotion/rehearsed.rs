//! `plan` and `dry-run`: everything is read, and nothing is written anywhere.

use testbed::image::{Defect, Image};
use testbed::runner::Runner;

use super::scene::{Scene, Visit, one_service, release, small};

/// Runs a rehearsal: the registries are only read, what they hold and what the ledger holds is as before, and every
/// request is told of.
fn rehearse(scene: &Scene, step: &Runner) -> Visit {
    let snapshot = scene.snapshot();
    scene.here.clear_log();
    scene.there.clear_log();
    let file = |scene: &Scene| std::fs::read(scene.ledger_file()).ok();
    let before = file(scene);
    let visit = scene.finish(step.start());
    assert_eq!(scene.snapshot(), snapshot);
    assert_eq!(file(scene), before, "the ledger was written");
    let asked = [scene.here.log(), scene.there.log()].concat();
    assert!(asked.iter().all(|entry| matches!(entry.method.as_str(), "GET" | "HEAD")), "{asked:#?}");
    assert_eq!(told(&visit), asked.len() as u64, "{visit:?}");
    assert_eq!(visit.output("deployment-id"), "");
    assert_eq!(visit.output("record-path"), "");
    assert!(!visit.state().unwrap().contains_key("deployment-id"));
    visit
}

/// The requests that the log tells of, stage by stage.
fn told(visit: &Visit) -> u64 {
    let count = |line: &String| line.trim().strip_suffix(" requests")?.rsplit_once(", ")?.1.parse::<u64>().ok();
    visit.lines().iter().filter_map(count).sum()
}

#[test]
fn a_plan_says_what_would_be_done() {
    let scene = Scene::new().configured(&one_service(
        "repository: \"{there}/prod/{{ service }}\"\nimmutable-tags: [\"production-{{ sequence }}\"]",
    ));
    let image = release(1);
    scene.place(&image, "acme/api", &["staging"]);
    let by_operation = scene.production().input("operation", "plan");
    let by_flag = scene.production().input("dry-run", "true");
    for step in [&by_operation, &by_flag] {
        let visit = rehearse(&scene, step);
        assert!(visit.is_success(), "{visit:?}");
        assert_eq!((visit.output("sequence"), visit.output("digest")), ("1", image.digest()));
        assert_eq!((visit.output("decision"), visit.output("status")), ("proceed", ""));
        let (blobs, manifests) = (image.blobs().len(), image.documents().len() - 1);
        // One more, for the tag that never moves.
        let requests = format!("at least {} requests", 2 * manifests + 2 + 3 * blobs + 1);
        let bytes: usize = image.blobs().values().map(bytes::Bytes::len).sum();
        let text = visit.lines().join("\n");
        for part in [
            image.digest(),
            "prod/api:production is made for",
            "prod/api:production-1 is made for",
            &requests,
            &format!("{:.1} KiB", bytes as f64 / 1024.0),
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
            assert!(visit.summary().contains(part), "{part} is not in\n{}", visit.summary());
        }
    }
    assert!(scene.runs().is_empty() && !scene.ledger_file().exists());

    // The real one does just that; the next plan has the next number, and says what moves.
    scene.visit(&scene.production()).succeeded();
    scene.place(&release(2), "acme/api", &["staging"]);
    let visit = rehearse(&scene, &by_operation);
    assert_eq!((visit.output("sequence"), visit.output("previous-digest")), ("2", image.digest()));
    assert!(visit.lines().iter().any(|line| line.contains("moves from") && line.contains(image.digest())));
    scene.place(&image, "acme/api", &["staging"]);
    let nothing = rehearse(&scene, &by_operation);
    assert!(nothing.lines().iter().any(|line| line.contains("Nothing to do")), "{nothing:?}");
    assert_eq!(told(&nothing), 2);
}

#[test]
fn a_plan_as_far_as_validation_reads_everything() {
    let scene = Scene::new().configured(&one_service("validate: { layers: deep, platforms: [linux/s390x] }"));
    scene.place(&small(1), "acme/api", &["staging"]);
    let headers = rehearse(&scene, &scene.production().input("operation", "plan"));
    headers.was_stopped(1, "check-failed", &["linux/s390x"]);
    assert!(headers.summary().contains("would:"), "{}", headers.summary());
    let forced = scene.production().input("operation", "plan").input("force", "true").input("reason", "x");
    assert!(rehearse(&scene, &forced).is_success());
    let deep = rehearse(&scene, &scene.production().input("dry-run", "true").input("until", "validation"));
    deep.was_stopped(1, "check-failed", &["linux/s390x"]);
    assert!(told(&deep) > told(&headers));
}

#[test]
fn a_plan_of_what_cannot_be_promoted_fails() {
    let scene = Scene::new().configured(&one_service(r#"immutable-tags: ["v1"]"#));
    let visit = rehearse(&scene, &scene.production().input("operation", "plan"));
    visit.was_stopped(1, "image-absent", &["acme/api:staging"]);
    scene.place(&small(1), "acme/api", &["staging"]);
    scene.place(&small(2), "acme/api", &["v1"]);
    let visit = rehearse(&scene, &scene.production().input("operation", "plan"));
    visit.was_stopped(1, "tag-immutable", &["acme/api:v1"]);
    let broken = Image::manifest("linux/amd64").defect(Defect::ConfigNotJson).build();
    scene.place(&broken, "acme/api", &["staging", "v1"]);
    let visit = rehearse(&scene, &scene.production().input("operation", "plan"));
    visit.was_stopped(1, "check-failed", &["consistent"]);
}

#[test]
fn a_plan_on_a_database_without_a_schema_makes_none() {
    for pooled in [false, true] {
        let scene = if pooled { Scene::new().on_pgbouncer() } else { Scene::new().on_postgres() };
        let scene = scene.configured(&one_service(""));
        scene.place(&small(1), "acme/api", &["staging"]);
        let plan = scene.production().input("operation", "plan");
        let visit = scene.finish(plan.start());
        assert!(visit.is_success(), "{visit:?}");
        assert_eq!(visit.output("sequence"), "1");
        let schemas = "select count(*) from information_schema.schemata where schema_name = 'tidegate'";
        assert_eq!(scene.database().psql(schemas), "0");
        // Nor does an audit, or a look at what has to be recovered.
        for operation in ["audit", "recover"] {
            let step = scene.step().input("operation", operation).input("dry-run", "true");
            let visit = scene.finish(step.start());
            assert!(visit.is_success(), "{visit:?}");
            assert_eq!(scene.database().psql(schemas), "0", "{operation}");
        }
        scene.visit(&scene.production()).succeeded();
        let entries = scene.entries();
        scene.place(&small(2), "acme/api", &["staging"]);
        let visit = scene.finish(plan.start());
        assert_eq!(visit.output("sequence"), "2", "{visit:?}");
        assert_eq!(scene.entries(), entries);
    }
}
