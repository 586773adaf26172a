//! The compliance report: who changed what, when, on whose word, checked how; and how anybody can verify it.

use super::document::{Cell, Document, Tone};
use super::health::Counted;
use super::text;
use crate::promotion::act::{Act, Outcome};
use crate::promotion::asking::Refusal;
use crate::promotion::check::Verdict;
use crate::promotion::event::{Conclusion, Consent, Delivery};
use crate::promotion::fault::{Exit, Severity};
use crate::promotion::gate::Standing;
use crate::promotion::health::Health;
use crate::promotion::plan::PlannedImage;
use crate::promotion::run::Run;

/// The compliance report of a run, as it is now.
#[must_use]
pub fn compliance(run: &Run) -> Document {
    let opening = &run.opening;
    let mut document = Document::new(format!("Compliance report: {} into {}", run.id, opening.environment));
    summary(&mut document, run);
    images(&mut document, run);
    gates(&mut document, run);
    checks(&mut document, run);
    approvals(&mut document, run);
    changes(&mut document, run);
    probes(&mut document, run);
    errors(&mut document, run);
    timings(&mut document, run);
    notifications(&mut document, run);
    verification(&mut document, run);
    document
}

fn summary(document: &mut Document, run: &Run) {
    let opening = &run.opening;
    let optional = |text: &Option<String>| Cell::text(text.clone().unwrap_or_else(|| "not given".to_owned()));
    let mut facts = vec![
        ("Deployment", Cell::code(&run.id)),
        ("Result", result(run)),
        ("Operation", Cell::text(opening.operation.name())),
        ("Environment", Cell::text(&opening.environment)),
        ("Services", Cell::text(opening.services.join(", "))),
        ("Repository", Cell::code(&opening.scope)),
        ("Commit", opening.commit.as_ref().map_or_else(|| Cell::text("none"), Cell::code)),
        ("Git reference", opening.git_ref.as_ref().map_or_else(|| Cell::text("none"), Cell::code)),
        ("Requested by", Cell::text(&opening.requestor)),
        ("Actor", optional(&opening.actor)),
        ("Reason", optional(&opening.reason)),
    ];
    if let Some(workflow) = &opening.workflow {
        let name = format!("{} ({})", workflow.workflow.as_deref().unwrap_or("workflow run"), workflow.run_id);
        let cell = workflow.url.clone().map_or_else(|| Cell::text(&name), |url| Cell::Link(name.clone(), url));
        facts.push(("Workflow run", cell));
        facts.push(("Started by", optional(&workflow.event)));
    }
    facts.push(("Began", Cell::text(text::time(run.opened_at))));
    let ended = run.ended.as_ref().map_or_else(|| "has not ended".to_owned(), |ended| text::time(ended.at));
    facts.push(("Ended", Cell::text(ended)));
    facts.push(("Configuration", optional(&opening.configuration)));
    if let Some((_, hash)) = &run.plan {
        facts.push(("Plan", Cell::code(hash)));
    }
    facts.push(("Tidegate", Cell::text(&opening.version)));
    document.facts(facts);
}

/// How a run ended, in a word.
pub(super) fn result(run: &Run) -> Cell {
    let (tone, text) = match &run.ended {
        Some(ended) if ended.exit == Exit::Done => (Tone::Good, ended.state.name().to_owned()),
        Some(ended) => {
            let reason = ended.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
            (Tone::Bad, format!("{}{reason}", ended.state))
        }
        None => (Tone::Neutral, format!("{}, not ended", run.state)),
    };
    Cell::verdict(tone, text)
}

fn images(document: &mut Document, run: &Run) {
    document.heading("Images");
    let rows = run.plan.iter().flat_map(|(plan, _)| &plan.candidates).map(|planned| {
        let candidate = run.candidate(&planned.service);
        let facts = candidate.and_then(|one| one.facts.as_ref());
        let image = planned.image.as_ref();
        let dash = || Cell::text("–");
        vec![
            Cell::code(&planned.service),
            image.map_or_else(dash, |image| Cell::code(&image.source)),
            image.map_or_else(dash, |image| Cell::code(target(image))),
            image.map_or_else(
                || Cell::text(planned.version.clone().unwrap_or_default()),
                |image| Cell::code(&image.digest),
            ),
            image.and_then(PlannedImage::previous).map_or_else(dash, Cell::code),
            facts.map_or_else(dash, |facts| Cell::text(text::bytes(facts.bytes))),
            facts.map_or_else(dash, |facts| {
                let platforms: Vec<String> = facts.platforms.iter().map(|one| one.platform.to_string()).collect();
                Cell::text(platforms.join(", "))
            }),
            candidate.and_then(|one| one.sequence).map_or_else(dash, |number| Cell::text(number.to_string())),
        ]
    });
    let head = ["Service", "From", "To", "Digest", "Replaces", "Size", "Platforms", "Number"];
    document.table(&head, rows.collect(), "No plan was made.");
}

fn target(image: &PlannedImage) -> String {
    let tags: Vec<&str> = image.tags.iter().map(|tag| tag.tag.as_str()).collect();
    format!("{}:{}", image.target, tags.join(" :"))
}

fn gates(document: &mut Document, run: &Run) {
    document.heading("Gates");
    let rows = run.gates.iter().map(|one| {
        let tone = match one.standing {
            Standing::Open => Tone::Good,
            Standing::Overridden => Tone::Warning,
            Standing::Unknown | Standing::Closed => Tone::Bad,
        };
        let about = if one.services.is_empty() { "all".to_owned() } else { one.services.join(", ") };
        vec![
            Cell::verdict(tone, one.standing.name()),
            Cell::code(&one.gate),
            Cell::text(about),
            Cell::text(&one.seen),
            Cell::text(&one.wanted),
            Cell::text(text::millis(one.waited * 1000)),
        ]
    });
    let head = ["Standing", "Gate", "About", "Seen", "Wanted", "Waited"];
    document.table(&head, rows.collect(), "No gate is configured.");
}

fn checks(document: &mut Document, run: &Run) {
    document.heading("Checks");
    let rows = run.findings.iter().map(|finding| {
        let tone = match finding.verdict {
            Verdict::Pass => Tone::Good,
            Verdict::Warn => Tone::Warning,
            Verdict::Fail => Tone::Bad,
            Verdict::Skipped => Tone::Neutral,
        };
        vec![
            Cell::verdict(tone, finding.verdict.name()),
            Cell::code(&finding.check),
            Cell::code(&finding.service),
            Cell::text(finding.platform.as_ref().map(ToString::to_string).unwrap_or_default()),
            Cell::text(&finding.seen),
            Cell::text(&finding.wanted),
        ]
    });
    let head = ["Verdict", "Check", "Service", "Platform", "Seen", "Wanted"];
    document.table(&head, rows.collect(), "No check was evaluated.");
    if let Some(forced) = &run.forced {
        document.text(format!(
            "FORCED: {} overruled {}, because: {}",
            forced.by,
            forced.checks.join(", "),
            forced.reason
        ));
    }
}

fn approvals(document: &mut Document, run: &Run) {
    document.heading("Approval");
    match &run.consent {
        Some((plan, Consent::Policy { because })) => {
            document.facts(vec![
                ("By", Cell::text("policy")),
                ("Condition", Cell::text(because)),
                ("Of the plan", Cell::code(plan)),
            ]);
        }
        Some((plan, Consent::People { approvers, bound })) => {
            let rows = approvers.iter().map(|one| {
                let name = one.by.to_string();
                vec![
                    one.url.clone().map_or_else(|| Cell::text(&name), |url| Cell::Link(name.clone(), url)),
                    Cell::text(one.at.map_or_else(|| "not told".to_owned(), text::time)),
                    Cell::text(one.place.name()),
                    Cell::text(&one.remark),
                ]
            });
            document.table(&["By", "When", "Where", "Remark"], rows.collect(), "Nobody is named.");
            let condition = if *bound { "to this very plan" } else { "to the workflow run" };
            document.facts(vec![("Given", Cell::text(condition)), ("Plan", Cell::code(plan))]);
        }
        None => {
            let text = match run.asking.as_ref().and_then(|asking| asking.refusal.as_ref()) {
                Some(Refusal::Rejected { by, remark }) => format!("{by} said no. {remark}"),
                Some(Refusal::TimedOut { missing }) => {
                    format!("Nobody, or too few, answered in time: {missing} missing.")
                }
                None => "The plan has no approval.".to_owned(),
            };
            document.text(text.trim());
        }
    }
    let overrides: Vec<String> = run
        .visits
        .iter()
        .filter(|visit| !visit.opening.overrides.is_empty())
        .map(|visit| {
            let reason = visit.opening.reason.as_deref().unwrap_or("no reason given");
            format!("Visit {} passed over {}: {reason}", visit.opening.number, visit.opening.overrides.join(", "))
        })
        .collect();
    document.list(overrides);
}

fn changes(document: &mut Document, run: &Run) {
    document.heading("Changes");
    let rows = run.intents.iter().map(|(seq, intended)| {
        let outcome = match &intended.outcome {
            None => Cell::verdict(Tone::Bad, "not known: it was announced, and nobody saw its end"),
            Some(Outcome::Failed { message, .. } | Outcome::NotBegun { message, .. }) => {
                Cell::verdict(Tone::Bad, message)
            }
            Some(_) => Cell::verdict(Tone::Good, "done"),
        };
        vec![
            Cell::text(seq.to_string()),
            Cell::text(intended.stage.name()),
            Cell::code(intended.act.name()),
            Cell::text(what(&intended.act)),
            Cell::text(if intended.act.changes_the_world() { "yes" } else { "no" }),
            outcome,
        ]
    });
    let head = ["Event", "Stage", "Act", "What", "Changes the environment", "Outcome"];
    document.table(&head, rows.collect(), "Nothing was changed, and nothing was begun to be changed.");
    let back =
        run.rollback.run.iter().map(|other| format!("Taken back by run {other}, which has a report of its own."));
    let places = run.rollback.to.iter().map(|(service, digest)| format!("{service} is back at {digest}."));
    let bad = run
        .bad_digests
        .iter()
        .map(|bad| format!("{} of {} is marked as bad: {}", bad.digest, bad.service, bad.because));
    document.list(back.chain(places).chain(bad).collect());
}

/// What an act does, in words.
fn what(act: &Act) -> String {
    match act {
        Act::CopyContent { service, from, to } => format!("{service}: {from} to {to}"),
        Act::KeepPrevious { service, repository, tag, digest } => {
            format!("{service}: {repository}:{tag} keeps {digest}")
        }
        Act::MoveTags { moves } => {
            let moves = moves.iter().map(|one| {
                let from = one.from.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
                format!("{}: {}:{} from {from} to {}", one.service, one.repository, one.tag, one.to)
            });
            moves.collect::<Vec<_>>().join("; ")
        }
        Act::Migrate { services, tool, migrations } if migrations.is_empty() => format!("{services}: by {tool}"),
        Act::Migrate { services, tool, migrations } => format!("{services}: by {tool}: {}", migrations.join(", ")),
        Act::Deploy { service, driver, to, .. } => format!("{service}: {to} by {driver}"),
        Act::RollBackDeployment { service, driver, to, undoes } => {
            format!("{service}: back to {to} by {driver}, what run {undoes} has deployed")
        }
    }
}

fn probes(document: &mut Document, run: &Run) {
    document.heading("Health");
    if let Some((health, because)) = &run.health.verdict {
        let tone = match health {
            Health::Healthy => Tone::Good,
            Health::Inconclusive => Tone::Warning,
            Health::Unhealthy => Tone::Bad,
        };
        document.facts(vec![("Verdict", Cell::verdict(tone, health.name())), ("Because", Cell::text(because))]);
    }
    let rows = run.health.probes().into_iter().map(|probe| {
        let asked = Counted::of(run, probe);
        let trouble = run.health.after_deployment(probe).filter_map(|sample| sample.note.as_deref()).last();
        vec![
            Cell::code(probe),
            Cell::text(asked.attempts.to_string()),
            Cell::text(asked.passed.to_string()),
            Cell::text(asked.failed.to_string()),
            Cell::text(asked.p50.map(|ms| text::millis(u64::from(ms))).unwrap_or_default()),
            Cell::text(asked.max.map(|ms| text::millis(u64::from(ms))).unwrap_or_default()),
            Cell::text(trouble.unwrap_or_default()),
        ]
    });
    let head = ["Probe", "Asked", "Passed", "Failed", "Median", "Longest", "Last trouble"];
    document.table(&head, rows.collect(), "No probe was asked.");
}

fn errors(document: &mut Document, run: &Run) {
    document.heading("Errors");
    let rows = run.faults.iter().map(|one| {
        let fault = &one.fault;
        let tone = match fault.severity {
            Severity::Critical | Severity::High => Tone::Bad,
            Severity::Medium => Tone::Warning,
            Severity::Low => Tone::Neutral,
        };
        vec![
            Cell::text(text::time(one.at)),
            Cell::verdict(tone, fault.severity.name()),
            Cell::text(fault.category.name()),
            Cell::code(fault.code),
            Cell::text(fault.stage.map(|stage| stage.name()).unwrap_or_default()),
            Cell::text(match &fault.service {
                Some(service) => format!("{service}: {}", fault.message),
                None => fault.message.clone(),
            }),
            Cell::text(fault.tried.join("; ")),
            Cell::text(&fault.fix),
        ]
    });
    let head = ["Time", "Severity", "Category", "Code", "Stage", "What", "What was tried", "What to do"];
    document.table(&head, rows.collect(), "No error was recorded.");
    let tried = run.retries.iter().map(|retry| {
        vec![
            Cell::text(text::time(retry.at)),
            Cell::text(&retry.what),
            Cell::text(retry.attempt.to_string()),
            Cell::text(&retry.because),
        ]
    });
    if !run.retries.is_empty() {
        document.table(&["Time", "Tried again", "Failed attempt", "Because"], tried.collect(), "");
    }
}

fn timings(document: &mut Document, run: &Run) {
    document.heading("Timings");
    let rows = run.stages.iter().map(|stage| {
        let tone = match stage.conclusion {
            Some(Conclusion::Done) => Tone::Good,
            Some(Conclusion::Skipped) => Tone::Neutral,
            Some(Conclusion::Failed | Conclusion::Errored) => Tone::Bad,
            None => Tone::Warning,
        };
        vec![
            Cell::text(stage.stage.name()),
            Cell::text(stage.visit.to_string()),
            Cell::text(text::time(stage.started_at)),
            Cell::text(stage.ended_at.map_or_else(|| "–".to_owned(), |ended| text::span(stage.started_at, ended))),
            Cell::verdict(tone, stage.conclusion.map_or("cut off", Conclusion::name)),
            Cell::text(stage.traffic.total().to_string()),
            Cell::text(text::bytes(stage.traffic.received)),
            Cell::text(text::bytes(stage.traffic.sent)),
        ]
    });
    let head = ["Stage", "Visit", "Began", "Took", "Conclusion", "Requests", "Received", "Sent"];
    document.table(&head, rows.collect(), "No stage was begun.");
}

fn notifications(document: &mut Document, run: &Run) {
    document.heading("Notifications");
    let rows = run.notifications.iter().map(|one| {
        let (tone, text) = match one.delivery {
            Some((Delivery::Sent, _)) => (Tone::Good, "sent"),
            Some((Delivery::Accepted, _)) => (Tone::Good, "accepted"),
            Some((Delivery::Failed, _)) => (Tone::Warning, "failed"),
            None => (Tone::Neutral, "not known"),
        };
        vec![Cell::code(&one.channel), Cell::code(&one.topic), Cell::verdict(tone, text)]
    });
    document.table(&["Channel", "Of", "Result"], rows.collect(), "Nobody was to be told.");
}

fn verification(document: &mut Document, run: &Run) {
    document.heading("How to verify this");
    document.text(format!(
        "Everything above is told by the {} events of this run's audit trail. Each event's SHA-256 covers its text, its \
         place, its time and the hash before it. The head of the chain, kept anywhere outside the database, proves that \
         nothing was changed, moved, removed or cut off:",
        run.seq
    ));
    let anchor = format!("{}:{}:{}", run.id, run.seq, run.head);
    document.command(&anchor);
    document.text("In the ledger, or in an exported trail and without any database:");
    document.command(format!("tidegate audit --deployment-id {} --anchor {anchor}", run.id));
    document.command(format!("tidegate audit --audit-file audit.jsonl --anchor {anchor}"));
}
