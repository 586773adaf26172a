//! Stage `approval`: people say yes to the plan, or nobody has to.

use std::collections::BTreeSet;

use super::asking::{self, Answer};
use super::migration;
use super::reviewed::{self, Reviewed};
use super::work::{Outcome, Trouble, Work};
use crate::config::{Approval, Approver as Named, Via, WhilePending};
use crate::github::Hub;
use crate::promotion::approval::code;
use crate::promotion::asking::{Approver, Asked, Place, Refusal};
use crate::promotion::check::Verdict;
use crate::promotion::digest::Digest;
use crate::promotion::event::{Consent, Event};
use crate::promotion::fault::{Code, Fault};
use crate::promotion::login::Login;
use crate::promotion::state::State;

/// Gets the plan its yes.
///
/// # Errors
/// What keeps people from being asked, a no, nobody in time; what the ledger says.
pub(super) async fn run(work: &mut Work<'_>) -> Result<Outcome, Trouble> {
    // Nobody is asked to approve what cannot be promoted: the validation will refuse it.
    if work.visit.run().worst_verdict() == Verdict::Fail && !work.request.force {
        return Ok(Outcome::skipped("checks fail: nobody is asked"));
    }
    let Some((_, plan)) = work.visit.run().plan.clone() else {
        return Err(Fault::defect("an approval without a plan").into());
    };
    if work.visit.run().consent.as_ref().is_some_and(|(approved, _)| *approved == plan) {
        return Ok(Outcome::done().entering(State::ApprovalGranted));
    }
    let Some(settings) = work.target.agreed("gates.approval", |settings| &settings.gates.approval)?.clone() else {
        let because = match work.target.configuration {
            Some(_) => "the configuration asks for no approval",
            None => "there is no configuration",
        };
        let consent = Consent::Policy { because: because.to_owned() };
        work.visit.note(Event::Approved { plan, consent }).await?;
        return Ok(Outcome::done().entering(State::ApprovalGranted));
    };
    if work.tools.rehearsal {
        return Ok(Outcome::skipped("nobody is asked in a rehearsal"));
    }
    let Some(hub) = work.tools.hub.clone() else {
        let text = "people are asked on GitHub, and there is no token or no repository to ask with";
        return Err(Fault::new(Code::GithubRequired, text).into());
    };
    by_people(work, &hub, &settings, plan).await
}

/// Tells that people are asked where GitHub asks them: before the next visit, whose job begins after their yes. From now
/// on the time runs that they have.
///
/// # Errors
/// What the ledger says; services that do not agree on who is asked.
pub(super) async fn announce(work: &mut Work<'_>) -> Result<(), Fault> {
    let run = work.visit.run();
    let (plan, is_bad) = (run.plan.clone(), run.worst_verdict() == Verdict::Fail && !work.request.force);
    let is_approved = run.consent.as_ref().zip(plan.as_ref()).is_some_and(|((to, _), (_, plan))| to == plan);
    let settings = work.target.agreed("gates.approval", |settings| &settings.gates.approval)?.clone();
    let (Some(settings), Some((_, plan))) = (settings.filter(|one| one.via == Via::Environment), plan) else {
        return Ok(());
    };
    if is_bad || is_approved || work.tools.rehearsal {
        return Ok(());
    }
    let environment = environment(work, &settings)?;
    work.visit.record(vec![request(work, &settings, &plan, &environment)]).await?;
    work.visit.enter(State::PendingApproval).await
}

/// The environment on GitHub whose reviewers are asked.
fn environment(work: &Work<'_>, settings: &Approval) -> Result<String, Fault> {
    let github = work.target.agreed("github", |settings| &settings.github)?;
    let environment = github.environment_name(&work.target.environment);
    Ok(settings.environment.clone().unwrap_or_else(|| environment.to_owned()))
}

async fn by_people(work: &mut Work<'_>, hub: &Hub, settings: &Approval, plan: Digest) -> Result<Outcome, Trouble> {
    let environment = environment(work, settings)?;
    begin(work, hub, settings, &plan, &environment).await?;
    let mut approvers: Vec<Approver> = Vec::new();
    let mut bound = true;
    if settings.via != Via::Issue {
        match reviewed::verify(work, hub, settings, &environment).await? {
            Reviewed::Granted { approvers: people, bound: is_bound } => {
                let known = work.visit.run().asking.as_ref().map(|asking| asking.approvers.clone()).unwrap_or_default();
                let new = people.iter().filter(|one| !known.contains(one)).cloned();
                let events: Vec<Event> = new.map(|approver| Event::ApprovalGiven { approver }).collect();
                if !events.is_empty() {
                    work.visit.record(events).await?;
                }
                approvers.extend(people);
                bound = is_bound;
            }
            Reviewed::Refused(refusal) => return refused(work, refusal).await,
        }
    }
    if settings.via != Via::Environment {
        match asking::ask(work, hub, settings).await? {
            Answer::Granted => {
                let said = work.visit.run().asking.iter().flat_map(|asking| asking.approvers.clone());
                approvers.extend(said.filter(|one| one.place == Place::Issue));
                // Each of them has named the plan.
                bound = true;
            }
            Answer::Refused(refusal) => return refused(work, refusal).await,
            Answer::Parked => return Ok(Outcome::parked()),
        }
    }
    work.visit.note(Event::Approved { plan, consent: Consent::People { approvers, bound } }).await?;
    Ok(Outcome::done().entering(State::ApprovalGranted))
}

/// Records what people are asked, unless they are being asked exactly that. A request about another plan is void.
async fn begin(
    work: &mut Work<'_>,
    hub: &Hub,
    settings: &Approval,
    plan: &Digest,
    environment: &str,
) -> Result<(), Trouble> {
    if let Some(known) = work.visit.run().asking.clone() {
        if known.asked.plan == *plan && known.refusal.is_none() {
            return Ok(());
        }
        if let Some(issue) = &known.issue {
            asking::void(work, hub, issue, "the plan changed").await?;
        }
    }
    if settings.via != Via::Environment {
        // A team that cannot be read, or too few approvers, is told before anybody is asked.
        asking::electorate(hub, settings, &askers(work)).await?;
    }
    let mut events = vec![request(work, settings, plan, environment)];
    if settings.while_pending == WhilePending::Park && !work.request.files.is_empty() {
        events.push(Event::FilesKept { files: migration::kept(work)? });
    }
    work.visit.record(events).await?;
    Ok(())
}

/// What people are asked.
fn request(work: &Work<'_>, settings: &Approval, plan: &Digest, environment: &str) -> Event {
    let places = match settings.via {
        Via::Environment => vec![Place::Environment],
        Via::Issue => vec![Place::Issue],
        Via::Both => vec![Place::Environment, Place::Issue],
    };
    let nonce = uuid::Uuid::new_v4().to_string();
    let named = settings.approvers.iter().map(|approver| match approver {
        Named::User(login) => format!("@{login}"),
        Named::Team { organization, team } => format!("@{organization}/{team}"),
    });
    Event::ApprovalAsked(Box::new(Asked {
        plan: plan.clone(),
        code: code(plan, &nonce),
        approvers: named.collect(),
        environment: places.contains(&Place::Environment).then(|| environment.to_owned()),
        places,
        minimum: settings.minimum,
        askers: askers(work).into_iter().collect(),
    }))
}

/// In whose name is asked: none of them can say yes, unless that is allowed.
pub(super) fn askers(work: &Work<'_>) -> BTreeSet<Login> {
    let opening = &work.visit.run().opening;
    let job = &work.request.job;
    // A comment's workflow run is in the name of whoever commented.
    let ours = job.workflow.as_ref().map(|one| &one.run_id) == opening.workflow.as_ref().map(|one| &one.run_id);
    let triggering = job.triggering_actor.as_ref().filter(|_| ours);
    let names = [Some(&opening.requestor), opening.actor.as_ref(), triggering];
    names.into_iter().flatten().map(|name| Login::new(name)).collect()
}

async fn refused(work: &mut Work<'_>, refusal: Refusal) -> Result<Outcome, Trouble> {
    let fault = match &refusal {
        Refusal::Rejected { by, remark } => {
            let remark = if remark.is_empty() { String::new() } else { format!(": {remark}") };
            Fault::new(Code::ApprovalRejected, format!("{} said no{remark}", by.as_str()))
        }
        Refusal::TimedOut { missing } => {
            Fault::new(Code::ApprovalTimedOut, format!("nobody answered in time: {missing} more must have said yes"))
        }
    };
    work.visit.note(Event::ApprovalRefused(refusal)).await?;
    Err(fault.into())
}
