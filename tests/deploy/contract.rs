//! What every driver promises, held against all five: deployed once and again, looked at after a visit that was cut off,
//! stopped, taken back once and again; nothing there, wrong credentials, slow, lying.

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use testbed::deployment_api::{Conduct, DeploymentApi};
use testbed::docker_host::{DockerHosts, HOSTS};
use testbed::github::{GitHub as FakeGitHub, NewWorkflow};
use testbed::lambda::{KEY, Lambda};
use tidegate::config::{Configuration, SecretReader};
use tidegate::deploy::{Begun, Driver, Facts, Kit, Log, Order, Progress, Report, Setback, driver};
use tidegate::github::{GitHub, Hub, Settings};
use tidegate::promotion::deployment::{Handle, Release, differences};
use tidegate::promotion::digest::Digest;
use tidegate::promotion::identity::DeploymentId;
use tidegate::promotion::retry::RetryPolicy;

const REPOSITORY: &str = "registry.acme.test/acme/api";

/// A driver with the counterpart that it works on.
struct Place {
    name: &'static str,
    settings: String,
    secrets: Vec<(&'static str, String)>,
    workspace: TempDir,
    github: Option<FakeGitHub>,
    /// What else must live as long.
    _alive: Box<dyn std::any::Any>,
    slow: Box<dyn Fn()>,
    /// Settings with which nothing is there, and those whose credentials are wrong.
    gone: String,
    wrong: Vec<(&'static str, String)>,
    tells_what_runs: bool,
}

fn retry() -> RetryPolicy {
    RetryPolicy { attempts: 2, initial: Duration::from_millis(2), factor: 1.0, max: Duration::from_millis(4) }
}

impl Place {
    fn driver(&self, settings: &str, secrets: &[(&'static str, String)]) -> Box<dyn Driver> {
        let image = REPOSITORY;
        let text = format!(
            "version: 1\nservices:\n  api: {{ image: {image} }}\nenvironments:\n  production:\n    tag: production\n    deploy:\n{}\n",
            settings.lines().map(|line| format!("      {line}\n")).collect::<String>()
        );
        let file = self.workspace.path().join("tidegate.yml");
        std::fs::write(&file, text).unwrap();
        let configuration = Configuration::load(&file).unwrap_or_else(|errors| panic!("{errors}"));
        let known: Vec<(&'static str, String)> = secrets.to_vec();
        let find = move |name: &str| known.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
        let api_url = self.github.as_ref().map(FakeGitHub::url).unwrap_or_default();
        let token = secrets.iter().find(|(name, _)| *name == "GITHUB").map(|(_, token)| token.clone());
        let github = self.github.as_ref().map(|_| Hub {
            github: Arc::new(
                GitHub::new(Settings {
                    api_url: api_url.clone(),
                    token: token.map(Into::into),
                    retry: retry(),
                    deadline: None,
                    observer: None,
                })
                .unwrap(),
            ),
            repository: "acme/api".parse().unwrap(),
            only_read: false,
        });
        let kit = Kit {
            secrets: SecretReader::new(find, |_| {}),
            retry: retry(),
            workspace: self.workspace.path().to_owned(),
            github,
            api_url,
        };
        let environment = configuration.environment("production").unwrap();
        driver(environment.for_service("api").deploy.as_ref().unwrap(), &kit).unwrap()
    }

    fn usual(&self) -> Box<dyn Driver> {
        self.driver(&self.settings, &self.secrets)
    }
}

fn release(name: &str) -> Release {
    let digest = Digest::sha256(name.as_bytes());
    Release { image: Some(format!("{REPOSITORY}@{digest}").parse().unwrap()), digest: Some(digest), version: None }
}

fn order(name: &str, key: u64, undoes: Option<&str>) -> Order {
    let id = |text: &str| -> DeploymentId { text.parse().unwrap() };
    let order = Order {
        service: "api".to_owned(),
        release: release(name),
        names: Vec::new(),
        platforms: Vec::new(),
        run: id(&format!("{}-0123456789ab", 1_732_185_300 + key)),
        undoes: undoes.map(id),
        key: format!("key-{key}"),
        fence: key,
        values: serde_json::Map::new(),
    };
    order.with(&Facts {
        environment: "production",
        revision: None,
        sequence: Some(key),
        mode: None,
        variables: &std::collections::BTreeMap::new(),
        previous: None,
        requestor: "octocat",
        reason: None,
    })
}

/// Follows what was begun to its end.
async fn finished(driver: &dyn Driver, order: &Order, begun: Begun) -> Progress {
    let handle = match begun {
        Begun::Done(report) => return Progress::Applied(report),
        Begun::GoesOn(handle) => handle,
    };
    for _ in 0..500 {
        match driver.observe(order, Some(&handle)).await.unwrap() {
            Progress::InProgress(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            other => return other,
        }
    }
    panic!("it does not end");
}

async fn deploy(driver: &dyn Driver, order: &Order, log: &Log) {
    let begun = driver.start(order, log).await.unwrap_or_else(|setback| panic!("{}: {setback:?}", driver.name()));
    let progress = finished(driver, order, begun).await;
    assert!(matches!(progress, Progress::Applied(_)), "{}: {progress:?}", driver.name());
}

async fn runs(place: &Place, driver: &dyn Driver, name: &str) {
    let order = order(name, 99, None);
    let running = driver.running(&order).await.unwrap();
    assert_eq!(running.is_empty(), !place.tells_what_runs, "{}", place.name);
    assert_eq!(differences(&order.release, &[], &running), Vec::<String>::new(), "{}", place.name);
}

async fn promises(place: Place) {
    let driver = place.usual();
    let (log, _lines) = Log::new("api", &SecretReader::none());
    // Deployed, and deployed again.
    let first = order("one", 1, None);
    driver.check(&first).unwrap();
    deploy(&*driver, &first, &log).await;
    runs(&place, &*driver, "one").await;
    deploy(&*driver, &first, &log).await;
    runs(&place, &*driver, "one").await;
    // Looked at without knowing anything: what is there is found, and what is not is not made up.
    let looked = driver.observe(&first, None).await.unwrap();
    if place.tells_what_runs {
        assert!(matches!(looked, Progress::Applied(_)), "{}: {looked:?}", place.name);
    }
    let second = order("two", 2, None);
    let looked = driver.observe(&second, None).await.unwrap();
    assert!(matches!(looked, Progress::NotStarted | Progress::Unknown(_)), "{}: {looked:?}", place.name);
    // A visit that is cut off while it deploys: a new one goes on.
    let cut = tokio::time::timeout(Duration::from_millis(3), driver.start(&second, &log)).await;
    drop(cut);
    let driver = place.usual();
    if !matches!(driver.observe(&second, None).await.unwrap(), Progress::Applied(_)) {
        deploy(&*driver, &second, &log).await;
    }
    runs(&place, &*driver, "two").await;
    // Taken back, and taken back again.
    let back = order("one", 3, Some(second.run.as_str()));
    for _ in 0..2 {
        let begun = driver.roll_back(&back, &log).await.unwrap_or_else(|setback| panic!("{}: {setback:?}", place.name));
        assert!(matches!(finished(&*driver, &back, begun).await, Progress::Applied(_)), "{}", place.name);
        runs(&place, &*driver, "one").await;
    }
    // Slow is not broken; and what goes on elsewhere can be stopped, once and again.
    (place.slow)();
    let third = order("three", 4, None);
    match driver.start(&third, &log).await.unwrap() {
        Begun::Done(Report { .. }) => {}
        Begun::GoesOn(handle) => {
            driver.cancel(&third, &handle).await.unwrap();
            driver.cancel(&third, &handle).await.unwrap();
        }
    }
    driver.cancel(&third, &Handle::default()).await.ok();
    // Nothing is there; nobody lets us in: nothing was changed, and it is said.
    let wrong = (!place.wrong.is_empty()).then_some((&place.settings, &place.wrong));
    for (settings, secrets) in std::iter::once((&place.gone, &place.secrets)).chain(wrong) {
        let driver = place.driver(settings, secrets);
        let setback = driver.start(&order("four", 5, None), &log).await.unwrap_err();
        assert!(matches!(setback, Setback::Untouched(_) | Setback::Uncertain(_)), "{}: {setback:?}", place.name);
        assert!(setback.fault().fix.len() > 10 && !setback.fault().message.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http() {
    let api = Arc::new(DeploymentApi::guarded(None, |header| header == Some("Bearer right-token")));
    let settings = |url: &str| {
        format!(
            "http:\n  bearer: \"${{TOKEN}}\"\n  idempotent: true\n  promote: {{ url: \"{url}/sites/api/promotions\", json: {{ version: \"{{{{ digest }}}}\" }} }}\n  \
             rollback: {{ url: \"{url}/sites/api/rollbacks\", json: {{ version: \"{{{{ digest }}}}\" }} }}\n  \
             status: {{ url: \"{url}/promotions/{{{{ response.id }}}}\", state: /status, success: [COMPLETED], failure: [FAILED] }}\n  \
             running: {{ url: \"{url}/sites/api\", digest: /version }}\n  \
             cancel: {{ method: DELETE, url: \"{url}/promotions/{{{{ response.id }}}}\" }}"
        )
    };
    let slow = Arc::clone(&api);
    // With `idempotent` a look without a handle says that the call may be sent again.
    promises(Place {
        name: "http",
        settings: settings(&api.url()).replace("idempotent: true", "idempotent: false"),
        secrets: vec![("TOKEN", "right-token".to_owned())],
        workspace: tempfile::tempdir().unwrap(),
        github: None,
        slow: Box::new(move || slow.conduct(Conduct::Completes(50))),
        gone: settings(&format!("http://127.0.0.1:{}", testbed::free_port())),
        wrong: vec![("TOKEN", "wrong-token".to_owned())],
        tells_what_runs: true,
        _alive: Box::new(api),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workflow() {
    let github = FakeGitHub::start();
    let repository = github.repository("acme/api");
    repository.commit("main", "first", "octocat");
    let steps = ["queued", "in_progress", "completed:success"];
    repository.workflow(&NewWorkflow::file("deploy.yml").run_name("Deploy {run}").steps(&steps));
    let settings = "workflow:\n  file: deploy.yml\n  ref: main\n  inputs: { digest: \"{{ digest }}\" }\n  correlation-input: run\n  every: 5ms";
    let (token, stranger) = (github.job_token(), github.job_token_with(&[("contents", "read")]));
    promises(Place {
        name: "workflow",
        settings: settings.to_owned(),
        secrets: vec![("GITHUB", token)],
        workspace: tempfile::tempdir().unwrap(),
        slow: Box::new(|| {}),
        gone: settings.replace("deploy.yml", "absent.yml"),
        wrong: vec![("GITHUB", stranger)],
        github: Some(github),
        tells_what_runs: false,
        _alive: Box::new(()),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compose() {
    let hosts = Arc::new(DockerHosts::start());
    hosts.write(HOSTS[0], "compose.yaml", "services:\n  api:\n    image: old/api\n");
    let settings = |directory: String| {
        format!(
            "compose:\n  hosts: [\"{}\"]\n  user: {}\n  port: {}\n  key: \"${{KEY}}\"\n  host-keys: [\"{}\"]\n  directory: {directory}\n  project: shop\n  timeout: 20s",
            HOSTS[0],
            hosts.sshd().user(),
            hosts.sshd().port(),
            hosts.sshd().fingerprint()
        )
    };
    let other = testbed::sshd::Sshd::start();
    let slow = Arc::clone(&hosts);
    promises(Place {
        name: "compose",
        settings: settings(hosts.app(HOSTS[0]).display().to_string()),
        secrets: vec![("KEY", hosts.sshd().key())],
        workspace: tempfile::tempdir().unwrap(),
        github: None,
        slow: Box::new(move || slow.set(HOSTS[0], "slow", "1")),
        gone: settings("/nowhere/at/all".to_owned()),
        wrong: vec![("KEY", other.key())],
        tells_what_runs: true,
        _alive: Box::new((hosts, other)),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lambda() {
    let lambda = Arc::new(Lambda::start());
    lambda.image_function("api", &format!("{REPOSITORY}@{}", Digest::sha256(b"zero")));
    let settings =
        format!("lambda:\n  function: api\n  alias: live\n  region: eu-west-1\n  endpoint: \"{}\"", lambda.url());
    let secrets =
        |key: &str| vec![("AWS_ACCESS_KEY_ID", key.to_owned()), ("AWS_SECRET_ACCESS_KEY", "a-secret-key".to_owned())];
    let slow = Arc::clone(&lambda);
    promises(Place {
        name: "lambda",
        gone: settings.replace("function: api", "function: absent"),
        settings,
        secrets: secrets(KEY),
        workspace: tempfile::tempdir().unwrap(),
        github: None,
        slow: Box::new(move || slow.takes(2)),
        wrong: secrets("AKIDWRONG"),
        tells_what_runs: true,
        _alive: Box::new(lambda),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn command() {
    let workspace = tempfile::tempdir().unwrap();
    let script = "[ ! -e slow ] || sleep 0.3\necho \"$1\" >state.new && mv state.new state\n";
    std::fs::write(workspace.path().join("deploy.sh"), script).unwrap();
    let settings = "command:\n  run: [sh, deploy.sh, \"{{ digest }}\"]\n  running: [sh, -c, 'cat state 2>/dev/null || true']\n  timeout: 10s";
    let folder = workspace.path().to_owned();
    promises(Place {
        name: "command",
        settings: settings.to_owned(),
        secrets: Vec::new(),
        github: None,
        slow: Box::new(move || std::fs::write(folder.join("slow"), "").unwrap()),
        gone: settings.replace("run: [sh,", "run: [no-such-program,"),
        wrong: Vec::new(),
        tells_what_runs: true,
        workspace,
        _alive: Box::new(()),
    })
    .await;
}
