//! The examples of drivers, run as they stand: only addresses, and how often it is looked, are those of the stand-ins.

use base64::Engine as _;
use testbed::docker_host::{DockerHosts, HOSTS};
use testbed::github::{GitHub, NewEnvironment, NewWorkflow};
use testbed::lambda::{KEY, Lambda};
use testbed::postgres::Postgres;

use crate::scene::{Scene, release, small};

/// An example with another registry.
fn example(name: &str) -> String {
    let path = format!("examples/{name}/.github/tidegate.yml");
    std::fs::read_to_string(path).unwrap().replace("ghcr.io/acme", "{here}/acme")
}

#[test]
fn a_program_deploys_after_the_migrations() {
    let database = Postgres::shared().database();
    let scene = Scene::new().configured(&example("deploy-command"));
    scene.place(&small(1), "acme/api", &["staging"]);
    let step = scene
        .production()
        .env("DATABASE_URL", &database.url())
        .env("DEPLOY_TOKEN", "a-token-of-the-deployment")
        .file("prisma/migrations/migration_lock.toml", "provider = \"postgresql\"\n")
        .file("prisma/migrations/20240101000000_first/migration.sql", "CREATE TABLE example (id int);")
        .file("deploy.sh", "set -eu\n[ -n \"$DEPLOY_TOKEN\" ]\nprintf %s \"$2\" >\"$1.runs\"\n")
        .file("running.sh", "cat \"$1.runs\" 2>/dev/null || true\n");
    scene.visit(&step).succeeded();
    assert_eq!(database.psql("select count(*) from example"), "0");
    let runs = std::fs::read_to_string(scene.step().workspace().join("api.runs")).unwrap();
    assert_eq!(runs, small(1).digest());
    scene.assert_sound();
}

#[test]
fn another_workflow_deploys() {
    let github = GitHub::start();
    let repository = github.repository("acme/api");
    let commit = repository.commit("main", "first", "octocat");
    repository.environment(&NewEnvironment::named("production"));
    let workflow = NewWorkflow::file("deploy.yml").run_name("Deploy ({run})");
    repository.workflow(&workflow.steps(&["queued", "in_progress", "completed:success"]));
    let text = example("deploy-workflow").replace("timeout: 30m", "timeout: 30m\n        every: 20ms");
    let scene = Scene::new().configured(&text);
    scene.place(&small(1), "acme/api", &["staging"]);
    let step = scene
        .production()
        .input("github-token", &github.job_token())
        .env("GITHUB_API_URL", &github.url())
        .env("GITHUB_SHA", &commit);
    scene.finish(step.start()).succeeded();
    let inputs: Vec<_> = github.received().into_iter().filter(|one| one.body["inputs"].is_object()).collect();
    assert_eq!(inputs.len(), 1, "{inputs:?}");
    let inputs = &inputs[0].body["inputs"];
    assert_eq!((&inputs["digest"], &inputs["environment"]), (&small(1).digest().into(), &"production".into()));
}

#[test]
fn two_hosts_with_compose() {
    let hosts = DockerHosts::start();
    for host in HOSTS {
        hosts.write(host, "compose.yaml", "services:\n  api:\n    image: ${API_IMAGE}\n");
        hosts.write(host, ".env", "API_IMAGE=old/api:1\n");
    }
    let text = example("deploy-compose")
        .replace("web-1.acme.test", HOSTS[0])
        .replace("web-2.acme.test", HOSTS[1])
        .replace("user: deploy", &format!("user: {}", hosts.sshd().user()))
        .replace("port: 22", &format!("port: {}", hosts.sshd().port()))
        .replace("SHA256:uNiVztksCsDhcc0u9e8BrrRnXl0SYsPfKuFpNOqUyI4", &hosts.sshd().fingerprint())
        .replace("/opt/api", &hosts.app(HOSTS[0]).display().to_string());
    let scene = Scene::new().configured(&text);
    scene.place(&release(1), "acme/api", &["staging"]);
    let key = base64::engine::general_purpose::STANDARD.encode(hosts.sshd().key());
    let step =
        scene.production().env("SSH_KEY", &key).env("PULL_USER", "puller").env("PULL_TOKEN", "a-token-of-the-puller");
    scene.visit(&step).succeeded();
    let deployed = scene.run().candidates[0].deployed.clone().unwrap();
    assert_eq!(deployed.running.len(), 2, "{deployed:?}");
    assert!(deployed.running.iter().all(|one| one.digest.is_some()), "{deployed:?}");
}

#[test]
fn what_was_tested_in_staging_is_what_production_gets() {
    let lambda = Lambda::start();
    for name in ["lambda-function-staging", "lambda-function-production"] {
        lambda.zip_function(name, b"an old package");
    }
    let text = example("deploy-lambda")
        .replace("region: eu-central-1", &format!("region: eu-central-1\n        endpoint: \"{}\"", lambda.url()))
        .replace("every: 1m", "every: 10ms");
    let scene = Scene::new().configured(&text);
    let step = |environment: &str, run: &str| {
        ["STAGING", "PRODUCTION"].iter().fold(
            scene
                .step()
                .input("environment", environment)
                .env("GITHUB_RUN_ID", run)
                .file("build/job.zip", "the package that was built"),
            |step, name| {
                step.env(&format!("{name}_AWS_KEY_ID"), KEY)
                    .env(&format!("{name}_AWS_SECRET"), &format!("a-secret-of-{name}"))
            },
        )
    };
    scene.visit(&step("staging", "1")).succeeded();
    scene.visit(&step("production", "2")).succeeded();
    let deployed = scene.runs()[1].candidates[0].deployed.clone().unwrap();
    let tested = tidegate::promotion::digest::Digest::sha256(b"the package that was built");
    assert_eq!(deployed.running[0].digest.as_ref(), Some(&tested));
    assert_eq!(lambda.alias("lambda-function-production", "live").as_deref(), Some("1"));
}
