//! The driver `http`: a deployment API.

use testbed::deployment_api::{Conduct, DeploymentApi};
use testbed::fault::{Action, Answer, Rule};
use testbed::runner::Runner;
use tidegate::promotion::state::State;

use crate::scene::{Scene, small};

/// A site without an image, with its registration and mode; the version comes from the input.
const SITE: &str = r#"version: 1
services:
  site: {}
environments:
  dev:
    deploy:
      http:
        bearer: "${API_TOKEN}"
        promote:
          url: "{api}/sites/{{ vars.site }}/promotions"
          json: { version: "{{ version }}", mode: "{{ mode }}", registration: "{{ vars.site_registration_id }}", by: "{{ requestor }}" }
        rollback:
          url: "{api}/sites/{{ vars.site }}/rollbacks"
          json: { version: "{{ version }}" }
        status:
          url: "{api}/promotions/{{ response.id }}"
          every: 20ms
          timeout: 5s
          state: /status
          success: [COMPLETED]
          failure: [FAILED, CANCELLED]
          version: /version
          message: /message
        running: { url: "{api}/sites/{{ vars.site }}", version: /version }
        cancel: { method: DELETE, url: "{api}/promotions/{{ response.id }}" }
retry: { attempts: 3, initial: 5ms, max: 10ms }
"#;

const TOKEN: &str = "a-token-of-the-api";

struct Site {
    api: DeploymentApi,
    scene: Scene,
}

impl Site {
    fn new(change: impl Fn(String) -> String) -> Self {
        let api = DeploymentApi::guarded(None, |authorization| authorization == Some(&format!("Bearer {TOKEN}")));
        let scene = Scene::new().configured(&change(SITE.to_owned()).replace("{api}", &api.url()));
        Self { api, scene }
    }

    /// A promotion of a version, in a workflow run of its own.
    fn step(&self, run: &str, version: &str) -> Runner {
        self.scene
            .step()
            .input("environment", "dev")
            .input("version", version)
            .input("mode", "full")
            .input("variables", "site=example_site\nsite_registration_id=12345")
            .env("API_TOKEN", TOKEN)
            .env("GITHUB_RUN_ID", run)
    }

    fn runs(&self) -> Option<String> {
        self.api.version("example_site")
    }
}

#[test]
fn a_site_is_promoted_and_its_status_followed() {
    let site = Site::new(|text| text);
    let visit = site.scene.visit(&site.step("1", "1.0.0"));
    visit.succeeded();
    assert_eq!(site.runs().as_deref(), Some("1.0.0"));
    let asked = site.api.asked();
    let [one] = asked.as_slice() else { panic!("{asked:?}") };
    assert_eq!(one.body["mode"], "full");
    assert_eq!(one.body["registration"], "12345");
    assert_eq!(one.body["by"], "octocat");
    let run = site.scene.run();
    assert!(one.key.starts_with(&format!("{}.site.", run.id)), "{}", one.key);
    assert_eq!(one.fence, 1);
    let deployed = run.candidates[0].deployed.clone().unwrap();
    assert_eq!(deployed.version.as_deref(), Some("1.0.0"));
    assert_eq!(deployed.state.as_deref(), Some("COMPLETED"));
    assert_eq!(deployed.message.as_deref(), Some("1.0.0 of example_site is COMPLETED"));
    site.scene.assert_sound();
}

#[test]
fn the_api_may_choose_the_version() {
    let site = Site::new(|text| {
        text.replace("version: \"{{ version }}\", mode", "mode")
            .replace("/rollbacks\"\n          json: { version: \"{{ version }}\" }", "/rollbacks\"")
    });
    let visit = site.scene.visit(&site.step("1", ""));
    visit.succeeded();
    assert_eq!(site.runs().as_deref(), Some("example_site-1"));
    let run = site.scene.run();
    assert_eq!(run.candidates[0].deployed.clone().unwrap().version.as_deref(), Some("example_site-1"));
}

#[test]
fn what_fails_is_put_back_by_name() {
    let site = Site::new(|text| text);
    site.scene.visit(&site.step("1", "1.0.0")).succeeded();
    site.api.conduct(Conduct::Fails(1));
    let visit = site.scene.visit(&site.step("2", "2.0.0"));
    // The API fails the rollback, too.
    visit.was_stopped(5, "deployment-failed", &["FAILED", "2.0.0 of example_site is FAILED"]);
    let asked: Vec<(String, bool)> = site.api.asked().into_iter().map(|one| (one.version, one.rollback)).collect();
    assert_eq!(asked, [("1.0.0".to_owned(), false), ("2.0.0".to_owned(), false), ("1.0.0".to_owned(), true)]);
    site.api.conduct(Conduct::Completes(0));
    site.scene.visit(&site.step("3", "3.0.0")).succeeded();
    site.scene.assert_sound();
}

#[test]
fn a_status_that_never_ends_is_cancelled_and_taken_back() {
    let site = Site::new(|text| text.replace("timeout: 5s", "timeout: 200ms"));
    site.scene.visit(&site.step("1", "1.0.0")).succeeded();
    site.api.conduct(Conduct::Hangs);
    let visit = site.scene.visit(&site.step("2", "2.0.0"));
    visit.was_stopped(5, "deployment-timed-out", &["did not end within 200ms", "RUNNING"]);
    assert!(site.api.asked().iter().skip(1).all(|one| one.status == "CANCELLED"));
    assert_eq!(site.runs().as_deref(), Some("1.0.0"));
}

#[test]
fn an_api_that_lies_is_found_out() {
    let site = Site::new(|text| text);
    site.scene.visit(&site.step("1", "1.0.0")).succeeded();
    site.api.conduct(Conduct::Lies);
    let visit = site.scene.visit(&site.step("2", "2.0.0"));
    // What runs is the one from before, so that putting it back is a lie that does no harm.
    visit.was_stopped(4, "running-differs", &["version 1.0.0"]);
    assert_eq!(site.scene.runs()[1].state, State::RolledBack);
}

#[test]
fn nothing_is_changed_by_what_is_refused() {
    for (rule, exit, reason, text) in [
        (Rule::on("POST", "*").act(Action::Answer(Answer::status(403))), 1, "driver-denied", "403"),
        (Rule::on("POST", "*").act(Action::Answer(Answer::status(404))), 1, "driver-absent", "404"),
        (Rule::on("POST", "*").act(Action::Answer(Answer::status(422))), 1, "deployment-failed", "422"),
        (Rule::on("POST", "*").act(Action::Answer(Answer::status(503))), 1, "driver-failed", "503"),
        (Rule::on("POST", "*").act(Action::Answer(Answer::status(302))), 1, "driver-nonsense", "302"),
    ] {
        let site = Site::new(|text| text);
        site.api.fault(rule);
        let visit = site.scene.visit(&site.step("1", "1.0.0"));
        visit.was_stopped(exit, reason, &[text]);
        assert_eq!(site.runs(), None);
        site.scene.assert_sound();
    }
    let site = Site::new(|text| text);
    site.scene.visit(&site.step("1", "1.0.0").env("API_TOKEN", "wrong")).was_stopped(1, "driver-refused", &["401"]);
}

#[test]
fn what_may_have_been_done_is_not_done_again() {
    let html = Answer::status(200).header("content-type", "text/html").body("<!doctype html><title>Log in</title>");
    for (rule, text) in [
        (Rule::on("POST", "*").nth(1).act(Action::LoseAnswer), "whether the deployment was begun is not known"),
        (Rule::on("POST", "*").nth(1).act(Action::Disguise(Answer::status(502))), "502"),
        (Rule::on("POST", "*").nth(1).act(Action::Answer(html)), "a page for people"),
        (Rule::on("POST", "*").nth(1).act(Action::Disguise(Answer::status(200).body("{}"))), "without `id`"),
    ] {
        let site = Site::new(|text| text);
        site.api.fault(rule);
        let visit = site.scene.visit(&site.step("1", "1.0.0"));
        visit.was_stopped(6, "deployment-uncertain", &[text]);
        assert_eq!(visit.output("state"), "inconclusive");
        assert!(site.api.asked().len() <= 1);
        site.scene.assert_sound();
    }
}

#[test]
fn an_api_that_knows_its_keys_is_asked_again() {
    let site = Site::new(|text| text.replace("bearer:", "idempotent: true\n        bearer:"));
    site.api.fault(Rule::on("POST", "*").nth(1).act(Action::LoseAnswer));
    site.scene.visit(&site.step("1", "1.0.0")).succeeded();
    assert_eq!(site.api.asked().len(), 1);
}

#[test]
fn an_error_inside_a_success_is_a_failure() {
    let site = Site::new(|text| text);
    let error =
        Answer::status(200).header("content-type", "application/json").body("{\"error\":\"no such registration\"}");
    site.api.fault(Rule::on("POST", "*").nth(1).act(Action::Answer(error)));
    let visit = site.scene.visit(&site.step("1", "1.0.0"));
    visit.was_stopped(1, "deployment-failed", &["no such registration"]);
}

#[test]
fn looks_that_fail_are_borne() {
    let site = Site::new(|text| text);
    site.api.fault(Rule::on("GET", "/promotions/*").times(2).act(Action::Answer(Answer::status(500))));
    site.api.fault(Rule::on("GET", "/promotions/*").skip(2).times(1).act(Action::Drop));
    site.scene.visit(&site.step("1", "1.0.0")).succeeded();
}

#[test]
fn an_image_is_named_by_its_digest() {
    let api = DeploymentApi::start();
    let configuration = r#"version: 1
services:
  api: { image: "{here}/acme/api" }
environments:
  staging: { tag: staging }
  production:
    from: staging
    tag: production
    deploy:
      http:
        promote: { url: "{api}/sites/api/promotions", form: { version: "{{ digest }}", was: "{{ previous_digest }}" } }
        status: { url: "{api}/promotions/{{ response.id }}", every: 10ms, state: /status, success: [completed], failure: [failed] }
        running: { url: "{api}/sites/api", digest: /version }
"#;
    let scene = Scene::new().configured(&configuration.replace("{api}", &api.url()));
    scene.place(&small(8), "acme/api", &["production"]);
    scene.place(&small(1), "acme/api", &["staging"]);
    scene.visit(&scene.production()).succeeded();
    assert_eq!(api.version("api").as_deref(), Some(small(1).digest()));
    assert_eq!(api.asked()[0].body["was"], small(8).digest());
}
