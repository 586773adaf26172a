//! A Lambda function through staging and an approval to production.

use serde_json::json;
use testbed::github::GitHub;
use testbed::lambda::Lambda;
use testbed::postgres::{Database, Postgres};
use workflow::{Gate, Machine, Review, Run, Verdict};

use super::example;

const FILE: &str = ".github/workflows/chain.yml";
const ROLLBACK: &str = ".github/workflows/manual-rollback.yml";
const STAGING: &str = "lambda-function-staging";
const PRODUCTION: &str = "lambda-function-production";

/// The caller's side: AWS, GitHub, a database.
struct Caller {
    lambda: Lambda,
    github: GitHub,
    database: Database,
    commit: String,
}

impl Caller {
    fn new() -> Self {
        let (lambda, github) = (Lambda::start(), GitHub::start());
        for function in [STAGING, PRODUCTION] {
            lambda.zip_function(function, b"what was there before");
        }
        let commit = github.repository("acme/api").commit("main", "What is deployed", "ann");
        Self { lambda, github, database: Postgres::shared().database(), commit }
    }

    /// The repository, whose build makes this package.
    fn machine(&self, package: &str, review: fn() -> Review) -> Machine<'_> {
        let deploy = format!("alias: live\n        endpoint: \"{}\"", self.lambda.url());
        let probe = format!("qualifier: live, endpoint: \"{}\"", self.lambda.url());
        let replaced = [
            ("alias: live", deploy.as_str()),
            ("qualifier: live", probe.as_str()),
            ("every: 1m", "every: 10ms"),
            ("settle: 5s", "settle: 10ms\n      retries: 2\n      interval: 50ms"),
        ];
        let open = ["staging", "production", "staging-rollback", "production-rollback"];
        let machine = example("lambda", &self.github, &replaced)
            .commit(&self.commit)
            .file("build.sh", format!("printf '%s' '{package}' > \"$1\"\n"))
            .variable("TIDEGATE_PACE_MS", "40")
            .variable("ACTIONS_ID_TOKEN_REQUEST_URL", &format!("{}/id-token?of=the-job", self.lambda.url()))
            .variable("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "key-of-the-job")
            .secret("DATABASE_URL", &self.database.url());
        let reviewed = Gate::reviewed(&["bob"], move |_| review());
        open.into_iter()
            .fold(machine, |machine, name| machine.environment(name, Gate::open()))
            .environment("production-approval", reviewed)
    }

    fn push(&self, package: &str, branch: &str) -> Run {
        self.machine(package, || Review::yes("bob")).push(FILE, branch)
    }

    /// The code that has the traffic, in staging and in production.
    fn live(&self) -> [Option<String>; 2] {
        [STAGING, PRODUCTION].map(|function| {
            let code = self.lambda.package(function, "live")?;
            Some(String::from_utf8(code).unwrap())
        })
    }
}

/// The jobs that ran, and how they ended.
fn ran(run: &Run) -> Vec<String> {
    let mut ran: Vec<String> = run.results().into_iter().filter(|one| !one.ends_with("skipped")).collect();
    ran.sort();
    ran
}

fn some(staging: &str, production: Option<&str>) -> [Option<String>; 2] {
    [Some(staging.to_owned()), production.map(ToOwned::to_owned)]
}

#[test]
fn what_starts_it_says_how_far_it_goes_and_staging_comes_first() {
    let caller = Caller::new();
    let staging_only = ["build: success", "chain / deploy-staging: success", "chain: success"];
    let run = caller.push("one", "develop");
    assert_eq!(ran(&run), staging_only, "{run}");
    assert_eq!(caller.live(), some("one", None));
    let run = caller.machine("two", || Review::yes("bob")).pull_request(FILE, "main");
    assert_eq!(ran(&run), staging_only, "{run}");
    let run = caller.machine("three", || Review::yes("bob")).dispatch(FILE, &[]);
    assert_eq!(ran(&run), staging_only, "{run}");
    assert_eq!(caller.live(), some("three", None));
    let whole = [
        "build: success",
        "chain / deploy-production: success",
        "chain / deploy-staging: success",
        "chain / plan-production: success",
        "chain / request-production-approval: success",
        "chain: success",
    ];
    let run = caller.push("four", "main");
    assert_eq!(ran(&run), whole, "{run}");
    assert_eq!(caller.live(), some("four", Some("four")));
    let run = caller.machine("five", || Review::yes("bob")).dispatch(FILE, &[("environment", "production")]);
    assert_eq!(ran(&run), whole, "{run}");
    assert_eq!(caller.live(), some("five", Some("five")));
    // Each side with its own role and its own payload, and production in steps.
    let roles = caller.lambda.roles();
    for side in ["staging", "production"] {
        assert!(roles.contains(&format!("arn:aws:iam::123456789012:role/deploy-{side}")), "{roles:?}");
    }
    let payloads = caller.lambda.invoked();
    assert!(payloads.contains(&(STAGING.to_owned(), json!({"check": "staging"}))), "{payloads:?}");
    assert!(payloads.contains(&(PRODUCTION.to_owned(), json!({"check": "production"}))), "{payloads:?}");
    assert_eq!(caller.lambda.shares(), [("2".to_owned(), 0.1), ("2".to_owned(), 0.5)]);
    // Who said yes is on record.
    let approved = caller.database.psql("select count(*) from tidegate.event where kind = 'approval-given'");
    assert_eq!(approved, "2");
    assert!(super::is_discreet(&run, &["key-of-the-job", caller.database.password()]), "{run}");
}

#[test]
fn a_no_keeps_it_out_of_production() {
    let caller = Caller::new();
    let run = caller.machine("one", || Review::no("bob", "not before the sale")).push(FILE, "main");
    assert_eq!(run.job("chain / request-production-approval").result, Verdict::Failure, "{run}");
    assert_eq!(run.job("chain / deploy-production").result, Verdict::Skipped, "{run}");
    assert_eq!(caller.live(), some("one", None));
    let states = caller.database.psql("select state from tidegate.run where environment = 'production'");
    assert_eq!(states, "rejected", "{run}");
    assert!(run.log().contains("not before the sale"), "{run}");
}

#[test]
fn code_that_fails_is_taken_back_in_staging_and_never_gets_to_production() {
    let caller = Caller::new();
    assert_eq!(caller.push("one", "main").result(), Verdict::Success);
    caller.lambda.break_zip(b"two");
    let run = caller.push("two", "main");
    assert_eq!(run.job("chain / deploy-staging").result, Verdict::Failure, "{run}");
    assert_eq!(run.job("chain / rollback-staging").result, Verdict::Success, "{run}");
    assert_eq!(run.job("chain / plan-production").result, Verdict::Skipped, "{run}");
    assert_eq!(caller.live(), some("one", Some("one")));
    let versions = caller.lambda.versions(PRODUCTION);
    assert_eq!(versions, 1);
}

#[test]
fn production_that_fails_is_taken_back_and_verified() {
    let caller = Caller::new();
    assert_eq!(caller.push("one", "main").result(), Verdict::Success);
    caller.lambda.break_zip_of(PRODUCTION, b"two");
    let run = caller.push("two", "main");
    assert_eq!(run.job("chain / deploy-production").result, Verdict::Failure, "{run}");
    assert_eq!(run.job("chain / rollback-production").result, Verdict::Success, "{run}");
    assert_eq!(caller.live(), some("two", Some("one")));
    assert!(run.artifacts.contains_key("rollback-production"), "{:?}", run.artifacts.keys());
}

#[test]
fn an_earlier_version_is_put_back_by_hand() {
    let caller = Caller::new();
    for package in ["one", "two"] {
        assert_eq!(caller.push(package, "main").result(), Verdict::Success);
    }
    let machine = caller.machine("two", || Review::yes("bob"));
    let inputs = [("environment", "production"), ("reason", "orders are lost"), ("confirm", "ROLLBACK")];
    let run = machine.dispatch(ROLLBACK, &inputs);
    assert_eq!(run.result(), Verdict::Success, "{run}");
    assert_eq!(caller.live(), some("two", Some("one")));
    let inputs = [("environment", "staging"), ("reason", "a mistake"), ("confirm", "no")];
    let refused = machine.dispatch(ROLLBACK, &inputs);
    assert_eq!(refused.result(), Verdict::Failure, "{refused}");
    assert_eq!(caller.live(), some("two", Some("one")));
}
