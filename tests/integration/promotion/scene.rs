//! A scene: two registries, a workspace, a ledger, and the program as the runner runs it.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use testbed::fault::{Action, Rule};
use testbed::image::{Content, Image};
use testbed::postgres::Database;
use testbed::registry::{Registry, Snapshot};
use testbed::runner::{Finished, Runner, Running, Signal};
use tidegate::action::inputs::INPUTS;
use tidegate::ledger::chain::Entry;
use tidegate::ledger::{Audit, Filter, Ledger};
use tidegate::promotion::identity::DeploymentId;
use tidegate::promotion::run::Run;

use crate::ledger::place::{Place, client};

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_tidegate");

/// Where a scene's ledger is.
enum Book {
    /// Where it is when nobody says anything: in the workspace.
    Workspace,
    /// Where it outlives the job.
    Lasting(Place),
}

/// Registries, a workspace, a ledger.
pub(crate) struct Scene {
    /// The registry that things come from, and mostly go to.
    pub(crate) here: Registry,
    /// Another one.
    pub(crate) there: Registry,
    step: Runner,
    book: Book,
}

/// A visit of the program that has ended, and its outputs.
pub(crate) struct Visit {
    finished: Finished,
    outputs: BTreeMap<String, String>,
    workspace: PathBuf,
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

/// A small image for two platforms; each number is another one.
pub(crate) fn release(number: u64) -> Content {
    Image::index(&["linux/amd64", "linux/arm64"])
        .layers(2, 600)
        .seed(number)
        .label("org.opencontainers.image.version", &format!("1.{number}.0"))
        .build()
}

/// The smallest image there is.
pub(crate) fn small(number: u64) -> Content {
    Image::manifest("linux/amd64").layers(1, 200).seed(number).build()
}

/// A configuration of one service, `api`, that goes from `staging` to `production` in its own repository, with more keys of
/// `production`, each line as it is indented there.
pub(crate) fn one_service(more: &str) -> String {
    let more: String = more.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "version: 1\nservices:\n  api: {{ image: {{here}}/acme/api }}\nenvironments:\n  staging: {{ tag: staging }}\n  \
         production:\n    from: staging\n    tag: production\n{more}retry: {{ attempts: 3, initial: 5ms, max: 10ms }}\n"
    )
}

impl Scene {
    /// A scene without a configuration, with its ledger in the workspace.
    pub(crate) fn new() -> Self {
        Self::with(Registry::start(), Registry::start())
    }

    /// The same with these registries.
    pub(crate) fn with(here: Registry, there: Registry) -> Self {
        Self { here, there, step: step(), book: Book::Workspace }
    }

    /// The same with a ledger in a file that outlives the job.
    pub(crate) fn on_a_file(self) -> Self {
        self.on(Place::sqlite())
    }

    /// The same with a ledger in PostgreSQL.
    pub(crate) fn on_postgres(self) -> Self {
        self.on(Place::postgres())
    }

    /// The same with a ledger in PostgreSQL, behind PgBouncer in transaction mode.
    pub(crate) fn on_pgbouncer(self) -> Self {
        self.on(Place::pgbouncer())
    }

    /// The same with its ledger at this place.
    pub(crate) fn on(mut self, place: Place) -> Self {
        self.step = self.step.input("database-url", &place.address());
        self.book = Book::Lasting(place);
        self
    }

    /// The same with a configuration; `{here}` and `{there}` in it are the registries.
    pub(crate) fn configured(self, configuration: &str) -> Self {
        self.configure(configuration);
        self
    }

    /// Text with the registries' names in it.
    pub(crate) fn filled(&self, text: &str) -> String {
        text.replace("{here}", &self.here.host()).replace("{there}", &self.there.host())
    }

    /// Writes another configuration.
    pub(crate) fn configure(&self, configuration: &str) {
        let _ = self.step.clone().file(".github/tidegate.yml", self.filled(configuration));
    }

    /// Puts content here.
    pub(crate) fn place(&self, content: &Content, repository: &str, tags: &[&str]) {
        content.place(self.here.contents(), repository, tags);
    }

    /// The digest of a tag here.
    pub(crate) fn tag(&self, repository: &str, tag: &str) -> Option<String> {
        self.here.contents().digest(repository, tag)
    }

    /// The step as it is, with nothing said.
    pub(crate) fn step(&self) -> Runner {
        self.step.clone()
    }

    /// The step that promotes to `production` of the configuration.
    pub(crate) fn production(&self) -> Runner {
        self.step().input("environment", "production")
    }

    /// The step that promotes an image without a configuration; `{here}` and `{there}` are the registries.
    pub(crate) fn plain(&self, image: &str, to: &str) -> Runner {
        self.step().input("image", &self.filled(image)).input("to", &self.filled(to))
    }

    /// Where the program leaves its files.
    pub(crate) fn folder(&self) -> PathBuf {
        self.step.workspace().join(".tidegate")
    }

    /// Whether there is a ledger to look into.
    fn has_ledger(&self) -> bool {
        match &self.book {
            Book::Lasting(Place::Postgres { database, .. }) => {
                database.psql("select count(*) from information_schema.schemata where schema_name = 'tidegate'") == "1"
            }
            _ => self.ledger_file().exists(),
        }
    }

    /// Where the ledger is, when it outlives the job.
    pub(crate) fn book(&self) -> &Place {
        match &self.book {
            Book::Lasting(place) => place,
            Book::Workspace => panic!("the ledger is in the workspace"),
        }
    }

    /// The database.
    pub(crate) fn database(&self) -> &Database {
        match self.book() {
            Place::Postgres { database, .. } => database,
            Place::Sqlite(_) => panic!("the scene has no PostgreSQL"),
        }
    }

    /// The file of the ledger.
    pub(crate) fn ledger_file(&self) -> PathBuf {
        match &self.book {
            Book::Workspace => self.folder().join("ledger.sqlite"),
            Book::Lasting(place) => place.file(),
        }
    }

    /// The ledger, past the program and any pool.
    pub(crate) fn ledger(&self) -> Arc<dyn Ledger> {
        match &self.book {
            Book::Lasting(Place::Postgres { database, .. }) => client(&database.url()),
            _ => client(&format!("sqlite:{}", self.ledger_file().display())),
        }
    }

    /// All runs, the oldest first.
    pub(crate) fn runs(&self) -> Vec<Run> {
        if !self.has_ledger() {
            return Vec::new();
        }
        let ledger = self.ledger();
        wait(async {
            if !ledger.exists().await.unwrap() {
                return Vec::new();
            }
            let mut runs = Vec::new();
            for id in ledger.runs(&Filter::default()).await.unwrap() {
                runs.insert(0, Run::fold(&ledger.load(&id).await.unwrap()).unwrap());
            }
            runs
        })
    }

    /// The only run.
    pub(crate) fn run(&self) -> Run {
        let runs = self.runs();
        assert_eq!(runs.len(), 1, "there are {} runs", runs.len());
        runs.into_iter().next().unwrap()
    }

    /// The run of a visit.
    pub(crate) fn run_of(&self, visit: &Visit) -> Run {
        let id: DeploymentId = visit.output("deployment-id").parse().unwrap();
        self.runs().into_iter().find(|run| run.id == id).unwrap()
    }

    /// All entries of the ledger.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        if !self.has_ledger() {
            return Vec::new();
        }
        let ledger = self.ledger();
        wait(async {
            let mut entries = Vec::new();
            for run in ledger.recorded().await.unwrap() {
                entries.extend(ledger.entries(&run).await.unwrap());
            }
            entries
        })
    }

    /// Everything in the ledger verifies, and what every ledger must be holds: numbers without a gap, one outcome for each
    /// intent.
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

    /// What the registries hold.
    pub(crate) fn snapshot(&self) -> [Snapshot; 2] {
        [self.here.contents().snapshot(), self.there.contents().snapshot()]
    }

    /// How many requests the registries have seen.
    pub(crate) fn seen(&self) -> u64 {
        (self.here.log().len() + self.there.log().len()) as u64
    }

    /// How many requests are on record.
    fn recorded(&self) -> u64 {
        self.runs().iter().map(|run| run.traffic().total()).sum()
    }

    /// Runs a step to its end. Every request that the registries saw is on record.
    pub(crate) fn visit(&self, step: &Runner) -> Visit {
        self.visit_with(step, 0)
    }

    /// The same where so many requests belong to no run: those of a visit to a finished one.
    pub(crate) fn visit_with(&self, step: &Runner, unrecorded: u64) -> Visit {
        let (visit, seen, recorded) = self.counted(step);
        let lines: Vec<String> = self.here.log().iter().chain(&self.there.log()).map(|one| one.line()).collect();
        assert_eq!(seen, recorded + unrecorded, "{lines:#?}\n{visit:?}");
        visit
    }

    /// The same where requests are broken off, some of them before the registry sees them.
    pub(crate) fn visit_with_losses(&self, step: &Runner) -> Visit {
        let (visit, seen, recorded) = self.counted(step);
        assert!(seen <= recorded, "{seen} requests were seen, {recorded} are on record\n{visit:?}");
        visit
    }

    /// Runs a step to its end, and counts the requests that the registries saw, and those on record.
    fn counted(&self, step: &Runner) -> (Visit, u64, u64) {
        let before = (self.seen(), self.recorded());
        let visit = self.finish(step.start());
        let after = (self.seen(), self.recorded());
        if let Some(record) = visit.record() {
            let run = self.run_of(&visit);
            let counts = record["traffic"]["requests"].as_object().cloned().unwrap_or_default();
            assert_eq!(counts.values().filter_map(Value::as_u64).sum::<u64>(), run.traffic().total());
        }
        (visit, after.0 - before.0, after.1 - before.1)
    }

    /// Waits for a step's end.
    pub(crate) fn finish(&self, running: Running) -> Visit {
        let finished = running.wait();
        let outputs = finished.outputs().unwrap_or_else(|error| panic!("{error}\n{finished}"));
        Visit { finished, outputs, workspace: self.step.workspace() }
    }

    /// Runs a step, and kills it when this request meets the registry: before it is carried out, or after.
    pub(crate) fn killed_at(&self, step: &Runner, method: &str, path: &str, carried_out: bool) -> Finished {
        let victim: Arc<Mutex<Option<Running>>> = Arc::default();
        let killed = Arc::clone(&victim);
        let kill = move || {
            if let Some(running) = killed.lock().unwrap().as_ref() {
                running.signal(Signal::KILL);
            }
            // Nothing that the program still sends counts.
            tokio::task::block_in_place(|| std::thread::sleep(Duration::from_millis(20)));
        };
        let action = if carried_out { Action::call_after(kill) } else { Action::call(kill) };
        let mut rule = Rule::on(method, path).nth(1).act(action);
        if !carried_out {
            rule = rule.act(Action::Drop);
        }
        let fault = self.here.fault(rule);
        {
            // The request may come before the step is known here.
            let mut victim = victim.lock().unwrap();
            *victim = Some(step.start());
        }
        while fault.hits() == 0 {
            std::thread::sleep(Duration::from_millis(2));
        }
        std::thread::sleep(Duration::from_millis(30));
        let finished = victim.lock().unwrap().take().unwrap().wait();
        assert_eq!(finished.signal, Some(9), "{finished}");
        fault.remove();
        finished
    }
}

impl Visit {
    /// An output; empty where it is not set.
    pub(crate) fn output(&self, name: &str) -> &str {
        self.outputs.get(name).map_or("", String::as_str)
    }

    /// All outputs.
    pub(crate) const fn values(&self) -> &BTreeMap<String, String> {
        &self.outputs
    }

    /// An output that is JSON.
    pub(crate) fn json(&self, name: &str) -> Value {
        serde_json::from_str(self.output(name)).unwrap_or_else(|error| panic!("{name}: {error}\n{self:?}"))
    }

    /// A file that an output names.
    pub(crate) fn file_of(&self, name: &str) -> Option<String> {
        let path = self.output(name);
        (!path.is_empty()).then(|| std::fs::read_to_string(self.workspace.join(path)).unwrap())
    }

    /// The deployment record.
    pub(crate) fn record(&self) -> Option<Value> {
        Some(serde_json::from_str(&self.file_of("record-path")?).unwrap())
    }

    /// It was a success in every way.
    #[track_caller]
    pub(crate) fn succeeded(&self) {
        assert!(self.is_success(), "{self:?}");
        assert_eq!(
            (self.output("decision"), self.output("status"), self.output("reason-code")),
            ("proceed", "SUCCESS", ""),
            "{self:?}"
        );
        assert_eq!(self.annotations("error"), Vec::<String>::new(), "{self:?}");
    }

    /// It was stopped by this, with this exit code; an annotation says so, with each of these texts in it.
    #[track_caller]
    pub(crate) fn was_stopped(&self, exit: i32, reason: &str, texts: &[&str]) {
        assert_eq!(self.code, Some(exit), "{self:?}");
        let told = (self.output("decision"), self.output("status"), self.output("reason-code"));
        assert_eq!(told, ("stop", "FAILURE", reason), "{self:?}");
        let annotations = self.annotations("error");
        let whole =
            |annotation: &String| texts.iter().all(|text| annotation.contains(text)) && annotation.contains("\nfix: ");
        assert!(annotations.iter().any(whole), "no annotation with {texts:?}:\n{self:?}");
        assert!(self.summary().contains("What to do next"), "{self:?}");
    }
}

/// A step with every input that it does not give set to nothing, or to its default, as the runner does.
fn step() -> Runner {
    let mut step = Runner::new(PROGRAM).timeout(Duration::from_secs(60));
    for input in INPUTS {
        let default = if input.default.contains("${{") { "" } else { input.default };
        step = step.input(input.name, default);
    }
    step
}
