//! What a plan says to people.

use std::fmt::Write as _;

use super::{deployments, text};
use crate::promotion::plan::PlannedImage;
use crate::promotion::run::Run;
use crate::promotion::untrusted;

/// The plan in plain text; nothing while there is none.
#[must_use]
pub fn plan(run: &Run) -> Option<String> {
    let (plan, hash) = run.plan.as_ref()?;
    let mut out = String::new();
    if plan.stages.is_empty() {
        let _ = writeln!(out, "Nothing to do: {} has it already.", plan.environment);
    } else {
        let _ = writeln!(out, "A promotion to {} would:", plan.environment);
    }
    for planned in &plan.candidates {
        match &planned.image {
            Some(image) => image_lines(&mut out, &planned.service, image, run),
            None => {
                let _ = writeln!(
                    out,
                    "- {}: deploy version {}",
                    planned.service,
                    planned.version.as_deref().unwrap_or("as the driver finds it")
                );
            }
        }
    }
    deployments::plan_lines(&mut out, run);
    if !plan.stages.is_empty() {
        let _ = writeln!(
            out,
            "It costs at least {} requests for the copy; at most {} pass through this machine.",
            run.estimate.requests,
            text::bytes(run.estimate.bytes)
        );
    }
    for line in &run.estimate.remarks {
        let _ = writeln!(out, "- {}", untrusted::line(line, 400));
    }
    let _ = writeln!(out, "The plan's hash is {hash}.");
    Some(out)
}

fn image_lines(out: &mut String, service: &str, image: &PlannedImage, run: &Run) {
    let size = run
        .candidate(service)
        .and_then(|one| one.facts.as_ref())
        .map(|facts| format!(" ({})", text::bytes(facts.bytes)));
    if image.crosses_repositories() && !image.is_in_place() {
        let _ = writeln!(
            out,
            "- {service}: copy {}{} from {} to {}",
            image.digest,
            size.unwrap_or_default(),
            image.source.repository,
            image.target
        );
    }
    for tag in &image.tags {
        let what = match &tag.previous {
            Some(previous) if *previous == image.digest => "stays at".to_owned(),
            Some(previous) => format!("moves from {previous} to"),
            None => "is made for".to_owned(),
        };
        let _ = writeln!(out, "- {service}: {}:{} {what} {}", image.target, tag.tag, image.digest);
    }
}
