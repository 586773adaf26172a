//! Bad input and bad company: each is the right fault with a text that says where and what to do, and nothing is changed.

use std::time::Duration;

use testbed::fault::{Action, Answer, Rule};
use testbed::image::{Defect, Image};
use testbed::postgres::Postgres;
use testbed::registry::{Auth, Registry, Settings};
use testbed::runner::Runner;

use super::scene::{Scene, one_service, release, small};

/// Runs a step that must be stopped, and sees that nothing is changed: not the registries, nor, with bad input, any ledger.
#[track_caller]
fn is_refused(scene: &Scene, step: &Runner, exit: i32, reason: &str, texts: &[&str]) {
    let (snapshot, runs) = (scene.snapshot(), scene.runs().len());
    let visit = scene.visit_with_losses(step);
    visit.was_stopped(exit, reason, texts);
    assert_eq!(scene.snapshot(), snapshot, "{visit:?}");
    let runs = scene.runs().split_off(runs);
    assert!(runs.iter().all(|run| !run.changed_the_world() && run.lease.is_none()), "{visit:?}");
    if visit.output("deployment-id").is_empty() {
        assert!(runs.is_empty(), "{visit:?}");
        assert!(visit.summary().contains("Nothing was begun"), "{}", visit.summary());
        assert_eq!(visit.output("error-count"), "1");
    } else {
        assert!(visit.summary().contains("Nothing was changed"), "{}", visit.summary());
    }
}

#[test]
fn inputs_that_say_nothing_sensible() {
    let scene = Scene::new();
    scene.place(&small(1), "acme/api", &["staging"]);
    let image = "{here}/acme/api:staging";
    let none = "0".repeat(64);
    for (inputs, texts) in [
        (&[("image", "acme/api:staging"), ("to", "x")][..], &["`image`", "`acme/api`", "registry"][..]),
        (&[("image", "{here}/acme/api"), ("to", "x")], &["`image`", "tag"]),
        (&[("image", "{here}/ACME/api:staging"), ("to", "x")], &["`image`", "ACME"]),
        (&[("image", "{here}/acme/api@sha256:abc"), ("to", "x")], &["`image`", "sha256"]),
        (&[("image", image), ("to", "x"), ("digest", "sha256:abc")], &["`digest`", "`sha256:abc`"]),
        (&[("image", image), ("to", "x"), ("digest", "md5:x")], &["`digest`", "`md5:x`"]),
        (&[("image", image), ("to", "not a tag!")], &["`to`", "not a tag!"]),
        (&[("image", image), ("to", "{here}/acme/api")], &["`to`", "tag"]),
        (&[("image", image), ("to", &format!("{{here}}/acme/api@sha256:{none}"))], &["`to`", "goes to a tag"]),
        (&[("to", "x")], &["`to`", "`image` does not say what"]),
        (&[("operation", "promoet")], &["`operation`", "did you mean `promote`?"]),
        (&[("operation", "rollback")], &["`reason`", "on record"]),
        (&[("operation", "rollback"), ("reason", "it is down")], &["`confirm`", "`ROLLBACK`"]),
        (&[("image", image), ("to", "x"), ("until", "deploy")], &["`until`", "`deploy` is not a stage"]),
        (&[("image", image), ("to", "x"), ("timeout", "soon")], &["`timeout`", "`30m`"]),
        (&[("image", image), ("to", "x"), ("force", "yes")], &["`force`", "neither `true` nor `false`"]),
        (&[("image", image), ("to", "x"), ("force", "true")], &["`force`", "`reason`"]),
        (&[("image", image), ("to", "x"), ("override", "signature")], &["`override`", "`signature`"]),
        (&[("image", image), ("to", "x"), ("deployment-id", "7")], &["`deployment-id`", "`7`"]),
        (&[("image", image), ("to", "x"), ("variables", "a b")], &["`variables`", "`a b`"]),
        (&[("image", image), ("to", "x"), ("database-url", "mysql://x")], &["postgres://"]),
        (&[("image", image), ("to", "x"), ("database-user", "x")], &["`database-user`", "`database-host`"]),
        (&[("image", image), ("to", "x"), ("log-format", "xml")], &["`log-format`", "`xml`"]),
    ] {
        let step = inputs.iter().fold(scene.step(), |step, (name, value)| step.input(name, &scene.filled(value)));
        is_refused(&scene, &step, 2, "input-invalid", texts);
        assert!(!scene.ledger_file().exists());
    }
    let report = scene.step().input("operation", "report");
    is_refused(&scene, &report, 2, "input-invalid", &["no ledger to tell from", "`database-url`"]);
    for to in ["staging", ":staging", "{here}/acme/api:staging"] {
        is_refused(&scene, &scene.plain(image, to), 2, "source-is-target", &["acme/api:staging", "promoted to itself"]);
    }
    is_refused(&scene, &scene.step().arguments(&["--imgae", "x"]), 2, "input-invalid", &["--imgae", "--image"]);
    assert_eq!(scene.seen(), 0, "nobody has to be asked for that");
}

#[test]
fn every_mistake_in_the_inputs_is_told_at_once() {
    let scene = Scene::new();
    let step = scene.step().input("operation", "promot").input("digest", "x").input("timeout", "never");
    is_refused(&scene, &step, 2, "input-invalid", &["3 inputs are wrong", "`operation`", "`digest`", "`timeout`"]);
}

#[test]
fn configurations_that_say_nothing_sensible() {
    let good = one_service("");
    let more = one_service;
    let notify = |channel: &str| format!("{good}notify: {{ team: {{ {channel} }} }}\n");
    let literal = "https://hooks.slack.com/services/T0001/B0002/veryS3cret";
    for (configuration, inputs, reason, texts) in [
        (good.clone(), &[("environment", "prodution")][..], "input-invalid", &["`prodution`", "`production`"][..]),
        (good.clone(), &[("services", "apo")], "input-invalid", &["`apo`", "`api`"]),
        (good.clone(), &[("environment", "")], "input-invalid", &["no environment is named", "production"]),
        (
            more("taag: x"),
            &[],
            "configuration-invalid",
            &["tidegate.yml:9:5", "production.taag", "did you mean `tag`?"],
        ),
        (
            more("validate: { size: { max: 3 apples } }"),
            &[],
            "configuration-invalid",
            &["tidegate.yml:9:", "validate.size.max", "apples"],
        ),
        (good.replace("version: 1", "version: 7"), &[], "configuration-invalid", &["tidegate.yml:1:", "version 1"]),
        (good.replace("api:", "api: ["), &[], "configuration-invalid", &["tidegate.yml:"]),
        (
            good.replace("    tag: production\n", ""),
            &[],
            "configuration-invalid",
            &["`tag` is missing, and service `api` has an image", "add `tag`"],
        ),
        (
            good.replace("    from: staging\n", ""),
            &[],
            "input-invalid",
            &["nothing says which image of `api`", "from-tag"],
        ),
        (good.replace("from: staging", "from: stagin"), &[], "configuration-invalid", &["`stagin`", "staging"]),
        (more(r#"immutable-tags: ["{{ nothing }}"]"#), &[], "configuration-invalid", &["nothing"]),
        (notify(&format!("slack: \"{literal}\"")), &[], "configuration-invalid", &["notify.team.slack", "${"]),
    ] {
        let scene = Scene::new().configured(&configuration);
        scene.place(&small(1), "acme/api", &["staging"]);
        let step = inputs.iter().fold(scene.production(), |step, (name, value)| step.input(name, value));
        is_refused(&scene, &step, 2, reason, texts);
        let places = scene.visit(&step).places_with("veryS3cret");
        assert!(places.iter().all(|place| place == ".github/tidegate.yml"), "{places:?}");
        assert_eq!(scene.seen(), 0);
    }
    let scene = Scene::new();
    is_refused(&scene, &scene.production(), 2, "configuration-invalid", &[".github/tidegate.yml"]);
    let elsewhere = scene.production().input("config", "deploy/none.json");
    is_refused(&scene, &elsewhere, 2, "configuration-invalid", &["deploy/none.json"]);
    // JSON is as good as YAML, wherever it is.
    scene.place(&small(1), "acme/api", &["staging"]);
    let json = scene.filled(
        r#"{"version": 1, "services": {"api": {"image": "{here}/acme/api"}},
            "environments": {"staging": {"tag": "staging"}, "production": {"tag": "production", "from": "staging"}}}"#,
    );
    scene
        .visit(&scene.production().file("deploy/tidegate.json", json).input("config", "deploy/tidegate.json"))
        .succeeded();
}

#[test]
fn a_digest_that_nobody_can_tell_is_not_asked_for() {
    let keys = r#"health: { running-digest: true, probes: { api: { url: "https://acme.test/" } } }"#;
    for (deploy, why) in [
        ("", "nothing deploys it"),
        ("deploy: { workflow: { file: deploy.yml } }", "a workflow does not tell it"),
        ("deploy: { command: { run: [./up] } }", "`deploy.command` has no `running`"),
    ] {
        let scene = Scene::new().configured(&one_service(&format!("{keys}\n{deploy}")));
        scene.place(&small(1), "acme/api", &["staging"]);
        is_refused(
            &scene,
            &scene.production(),
            2,
            "configuration-invalid",
            &["tidegate.yml:", "running-digest: ", why],
        );
        assert_eq!(scene.seen(), 0);
    }
}

#[test]
fn what_a_template_makes_is_looked_at_before_anything_is_changed() {
    let scene = Scene::new().configured(&one_service(r#"immutable-tags: ["{{ mode }}"]"#));
    scene.place(&small(1), "acme/api", &["staging"]);
    is_refused(
        &scene,
        &scene.production().input("mode", "not a tag"),
        2,
        "configuration-invalid",
        &["{{ mode }}", "not a tag"],
    );
    is_refused(
        &scene,
        &scene.production().input("mode", "production"),
        2,
        "configuration-invalid",
        &["the environment's own"],
    );
}

#[test]
fn images_that_are_not_there() {
    let scene = Scene::new().configured(&one_service(""));
    is_refused(&scene, &scene.production(), 1, "image-absent", &["acme/api:staging", "check the reference"]);
    scene.place(&small(1), "acme/api", &["other"]);
    is_refused(&scene, &scene.production(), 1, "image-absent", &["acme/api:staging"]);
    let by_digest =
        scene.production().input("image", &scene.filled(&format!("{{here}}/acme/api@{}", small(9).digest())));
    is_refused(&scene, &by_digest, 1, "image-absent", &[small(9).digest()]);
    // GHCR does not tell what is absent from what is forbidden.
    let ghcr = Registry::builder().auth(Auth::Token).user("ann", "s3cret").settings(Settings::ghcr()).start();
    let scene = Scene::with(ghcr, Registry::start()).configured(&one_service(""));
    let step = scene.production().input("registry-username", "ann").input("registry-password", "s3cret");
    is_refused(&scene, &step, 1, "image-denied", &["does not exist, or", "packages: read"]);
}

#[test]
fn nobody_believes_who_we_are() {
    for auth in [Auth::Basic, Auth::Token] {
        let here =
            Registry::builder().auth(auth).user("ann", "s3cret").user_with("bob", "hunter2", &[("*", "pull")]).start();
        let scene = Scene::with(here, Registry::start()).configured(&one_service(""));
        scene.place(&release(1), "acme/api", &["staging"]);
        let login = |user: &str, password: &str| {
            scene.production().input("registry-username", user).input("registry-password", password)
        };
        let fix = "`registry-username` and `registry-password`";
        is_refused(&scene, &login("ann", "wrong"), 1, "credentials-refused", &["acme/api:staging", fix]);
        is_refused(&scene, &login("nobody", "s3cret"), 1, "credentials-refused", &[fix]);
        // Who may read and not write gets as far as the tag.
        let snapshot = scene.snapshot();
        let visit = scene.visit(&login("bob", "hunter2"));
        visit.was_stopped(1, "push-denied", &["not permitted to write", "packages: write"]);
        assert_eq!(scene.snapshot(), snapshot);
        assert_eq!(scene.runs().last().unwrap().unsettled().count(), 0);
        scene.visit(&login("ann", "s3cret").env("GITHUB_RUN_ATTEMPT", "2")).succeeded();
        let nobody = scene.production().env("GITHUB_RUN_ID", "2");
        assert!(matches!(scene.visit(&nobody).output("reason-code"), "credentials-refused" | "image-denied"));
    }
}

#[test]
fn registries_that_answer_nonsense_or_nothing() {
    let all = "/v2/*";
    let (manifests, blobs) = ("/v2/acme/api/manifests/*", "/v2/acme/api/blobs/*");
    let answer = Action::Answer;
    for (method, path, action, reason, texts) in [
        (
            "*",
            all,
            answer(Answer::html(200)),
            "registry-nonsense",
            &["does not answer as a registry does", "login page"][..],
        ),
        (
            "*",
            all,
            answer(Answer::status(200).body("garbage")),
            "registry-nonsense",
            &["does not answer as a registry does"],
        ),
        ("*", all, answer(Answer::retry_after_seconds(0)), "registry-throttled", &["throttles", "tried: attempt 2"]),
        ("*", all, answer(Answer::ghcr_rate_limit()), "registry-throttled", &["throttles"]),
        ("*", all, answer(Answer::html(503)), "registry-failed", &["503", "tried: attempt 2"]),
        ("*", all, answer(Answer::status(500)), "registry-failed", &["500", "tried: attempt 2"]),
        ("*", all, Action::Drop, "registry-failed", &["connection broke", "tried: attempt 2"]),
        ("GET", manifests, Action::Corrupt, "digest-mismatch", &["its digest is", "do not trust this content"]),
        ("GET", manifests, Action::Truncate(20), "registry-failed", &["tried: attempt 2"]),
        ("GET", blobs, Action::Truncate(20), "registry-failed", &["tried: attempt 2"]),
        ("HEAD", manifests, Action::wrong_digest(), "image-absent", &["is not there"]),
    ] {
        let scene = Scene::new().configured(&one_service(""));
        scene.place(&release(1), "acme/api", &["staging"]);
        scene.here.fault(Rule::on(method, path).act(action));
        is_refused(&scene, &scene.production(), 1, reason, texts);
    }
    let scene = Scene::new().configured(&one_service(""));
    let nobody = format!("127.0.0.1:{}", testbed::free_port());
    let step = scene.production().input("image", &format!("{nobody}/acme/api:staging"));
    is_refused(&scene, &step, 1, "registry-unreachable", &[&nobody, "`localhost` is the container itself"]);
    let step = scene.production().input("image", "registry.acme.invalid/acme/api:staging");
    is_refused(&scene, &step, 1, "registry-unreachable", &["registry.acme.invalid"]);
    // It takes the connection, and then says nothing: only the deadline ends that.
    scene.place(&release(1), "acme/api", &["staging"]);
    scene.here.fault(Rule::on("*", all).act(Action::Hang));
    is_refused(&scene, &scene.production().input("timeout", "1s"), 1, "deadline-passed", &["the deadline has passed"]);
}

#[test]
fn content_that_is_not_what_it_says() {
    for (defect, layers, reason, text) in [
        (Defect::OversizeManifest, "headers", "manifest-too-large", "larger than 4194304 bytes"),
        (Defect::ManifestBytes, "headers", "digest-mismatch", "its digest is"),
        (Defect::ConfigNotJson, "headers", "check-failed", "consistent"),
        (Defect::MissingLayer, "deep", "image-absent", "cannot verify the layer"),
        (Defect::LayerBytes, "deep", "check-failed", "layers"),
        (Defect::TruncatedLayer, "deep", "check-failed", "layers"),
        (Defect::LayerSize, "deep", "registry-failed", "the content ended after"),
    ] {
        let configuration = one_service(&format!("validate: {{ layers: {layers} }}"));
        let here = Registry::builder().settings({
            let mut settings = Settings::default();
            settings.manifest_limit = 10 << 20;
            settings
        });
        let scene = Scene::with(here.start(), Registry::start()).configured(&configuration);
        scene.place(&Image::manifest("linux/amd64").layers(1, 300).defect(defect).build(), "acme/api", &["staging"]);
        is_refused(&scene, &scene.production(), 1, reason, &[text]);
    }
}

#[test]
fn half_a_blob_on_its_way_to_another_registry() {
    let configuration = one_service("repository: \"{there}/prod/{{ service }}\"");
    let scene = Scene::new().configured(&configuration);
    let image = release(1);
    scene.place(&image, "acme/api", &["staging"]);
    for action in [Action::Truncate(100), Action::Corrupt] {
        let layer = image.blobs().iter().max_by_key(|(_, bytes)| bytes.len()).unwrap().0;
        let fault = scene.here.fault(Rule::on("GET", &format!("/v2/acme/api/blobs/{layer}")).act(action));
        let visit = scene.visit_with_losses(&scene.production());
        assert!(matches!(visit.output("reason-code"), "registry-failed" | "digest-mismatch"), "{visit:?}");
        assert_eq!((visit.code, visit.output("failed-stage")), (Some(1), "copy"));
        assert!(scene.there.contents().tags("prod/api").is_empty());
        assert!(scene.there.contents().manifests("prod/api").is_empty());
        assert_eq!(scene.there.contents().blob("prod/api", layer), None);
        fault.remove();
    }
    // The next run brings what is missing.
    scene.visit(&scene.production().env("GITHUB_RUN_ATTEMPT", "3")).succeeded();
    assert_eq!(scene.there.contents().digest("prod/api", "production").as_deref(), Some(image.digest()));
}

#[test]
fn databases_that_cannot_be_reached_or_will_not_have_us() {
    let database = Postgres::shared().database();
    let scene = Scene::new().configured(&one_service(""));
    scene.place(&small(1), "acme/api", &["staging"]);
    let nobody = format!("postgres://ann:hunter22@127.0.0.1:{}/db", testbed::free_port());
    let wrong = database.url().replace(&format!("{}:", database.user()), "nobody:");
    let parts = |password: &str| {
        scene
            .production()
            .input("database-host", database.host())
            .input("database-port", &database.port().to_string())
            .input("database-user", database.user())
            .input("database-password", password)
            .input("database-name", database.name())
    };
    let other = database.url().replace(database.name(), "no_such_database");
    let file = scene.folder().join("file");
    for (step, reason, text) in [
        (
            scene.production().input("database-url", &nobody),
            "ledger-unreachable",
            "nothing is promoted that cannot be recorded",
        ),
        (scene.production().input("database-url", &wrong), "ledger-refused", "nobody"),
        (scene.production().input("database-url", &other), "ledger-refused", "no_such_database"),
        (parts("wrong-password"), "ledger-refused", "password authentication failed"),
        (
            scene.production().input("database-url", &format!("sqlite:{}/x.sqlite", file.display())),
            "ledger-refused",
            "file",
        ),
    ] {
        std::fs::create_dir_all(scene.folder()).unwrap();
        std::fs::write(&file, "in the way").unwrap();
        let visit = scene.visit(&step);
        visit.was_stopped(3, reason, &[text]);
        assert!(visit.duration < Duration::from_secs(10), "{:?}", visit.duration);
        for secret in ["hunter22", "wrong-password", database.password()] {
            assert_eq!(visit.places_with(secret), Vec::<String>::new());
        }
        assert!(visit.summary().contains("Nothing was begun"));
        assert_eq!(scene.seen(), 0);
    }
    assert_eq!(scene.tag("acme/api", "production"), None);
    let visit = scene.finish(parts(database.password()).start());
    visit.succeeded();
}

#[test]
fn a_workspace_that_cannot_be_written() {
    let scene = Scene::new();
    scene.place(&small(1), "acme/api", &["staging"]);
    let file = scene.step().file("in-the-way", "x").workspace().join("in-the-way");
    let step = scene.plain("{here}/acme/api:staging", "production").env("GITHUB_WORKSPACE", file.to_str().unwrap());
    let visit = scene.finish(step.start());
    visit.was_stopped(2, "workspace-unwritable", &["in-the-way/.tidegate", "run the container as root"]);
    assert_eq!((scene.seen(), scene.tag("acme/api", "production")), (0, None));
}

#[test]
fn runners_files_that_cannot_be_written_do_not_undo_a_promotion_but_are_told() {
    for name in ["GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"] {
        let scene = Scene::new();
        scene.place(&small(1), "acme/api", &["staging"]);
        let step = scene.plain("{here}/acme/api:staging", "production").env(name, "/nonexistent/file");
        let finished = step.run();
        assert_eq!(finished.code, Some(1), "{finished}");
        assert!(finished.annotations("warning").join("").contains("cannot be written"), "{finished}");
        assert_eq!(scene.tag("acme/api", "production").as_deref(), Some(small(1).digest()));
        assert!(scene.run().ended.is_some());
    }
}
