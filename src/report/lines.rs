//! One line of plain text for each event, for the console and the stages' logs.

use super::{comparison, health, text};
use crate::promotion::act::{Act, Outcome, TagMove};
use crate::promotion::asking::Refusal;
use crate::promotion::check::{Finding, Verdict};
use crate::promotion::deployment::Deployed;
use crate::promotion::event::{Consent, Event, Record, Traffic};
use crate::promotion::gate::{GateFinding, Standing};
use crate::promotion::migration::Migrations;
use crate::promotion::run::Run;
use crate::promotion::untrusted::line;

/// How much of a text that others wrote is shown in a line.
const MAX: usize = 400;

/// What an event says to a person; nothing for those that only matter to the program. `run` has taken the event in.
#[must_use]
pub fn lines(run: &Run, record: &Record) -> Vec<String> {
    match &record.event {
        Event::Resolved { service, reference, digest } => vec![format!("{service}: {reference} is {digest}")],
        Event::SequenceTaken { service, number } => {
            vec![format!("{service}: number {number} in {}", run.opening.environment)]
        }
        Event::Inspected { service, facts } => {
            let platforms: Vec<String> = facts.platforms.iter().map(|one| one.platform.to_string()).collect();
            vec![format!(
                "{service}: {} in {} blobs, for {}",
                text::bytes(facts.bytes),
                facts.blobs,
                if platforms.is_empty() { "no platform".to_owned() } else { line(&platforms.join(", "), MAX) }
            )]
        }
        Event::Compared { service, comparison } => comparison::lines(service, comparison),
        Event::MigrationsFound { services, found } => migrations(services, found),
        Event::Planned { plan, hash, .. } if plan.stages.is_empty() => {
            vec![format!("nothing to do; the plan is {}", hash.short())]
        }
        Event::Planned { hash, estimate, .. } => vec![format!(
            "the plan is {}: at least {} requests, {} through this machine",
            hash.short(),
            estimate.requests,
            text::bytes(estimate.bytes)
        )],
        Event::GatesEvaluated { findings } => gates(findings),
        Event::ApprovalIssue { number, url, until, .. } => {
            vec![format!("approval is asked for in issue {number}, until {}: {}", text::time(*until), line(url, 200))]
        }
        Event::ApprovalGiven { approver } => vec![format!(
            "{} approved in the {}{}",
            line(approver.by.as_str(), 100),
            approver.place.name(),
            if approver.remark.is_empty() { String::new() } else { format!(": {}", line(&approver.remark, MAX)) }
        )],
        Event::ApprovalReminded => vec!["the approvers were reminded".to_owned()],
        Event::ApprovalRefused(Refusal::Rejected { by, remark }) => {
            vec![format!("rejected by {}: {}", line(by.as_str(), 100), line(remark, MAX))]
        }
        Event::ApprovalRefused(Refusal::TimedOut { missing }) => {
            vec![format!("nobody approved in time: {missing} missing")]
        }
        Event::GithubDeployment { id, environment, .. } => {
            vec![format!("GitHub's deployment to {} is {id}", line(environment, 100))]
        }
        Event::MarkedBad { service, digest, because } => {
            vec![format!("{service}: {digest} is marked bad in {}: {}", run.opening.environment, line(because, MAX))]
        }
        Event::Approved { consent: Consent::Policy { because }, .. } => vec![format!("approved by policy: {because}")],
        Event::Approved { plan, consent: Consent::People { bound, .. } } => vec![format!(
            "approved{}",
            if *bound { format!(": plan {}", plan.short()) } else { ", not bound to the plan".to_owned() }
        )],
        Event::Checked { findings } => checked(findings),
        Event::Forced { by, reason, checks } => {
            vec![format!("FORCED by {}: {} (overruled: {})", line(by, 100), line(reason, MAX), checks.join(", "))]
        }
        Event::LeaseTaken { token } => vec![format!("{} is ours (token {token})", run.opening.environment)],
        Event::Intent { act, .. } => intent(act),
        Event::Begun { intent, handle } => run
            .intents
            .get(intent)
            .map(|intended| {
                let name = handle.id.as_deref().unwrap_or("what was begun");
                let url = handle.url.as_deref().map(|url| format!(": {}", line(url, MAX))).unwrap_or_default();
                format!("{}: {} goes on{url}", intended.act.name(), line(name, 200))
            })
            .into_iter()
            .collect(),
        Event::Settled { intent, outcome } => {
            run.intents.get(intent).map(|intended| settled(&intended.act, outcome)).unwrap_or_default()
        }
        Event::Probed { phase, samples } => health::lines(run, *phase, samples),
        Event::TargetChosen { service, digest, of, passed_over } => {
            let of = of.as_ref().map(|run| format!(", of run {run}")).unwrap_or_default();
            let mut told: Vec<String> = passed_over
                .iter()
                .map(|one| format!("{service}: not back to sha {}: {}", one.digest.short(), line(&one.because, MAX)))
                .collect();
            told.push(format!("{service}: back to {digest}{of}"));
            told
        }
        Event::RollbackBegun { run } => vec![format!("it is taken back by run {run}")],
        Event::RollbackAsked { until } => {
            vec![format!("people have to take it back, until {}", text::time(*until))]
        }
        Event::RollbackEscalated { number, channels } => {
            vec![format!("nobody has taken it back yet: {} is told ({number})", line(&channels.join(", "), MAX))]
        }
        Event::RollbackEnded { good: true, to, .. } => {
            to.iter().map(|(service, digest)| format!("{service} is back at {digest}")).collect()
        }
        Event::RollbackEnded { good: false, .. } => vec!["IT WAS NOT TAKEN BACK: a human is needed".to_owned()],
        Event::BecameReady => vec!["the new version answers".to_owned()],
        Event::WatchBegun { every_ms, probes } => vec![format!(
            "watching {}: {} ticks, one every {}",
            line(&probes.iter().map(|one| one.probe.as_str()).collect::<Vec<_>>().join(", "), MAX),
            probes.iter().map(|one| one.rules.ticks).max().unwrap_or_default(),
            text::millis(*every_ms)
        )],
        Event::HealthJudged { health, because } => vec![format!("{health}: {}", line(because, MAX))],
        Event::Retried { what, attempt, wait_ms, because } => vec![format!(
            "{}: attempt {attempt} failed ({}), again in {}",
            line(what, 200),
            line(because, MAX),
            text::millis(*wait_ms)
        )],
        Event::StageEnded { note: Some(note), .. } => vec![line(note, MAX)],
        Event::NotificationSettled { topic, channel, delivery, .. } => {
            vec![format!("{} about {}: {}", line(channel, 100), line(topic, 100), delivery.name())]
        }
        Event::Interrupted { cause } => vec![format!("interrupted: {}", line(cause, 100))],
        Event::Imported { events } => vec![format!("{events} events from the file are in the ledger now")],
        Event::Faulted(fault) => vec![format!("{}: {}", fault.severity, line(&fault.to_string(), 1000))],
        _ => Vec::new(),
    }
}

/// What was sent and received so far, for showing progress.
#[must_use]
pub fn traffic(traffic: &Traffic) -> String {
    format!(
        "{} requests, {} received, {} sent",
        traffic.total(),
        text::bytes(traffic.received),
        text::bytes(traffic.sent)
    )
}

fn gates(findings: &[GateFinding]) -> Vec<String> {
    let told = |one: &GateFinding| {
        let fix = one.fix.as_deref().map(|fix| format!("; {}", line(fix, MAX))).unwrap_or_default();
        let loud = if one.standing == Standing::Overridden { "OVERRIDDEN" } else { one.standing.name() };
        format!("gate {}: {loud}: seen {}, wanted {}{fix}", one.gate, line(&one.seen, 1000), line(&one.wanted, MAX))
    };
    let mut lines: Vec<String> = findings.iter().filter(|one| one.standing != Standing::Open).map(told).collect();
    let open = findings.iter().filter(|one| one.standing == Standing::Open).count();
    if !findings.is_empty() {
        lines.push(format!("{open} of {} gates are open", findings.len()));
    }
    lines
}

fn checked(findings: &[Finding]) -> Vec<String> {
    let passed = findings.iter().filter(|one| one.verdict == Verdict::Pass).count();
    let mut lines: Vec<String> = findings.iter().filter(|one| one.verdict >= Verdict::Warn).map(finding).collect();
    lines.push(format!(
        "{passed} of {} checks passed",
        findings.iter().filter(|one| one.verdict != Verdict::Skipped).count()
    ));
    lines
}

fn finding(finding: &Finding) -> String {
    let platform = finding.platform.as_ref().map(|one| format!(" ({one})")).unwrap_or_default();
    let fix = finding.fix.as_deref().map(|fix| format!("; {}", line(fix, MAX))).unwrap_or_default();
    format!(
        "{}: {} {}{platform}: seen {}, wanted {}{fix}",
        finding.service,
        finding.verdict.name(),
        finding.check,
        line(&finding.seen, MAX),
        line(&finding.wanted, MAX)
    )
}

fn intent(act: &Act) -> Vec<String> {
    match act {
        Act::CopyContent { service, from, to } => vec![format!("{service}: bringing {from} to {to}")],
        Act::KeepPrevious { service, tag, digest, .. } => vec![format!("{service}: keeping {digest} as {tag}")],
        Act::MoveTags { moves } => moves.iter().map(moving).collect(),
        Act::Migrate { services, tool, migrations } => {
            let what =
                if migrations.is_empty() { String::new() } else { format!(": {}", line(&migrations.join(", "), MAX)) };
            vec![format!("{services}: migrating by {tool}{what}")]
        }
        Act::Deploy { service, driver, to, from, .. } => {
            let from: Vec<String> = from.iter().map(|one| line(&one.to_string(), 200)).collect();
            let from = if from.is_empty() { String::new() } else { format!(", where {} runs", from.join(", ")) };
            vec![format!("{service}: deploying {} by {driver}{from}", line(&to.to_string(), 200))]
        }
        Act::RollBackDeployment { service, driver, to, .. } => {
            vec![format!("{service}: putting back {} by {driver}", line(&to.to_string(), 200))]
        }
    }
}

fn moving(one: &TagMove) -> String {
    let from = one.from.as_ref().map_or_else(|| "nothing".to_owned(), |digest| format!("sha {}", digest.short()));
    format!("{}: {}:{} moves from {from} to sha {}", one.service, one.repository, one.tag, one.to.short())
}

fn settled(act: &Act, outcome: &Outcome) -> Vec<String> {
    match outcome {
        Outcome::ContentCopied(stats) => vec![format!(
            "content is in place: {} manifests, {} blobs mounted or there, {} streamed ({}), {} attached",
            stats.manifests,
            stats.mounted,
            stats.streamed,
            text::bytes(stats.bytes),
            stats.attached
        )],
        Outcome::PreviousKept => Vec::new(),
        Outcome::TagsMoved { found: true } => vec!["the tags were moved by an earlier visit".to_owned()],
        Outcome::TagsMoved { found: false } => vec!["the tags are moved".to_owned()],
        Outcome::Migrated { applied } if applied.is_empty() => vec!["the database is migrated".to_owned()],
        Outcome::Migrated { applied } => vec![format!("{} migrations applied", applied.len())],
        Outcome::Deployed(deployed) => self::deployed(act, deployed),
        Outcome::Failed { message, .. } | Outcome::NotBegun { message, .. } => {
            vec![format!("{} failed: {}", act.name(), line(message, MAX))]
        }
    }
}

fn migrations(services: &str, found: &Migrations) -> Vec<String> {
    if found.untold {
        return vec![format!("{services}: {} migrates; what it will do it does not tell", line(&found.tool, 100))];
    }
    let names: Vec<&str> = found.pending.iter().map(|one| one.name.as_str()).collect();
    let mut lines = vec![match names.as_slice() {
        [] => format!("{services}: no migration is pending, {} are applied", found.applied),
        names => format!("{services}: {} migrations are pending: {}", names.len(), line(&names.join(", "), MAX)),
    }];
    if let (false, Some(why)) = (found.pending.is_empty(), found.bars_the_way_back()) {
        lines.push(format!("{services}: after them there is no way back to an earlier version: {}", line(&why, MAX)));
    }
    lines
}

fn deployed(act: &Act, deployed: &Deployed) -> Vec<String> {
    let (Act::Deploy { service, .. } | Act::RollBackDeployment { service, .. }) = act else { return Vec::new() };
    let what = if deployed.found { "was deployed by an earlier visit" } else { "is deployed" };
    let mut told: Vec<String> = deployed.running.iter().map(|one| line(&one.to_string(), 200)).collect();
    told.extend(deployed.version.as_deref().map(|version| format!("version {}", line(version, 200))));
    told.extend(deployed.state.as_deref().map(|state| line(state, 100)));
    told.extend(deployed.message.as_deref().map(|message| line(message, MAX)));
    let told = if told.is_empty() { String::new() } else { format!(" ({})", told.join("; ")) };
    vec![format!("{service} {what}{told}")]
}
