//! `operation: promote`, and `plan`, which is the same with the acts left out.

use std::sync::Arc;

use super::advance::{advance, hold_to_the_plan, refuse};
use super::audience::Audience;
use super::open::{self, Found};
use super::request::Request;
use super::target::Target;
use super::work::{Seen, Tools, Work};
use super::{asking, deployment_status, failure, status, targets};
use crate::github::Hub;
use crate::ledger::Ledger;
use crate::promotion::fault::{Code, Fault};
use crate::promotion::run::Run;
use crate::promotion::stage::Stage;

/// Promotes, as far as this visit goes.
///
/// # Errors
/// What keeps the run from being recorded, before anything was changed. All else is in the run.
pub async fn promote(
    request: &Request,
    target: &Target,
    tools: &Tools,
    ledger: Arc<dyn Ledger>,
    audience: Arc<dyn Audience>,
) -> Result<Run, Fault> {
    let mut visit = match open::open(request, target, Arc::clone(&ledger), audience).await? {
        Found::ToDo(visit) => visit,
        Found::Finished(mut visit) => {
            // A visit that was cut off after the run's end has kept it. Where it cannot be given back, it expires.
            if let Err(fault) = visit.release().await {
                tracing::debug!(%fault, "the lease of a run that is over is not given back: {fault}");
            }
            targets::assert(visit.run(), &tools.registries, ledger.as_ref()).await?;
            return Ok(visit.run().clone());
        }
    };
    open::begin(&mut visit, request).await?;
    visit.tell_by(tools.post.clone());
    status::show(&mut visit, target, tools.hub.as_ref()).await?;
    let told = tools.registries.traffic();
    let told_of_github = tools.asked_of_github();
    let mut work = Work { visit: &mut visit, request, target, tools, seen: Seen::default(), told, told_of_github };
    hold_to_the_plan(&mut work).await?;
    // What is being taken back points elsewhere.
    let back = &work.visit.run().rollback;
    if back.run.is_none() && back.asked.is_none() {
        match targets::assert(work.visit.run(), &tools.registries, ledger.as_ref()).await {
            Err(fault) if fault.code == Code::TargetMoved => refuse(&mut work, fault).await?,
            asserted => asserted?,
        }
    }
    let advanced = advance(&mut work).await;
    // Also where the visit could not go on: nobody has to wait for a lease that is not used.
    let released = visit.release().await;
    advanced?;
    released?;
    asking::leave(&mut visit, tools.hub.as_ref()).await?;
    deployment_status::end(&mut visit, target, tools.hub.as_ref()).await?;
    failure::tell(&mut visit, target, tools.hub.as_ref()).await?;
    status::show(&mut visit, target, tools.hub.as_ref()).await?;
    Ok(visit.run().clone())
}

/// Shows what a promotion would do: the same code, with a ledger that records nothing and without the stages that act.
///
/// # Errors
/// What keeps the rehearsal's ledger from being read. What keeps the plan from being made is in the run.
pub async fn plan(
    request: &Request,
    target: &Target,
    tools: &Tools,
    ledger: Arc<dyn Ledger>,
    audience: Arc<dyn Audience>,
) -> Result<Run, Fault> {
    // A validation that was asked for reads everything; else the plan ends with what can be told without the layers.
    let until = match request.until {
        Some(until) if until >= Stage::Validation => Stage::Validation,
        Some(until) => until,
        None => Stage::Conditions,
    };
    let request = Request { deployment_id: None, until: Some(until), ..request.clone() };
    // Nobody is told of a rehearsal.
    let hub = tools.hub.as_ref().map(Hub::to_read);
    let tools = Tools { hub, post: None, rehearsal: true, ..tools.clone() };
    promote(&request, target, &tools, ledger, audience).await
}
