//! All that validation has seen, as one document that a policy engine can be asked about: the `input` of Open Policy
//! Agent.

use serde_json::{Value, json};

use crate::promotion::run::Run;

/// The version of the document's form.
const SCHEMA: u64 = 1;

/// What validation has seen of every candidate: the plan, facts, differences, findings.
#[must_use]
pub fn policy_input(run: &Run) -> Value {
    let candidates: Vec<Value> = run
        .candidates
        .iter()
        .map(|candidate| {
            let planned = run.plan.as_ref().and_then(|(plan, _)| plan.candidate(&candidate.service));
            let findings: Vec<_> = run.findings.iter().filter(|one| one.service == candidate.service).collect();
            json!({
                "service": candidate.service,
                "digest": candidate.digest,
                "sequence": candidate.sequence,
                "plan": planned,
                "image": candidate.facts,
                "comparison": candidate.comparison,
                "findings": findings,
            })
        })
        .collect();
    json!({
        "schema": SCHEMA,
        "environment": run.opening.environment,
        "operation": run.opening.operation,
        "repository": run.opening.scope,
        "requestor": run.opening.requestor,
        "commit": run.opening.commit,
        "ref": run.opening.git_ref,
        "candidates": candidates,
    })
}
