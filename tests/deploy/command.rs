//! The driver `command`: programs of the workspace, which keep what they have deployed in a file.

use tidegate::promotion::act::{Act, Outcome};
use tidegate::promotion::run::Run;
use tidegate::promotion::state::State;

use crate::scene::{Scene, release, small};

/// Deploys into a file named like the service, unless it is told to fail.
const PROGRAM: &str = r#"
set -eu
service=$1 digest=$2
if [ -e "fail-$service" ]; then
  echo "half $digest" >"state-$service"
  echo "$service is not feeling well" >&2
  exit 3
fi
echo "$digest" >"state-$service"
echo "$service $digest" >>order
[ ! -e lie ] || echo other >"state-$service"
echo "done with $service"
"#;

const ONE: &str = r#"version: 1
services:
  api: { image: "{here}/acme/api" }
environments:
  staging: { tag: staging }
  production:
    from: staging
    tag: production
    deploy:
      command:
        run: [sh, deploy.sh, "{{ service }}", "{{ digest }}"]
        running: [sh, -c, "cat \"state-$1\" 2>/dev/null || true", running, "{{ service }}"]
retry: { attempts: 3, initial: 5ms, max: 10ms }
"#;

fn scene(configuration: &str) -> Scene {
    let scene = Scene::new().configured(configuration);
    let _ = scene.step().file("deploy.sh", PROGRAM);
    scene
}

fn state(scene: &Scene, service: &str) -> String {
    let text = std::fs::read_to_string(scene.step().workspace().join(format!("state-{service}"))).unwrap_or_default();
    text.trim().to_owned()
}

fn put(scene: &Scene, file: &str) {
    std::fs::write(scene.step().workspace().join(file), "").unwrap();
}

fn remove(scene: &Scene, file: &str) {
    std::fs::remove_file(scene.step().workspace().join(file)).unwrap();
}

fn deployments(run: &Run) -> Vec<(&'static str, bool)> {
    let deploys = |act: &Act| matches!(act, Act::Deploy { .. } | Act::RollBackDeployment { .. });
    let done = |outcome: Option<&Outcome>| outcome.is_some_and(Outcome::is_done);
    let all = run.intents.values().filter(|one| deploys(&one.act));
    all.map(|one| (one.act.name(), done(one.outcome.as_ref()))).collect()
}

fn number(scene: &Scene, run_id: &str) -> testbed::runner::Runner {
    scene.production().env("GITHUB_RUN_ID", run_id)
}

#[test]
fn a_release_is_deployed_and_what_runs_is_known() {
    let scene = scene(ONE);
    scene.place(&release(1), "acme/api", &["staging"]);
    let visit = scene.visit(&scene.production());
    visit.succeeded();
    assert_eq!(state(&scene, "api"), release(1).digest());
    let run = scene.run();
    assert_eq!(deployments(&run), [("deploy", true)]);
    let deployed = run.candidates[0].deployed.clone().unwrap();
    assert_eq!(deployed.running[0].digest.as_ref().unwrap().as_str(), release(1).digest());
    // Its log has what the program said.
    let log = scene.folder().join(run.id.as_str()).join(format!("deployment-{}.log", run.id));
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("done with api") && log.contains("api is deployed"), "{log}");
    // Again: nothing to do, and nobody is asked.
    std::fs::remove_file(scene.step().workspace().join("order")).unwrap();
    scene.visit(&number(&scene, "2")).succeeded();
    assert!(!scene.step().workspace().join("order").exists());
    scene.assert_sound();
}

#[test]
fn a_failure_puts_back_what_ran_and_the_tag() {
    let scene = scene(ONE);
    scene.place(&small(1), "acme/api", &["staging"]);
    scene.visit(&number(&scene, "1")).succeeded();
    scene.place(&small(2), "acme/api", &["staging"]);
    put(&scene, "fail-api");
    // Putting back fails with the same program, and then a human is needed.
    let visit = scene.visit(&number(&scene, "2"));
    visit.was_stopped(5, "deployment-failed", &["ended with 3", "api is not feeling well"]);
    visit.was_stopped(5, "deployment-failed", &["could not be put back to", small(1).digest()]);
    assert_eq!(visit.output("state"), "rollback-failed");
    remove(&scene, "fail-api");
    // The next run deploys, although the tag is there already: the last one did not end well.
    scene.visit(&number(&scene, "3")).succeeded();
    assert_eq!(state(&scene, "api"), small(2).digest());
    scene.assert_sound();
}

#[test]
fn a_lie_is_found_out_and_taken_back() {
    let scene = scene(&ONE.replace("running:", "rollback: [sh, -c, 'rm -f lie; sh deploy.sh \"$@\"', back, \"{{ service }}\", \"{{ digest }}\"]\n        running:"));
    scene.place(&small(1), "acme/api", &["staging"]);
    scene.visit(&number(&scene, "1")).succeeded();
    scene.place(&small(2), "acme/api", &["staging"]);
    put(&scene, "lie");
    let visit = scene.visit(&number(&scene, "2"));
    visit.was_stopped(4, "running-differs", &["version other"]);
    assert_eq!(visit.output("state"), "rolled-back");
    assert_eq!(state(&scene, "api"), small(1).digest());
    assert_eq!(scene.tag("acme/api", "production").as_deref(), Some(small(1).digest()));
    let run = scene.runs().remove(1);
    assert_eq!(run.state, State::RolledBack);
    assert_eq!(deployments(&run), [("deploy", false), ("roll-back-deployment", true)]);
    let log = scene.folder().join(run.id.as_str()).join(format!("rollback-{}.log", run.id));
    assert!(std::fs::read_to_string(log).unwrap().contains("putting back"));
    scene.assert_sound();
}

const THREE: &str = r#"version: 1
services:
  web: { image: "{here}/acme/web", needs: [api] }
  api: { image: "{here}/acme/api", needs: [db] }
  db: { image: "{here}/acme/db" }
environments:
  staging: { tag: staging }
  production:
    from: staging
    tag: production
    deploy:
      command:
        run: [sh, deploy.sh, "{{ service }}", "{{ digest }}"]
        running: [sh, -c, "cat \"state-$1\" 2>/dev/null || true", running, "{{ service }}"]
retry: { attempts: 3, initial: 5ms, max: 10ms }
"#;

#[test]
fn services_go_in_the_order_of_their_needs_and_back_in_reverse() {
    let scene = scene(THREE);
    let place = |number: u64| {
        for (offset, service) in ["web", "api", "db"].into_iter().enumerate() {
            scene.place(&small(number + offset as u64), &format!("acme/{service}"), &["staging"]);
        }
    };
    let order = || std::fs::read_to_string(scene.step().workspace().join("order")).unwrap();
    let names = |text: &str| text.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>();
    place(10);
    scene.visit(&number(&scene, "1")).succeeded();
    assert_eq!(names(&order()), ["db", "api", "web"]);
    place(20);
    remove(&scene, "order");
    put(&scene, "fail-web");
    // What fails is put back first; its program goes on failing.
    let visit = scene.visit(&number(&scene, "2"));
    assert_eq!(visit.code, Some(5), "{visit:?}");
    assert_eq!(names(&order()), ["db", "api", "api", "db"]);
    assert_eq!([state(&scene, "api"), state(&scene, "db")], [small(11).digest(), small(12).digest()]);
    assert_eq!(scene.tag("acme/api", "production").as_deref(), Some(small(11).digest()));
    scene.assert_sound();
}

#[test]
fn nothing_is_begun_that_could_not_be_ordered() {
    let scene = scene(&ONE.replace("running:", "env: { TOKEN: \"${DEPLOY_TOKEN}\" }\n        running:"));
    scene.place(&small(1), "acme/api", &["staging"]);
    let before = scene.snapshot();
    scene.visit(&scene.production()).was_stopped(2, "secret-unset", &["DEPLOY_TOKEN"]);
    assert_eq!(scene.snapshot(), before);
    assert_eq!(state(&scene, "api"), "");
}

#[test]
fn a_secret_is_in_no_log() {
    let leak =
        "run: [sh, -c, 'echo \"the token is $TOKEN\"; sh deploy.sh \"$@\"', run, \"{{ service }}\", \"{{ digest }}\"]";
    let configuration = ONE
        .replace("run: [sh, deploy.sh, \"{{ service }}\", \"{{ digest }}\"]", leak)
        .replace("running:", "env: { TOKEN: \"${DEPLOY_TOKEN}\" }\n        running:");
    let scene = scene(&configuration);
    scene.place(&small(1), "acme/api", &["staging"]);
    let visit = scene.visit(&scene.production().env("DEPLOY_TOKEN", "hunter2-hunter2"));
    visit.succeeded();
    let folder = scene.folder().join(scene.run().id.as_str());
    let mut seen = false;
    for file in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(!text.contains("hunter2"), "{text}");
        seen |= text.contains("the token is ***");
    }
    assert!(seen);
}
