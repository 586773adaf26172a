//! The job summary: Markdown for a release manager.

use std::fmt::Write as _;

use super::{deployments, health, outputs, text};
use crate::promotion::asking::{Approver, Refusal};
use crate::promotion::check::{Finding, Verdict};
use crate::promotion::event::{Conclusion, Consent, Decision, Delivery, Operation};
use crate::promotion::fault::{Exit, Fault, Severity};
use crate::promotion::gate::{GateFinding, Standing};
use crate::promotion::plan::PlannedImage;
use crate::promotion::run::{Faulted, Run};
use crate::promotion::stage::Stage;
use crate::promotion::state::State;
use crate::promotion::untrusted::{code, markdown};

/// How much of a text that others wrote is shown in one place.
const CELL: usize = 240;

/// The job summary of a run, as it is now.
#[must_use]
pub fn summary(run: &Run) -> String {
    let mut out = String::new();
    headline(&mut out, run);
    facts(&mut out, run);
    images(&mut out, run);
    deployments::sections(&mut out, run);
    next_steps(&mut out, run);
    faults(&mut out, run);
    way_back(&mut out, run);
    health::section(&mut out, run);
    gates(&mut out, run);
    checks(&mut out, run);
    notifications(&mut out, run);
    timings(&mut out, run);
    audit(&mut out, run);
    out
}

/// The job summary of a visit that was refused before there was a run.
#[must_use]
pub fn refusal(fault: &Fault) -> String {
    stop("Nothing was begun", fault)
}

/// The job summary of a visit to a run that was stopped by something which is not in the run.
#[must_use]
pub fn stopped(run: &Run, fault: &Fault) -> String {
    format!("{}\n{}", stop("This visit was stopped", fault), summary(run))
}

fn stop(headline: &str, fault: &Fault) -> String {
    let about = fault.service.as_deref().map(|service| format!("{}: ", code(service, 100))).unwrap_or_default();
    format!(
        "## ⛔ {headline}\n\n{about}{} (`{}`)\n\n### What to do next\n\n- {}\n",
        markdown(&fault.message, 4000),
        fault.code,
        markdown(&fault.fix, 1000)
    )
}

fn headline(out: &mut String, run: &Run) {
    let environment = markdown(&run.opening.environment, 100);
    let nothing = run.plan.as_ref().is_some_and(|(plan, _)| plan.stages.is_empty());
    let operation = run.opening.operation;
    let line = match (&run.ended, run.state) {
        (Some(ended), _) if ended.exit == Exit::Done && nothing => {
            format!("✅ Nothing to do: {environment} has it already")
        }
        (Some(ended), _) if ended.exit == Exit::Done && operation == Operation::Rollback => {
            format!("✅ Rolled back {environment}")
        }
        (Some(ended), _) if operation == Operation::Verify => match ended.exit {
            Exit::Done => format!("✅ {environment} is what was verified there"),
            Exit::Inconclusive => format!("❔ {environment}: it could not be told whether it lives"),
            _ => format!("❌ {environment} is not what it should be"),
        },
        (Some(ended), _) if ended.exit == Exit::Done => format!("✅ Promoted to {environment}"),
        (Some(_), State::Rejected) => format!("🚫 Promotion to {environment} was rejected"),
        (Some(_), State::Cancelled) => format!("🚫 Promotion to {environment} was cancelled"),
        (Some(_), State::Inconclusive) => format!("❔ {environment}: it could not be told whether it lives"),
        (Some(_), State::RolledBack) => format!("↩️ {environment} was rolled back"),
        (Some(_), State::RollbackFailed) => format!("🆘 {environment} could not be rolled back: a human is needed"),
        (Some(ended), _) if ended.exit == Exit::Refused => format!("⛔ Promotion to {environment} was not begun"),
        (Some(_), _) => format!("❌ Promotion to {environment} failed"),
        (None, State::Interrupted) => format!("⏹️ Promotion to {environment} was interrupted"),
        (None, _) => match outputs::decision(run) {
            Decision::Proceed => format!("⏩ Promotion to {environment} goes on in a later job"),
            Decision::Wait => format!("⏸️ Promotion to {environment} waits"),
            Decision::Stop => format!("❌ Promotion to {environment} stopped"),
        },
    };
    let _ = writeln!(out, "## {line}\n");
}

fn facts(out: &mut String, run: &Run) {
    let mut row = |name: &str, value: String| {
        let _ = writeln!(out, "| {name} | {value} |");
    };
    row("Deployment", format!("`{}`{}", run.id, sequence(run)));
    row("---", "---".to_owned());
    row("Requested by", markdown(&run.opening.requestor, CELL));
    if let Some(reason) = &run.opening.reason {
        row("Reason", markdown(reason, CELL));
    }
    if let Some(commit) = &run.opening.commit {
        let reference = run.opening.git_ref.as_deref().map(|one| format!(" on {}", code(one, 100))).unwrap_or_default();
        row("Commit", format!("{}{reference}", code(commit.get(..12).unwrap_or(commit), 40)));
    }
    if let Some(workflow) = &run.opening.workflow {
        let name = markdown(workflow.workflow.as_deref().unwrap_or(&workflow.run_id), 100);
        row("Workflow", workflow.url.as_ref().map_or(name.clone(), |url| format!("[{name}]({url})")));
    }
    row("State", format!("`{}`", run.state));
    if let Some(approved) = approved(run) {
        row("Approved", approved);
    }
    if let Some(forced) = &run.forced {
        row(
            "⚠️ Forced",
            format!(
                "by {}: {} ({})",
                markdown(&forced.by, 100),
                markdown(&forced.reason, CELL),
                code(&forced.checks.join(", "), CELL)
            ),
        );
    }
    let until = run.ended.as_ref().map_or(run.updated_at, |ended| ended.at);
    row("Time", format!("{}, {}", text::time(run.opened_at), text::span(run.opened_at, until)));
    let _ = writeln!(out);
}

/// Who said yes, and to what; or how far that is.
fn approved(run: &Run) -> Option<String> {
    match (&run.consent, &run.asking) {
        (Some((_, Consent::Policy { because })), _) => Some(format!("by policy: {}", markdown(because, CELL))),
        (Some((plan, Consent::People { approvers, bound })), _) => {
            let people: Vec<String> = approvers.iter().map(approver).collect();
            let people =
                if people.is_empty() { "an administrator, past the rule".to_owned() } else { people.join("; ") };
            let to =
                if *bound { format!("plan {}", code(plan.short(), 20)) } else { "not bound to the plan".to_owned() };
            Some(format!("by {people} ({to})"))
        }
        (None, Some(asking)) => {
            let said = asking.approvers.len();
            let issue = asking.issue.as_ref().map(|issue| format!(" in [issue {}]({})", issue.number, issue.url));
            Some(match &asking.refusal {
                Some(Refusal::Rejected { by, remark }) => {
                    format!("rejected by {}: {}", markdown(by.as_str(), 100), markdown(remark, CELL))
                }
                Some(Refusal::TimedOut { missing }) => format!("nobody in time: {missing} missing"),
                None => format!("{said} of {} so far{}", asking.asked.minimum, issue.unwrap_or_default()),
            })
        }
        (None, None) => None,
    }
}

fn approver(one: &Approver) -> String {
    let by = markdown(one.by.as_str(), 100);
    let by = one.url.as_ref().map_or(by.clone(), |url| format!("[{by}]({url})"));
    let at = one.at.map(|at| format!(" at {}", text::time(at))).unwrap_or_default();
    let remark =
        if one.remark.is_empty() { String::new() } else { format!(", saying “{}”", markdown(&one.remark, CELL)) };
    format!("{by} in the {}{at}{remark}", one.place.name())
}

fn sequence(run: &Run) -> String {
    match run.candidates.as_slice() {
        [one] => one.sequence.map(|number| format!(", number {number} in its environment")).unwrap_or_default(),
        _ => String::new(),
    }
}

fn images(out: &mut String, run: &Run) {
    let Some((plan, _)) = &run.plan else { return };
    let rows: Vec<String> = plan
        .candidates
        .iter()
        .map(|planned| {
            let number = run
                .candidate(&planned.service)
                .and_then(|one| one.sequence)
                .map(|one| one.to_string())
                .unwrap_or_default();
            let service = code(&planned.service, 100);
            match &planned.image {
                Some(image) => format!(
                    "| {service} | {} | {} | {} | {} | {number} |",
                    code(&image.source.to_string(), 200),
                    target(image),
                    code(image.digest.as_str(), 200),
                    image.previous().map_or_else(|| "none".to_owned(), |digest| code(digest.as_str(), 200)),
                ),
                None => format!(
                    "| {service} | – | – | {} | – | {number} |",
                    code(planned.version.as_deref().unwrap_or("–"), 100)
                ),
            }
        })
        .collect();
    if !rows.is_empty() {
        let _ = writeln!(
            out,
            "### What\n\n| Service | From | To | Digest | Replaces | Number |\n|---|---|---|---|---|---|\n{}\n",
            rows.join("\n")
        );
    }
}

fn target(image: &PlannedImage) -> String {
    let tags: Vec<String> = image.tags.iter().map(|tag| format!(":{}", tag.tag)).collect();
    code(&format!("{}{}", image.target, tags.join(" ")), 300)
}

/// How it was taken back, and what a rollback goes back to.
fn way_back(out: &mut String, run: &Run) {
    if let Some(taken_back) = &run.opening.rolls_back {
        let _ = writeln!(out, "### Rollback\n\nThis run takes back run `{taken_back}`.\n");
    } else if let Some(good) = run.rollback.good {
        let by = run.rollback.run.as_ref().map(|run| format!(" by run `{run}`")).unwrap_or_default();
        let told = if good { format!("It was taken back{by}.") } else { format!("It was **not** taken back{by}.") };
        let _ = writeln!(out, "### Rollback\n\n{told}\n");
        for (service, digest) in &run.rollback.to {
            let _ = writeln!(out, "- {} is back at {}", code(service, 100), code(digest.as_str(), 200));
        }
        if !run.rollback.to.is_empty() {
            let _ = writeln!(out);
        }
    }
    if run.targets.is_empty() {
        return;
    }
    let _ = writeln!(out, "| Service | Digest | |\n|---|---|---|");
    for (service, chosen) in &run.targets {
        for one in &chosen.passed_over {
            let why = markdown(&one.because, CELL);
            let _ =
                writeln!(out, "| {} | {} | passed over: {why} |", code(service, 100), code(one.digest.as_str(), 200));
        }
        let of = chosen.of.as_ref().map(|run| format!(" (of run `{run}`)")).unwrap_or_default();
        let digest = code(chosen.digest.as_str(), 200);
        let _ = writeln!(out, "| {} | {digest} | **chosen**{of} |", code(service, 100));
    }
    let _ = writeln!(out);
}

/// What to do now, where somebody has to do something.
fn next_steps(out: &mut String, run: &Run) {
    let mut steps: Vec<String> = Vec::new();
    if let (Some(ended), Some(fault)) = (&run.ended, run.decisive_fault())
        && ended.exit != Exit::Done
    {
        steps.push(markdown(&fault.fix, 1000));
    }
    if let (None, Some(issue)) = (&run.ended, run.asking.as_ref().and_then(|asking| asking.issue.as_ref())) {
        steps.push(format!("Answer in [issue {}]({}), until {}.", issue.number, issue.url, text::time(issue.until)));
    }
    if run.ended.is_none() && run.state == State::Interrupted {
        steps.push("Run the job again: it goes on where this visit stopped.".to_owned());
        steps.push(format!(
            "Or settle what is open without going on: `operation: recover` with `deployment-id: {}`.",
            run.id
        ));
    }
    for (_, intended) in run.unsettled() {
        steps.push(format!(
            "It is not known whether this was done: {}. `operation: recover` looks and settles it.",
            code(intended.act.name(), 60)
        ));
    }
    if run.ended.as_ref().is_some_and(|ended| ended.exit != Exit::Done) && !run.changed_the_world() {
        steps.push("Nothing was changed.".to_owned());
    }
    if !steps.is_empty() {
        let _ = writeln!(out, "### What to do next\n");
        for step in steps {
            let _ = writeln!(out, "- {step}");
        }
        let _ = writeln!(out);
    }
}

fn faults(out: &mut String, run: &Run) {
    if run.faults.is_empty() {
        return;
    }
    let _ = writeln!(
        out,
        "### What went wrong\n\n| Severity | Category | Stage | What | Tried | What to do |\n|---|---|---|---|---|---|"
    );
    let mut sorted: Vec<&Faulted> = run.faults.iter().collect();
    sorted.sort_by_key(|one| std::cmp::Reverse(one.fault.severity));
    for one in sorted {
        let fault = &one.fault;
        let mark = match fault.severity {
            Severity::Critical => "🔴",
            Severity::High => "🟠",
            Severity::Medium => "🟡",
            Severity::Low => "⚪",
        };
        let about = fault.service.as_deref().map(|service| format!("{}: ", code(service, 100))).unwrap_or_default();
        let _ = writeln!(
            out,
            "| {mark} {} | {} | {} | {about}{} (`{}`) | {} | {} |",
            fault.severity,
            fault.category,
            fault.stage.map(Stage::name).unwrap_or_default(),
            markdown(&fault.message, 1000),
            fault.code,
            markdown(&fault.tried.join("; "), 500),
            markdown(&fault.fix, 1000),
        );
    }
    let _ = writeln!(out);
}

fn gates(out: &mut String, run: &Run) {
    if run.gates.is_empty() {
        return;
    }
    let _ =
        writeln!(out, "### Gates\n\n| | Gate | About | Seen | Wanted | How to open it |\n|---|---|---|---|---|---|");
    let mut sorted: Vec<&GateFinding> = run.gates.iter().collect();
    sorted.sort_by_key(|one| std::cmp::Reverse(one.standing));
    for one in sorted {
        let mark = match one.standing {
            Standing::Open => "✅",
            Standing::Overridden => "⚠️",
            Standing::Unknown => "❔",
            Standing::Closed => "⛔",
        };
        let waited = match one.waited {
            0 => String::new(),
            seconds => format!(" (waited {})", text::millis(seconds * 1000)),
        };
        let _ = writeln!(
            out,
            "| {mark} | {} | {} | {}{waited} | {} | {} |",
            code(&one.gate, 100),
            if one.services.is_empty() { "all".to_owned() } else { code(&one.services.join(", "), 200) },
            markdown(&one.seen, CELL * 4),
            markdown(&one.wanted, CELL),
            one.fix.as_deref().map(|fix| markdown(fix, 400)).unwrap_or_default(),
        );
    }
    let _ = writeln!(out);
}

fn checks(out: &mut String, run: &Run) {
    if run.findings.is_empty() {
        return;
    }
    let count = |verdict: Verdict| run.findings.iter().filter(|one| one.verdict == verdict).count();
    let _ = writeln!(
        out,
        "### Checks\n\n{} passed, {} warned, {} failed, {} skipped\n",
        count(Verdict::Pass),
        count(Verdict::Warn),
        count(Verdict::Fail),
        count(Verdict::Skipped)
    );
    let _ =
        writeln!(out, "| | Check | Service | Platform | Seen | Wanted | How to fix |\n|---|---|---|---|---|---|---|");
    let mut sorted: Vec<&Finding> = run.findings.iter().collect();
    sorted.sort_by_key(|one| std::cmp::Reverse(one.verdict));
    for one in sorted {
        let mark = match one.verdict {
            Verdict::Pass => "✅",
            Verdict::Warn => "⚠️",
            Verdict::Fail => "❌",
            Verdict::Skipped => "➖",
        };
        let _ = writeln!(
            out,
            "| {mark} | {} | {} | {} | {} | {} | {} |",
            code(&one.check, 60),
            code(&one.service, 100),
            one.platform.as_ref().map(|platform| code(&platform.to_string(), 60)).unwrap_or_default(),
            markdown(&one.seen, CELL),
            markdown(&one.wanted, CELL),
            one.fix
                .as_deref()
                .filter(|_| one.verdict >= Verdict::Warn)
                .map(|fix| markdown(fix, 400))
                .unwrap_or_default(),
        );
    }
    let _ = writeln!(out);
}

/// The stages in time, as a picture, and what they cost, as a table.
fn notifications(out: &mut String, run: &Run) {
    if run.notifications.is_empty() {
        return;
    }
    let _ = writeln!(out, "### Who was told\n\n| Channel | Of | Result |\n|---|---|---|");
    for one in &run.notifications {
        let result = match one.delivery {
            Some((Delivery::Sent, _)) => "✅ sent".to_owned(),
            Some((Delivery::Accepted, _)) => "✅ accepted; whether it arrives is not told".to_owned(),
            Some((Delivery::Failed, attempts)) => format!("⚠️ failed, after {attempts} attempts"),
            None => "not known yet".to_owned(),
        };
        let _ = writeln!(out, "| {} | {} | {result} |", code(&one.channel, 60), code(&one.topic, 60));
    }
    let _ = writeln!(out);
}

fn timings(out: &mut String, run: &Run) {
    let shown: Vec<_> = run
        .stages
        .iter()
        .filter(|stage| stage.conclusion != Some(Conclusion::Skipped))
        .filter_map(|stage| Some((stage, stage.ended_at?)))
        .collect();
    if shown.is_empty() {
        return;
    }
    let _ = writeln!(out, "### Timings\n\n```mermaid\ngantt\n    dateFormat x\n    axisFormat %H:%M:%S");
    for (stage, ended_at) in &shown {
        let mark = if stage.conclusion.is_some_and(Conclusion::lets_go_on) { "done" } else { "crit" };
        let from = stage.started_at.timestamp_millis();
        // A bar needs a millisecond to be seen.
        let to = ended_at.timestamp_millis().max(from + 1);
        let _ = writeln!(out, "    {} :{mark}, {from}, {to}", stage.stage);
    }
    let _ =
        writeln!(out, "```\n\n| Stage | Conclusion | Time | Requests | Received | Sent |\n|---|---|---|---|---|---|");
    for (stage, ended_at) in &shown {
        let requests: Vec<String> =
            stage.traffic.requests.iter().map(|(class, count)| format!("{class} {count}")).collect();
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} |",
            stage.stage,
            stage.conclusion.map(Conclusion::name).unwrap_or_default(),
            text::span(stage.started_at, *ended_at),
            requests.join(", "),
            text::bytes(stage.traffic.received),
            text::bytes(stage.traffic.sent),
        );
    }
    let _ = writeln!(out);
    for stage in run.stages.iter().filter(|stage| stage.note.is_some()) {
        let _ = writeln!(out, "- {}: {}", stage.stage, markdown(stage.note.as_deref().unwrap_or_default(), 400));
    }
    if !run.retries.is_empty() {
        let _ = writeln!(out, "- {} attempts were repeated after a passing fault.", run.retries.len());
    }
    let _ = writeln!(out);
}

fn audit(out: &mut String, run: &Run) {
    let _ = writeln!(
        out,
        "### Audit\n\nThe trail of this run has {} events. Its head is the anchor; keep it, and check with \
         `operation: audit` and `anchor: {}:{}:{}` that nothing was changed or cut off.",
        run.seq, run.id, run.seq, run.head
    );
}
