//! A table of everything that a version may do, deployed by each of two drivers: the verdict, what runs afterwards, and what
//! is in the record, in the issue and in the notifications.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use testbed::channels::Channels;
use testbed::deployment_api::DeploymentApi;
use testbed::github::{GitHub, NewEnvironment, NewWorkflow, Repository, SeenIssue};
use testbed::registry::Registry;
use testbed::runner::{Finished, Runner};
use testbed::service::{Behaviour, Service};
use tidegate::action::inputs::INPUTS;

use crate::scene::{PROGRAM, version};

/// What a row comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comes {
    /// It is healthy and stays.
    Well,
    /// It is taken back.
    Back,
    /// It cannot be told, and stays.
    Unknown,
}

/// The rows: what the version does, what is found, and what it comes to.
fn table() -> Vec<(Behaviour, &'static str, Comes)> {
    vec![
        (Behaviour::Healthy, "no failure in", Comes::Well),
        (Behaviour::Dead, "503", Comes::Back),
        (Behaviour::DiesAfter(Duration::from_millis(200)), "samples failed", Comes::Back),
        (Behaviour::Flaps(3), "failed", Comes::Back),
        (Behaviour::Slow(Duration::from_millis(2_500)), "no answer within", Comes::Back),
        (Behaviour::Poses(version(99).digest().to_owned()), "another version answers", Comes::Back),
        (Behaviour::Endless, "larger than", Comes::Back),
        (Behaviour::RedirectLoop, "302", Comes::Back),
        (Behaviour::Silent, "", Comes::Back),
        (Behaviour::Locked, "401", Comes::Unknown),
        (Behaviour::Healthy, "no failure in", Comes::Well),
    ]
}

/// A driver, with what it works on.
struct Driven {
    /// What `deploy:` says.
    settings: String,
    /// What runs.
    running: Arc<dyn Fn() -> Option<String> + Send + Sync>,
    /// What was asked of it: the digest, and whether it was to go back.
    asked: Box<dyn Fn() -> Vec<(String, bool)>>,
    workspace: Vec<(&'static str, String)>,
}

/// A deployment API, whose own call takes back.
fn http() -> Driven {
    let api = Arc::new(DeploymentApi::start());
    let url = api.url();
    let settings = format!(
        "http:\n  promote: {{ url: \"{url}/sites/api/promotions\", json: {{ version: \"{{{{ digest }}}}\" }} }}\n  \
         rollback: {{ url: \"{url}/sites/api/rollbacks\", json: {{ version: \"{{{{ digest }}}}\" }} }}\n  \
         status: {{ url: \"{url}/promotions/{{{{ response.id }}}}\", every: 10ms, state: /status, success: [COMPLETED], failure: [FAILED] }}\n  \
         running: {{ url: \"{url}/sites/api\", digest: /version }}\n"
    );
    let (running, asked) = (Arc::clone(&api), api);
    Driven {
        settings,
        running: Arc::new(move || running.version("api")),
        asked: Box::new(move || asked.asked().into_iter().map(|one| (one.version, one.rollback)).collect()),
        workspace: Vec::new(),
    }
}

/// A program of the workspace, which puts back by being run again.
fn command(state: PathBuf) -> Driven {
    let settings = "command:\n  run: [sh, deploy.sh, \"{{ digest }}\"]\n  rollback: [sh, deploy.sh, \"{{ digest }}\", back]\n  \
                    running: [sh, running.sh]\n  timeout: 20s\n";
    let deploy = format!(
        "set -eu\necho \"$1 ${{2:-}}\" >>'{0}/log'\nprintf %s \"$1\" >'{0}/new'\nmv '{0}/new' '{0}/runs'\n",
        state.display()
    );
    let running = format!("cat '{}/runs' 2>/dev/null || true\n", state.display());
    let log = state.join("log");
    Driven {
        settings: settings.to_owned(),
        running: Arc::new(move || std::fs::read_to_string(state.join("runs")).ok()),
        asked: Box::new(move || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            text.lines()
                .filter_map(|line| line.split_once(' '))
                .map(|(digest, back)| (digest.to_owned(), back == "back"))
                .collect()
        }),
        workspace: vec![("deploy.sh", deploy), ("running.sh", running)],
    }
}

/// Everything around a driver.
struct Stage {
    registry: Registry,
    service: Service,
    github: GitHub,
    api: Repository,
    channels: Channels,
    step: Runner,
    commit: String,
    driven: Driven,
    _ledger: TempDir,
}

impl Stage {
    fn new(driven: Driven) -> Self {
        let (registry, github, channels) = (Registry::start(), GitHub::start(), Channels::start());
        let running = Arc::clone(&driven.running);
        let service = Service::running(move || running());
        let api = github.repository("acme/api");
        let commit = api.commit("main", "Build faster", "octocat");
        github.person("octocat");
        api.workflow(&NewWorkflow::file("promote.yml"));
        api.environment(&NewEnvironment::named("production"));
        let ledger = tempfile::tempdir().unwrap();
        let mut step = Runner::new(PROGRAM).timeout(Duration::from_secs(90));
        for input in INPUTS {
            step = step.input(input.name, if input.default.contains("${{") { "" } else { input.default });
        }
        let deploy: String = driven.settings.lines().map(|line| format!("      {line}\n")).collect();
        let configuration = format!(
            "version: 1
services:
  api: {{ image: {host}/acme/api }}
environments:
  staging: {{ tag: staging }}
  production:
    from: staging
    tag: production
    deploy:
{deploy}    health:
      retries: 2
      interval: 50ms
      timeout: 1500ms
      baseline: false
      probes:
        api:
          url: \"{url}\"
          headers: {{ authorization: \"${{PROBE_TOKEN}}\" }}
          body: {{ \"$.status\": ok }}
          identity: {{ header: x-image-digest }}
      monitor: {{ for: 300ms, every: 100ms, samples: 4 }}
    rollback: {{ lived: 1ms }}
notify:
  team: {{ webhook: \"${{TEAM}}\", on: [succeeded, rolled-back, rollback-failed, inconclusive, failed] }}
retry: {{ attempts: 3, initial: 5ms, max: 10ms }}
",
            host = registry.host(),
            url = service.url("/health"),
        );
        let mut step = step
            .input("environment", "production")
            .input("github-token", &github.job_token())
            .input("database-url", &format!("sqlite:{}", ledger.path().join("ledger.sqlite").display()))
            .env("GITHUB_API_URL", &github.url())
            .env("GITHUB_SHA", &commit)
            .env("PROBE_TOKEN", "Bearer a-token-of-the-probe")
            .env("TEAM", &format!("{}/team", channels.url()))
            .file(".github/tidegate.yml", configuration);
        for (name, text) in &driven.workspace {
            step = step.file(name, text);
        }
        Self { registry, service, github, api, channels, step, commit, driven, _ledger: ledger }
    }

    /// Promotes a version in a workflow run of its own.
    fn promote(&self, number: u64, behaviour: &Behaviour) -> (Finished, BTreeMap<String, String>) {
        let content = version(number);
        self.service.behaves(content.digest(), behaviour.clone());
        content.place(self.registry.contents(), "acme/api", &["staging"]);
        let run = self.api.run("promote.yml", &self.commit, "octocat");
        let finished = self.step.clone().env("GITHUB_RUN_ID", &run.to_string()).run();
        let outputs = finished.outputs().unwrap_or_else(|error| panic!("{error}\n{finished}"));
        (finished, outputs)
    }

    fn issues(&self) -> Vec<SeenIssue> {
        let issues = self.api.issues().into_iter();
        issues.filter(|issue| issue.labels.contains(&"tidegate-failure".to_owned())).collect()
    }

    fn record(&self, outputs: &BTreeMap<String, String>) -> Value {
        let text = std::fs::read_to_string(self.step.workspace().join(&outputs["record-path"])).unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

/// Every row, one after the other, over a version that lives.
fn plays(name: &str, driven: Driven) {
    let stage = Stage::new(driven);
    let (finished, _) = stage.promote(100, &Behaviour::Healthy);
    assert!(finished.is_success(), "{name}: {finished}");
    let mut good = version(100).digest().to_owned();
    for (number, (behaviour, why, comes)) in (1..).zip(table()) {
        let before = (stage.channels.told().len(), (stage.driven.asked)().len());
        let (finished, outputs) = stage.promote(number, &behaviour);
        let row = format!("{name}, {behaviour:?}: {finished}");
        let new = version(number).digest().to_owned();
        let (exit, state, health, runs, topic) = match comes {
            Comes::Well => (0, "completed-successfully", "healthy", &new, "succeeded"),
            Comes::Back => (4, "rolled-back", "unhealthy", &good, "rolled-back"),
            Comes::Unknown => (6, "inconclusive", "inconclusive", &new, "inconclusive"),
        };
        let told = (finished.code, outputs["state"].as_str(), outputs["health"].as_str());
        assert_eq!(told, (Some(exit), state, health), "{row}");
        assert!(finished.summary().contains(why), "no `{why}`; {row}");
        // What runs, and what the tag says; nothing bad is left in silence.
        assert_eq!((stage.driven.running)().as_ref(), Some(runs), "{row}");
        assert_eq!(stage.registry.contents().digest("acme/api", "production").as_ref(), Some(runs), "{row}");
        // The driver was asked to deploy once, and to take back where that was needed.
        let mut asked = vec![(new.clone(), false)];
        asked.extend((comes == Comes::Back).then(|| (good.clone(), true)));
        assert_eq!((stage.driven.asked)()[before.1..], asked, "{row}");
        // The record.
        let record = stage.record(&outputs);
        assert!(record["health_checks"]["api"].is_object(), "{row}\n{record:#}");
        let bad = record["bad_digests"].as_array().map_or(0, Vec::len);
        assert_eq!(
            (bad == 1, record["rollback"]["run"].is_string()),
            (comes == Comes::Back, comes == Comes::Back),
            "{row}"
        );
        assert_eq!(outputs["rolled-back"] == "true", comes == Comes::Back, "{row}");
        // The issue: one, open as long as something is wrong, about this.
        let open: Vec<SeenIssue> = stage.issues().into_iter().filter(|issue| issue.open).collect();
        match comes {
            Comes::Well => assert!(open.is_empty(), "{row}\n{open:#?}"),
            Comes::Back | Comes::Unknown => {
                assert!(open.len() == 1 && open[0].body.contains(&outputs["deployment-id"]), "{row}\n{open:#?}");
            }
        }
        // The notification: one of this run, with the right name.
        let told: Vec<String> = stage.channels.told()[before.0..]
            .iter()
            .filter(|told| told.json()["values"]["deployment_id"] == outputs["deployment-id"].as_str())
            .map(|told| told.json()["event"].as_str().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(told, [topic], "{row}");
        // GitHub's deployment of it.
        let deployments = stage.api.deployments();
        let ended = if comes == Comes::Well { "success" } else { "failure" };
        let states = deployments.iter().map(|one| one.states.clone()).collect::<Vec<_>>();
        assert!(states.iter().any(|states| states.last().is_some_and(|last| last == ended)), "{row}\n{states:?}");
        if comes != Comes::Back {
            good = new;
        }
    }
    drop(stage.github);
}

#[test]
fn through_a_deployment_api() {
    plays("http", http());
}

#[test]
fn through_a_program() {
    let state = tempfile::tempdir().unwrap();
    plays("command", command(state.path().to_owned()));
}
