//! The driver `lambda`, judged by moto: what others have made of AWS's published API takes every request.

use testbed::fault::{Action, Answer, Rule};
use testbed::lambda::Lambda;
use testbed::moto::{EMPTY_ZIP, Moto, REGION, ROLE};
use testbed::runner::Runner;

use crate::scene::Scene;

/// A zip file without files, and with a comment that tells one from another.
fn package(comment: u8) -> Vec<u8> {
    let mut zip = EMPTY_ZIP.to_vec();
    zip[20] = 1;
    zip.push(comment);
    zip
}

#[test]
fn moto_takes_every_request_of_a_deployment() {
    let moto = Moto::start();
    moto.can_invoke();
    moto.function("job-production", &EMPTY_ZIP);
    let keys = "        credentials: { access-key-id: \"${KEY_ID}\", secret-access-key: \"${KEY}\" }\n";
    let scene = Scene::new();
    let configure = |who: &str| {
        scene.configure(&format!(
            "version: 1
services:
  job: {{}}
environments:
  production:
    deploy:
      lambda:
        function: \"job-{{{{ environment }}}}\"
        alias: live
        region: {REGION}
        endpoint: \"{}\"
        package: {{ file: build/job.zip }}
        shift: {{ steps: [10%, 50%], every: 10ms }}
        payload: {{ check: true }}
{who}    health:
      retries: 1
      probes:
        job:
          lambda: \"job-{{{{ environment }}}}\"
          qualifier: live
          region: {REGION}
          endpoint: \"{}\"
          credentials: {{ access-key-id: \"${{KEY_ID}}\", secret-access-key: \"${{KEY}}\" }}
retry: {{ attempts: 2, initial: 5ms, max: 10ms }}
",
            moto.url(),
            moto.url()
        ));
    };
    let step = |run: &str, comment: u8| -> Runner {
        scene
            .production()
            .env("GITHUB_RUN_ID", run)
            .env("KEY_ID", "AKIDOFMOTO")
            .env("KEY", "a-key-that-nobody-checks")
            .file("build/job.zip", package(comment))
    };
    configure(keys);
    scene.visit(&step("1", b'1')).succeeded();
    assert_eq!(moto.look("/job-production/aliases/live")["FunctionVersion"], "1");
    scene.visit(&step("2", b'2')).succeeded();
    let alias = moto.look("/job-production/aliases/live");
    assert_eq!(alias["FunctionVersion"], "2", "{alias}");
    let shares = alias["RoutingConfig"]["AdditionalVersionWeights"].as_object().map_or(0, serde_json::Map::len);
    assert_eq!(shares, 0, "all of the traffic goes there: {alias}");
    // A role is taken on with the job's token, which is asked for as GitHub gives it.
    let tokens = Lambda::start();
    let token = Answer::status(200).header("content-type", "application/json").body("{\"value\":\"eyJ.made.up\"}");
    tokens.fault(Rule::on("GET", "*").act(Action::Answer(token)));
    configure(&format!("        role: {ROLE}\n"));
    let with_token = step("3", b'3')
        .env("ACTIONS_ID_TOKEN_REQUEST_URL", &format!("{}/token?api-version=2.0", tokens.url()))
        .env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "the-jobs-own");
    let visit = scene.visit(&with_token);
    visit.succeeded();
    assert!(tokens.log()[0].target.contains("audience=sts.amazonaws.com"), "{:?}", tokens.log());
    assert_eq!(moto.look("/job-production/aliases/live")["FunctionVersion"], "3");
    // Nothing was refused but the look for an alias that was not there yet.
    let log = moto.log();
    let refused: Vec<&str> = log.lines().filter(|line| line.contains("\" 4") || line.contains("\" 5")).collect();
    assert!(refused.iter().all(|line| line.contains("/aliases/live")), "{refused:#?}");
    scene.assert_sound();
}
