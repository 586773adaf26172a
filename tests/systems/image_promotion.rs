//! Image promotion from staging to production.

use testbed::fault::{Action, Answer, Rule};
use testbed::github::{GitHub, NewCheckRun};
use testbed::image::{Content, Image};
use testbed::postgres::{Database, Postgres};
use testbed::registry::Registry;
use workflow::{Gate, Machine, Review, Run, Verdict};

use super::example;

const FILE: &str = ".github/workflows/promote.yml";

/// The caller's side: a registry, a database, GitHub.
struct Caller {
    registry: Registry,
    database: Database,
    github: GitHub,
    /// What the images were built from; its checks are green.
    commit: String,
}

impl Caller {
    fn new() -> Self {
        let caller = Self::checked("success");
        caller.place(&caller.sound(1), "staging");
        caller
    }

    /// The same with a check of the commit that ended like this.
    fn checked(conclusion: &str) -> Self {
        let github = GitHub::start();
        let repository = github.repository("acme/api");
        let commit = repository.commit("main", "What is promoted", "ann");
        repository.check_run(&commit, &NewCheckRun::ended("build", conclusion));
        Self { registry: Registry::start(), database: Postgres::shared().database(), github, commit }
    }

    /// An image that passes every check.
    fn sound(&self, number: u64) -> Content {
        self.image(&["linux/amd64", "linux/arm64"], number)
    }

    /// One that lacks a platform.
    fn unsound(&self, number: u64) -> Content {
        self.image(&["linux/amd64"], number)
    }

    fn image(&self, platforms: &[&str], number: u64) -> Content {
        Image::index(platforms)
            .layers(2, 600)
            .seed(number)
            .label("org.opencontainers.image.version", &format!("1.{number}.0"))
            .label("org.opencontainers.image.revision", &self.commit)
            .build()
    }

    /// The repository, whose environment `production` is reviewed like this.
    fn machine(&self, review: fn() -> Review) -> Machine<'_> {
        let replaced = [("ghcr.io", self.registry.host()), ("initial: 1s", "initial: 5ms".to_owned())];
        let replaced: Vec<(&str, &str)> = replaced.iter().map(|(from, to)| (*from, to.as_str())).collect();
        example("image-promotion", &self.github, &replaced)
            .commit(&self.commit)
            .secret("DATABASE_URL", &self.database.url())
            .environment("production", Gate::reviewed(&["bob"], move |_| review()))
    }

    fn place(&self, image: &Content, tag: &str) {
        image.place(self.registry.contents(), "acme/api", &[tag]);
    }

    fn tag(&self, tag: &str) -> Option<String> {
        self.registry.contents().digest("acme/api", tag)
    }

    /// What the log for people says, newest last.
    fn log(&self) -> String {
        self.database.psql("select sequence_number, status, state from tidegate.deployment_log order by started_at")
    }

    /// The states of the newest run, in their order.
    fn states(&self) -> Vec<String> {
        let sql = "select event->>'to' from tidegate.event where kind = 'state-changed' and run = \
                   (select id from tidegate.run order by opened_at desc limit 1) order by seq";
        self.database.psql(sql).lines().map(str::to_owned).collect()
    }
}

fn yes() -> Review {
    Review::yes("bob")
}

fn no() -> Review {
    Review::no("bob", "not on a Friday")
}

/// No secret is in anything that people can see.
fn assert_discreet(run: &Run, caller: &Caller) {
    assert!(!run.log().contains(caller.database.password()), "{run}");
}

#[test]
fn what_was_approved_is_promoted() {
    let caller = Caller::new();
    let run = caller.machine(yes).dispatch(FILE, &[]);
    assert_eq!(
        run.results(),
        [
            "promote / conditions: success",
            "promote / promote: success",
            "promote / refused: skipped",
            "promote / audit: success",
            "promote: success"
        ],
        "{run}"
    );
    assert_eq!(caller.tag("production").as_deref(), Some(caller.sound(1).digest()));
    assert_eq!(caller.tag("production-1").as_deref(), Some(caller.sound(1).digest()));
    let outputs = &run.job("promote").outputs;
    assert_eq!((outputs["status"].as_str(), outputs["state"].as_str()), ("SUCCESS", "completed-successfully"));
    let artifact = format!("promotion-{}", outputs["deployment-id"]);
    let record: serde_json::Value = serde_json::from_str(&run.artifact(&artifact, "record.json")).unwrap();
    assert_eq!(record["status"], "success", "{record}");
    assert_eq!(record["sequence"], 1);
    assert!(record["approvals"].to_string().contains("bob"), "{record}");
    assert_discreet(&run, &caller);
    // A second one with the same image is a success, and writes nothing.
    let before = caller.registry.contents().snapshot();
    let again = caller.machine(yes).dispatch(FILE, &[]);
    assert_eq!(again.result(), Verdict::Success, "{again}");
    assert_eq!(caller.registry.contents().snapshot(), before);
}

#[test]
fn a_dry_run_and_a_rejection_change_nothing() {
    let caller = Caller::new();
    let before = caller.registry.contents().snapshot();
    let rehearsed = caller.machine(yes).dispatch(FILE, &[("dry-run", "true")]);
    assert_eq!(rehearsed.result(), Verdict::Success, "{rehearsed}");
    assert_eq!(rehearsed.job("promote / promote").result, Verdict::Skipped);
    let rejected = caller.machine(no).dispatch(FILE, &[]);
    assert_eq!(rejected.job("promote / promote").result, Verdict::Failure, "{rejected}");
    assert_eq!(rejected.job("promote / audit").result, Verdict::Success, "{rejected}");
    assert_eq!(rejected.job("promote").outputs["state"], "rejected", "{rejected}");
    assert!(rejected.log().contains("not on a Friday"), "{rejected}");
    assert_eq!(caller.registry.contents().snapshot(), before);
}

#[test]
fn a_defective_image_is_refused_and_may_be_forced() {
    let caller = Caller::new();
    caller.place(&caller.unsound(1), "staging");
    let run = caller.machine(yes).dispatch(FILE, &[]);
    assert_eq!(run.result(), Verdict::Failure, "{run}");
    assert_eq!(caller.tag("production"), None);
    // Without a reason force is refused before anything is read.
    let run = caller.machine(yes).dispatch(FILE, &[("force", "true")]);
    assert_eq!(run.job("promote / conditions").result, Verdict::Failure, "{run}");
    let run = caller.machine(yes).dispatch(FILE, &[("force", "true"), ("reason", "the ARM builders are down")]);
    assert_eq!(run.result(), Verdict::Success, "{run}");
    assert_eq!(caller.tag("production").as_deref(), Some(caller.unsound(1).digest()));
    assert!(run.log().contains("the ARM builders are down"), "{run}");
}

#[test]
fn a_registry_that_fails_in_passing_is_tried_again_and_one_that_goes_on_failing_is_not() {
    let caller = Caller::new();
    let rule = Rule::on("PUT", "/v2/acme/api/manifests/production").times(2);
    let fault = caller.registry.fault(rule.act(Action::Answer(Answer::status(503))));
    let run = caller.machine(yes).dispatch(FILE, &[]);
    assert_eq!(run.result(), Verdict::Success, "{run}");
    assert_eq!(fault.hits(), 2);
    caller.place(&caller.sound(2), "staging");
    let rule = Rule::on("PUT", "/v2/acme/api/manifests/production");
    caller.registry.fault(rule.act(Action::Answer(Answer::status(503))));
    let run = caller.machine(yes).dispatch(FILE, &[]);
    assert_eq!(run.job("promote / promote").result, Verdict::Failure, "{run}");
    assert_eq!(caller.tag("production").as_deref(), Some(caller.sound(1).digest()));
    assert!(caller.log().contains("SUCCESS") && caller.log().contains("FAILURE"), "{}", caller.log());
    assert!(caller.states().contains(&"promotion-retrying".to_owned()), "{:?}", caller.states());
}

#[test]
fn what_was_not_tested_is_not_promoted() {
    let caller = Caller::checked("failure");
    caller.place(&caller.sound(1), "staging");
    let run = caller.machine(yes).dispatch(FILE, &[]);
    let conditions = run.job("promote / conditions");
    assert_eq!(conditions.result, Verdict::Failure, "{run}");
    assert_eq!(conditions.outputs["decision"], "stop");
    assert!(run.log().contains("checks-not-green"), "{run}");
    assert_eq!(run.job("promote / promote").result, Verdict::Skipped);
    assert_eq!(caller.tag("production"), None);
}

#[test]
fn an_environment_that_nobody_guards_is_refused() {
    let caller = Caller::new();
    let replaced = [("ghcr.io", caller.registry.host())];
    let replaced: Vec<(&str, &str)> = replaced.iter().map(|(from, to)| (*from, to.as_str())).collect();
    let machine = example("image-promotion", &caller.github, &replaced)
        .commit(&caller.commit)
        .secret("DATABASE_URL", &caller.database.url())
        .environment("production", Gate::open());
    let run = machine.dispatch(FILE, &[]);
    assert_eq!(run.job("promote / conditions").result, Verdict::Failure, "{run}");
    assert!(run.log().contains("environment-unprotected"), "{run}");
    assert_eq!(caller.tag("production"), None);
}

#[test]
fn an_emergency_rollback_puts_back_what_lived() {
    const ROLLBACK: &str = ".github/workflows/rollback.yml";
    let caller = Caller::new();
    for number in [1, 2] {
        caller.place(&caller.sound(number), "staging");
        let run = caller.machine(yes).dispatch(FILE, &[]);
        assert_eq!(run.result(), Verdict::Success, "{run}");
    }
    let before = caller.registry.contents().snapshot();
    let mistyped = [("reason", "orders are lost"), ("confirm", "rollback")];
    let refused = caller.machine(yes).dispatch(ROLLBACK, &mistyped);
    assert_eq!(refused.result(), Verdict::Failure, "{refused}");
    assert_eq!(caller.registry.contents().snapshot(), before);
    // To the one that is named: nothing has lived for ten minutes here.
    let digest = caller.sound(1).digest().to_owned();
    let inputs = [("reason", "orders are lost"), ("confirm", "ROLLBACK"), ("digest", digest.as_str())];
    let run = caller.machine(yes).dispatch(ROLLBACK, &inputs);
    assert_eq!(run.result(), Verdict::Success, "{run}");
    assert_eq!(caller.tag("production").as_deref(), Some(caller.sound(1).digest()));
    assert_eq!(run.job("rollback").outputs["status"], "SUCCESS", "{run}");
    assert!(caller.database.psql("select operation, reason from tidegate.run").contains("rollback|orders are lost"));
    // What was replaced is bad here, and is not promoted again.
    let again = caller.machine(yes).dispatch(FILE, &[]);
    assert_eq!(again.job("promote / conditions").result, Verdict::Failure, "{again}");
    assert!(again.log().contains("digest-bad"), "{again}");
}
