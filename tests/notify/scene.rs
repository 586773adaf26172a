//! A promotion of one small image by the real program, with channels.

use std::time::Duration;

use tempfile::TempDir;
use testbed::channels::{Channels, Told};
use testbed::image::{Content, Image};
use testbed::registry::Registry;
use testbed::runner::{Finished, Runner};
use tidegate::action::inputs::INPUTS;
use tidegate::ledger::{Filter, Ledger, LedgerAddress, connect};
use tidegate::promotion::run::Run;

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_tidegate");

/// A registry, channels, a workspace and a ledger that outlives the job.
pub(crate) struct Scene {
    pub(crate) registry: Registry,
    pub(crate) channels: Channels,
    book: TempDir,
    step: Runner,
}

/// The smallest image there is; each number is another one.
pub(crate) fn image(number: u64) -> Content {
    Image::manifest("linux/amd64").layers(1, 200).seed(number).build()
}

impl Scene {
    /// A scene with this under `notify:`, each line as it is indented there, and more keys of the environment.
    pub(crate) fn new(notify: &str, environment: &str) -> Self {
        let (registry, channels) = (Registry::start(), Channels::start());
        let book = tempfile::tempdir().unwrap();
        let mut step = Runner::new(PROGRAM).timeout(Duration::from_secs(90));
        for input in INPUTS {
            step = step.input(input.name, if input.default.contains("${{") { "" } else { input.default });
        }
        let step = step
            .input("environment", "production")
            .input("database-url", &format!("sqlite:{}", book.path().join("ledger.sqlite").display()))
            .env("SLACK", &format!("{}/services/T0000/B0000/secretsecret", channels.url()))
            .env("SLACK_TOKEN", "xoxb-not-a-token")
            .env("TEAMS", &format!("{}/workflows/abcdef/run?sig=secretsecret", channels.url()))
            .env("HOOK", &format!("{}/hook/secretsecret", channels.url()))
            .env("HMAC", "a key that nobody knows")
            .env("BREVO", "brevo-secret-key")
            .env("PAGER", "pagerduty-secret-key");
        let scene = Self { registry, channels, book, step };
        scene.configure(notify, environment);
        image(1).place(scene.registry.contents(), "acme/api", &["staging"]);
        scene
    }

    /// Writes another configuration.
    pub(crate) fn configure(&self, notify: &str, environment: &str) {
        let indented = |text: &str, by: &str| text.lines().map(|line| format!("{by}{line}\n")).collect::<String>();
        let notify = notify.replace("{channels}", &self.channels.url());
        let configuration = format!(
            "version: 1\nservices:\n  api: {{ image: {}/acme/api }}\nenvironments:\n  staging: {{ tag: staging }}\n  \
             production:\n    from: staging\n    tag: production\n{}notify:\n{}retry: {{ attempts: 3, initial: 5ms, max: 10ms }}\n",
            self.registry.host(),
            indented(environment, "    "),
            indented(&notify, "  "),
        );
        let _ = self.step.clone().file(".github/tidegate.yml", configuration);
    }

    /// The step.
    pub(crate) fn step(&self) -> Runner {
        self.step.clone()
    }

    /// Runs the step to its end.
    pub(crate) fn promote(&self) -> Finished {
        self.step.run()
    }

    /// What was told below a path.
    pub(crate) fn told(&self, path: &str) -> Vec<Told> {
        self.channels.told().into_iter().filter(|told| told.path.starts_with(path)).collect()
    }

    /// The ledger, past the program.
    pub(crate) fn ledger(&self) -> Box<dyn Ledger> {
        let address = format!("sqlite:{}", self.book.path().join("ledger.sqlite").display());
        connect(&LedgerAddress::parse(&address.into()).unwrap())
    }

    /// The newest run.
    pub(crate) fn run(&self) -> Run {
        let ledger = self.ledger();
        wait(async {
            let ids = ledger.runs(&Filter::default()).await.unwrap();
            Run::fold(&ledger.load(&ids[0]).await.unwrap()).unwrap()
        })
    }

    /// Each notification of the newest run: event, channel, how it ended.
    pub(crate) fn notifications(&self) -> Vec<(String, String, String)> {
        let told = |one: &tidegate::promotion::run::Notification| {
            let delivery = one.delivery.map_or("open", |(delivery, _)| delivery.name());
            (one.topic.clone(), one.channel.clone(), delivery.to_owned())
        };
        self.run().notifications.iter().map(told).collect()
    }

    /// Nothing that is secret was printed or left in a file.
    pub(crate) fn assert_nothing_leaked(&self, finished: &Finished) {
        let told: String = finished.stdout.lines().filter(|line| !line.starts_with("::add-mask::")).collect();
        let ledger = std::fs::read(self.book.path().join("ledger.sqlite")).unwrap();
        let ledger = String::from_utf8_lossy(&ledger).into_owned();
        for text in [&told, &finished.stderr, &finished.summary().to_owned(), &ledger] {
            for secret in
                ["secretsecret", "xoxb-not-a-token", "nobody knows", "brevo-secret-key", "pagerduty-secret-key"]
            {
                assert!(!text.contains(secret), "{secret} is shown:\n{finished}");
            }
        }
    }
}

/// Waits for what the ledger says.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
