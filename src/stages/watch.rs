//! `operation: watch`: a job beside one that waits for an environment's reviewers. The waiting job has not begun, so it can
//! neither remind nor explain nor give up; this one does.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::{Instant, sleep};

use crate::config::Approval;
use crate::github::Hub;
use crate::github::approvals::PendingDeployment;
use crate::pace;
use crate::promotion::environment_review::{Review, ReviewState};
use crate::promotion::fault::{Category, Code, Fault};

/// How often it is looked before it is believed that nothing will wait: the job may not be there yet.
const LOOKS: u32 = 4;

/// What is watched.
#[derive(Debug, Clone)]
pub struct Watch {
    /// GitHub.
    pub hub: Hub,
    /// The workflow run.
    pub run: u64,
    /// The environment on GitHub.
    pub environment: String,
    /// How long it is waited for.
    pub timeout: Duration,
    /// How often people are reminded.
    pub reminder: Option<Duration>,
    /// When this step must be over.
    pub deadline: Option<Instant>,
}

/// What a watcher says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// Who is waited for.
    Waiting(String),
    /// The same, again: those who are waited for should see it.
    Reminder(String),
}

impl Watch {
    /// What an approval's settings ask for.
    #[must_use]
    pub fn new(hub: Hub, run: u64, environment: String, approval: &Approval, deadline: Option<Instant>) -> Self {
        Self { hub, run, environment, timeout: approval.timeout, reminder: approval.reminder, deadline }
    }
}

/// Watches until the environment lets the job through, somebody says no, or the time is up; then it cancels the workflow
/// run, because the job's token cannot reject. Tells how it ended.
///
/// # Errors
/// [`Code::ApprovalRejected`], [`Code::ApprovalTimedOut`], and what GitHub says.
pub async fn watch(watch: &Watch, say: &(dyn Fn(Said) + Sync)) -> Result<String, Fault> {
    let mut since: Option<DateTime<Utc>> = None;
    let mut reminded = Utc::now();
    let mut told = None;
    let mut looks = 0;
    loop {
        let found = match look(watch).await {
            Err(fault) if fault.category == Category::Network && !is_over(watch) => {
                sleep(pace::approvals()).await;
                continue;
            }
            found => found?,
        };
        let Some(pending) = found else {
            let reviews = watch.hub.github.run_reviews(&watch.hub.repository, watch.run).await?;
            if let Some(text) = reviewed(&watch.environment, &reviews)? {
                return Ok(text);
            }
            looks += 1;
            if since.is_some() {
                return Ok(format!("{} lets the job through, and no review tells why", watch.environment));
            }
            if looks >= LOOKS {
                return Ok(format!("no job of this workflow run waits for {}", watch.environment));
            }
            sleep(pace::approvals()).await;
            continue;
        };
        let begun = *since.get_or_insert_with(|| pending.waiting_since.unwrap_or_else(Utc::now));
        let waited = (Utc::now() - begun).to_std().unwrap_or_default();
        if waited >= watch.timeout {
            watch.hub.github.cancel_run(&watch.hub.repository, watch.run).await?;
            let text = format!(
                "nobody let the job into {} within {}: the workflow run is cancelled",
                watch.environment,
                humantime::format_duration(watch.timeout)
            );
            return Err(Fault::new(Code::ApprovalTimedOut, text));
        }
        if is_over(watch) {
            let text = format!("the deadline of this step passed while a job waited for {}", watch.environment);
            return Err(Fault::new(Code::DeadlinePassed, text));
        }
        let why = waiting(watch, &pending);
        if told.as_ref() != Some(&why) {
            say(Said::Waiting(why.clone()));
            told = Some(why);
        } else if watch.reminder.is_some_and(|every| (Utc::now() - reminded).to_std().is_ok_and(|past| past >= every)) {
            say(Said::Reminder(why));
            reminded = Utc::now();
        }
        let left = watch.timeout.saturating_sub(waited) + Duration::from_millis(20);
        sleep(pace::approvals().min(left)).await;
    }
}

async fn look(watch: &Watch) -> Result<Option<PendingDeployment>, Fault> {
    let pending = watch.hub.github.pending_deployments(&watch.hub.repository, watch.run).await?;
    Ok(pending.into_iter().find(|one| one.name.to_lowercase() == watch.environment.to_lowercase()))
}

fn is_over(watch: &Watch) -> bool {
    watch.deadline.is_some_and(|deadline| Instant::now() >= deadline)
}

/// What the reviews of a workflow run say about an environment; nothing where there is none.
fn reviewed(environment: &str, reviews: &[Review]) -> Result<Option<String>, Fault> {
    let is_ours =
        |review: &&Review| review.environments.iter().any(|name| name.to_lowercase() == environment.to_lowercase());
    let who = |review: &Review| review.by.as_ref().map_or_else(|| "somebody".to_owned(), |by| by.as_str().to_owned());
    let ours: Vec<&Review> = reviews.iter().filter(is_ours).collect();
    if let Some(no) = ours.iter().find(|review| review.state == ReviewState::Rejected) {
        let remark = if no.remark.is_empty() { String::new() } else { format!(": {}", no.remark) };
        return Err(Fault::new(Code::ApprovalRejected, format!("{} said no to {environment}{remark}", who(no))));
    }
    let yes = ours.iter().find(|review| review.state == ReviewState::Approved);
    Ok(yes.map(|yes| format!("{} let the job into {environment}", who(yes))))
}

/// Who is waited for, and why.
fn waiting(watch: &Watch, pending: &PendingDeployment) -> String {
    let users = pending.users.iter().map(|login| login.as_str().to_owned());
    let teams = pending.teams.iter().map(|team| format!("the team {team}"));
    let whom: Vec<String> = users.chain(teams).collect();
    let timer = match pending.wait_timer {
        0 => String::new(),
        minutes => format!(", and its wait timer of {minutes} minutes must have run out"),
    };
    if whom.is_empty() {
        format!("a job waits for {}{timer}; nobody has to review it", watch.environment)
    } else {
        format!("a job waits for {}: one of {} must review it{timer}", watch.environment, whom.join(", "))
    }
}
