//! The error log: one JSON object a line for every fault.

use serde_json::json;

use crate::promotion::run::Run;

/// The faults of a run, as `errors.jsonl` has them.
#[must_use]
pub fn errors(run: &Run) -> String {
    run.faults
        .iter()
        .map(|one| {
            let fault = &one.fault;
            let line = json!({
                "at": one.at,
                "deployment_id": run.id,
                "environment": run.opening.environment,
                "seq": one.seq,
                "code": fault.code,
                "category": fault.category,
                "severity": fault.severity,
                "stage": fault.stage,
                "service": fault.service,
                "message": fault.message,
                "tried": fault.tried,
                "fix": fault.fix,
            });
            format!("{line}\n")
        })
        .collect()
}
