//! A run as an OpenTelemetry trace, in OTLP's JSON (opentelemetry-proto 1.x, "OTLP/HTTP", JSON Protobuf Encoding).

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::promotion::digest::Digest;
use crate::promotion::event::Conclusion;
use crate::promotion::fault::Exit;
use crate::promotion::run::Run;

/// The kinds and states of spans (`opentelemetry/proto/trace/v1/trace.proto`).
const INTERNAL: u32 = 1;
const UNSET: u32 = 0;
const OK: u32 = 1;
const ERROR: u32 = 2;

/// The longest text of others in an attribute.
const MAX: usize = 1000;

/// The trace of a run: a span for the run and one for each time that a stage was begun.
#[must_use]
pub fn traces(run: &Run) -> Value {
    // The same run is the same trace, however often it is told.
    let trace = id(run.id.as_str(), 32);
    let root = id(&format!("{}/run", run.id), 16);
    let until = run.ended.as_ref().map_or(run.updated_at, |ended| ended.at);
    let status = match &run.ended {
        Some(ended) if ended.exit == Exit::Done => json!({ "code": OK }),
        Some(ended) => {
            json!({ "code": ERROR, "message": ended.reason.map_or(ended.state.name(), |reason| reason.name()) })
        }
        None => json!({ "code": UNSET }),
    };
    let mut events: Vec<Value> = run
        .faults
        .iter()
        .map(|one| {
            event(
                one.at,
                "exception",
                vec![
                    text("exception.type", one.fault.code.name()),
                    text("exception.message", &one.fault.message),
                    text("tidegate.severity", one.fault.severity.name()),
                    text("tidegate.category", one.fault.category.name()),
                ],
            )
        })
        .collect();
    events.extend(run.retries.iter().map(|retry| {
        event(retry.at, "retry", vec![text("tidegate.what", &retry.what), text("tidegate.because", &retry.because)])
    }));
    let mut attributes = vec![
        text("tidegate.deployment.id", run.id.as_str()),
        text("tidegate.operation", run.opening.operation.name()),
        text("deployment.environment.name", &run.opening.environment),
        text("tidegate.services", &run.opening.services.join(",")),
        text("tidegate.state", run.state.name()),
        text("vcs.repository.name", &run.opening.scope),
    ];
    attributes.extend(run.opening.commit.as_ref().map(|commit| text("vcs.ref.head.revision", commit)));
    attributes.extend(run.opening.workflow.as_ref().map(|workflow| text("cicd.pipeline.run.id", &workflow.run_id)));
    let mut spans = vec![json!({
        "traceId": trace,
        "spanId": root,
        "name": format!("{} {}", run.opening.operation, run.opening.environment),
        "kind": INTERNAL,
        "startTimeUnixNano": nanos(run.opened_at),
        "endTimeUnixNano": nanos(until),
        "attributes": attributes,
        "events": events,
        "status": status,
    })];
    spans.extend(run.stages.iter().enumerate().map(|(place, stage)| {
        let code = match stage.conclusion {
            Some(Conclusion::Done) => OK,
            Some(Conclusion::Failed | Conclusion::Errored) => ERROR,
            Some(Conclusion::Skipped) | None => UNSET,
        };
        json!({
            "traceId": trace,
            "spanId": id(&format!("{}/{place}", run.id), 16),
            "parentSpanId": root,
            "name": stage.stage.name(),
            "kind": INTERNAL,
            "startTimeUnixNano": nanos(stage.started_at),
            "endTimeUnixNano": nanos(stage.ended_at.unwrap_or(until)),
            "attributes": [
                number("tidegate.visit", stage.visit),
                text("tidegate.conclusion", stage.conclusion.map_or("cut-off", Conclusion::name)),
                number("tidegate.requests", stage.traffic.total()),
                number("tidegate.received", stage.traffic.received),
                number("tidegate.sent", stage.traffic.sent),
            ],
            "status": { "code": code },
        })
    }));
    json!({
        "resourceSpans": [{
            "resource": { "attributes": [
                text("service.name", "tidegate"),
                text("service.version", env!("CARGO_PKG_VERSION")),
            ] },
            "scopeSpans": [{
                "scope": { "name": "tidegate", "version": env!("CARGO_PKG_VERSION") },
                "spans": spans,
            }],
        }],
    })
}

/// An id: so many hexadecimal digits.
fn id(of: &str, digits: usize) -> String {
    Digest::sha256(of.as_bytes()).hex().chars().take(digits).collect()
}

/// 64-bit integers are texts in JSON.
fn nanos(at: DateTime<Utc>) -> String {
    at.timestamp_nanos_opt().unwrap_or_default().to_string()
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value.chars().take(MAX).collect::<String>() } })
}

fn number(key: &str, value: u64) -> Value {
    json!({ "key": key, "value": { "intValue": value.to_string() } })
}

fn event(at: DateTime<Utc>, name: &str, attributes: Vec<Value>) -> Value {
    json!({ "timeUnixNano": nanos(at), "name": name, "attributes": attributes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promotion::stories::outcomes;

    #[test]
    fn a_trace_has_a_span_for_the_run_and_each_stage() {
        for (name, story) in outcomes() {
            let trace = traces(&story.run);
            let spans = trace["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap();
            assert_eq!(spans.len(), story.run.stages.len() + 1, "{name}");
            let mut ids: Vec<&str> = spans.iter().map(|span| span["spanId"].as_str().unwrap()).collect();
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), spans.len(), "{name}");
            for span in spans {
                assert_eq!(span["traceId"].as_str().unwrap().len(), 32);
                assert_eq!(span["spanId"].as_str().unwrap().len(), 16);
                let time = |name: &str| span[name].as_str().unwrap().parse::<u64>().unwrap();
                assert!(time("startTimeUnixNano") <= time("endTimeUnixNano"), "{name}");
            }
            // Told again it is the same.
            assert_eq!(traces(&story.run), trace);
        }
    }
}
