//! The driver `lambda`: against a stand-in that holds to what AWS promises.

use serde_json::json;
use testbed::fault::{Action, Answer, Rule};
use testbed::lambda::{KEY, Lambda};
use testbed::runner::Runner;

use crate::scene::{Scene, small};

const CONFIGURATION: &str = r#"version: 1
services:
  api: { image: "{here}/acme/api" }
environments:
  staging: { tag: staging }
  production:
    from: staging
    tag: production
    deploy:
      lambda:
        function: lambda-function-production
        alias: live
        region: eu-west-1
        endpoint: "{lambda}"
        payload: { check: "{{ environment }}" }
        expect: { "$.ok": true }
retry: { attempts: 4, initial: 5ms, max: 20ms }
"#;

struct Place {
    lambda: Lambda,
    scene: Scene,
}

impl Place {
    fn new(change: impl Fn(String) -> String) -> Self {
        let lambda = Lambda::start();
        let scene = Scene::new().configured(&change(CONFIGURATION.to_owned()).replace("{lambda}", &lambda.url()));
        lambda.image_function("lambda-function-production", &image(&scene, 9));
        scene.place(&small(1), "acme/api", &["staging"]);
        Self { lambda, scene }
    }

    fn step(&self, run: &str) -> Runner {
        self.scene
            .production()
            .env("AWS_ACCESS_KEY_ID", KEY)
            .env("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI-EXAMPLE")
            .env("GITHUB_RUN_ID", run)
    }

    fn alias(&self) -> Option<String> {
        self.lambda.alias("lambda-function-production", "live")
    }
}

fn image(scene: &Scene, number: u64) -> String {
    format!("{}/acme/api@{}", scene.here.host(), small(number).digest())
}

#[test]
fn a_function_gets_its_image_and_its_alias_moves() {
    let place = Place::new(|text| text);
    place.lambda.takes(1);
    place.scene.visit(&place.step("1")).succeeded();
    assert_eq!(place.alias().as_deref(), Some("1"));
    assert_eq!(place.lambda.image("lambda-function-production"), Some(image(&place.scene, 1)));
    let deployed = place.scene.run().candidates[0].deployed.clone().unwrap();
    assert_eq!(deployed.running[0].version.as_deref(), Some("1"));
    assert_eq!(deployed.running[0].digest.as_ref().unwrap().as_str(), small(1).digest());
    place.scene.place(&small(2), "acme/api", &["staging"]);
    place.scene.visit(&place.step("2")).succeeded();
    assert_eq!((place.alias().as_deref(), place.lambda.versions("lambda-function-production")), (Some("2"), 2));
    place.scene.assert_sound();
}

#[test]
fn code_that_fails_when_it_is_tried_gets_no_traffic() {
    let place = Place::new(|text| text);
    place.scene.visit(&place.step("1")).succeeded();
    place.scene.place(&small(2), "acme/api", &["staging"]);
    place.lambda.break_image(&image(&place.scene, 2));
    let visit = place.scene.visit(&place.step("2"));
    visit.was_stopped(4, "deployment-failed", &["fails when it is invoked (Unhandled)", "it broke"]);
    assert_eq!(place.alias().as_deref(), Some("1"));
    assert_eq!(place.scene.tag("acme/api", "production").as_deref(), Some(small(1).digest()));
    place.scene.place(&small(3), "acme/api", &["staging"]);
    place.lambda.answers(json!({ "ok": false }));
    place.scene.visit(&place.step("3")).was_stopped(4, "deployment-failed", &["does not answer true at `$.ok`"]);
    assert_eq!(place.alias().as_deref(), Some("1"));
    place.scene.assert_sound();
}

#[test]
fn traffic_moves_in_steps() {
    let place = Place::new(|text| {
        text.replace("alias: live", "alias: live\n        shift: { steps: [10%, 50%], every: 10ms }")
    });
    place.scene.visit(&place.step("1")).succeeded();
    place.scene.place(&small(2), "acme/api", &["staging"]);
    place.scene.visit(&place.step("2")).succeeded();
    assert_eq!(place.lambda.shares(), [("2".to_owned(), 0.1), ("2".to_owned(), 0.5)]);
    assert_eq!(place.alias().as_deref(), Some("2"));
}

#[test]
fn what_was_tested_in_one_function_is_what_runs_in_the_other() {
    let configuration = r#"version: 1
services:
  job: {}
environments:
  production:
    deploy:
      lambda:
        function: job-production
        alias: live
        region: eu-west-1
        endpoint: "{lambda}"
        package: { function: job-staging }
"#;
    let lambda = Lambda::start();
    lambda.zip_function("job-staging", b"the tested package");
    lambda.zip_function("job-production", b"an old package");
    let scene = Scene::new().configured(&configuration.replace("{lambda}", &lambda.url()));
    let step = scene.production().env("AWS_ACCESS_KEY_ID", KEY).env("AWS_SECRET_ACCESS_KEY", "x-secret-key");
    scene.visit(&step).succeeded();
    assert_eq!(lambda.alias("job-production", "live").as_deref(), Some("1"));
    let deployed = scene.run().candidates[0].deployed.clone().unwrap();
    let digest = tidegate::promotion::digest::Digest::sha256(b"the tested package");
    assert_eq!(deployed.running[0].digest.as_ref(), Some(&digest));
    // A package of the workspace, and one that is not there.
    let package = |path: &str| {
        configuration.replace("function: job-staging", &format!("file: {path}")).replace("{lambda}", &lambda.url())
    };
    scene.configure(&package("build/job.zip"));
    let step = step.env("GITHUB_RUN_ID", "2");
    scene.visit(&step).was_stopped(1, "driver-absent", &["build/job.zip"]);
    let step = step.env("GITHUB_RUN_ID", "3").file("build/job.zip", "a newer package");
    scene.visit(&step).succeeded();
    assert_eq!(lambda.alias("job-production", "live").as_deref(), Some("2"));
}

#[test]
fn somebody_else_is_noticed() {
    let place = Place::new(|text| text);
    place.scene.visit(&place.step("1")).succeeded();
    place.scene.place(&small(2), "acme/api", &["staging"]);
    let lambda = std::sync::Arc::new(place.lambda);
    let meddler = std::sync::Arc::downgrade(&lambda);
    let meddle = Action::call(move || {
        if let Some(lambda) = meddler.upgrade() {
            lambda.meddle("lambda-function-production");
        }
    });
    lambda.fault(Rule::on("PUT", "*/code").nth(1).act(meddle));
    let step = place.scene.production().env("AWS_ACCESS_KEY_ID", KEY).env("AWS_SECRET_ACCESS_KEY", "x-secret-key");
    let visit = place.scene.visit(&step.env("GITHUB_RUN_ID", "2"));
    visit.was_stopped(4, "deployment-failed", &["PreconditionFailedException"]);
    assert_eq!(lambda.alias("lambda-function-production", "live").as_deref(), Some("1"));
}

#[test]
fn what_passes_is_borne_and_what_does_not_is_told() {
    let place = Place::new(|text| text);
    place.lambda.fault(Rule::on("*", "*").times(2).act(Action::Answer(Answer::status(503))));
    place.lambda.fault(Rule::on("PUT", "*/code").nth(1).act(Action::LoseAnswer));
    place.scene.visit(&place.step("1")).succeeded();
    let wrong = place.step("3").env("AWS_ACCESS_KEY_ID", "AKIDWRONG");
    place.scene.place(&small(2), "acme/api", &["staging"]);
    place.scene.visit(&wrong).was_stopped(4, "driver-refused", &["UnrecognizedClientException"]);
    assert_eq!(place.scene.tag("acme/api", "production").as_deref(), Some(small(1).digest()));
    let none = place.scene.production().env("GITHUB_RUN_ID", "4");
    place.scene.visit(&none).was_stopped(1, "driver-refused", &["there are no credentials of AWS"]);
}
