//! The environment's reviewers on GitHub have said yes: verified, because it happened before this job began.

use std::collections::BTreeSet;

use chrono::Utc;

use super::work::{Trouble, Work};
use crate::config::Approval;
use crate::github::Hub;
use crate::promotion::asking::{Approver, Place, Refusal};
use crate::promotion::environment_review::{Demand, Objection, approved, is_bound};
use crate::promotion::fault::{Code, Fault};
use crate::promotion::login::Login;
use crate::promotion::stage::Stage;

/// What the environment's protection says.
#[derive(Debug)]
pub(super) enum Reviewed {
    /// Yes, by these people; `bound` to the plan or not.
    Granted { approvers: Vec<Approver>, bound: bool },
    /// No.
    Refused(Refusal),
}

/// Verifies that the reviewers of an environment have approved this workflow run.
///
/// # Errors
/// Everything that is not a clear yes or no: an environment that is not there or not protected, approvals that cannot be
/// read, one that does not count, or is not bound to the plan where it must be.
pub(super) async fn verify(
    work: &Work<'_>,
    hub: &Hub,
    settings: &Approval,
    environment: &str,
) -> Result<Reviewed, Trouble> {
    let missing = |text: String| Trouble::from(Fault::new(Code::ApprovalMissing, text));
    let Some(found) = hub.github.environment(&hub.repository, environment).await? else {
        return Err(missing(format!("the environment {environment} is not there, or the token may not see it")));
    };
    let job = &work.request.job;
    let Some(run) = job.workflow.as_ref().and_then(|workflow| workflow.run_id.parse::<u64>().ok()) else {
        return Err(missing("this is no workflow run, so nobody can have approved it".to_owned()));
    };
    let workflow = hub.github.workflow_run(&hub.repository, run).await?;
    let reviews = hub.github.run_reviews(&hub.repository, run).await?;
    let mut askers: BTreeSet<Login> = super::approval::askers(work);
    askers.extend(workflow.actor);
    askers.extend(workflow.triggering_actor);
    let demand = Demand {
        minimum: settings.minimum as usize,
        askers_count: settings.allow_self,
        bypass_counts: settings.allow_admin_bypass,
    };
    let approved = match approved(environment, &found.protection, &reviews, &askers, &demand) {
        Ok(approved) => approved,
        Err(Objection::Rejected { by, remark }) => {
            return Ok(Reviewed::Refused(Refusal::Rejected { by, remark: bounded(&remark) }));
        }
        // A job that was asked for in vain was cancelled; nobody has passed the rule over.
        Err(Objection::NothingToRead) if is_too_late(work, settings) => {
            return Ok(Reviewed::Refused(Refusal::TimedOut { missing: settings.minimum.max(1) }));
        }
        Err(objection) => return Err(missing(format!("{environment}: {objection}"))),
    };
    let bound = bound(work, hub, run).await?;
    if !bound && settings.require_binding {
        let text = format!(
            "the reviewers of {environment} may have approved something else: no earlier job of this workflow run recorded \
             the plan before this one began"
        );
        return Err(Fault::new(Code::ApprovalUnbound, text).into());
    }
    let approvers = approved.by.into_iter().map(|(by, remark)| Approver {
        by,
        place: Place::Environment,
        at: None,
        remark: bounded(&remark),
        url: Some(workflow.url.clone()),
    });
    Ok(Reviewed::Granted { approvers: approvers.collect(), bound })
}

/// Whether the time is over that people had.
fn is_too_late(work: &Work<'_>, settings: &Approval) -> bool {
    let asked = work.visit.run().asking.as_ref().map(|asking| asking.recorded_at);
    asked.is_some_and(|at| (Utc::now() - at).to_std().is_ok_and(|waited| waited >= settings.timeout))
}

/// What somebody said, as far as it is kept.
fn bounded(remark: &str) -> String {
    remark.chars().take(1_000).collect()
}

/// Whether this workflow run recorded the plan before the job that had to be approved came into being.
async fn bound(work: &Work<'_>, hub: &Hub, workflow: u64) -> Result<bool, Fault> {
    let run = work.visit.run();
    let ours = run.opening.workflow.as_ref().is_some_and(|opened| opened.run_id == workflow.to_string());
    let recorded = run.stages.iter().rfind(|stage| stage.stage == Stage::Conditions).and_then(|stage| stage.ended_at);
    let (Some(own), true) = (work.request.job.check_run, ours) else { return Ok(false) };
    let jobs = hub.github.jobs(&hub.repository, workflow, None).await?;
    let job = jobs.into_iter().find(|job| job.check_run == Some(own));
    Ok(is_bound(recorded, job.and_then(|job| job.created_at)))
}
