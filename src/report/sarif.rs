//! The findings of a run as SARIF 2.1.0, for GitHub's code scanning
//! (<https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::promotion::check::{Finding, Verdict};
use crate::promotion::digest::Digest;
use crate::promotion::run::Run;
use crate::promotion::untrusted::line;

/// Where findings are shown where the run has no configuration.
const NOWHERE: &str = ".github/tidegate.yml";

/// How much of a text is shown.
const TEXT: usize = 1_000;

/// The checks that did not pass. Code scanning needs a place in the repository for each: that is the configuration, which
/// says what is asked for.
#[must_use]
pub fn sarif(run: &Run) -> Value {
    let shown: Vec<&Finding> = run.findings.iter().filter(|finding| finding.verdict >= Verdict::Warn).collect();
    let names: BTreeSet<&str> = run.findings.iter().map(|finding| finding.check.as_str()).collect();
    let place = run.opening.configuration.as_deref().unwrap_or(NOWHERE);
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "tidegate",
                "version": run.opening.version,
                "rules": names.iter().map(|name| rule(name)).collect::<Vec<_>>(),
            }},
            "invocations": [{"executionSuccessful": true, "endTimeUtc": run.updated_at}],
            "results": shown.into_iter().map(|finding| result(run, finding, place)).collect::<Vec<_>>(),
        }],
    })
}

fn rule(name: &str) -> Value {
    json!({
        "id": name,
        "name": name,
        "shortDescription": {"text": format!("Check `{name}` of the image")},
        "properties": {"tags": ["security"], "precision": "high"},
    })
}

fn result(run: &Run, finding: &Finding, place: &str) -> Value {
    let level = if finding.verdict == Verdict::Fail { "error" } else { "warning" };
    let digest = run.candidate(&finding.service).and_then(|candidate| candidate.digest.as_ref());
    let platform = finding.platform.as_ref().map(ToString::to_string).unwrap_or_default();
    let about = format!("{} {} {platform}", finding.check, finding.service);
    let mut text =
        format!("{}: seen {}, wanted {}", finding.service, line(&finding.seen, TEXT), line(&finding.wanted, TEXT));
    if let Some(platform) = &finding.platform {
        text.push_str(&format!(" (for {platform})"));
    }
    if let Some(fix) = &finding.fix {
        text.push_str(&format!(". {}", line(fix, TEXT)));
    }
    json!({
        "ruleId": finding.check,
        "level": level,
        "message": {"text": text},
        "locations": [{"physicalLocation": {
            "artifactLocation": {"uri": place},
            "region": {"startLine": 1},
        }}],
        // The same finding of the next run is the same alert. The name is the one that code scanning goes by; all
        // findings stand at one line, so the hash that it would make of the line itself would make them one alert.
        "partialFingerprints": {"primaryLocationLineHash": Digest::sha256(about.as_bytes()).hex()},
        "properties": {"service": finding.service, "digest": digest, "environment": run.opening.environment},
    })
}
