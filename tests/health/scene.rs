//! A registry, a service that runs what the registry's tag says, a ledger, and the program as the runner runs it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use testbed::image::{Content, Image};
use testbed::registry::Registry;
use testbed::runner::{Finished, Runner, Running};
use testbed::service::{Behaviour, Service};
use tidegate::action::inputs::INPUTS;
use tidegate::ledger::{Audit, Filter, Ledger, LedgerAddress, connect};
use tidegate::promotion::run::Run;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_tidegate");

/// Probes that ask the service, quickly.
pub(crate) const PROBES: &str = "\
health:
  retries: 2
  interval: 50ms
  timeout: 500ms
  probes:
    api: { url: \"{service}/health\", body: { \"$.status\": ok }, identity: { header: x-image-digest } }
";

/// The same, watched for a short while: 6 ticks of 4 samples, of which one may fail.
pub(crate) fn watched(more: &str) -> String {
    format!("{PROBES}  monitor: {{ for: 600ms, every: 100ms, samples: 4 }}\n{more}")
}

/// A place to promote in.
pub(crate) struct Scene {
    pub(crate) registry: Registry,
    pub(crate) service: Service,
    pub(crate) step: Runner,
    ledger: TempDir,
    number: std::cell::Cell<u32>,
}

/// A visit that has ended.
pub(crate) struct Visit {
    pub(crate) finished: Finished,
    outputs: BTreeMap<String, String>,
    workspace: std::path::PathBuf,
}

impl std::fmt::Debug for Visit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.finished.fmt(f)
    }
}

/// A small image; each number is another one.
pub(crate) fn version(number: u64) -> Content {
    Image::manifest("linux/amd64").layers(1, 200).seed(number).build()
}

impl Scene {
    /// A scene with these keys of `production`.
    pub(crate) fn with(keys: &str) -> Self {
        let registry = Registry::start();
        let service = Service::following(registry.contents(), "acme/api", "production");
        let ledger = tempfile::tempdir().unwrap();
        let address = format!("sqlite:{}", ledger.path().join("ledger.sqlite").display());
        let mut step = Runner::new(PROGRAM).timeout(Duration::from_secs(60));
        for input in INPUTS {
            let default = if input.default.contains("${{") { "" } else { input.default };
            step = step.input(input.name, default);
        }
        let step = step.input("database-url", &address).input("environment", "production");
        let scene = Self { registry, service, step, ledger, number: std::cell::Cell::new(0) };
        scene.configure(keys);
        scene
    }

    /// Writes another configuration.
    pub(crate) fn configure(&self, keys: &str) {
        let keys: String = keys.lines().map(|line| format!("    {line}\n")).collect();
        let text = format!(
            "version: 1\nservices:\n  api: {{ image: {}/acme/api }}\nenvironments:\n  staging: {{ tag: staging }}\n  \
             production:\n    from: staging\n    tag: production\n{keys}retry: {{ attempts: 3, initial: 5ms, max: 10ms }}\n",
            self.registry.host()
        );
        let text = text.replace("{service}", &self.service.url("")).replace("{address}", &self.service.address());
        let _ = self.step.clone().file(".github/tidegate.yml", text);
    }

    /// Adds to the top of the configuration.
    pub(crate) fn also(&self, more: &str) {
        let file = self.step.workspace().join(".github/tidegate.yml");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, format!("{text}{more}")).unwrap();
    }

    /// The step in a workflow run of its own.
    pub(crate) fn next_step(&self) -> Runner {
        self.number.set(self.number.get() + 1);
        self.step.clone().env("GITHUB_RUN_ID", &format!("77{}", self.number.get()))
    }

    /// Puts a version into `staging`, to behave so.
    pub(crate) fn place(&self, number: u64, behaviour: Behaviour) -> Content {
        let content = version(number);
        self.service.behaves(content.digest(), behaviour);
        content.place(self.registry.contents(), "acme/api", &["staging"]);
        content
    }

    /// Promotes a version that behaves so.
    pub(crate) fn promote(&self, number: u64, behaviour: Behaviour) -> Visit {
        self.place(number, behaviour);
        self.visit(&self.next_step())
    }

    /// Runs a step to its end.
    pub(crate) fn visit(&self, step: &Runner) -> Visit {
        self.finish(step.start())
    }

    /// Waits for a step's end.
    pub(crate) fn finish(&self, running: Running) -> Visit {
        let finished = running.wait();
        let outputs = finished.outputs().unwrap_or_else(|error| panic!("{error}\n{finished}"));
        Visit { finished, outputs, workspace: self.step.workspace() }
    }

    /// What `production` points to.
    pub(crate) fn production(&self) -> Option<String> {
        self.registry.contents().digest("acme/api", "production")
    }

    /// The ledger, past the program.
    pub(crate) fn ledger(&self) -> Arc<dyn Ledger> {
        let address = format!("sqlite:{}", self.ledger.path().join("ledger.sqlite").display());
        Arc::from(connect(&LedgerAddress::parse(&address.into()).unwrap()))
    }

    /// All runs, the oldest first.
    pub(crate) fn runs(&self) -> Vec<Run> {
        let ledger = self.ledger();
        wait(async {
            let mut runs = Vec::new();
            for id in ledger.runs(&Filter::default()).await.unwrap() {
                runs.insert(0, Run::fold(&ledger.load(&id).await.unwrap()).unwrap());
            }
            runs
        })
    }

    /// The newest run of this state.
    pub(crate) fn run_of(&self, visit: &Visit) -> Run {
        self.runs().into_iter().find(|run| run.id.as_str() == visit.output("deployment-id")).unwrap()
    }

    /// Everything in the ledger verifies.
    pub(crate) fn assert_sound(&self) {
        let ledger = self.ledger();
        wait(async {
            let mut audit = Audit::default();
            for run in ledger.recorded().await.unwrap() {
                audit.take(&ledger.entries(&run).await.unwrap());
            }
            assert_eq!(audit.finish(true, &ledger.heads().await.unwrap()).breaks, []);
        });
    }
}

/// Waits for what the ledger says.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

impl Visit {
    /// An output; empty where it is not set.
    pub(crate) fn output(&self, name: &str) -> &str {
        self.outputs.get(name).map_or("", String::as_str)
    }

    /// The deployment record.
    pub(crate) fn record(&self) -> Value {
        let text = std::fs::read_to_string(self.workspace.join(self.output("record-path"))).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// It ended so: exit code, state, health, reason.
    #[track_caller]
    pub(crate) fn ended(&self, exit: i32, state: &str, health: &str, reason: &str) {
        let told = (self.finished.code, self.output("state"), self.output("health"), self.output("reason-code"));
        assert_eq!(told, (Some(exit), state, health, reason), "{self:?}");
    }

    /// A text is in the summary.
    #[track_caller]
    pub(crate) fn says(&self, text: &str) {
        assert!(self.finished.summary().contains(text), "no `{text}` in\n{}", self.finished.summary());
    }
}
