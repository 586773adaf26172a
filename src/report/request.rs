//! What people are asked in an issue: Markdown for those who are to say yes or no.

use std::fmt::Write as _;

use super::text;
use crate::promotion::asking::Asked;
use crate::promotion::check::Verdict;
use crate::promotion::run::Run;
use crate::promotion::untrusted::{code, markdown};

/// How much of a text that others wrote is shown in one place.
const CELL: usize = 200;

/// What lies between what runs and what is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The services that change so.
    pub services: Vec<String>,
    /// The commit of what runs.
    pub from: String,
    /// The commit of what is to run.
    pub to: String,
    /// The address of the comparison.
    pub url: String,
    /// How many commits come.
    pub ahead: u64,
    /// How many commits go.
    pub behind: u64,
    /// The newest of those that come: id, message (untrusted), address.
    pub commits: Vec<(String, String, String)>,
    /// The merged pull requests among them: number, title (untrusted), address.
    pub pulls: Vec<(u64, String, String)>,
}

/// The title of the issue.
#[must_use]
pub fn title(run: &Run) -> String {
    let services = run.opening.services.join(", ");
    format!("Approve: {services} to {} ({})", run.opening.environment, run.id)
}

/// The text of the issue.
#[must_use]
pub fn request(run: &Run, asked: &Asked, timeout: std::time::Duration, changes: &[Change]) -> String {
    let mut out = String::new();
    let environment = markdown(&run.opening.environment, 100);
    let _ = writeln!(
        out,
        "**{}** asks to promote to **{environment}**{}.\n",
        markdown(&run.opening.requestor, 100),
        run.opening.reason.as_deref().map(|reason| format!(": {}", markdown(reason, 400))).unwrap_or_default(),
    );
    images(&mut out, run);
    for change in changes {
        changed(&mut out, change);
    }
    evidence(&mut out, run);
    how_to_answer(&mut out, asked, timeout);
    let workflow = run.opening.workflow.as_ref().and_then(|workflow| workflow.url.as_ref());
    let workflow = workflow.map(|url| format!(", [workflow run]({url})")).unwrap_or_default();
    let _ = writeln!(out, "\nDeployment `{}`{workflow}.", run.id);
    out
}

fn images(out: &mut String, run: &Run) {
    let Some((plan, _)) = &run.plan else { return };
    let _ = writeln!(out, "| Service | From | To | Digest | Replaces, and is the way back |\n|---|---|---|---|---|");
    for planned in &plan.candidates {
        let service = code(&planned.service, 100);
        match &planned.image {
            Some(image) => {
                let tags: Vec<String> = image.tags.iter().map(|tag| format!(":{}", tag.tag)).collect();
                let _ = writeln!(
                    out,
                    "| {service} | {} | {} | {} | {} |",
                    code(&image.source.to_string(), CELL),
                    code(&format!("{}{}", image.target, tags.join(" ")), 300),
                    code(image.digest.as_str(), CELL),
                    image.previous().map_or_else(
                        || "nothing: there is no way back".to_owned(),
                        |digest| code(digest.as_str(), CELL)
                    ),
                );
            }
            None => {
                let version = planned.version.as_deref().unwrap_or("as the driver finds it");
                let _ = writeln!(out, "| {service} | – | – | {} | – |", code(version, 100));
            }
        }
    }
    let _ = writeln!(out);
}

fn changed(out: &mut String, change: &Change) {
    let _ = writeln!(
        out,
        "### What changes in {}\n\n[{} commits]({}) come{}.\n",
        code(&change.services.join(", "), CELL),
        change.ahead,
        change.url,
        if change.behind > 0 { format!(", and {} go", change.behind) } else { String::new() },
    );
    for (number, title, url) in &change.pulls {
        let _ = writeln!(out, "- [#{number}]({url}) {}", markdown(title, CELL));
    }
    for (sha, message, url) in &change.commits {
        let first = message.lines().next().unwrap_or_default();
        let _ = writeln!(out, "- [{}]({url}) {}", code(sha.get(..12).unwrap_or(sha), 20), markdown(first, CELL));
    }
    let more = change.ahead.saturating_sub(change.commits.len() as u64);
    if more > 0 {
        let _ = writeln!(out, "- and {more} more");
    }
    let _ = writeln!(out);
}

/// What was looked at before anybody was asked.
fn evidence(out: &mut String, run: &Run) {
    let count = |verdict: Verdict| run.findings.iter().filter(|one| one.verdict == verdict).count();
    let _ = writeln!(out, "### What was looked at\n");
    for gate in &run.gates {
        let _ =
            writeln!(out, "- {} is {}: {}", code(&gate.gate, 100), gate.standing.name(), markdown(&gate.seen, CELL));
    }
    let _ = writeln!(
        out,
        "- Of the image's checks {} passed, {} warned, {} failed; its layers are read after the approval.\n",
        count(Verdict::Pass),
        count(Verdict::Warn),
        count(Verdict::Fail)
    );
    for finding in run.findings.iter().filter(|one| one.verdict >= Verdict::Warn).take(20) {
        let _ = writeln!(
            out,
            "- {} {}: {}",
            finding.verdict.name(),
            code(&finding.check, 60),
            markdown(&finding.seen, CELL)
        );
    }
}

fn how_to_answer(out: &mut String, asked: &Asked, timeout: std::time::Duration) {
    let approvers: Vec<String> = asked.approvers.iter().map(|one| markdown(one, 100)).collect();
    let _ = writeln!(
        out,
        "### How to answer\n\n{} of {} must say yes within {}. Write a comment that begins with one of these lines:\n\n\
         ```\n/approve {code}\n/reject {code}\n```\n\nwith whatever you want to say behind it. The code stands for exactly this \
         plan ({plan}): when the plan or an image changes, what was said is void. A comment counts only unedited, and one \
         no is enough.",
        asked.minimum,
        approvers.join(", "),
        text::millis(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)),
        code = asked.code,
        plan = code(asked.plan.short(), 20),
    );
}
