//! A deployment API behind a real OAuth 2 server.

use testbed::channels::Channels;
use testbed::deployment_api::{Conduct, DeploymentApi};
use testbed::fault::{Action, Answer, Rule};
use testbed::oauth::{BY_BODY, BY_HEADER, OauthServer};
use testbed::runner::Runner;

use crate::scene::Scene;

/// A secret that is another one where it is not encoded.
const SECRET: &str = "p@ss:w/rd+1 %41";

struct Site {
    _oauth: Option<OauthServer>,
    api: DeploymentApi,
    scene: Scene,
}

impl Site {
    fn new(lifetime: u32, change: impl Fn(String) -> String) -> Self {
        let oauth = OauthServer::start(SECRET, lifetime);
        let api = DeploymentApi::guarded(None, oauth.judge());
        let example = std::fs::read_to_string("examples/deploy-http/.github/tidegate.yml").unwrap();
        let text = example
            .replace("https://id.acme.test/token", &oauth.token_url())
            .replace("https://deploy.acme.test", &api.url())
            .replace("every: 5s", "every: 20ms");
        let scene = Scene::new().configured(&change(text));
        Self { _oauth: Some(oauth), api, scene }
    }

    fn step(&self, run: &str, client: &str, secret: &str) -> Runner {
        self.scene
            .step()
            .input("environment", "dev")
            .input("version", &format!("{run}.0.0"))
            .input("variables", "site=example_site\nsite_registration_id=12345")
            .env("OAUTH_CLIENT_ID_DEV", client)
            .env("OAUTH_CLIENT_SECRET_DEV", secret)
            .env("GITHUB_RUN_ID", run)
    }
}

#[test]
fn the_example_runs_as_it_stands() {
    let site = Site::new(600, |text| text);
    let visit = site.scene.visit(&site.step("1", BY_HEADER, SECRET));
    visit.succeeded();
    assert_eq!(site.api.version("example_site").as_deref(), Some("1.0.0"));
    assert_eq!(site.api.asked()[0].body["site_registration_id"], "12345");
    // One token for the whole run, and neither it nor the secret is shown anywhere.
    let shown = format!("{visit:?}");
    assert!(!shown.replace("::add-mask::", "").contains("Bearer ey"), "{shown}");
    site.scene.visit(&site.step("2", BY_HEADER, "wrong")).was_stopped(1, "driver-refused", &["invalid_client"]);
}

#[test]
fn the_secret_goes_where_the_client_is_registered_for() {
    let in_body = |text: String| {
        text.replace(
            "client-secret:",
            "client-authentication: body\n          scopes: [deploy]\n          client-secret:",
        )
    };
    let site = Site::new(600, in_body);
    site.scene.visit(&site.step("1", BY_BODY, SECRET)).succeeded();
    site.scene.visit(&site.step("2", BY_HEADER, SECRET)).was_stopped(1, "driver-refused", &["client-authentication"]);
}

#[test]
fn a_token_that_ends_early_is_asked_for_again() {
    let site = Site::new(600, |text| text);
    site.api.conduct(Conduct::Completes(4));
    // The API forgets the token in the middle of the deployment.
    site.api.fault(Rule::on("GET", "/promotions/*").nth(2).act(Action::Answer(Answer::status(401))));
    site.scene.visit(&site.step("1", BY_HEADER, SECRET)).succeeded();
    // Tokens that live for a second or two, in a deployment that takes longer.
    let short = Site::new(2, |text| text.replace("every: 20ms", "every: 700ms"));
    short.api.conduct(Conduct::Completes(5));
    short.scene.visit(&short.step("1", BY_HEADER, SECRET)).succeeded();
}

#[test]
fn a_token_endpoint_that_is_away_for_a_while_is_borne_and_one_that_stays_away_changes_nothing() {
    let token = || {
        let body = "{\"access_token\":\"made-up\",\"token_type\":\"Bearer\",\"expires_in\":600}";
        Action::Answer(Answer::status(200).header("content-type", "application/json").body(body))
    };
    let away = || Action::Answer(Answer::status(503));
    let place = |failures: u32| {
        let tokens = Channels::start();
        tokens.fault(Rule::on("POST", "/token").times(failures).act(away()));
        tokens.fault(Rule::on("POST", "/token").act(token()));
        let api = DeploymentApi::guarded(None, |header| header == Some("Bearer made-up"));
        let example = std::fs::read_to_string("examples/deploy-http/.github/tidegate.yml").unwrap();
        let text = example
            .replace("https://id.acme.test/token", &format!("{}/token", tokens.url()))
            .replace("https://deploy.acme.test", &api.url())
            .replace("every: 5s", "every: 20ms");
        let scene = Scene::new().configured(&format!("{text}retry: {{ attempts: 6, initial: 5ms, max: 20ms }}\n"));
        (tokens, Site { _oauth: None, api, scene })
    };
    let (tokens, site) = place(4);
    site.scene.visit(&site.step("1", BY_HEADER, SECRET)).succeeded();
    assert_eq!(tokens.log().len(), 5);
    let (_tokens, site) = place(1_000);
    let visit = site.scene.visit(&site.step("1", BY_HEADER, SECRET));
    visit.was_stopped(1, "driver-failed", &["503"]);
    assert!(site.api.asked().is_empty());
}
