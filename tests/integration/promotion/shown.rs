//! What people and machines are shown, whole: console, job summary and record, but for what differs every time.

use testbed::image::{Defect, Image};
use testbed::runner::Signal;

use super::scene::{Scene, Visit, one_service, release, small};

/// What a deployment record is promised to have; a field more is no harm.
const PROMISED: [&str; 20] = [
    "schema",
    "timestamp",
    "deployment_id",
    "environment",
    "status",
    "state",
    "git_sha",
    "git_ref",
    "services_deployed",
    "health_checks",
    "rollback_available",
    "sequence",
    "requestor",
    "digest",
    "previous_digest",
    "validation",
    "approvals",
    "errors",
    "timings",
    "audit_head",
];

/// What differs every time, and what stands for it. The first that fit count.
const DIFFERENT: [(&str, &str); 15] = [
    (r"/tmp/\.tmp\w+/", "/tmp/"),
    (r"127\.0\.0\.1:\d+", "registry.test"),
    (r"\b\d{10}-[0-9a-f]{12}\b", "[run]"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "[time]"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC, [^ |]+ [a-z]+", "[time], [span]"),
    (r"\b1[78]\d{11}\b", "[milliseconds]"),
    (r"\| \d+(\.\d+)? (ms|s) \|", "| [span] |"),
    (r#""duration_ms": \d+"#, r#""duration_ms": "[span]""#),
    (r"\[run\]:\d+:[0-9a-f]{64}", "[run]:[events]:[hash]"),
    (r"has \d+ events", "has [events] events"),
    (r#""seq": \d+"#, r#""seq": "[events]""#),
    (r#""hash": ?"[0-9a-f]{64}""#, r#""hash": "[hash]""#),
    (r#""plan": ?"sha256:[0-9a-f]{64}""#, r#""plan": "[plan]""#),
    (r"plan is [0-9a-f]{12}", "plan is [plan]"),
    (r"ghadelimiter_[0-9a-f-]{36}", "[delimiter]"),
];

/// The promised fields of the record.
fn promised(visit: &Visit) -> String {
    let record = visit.record().unwrap();
    let fields: serde_json::Map<String, serde_json::Value> = PROMISED
        .iter()
        .map(|field| {
            let value = record.get(*field).unwrap_or_else(|| panic!("{field} is not in {record}"));
            ((*field).to_owned(), value.clone())
        })
        .collect();
    serde_json::to_string_pretty(&fields).unwrap()
}

fn shows(name: &str, visit: &Visit, with_record: bool) {
    let mut settings = insta::Settings::clone_current();
    for (pattern, instead) in DIFFERENT {
        settings.add_filter(pattern, instead);
    }
    settings.set_omit_expression(true);
    settings.bind(|| {
        insta::assert_snapshot!(format!("{name}_console"), visit.stdout);
        insta::assert_snapshot!(format!("{name}_summary"), visit.summary());
        if with_record {
            insta::assert_snapshot!(format!("{name}_record"), promised(visit));
        }
    });
    assert_eq!(visit.stderr, "");
}

#[test]
fn a_success_and_nothing_to_do() {
    let scene = Scene::new().configured(&one_service(r#"immutable-tags: ["production-{{ sequence }}"]"#));
    scene.place(&release(1), "acme/api", &["staging"]);
    scene.place(&small(9), "acme/api", &["production"]);
    shows("success", &scene.visit(&scene.production()), true);
    shows("nothing_to_do", &scene.visit(&scene.production().env("GITHUB_RUN_ID", "2")), false);
}

#[test]
fn a_refusal_by_validation_and_what_was_forced() {
    let scene = Scene::new().configured(&one_service(""));
    let broken =
        Image::index(&["linux/amd64", "linux/arm64"]).layers(1, 200).defect_on("linux/arm64", Defect::NoCommand);
    scene.place(&broken.build(), "acme/api", &["staging"]);
    shows("refused", &scene.visit(&scene.production()), false);
    let forced = scene.production().env("GITHUB_RUN_ID", "2").input("force", "true").input("reason", "hotfix 4711");
    shows("forced", &scene.visit(&forced), false);
}

#[test]
fn bad_input() {
    let scene = Scene::new();
    let step = scene.step().input("image", "acme/api:staging").input("to", "production").input("timeout", "soon");
    shows("bad_input", &scene.visit(&step), false);
}

#[test]
fn an_interruption_and_what_goes_on_after_it() {
    use testbed::fault::{Action, Rule};

    let scene = Scene::new().configured(&one_service(""));
    scene.place(&release(1), "acme/api", &["staging"]);
    let fault = scene.here.fault(Rule::on("PUT", "/v2/acme/api/manifests/production").act(Action::Hang));
    let running = scene.production().start();
    while fault.hits() == 0 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    running.signal(Signal::TERM);
    shows("interrupted", &scene.finish(running), true);
    fault.remove();
    shows("resumed", &scene.finish(scene.production().env("GITHUB_RUN_ATTEMPT", "2").start()), true);
}
