//! What an issue about a failure says.

use std::fmt::Write as _;

use super::text;
use crate::promotion::check::Verdict;
use crate::promotion::event::Operation;
use crate::promotion::fault::Exit;
use crate::promotion::run::Run;
use crate::promotion::state::State;
use crate::promotion::untrusted::{code, markdown};

/// Whether a run's failure is about a service: where nobody says which, it is about all.
#[must_use]
pub fn concerns(run: &Run, service: &str) -> bool {
    let named: Vec<&str> = run
        .faults
        .iter()
        .filter(|one| one.fault.severity.stops())
        .filter_map(|one| one.fault.service.as_deref())
        .collect();
    named.is_empty() || named.contains(&service)
}

/// The title.
#[must_use]
pub fn title(run: &Run, service: &str) -> String {
    format!("{service} in {}: {}", run.opening.environment, headline(run))
}

fn headline(run: &Run) -> &'static str {
    match run.ended.as_ref().map(|ended| (ended.exit, ended.state)) {
        Some((Exit::RollbackFailed, _) | (_, State::RollbackFailed)) => "the rollback failed, and a human is needed",
        Some((Exit::RolledBack, _) | (_, State::RolledBack)) => "the promotion failed and was rolled back",
        Some((Exit::Inconclusive, _)) => "it could not be told whether it lives",
        None if run.rollback.asked.is_some() => "it does not live, and people have to take it back",
        _ if run.opening.operation == Operation::Verify => "it was looked at, and is not well",
        _ => "the promotion failed",
    }
}

/// The text.
#[must_use]
pub fn body(run: &Run, service: &str) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "Deployment `{}` of {} to **{}**, asked for by {}: {}.\n",
        run.id,
        code(service, 100),
        markdown(&run.opening.environment, 100),
        markdown(&run.opening.requestor, 100),
        headline(run)
    );
    if let Some(url) = run.opening.workflow.as_ref().and_then(|workflow| workflow.url.as_ref()) {
        let _ = writeln!(out, "[Workflow run]({url})\n");
    }
    what(&mut out, run, service);
    faults(&mut out, run);
    asked(&mut out, run);
    evidence(&mut out, run, service);
    commands(&mut out, run);
    let _ = writeln!(out, "\nThe next failure updates this issue, and the next success closes it.");
    out
}

fn what(out: &mut String, run: &Run, service: &str) {
    let candidate = run.candidate(service);
    let image =
        run.plan.as_ref().and_then(|(plan, _)| plan.candidate(service)).and_then(|planned| planned.image.as_ref());
    if let Some(digest) = candidate.and_then(|candidate| candidate.digest.as_ref()) {
        let _ = writeln!(out, "- Digest: {}", code(digest.as_str(), 200));
    }
    if let Some(previous) = image.and_then(|image| image.previous()) {
        let _ = writeln!(out, "- It was to replace: {}", code(previous.as_str(), 200));
    }
    let moved = candidate.is_some_and(|candidate| candidate.moved);
    let _ = writeln!(out, "- The tag {}\n", if moved { "was moved." } else { "was not moved." });
}

fn faults(out: &mut String, run: &Run) {
    let _ = writeln!(out, "### What went wrong\n");
    for one in run.faults.iter().filter(|one| one.fault.severity.stops()).take(20) {
        let fault = &one.fault;
        let _ = writeln!(
            out,
            "- {} (`{}`{}): {}\n  - what to do: {}",
            text::time(one.at),
            fault.code,
            fault.stage.map(|stage| format!(", {stage}")).unwrap_or_default(),
            markdown(&fault.message, 1_000),
            markdown(&fault.fix, 600)
        );
    }
    let _ = writeln!(out);
}

fn asked(out: &mut String, run: &Run) {
    let Some(asked) = run.rollback.asked.as_ref().filter(|_| run.ended.is_none()) else { return };
    let _ = writeln!(
        out,
        "### What is asked of you\n\nTake it back as said above. It is seen when it is done, and verified; nothing has to be \
         said here. It is waited for until {}.\n",
        text::time(asked.until)
    );
}

fn evidence(out: &mut String, run: &Run, service: &str) {
    let bad: Vec<String> = run
        .findings
        .iter()
        .filter(|one| one.verdict == Verdict::Fail && one.service == service)
        .take(20)
        .map(|one| {
            format!(
                "- {}: seen {}, wanted {}",
                code(&one.check, 60),
                markdown(&one.seen, 240),
                markdown(&one.wanted, 240)
            )
        })
        .collect();
    if !bad.is_empty() {
        let _ = writeln!(out, "### Checks\n\n{}\n", bad.join("\n"));
    }
    for bad in run.bad_digests.iter().filter(|bad| bad.service == service) {
        let _ = writeln!(out, "- {} is marked bad: {}", code(bad.digest.as_str(), 200), markdown(&bad.because, 240));
    }
}

fn commands(out: &mut String, run: &Run) {
    let _ = writeln!(out, "### Commands\n\n```sh");
    if run.unsettled().next().is_some() {
        let _ = writeln!(out, "tidegate --operation recover --deployment-id {}", run.id);
    }
    let _ = writeln!(out, "tidegate --operation audit --deployment-id {}", run.id);
    let images = run.plan.as_ref().map(|(plan, _)| plan.candidates.as_slice()).unwrap_or_default();
    for image in images.iter().filter_map(|planned| planned.image.as_ref()) {
        for tag in image.tags.iter().filter(|tag| !tag.immutable) {
            let _ = writeln!(out, "skopeo inspect --format '{{{{.Digest}}}}' docker://{}:{}", image.target, tag.tag);
        }
    }
    let _ = writeln!(out, "```");
}

/// What is said when it fails again.
#[must_use]
pub fn again(run: &Run) -> String {
    let what = run.decisive_fault().map(|fault| format!(": {}", markdown(&fault.message, 600))).unwrap_or_default();
    format!("Deployment `{}` failed too{what}. The description is about it now.", run.id)
}

/// What is said when it succeeds.
#[must_use]
pub fn recovered(run: &Run) -> String {
    format!("Deployment `{}` succeeded at {}.", run.id, text::time(run.updated_at))
}
