//! People are asked for their yes in an issue, and their answers are counted.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::{Instant, sleep};

use super::changes::changes;
use super::visit::Visit;
use super::work::{Trouble, Work};
use crate::config::{self, Approval, WhilePending};
use crate::github::Hub;
use crate::github::issues::{ClosedAs, NewIssue};
use crate::github::teams::TeamName;
use crate::pace;
use crate::promotion::approval::{Electorate, Ignored, Objection, Request, Standing, Tally, Vote, tally};
use crate::promotion::asking::{Approver, Asking, Issue, Place, Refusal};
use crate::promotion::event::Event;
use crate::promotion::fault::{Category, Code, Fault, Severity};
use crate::promotion::login::Login;
use crate::promotion::marker::Marker;
use crate::promotion::run::Run;
use crate::promotion::state::State;
use crate::promotion::untrusted::markdown;
use crate::report::request;

/// The label by which requests are found.
pub(super) const LABEL: &str = "tidegate-approval";

/// What came of asking.
#[derive(Debug)]
pub(super) enum Answer {
    /// Enough people said yes.
    Granted,
    /// Somebody said no, or nobody answered in time.
    Refused(Refusal),
    /// Nobody has answered yet, and this visit does not wait.
    Parked,
}

/// Those who are asked, with the members of their teams.
///
/// # Errors
/// A team that cannot be read, before anybody is asked; fewer people who could say yes than must.
pub(super) async fn electorate(hub: &Hub, settings: &Approval, askers: &BTreeSet<Login>) -> Result<Electorate, Fault> {
    let mut approvers = BTreeSet::new();
    for approver in &settings.approvers {
        match approver {
            config::Approver::User(login) => {
                approvers.insert(Login::new(login));
            }
            config::Approver::Team { organization, team } => {
                let name: TeamName = format!("@{organization}/{team}").parse().map_err(Fault::from)?;
                approvers.extend(hub.github.team_members(&name).await?);
            }
        }
    }
    let electorate = Electorate { approvers, minimum: settings.minimum as usize, askers_count: settings.allow_self };
    let request = Request { code: String::new(), asked_at: Utc::now(), until: None, askers: askers.clone() };
    electorate.can_grant(&request).map_err(|error| {
        let whom: Vec<&str> = askers.iter().map(Login::as_str).collect();
        let own =
            if settings.allow_self { String::new() } else { format!("; {} asks, and does not count", whom.join(", ")) };
        Fault::new(Code::ApprovalImpossible, format!("{error}{own}"))
    })?;
    Ok(electorate)
}

/// Asks, waits for answers or parks, and tells what they are.
///
/// # Errors
/// What keeps people from being asked, or their answers from being read.
pub(super) async fn ask(work: &mut Work<'_>, hub: &Hub, settings: &Approval) -> Result<Answer, Trouble> {
    let asking = current(work)?;
    let askers: BTreeSet<Login> = asking.asked.askers.iter().cloned().collect();
    let electorate = electorate(hub, settings, &askers).await?;
    work.visit.enter(State::PendingApproval).await?;
    let issue = match asking.issue {
        Some(issue) => issue,
        None => open(work, hub, settings, &electorate).await?,
    };
    let request = Request { code: asking.asked.code.clone(), asked_at: issue.at, until: Some(issue.until), askers };
    let mut told = None;
    loop {
        let tally = match count(work, hub, &issue, &request, &electorate).await {
            Ok(tally) => tally,
            // GitHub is away for a while: what was said there waits, and so do we.
            Err(fault) if fault.category == Category::Network && Utc::now() < issue.until && !is_over(work) => {
                work.visit.audience().waiting(&format!("GitHub does not answer: {}", fault.message));
                sleep(pace::approvals()).await;
                continue;
            }
            Err(fault) => return Err(fault.into()),
        };
        match tally.standing {
            Standing::Granted => {
                conclude(work.visit, hub, &issue, ClosedAs::Completed, &granted(&tally)).await?;
                return Ok(Answer::Granted);
            }
            Standing::Rejected => {
                let no = tally.rejections.first().cloned();
                let (by, remark) = no.map_or((Login::new("somebody"), String::new()), |vote| (vote.by, vote.remark));
                let text = format!("Rejected by @{}. Nothing was changed.", by.as_str());
                conclude(work.visit, hub, &issue, ClosedAs::NotPlanned, &text).await?;
                return Ok(Answer::Refused(Refusal::Rejected { by, remark }));
            }
            Standing::TimedOut => {
                let missing = u32::try_from(tally.missing).unwrap_or(u32::MAX);
                let text = format!("Timed out: {missing} more would have had to say yes. Nothing was changed.");
                conclude(work.visit, hub, &issue, ClosedAs::NotPlanned, &text).await?;
                return Ok(Answer::Refused(Refusal::TimedOut { missing }));
            }
            Standing::Waiting => {}
        }
        let why = waiting(&issue, &tally);
        if told.as_ref() != Some(&why) {
            work.visit.audience().waiting(&why);
            told = Some(why);
        }
        remind(work, hub, settings, &issue, &tally).await?;
        if settings.while_pending == WhilePending::Park {
            return Ok(Answer::Parked);
        }
        if is_over(work) {
            let text = "the deadline of this step passed while people were asked";
            let fix = "raise `timeout`, or let the run wait without a job: `while-pending: park`";
            return Err(Fault::new(Code::DeadlinePassed, text).with_fix(fix).into());
        }
        sleep(pause(work, issue.until)).await;
    }
}

/// How long until it is looked again: not past the end of anybody's patience.
fn pause(work: &Work<'_>, until: DateTime<Utc>) -> Duration {
    let left = (until - Utc::now()).to_std().unwrap_or_default() + Duration::from_millis(50);
    let pause = pace::approvals().min(left);
    work.deadline().map_or(pause, |deadline| pause.min(deadline.saturating_duration_since(Instant::now())))
}

fn is_over(work: &Work<'_>) -> bool {
    work.deadline().is_some_and(|deadline| Instant::now() >= deadline)
}

/// The request that is under way.
fn current(work: &Work<'_>) -> Result<Asking, Fault> {
    work.visit.run().asking.clone().ok_or_else(|| Fault::defect("nobody is asked"))
}

/// The mark of the issue of a request.
fn marker(run: &Run, code: &str) -> Marker {
    Marker::new("approval").with("run", run.id.as_str()).with("code", code)
}

/// Opens the issue, or finds the one that an earlier visit opened and could not tell of.
async fn open(work: &mut Work<'_>, hub: &Hub, settings: &Approval, electorate: &Electorate) -> Result<Issue, Trouble> {
    let changes = changes(work, hub).await;
    let run = work.visit.run();
    let asked = current(work)?.asked;
    let new = NewIssue {
        title: request::title(run),
        body: request::request(run, &asked, settings.timeout, &changes),
        label: LABEL.to_owned(),
        labels: settings.labels.clone(),
        assignees: electorate.approvers.iter().cloned().collect(),
        marker: marker(run, &asked.code),
    };
    let (issue, _) = hub.github.open_issue(&hub.repository, &new).await?;
    let timeout = TimeDelta::from_std(settings.timeout).unwrap_or(TimeDelta::MAX);
    let until = issue.created_at.checked_add_signed(timeout).unwrap_or(DateTime::<Utc>::MAX_UTC);
    let event = Event::ApprovalIssue { number: issue.number, url: issue.url.clone(), at: issue.created_at, until };
    work.visit.note(event).await?;
    Ok(Issue { number: issue.number, url: issue.url, at: issue.created_at, until })
}

/// Counts the answers, records the yeses that are new, and answers those of approvers that do not count.
async fn count(
    work: &mut Work<'_>,
    hub: &Hub,
    issue: &Issue,
    request: &Request,
    electorate: &Electorate,
) -> Result<Tally, Fault> {
    let comments = hub.github.comments(&hub.repository, issue.number).await?;
    let tally = tally(request, electorate, &comments, Utc::now());
    let known = current(work)?.approvers;
    let new = tally.approvals.iter().filter(|vote| !known.iter().any(|one| one.by == vote.by));
    let events: Vec<Event> = new.map(|vote| Event::ApprovalGiven { approver: approver(vote) }).collect();
    if !events.is_empty() {
        work.visit.record(events).await?;
    }
    for ignored in &tally.ignored {
        if ignored.because != Objection::NotAsked && work.seen.is_news(ignored.comment) {
            explain(work, hub, issue, ignored, &request.code).await?;
        }
    }
    Ok(tally)
}

fn approver(vote: &Vote) -> Approver {
    Approver {
        by: vote.by.clone(),
        place: Place::Issue,
        at: Some(vote.at),
        remark: vote.remark.chars().take(1_000).collect(),
        url: vote.url.clone(),
    }
}

/// Tells an approver why what they said does not count: once for each comment, and only where we may.
async fn explain(work: &mut Work<'_>, hub: &Hub, issue: &Issue, ignored: &Ignored, code: &str) -> Result<(), Fault> {
    let who = ignored.by.as_ref().map_or_else(|| "Somebody".to_owned(), |by| format!("@{}", by.as_str()));
    let body = format!("{who} {}. An answer looks like this: `/approve {code}`", ignored.because);
    let marker = Marker::new("not-counted").with("comment", ignored.comment.to_string());
    quietly(work.visit, hub.github.comment(&hub.repository, issue.number, &marker, &body).await).await
}

/// Why the run still waits.
fn waiting(issue: &Issue, tally: &Tally) -> String {
    let open: Vec<&str> = tally.open.iter().map(Login::as_str).collect();
    let mut text = format!(
        "waiting for {} more yes in issue {} ({}), of {}, until {}",
        tally.missing,
        issue.number,
        issue.url,
        open.join(", "),
        issue.until.format("%Y-%m-%d %H:%M:%S UTC")
    );
    for ignored in tally.ignored.iter().take(5) {
        let who = ignored.by.as_ref().map_or("somebody", Login::as_str);
        text.push_str(&format!("; {who} {}", ignored.because));
    }
    text
}

fn granted(tally: &Tally) -> String {
    let people: Vec<String> = tally.approvals.iter().map(|vote| format!("@{}", vote.by.as_str())).collect();
    format!("Approved by {}. The promotion goes on.", people.join(", "))
}

async fn remind(
    work: &mut Work<'_>,
    hub: &Hub,
    settings: &Approval,
    issue: &Issue,
    tally: &Tally,
) -> Result<(), Fault> {
    let Some(every) = settings.reminder.and_then(|every| TimeDelta::from_std(every).ok()) else { return Ok(()) };
    let asking = current(work)?;
    let last = asking.reminded_at.unwrap_or(issue.at).max(issue.at);
    if Utc::now() - last < every {
        return Ok(());
    }
    let people: Vec<String> = tally.open.iter().map(|login| format!("@{}", login.as_str())).collect();
    let number = asking.reminders + 1;
    let marker = Marker::new("reminder").with("number", number.to_string());
    let body = format!(
        "{}: {} more yes is needed until {}. `/approve {code}` or `/reject {code}`.",
        people.join(" "),
        tally.missing,
        issue.until.format("%Y-%m-%d %H:%M UTC"),
        code = asking.asked.code
    );
    work.visit.note(Event::ApprovalReminded).await?;
    quietly(work.visit, hub.github.comment(&hub.repository, issue.number, &marker, &body).await).await
}

/// Closes the issue with the outcome.
async fn conclude(visit: &mut Visit, hub: &Hub, issue: &Issue, closed_as: ClosedAs, text: &str) -> Result<(), Fault> {
    let marker = Marker::new("outcome").with("run", visit.run().id.as_str());
    let told = hub.github.comment(&hub.repository, issue.number, &marker, text).await;
    quietly(visit, told).await?;
    let closed = hub.github.close_issue(&hub.repository, issue.number, closed_as).await;
    quietly(visit, closed).await
}

/// Closes the issue of a request that was about another plan.
///
/// # Errors
/// What the ledger says.
pub(super) async fn void(work: &mut Work<'_>, hub: &Hub, issue: &Issue, why: &str) -> Result<(), Fault> {
    let text = format!("Void: {}. What was said here counts for nothing any more.", markdown(why, 300));
    conclude(work.visit, hub, issue, ClosedAs::NotPlanned, &text).await
}

/// Closes the issue of a run that has ended without an answer: nobody should answer what nobody waits for.
///
/// # Errors
/// What the ledger says.
pub(super) async fn leave(visit: &mut Visit, hub: Option<&Hub>) -> Result<(), Fault> {
    let (Some(hub), Some(_), Some(asking)) = (Hub::to_write(hub), &visit.run().ended, &visit.run().asking) else {
        return Ok(());
    };
    let answered = asking.refusal.is_some() || visit.run().consent.is_some();
    let (Some(issue), false) = (asking.issue.clone(), answered) else { return Ok(()) };
    let text = "Void: the run has ended without an answer. What was said here counts for nothing any more.";
    conclude(visit, hub, &issue, ClosedAs::NotPlanned, text).await
}

/// What could not be written to an issue is recorded, and stops nobody.
async fn quietly(visit: &mut Visit, result: Result<(), crate::github::GitHubError>) -> Result<(), Fault> {
    let Err(error) = result else { return Ok(()) };
    let fault = Fault::from(error).at_severity(Severity::Low);
    visit.note(Event::Faulted(Box::new(fault))).await
}
