//! From what happens in a run to who is told. Pure.

use std::sync::Arc;

use super::Channel;
use super::message::is_peoples;
use crate::config::{self, NotifyEvent, Template};
use crate::promotion::event::{Conclusion, Event, Operation};
use crate::promotion::fault::Code;
use crate::promotion::next::ending;
use crate::promotion::retry::RetryPolicy;
use crate::promotion::run::Run;
use crate::promotion::stage::Stage;
use crate::promotion::state::State;

/// A channel, with what it is told.
#[derive(Debug, Clone)]
pub struct Line {
    /// Its name in the configuration.
    pub name: String,
    /// What it is told, and in which words.
    pub settings: config::Channel,
    /// The way to it.
    pub channel: Arc<dyn Channel>,
}

/// All channels of a run's environment.
#[derive(Debug, Clone)]
pub struct Post {
    /// The channels, in the order of the configuration.
    pub lines: Vec<Line>,
    /// How patiently each is tried.
    pub retry: RetryPolicy,
}

impl Post {
    /// The notifications that an event causes; `run` has taken the event in. Each once for a run, event and channel.
    #[must_use]
    pub fn queue(&self, run: &Run, event: &Event) -> Vec<Event> {
        if let Event::RollbackEscalated { number, channels } = event {
            let named = self.lines.iter().filter(|line| channels.contains(&line.name));
            let topic = |line: &Line| Event::NotificationQueued {
                topic: again(NotifyEvent::RollbackNeeded, *number),
                channel: line.name.clone(),
            };
            return named.map(topic).collect();
        }
        let occasion = occasion(run, event);
        let number = match event {
            Event::ApprovalReminded => run.asking.as_ref().map_or(0, |asking| asking.reminders.saturating_sub(1)),
            _ => 0,
        };
        let wanted = |line: &Line| {
            let told = occasion.iter().find(|event| line.settings.wants(**event, &run.opening.environment))?;
            let topic = again(*told, number);
            let new = run.notification(&topic, &line.name).is_none();
            new.then(|| Event::NotificationQueued { topic, channel: line.name.clone() })
        };
        self.lines.iter().filter_map(wanted).collect()
    }

    /// A channel by its name.
    #[must_use]
    pub fn line(&self, name: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.name == name)
    }
}

impl Line {
    /// The words that the configuration has for an event.
    #[must_use]
    pub fn template(&self, event: NotifyEvent) -> Option<&Template> {
        self.settings.templates.get(&event)
    }
}

/// The kind of event that a topic names.
#[must_use]
pub(super) fn kind_of(topic: &str) -> Option<NotifyEvent> {
    let name = topic.split('#').next().unwrap_or_default();
    NotifyEvent::ALL.iter().copied().find(|event| event.name() == name)
}

/// The topic of what may happen several times in a run.
fn again(event: NotifyEvent, number: u32) -> String {
    if number == 0 { event.name().to_owned() } else { format!("{}#{number}", event.name()) }
}

/// What an event is to people: nothing, or one thing with its names, the most exact first. A channel is told of the first
/// that it wants, so that whoever asks for `failed` hears of every failure once.
fn occasion(run: &Run, event: &Event) -> Vec<NotifyEvent> {
    match event {
        // A run that finds nothing to do is nobody's news, and a look is none.
        Event::Planned { plan, .. } if !plan.stages.is_empty() && run.opening.operation != Operation::Verify => {
            vec![NotifyEvent::Started]
        }
        Event::StateChanged { to: State::PendingApproval } => vec![NotifyEvent::ApprovalNeeded],
        Event::ApprovalReminded => vec![NotifyEvent::ApprovalReminder],
        Event::RollbackAsked { .. } => vec![NotifyEvent::RollbackNeeded],
        Event::Approved { consent, .. } if is_peoples(consent) => vec![NotifyEvent::Approved],
        Event::StateChanged { to: State::PromotionSucceeded } => vec![NotifyEvent::Promoted],
        Event::StageEnded { stage: Stage::Deployment, conclusion: Conclusion::Done, .. } => vec![NotifyEvent::Deployed],
        // How a run ends is known when its report begins, and people are told before it is over.
        Event::StageStarted { stage: Stage::Report } => end(run),
        _ => Vec::new(),
    }
}

/// What the end of a run is to people.
fn end(run: &Run) -> Vec<NotifyEvent> {
    let ending = ending(run);
    let is_a = |operation| run.opening.operation == operation;
    let has = |code| run.faults.iter().any(|one| one.fault.code == code);
    let mut names = Vec::new();
    match ending.state {
        State::CompletedSuccessfully => {
            if run.plan.as_ref().is_some_and(|(plan, _)| plan.stages.is_empty()) {
                return names;
            }
            if is_a(Operation::Rollback) {
                names.push(NotifyEvent::RolledBack);
            }
            if is_degraded(run) {
                names.push(NotifyEvent::Degraded);
            }
            if run.visits.iter().any(|visit| visit.interrupted.is_some()) {
                names.push(NotifyEvent::Recovered);
            }
            // A look at what is as it should be is nobody's news.
            if !is_a(Operation::Verify) {
                names.push(NotifyEvent::Succeeded);
            }
            return names;
        }
        State::Rejected | State::Cancelled => {
            if ending.reason == Some(Code::ApprovalTimedOut) {
                return vec![NotifyEvent::TimedOut, NotifyEvent::Rejected];
            }
            let rejected = ending.state == State::Rejected;
            return vec![if rejected { NotifyEvent::Rejected } else { NotifyEvent::Cancelled }];
        }
        State::RolledBack => names.push(NotifyEvent::RolledBack),
        State::RollbackFailed => names.push(NotifyEvent::RollbackFailed),
        // What was to be taken back is still there.
        _ if is_a(Operation::Rollback) => names.push(NotifyEvent::RollbackFailed),
        _ if has(Code::Drift) => names.push(NotifyEvent::Drift),
        State::Inconclusive => names.push(NotifyEvent::Inconclusive),
        _ if ending.reason == Some(Code::CheckFailed) => names.push(NotifyEvent::ValidationFailed),
        _ => {}
    }
    names.push(NotifyEvent::Failed);
    names
}

/// Whether what was deployed lives, with warnings. What was so before the deployment is none of them.
fn is_degraded(run: &Run) -> bool {
    run.faults.iter().any(|one| one.fault.code == Code::ProbeWarned && one.fault.stage == Some(Stage::Verification))
}
