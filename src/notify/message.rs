//! What people are told: made from a run's events alone, and neutralised only where it is shown.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::config::{NotifyEvent, message_names};
use crate::promotion::check::Verdict;
use crate::promotion::event::{Consent, Operation};
use crate::promotion::fault::{Code, Severity};
use crate::promotion::plan::PlannedImage;
use crate::promotion::run::Run;
use crate::promotion::untrusted::block;

/// How many services, or failed checks, are named in a sentence.
const NAMED: usize = 5;

/// The most lines of a text that are shown.
const LINES: usize = 30;

/// Something that people are told. Its texts quote what others wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What it is about.
    pub event: NotifyEvent,
    /// How bad it is.
    pub severity: Severity,
    /// In a few words.
    pub title: String,
    /// In a few sentences; empty where the title says all.
    pub text: String,
    /// Names and values.
    pub facts: Vec<(String, String)>,
    /// Names and addresses.
    pub links: Vec<(String, String)>,
    /// When the run was at this point.
    pub at: DateTime<Utc>,
    /// What identifies it.
    pub key: String,
    /// What it is about, for channels that put together what belongs together: the same for all runs of an environment.
    pub subject: String,
    /// The run, where it is about one.
    pub run: Option<String>,
    /// The commit that was promoted.
    pub commit: Option<String>,
    /// What templates may use.
    pub values: BTreeMap<&'static str, Value>,
}

impl Message {
    /// What is told of a run that `topic` happened to; `event` is the kind of it.
    #[must_use]
    pub fn about(run: &Run, event: NotifyEvent, topic: &str) -> Self {
        let what = services(run);
        let opening = &run.opening;
        let title = title(event, opening.operation, &what, &opening.environment);
        let text = text(run, event);
        let url = opening.workflow.as_ref().and_then(|workflow| workflow.url.clone());
        let values = values(run, event, if text.is_empty() { &title } else { &text });
        let asking = run.asking.as_ref().filter(|asking| asking.refusal.is_none() && run.consent.is_none());
        let issue = asking.and_then(|asking| asking.issue.as_ref());
        let mut links: Vec<(String, String)> =
            issue.into_iter().map(|issue| ("Answer in the issue".to_owned(), issue.url.clone())).collect();
        links.extend(url.map(|url| ("Workflow run".to_owned(), url)));
        Self {
            event,
            severity: event.severity(),
            title,
            text,
            facts: facts(run),
            links,
            at: run.updated_at,
            key: format!("{}/{topic}", run.id),
            subject: format!("{}/{}", opening.scope, opening.environment),
            run: Some(run.id.to_string()),
            commit: commit(run),
            values,
        }
    }
}

/// A mark that is seen before the title is read.
#[must_use]
pub const fn mark(event: NotifyEvent) -> &'static str {
    match event {
        NotifyEvent::Started => "🚀",
        NotifyEvent::ApprovalNeeded => "✋",
        NotifyEvent::ApprovalReminder => "⏰",
        NotifyEvent::Approved => "👍",
        NotifyEvent::Rejected | NotifyEvent::Cancelled => "🚫",
        NotifyEvent::TimedOut => "⌛",
        NotifyEvent::ValidationFailed | NotifyEvent::Failed => "❌",
        NotifyEvent::Promoted | NotifyEvent::Deployed => "📦",
        NotifyEvent::Succeeded | NotifyEvent::Recovered => "✅",
        NotifyEvent::Degraded => "⚠️",
        NotifyEvent::RolledBack => "↩️",
        NotifyEvent::RollbackFailed | NotifyEvent::RollbackNeeded => "🆘",
        NotifyEvent::Drift => "🔀",
        NotifyEvent::Inconclusive => "❔",
    }
}

/// The services of a run, in words.
fn services(run: &Run) -> String {
    some(&run.opening.services)
}

fn some(names: &[String]) -> String {
    match names.len().checked_sub(NAMED) {
        Some(more @ 1..) => format!("{} and {more} more", names[..NAMED].join(", ")),
        _ => names.join(", "),
    }
}

fn title(event: NotifyEvent, operation: Operation, what: &str, environment: &str) -> String {
    match event {
        NotifyEvent::Failed if operation == Operation::Verify => {
            format!("Verification failed: {what} in {environment}")
        }
        NotifyEvent::Started if operation == Operation::Rollback => format!("On its way back: {what} in {environment}"),
        NotifyEvent::Started => format!("On its way: {what} to {environment}"),
        NotifyEvent::ApprovalNeeded => format!("Approval needed: {what} to {environment}"),
        NotifyEvent::ApprovalReminder => format!("Still waiting for approval: {what} to {environment}"),
        NotifyEvent::Approved => format!("Approved: {what} to {environment}"),
        NotifyEvent::Rejected => format!("Rejected: {what} to {environment}"),
        NotifyEvent::TimedOut => format!("Not approved in time: {what} to {environment}"),
        NotifyEvent::ValidationFailed => format!("Validation failed: {what} to {environment}"),
        NotifyEvent::Promoted => format!("Promoted: {what} to {environment}"),
        NotifyEvent::Deployed => format!("Deployed: {what} to {environment}"),
        NotifyEvent::Succeeded => format!("Succeeded: {what} to {environment}"),
        NotifyEvent::Failed => format!("Failed: {what} to {environment}"),
        NotifyEvent::Cancelled => format!("Cancelled: {what} to {environment}"),
        NotifyEvent::Degraded => format!("Degraded: {what} in {environment}"),
        NotifyEvent::RolledBack => format!("Rolled back: {what} in {environment}"),
        NotifyEvent::RollbackFailed => format!("ROLLBACK FAILED, a human is needed: {what} in {environment}"),
        NotifyEvent::RollbackNeeded => {
            format!("TAKE IT BACK, a human is needed: {what} in {environment} does not live")
        }
        NotifyEvent::Drift => format!("Drift: {what} in {environment} is not what was deployed"),
        NotifyEvent::Inconclusive => format!("Inconclusive: whether {what} lives in {environment} is not known"),
        NotifyEvent::Recovered => format!("Recovered: {what} to {environment}"),
    }
}

/// What there is to say beside the title: what went wrong, and what to do about it.
fn text(run: &Run, event: NotifyEvent) -> String {
    let mut sentences = Vec::new();
    let bad = event.severity() >= Severity::Medium;
    if event == NotifyEvent::ValidationFailed {
        let failed = run.findings.iter().filter(|finding| finding.verdict == Verdict::Fail);
        sentences.extend(told_apart(failed, |finding| {
            format!("{} of {}: seen {}, wanted {}", finding.check, finding.service, finding.seen, finding.wanted)
        }));
    }
    // What people have to do is in another fault than what began it.
    let needed = run.faults.iter().rfind(|one| one.fault.code == Code::RollbackFailed).map(|one| &one.fault);
    let decisive = match event {
        NotifyEvent::RollbackNeeded | NotifyEvent::RollbackFailed => needed.or(run.decisive_fault()),
        _ => run.decisive_fault(),
    };
    if bad && let Some(fault) = decisive {
        if sentences.is_empty() {
            sentences.push(fault.message.clone());
        }
        sentences.push(format!("What to do: {}", fault.fix));
    }
    if event == NotifyEvent::Degraded {
        sentences.extend(told_apart(
            run.faults.iter().map(|one| &one.fault).filter(|fault| fault.code == Code::ProbeWarned),
            |fault| fault.message.clone(),
        ));
    }
    sentences.extend(run.rollback.to.iter().map(|(service, digest)| format!("{service} is back at {digest}.")));
    let looks = run.opening.operation == Operation::Verify;
    if bad && event.severity() >= Severity::High && !looks && !run.changed_the_world() {
        sentences.push("Nothing was changed.".to_owned());
    }
    if let Some(forced) = &run.forced {
        sentences.push(format!("FORCED by {}: {} (overruled: {})", forced.by, forced.reason, forced.checks.join(", ")));
    }
    sentences.join("\n")
}

/// Some of many things, each said once.
fn told_apart<T>(things: impl Iterator<Item = T>, say: impl Fn(T) -> String) -> Vec<String> {
    let mut said: Vec<String> = Vec::new();
    for one in things.map(say) {
        if !said.contains(&one) {
            said.push(one);
        }
    }
    let more = said.len().saturating_sub(NAMED);
    said.truncate(NAMED);
    if more > 0 {
        said.push(format!("and {more} more"));
    }
    said
}

/// The names and values that matter to people.
fn facts(run: &Run) -> Vec<(String, String)> {
    let mut facts = Vec::new();
    let mut add = |name: &str, value: String| facts.push((name.to_owned(), value));
    let opening = &run.opening;
    add("Environment", opening.environment.clone());
    let images: Vec<(&str, &PlannedImage)> = run
        .plan
        .iter()
        .flat_map(|(plan, _)| &plan.candidates)
        .filter_map(|planned| Some((planned.service.as_str(), planned.image.as_ref()?)))
        .collect();
    match images.as_slice() {
        [(service, image)] => {
            add("Service", (*service).to_owned());
            add("Image", format!("{}@{}", image.target, image.digest));
            if let Some(previous) = image.previous().filter(|previous| **previous != image.digest) {
                add("Replaces", previous.to_string());
            }
        }
        [] => add("Services", services(run)),
        several => {
            for (service, image) in several.iter().take(NAMED) {
                add(service, image.digest.to_string());
            }
            if several.len() > NAMED {
                add("And", format!("{} more services", several.len() - NAMED));
            }
        }
    }
    if let [candidate] = run.candidates.as_slice()
        && let Some(number) = candidate.sequence
    {
        add("Number", number.to_string());
    }
    add("Requested by", opening.requestor.clone());
    if let Some(reason) = &opening.reason {
        add("Reason", reason.clone());
    }
    if let Some(commit) = commit(run) {
        add("Commit", commit.chars().take(12).collect());
    }
    add("Repository", opening.scope.clone());
    add("Deployment", run.id.to_string());
    facts
}

/// The commit that the candidate was built from, where its image says so; else the job's.
fn commit(run: &Run) -> Option<String> {
    let said = match run.candidates.as_slice() {
        [candidate] => candidate.facts.as_ref().and_then(|facts| facts.revision()),
        _ => None,
    };
    // Anybody can write anything into a label.
    let is_commit = |text: &&str| matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    said.filter(is_commit).map(ToOwned::to_owned).or_else(|| run.opening.commit.clone())
}

/// What a template of a message may use where there is no run: the names, with nothing in them.
#[must_use]
pub fn without_run() -> BTreeMap<&'static str, Value> {
    let names = message_names().into_iter().filter(|name| !name.ends_with(".*"));
    let mut values: BTreeMap<&str, Value> = names.map(|name| (name, "".into())).collect();
    values.extend([("vars", json!({})), ("errors", 0.into())]);
    values
}

/// What a template of a message may use. What a run does not have is empty, so that a message is sent in any case.
fn values(run: &Run, event: NotifyEvent, message: &str) -> BTreeMap<&'static str, Value> {
    let opening = &run.opening;
    let single = match run.candidates.as_slice() {
        [candidate] => Some(candidate),
        _ => None,
    };
    let planned = single.and_then(|one| run.plan.as_ref()?.0.candidate(&one.service));
    let image = planned.and_then(|planned| planned.image.as_ref());
    let version = planned.and_then(|planned| planned.version.clone()).or_else(|| {
        let label = single?.facts.as_ref()?.label("org.opencontainers.image.version")?;
        Some(label.to_owned())
    });
    let url = opening.workflow.as_ref().and_then(|workflow| workflow.url.clone());
    BTreeMap::from([
        ("service", services(run).into()),
        ("environment", opening.environment.as_str().into()),
        ("digest", single.and_then(|one| one.digest.as_ref()).map(ToString::to_string).unwrap_or_default().into()),
        ("version", version.unwrap_or_default().into()),
        ("revision", commit(run).unwrap_or_default().into()),
        ("sequence", single.and_then(|one| one.sequence).map_or_else(|| json!(""), Value::from)),
        ("deployment_id", run.id.as_str().into()),
        ("mode", opening.mode.clone().unwrap_or_default().into()),
        ("vars", serde_json::to_value(&opening.variables).unwrap_or_default()),
        ("previous_digest", image.and_then(PlannedImage::previous).map(ToString::to_string).unwrap_or_default().into()),
        ("requestor", opening.requestor.as_str().into()),
        ("reason", opening.reason.clone().unwrap_or_default().into()),
        ("event", event.name().into()),
        ("state", run.state.name().into()),
        ("severity", event.severity().name().into()),
        ("message", message.into()),
        ("url", url.unwrap_or_default().into()),
        ("errors", run.faults.len().into()),
    ])
}

/// Whether somebody was asked and said yes; nobody has to be told of a policy.
#[must_use]
pub(super) const fn is_peoples(consent: &Consent) -> bool {
    !matches!(consent, Consent::Policy { .. })
}

/// Several lines, and no more than so many characters of them.
pub(super) fn cut(text: &str, max: usize) -> String {
    let text = block(text, LINES, max);
    let text = text.trim_end();
    if text.chars().count() <= max {
        return text.to_owned();
    }
    text.chars().take(max - 1).chain(['…']).collect()
}
