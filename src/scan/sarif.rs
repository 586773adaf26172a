//! SARIF 2.1.0 as Trivy and Grype write it. The severity is the rule's `security-severity`, which is what GitHub's code
//! scanning reads; what was suppressed is left out (SARIF 2.1.0, 3.27.23 and 3.35).

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;

use super::{Remedy, Report, Severity, Unreadable, Vulnerability, digest, parse, time};

const FORMAT: &str = "SARIF";

#[derive(Deserialize)]
struct Document {
    runs: Vec<Run>,
}

#[derive(Deserialize)]
struct Run {
    tool: Tool,
    #[serde(default)]
    results: Option<Vec<Found>>,
    #[serde(default)]
    invocations: Option<Vec<Invocation>>,
    #[serde(default)]
    properties: Value,
}

#[derive(Deserialize)]
struct Tool {
    driver: Driver,
}

#[derive(Deserialize)]
struct Driver {
    #[serde(default)]
    rules: Option<Vec<Rule>>,
}

#[derive(Deserialize)]
struct Rule {
    #[serde(default)]
    id: String,
    #[serde(default)]
    help: Option<Message>,
    #[serde(default, rename = "defaultConfiguration")]
    default: Option<Configuration>,
    #[serde(default)]
    properties: Value,
}

#[derive(Deserialize)]
struct Configuration {
    #[serde(default)]
    level: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    #[serde(default)]
    rule_id: Option<String>,
    #[serde(default)]
    rule_index: Option<i64>,
    #[serde(default)]
    level: Option<String>,
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    baseline_state: Option<String>,
    #[serde(default)]
    message: Option<Message>,
    #[serde(default)]
    suppressions: Option<Vec<Suppression>>,
    #[serde(default)]
    properties: Value,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    text: Option<String>,
}

#[derive(Deserialize)]
struct Suppression {
    #[serde(default)]
    status: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Invocation {
    #[serde(default)]
    execution_successful: Option<bool>,
    #[serde(default)]
    end_time_utc: Option<String>,
}

pub(super) fn read(text: &str) -> Result<Vec<Report>, Unreadable> {
    let document: Document = parse(FORMAT, text)?;
    document.runs.into_iter().map(report).collect()
}

/// A run without results is one in which nobody has looked (SARIF 2.1.0, 3.14.23), and one that failed (3.20.14) may have
/// looked at a part.
fn report(run: Run) -> Result<Report, Unreadable> {
    let malformed = |why: &str| Err(Unreadable::Malformed { format: FORMAT, why: why.to_owned() });
    let Some(results) = &run.results else { return malformed("a run has no results: nobody has looked") };
    if run.invocations.iter().flatten().any(|one| one.execution_successful == Some(false)) {
        return malformed("a run says that it failed");
    }
    // Trivy's own properties.
    let repositories = run.properties.get("repoDigests").and_then(Value::as_array);
    let digests = repositories
        .into_iter()
        .flatten()
        .chain(run.properties.get("imageID"))
        .filter_map(Value::as_str)
        .filter_map(digest);
    let mut report = Report::new(FORMAT).claiming(digests);
    let ends = run.invocations.iter().flatten().filter_map(|one| one.end_time_utc.as_deref().and_then(time));
    // The oldest part of it is how old it is.
    report.made_at = ends.min();
    let rules = run.tool.driver.rules.unwrap_or_default();
    let by_id: HashMap<&str, &Rule> = rules.iter().map(|rule| (rule.id.as_str(), rule)).collect();
    for found in results.iter().filter(|found| counts(found)) {
        let by_place = || rules.get(usize::try_from(found.rule_index?).ok()?);
        let rule = found.rule_id.as_deref().and_then(|id| by_id.get(id).copied()).or_else(by_place);
        report.vulnerabilities.push(vulnerability(found, rule));
    }
    Ok(report)
}

/// Whether a result is a finding of this scan that nobody has suppressed.
fn counts(found: &Found) -> bool {
    let accepted = |one: &Suppression| one.status.as_deref().is_none_or(|status| status == "accepted");
    let suppressed = found.suppressions.as_ref().is_some_and(|list| !list.is_empty() && list.iter().all(accepted));
    let fails = !matches!(found.kind.as_deref(), Some("pass" | "notApplicable" | "informational"));
    fails && !suppressed && found.baseline_state.as_deref() != Some("absent")
}

fn vulnerability(found: &Found, rule: Option<&Rule>) -> Vulnerability {
    let text =
        |message: &Option<Message>| message.as_ref().and_then(|message| message.text.clone()).unwrap_or_default();
    let texts = [text(&found.message), rule.map(|rule| text(&rule.help)).unwrap_or_default()];
    let value = |names: &[&str]| {
        let lines = texts.iter().flat_map(|text| text.lines());
        let mut values = lines.filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            names.contains(&name.trim()).then(|| value.trim().to_owned())
        });
        values.find(|value| !value.is_empty())
    };
    let named = texts.iter().flat_map(|text| text.lines()).find_map(|line| line.strip_prefix("Vulnerability "));
    let id = named.map(|id| id.trim().to_owned()).or_else(|| found.rule_id.clone());
    Vulnerability {
        id: id.or_else(|| rule.map(|rule| rule.id.clone())).unwrap_or_default(),
        aliases: found.rule_id.iter().cloned().collect(),
        severity: severity(found, rule),
        package: value(&["Package"]).unwrap_or_default(),
        version: value(&["Installed Version", "Version"]).unwrap_or_default(),
        purl: None,
        remedy: value(&["Fixed Version", "Fix Version"]).map_or(Remedy::Untold, Remedy::Fixed),
        exploited: false,
    }
}

fn severity(found: &Found, rule: Option<&Rule>) -> Severity {
    let score = |properties: &Value| match properties.get("security-severity")? {
        Value::String(text) => text.trim().parse::<f64>().ok(),
        number => number.as_f64(),
    };
    if let Some(score) = score(&found.properties).or_else(|| score(&rule?.properties)) {
        return Severity::of_score(score);
    }
    let level = found.level.as_deref().or_else(|| rule?.default.as_ref()?.level.as_deref());
    match level {
        // Without a score, a level has its worst meaning: Trivy writes `error` for critical ones too.
        Some("error") => Severity::Critical,
        Some("warning") => Severity::Medium,
        Some("note") => Severity::Low,
        _ => Severity::Unknown,
    }
}
