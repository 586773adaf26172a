//! Promotion and rollback of sites through a deployment API.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;

use base64::Engine as _;
use testbed::deployment_api::{Conduct, DeploymentApi};
use testbed::github::GitHub;
use testbed::postgres::{Database, Postgres};
use testbed::service::{Behaviour, Service};
use workflow::{Machine, Run, Verdict};

use super::{example, is_discreet};

const FILE: &str = ".github/workflows/promote-site.yml";
const SITE: &str = "example_site";

/// Gives each client that shows its secret a token of its own, as OAuth's client credentials do.
fn token_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut client, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
                    break;
                }
                let (name, value) = line.split_once(':').unwrap_or((&line, ""));
                match name.to_ascii_lowercase().as_str() {
                    "content-length" => length = value.trim().parse().unwrap(),
                    "authorization" => {
                        let packed = value.trim().trim_start_matches("Basic ");
                        let plain = base64::engine::general_purpose::STANDARD.decode(packed).unwrap();
                        client = String::from_utf8(plain).unwrap();
                    }
                    _ => {}
                }
            }
            let mut body = vec![0; length];
            let _ = reader.read_exact(&mut body);
            let (status, body) = match client.as_str() {
                "client-dev:secret-dev" => {
                    ("200 OK", r#"{"access_token":"of-dev","token_type":"Bearer","expires_in":300}"#)
                }
                "client-prod:secret-prod" => {
                    ("200 OK", r#"{"access_token":"of-prod","token_type":"Bearer","expires_in":300}"#)
                }
                _ => ("401 Unauthorized", r#"{"error":"invalid_client"}"#),
            };
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    address
}

/// An environment of the sites: its deployment API, and what it serves.
struct Side {
    api: Arc<DeploymentApi>,
    service: Service,
}

impl Side {
    fn new(token: &'static str) -> Self {
        let wanted = format!("Bearer {token}");
        let api = Arc::new(DeploymentApi::guarded(None, move |shown| shown == Some(&wanted)));
        let running = Arc::clone(&api);
        Self { api, service: Service::running(move || running.version(SITE)) }
    }
}

struct Sites {
    dev: Side,
    prod: Side,
    tokens: String,
    database: Database,
    github: GitHub,
}

impl Sites {
    fn new() -> Self {
        Self {
            dev: Side::new("of-dev"),
            prod: Side::new("of-prod"),
            tokens: token_server(),
            database: Postgres::shared().database(),
            github: GitHub::start(),
        }
    }

    fn machine(&self) -> Machine<'_> {
        let replaced = [
            ("https://id.acme.test", self.tokens.clone()),
            ("https://deploy.dev.acme.test", self.dev.api.url()),
            ("https://deploy.acme.test", self.prod.api.url()),
            ("https://www.dev.acme.test", self.dev.service.url("")),
            ("https://www.acme.test", self.prod.service.url("")),
            ("settle: 5m", "settle: 50ms\n      interval: 20ms\n      retries: 2".to_owned()),
            ("every: 5s", "every: 20ms".to_owned()),
            ("automatic: true", "automatic: true, lived: 1ms".to_owned()),
        ];
        let replaced: Vec<(&str, &str)> = replaced.iter().map(|(from, to)| (*from, to.as_str())).collect();
        example("site", &self.github, &replaced)
            .secret("DB_HOST", "127.0.0.1")
            .secret("DB_PORT", &self.database.port().to_string())
            .secret("DB_USER", "tidegate")
            .secret("DB_PASSWORD", self.database.password())
            .secret("DB_NAME", self.database.name())
            .secret("OAUTH_CLIENT_ID_DEV", "client-dev")
            .secret("OAUTH_CLIENT_SECRET_DEV", "secret-dev")
            .secret("OAUTH_CLIENT_ID_PROD", "client-prod")
            .secret("OAUTH_CLIENT_SECRET_PROD", "secret-prod")
    }

    fn run(&self, operation: &str, branch: &str) -> Run {
        let inputs = [
            ("site", SITE),
            ("branch", branch),
            ("operation", operation),
            ("mode", "full"),
            ("site_registration_id", "12345"),
        ];
        self.machine().dispatch(FILE, &inputs)
    }

    /// What the log for people says of an environment: sequence number, operation, requestor, version and status.
    fn log(&self, branch: &str) -> Vec<String> {
        let sql = format!(
            "select concat_ws(' ', sequence_number, operation, requestor, version, status) from \
             tidegate.deployment_log where environment = '{branch}' and service = '{SITE}' order by started_at"
        );
        self.database.psql(&sql).lines().map(str::to_owned).collect()
    }
}

#[test]
fn a_site_is_promoted_to_each_environment_with_its_own_client() {
    let sites = Sites::new();
    for branch in ["dev", "prod"] {
        let run = sites.run("promote", branch);
        assert_eq!(run.result(), Verdict::Success, "{run}");
        let outputs = &run.job("site").outputs;
        assert_eq!((outputs["status"].as_str(), outputs["sequence"].as_str()), ("SUCCESS", "1"), "{run}");
        assert_eq!(sites.log(branch), ["1 promote octocat example_site-1 SUCCESS"]);
        let secrets = ["secret-dev", "secret-prod", "of-dev", "of-prod", sites.database.password()];
        assert!(is_discreet(&run, &secrets), "{run}");
    }
    let asked = sites.prod.api.asked();
    let [one] = asked.as_slice() else { panic!("{asked:?}") };
    assert_eq!(one.body, serde_json::json!({"registration": "12345", "mode": "full", "requestor": "octocat"}));
    // The number goes on.
    let run = sites.run("promote", "prod");
    assert_eq!(run.job("site").outputs["sequence"], "2", "{run}");
    assert_eq!(sites.prod.api.version(SITE).as_deref(), Some("example_site-2"));
    // When, and what came of it, is in the table for people.
    let times = sites
        .database
        .psql("select count(*) from tidegate.deployment_log where started_at <= updated_at and comments <> ''");
    assert_eq!(times, "3");
}

#[test]
fn a_promotion_that_the_api_fails_is_a_failure() {
    let sites = Sites::new();
    sites.prod.api.conduct(Conduct::Fails(1));
    let run = sites.run("promote", "prod");
    assert_eq!(run.result(), Verdict::Failure, "{run}");
    assert_eq!(run.job("site").outputs["status"], "FAILURE", "{run}");
    assert!(sites.log("prod")[0].ends_with("FAILURE"), "{:?}", sites.log("prod"));
}

#[test]
fn a_site_that_does_not_live_goes_back_by_itself_and_by_hand() {
    let sites = Sites::new();
    for _ in 0..2 {
        let run = sites.run("promote", "prod");
        assert_eq!(run.result(), Verdict::Success, "{run}");
    }
    sites.prod.service.behaves("example_site-3", Behaviour::Dead);
    let run = sites.run("promote", "prod");
    assert_eq!(run.result(), Verdict::Failure, "{run}");
    assert_eq!(sites.prod.api.version(SITE).as_deref(), Some("example_site-2"), "{run}");
    // By hand: to the last stable version before the one that runs.
    let run = sites.run("rollback", "prod");
    assert_eq!(run.result(), Verdict::Success, "{run}");
    assert_eq!(sites.prod.api.version(SITE).as_deref(), Some("example_site-1"), "{run}");
}

#[test]
fn only_promotions_and_rollbacks_can_be_asked_for() {
    let sites = Sites::new();
    // The form would not let it through: somebody calls the reusable workflow with it.
    let text = std::fs::read_to_string(super::root().join("examples/site").join(FILE)).unwrap();
    let machine = sites.machine().file(FILE, text.replace("options: [promote, rollback]", "options: [audit]"));
    let inputs = [("site", SITE), ("branch", "dev"), ("operation", "audit"), ("site_registration_id", "1")];
    let run = machine.dispatch(FILE, &inputs);
    assert_eq!(run.result(), Verdict::Failure, "{run}");
    assert!(sites.dev.api.asked().is_empty());
}
