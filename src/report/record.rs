//! The deployment record, `record.json`.

use serde_json::{Value, json};

use super::{deployments, health, outputs};
use crate::promotion::asking::Place;
use crate::promotion::event::{Conclusion, Consent};
use crate::promotion::run::Run;
use crate::promotion::stage::Stage;

/// The version of the record; it grows when a field changes its meaning or goes.
const SCHEMA: u32 = 1;

/// The deployment record of a run.
#[must_use]
pub fn record(run: &Run) -> Value {
    let plan = run.plan.as_ref().map(|(plan, _)| plan);
    let single = match run.candidates.as_slice() {
        [candidate] => Some(candidate),
        _ => None,
    };
    let previous = single.and_then(|one| plan?.candidate(&one.service)?.image.as_ref()?.previous());
    let ended = run.ended.as_ref();
    let mut record = json!({
        "schema": SCHEMA,
        "timestamp": run.updated_at,
        "deployment_id": run.id,
        "operation": run.opening.operation,
        "environment": run.opening.environment,
        "status": status(run),
        "state": run.state,
        "reason_code": ended.and_then(|ended| ended.reason),
        "git_sha": run.opening.commit,
        "git_ref": run.opening.git_ref,
        "repository": run.opening.scope,
        "workflow": run.opening.workflow,
        "requestor": run.opening.requestor,
        "reason": run.opening.reason,
        "sequence": single.and_then(|one| one.sequence),
        "digest": single.and_then(|one| one.digest.as_ref()),
        "previous_digest": previous,
        "services_deployed": services_deployed(run),
        "images": outputs::images(run),
        "deployments": deployments::record(run),
        "migrations": deployments::migrations_record(run),
        "health": run.health.verdict.as_ref().map(|(health, _)| health),
        "health_checks": health::record(run),
        "rollback_available": rollback_available(run),
    });
    // In two parts, because the macro goes only so deep.
    let how = json!({
        "plan": run.plan.as_ref().map(|(_, hash)| hash),
        "gates": run.gates,
        "validation": run.findings,
        "forced": run.forced.as_ref().map(|forced| json!({ "by": forced.by, "reason": forced.reason, "checks": forced.checks })),
        "approvals": approvals(run),
        "bad_digests": run.bad_digests.iter().map(|bad| json!({ "service": bad.service, "digest": bad.digest, "because": bad.because })).collect::<Value>(),
        "github_deployment": run.github_deployment.as_ref().map(|one| json!({ "id": one.id, "environment": one.environment })),
        "errors": run.faults.iter().map(|one| json!({ "at": one.at, "fault": one.fault })).collect::<Value>(),
        "error_counts": outputs::errors(run),
        "retries": run.retries.len(),
        "notifications": notifications(run),
        "timings": timings(run),
        "traffic": run.traffic(),
        "started_at": run.opened_at,
        "ended_at": ended.map(|ended| ended.at),
        "audit_head": { "seq": run.seq, "hash": run.head },
        "version": run.opening.version,
        "rollback": rollback(run),
    });
    if let (Value::Object(record), Value::Object(how)) = (&mut record, how) {
        record.extend(how);
    }
    record
}

/// What a run takes back, to what, and how it was taken back itself; nothing where neither is the case.
fn rollback(run: &Run) -> Value {
    if run.opening.rolls_back.is_none() && run.rollback.good.is_none() && run.targets.is_empty() {
        return Value::Null;
    }
    let targets = run.targets.iter().map(|(service, chosen)| {
        json!({ "service": service, "digest": chosen.digest, "of": chosen.of, "passed_over": chosen.passed_over })
    });
    json!({
        "rolls_back": run.opening.rolls_back,
        "targets": targets.collect::<Value>(),
        "run": run.rollback.run,
        "good": run.rollback.good,
        "to": run.rollback.to,
    })
}

fn status(run: &Run) -> &'static str {
    match outputs::status(run) {
        "SUCCESS" => "success",
        "FAILURE" => "failure",
        _ => "running",
    }
}

/// The services whose tags moved, or were found in place, in a run that succeeded that far.
fn services_deployed(run: &Run) -> Vec<&str> {
    let nothing_to_do = run.plan.as_ref().is_some_and(|(plan, _)| plan.stages.is_empty());
    run.candidates
        .iter()
        .filter(|one| one.moved || one.deployed.is_some() || nothing_to_do)
        .map(|one| one.service.as_str())
        .collect()
}

/// Whether every service has a digest to go back to.
fn rollback_available(run: &Run) -> bool {
    run.bars_the_way_back().is_none()
        && run.plan.as_ref().is_some_and(|(plan, _)| {
            !plan.candidates.is_empty()
                && plan.candidates.iter().all(|one| {
                    one.image
                        .as_ref()
                        .is_some_and(|image| image.previous().is_some_and(|previous| *previous != image.digest))
                })
        })
}

fn approvals(run: &Run) -> Value {
    match &run.consent {
        None => json!([]),
        Some((plan, Consent::Policy { because })) => json!([{ "by": "policy", "because": because, "plan": plan }]),
        Some((plan, Consent::People { approvers, bound })) => approvers
            .iter()
            .map(|one| {
                json!({
                    "by": one.by,
                    "via": one.place,
                    "at": one.at,
                    "remark": one.remark,
                    "url": one.url,
                    "bound": *bound || one.place == Place::Issue,
                    "plan": plan,
                })
            })
            .collect(),
    }
}

/// Who was told of what; without a delivery where it is not known.
fn notifications(run: &Run) -> Value {
    run.notifications
        .iter()
        .map(|one| {
            json!({
                "event": one.topic,
                "channel": one.channel,
                "delivery": one.delivery.map(|(delivery, _)| delivery),
                "attempts": one.delivery.map(|(_, attempts)| attempts),
            })
        })
        .collect()
}

/// Each stage with its time; a stage that was begun again is there again.
fn timings(run: &Run) -> Value {
    run.stages
        .iter()
        .filter(|stage| stage.stage == Stage::Conditions || stage.conclusion != Some(Conclusion::Skipped))
        .map(|stage| {
            json!({
                "stage": stage.stage,
                "visit": stage.visit,
                "started_at": stage.started_at,
                "ended_at": stage.ended_at,
                "duration_ms": stage.ended_at.map(|ended| (ended - stage.started_at).num_milliseconds()),
                "conclusion": stage.conclusion,
            })
        })
        .collect()
}
