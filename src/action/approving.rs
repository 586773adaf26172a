//! What approvals need of the action: a run taken up by a comment, and a watcher beside a job that waits.

use std::path::{Component, Path};

use super::book::Book;
use super::context::Commented;
use super::inputs::DEFAULT_CONFIG;
use super::operations::described;
use super::printer::Level;
use super::run::{Desk, Ended};
use super::tools::hub;
use crate::config::{Approval, Approver, Configuration, Via, WhilePending};
use crate::promotion::event::Decision;
use crate::promotion::fault::{Code, Exit, Fault};
use crate::promotion::retry::RetryPolicy;
use crate::promotion::run::Run;
use crate::promotion::state::State;
use crate::stages::request::Request;
use crate::stages::target::Target;
use crate::stages::watch::{Said, Watch, watch as watched};

/// The comment that started this workflow, where nothing else says what is to be promoted.
pub(super) fn commented(desk: &Desk) -> Option<Commented> {
    let request = &desk.request;
    let silent = request.environment.is_none() && request.image.is_none() && request.deployment_id.is_none();
    desk.context.commented.clone().filter(|_| silent)
}

/// The run that a comment is about, as it was asked for, with the configuration that its plan was made of. Where there is
/// nothing to do, that is said: whoever comments on something else has done nothing wrong.
///
/// # Errors
/// What the ledger says; one that does not outlive the job.
pub(super) async fn taken_up(
    desk: &Desk,
    book: &Book,
    commented: &Commented,
) -> Result<Result<(Request, Target, Configuration), Ended>, Fault> {
    let nothing =
        |text: String, run| Ok(Err(Ended { exit: Exit::Done, run, fault: None, text: Some(text), overview: None }));
    let issue = commented.issue;
    let Some(id) = &commented.run else {
        return nothing(format!("nothing to do: issue {issue} asks for no approval"), None);
    };
    if !book.lasting {
        return Err(lasting_required("the run that the comment is about is in a ledger that outlived its job"));
    }
    let records = book.ready(desk).await?.load(id).await?;
    let run = Run::fold(&records)?;
    let asked = run.asking.as_ref().and_then(|asking| asking.issue.as_ref());
    if asked.is_none_or(|asked| asked.number != issue) || run.opening.scope != desk.request.job.scope() {
        return nothing(format!("nothing to do: issue {issue} is not the one in which run {id} asks"), None);
    }
    if run.ended.is_some() {
        return nothing(format!("nothing to do: run {id} is over"), None);
    }
    as_asked(desk, &run).map(Ok)
}

/// A run as it was asked for, with the configuration that its plan was made of, where it was kept.
///
/// # Errors
/// A configuration that is not there, or does not describe the run any more.
pub(super) fn as_asked(desk: &Desk, run: &Run) -> Result<(Request, Target, Configuration), Fault> {
    let path = run.opening.configuration.clone().unwrap_or_else(|| DEFAULT_CONFIG.to_owned());
    let configuration = match run.files.get(&path) {
        Some(text) => Configuration::parse(&path, text)?,
        None => Configuration::load(&desk.context.workspace.join(&path))?,
    };
    restore(&desk.context.workspace, run.files.iter().filter(|(kept, _)| **kept != path))?;
    let request = request_of(desk, run);
    let target = Target::configured(&request, &configuration, &path)?;
    Ok((request, target, configuration))
}

/// Puts files that were kept with a plan into a workspace that does not have them. What is there stays: it is held to the
/// plan like everything else.
fn restore<'f>(workspace: &Path, files: impl Iterator<Item = (&'f String, &'f String)>) -> Result<(), Fault> {
    for (path, text) in files {
        let relative = Path::new(path);
        if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(Fault::defect(format!("{path} was kept, and is not in the workspace")));
        }
        let file = workspace.join(relative);
        if file.exists() {
            continue;
        }
        let written = file.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&file, text));
        written.map_err(|error| {
            let text = format!("{path} was kept with the plan, and cannot be put into the workspace: {error}");
            Fault::new(Code::WorkspaceUnwritable, text)
        })?;
    }
    Ok(())
}

/// Whether a run was left waiting for people, with nobody at work on it.
pub(super) fn is_parked(run: &Run) -> bool {
    let left = run.visits.last().and_then(|visit| visit.ended).is_some_and(|(_, decision)| decision == Decision::Wait);
    run.ended.is_none() && left && (run.state == State::PendingApproval || run.rollback.asked.is_some())
}

/// What a run was asked, as it was opened, from this job.
fn request_of(desk: &Desk, run: &Run) -> Request {
    let opening = &run.opening;
    let mut job = desk.request.job.clone();
    job.commit.clone_from(&opening.commit);
    job.git_ref.clone_from(&opening.git_ref);
    let image = match run.candidates.as_slice() {
        [one] => one.reference.clone(),
        _ => None,
    };
    let version = run.plan.as_ref().and_then(|(plan, _)| plan.candidates.iter().find_map(|one| one.version.clone()));
    Request {
        operation: opening.operation,
        environment: Some(opening.environment.clone()),
        services: opening.services.clone(),
        image,
        version,
        deployment_id: Some(run.id.clone()),
        requestor: opening.requestor.clone(),
        reason: opening.reason.clone(),
        mode: opening.mode.clone(),
        variables: opening.variables.clone(),
        // What was forced when people were asked is forced when they have answered.
        force: desk.request.force || run.visits.iter().any(|visit| visit.opening.force),
        files: run.files.clone(),
        job,
        ..desk.request.clone()
    }
}

/// Refuses to park a run where nobody could find it again.
///
/// # Errors
/// [`Code::LastingLedgerRequired`].
pub(super) fn can_park(target: &Target, book: &Book) -> Result<(), Fault> {
    let parks = target.services.iter().any(|service| {
        let settings = target.settings(&service.name);
        let approval = settings.gates.approval.as_ref().map(|approval| approval.while_pending);
        [approval, settings.rollback.while_pending].contains(&Some(WhilePending::Park))
    });
    if parks && !book.lasting {
        return Err(lasting_required("`while-pending: park` leaves the run to a later job"));
    }
    Ok(())
}

fn lasting_required(why: &str) -> Fault {
    Fault::new(
        Code::LastingLedgerRequired,
        format!("{why}, and the ledger is a file in this job's workspace, which does not outlive the job"),
    )
}

/// Who must approve, in words, for a plan.
pub(super) fn needed(target: &Target) -> String {
    let mut out = String::new();
    let mut told: Vec<&Approval> = Vec::new();
    for service in &target.services {
        let Some(approval) = &target.settings(&service.name).gates.approval else { continue };
        if told.contains(&approval) {
            continue;
        }
        told.push(approval);
        let people: Vec<String> = approval
            .approvers
            .iter()
            .map(|approver| match approver {
                Approver::User(login) => format!("@{login}"),
                Approver::Team { organization, team } => format!("@{organization}/{team}"),
            })
            .collect();
        let place = match approval.via {
            Via::Environment => "the environment's reviewers on GitHub".to_owned(),
            Via::Issue => format!("{} in an issue", people.join(", ")),
            Via::Both => format!("the environment's reviewers on GitHub, and {} in an issue", people.join(", ")),
        };
        out.push_str(&format!(
            "It must be approved by {} of {place}, within {}.\n",
            approval.minimum,
            humantime::format_duration(approval.timeout)
        ));
    }
    if told.is_empty() {
        out.push_str("Nobody has to approve it.\n");
    }
    out
}

/// Watches a job of this workflow run that waits for the environment's reviewers.
///
/// # Errors
/// What keeps it from watching; a no; nobody in time.
pub(super) async fn watch(desk: &Desk) -> Result<Ended, Fault> {
    let (_, target, configuration) = described(desk)?;
    let Some(approval) = target.agreed("gates.approval", |settings| &settings.gates.approval)? else {
        return Err(Fault::new(Code::ConfigurationInvalid, "there is no `gates.approval` to watch")
            .with_fix("set up `gates.approval` with `via: environment`, or leave the watcher out"));
    };
    let retry = configuration.as_ref().map_or_else(RetryPolicy::default, Configuration::retry);
    let run = desk.request.job.workflow.as_ref().and_then(|workflow| workflow.run_id.parse().ok());
    let (Some(hub), Some(run)) = (hub(desk, retry)?, run) else {
        return Err(Fault::new(Code::GithubRequired, "a watcher watches a workflow run on GitHub"));
    };
    let github = target.agreed("github", |settings| &settings.github)?;
    let environment = approval.environment.as_deref().unwrap_or_else(|| github.environment_name(&target.environment));
    let watch = Watch::new(hub, run, environment.to_owned(), approval, desk.deadline);
    let say = |said: Said| match said {
        Said::Waiting(text) => desk.printer.text(&crate::promotion::untrusted::line(&text, 1_000)),
        Said::Reminder(text) => desk.printer.annotate(Level::Notice, "approval needed", &text),
    };
    let text = watched(&watch, &say).await?;
    Ok(Ended { exit: Exit::Done, run: None, fault: None, text: Some(text), overview: None })
}
