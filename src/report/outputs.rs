//! The values of the action's outputs.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::health;
use crate::promotion::act::Act;
use crate::promotion::event::{Conclusion, Consent, Decision};
use crate::promotion::fault::{Category, Code, Exit, Fault, Severity};
use crate::promotion::login::Login;
use crate::promotion::run::Run;
use crate::promotion::state::State;

/// The version of the output `result`; it grows when a field changes its meaning or goes.
const RESULT_SCHEMA: u32 = 1;

/// Where a visit left its files, as the workspace's user writes the paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Paths {
    /// The folder with the stages' logs.
    pub log: String,
    /// `record.json`.
    pub record: String,
    /// `audit.jsonl`.
    pub audit: String,
    /// `report.md`.
    pub report: String,
}

/// What a later job is to do, as far as the run itself tells.
#[must_use]
pub fn decision(run: &Run) -> Decision {
    match &run.ended {
        Some(ended) if ended.exit == Exit::Done => Decision::Proceed,
        Some(_) => Decision::Stop,
        None => run.visits.last().and_then(|visit| visit.ended).map_or(Decision::Stop, |(_, decision)| decision),
    }
}

/// `SUCCESS` or `FAILURE`; empty while the run goes on.
#[must_use]
pub fn status(run: &Run) -> &'static str {
    match &run.ended {
        Some(ended) if ended.exit == Exit::Done => "SUCCESS",
        Some(_) => "FAILURE",
        None if run.state == State::Interrupted => "FAILURE",
        None => "",
    }
}

/// The faults counted, as the output `errors` has them: every category and severity, also those that did not occur.
#[must_use]
pub fn errors(run: &Run) -> Value {
    errors_of(&run.faults_by_category(), &run.faults_by_severity())
}

fn errors_of(by_category: &BTreeMap<Category, u64>, by_severity: &BTreeMap<Severity, u64>) -> Value {
    let categories: serde_json::Map<String, Value> = Category::ALL
        .into_iter()
        .map(|one| (one.name().to_owned(), by_category.get(&one).copied().unwrap_or_default().into()))
        .collect();
    let severities: serde_json::Map<String, Value> = Severity::ALL
        .into_iter()
        .map(|one| (one.name().to_owned(), by_severity.get(&one).copied().unwrap_or_default().into()))
        .collect();
    json!({ "category": categories, "severity": severities })
}

/// Each service with what was promoted.
#[must_use]
pub fn images(run: &Run) -> Value {
    let plan = run.plan.as_ref().map(|(plan, _)| plan);
    run.candidates
        .iter()
        .map(|candidate| {
            let planned = plan.and_then(|plan| plan.candidate(&candidate.service));
            let image = planned.and_then(|planned| planned.image.as_ref());
            json!({
                "service": candidate.service,
                "image": image.map(|image| image.target.at(image.digest.clone()).to_string()),
                "version": planned.and_then(|planned| planned.version.as_ref()),
                "digest": candidate.digest,
                "previous_digest": image.and_then(|image| image.previous()),
                "sequence": candidate.sequence,
                "tags": image.map(|image| image.tags.iter().map(|tag| tag.tag.to_string()).collect::<Vec<_>>()).unwrap_or_default(),
            })
        })
        .collect()
}

/// What decided a run that is over, where a fault did.
fn reason(run: &Run) -> &'static str {
    run.ended.as_ref().and_then(|ended| ended.reason).map(Code::name).unwrap_or_default()
}

/// Who said yes, each once, by commas; `policy` where nobody had to.
#[must_use]
pub fn approved_by(run: &Run) -> String {
    match &run.consent {
        None => String::new(),
        Some((_, Consent::Policy { .. })) => "policy".to_owned(),
        Some((_, Consent::People { approvers, .. })) => {
            let people: BTreeSet<&Login> = approvers.iter().map(|approver| &approver.by).collect();
            people.into_iter().map(Login::as_str).collect::<Vec<_>>().join(",")
        }
    }
}

/// What machines are told in one piece.
fn result(run: &Run) -> Value {
    json!({
        "schema": RESULT_SCHEMA,
        "deployment_id": run.id,
        "operation": run.opening.operation,
        "environment": run.opening.environment,
        "state": run.state,
        "decision": decision(run).name(),
        "status": status(run),
        "reason_code": reason(run),
        "images": images(run),
        "errors": errors(run),
        "audit_head": { "seq": run.seq, "hash": run.head },
    })
}

/// The names of all outputs, in the order in which they are written.
const NAMES: [&str; 23] = [
    "deployment-id",
    "state",
    "decision",
    "reason-code",
    "result",
    "status",
    "sequence",
    "digest",
    "previous-digest",
    "images",
    "approved-by",
    "health",
    "success-rate",
    "rolled-back",
    "rollback-digest",
    "failed-stage",
    "error-category",
    "error-count",
    "errors",
    "log-path",
    "record-path",
    "audit-path",
    "report-path",
];

/// All outputs of a visit, by name.
#[must_use]
pub fn outputs(run: &Run, paths: &Paths) -> Vec<(String, String)> {
    let single = match run.candidates.as_slice() {
        [candidate] => Some(candidate),
        _ => None,
    };
    let image = run
        .plan
        .as_ref()
        .zip(single)
        .and_then(|((plan, _), candidate)| plan.candidate(&candidate.service)?.image.as_ref());
    let fault = run.decisive_fault();
    let failed = run
        .stages
        .iter()
        .rev()
        .find(|stage| matches!(stage.conclusion, Some(Conclusion::Failed | Conclusion::Errored)));
    let back = single.and_then(|one| run.rollback.to.get(&one.service));
    let judged = run.health.verdict.is_some();
    let text = |value: Option<&dyn ToString>| value.map(ToString::to_string).unwrap_or_default();
    let value = |name: &str, value: String| (name.to_owned(), value);
    vec![
        value("deployment-id", run.id.to_string()),
        value("state", run.state.to_string()),
        value("decision", decision(run).name().to_owned()),
        value("reason-code", reason(run).to_owned()),
        value("result", result(run).to_string()),
        value("status", status(run).to_owned()),
        value("sequence", text(single.and_then(|one| one.sequence.as_ref()).map(|one| one as &dyn ToString))),
        value("digest", text(single.and_then(|one| one.digest.as_ref()).map(|one| one as &dyn ToString))),
        value("previous-digest", text(image.and_then(|image| image.previous()).map(|one| one as &dyn ToString))),
        value("images", images(run).to_string()),
        value("approved-by", approved_by(run)),
        value("health", text(run.health.verdict.as_ref().map(|(health, _)| health as &dyn ToString))),
        value("success-rate", run.health.success_rate().filter(|_| judged).map(health::percent).unwrap_or_default()),
        value("rolled-back", (run.rollback.good == Some(true) || run.took_back() == Some(true)).to_string()),
        value("rollback-digest", back.map_or_else(|| put_back(run), ToString::to_string)),
        value("failed-stage", text(failed.map(|stage| &stage.stage as &dyn ToString))),
        value(
            "error-category",
            text(fault.filter(|_| run.ended.is_some()).map(|fault| &fault.category as &dyn ToString)),
        ),
        value("error-count", run.faults.len().to_string()),
        value("errors", errors(run).to_string()),
        value("log-path", paths.log.clone()),
        value("record-path", paths.record.clone()),
        value("audit-path", paths.audit.clone()),
        value("report-path", paths.report.clone()),
    ]
}

/// The outputs of a visit that was stopped by a fault which is not in the run, or by none.
#[must_use]
pub fn of_visit(run: &Run, paths: &Paths, fault: Option<&Fault>) -> Vec<(String, String)> {
    let mut values = outputs(run, paths);
    if let Some(fault) = fault {
        stop(&mut values, fault);
    }
    values
}

/// The outputs of a rehearsal: those of its visit, without a run that anybody could go on with.
#[must_use]
pub fn of_rehearsal(run: &Run, fault: Option<&Fault>) -> Vec<(String, String)> {
    let mut values = of_visit(run, &Paths::default(), fault);
    set(&mut values, "deployment-id", "");
    let mut result: Value = serde_json::from_str(get(&values, "result")).unwrap_or_default();
    (result["deployment_id"], result["audit_head"]) = (Value::Null, Value::Null);
    set(&mut values, "result", &result.to_string());
    values
}

/// The digest that the only service was put back to.
fn put_back(run: &Run) -> String {
    let [candidate] = run.candidates.as_slice() else { return String::new() };
    let digest = run.taking_back(&candidate.service).and_then(|(_, intended)| match &intended.act {
        Act::RollBackDeployment { to, .. } => to.digest.as_ref(),
        _ => None,
    });
    digest.map(ToString::to_string).unwrap_or_default()
}

/// The outputs of a visit that has no run to tell of. Those that are JSON are JSON all the same.
#[must_use]
pub fn of_fault(fault: Option<&Fault>) -> Vec<(String, String)> {
    let mut values: Vec<(String, String)> = NAMES.iter().map(|name| ((*name).to_owned(), String::new())).collect();
    let none = errors_of(&BTreeMap::new(), &BTreeMap::new());
    let result = json!({
        "schema": RESULT_SCHEMA,
        "deployment_id": null,
        "operation": null,
        "environment": null,
        "state": null,
        "decision": Decision::Proceed.name(),
        "status": "",
        "reason_code": "",
        "images": [],
        "errors": none,
        "audit_head": null,
    });
    for (name, value) in [
        ("decision", Decision::Proceed.name()),
        ("result", &result.to_string()),
        ("images", "[]"),
        ("rolled-back", "false"),
        ("error-count", "0"),
        ("errors", &none.to_string()),
    ] {
        set(&mut values, name, value);
    }
    if let Some(fault) = fault {
        stop(&mut values, fault);
    }
    values
}

/// The outputs of an operation that reports: where its files are.
#[must_use]
pub fn of_report(paths: &Paths) -> Vec<(String, String)> {
    let mut values = of_fault(None);
    for (name, path) in [
        ("log-path", &paths.log),
        ("record-path", &paths.record),
        ("audit-path", &paths.audit),
        ("report-path", &paths.report),
    ] {
        set(&mut values, name, path);
    }
    values
}

/// Adds what stopped the visit, wherever it is told.
fn stop(values: &mut [(String, String)], fault: &Fault) {
    let (decision, status, reason) = (Decision::Stop.name(), "FAILURE", fault.code.name());
    set(values, "decision", decision);
    set(values, "status", status);
    set(values, "reason-code", reason);
    set(values, "error-category", fault.category.name());
    if let Some(stage) = fault.stage {
        set(values, "failed-stage", stage.name());
    }
    let count: u64 = get(values, "error-count").parse().unwrap_or_default();
    set(values, "error-count", &(count + 1).to_string());
    let mut errors: Value = serde_json::from_str(get(values, "errors")).unwrap_or_default();
    for (kind, name) in [("category", fault.category.name()), ("severity", fault.severity.name())] {
        errors[kind][name] = (errors[kind][name].as_u64().unwrap_or_default() + 1).into();
    }
    set(values, "errors", &errors.to_string());
    let mut result: Value = serde_json::from_str(get(values, "result")).unwrap_or_default();
    (result["decision"], result["status"], result["reason_code"]) = (decision.into(), status.into(), reason.into());
    result["errors"] = errors;
    set(values, "result", &result.to_string());
}

fn get<'a>(values: &'a [(String, String)], name: &str) -> &'a str {
    values.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
}

fn set(values: &mut [(String, String)], name: &str, value: &str) {
    if let Some((_, known)) = values.iter_mut().find(|(known, _)| known == name) {
        value.clone_into(known);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::promotion::event::{Event, Opening, Record};
    use crate::promotion::identity::DeploymentId;
    use crate::promotion::stage::Stage;

    /// A run that was just opened.
    pub(crate) fn a_run() -> Run {
        let at = DateTime::from_timestamp(1_732_185_300, 0).unwrap();
        let event = Event::RunOpened(Box::new(Opening::invented()));
        let text = serde_json::to_string(&event).unwrap();
        let run = DeploymentId::new(at, "abc123def456");
        Run::fold([&Record { run, seq: 1, at, previous: "0".repeat(64), hash: "1".repeat(64), text, event }]).unwrap()
    }

    #[test]
    fn a_run_that_goes_on_has_no_status() {
        let outputs = outputs(&a_run(), &Paths::default());
        let value =
            |name: &str| outputs.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()).unwrap();
        assert_eq!(value("status"), "");
        assert_eq!(value("state"), "initializing");
        assert_eq!(value("decision"), "stop");
        assert_eq!(value("error-count"), "0");
        assert!(value("errors").contains("\"network\":0"));
        let names: Vec<&str> = outputs.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, NAMES);
    }

    #[test]
    fn what_stopped_a_visit_is_told_everywhere() {
        let fault = Fault::new(Code::LockTaken, "x").in_stage(Stage::Validation);
        for values in [of_fault(Some(&fault)), of_visit(&a_run(), &Paths::default(), Some(&fault))] {
            let json = |name: &str| serde_json::from_str::<Value>(get(&values, name)).unwrap();
            assert_eq!(get(&values, "failed-stage"), "validation");
            assert_eq!(
                (&json("errors")["category"]["timeout"], &json("errors")["severity"]["low"]),
                (&1.into(), &0.into())
            );
            let result = json("result");
            assert_eq!((&result["decision"], &result["reason_code"]), (&"stop".into(), &"lock-taken".into()));
            assert_eq!(result["errors"], json("errors"));
            assert!(json("images").is_array());
        }
        assert_eq!(get(&of_rehearsal(&a_run(), None), "deployment-id"), "");
    }
}
