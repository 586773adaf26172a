//! A runner that dies while a driver works: whoever comes next finds what was done, and nothing is deployed twice.

use std::sync::Arc;

use testbed::deployment_api::DeploymentApi;
use testbed::lambda::{KEY, Lambda};
use testbed::runner::Runner;

use crate::scene::{Scene, small};

/// A place to deploy in.
struct Place {
    scene: Scene,
    change: Box<dyn Fn(Runner) -> Runner>,
    /// How often it was deployed, and what runs.
    deployed: Box<dyn Fn() -> (usize, Option<String>)>,
}

impl Place {
    /// A promotion of the first version by this `deploy:`.
    fn new(
        deploy: &str,
        change: impl Fn(Runner) -> Runner + 'static,
        deployed: impl Fn() -> (usize, Option<String>) + 'static,
    ) -> Self {
        let deploy: String = deploy.lines().map(|line| format!("      {line}\n")).collect();
        let scene = Scene::new().configured(&format!(
            "version: 1\nservices:\n  api: {{ image: \"{{here}}/acme/api\" }}\nenvironments:\n  staging: {{ tag: staging }}\n  \
             production:\n    from: staging\n    tag: production\n    deploy:\n{deploy}retry: {{ attempts: 3, initial: 5ms, max: 10ms }}\n"
        ));
        scene.place(&small(1), "acme/api", &["staging"]);
        Self { scene, change: Box::new(change), deployed: Box::new(deployed) }
    }

    fn step(&self) -> Runner {
        (self.change)(self.scene.production())
    }
}

/// Kills it at each of these places, spread over the last `of` ones whose name begins with `kind`. Where the outcome of a
/// call may not be known, `certain` is false: then that is said, and nothing is done again.
fn dies_anywhere(make: impl Fn() -> Place, kind: &str, of: usize, every: usize, certain: bool) {
    let like = make();
    let log = like.scene.step().workspace().join("crash.log");
    like.scene.visit(&like.step().env("TIDEGATE_CRASH_LOG", log.to_str().unwrap())).succeeded();
    let (times, runs) = (like.deployed)();
    assert_eq!(times, 1);
    let text = std::fs::read_to_string(log).unwrap();
    let points: Vec<usize> =
        text.lines().enumerate().filter(|(_, line)| line.contains(kind)).map(|(place, _)| place + 1).collect();
    let mut finished = 0;
    for point in points.iter().rev().take(of).step_by(every) {
        let place = make();
        let killed = place.scene.finish(place.step().env("TIDEGATE_CRASH_AT", &point.to_string()).start());
        assert!(!killed.is_success(), "{point}: {killed:?}");
        let visit = place.scene.finish(place.step().env("GITHUB_RUN_ATTEMPT", "2").start());
        let (times, now) = (place.deployed)();
        assert!(times <= 1, "deployed {times} times after it was killed at {point}: {visit:?}");
        if !certain && !visit.is_success() {
            visit.was_stopped(6, "deployment-uncertain", &[]);
        } else {
            visit.succeeded();
            assert_eq!((times, &now), (1, &runs), "{point}");
            finished += 1;
        }
        place.scene.assert_sound();
    }
    assert!(finished >= 2, "it was never finished: {text}");
}

fn http(idempotent: bool) -> Place {
    let api = Arc::new(DeploymentApi::start());
    let url = api.url();
    let deploy = format!(
        "http:\n  idempotent: {idempotent}\n  promote: {{ url: \"{url}/sites/api/promotions\", json: {{ version: \"{{{{ digest }}}}\" }} }}\n  \
         status: {{ url: \"{url}/promotions/{{{{ response.id }}}}\", every: 10ms, state: /status, success: [COMPLETED], failure: [FAILED] }}\n  \
         running: {{ url: \"{url}/sites/api\", digest: /version }}\n"
    );
    Place::new(&deploy, |step| step, move || (api.asked().len(), api.version("api")))
}

#[test]
fn a_deployment_api_is_never_asked_twice() {
    dies_anywhere(|| http(false), "http", 12, 2, false);
}

#[test]
fn a_deployment_api_that_knows_its_keys_always_ends_well() {
    dies_anywhere(|| http(true), "http", 12, 3, true);
}

#[test]
fn a_function_gets_its_code_once() {
    let make = || {
        let lambda = Arc::new(Lambda::start());
        lambda.image_function("api", "acme/api@sha256:00");
        let deploy =
            format!("lambda:\n  function: api\n  alias: live\n  region: eu-west-1\n  endpoint: \"{}\"\n", lambda.url());
        let known = |step: Runner| step.env("AWS_ACCESS_KEY_ID", KEY).env("AWS_SECRET_ACCESS_KEY", "a-secret-key");
        Place::new(&deploy, known, move || {
            let updates =
                lambda.log().iter().filter(|one| one.method == "PUT" && one.path().ends_with("/code")).count();
            assert!(lambda.versions("api") <= 1);
            (updates, lambda.alias("api", "live"))
        })
    };
    dies_anywhere(make, "http", 24, 5, true);
}

#[test]
fn a_program_is_not_run_again_that_has_done_it() {
    let make = || {
        let deploy =
            "command:\n  run: [sh, deploy.sh, \"{{ digest }}\"]\n  running: [sh, running.sh]\n  timeout: 20s\n";
        let scripts = |step: Runner| {
            step.file("deploy.sh", "set -eu\nprintf %s \"$1\" >new\nmv new runs\necho done >>log\n")
                .file("running.sh", "cat runs 2>/dev/null || true\n")
        };
        let mut place = Place::new(deploy, scripts, || (0, None));
        let workspace = place.scene.step().workspace();
        place.deployed = Box::new(move || {
            let log = std::fs::read_to_string(workspace.join("log")).unwrap_or_default();
            (log.lines().count(), std::fs::read_to_string(workspace.join("runs")).ok())
        });
        place
    };
    dies_anywhere(make, "process", 12, 2, true);
}
