//! A scene: a registry, GitHub behind its contract, a ledger that outlives jobs, and the program as the runner runs it.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use testbed::contract::Contract;
use testbed::github::{GitHub, NewEnvironment, NewWorkflow, Repository};
use testbed::image::{Content, Image};
use testbed::registry::Registry;
use testbed::runner::{Finished, Runner, Running};
use tidegate::action::inputs::INPUTS;
use tidegate::ledger::{Filter, Ledger, LedgerAddress, connect};
use tidegate::promotion::run::Run;

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_tidegate");

/// How often the program asks, in milliseconds.
const PACE: &str = "40";

/// A registry, GitHub, a ledger.
pub(crate) struct Scene {
    pub(crate) registry: Registry,
    pub(crate) github: GitHub,
    pub(crate) api: Repository,
    /// The commit that the image was built from.
    pub(crate) commit: String,
    /// The workflow run that promotes.
    pub(crate) run: u64,
    contract: Option<Contract>,
    ledger: TempDir,
    configuration: String,
}

/// A visit of the program that has ended, and its outputs.
pub(crate) struct Visit {
    finished: Finished,
    outputs: BTreeMap<String, String>,
}

impl fmt::Debug for Visit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.finished.fmt(f)
    }
}

impl Deref for Visit {
    type Target = Finished;

    fn deref(&self) -> &Finished {
        &self.finished
    }
}

/// Waits for what the ledger says.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A small image, built from a commit; each number is another one.
pub(crate) fn image(number: u64, commit: &str) -> Content {
    Image::manifest("linux/amd64")
        .layers(1, 200)
        .seed(number)
        .label("org.opencontainers.image.revision", commit)
        .build()
}

impl Scene {
    /// A scene whose `production` has these keys, each line as it is indented there. Its image is in `staging`.
    pub(crate) fn new(more: &str) -> Self {
        let mut scene = Self::without_contract(more);
        scene.contract = Some(Contract::before(&scene.github));
        scene
    }

    /// The same, for answers that are not GitHub's.
    pub(crate) fn without_contract(more: &str) -> Self {
        let (registry, github) = (Registry::start(), GitHub::start());
        let api = github.repository("acme/api");
        let commit = api.commit("main", "Build faster", "ann");
        for person in ["ann", "bob", "cyd", "octocat"] {
            github.person(person);
        }
        api.workflow(&NewWorkflow::file("promote.yml"));
        let run = api.run("promote.yml", &commit, "octocat");
        api.environment(&NewEnvironment::named("production"));
        image(1, &commit).place(registry.contents(), "acme/api", &["staging"]);
        Self {
            configuration: configuration(&registry, more),
            registry,
            github,
            api,
            commit,
            run,
            contract: None,
            ledger: tempfile::tempdir().unwrap(),
        }
    }

    /// The step that promotes to `production`, with a job's token that may do everything.
    pub(crate) fn step(&self) -> Runner {
        self.step_with(&self.github.job_token())
    }

    /// The same with these channels, each line as it is indented below `notify:`.
    pub(crate) fn step_telling(&self, channels: &str) -> Runner {
        self.step().file(".github/tidegate.yml", format!("{}notify:\n{channels}", self.configuration))
    }

    /// The same with this token.
    pub(crate) fn step_with(&self, token: &str) -> Runner {
        self.empty_step(token).file(".github/tidegate.yml", &self.configuration).input("environment", "production")
    }

    /// A step in a workspace without anything, that is told nothing but where the ledger is.
    pub(crate) fn empty_step(&self, token: &str) -> Runner {
        let url = self.contract.as_ref().map_or_else(|| self.github.url(), Contract::url);
        let mut step = Runner::new(PROGRAM).timeout(Duration::from_secs(60));
        for input in INPUTS {
            let default = if input.default.contains("${{") { "" } else { input.default };
            step = step.input(input.name, default);
        }
        step.input("github-token", token)
            .input("database-url", &self.ledger_address())
            .env("GITHUB_API_URL", &url)
            .env("GITHUB_SHA", &self.commit)
            .env("RUST_BACKTRACE", "0")
            .env("GITHUB_RUN_ID", &self.run.to_string())
            .env("TIDEGATE_PACE_MS", PACE)
    }

    fn ledger_address(&self) -> String {
        format!("sqlite:{}", self.ledger.path().join("ledger.sqlite").display())
    }

    /// The ledger, past the program.
    pub(crate) fn ledger(&self) -> Arc<dyn Ledger> {
        Arc::from(connect(&LedgerAddress::parse(&self.ledger_address().into()).unwrap()))
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

    /// The newest run.
    pub(crate) fn newest(&self) -> Run {
        self.runs().pop().unwrap()
    }

    /// What `production` is.
    pub(crate) fn production(&self) -> Option<String> {
        self.registry.contents().digest("acme/api", "production")
    }

    /// Runs a step to its end.
    pub(crate) fn visit(&self, step: &Runner) -> Visit {
        self.finish(step.start())
    }

    /// Waits for a step's end.
    pub(crate) fn finish(&self, running: Running) -> Visit {
        let finished = running.wait();
        let outputs = finished.outputs().unwrap_or_else(|error| panic!("{error}\n{finished}"));
        Visit { finished, outputs }
    }

    /// Changes what the configuration says of `production`.
    pub(crate) fn configure(&mut self, more: &str) {
        self.configuration = configuration(&self.registry, more);
    }

    /// Another workflow run, as somebody starts it.
    pub(crate) fn again(&mut self) {
        self.run = self.api.run("promote.yml", &self.commit, "octocat");
    }
}

fn configuration(registry: &Registry, more: &str) -> String {
    let more: String = more.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "version: 1\nservices:\n  api: {{ image: {}/acme/api }}\nenvironments:\n  staging: {{ tag: staging, from-tag: \"build\" }}\n  \
         production:\n    from: staging\n    tag: production\n{more}retry: {{ attempts: 3, initial: 5ms, max: 10ms }}\n",
        registry.host()
    )
}

impl Visit {
    /// An output; empty where it is not set.
    pub(crate) fn output(&self, name: &str) -> &str {
        self.outputs.get(name).map_or("", String::as_str)
    }

    /// It was a success.
    #[track_caller]
    pub(crate) fn succeeded(&self) {
        assert!(self.is_success(), "{self:?}");
        assert_eq!((self.output("decision"), self.output("status")), ("proceed", "SUCCESS"), "{self:?}");
    }

    /// It was stopped by this, with this exit code; an annotation says so, with each of these texts in it.
    #[track_caller]
    pub(crate) fn was_stopped(&self, exit: i32, reason: &str, texts: &[&str]) {
        assert_eq!(self.code, Some(exit), "{self:?}");
        assert_eq!((self.output("decision"), self.output("reason-code")), ("stop", reason), "{self:?}");
        let annotations = self.annotations("error");
        let whole =
            |annotation: &String| texts.iter().all(|text| annotation.contains(text)) && annotation.contains("\nfix: ");
        assert!(annotations.iter().any(whole), "no annotation with {texts:?}:\n{self:?}");
    }
}
