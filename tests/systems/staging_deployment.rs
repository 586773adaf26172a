//! Four services on a staging host: built, migrated, deployed, asked whether they live.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use testbed::channels::Channels;
use testbed::docker_host::{DockerHosts, HOSTS};
use testbed::github::{GitHub, NewCheckRun};
use testbed::image::Image;
use testbed::postgres::{Database, Postgres};
use testbed::registry::Registry;
use testbed::service::{Behaviour, Service};
use workflow::stand_in::Done;
use workflow::{Gate, Machine, Run, Verdict};

use super::{example, is_discreet, is_visited, states};

const FILE: &str = ".github/workflows/deploy-staging.yml";
const SERVICES: [&str; 4] = ["api-gateway", "auth-service", "education-service", "marketplace-service"];

/// The caller's side: a host, a registry, the application's database and the ledger's, GitHub, a channel.
struct Caller {
    hosts: Arc<DockerHosts>,
    registry: Registry,
    application: Database,
    ledger: Database,
    github: GitHub,
    channels: Channels,
    /// Answers as the gateway that the host runs.
    service: Service,
    built: Arc<AtomicU64>,
}

impl Caller {
    fn new() -> Self {
        let hosts = Arc::new(DockerHosts::start());
        let services: String = SERVICES.iter().map(|name| format!("  {name}:\n    image: old/{name}:1\n")).collect();
        hosts.write(HOSTS[0], "docker-compose.prod.yml", &format!("services:\n{services}"));
        let seen = Arc::clone(&hosts);
        let runs = move || Some(seen.runs(HOSTS[0], "staging-api-gateway-1")?.rsplit('@').next()?.to_owned());
        Self {
            hosts,
            registry: Registry::start(),
            application: Postgres::shared().database(),
            ledger: Postgres::shared().database(),
            github: GitHub::start(),
            channels: Channels::start(),
            service: Service::running(runs),
            built: Arc::default(),
        }
    }

    fn commit(&self, message: &str) -> String {
        self.github.repository("acme/api").commit("main", message, "ann")
    }

    fn machine(&self, commit: &str) -> Machine<'_> {
        let sshd = self.hosts.sshd();
        let (host, port) = (self.registry.host(), format!("port: {}\n        project: staging", sshd.port()));
        let (service, shown) = (self.service.url(""), sshd.fingerprint());
        let directory = self.hosts.app(HOSTS[0]).display().to_string();
        let replaced = [
            ("docker.io", host.as_str()),
            ("port: 22", port.as_str()),
            ("SHA256:uNiVztksCsDhcc0u9e8BrrRnXl0SYsPfKuFpNOqUyI4", shown.as_str()),
            ("/opt/acme", directory.as_str()),
            ("https://staging.acme.test", service.as_str()),
            ("settle: 30s", "settle: 10ms"),
            ("retries: 5", "retries: 2"),
            ("interval: 10s", "interval: 50ms"),
            ("wait: 15m", "wait: 1s"),
            ("lived: 10m", "lived: 1ms"),
        ];
        let (contents, built, revision) =
            (self.registry.contents().clone(), Arc::clone(&self.built), commit.to_owned());
        example("staging-deployment", &self.github, &replaced)
            .commit(commit)
            .file("build.sh", "echo \"building $1\"\n")
            .file("prisma/migrations/20240101000000_first/migration.sql", "CREATE TABLE course (id int);")
            .stand_in("docker/build-push-action", move |given| {
                given.knows(&["context", "push", "tags", "labels"]);
                assert_eq!(given.needed("push"), "true");
                let (repository, tag) = given.needed("tags").rsplit_once(':').expect("a name with a tag");
                let number = built.fetch_add(1, Ordering::Relaxed);
                let image = Image::manifest("linux/amd64").layers(1, 300).seed(number);
                let image = image.label("org.opencontainers.image.revision", &revision).build();
                image.place(&contents, repository, &[tag]);
                Done::well().output("metadata", &format!("{{\"containerimage.digest\":\"{}\"}}", image.digest()))
            })
            .variable("TIDEGATE_PACE_MS", "40")
            .secret("DATABASE_URL", &self.ledger.url())
            .secret("STAGING_DATABASE_URL", &self.application.url())
            .secret("STAGING_HOST", HOSTS[0])
            .secret("STAGING_USER", sshd.user())
            .secret("STAGING_KEY", &sshd.key())
            .secret("DOCKER_USERNAME", "acme")
            .secret("DOCKER_PASSWORD", "a-token-of-docker")
            .secret("SLACK_WEBHOOK", &format!("{}/services/T0/B0/x", self.channels.url()))
            .environment("staging", Gate::open())
    }

    fn push(&self, commit: &str) -> Run {
        self.machine(commit).push(FILE, "main")
    }

    fn runs(&self) -> Vec<Option<String>> {
        SERVICES.iter().map(|name| self.hosts.runs(HOSTS[0], &format!("staging-{name}-1"))).collect()
    }

    /// The image of a service that was built from a commit.
    fn built(&self, service: &str, commit: &str) -> String {
        self.registry.contents().digest(&format!("acme/{service}"), &format!("sha-{commit}")).expect("it was pushed")
    }

    fn told(&self) -> Vec<String> {
        self.channels.told().into_iter().map(|told| told.body).collect()
    }
}

fn id(run: &Run) -> &str {
    &run.job("staging").outputs["deployment-id"]
}

#[test]
fn what_is_pushed_is_built_migrated_deployed_and_asked() {
    let caller = Caller::new();
    let commit = caller.commit("First");
    let run = caller.push(&commit);
    assert_eq!(run.result(), Verdict::Success, "{run}");
    for (service, runs) in SERVICES.iter().zip(caller.runs()) {
        let digest = caller.built(service, &commit);
        assert!(runs.as_deref().is_some_and(|image| image.ends_with(&digest)), "{service} runs {runs:?}");
        assert_eq!(caller.registry.contents().digest(&format!("acme/{service}"), "staging"), Some(digest));
    }
    assert_eq!(caller.application.psql("select count(*) from course"), "0");
    // What is kept, by its names.
    let id = id(&run);
    let (seconds, short) = id.split_once('-').expect("seconds and a commit");
    assert!(seconds.parse::<u64>().is_ok() && commit.starts_with(short), "{id}");
    let migrated = run.artifact(&format!("migration-logs-{id}"), &format!("migration-{id}.log"));
    assert!(migrated.contains("20240101000000_first"), "{migrated}");
    let logs = format!("deployment-logs-{id}");
    let built = run.artifact(&logs, &format!("build-{id}.log"));
    let pushed = run.artifact(&logs, &format!("docker-build-{id}.log"));
    let deployed = run.artifact(&logs, &format!("deployment-{id}.log"));
    for service in SERVICES {
        assert!(built.contains(&format!("building {service}")), "{built}");
        assert!(pushed.contains(&format!("{service} success")), "{pushed}");
        assert!(deployed.contains(service), "{deployed}");
    }
    assert!(run.artifact(&format!("health-check-logs-{id}"), &format!("verification-{id}.log")).contains("database"));
    let record = run.artifact(&format!("deployment-record-{id}"), "record.json");
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    assert_eq!((&record["status"], &record["environment"]), (&"success".into(), &"staging".into()), "{record}");
    for probe in ["api-gateway", "auth-service", "database"] {
        assert_eq!(record["health_checks"][probe]["status"], "passed", "{record}");
    }
    assert!(!run.artifacts.keys().any(|name| name.starts_with("rollback-logs")), "{:?}", run.artifacts.keys());
    assert_eq!(caller.told().len(), 1);
    assert!(
        is_discreet(&run, &["a-token-of-docker", caller.ledger.password(), caller.application.password()]),
        "{run}"
    );
}

#[test]
fn what_is_not_green_or_cannot_be_migrated_is_not_deployed() {
    let caller = Caller::new();
    let commit = caller.commit("Untested");
    caller.github.repository("acme/api").check_run(&commit, &NewCheckRun::ended("security", "failure"));
    let run = caller.push(&commit);
    assert_eq!(run.job("staging / checks").result, Verdict::Failure, "{run}");
    assert!(run.log().contains("checks-not-green"), "{run}");
    assert_eq!(run.job("staging / migrations").result, Verdict::Skipped);
    let commit = caller.commit("Wrong");
    let machine = caller.machine(&commit);
    machine.write("prisma/migrations/20240102000000_wrong/migration.sql", "ALTER TABLE nowhere ADD COLUMN a int;");
    let run = machine.push(FILE, "main");
    assert_eq!(run.job("staging / migrations").result, Verdict::Failure, "{run}");
    let migrated = run.artifact(&format!("migration-logs-{}", id(&run)), &format!("migration-{}.log", id(&run)));
    assert!(migrated.contains("20240102000000_wrong"), "{migrated}");
    assert_eq!(run.job("staging / deploy").result, Verdict::Skipped, "{run}");
    assert_eq!(caller.runs(), [None, None, None, None]);
}

#[test]
fn what_does_not_live_is_taken_back_and_told() {
    let caller = Caller::new();
    let first = caller.commit("First");
    assert_eq!(caller.push(&first).result(), Verdict::Success);
    let before = caller.runs();
    let commit = caller.commit("Second");
    // Whatever is built of it is dead.
    let machine = caller.machine(&commit);
    let number = caller.built.load(Ordering::Relaxed);
    for seed in number..number + 4 {
        let image = Image::manifest("linux/amd64").layers(1, 300).seed(seed);
        let image = image.label("org.opencontainers.image.revision", &commit).build();
        caller.service.behaves(image.digest(), Behaviour::Dead);
    }
    let run = machine.push(FILE, "main");
    assert_eq!(run.job("staging / health").result, Verdict::Failure, "{run}");
    assert_eq!(run.job("staging").outputs["rolled-back"], "true", "{run}");
    assert_eq!(caller.runs(), before, "{run}");
    assert!(is_visited(&states(&caller.ledger, "promote"), &["verifying", "rolling-back", "rolled-back"]));
    assert!(run.artifacts.contains_key(&format!("rollback-logs-{}", id(&run))), "{:?}", run.artifacts.keys());
    assert!(!run.artifacts.contains_key(&format!("deployment-record-{}", id(&run))));
    let told = caller.told();
    assert!(told.len() == 2 && told[1].to_lowercase().contains("roll"), "{told:?}");
}
