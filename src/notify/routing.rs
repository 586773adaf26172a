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
        // A run that finds nothing to do is nobody's news.
        Event::Planned { plan, .. } if !plan.stages.is_empty() => vec![NotifyEvent::Started],
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
    if run.opening.operation == Operation::Rollback {
        return match ending.state {
            State::CompletedSuccessfully => vec![NotifyEvent::RolledBack, NotifyEvent::Succeeded],
            _ => vec![NotifyEvent::RollbackFailed, NotifyEvent::Failed],
        };
    }
    match ending.state {
        State::CompletedSuccessfully if run.plan.as_ref().is_some_and(|(plan, _)| plan.stages.is_empty()) => Vec::new(),
        State::CompletedSuccessfully if run.visits.iter().any(|visit| visit.interrupted.is_some()) => {
            vec![NotifyEvent::Recovered, NotifyEvent::Succeeded]
        }
        State::CompletedSuccessfully => vec![NotifyEvent::Succeeded],
        State::Rejected | State::Cancelled if timed_out(ending.reason) => {
            vec![NotifyEvent::TimedOut, NotifyEvent::Rejected]
        }
        State::Cancelled => vec![NotifyEvent::Cancelled],
        State::Rejected => vec![NotifyEvent::Rejected],
        State::Inconclusive => vec![NotifyEvent::Inconclusive, NotifyEvent::Failed],
        State::RolledBack => vec![NotifyEvent::RolledBack, NotifyEvent::Failed],
        State::RollbackFailed => vec![NotifyEvent::RollbackFailed, NotifyEvent::Failed],
        _ if ending.reason == Some(Code::Drift) => vec![NotifyEvent::Drift, NotifyEvent::Failed],
        _ if ending.reason == Some(Code::CheckFailed) => vec![NotifyEvent::ValidationFailed, NotifyEvent::Failed],
        _ => vec![NotifyEvent::Failed],
    }
}

/// Whether nobody answered in time.
fn timed_out(reason: Option<Code>) -> bool {
    reason.is_some_and(|code| code.name() == "approval-timed-out")
}
