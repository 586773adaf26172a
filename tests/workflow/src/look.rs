//! What can be seen of a workflow without running it.

use crate::availability::Place;
use crate::expression::{expressions, mentions};
use crate::model::{Action, Environment, Job, Scalar, Scalars, Step, Workflow};

/// Looks at every expression and at every use of the project's action.
///
/// # Errors
/// A context that is not available in its place, an input or output that the action does not have, an action that is not
/// pinned by a whole commit, a step that nothing is called like.
pub fn through(workflow: &Workflow, action: &Action, project: &str) -> Result<(), String> {
    texts(Place::WorkflowEnv, &workflow.env)?;
    text(Place::Workflow, workflow.run_name.as_deref())?;
    for (id, job) in &workflow.jobs {
        in_job(job, action, project).map_err(|error| format!("job `{id}`: {error}"))?;
    }
    let mut outputs = workflow.on.workflow_call.iter().flat_map(|one| one.outputs.values());
    outputs.try_for_each(|output| text(Place::WorkflowOutput, Some(&output.value)))
}

fn in_job(job: &Job, action: &Action, project: &str) -> Result<(), String> {
    condition(Place::JobIf, job.condition.as_ref())?;
    texts(Place::JobEnv, &job.env)?;
    texts(Place::Job, &job.with)?;
    if let Some(crate::model::Secrets::Some(secrets)) = &job.secrets {
        texts(Place::CallSecrets, secrets)?;
    }
    job.outputs.values().try_for_each(|output| text(Place::JobOutputs, Some(output)))?;
    if let Some(Environment::Whole(whole)) = &job.environment {
        text(Place::Job, Some(&whole.name))?;
        text(Place::EnvironmentUrl, whole.url.as_deref())?;
    }
    if job.steps.is_some() && job.timeout_minutes.is_none() {
        return Err("it has no `timeout-minutes`, so it could run for six hours".to_owned());
    }
    if let Some(uses) = &job.uses {
        pinned(uses)?;
    }
    let steps = job.steps.as_deref().unwrap_or_default();
    for step in steps {
        in_step(step, action, project)?;
    }
    named(job, steps, action, project)
}

fn in_step(step: &Step, action: &Action, project: &str) -> Result<(), String> {
    condition(Place::StepIf, step.condition.as_ref())?;
    text(Place::Step, step.run.as_deref())?;
    texts(Place::Step, &step.env)?;
    texts(Place::Step, &step.with)?;
    let Some(uses) = &step.uses else { return Ok(()) };
    pinned(uses)?;
    if is_project(uses, project)
        && let Some(unknown) = step.with.keys().find(|name| !action.inputs.contains_key(*name))
    {
        return Err(format!("the action has no input `{unknown}`"));
    }
    Ok(())
}

fn is_project(uses: &str, project: &str) -> bool {
    uses == "$/" || uses.split('@').next() == Some(project)
}

fn pinned(uses: &str) -> Result<(), String> {
    if uses.starts_with("$/") || uses.starts_with("./") {
        return Ok(());
    }
    let reference = uses.split_once('@').map_or("", |(_, reference)| reference);
    // `<commit>` stands in pages for what the reader puts there.
    let is_pinned = reference.len() == 40 && reference.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_pinned || reference == "<commit>" {
        return Ok(());
    }
    Err(format!("{uses} is not pinned by a whole commit"))
}

/// `steps.<id>` must be there, and an output of the project's action one that it has.
fn named(job: &Job, steps: &[Step], action: &Action, project: &str) -> Result<(), String> {
    let of_steps = steps.iter().flat_map(|step| {
        let texts = step.env.values().chain(step.with.values()).map(Scalar::text);
        texts.chain(step.run.clone()).chain(
            step.condition
                .as_ref()
                .map(|one| format!("${{{{ {} }}}}", one.text().trim_start_matches("${{").trim_end_matches("}}"))),
        )
    });
    for whole in of_steps.chain(job.outputs.values().cloned()) {
        for expression in expressions(&whole)? {
            for (at, _) in expression.match_indices("steps.") {
                let before = expression[..at].chars().next_back();
                if before.is_some_and(|one| one.is_alphanumeric() || "._-".contains(one)) {
                    continue;
                }
                let is_name = |one: char| one.is_alphanumeric() || one == '-' || one == '_';
                let mut names = expression[at + 6..]
                    .split(|one: char| !is_name(one) && one != '.')
                    .next()
                    .unwrap_or_default()
                    .split('.');
                let id = names.next().unwrap_or_default();
                let step = steps.iter().find(|step| step.id.as_deref() == Some(id));
                let step = step.ok_or_else(|| format!("no step is called `{id}`"))?;
                let is_output = names.next() == Some("outputs");
                let output = names.next().unwrap_or_default();
                let is_ours = step.uses.as_ref().is_some_and(|uses| is_project(uses, project));
                if is_output && is_ours && !action.outputs.contains_key(output) {
                    return Err(format!("the action has no output `{output}`"));
                }
            }
        }
    }
    Ok(())
}

fn condition(place: Place, value: Option<&Scalar>) -> Result<(), String> {
    let Some(value) = value else { return Ok(()) };
    let value = value.text();
    let inner = expressions(&value)?;
    let all = if inner.is_empty() { vec![value.as_str()] } else { inner };
    all.into_iter().try_for_each(|one| allowed(place, one))
}

fn text(place: Place, text: Option<&str>) -> Result<(), String> {
    let Some(text) = text else { return Ok(()) };
    expressions(text)?.into_iter().try_for_each(|one| allowed(place, one))
}

fn texts(place: Place, values: &Scalars) -> Result<(), String> {
    values.values().try_for_each(|value| text(place, Some(&value.text())))
}

fn allowed(place: Place, expression: &str) -> Result<(), String> {
    for name in mentions(expression)? {
        let is_allowed = match name.as_str() {
            "success()" | "failure()" | "always()" | "cancelled()" => place.has_status(),
            "hashfiles()" => place.has_files(),
            other => other.ends_with("()") || place.contexts().contains(&other),
        };
        if !is_allowed {
            return Err(format!("`{expression}`: `{name}` is not available here"));
        }
    }
    Ok(())
}
