//! Deployment to production: checks, backup, monitoring, the way back, status.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use testbed::channels::Channels;
use testbed::docker_host::{DockerHosts, HOSTS};
use testbed::github::{GitHub, NewWorkflow};
use testbed::image::{Content, Image};
use testbed::postgres::{Database, Postgres};
use testbed::registry::Registry;
use testbed::service::{Behaviour, Service};
use workflow::{Event, Gate, Machine, Review, Run, Verdict};

use super::{configured, is_visited, states};

const DEPLOY: &str = ".github/workflows/deploy.yml";
const STATUS: &str = ".github/workflows/deployment-status.yml";
const ROLLBACK: &str = ".github/workflows/rollback.yml";
const CONTAINER: &str = "production-backend-1";

/// The caller's side: a host, a registry, a database, GitHub, a channel, and the service that the host runs.
struct Caller {
    hosts: Arc<DockerHosts>,
    registry: Registry,
    database: Database,
    github: GitHub,
    channels: Channels,
    service: Service,
}

impl Caller {
    fn new() -> Self {
        let hosts = Arc::new(DockerHosts::start());
        hosts.write(HOSTS[0], "docker-compose.yml", "services:\n  backend:\n    image: ${BACKEND_IMAGE}\n");
        hosts.write(HOSTS[0], ".env", "BACKEND_IMAGE=old/backend:1\n");
        let seen = Arc::clone(&hosts);
        let runs = move || Some(seen.runs(HOSTS[0], CONTAINER)?.rsplit('@').next()?.to_owned());
        let github = GitHub::start();
        Self {
            hosts,
            registry: Registry::start(),
            database: Postgres::shared().database(),
            github,
            channels: Channels::start(),
            service: Service::running(runs),
        }
    }

    /// A commit whose CI ended like this, and its image.
    fn commit(&self, number: u64, ci: &str) -> (String, Content) {
        let repository = self.github.repository("acme/api");
        repository.workflow(&NewWorkflow::file("ci-cd.yml"));
        let commit = repository.commit("main", &format!("Change {number}"), "ann");
        let run = repository.run("ci-cd.yml", &commit, "ann");
        repository.end_run(run, ci);
        let image = Image::index(&["linux/amd64", "linux/arm64"])
            .layers(1, 400)
            .seed(number)
            .label("org.opencontainers.image.revision", &commit)
            .build();
        image.place(self.registry.contents(), "acme/backend", &[&format!("sha-{commit}")]);
        (commit, image)
    }

    fn machine(&self, commit: &str, review: fn() -> Review) -> Machine<'_> {
        let sshd = self.hosts.sshd();
        let (port, host) = (format!("\"port\": {}", sshd.port()), self.registry.host());
        let (service, directory) = (self.service.url(""), self.hosts.app(HOSTS[0]).display().to_string());
        let (user, shown) = (format!("\"user\": \"{}\", \"project\": \"production\"", sshd.user()), sshd.fingerprint());
        let replaced = [
            ("ghcr.io", host.as_str()),
            ("server.acme.test", HOSTS[0]),
            ("\"user\": \"ubuntu\"", user.as_str()),
            ("\"port\": 22", port.as_str()),
            ("SHA256:uNiVztksCsDhcc0u9e8BrrRnXl0SYsPfKuFpNOqUyI4", shown.as_str()),
            ("/opt/acme", directory.as_str()),
            ("https://acme.test", service.as_str()),
            ("\"free\": \"2GiB\"", "\"free\": \"1MiB\""),
            ("\"settle\": \"30s\"", "\"settle\": \"10ms\""),
            ("\"retries\": 5", "\"retries\": 2"),
            ("\"interval\": \"10s\"", "\"interval\": \"50ms\""),
            ("\"for\": \"5m\", \"every\": \"30s\"", "\"for\": \"1s\", \"every\": \"100ms\", \"samples\": 2"),
            ("\"deployments\": { \"wait\": \"10m\" }", "\"deployments\": { \"wait\": \"1s\" }"),
            ("\"lived\": \"10m\"", "\"lived\": \"1ms\""),
        ];
        let key = base64::engine::general_purpose::STANDARD.encode(sshd.key());
        configured("production-deployment", Path::new("deployment/config/deployment.json"), &self.github, &replaced)
            .commit(commit)
            .variable("TIDEGATE_PACE_MS", "40")
            .secret("DATABASE_URL", &self.database.url())
            .secret("SSH_KEY", &key)
            .secret("SLACK_WEBHOOK", &format!("{}/services/T0/B0/x", self.channels.url()))
            .environment("production", Gate::reviewed(&["bob"], move |_| review()))
    }

    /// Deploys a commit without asking anybody.
    fn deploy(&self, commit: &str) -> Run {
        self.machine(commit, || Review::yes("bob")).dispatch(DEPLOY, &[("require-approval", "false")])
    }

    fn runs(&self, image: &Content) -> bool {
        let tag = self.registry.contents().digest("acme/backend", "production");
        let host = self.hosts.runs(HOSTS[0], CONTAINER).unwrap_or_default();
        tag.as_deref() == Some(image.digest()) && host.ends_with(image.digest())
    }

    fn open_issues(&self) -> usize {
        self.github.repository("acme/api").issues().iter().filter(|issue| issue.open).count()
    }
}

#[test]
fn what_ci_has_tested_is_deployed_backed_up_and_monitored() {
    let caller = Caller::new();
    let (commit, image) = caller.commit(1, "success");
    let run = caller.deploy(&commit);
    assert_eq!(run.result(), Verdict::Success, "{run}");
    assert!(caller.runs(&image), "{run}");
    let outputs = &run.job("deployment").outputs;
    assert_eq!((outputs["status"].as_str(), outputs["state"].as_str()), ("SUCCESS", "completed-successfully"), "{run}");
    let id = &outputs["deployment-id"];
    let backup = format!(".tidegate/backups/backend/{id}/.env");
    assert_eq!(caller.hosts.read(HOSTS[0], &backup).as_deref(), Some("BACKEND_IMAGE=old/backend:1\n"), "{run}");
    // Three probes, in every tick.
    let artifact = format!("deployment-{id}");
    let record: serde_json::Value =
        serde_json::from_str(&run.artifact(&artifact, &format!("{id}/record.json"))).unwrap();
    for probe in ["health", "docs", "auth"] {
        assert!(record["health_checks"].to_string().contains(probe), "{record}");
    }
    let report = run.artifact(&artifact, &format!("{id}/report.md"));
    assert!(report.contains(image.digest()), "{report}");
    let deployments = caller.github.repository("acme/api").deployments();
    assert!(deployments.iter().any(|one| one.states.contains(&"success".to_owned())), "{deployments:?}");
}

#[test]
fn what_is_not_ready_is_not_deployed() {
    type Arrange = fn(&Caller);
    let table: [(&str, Arrange, &str); 2] = [
        ("failure", |_| {}, "workflow-not-green"),
        (
            "success",
            |caller| {
                let repository = caller.github.repository("acme/api");
                let other = repository.commit("main", "Another", "cyd");
                repository.deployment(&other, "production", true, &["in_progress"]);
            },
            "deployment-in-progress",
        ),
    ];
    for (ci, arrange, code) in table {
        let caller = Caller::new();
        let (commit, image) = caller.commit(1, ci);
        arrange(&caller);
        let run = caller.deploy(&commit);
        assert_eq!(run.job("deployment / checks").result, Verdict::Failure, "{run}");
        assert_eq!(run.job("deployment / deploy").result, Verdict::Skipped, "{run}");
        assert!(run.log().contains(code), "{code}: {run}");
        assert!(!caller.runs(&image) && caller.hosts.runs(HOSTS[0], CONTAINER).is_none());
        let id = &run.job("deployment").outputs["deployment-id"];
        assert!(run.artifacts.contains_key(&format!("checks-{id}")), "{run}");
    }
}

#[test]
fn a_reviewer_is_asked_where_that_is_wanted() {
    let caller = Caller::new();
    let (commit, image) = caller.commit(1, "success");
    let refused = caller.machine(&commit, || Review::no("bob", "not now")).dispatch(DEPLOY, &[]);
    assert_eq!(refused.job("deployment / deploy").result, Verdict::Failure, "{refused}");
    assert!(!caller.runs(&image));
    let run = caller.machine(&commit, || Review::yes("bob")).dispatch(DEPLOY, &[("reason", "the sale begins")]);
    assert_eq!(run.result(), Verdict::Success, "{run}");
    assert!(caller.runs(&image));
}

#[test]
fn what_does_not_live_is_taken_back_and_an_issue_tells() {
    let caller = Caller::new();
    let (commit, good) = caller.commit(1, "success");
    assert_eq!(caller.deploy(&commit).result(), Verdict::Success);
    let (commit, bad) = caller.commit(2, "success");
    caller.service.behaves(bad.digest(), Behaviour::Flaps(4));
    let run = caller.deploy(&commit);
    assert_eq!(run.result(), Verdict::Failure, "{run}");
    let outputs = &run.job("deployment").outputs;
    assert_eq!((outputs["state"].as_str(), outputs["rolled-back"].as_str()), ("rolled-back", "true"), "{run}");
    assert!(caller.runs(&good), "{run}");
    assert!(is_visited(&states(&caller.database, "promote"), &["verifying", "rolling-back", "rolled-back"]));
    assert_eq!(caller.open_issues(), 1, "{run}");
    // The next success closes it.
    let (commit, better) = caller.commit(3, "success");
    let run = caller.deploy(&commit);
    assert_eq!(run.result(), Verdict::Success, "{run}");
    assert!(caller.runs(&better));
    assert_eq!(caller.open_issues(), 0, "{run}");
}

#[test]
fn its_status_is_told_and_it_is_taken_back_by_hand() {
    let caller = Caller::new();
    let (first, one) = caller.commit(1, "success");
    assert_eq!(caller.deploy(&first).result(), Verdict::Success);
    let (commit, two) = caller.commit(2, "success");
    assert_eq!(caller.deploy(&commit).result(), Verdict::Success);
    let machine = caller.machine(&commit, || Review::yes("bob"));
    let ended = Event { name: "workflow_run".to_owned(), payload: serde_json::json!({}), branch: "main".to_owned() };
    let status = machine.happen(STATUS, ended);
    assert_eq!(status.result(), Verdict::Success, "{status}");
    assert_eq!(status.job("status").outputs["health"], "healthy", "{status}");
    // Somebody changes the tag past all of this.
    one.place(caller.registry.contents(), "acme/backend", &["production"]);
    let status = machine.dispatch(STATUS, &[]);
    assert_eq!(status.result(), Verdict::Failure, "{status}");
    assert!(status.log().contains("drift"), "{status}");
    two.place(caller.registry.contents(), "acme/backend", &["production"]);
    let mistyped = machine.dispatch(ROLLBACK, &[("reason", "orders are lost"), ("confirm", "yes")]);
    assert_eq!(mistyped.result(), Verdict::Failure, "{mistyped}");
    assert!(caller.runs(&two));
    let run = machine.dispatch(ROLLBACK, &[("reason", "orders are lost"), ("confirm", "ROLLBACK")]);
    assert_eq!(run.result(), Verdict::Success, "{run}");
    assert!(caller.runs(&one), "{run}");
}
