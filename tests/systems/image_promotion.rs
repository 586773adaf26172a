//! Image promotion from staging to production.

use testbed::fault::{Action, Answer, Rule};
use testbed::github::GitHub;
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
}

impl Caller {
    fn new() -> Self {
        Self { registry: Registry::start(), database: Postgres::shared().database(), github: GitHub::start() }
    }

    /// The repository, whose environment `production` is reviewed like this.
    fn machine(&self, review: fn() -> Review) -> Machine<'_> {
        let replaced = [("ghcr.io", self.registry.host()), ("initial: 1s", "initial: 5ms".to_owned())];
        let replaced: Vec<(&str, &str)> = replaced.iter().map(|(from, to)| (*from, to.as_str())).collect();
        example("image-promotion", &self.github, &replaced)
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

/// An image that passes every check.
fn sound(number: u64) -> Content {
    Image::index(&["linux/amd64", "linux/arm64"])
        .layers(2, 600)
        .seed(number)
        .label("org.opencontainers.image.version", &format!("1.{number}.0"))
        .build()
}

/// One that lacks a platform.
fn unsound(number: u64) -> Content {
    Image::index(&["linux/amd64"])
        .layers(2, 600)
        .seed(number)
        .label("org.opencontainers.image.version", &format!("1.{number}.0"))
        .build()
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
    caller.place(&sound(1), "staging");
    let run = caller.machine(yes).dispatch(FILE, &[]);
    assert_eq!(
        run.results(),
        ["promote / conditions: success", "promote / promote: success", "promote / audit: success", "promote: success"],
        "{run}"
    );
    assert_eq!(caller.tag("production").as_deref(), Some(sound(1).digest()));
    assert_eq!(caller.tag("production-1").as_deref(), Some(sound(1).digest()));
    let outputs = &run.job("promote").outputs;
    assert_eq!((outputs["status"].as_str(), outputs["state"].as_str()), ("SUCCESS", "completed-successfully"));
    let artifact = format!("promotion-{}", outputs["deployment-id"]);
    let record: serde_json::Value = serde_json::from_str(&run.artifact(&artifact, "record.json")).unwrap();
    assert_eq!(record["status"], "success", "{record}");
    assert_eq!(record["sequence"], 1);
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
    caller.place(&sound(1), "staging");
    let before = caller.registry.contents().snapshot();
    let rehearsed = caller.machine(yes).dispatch(FILE, &[("dry-run", "true")]);
    assert_eq!(rehearsed.result(), Verdict::Success, "{rehearsed}");
    assert_eq!(rehearsed.job("promote / promote").result, Verdict::Skipped);
    let rejected = caller.machine(no).dispatch(FILE, &[]);
    assert_eq!(rejected.job("promote / promote").result, Verdict::Failure, "{rejected}");
    assert_eq!(rejected.job("promote / audit").result, Verdict::Success, "{rejected}");
    assert_eq!(caller.registry.contents().snapshot(), before);
}

#[test]
fn a_defective_image_is_refused_and_may_be_forced() {
    let caller = Caller::new();
    caller.place(&unsound(1), "staging");
    let run = caller.machine(yes).dispatch(FILE, &[]);
    assert_eq!(run.result(), Verdict::Failure, "{run}");
    assert_eq!(caller.tag("production"), None);
    // Without a reason force is refused before anything is read.
    let run = caller.machine(yes).dispatch(FILE, &[("force", "true")]);
    assert_eq!(run.job("promote / conditions").result, Verdict::Failure, "{run}");
    let run = caller.machine(yes).dispatch(FILE, &[("force", "true"), ("reason", "the ARM builders are down")]);
    assert_eq!(run.result(), Verdict::Success, "{run}");
    assert_eq!(caller.tag("production").as_deref(), Some(unsound(1).digest()));
    assert!(run.log().contains("the ARM builders are down"), "{run}");
}

#[test]
fn a_registry_that_fails_in_passing_is_tried_again_and_one_that_goes_on_failing_is_not() {
    let caller = Caller::new();
    caller.place(&sound(1), "staging");
    let rule = Rule::on("PUT", "/v2/acme/api/manifests/production").times(2);
    let fault = caller.registry.fault(rule.act(Action::Answer(Answer::status(503))));
    let run = caller.machine(yes).dispatch(FILE, &[]);
    assert_eq!(run.result(), Verdict::Success, "{run}");
    assert_eq!(fault.hits(), 2);
    caller.place(&sound(2), "staging");
    let rule = Rule::on("PUT", "/v2/acme/api/manifests/production");
    caller.registry.fault(rule.act(Action::Answer(Answer::status(503))));
    let run = caller.machine(yes).dispatch(FILE, &[]);
    assert_eq!(run.job("promote / promote").result, Verdict::Failure, "{run}");
    assert_eq!(caller.tag("production").as_deref(), Some(sound(1).digest()));
    assert!(caller.log().contains("SUCCESS") && caller.log().contains("FAILURE"), "{}", caller.log());
    assert!(caller.states().contains(&"promotion-retrying".to_owned()), "{:?}", caller.states());
}
