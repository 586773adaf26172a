//! From inputs and the job's context to what the stages are asked.

use std::collections::BTreeMap;

use super::context::Context;
use super::inputs::Inputs;
use crate::promotion::fault::{Code, Fault};
use crate::promotion::image::{Reference, Tag};
use crate::stages::request::{Destination, Job, Request};

/// The request that the inputs make.
///
/// # Errors
/// [`Code::InputInvalid`] for a reference that is not one.
pub(super) fn request(inputs: &Inputs, context: &Context) -> Result<Request, Fault> {
    let wrong =
        |name: &str, error: &dyn std::fmt::Display| Fault::new(Code::InputInvalid, format!("input `{name}`: {error}"));
    let image =
        inputs.image.as_deref().map(str::parse::<Reference>).transpose().map_err(|error| wrong("image", &error))?;
    let to = inputs.to.as_deref().map(destination).transpose().map_err(|error| wrong("to", &error))?;
    Ok(Request {
        operation: inputs.operation,
        environment: inputs.environment.clone(),
        services: inputs.services.clone(),
        image,
        to,
        digest: inputs.digest.clone(),
        version: inputs.version.clone(),
        deployment_id: inputs.deployment_id.clone(),
        until: inputs.until,
        requestor: inputs
            .requestor
            .clone()
            .or_else(|| context.triggering_actor.clone())
            .or_else(|| context.actor.clone())
            .unwrap_or_else(|| "unknown".to_owned()),
        reason: inputs.reason.clone(),
        mode: inputs.mode.clone(),
        variables: inputs.variables.clone(),
        force: inputs.force,
        overrides: inputs.overrides.clone(),
        files: BTreeMap::new(),
        job: Job {
            repository: context.repository.clone(),
            commit: context.commit.clone(),
            git_ref: inputs.git_ref.clone(),
            actor: context.actor.clone(),
            workflow: context.workflow.clone(),
            attempt: context.attempt.clone(),
            name: context.job.clone(),
            triggering_actor: context.triggering_actor.clone(),
            check_run: inputs.check_run_id.as_deref().and_then(|id| id.parse().ok()),
        },
    })
}

/// A tag, or a whole reference.
fn destination(text: &str) -> Result<Destination, crate::promotion::image::InvalidReference> {
    if text.contains('/') {
        text.parse().map(Destination::Reference)
    } else {
        text.trim_start_matches(':').parse::<Tag>().map(Destination::Tag)
    }
}
