//! Image promotion from staging to production.

use testbed::channels::Channels;
use testbed::fault::{Action, Answer, Rule};
use testbed::github::{GitHub, NewCheckRun, NewWorkflow};
use testbed::image::{Content, Image};
use testbed::postgres::{Database, Postgres};
use testbed::registry::Registry;
use testbed::service::{Behaviour, Service};
use workflow::{Gate, Machine, Review, Run, Verdict};

use super::{example, is_discreet, is_visited, states};

const FILE: &str = ".github/workflows/promote.yml";
const ROLLBACK: &str = ".github/workflows/rollback.yml";

/// The states of the system, in the order in which its document has them.
const SIXTEEN: [&str; 16] = [
    "initializing",
    "validating-conditions",
    "pending-approval",
    "approval-granted",
    "validation-running",
    "validation-passed",
    "validation-failed",
    "promotion-running",
    "promotion-retrying",
    "promotion-failed",
    "promotion-succeeded",
    "generating-reports",
    "notifications-sent",
    "triggering-deployment",
    "completed-successfully",
    "failed",
];

/// What scenarios are seen to visit, in this order; other states may come in between.
mod ways {
    pub(super) const SUCCESS: &[&str] = &[
        "initializing",
        "validating-conditions",
        "pending-approval",
        "approval-granted",
        "validation-running",
        "validation-passed",
        "promotion-running",
        "promotion-succeeded",
        "generating-reports",
        "notifications-sent",
        "triggering-deployment",
        "completed-successfully",
    ];
    pub(super) const RETRIED: &[&str] =
        &["promotion-running", "promotion-retrying", "promotion-succeeded", "completed-successfully"];
    pub(super) const NOT_PROMOTED: &[&str] =
        &["promotion-retrying", "promotion-failed", "generating-reports", "notifications-sent", "failed"];
    pub(super) const NOT_VALID: &[&str] =
        &["validation-running", "validation-failed", "generating-reports", "notifications-sent", "failed"];
    pub(super) const FORCED: &[&str] = &["validation-running", "validation-passed", "completed-successfully"];
    pub(super) const REJECTED: &[&str] = &["pending-approval", "generating-reports", "notifications-sent", "rejected"];
    pub(super) const UNANSWERED: &[&str] =
        &["pending-approval", "generating-reports", "notifications-sent", "cancelled"];
    pub(super) const TAKEN_BACK: &[&str] =
        &["notifications-sent", "triggering-deployment", "verifying", "rolling-back", "rolled-back"];
    pub(super) const LEFT_TO_PEOPLE: &[&str] =
        &["triggering-deployment", "rolling-back", "rollback-failed", "notifications-sent"];
    pub(super) const ALL: [&[&str]; 9] =
        [SUCCESS, RETRIED, NOT_PROMOTED, NOT_VALID, FORCED, REJECTED, UNANSWERED, TAKEN_BACK, LEFT_TO_PEOPLE];
}

/// The caller's side: a registry, a database, GitHub, the channels, and the service.
struct Caller {
    registry: Registry,
    database: Database,
    github: GitHub,
    channels: Channels,
    service: Service,
    /// What the images were built from; its checks are green.
    commit: String,
}

impl Caller {
    fn new() -> Self {
        let caller = Self::checked("success");
        caller.place(&caller.sound(1));
        caller
    }

    /// The same with a check of the commit that ended like this.
    fn checked(conclusion: &str) -> Self {
        let (registry, github) = (Registry::start(), GitHub::start());
        let repository = github.repository("acme/api");
        let commit = repository.commit("main", "What is promoted", "ann");
        repository.check_run(&commit, &NewCheckRun::ended("build", conclusion));
        let service = Service::following(registry.contents(), "acme/api", "production");
        let caller = Self {
            registry,
            database: Postgres::shared().database(),
            github,
            channels: Channels::start(),
            service,
            commit,
        };
        caller.deployments_are(&["queued", "in_progress", "completed:success"]);
        caller
    }

    /// What the runs of the workflow become that deploys.
    fn deployments_are(&self, steps: &[&str]) {
        let deploy = NewWorkflow::file("deploy.yml").run_name("Deploy {digest} ({run})");
        self.github.repository("acme/api").workflow(&deploy.steps(steps));
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

    /// The repository, whose environment `production` is protected like this.
    fn guarded(&self, gate: Gate, more: &[(&str, &str)]) -> Machine<'_> {
        let (host, service) = (self.registry.host(), self.service.url(""));
        let mut replaced = vec![
            ("ghcr.io", host.as_str()),
            ("https://www.acme.test", service.as_str()),
            ("initial: 1s", "initial: 5ms"),
            ("settle: 30s", "settle: 10ms"),
            ("retries: 5", "retries: 2"),
            ("interval: 10s", "interval: 50ms"),
            ("{ for: 5m, every: 30s }", "{ for: 600ms, every: 100ms, samples: 4 }"),
            ("every: 10s", "every: 20ms"),
            ("lived: 10m", "lived: 1ms"),
        ];
        replaced.extend(more);
        example("image-promotion", &self.github, &replaced)
            .commit(&self.commit)
            .variable("TIDEGATE_PACE_MS", "40")
            .secret("DATABASE_URL", &self.database.url())
            .secret("SLACK_WEBHOOK", &format!("{}/services/T0/B0/x", self.channels.url()))
            .secret("TEAMS_WEBHOOK", &format!("{}/workflows/oncall", self.channels.url()))
            .environment("production", gate)
    }

    /// The same, reviewed like this.
    fn machine(&self, review: fn() -> Review) -> Machine<'_> {
        self.guarded(Gate::reviewed(&["bob"], move |_| review()), &[])
    }

    fn place(&self, image: &Content) {
        image.place(self.registry.contents(), "acme/api", &["staging"]);
    }

    /// Promotes an image, which goes well.
    fn promote(&self, number: u64) {
        self.place(&self.sound(number));
        let run = self.machine(yes).dispatch(FILE, &[]);
        assert_eq!(run.result(), Verdict::Success, "{run}");
    }

    fn tag(&self, tag: &str) -> Option<String> {
        self.registry.contents().digest("acme/api", tag)
    }

    fn runs(&self, number: u64) -> bool {
        self.tag("production").as_deref() == Some(self.sound(number).digest())
    }

    /// What the log for people says, newest last.
    fn log(&self) -> String {
        self.database.psql("select sequence_number, status, state from tidegate.deployment_log order by started_at")
    }

    /// Whether the newest promotion went this way.
    fn assert_way(&self, way: &[&str], run: &Run) {
        let states = states(&self.database, "promote");
        assert!(is_visited(&states, way), "{way:?} is not the way of {states:?}\n{run}");
    }

    /// What was told to a channel, in order.
    fn told(&self, channel: &str) -> Vec<String> {
        let sql = format!(
            "select event->>'topic' from tidegate.event where kind = 'notification-queued' and \
             event->>'channel' = '{channel}' order by at, run, seq"
        );
        self.database.psql(&sql).lines().map(str::to_owned).collect()
    }
}

fn yes() -> Review {
    Review::yes("bob")
}

fn no() -> Review {
    Review::no("bob", "not on a Friday")
}

#[test]
fn every_state_of_the_document_is_in_the_way_of_a_scenario() {
    let visited = |state: &&str| ways::ALL.iter().any(|way| way.contains(state));
    let missing: Vec<&&str> = SIXTEEN.iter().filter(|state| !visited(state)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    // In its order, but for the two that can come of a validation.
    let place = |state: &&str| SIXTEEN.iter().position(|one| one == state);
    for way in ways::ALL {
        let places: Vec<usize> = way.iter().filter_map(place).collect();
        assert!(places.is_sorted() || way == ways::TAKEN_BACK || way == ways::LEFT_TO_PEOPLE, "{way:?}");
    }
}

#[test]
fn what_was_approved_is_promoted_and_deployed() {
    let caller = Caller::new();
    let run = caller.machine(yes).dispatch(FILE, &[]);
    let mut results = run.results();
    results.sort();
    assert_eq!(
        results,
        [
            "promote / audit: success",
            "promote / conditions: success",
            "promote / deploy: success",
            "promote / promote: success",
            "promote / refused: skipped",
            "promote / watch: success",
            "promote: success"
        ],
        "{run}"
    );
    caller.assert_way(ways::SUCCESS, &run);
    assert!(caller.runs(1) && caller.tag("production-1") == caller.tag("production"));
    let outputs = &run.job("promote").outputs;
    assert_eq!((outputs["status"].as_str(), outputs["state"].as_str()), ("SUCCESS", "completed-successfully"));
    let started = caller.github.repository("acme/api").runs();
    let deploys: Vec<_> = started.iter().filter(|run| run.inputs.contains_key("digest")).collect();
    assert_eq!(deploys.len(), 1, "{started:?}");
    assert_eq!(deploys[0].inputs["digest"], caller.sound(1).digest());
    assert_eq!(
        caller.told("team"),
        ["started", "approval-needed", "approved", "promoted", "deployed", "succeeded"],
        "{run}"
    );
    assert_eq!((caller.told("oncall").len(), caller.channels.told().len()), (0, 6));
    // What is kept: up to the promotion, and to the end.
    let id = &outputs["deployment-id"];
    let promoted = run.artifact(&format!("promotion-{id}"), "audit.jsonl");
    let deployed = run.artifact(&format!("deployment-{id}"), &format!("{id}/audit.jsonl"));
    assert!(deployed.starts_with(&promoted) && deployed.len() > promoted.len());
    let record = run.artifact(&format!("deployment-{id}"), &format!("{id}/record.json"));
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    assert_eq!((&record["status"], &record["sequence"]), (&"success".into(), &1.into()), "{record}");
    assert!(record["approvals"].to_string().contains("bob"), "{record}");
    assert!(is_discreet(&run, &[caller.database.password()]), "{run}");
    // A second one with the same image is a success, and writes nothing.
    let before = caller.registry.contents().snapshot();
    let again = caller.machine(yes).dispatch(FILE, &[]);
    assert_eq!(again.result(), Verdict::Success, "{again}");
    assert_eq!(again.job("promote").outputs["status"], "SUCCESS", "{again}");
    assert_eq!(caller.registry.contents().snapshot(), before);
}

#[test]
fn a_dry_run_and_a_rejection_change_nothing() {
    let caller = Caller::new();
    let before = caller.registry.contents().snapshot();
    let rehearsed = caller.machine(yes).dispatch(FILE, &[("dry-run", "true")]);
    assert_eq!(rehearsed.result(), Verdict::Success, "{rehearsed}");
    assert_eq!(rehearsed.job("promote / promote").result, Verdict::Skipped);
    assert!(caller.channels.told().is_empty());
    let rejected = caller.machine(no).dispatch(FILE, &[]);
    assert_eq!(rejected.job("promote / promote").result, Verdict::Failure, "{rejected}");
    assert_eq!(rejected.job("promote / audit").result, Verdict::Success, "{rejected}");
    assert_eq!(rejected.job("promote").outputs["state"], "rejected", "{rejected}");
    assert!(rejected.log().contains("not on a Friday"), "{rejected}");
    caller.assert_way(ways::REJECTED, &rejected);
    assert_eq!(caller.told("team"), ["started", "approval-needed", "rejected"], "{rejected}");
    let id = &rejected.job("promote").outputs["deployment-id"];
    assert!(rejected.artifact(&format!("refusal-{id}"), "record.json").contains("rejected"));
    assert_eq!(caller.registry.contents().snapshot(), before);
}

#[test]
fn reviewers_are_reminded_and_when_nobody_answers_it_is_over() {
    let caller = Caller::new();
    let hurried = [("reminder: 1h, timeout: 5h", "reminder: 1s, timeout: 4s")];
    let run = caller.guarded(Gate::unanswered(&["bob"]), &hurried).dispatch(FILE, &[]);
    let watched = run.job("promote / watch");
    assert_eq!(watched.result, Verdict::Failure, "{run}");
    let log = &watched.step("Remind the reviewers, and give up when the time is over").log;
    assert!(log.contains("title=approval needed") && log.contains("bob"), "{log}");
    assert_eq!(run.job("promote / promote").result, Verdict::Cancelled, "{run}");
    assert_eq!(run.job("promote").outputs["state"], "cancelled", "{run}");
    caller.assert_way(ways::UNANSWERED, &run);
    assert_eq!(caller.told("team"), ["started", "approval-needed", "timed-out"], "{run}");
    assert_eq!(caller.tag("production"), None);
}

#[test]
fn a_defective_image_is_refused_and_may_be_forced() {
    let caller = Caller::new();
    caller.place(&caller.unsound(1));
    let run = caller.machine(yes).dispatch(FILE, &[]);
    assert_eq!(run.result(), Verdict::Failure, "{run}");
    assert_eq!(caller.tag("production"), None);
    caller.assert_way(ways::NOT_VALID, &run);
    // Without a reason force is refused before anything is read.
    let run = caller.machine(yes).dispatch(FILE, &[("force", "true")]);
    assert_eq!(run.job("promote / conditions").result, Verdict::Failure, "{run}");
    let run = caller.machine(yes).dispatch(FILE, &[("force", "true"), ("reason", "the ARM builders are down")]);
    assert_eq!(run.result(), Verdict::Success, "{run}");
    assert_eq!(caller.tag("production").as_deref(), Some(caller.unsound(1).digest()));
    assert!(run.log().contains("the ARM builders are down"), "{run}");
    caller.assert_way(ways::FORCED, &run);
}

#[test]
fn a_registry_that_fails_in_passing_is_tried_again_and_one_that_goes_on_failing_is_not() {
    let caller = Caller::new();
    let rule = Rule::on("PUT", "/v2/acme/api/manifests/production").times(2);
    let fault = caller.registry.fault(rule.act(Action::Answer(Answer::status(503))));
    let run = caller.machine(yes).dispatch(FILE, &[]);
    assert_eq!(run.result(), Verdict::Success, "{run}");
    assert_eq!(fault.hits(), 2);
    caller.assert_way(ways::RETRIED, &run);
    caller.place(&caller.sound(2));
    let rule = Rule::on("PUT", "/v2/acme/api/manifests/production");
    caller.registry.fault(rule.act(Action::Answer(Answer::status(503))));
    let run = caller.machine(yes).dispatch(FILE, &[]);
    assert_eq!(run.job("promote / promote").result, Verdict::Failure, "{run}");
    assert_eq!(run.job("promote / deploy").result, Verdict::Skipped, "{run}");
    assert!(caller.runs(1));
    assert!(caller.log().contains("SUCCESS") && caller.log().contains("FAILURE"), "{}", caller.log());
    caller.assert_way(ways::NOT_PROMOTED, &run);
    assert_eq!(caller.told("team").last().map(String::as_str), Some("failed"), "{run}");
}

#[test]
fn what_was_not_tested_is_not_promoted() {
    let caller = Caller::checked("failure");
    caller.place(&caller.sound(1));
    let run = caller.machine(yes).dispatch(FILE, &[]);
    let conditions = run.job("promote / conditions");
    assert_eq!(conditions.result, Verdict::Failure, "{run}");
    assert_eq!(conditions.outputs["decision"], "stop");
    assert!(run.log().contains("checks-not-green"), "{run}");
    assert_eq!(run.job("promote / promote").result, Verdict::Skipped);
    let id = &run.job("promote").outputs["deployment-id"];
    assert!(run.artifact(&format!("conditions-{id}"), "report.md").contains("build"), "{run}");
    assert_eq!(caller.tag("production"), None);
}

#[test]
fn an_environment_that_nobody_guards_is_refused() {
    let caller = Caller::new();
    let run = caller.guarded(Gate::open(), &[]).dispatch(FILE, &[]);
    assert_eq!(run.job("promote / conditions").result, Verdict::Failure, "{run}");
    assert!(run.log().contains("environment-unprotected"), "{run}");
    assert_eq!(caller.tag("production"), None);
}

#[test]
fn what_does_not_live_is_taken_back_by_itself() {
    let caller = Caller::new();
    caller.promote(1);
    caller.place(&caller.sound(2));
    caller.service.behaves(caller.sound(2).digest(), Behaviour::Dead);
    let run = caller.machine(yes).dispatch(FILE, &[]);
    assert_eq!(run.job("promote / deploy").result, Verdict::Failure, "{run}");
    let outputs = &run.job("promote").outputs;
    assert_eq!((outputs["state"].as_str(), outputs["rolled-back"].as_str()), ("rolled-back", "true"), "{run}");
    caller.assert_way(ways::TAKEN_BACK, &run);
    assert!(caller.runs(1), "{run}");
    // The way back was deployed, too.
    let started = caller.github.repository("acme/api").runs();
    let last = started.iter().rfind(|run| run.inputs.contains_key("digest")).unwrap();
    assert_eq!(last.inputs["digest"], caller.sound(1).digest());
    assert_eq!(caller.told("team").last().map(String::as_str), Some("rolled-back"), "{run}");
    assert!(caller.told("oncall").is_empty());
    // It is not promoted again.
    let again = caller.machine(yes).dispatch(FILE, &[]);
    assert!(again.log().contains("digest-bad"), "{again}");
}

#[test]
fn where_people_have_to_take_it_back_they_are_called_and_do() {
    let caller = Caller::new();
    caller.promote(1);
    caller.place(&caller.sound(2));
    caller.service.behaves(caller.sound(2).digest(), Behaviour::Dead);
    let machine = caller.guarded(Gate::reviewed(&["bob"], |_| yes()), &[("automatic: true", "automatic: false")]);
    let run = machine.dispatch(FILE, &[]);
    assert_eq!(run.job("promote").outputs["state"], "rollback-failed", "{run}");
    caller.assert_way(ways::LEFT_TO_PEOPLE, &run);
    assert!(caller.runs(2), "{run}");
    assert_eq!(caller.told("oncall"), ["rollback-failed"], "{run}");
    assert!(run.log().contains("--operation rollback --environment production"), "{run}");
    // Mistyped, it is refused.
    let before = caller.registry.contents().snapshot();
    let mistyped = [("reason", "orders are lost"), ("confirm", "rollback")];
    let refused = caller.machine(yes).dispatch(ROLLBACK, &mistyped);
    assert_eq!(refused.result(), Verdict::Failure, "{refused}");
    assert_eq!(caller.registry.contents().snapshot(), before);
    let run = caller.machine(yes).dispatch(ROLLBACK, &[("reason", "orders are lost"), ("confirm", "ROLLBACK")]);
    assert_eq!(run.result(), Verdict::Success, "{run}");
    assert!(caller.runs(1), "{run}");
    assert_eq!(run.job("rollback").outputs["status"], "SUCCESS", "{run}");
    assert!(caller.database.psql("select operation, reason from tidegate.run").contains("rollback|orders are lost"));
}

#[test]
fn when_it_can_neither_be_deployed_nor_taken_back_whoever_is_on_call_is_woken() {
    let caller = Caller::checked("success");
    caller.place(&caller.sound(1));
    caller.promote(1);
    caller.place(&caller.sound(2));
    caller.deployments_are(&["queued", "completed:failure"]);
    let run = caller.machine(yes).dispatch(FILE, &[]);
    assert_eq!(run.job("promote").outputs["state"], "rollback-failed", "{run}");
    caller.assert_way(ways::LEFT_TO_PEOPLE, &run);
    assert_eq!(caller.told("oncall"), ["rollback-failed"], "{run}");
}

#[test]
fn an_emergency_rollback_goes_to_the_digest_that_is_named() {
    let caller = Caller::new();
    caller.promote(1);
    caller.promote(2);
    let digest = caller.sound(1).digest().to_owned();
    let inputs = [("reason", "orders are lost"), ("confirm", "ROLLBACK"), ("digest", digest.as_str())];
    let run = caller.machine(yes).dispatch(ROLLBACK, &inputs);
    assert_eq!(run.result(), Verdict::Success, "{run}");
    assert!(caller.runs(1), "{run}");
    // What was replaced is bad here, and is not promoted again.
    let again = caller.machine(yes).dispatch(FILE, &[]);
    assert_eq!(again.job("promote / conditions").result, Verdict::Failure, "{again}");
    assert!(again.log().contains("digest-bad"), "{again}");
}
