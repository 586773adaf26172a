//! Stage `validation`: everything that the policy asks for is read and checked.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};

use super::work::{Outcome, Trouble, Work};
use crate::checks::Depth;
use crate::promotion::check::{Finding, Verdict};
use crate::promotion::event::Event;
use crate::promotion::fault::{Code, Fault};
use crate::promotion::plan::PlannedImage;
use crate::promotion::run::Run;
use crate::promotion::state::State;
use crate::registry::Inspection;

/// How many services' images are validated at the same time.
const AT_ONCE: usize = 4;

/// How many failed checks a fault's text lists; the report has all.
const LISTED: usize = 5;

/// How many characters of what a check saw a fault's text has: a label may be a book.
const SEEN: usize = 300;

/// Checks every image.
///
/// # Errors
/// A source that moved, checks that fail, and what keeps a check from looking.
pub(super) async fn run(work: &mut Work<'_>) -> Result<Outcome, Trouble> {
    let images = work.images();
    if images.is_empty() {
        return Ok(Outcome::skipped("no service has an image").entering(State::ValidationPassed));
    }
    if !work.seen.sources {
        super::sources::assert(work).await?;
    }
    let findings = evaluate(work, &images).await?;
    work.visit.note(Event::Checked { findings: findings.clone() }).await?;
    compare(work, &images).await?;
    let failed: Vec<&Finding> = findings.iter().filter(|finding| finding.verdict == Verdict::Fail).collect();
    if failed.is_empty() {
        return Ok(Outcome::done().entering(State::ValidationPassed));
    }
    work.visit.enter(State::ValidationFailed).await?;
    if !work.request.force || failed.iter().any(|finding| finding.unforceable) {
        return Err(refusal(&failed, work.request.force));
    }
    force(work, &failed).await?;
    Ok(Outcome::done().entering(State::ValidationPassed).saying("forced: failed checks were overruled"))
}

async fn evaluate(work: &Work<'_>, images: &[(String, PlannedImage)]) -> Result<Vec<Finding>, Trouble> {
    let looks = images.iter().map(|(service, image)| async move {
        let inspection = inspected(work, service, image).await.map_err(|fault| fault.about(service))?;
        work.evaluate(service, &image.source.repository, &inspection, Depth::Everything).await
    });
    let mut findings = Vec::new();
    let mut faults = Vec::new();
    for look in stream::iter(looks).buffered(AT_ONCE).collect::<Vec<_>>().await {
        match look {
            Ok(found) => findings.extend(found),
            Err(fault) => faults.push(fault),
        }
    }
    Trouble::unless_none(faults)?;
    Ok(findings)
}

/// Records what changes in the packages, where that was not known before the layers were read.
async fn compare(work: &mut Work<'_>, images: &[(String, PlannedImage)]) -> Result<(), Fault> {
    for (service, image) in images {
        if let Some(comparison) = work.compared(service, image).await {
            work.visit.note(Event::Compared { service: service.clone(), comparison: Box::new(comparison) }).await?;
        }
    }
    Ok(())
}

/// The image as this visit saw it; a visit that has not looked at it looks now.
async fn inspected(work: &Work<'_>, service: &str, image: &PlannedImage) -> Result<Arc<Inspection>, Fault> {
    if let Some(inspection) = work.seen.inspection(service) {
        return Ok(inspection);
    }
    let inspection = Arc::new(work.registries().inspect(&image.source.repository, &image.digest).await?);
    work.seen.remember(service, Arc::clone(&inspection));
    Ok(inspection)
}

/// What would keep a run from being carried out, by the checks that were evaluated so far.
#[must_use]
pub fn foreseen(run: &Run, force: bool) -> Option<Fault> {
    let failed: Vec<&Finding> = run.findings.iter().filter(|finding| finding.verdict == Verdict::Fail).collect();
    let refused = !failed.is_empty() && (!force || failed.iter().any(|finding| finding.unforceable));
    refused.then(|| refusal(&failed, force).faults().into_iter().next()).flatten()
}

/// One fault for each service whose checks fail.
fn refusal(failed: &[&Finding], force: bool) -> Trouble {
    let services: BTreeSet<&str> = failed.iter().map(|finding| finding.service.as_str()).collect();
    let faults: Vec<Fault> = services
        .into_iter()
        .map(|service| {
            let failed: Vec<&&Finding> = failed.iter().filter(|finding| finding.service == service).collect();
            let mut texts: Vec<String> = failed.iter().take(LISTED).map(|finding| text(finding)).collect();
            if failed.len() > LISTED {
                texts.push(format!("and {} more", failed.len() - LISTED));
            }
            let unforceable: BTreeSet<&str> =
                failed.iter().filter(|finding| finding.unforceable).map(|finding| finding.check.as_str()).collect();
            let mut fault =
                Fault::new(Code::CheckFailed, format!("{} checks fail: {}", failed.len(), texts.join("; ")))
                    .about(service);
            let fixes: BTreeSet<&str> = failed.iter().filter_map(|finding| finding.fix.as_deref()).collect();
            let fixes = fixes.into_iter().collect::<Vec<_>>().join("; ");
            fault.fix = if unforceable.is_empty() {
                format!("{fixes}; or go on in spite of it with `force` and a `reason`")
            } else if force {
                format!("{fixes}; `force` does not overrule {}", unforceable.into_iter().collect::<Vec<_>>().join(", "))
            } else {
                fixes
            };
            fault
        })
        .collect();
    match Trouble::unless_none(faults) {
        Err(trouble) => trouble,
        Ok(()) => Fault::defect("a refusal without a failed check").into(),
    }
}

fn text(finding: &Finding) -> String {
    let platform = finding.platform.as_ref().map(|platform| format!(" ({platform})")).unwrap_or_default();
    let short = |text: &str| text.chars().take(SEEN).collect::<String>();
    format!("{}{platform}: seen {}, wanted {}", finding.check, short(&finding.seen), short(&finding.wanted))
}

/// Goes on in spite of failed checks, loudly.
async fn force(work: &mut Work<'_>, failed: &[&Finding]) -> Result<(), Fault> {
    let checks: BTreeSet<String> =
        failed.iter().map(|finding| format!("{}: {}", finding.service, finding.check)).collect();
    let checks: Vec<String> = checks.into_iter().collect();
    let reason = work.request.reason.clone().unwrap_or_default();
    let by = work.request.requestor.clone();
    let fault = Fault::new(Code::Forced, format!("{by} overruled {}: {reason}", checks.join(", ")))
        .in_stage(crate::promotion::stage::Stage::Validation);
    work.visit.record(vec![Event::Forced { by, reason, checks }, Event::Faulted(Box::new(fault))]).await
}
