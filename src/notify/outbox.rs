//! Sends what is on record: each channel in its own order, all beside the run's work.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::message::Message;
use super::routing::{Line, Post, kind_of};
use super::{Channel, Letter, Receipt, Refused};
use crate::promotion::event::{Delivery, Event, Record};
use crate::promotion::fault::{Code, Fault};
use crate::promotion::retry::{RetryClass, RetryPolicy};
use crate::promotion::run::Run;

/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(8);

/// How long one message is tried, waits that the other side asks for included.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a channel that does not answer is asked: every time costs a whole [`ATTEMPT`].
const SILENCES: u32 = 2;

/// How long the end of a run waits for what is still under way.
const AT_THE_END: Duration = Duration::from_secs(45);

/// What became of a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// What it was about.
    pub topic: String,
    /// The channel's name.
    pub channel: String,
    /// How often it was tried.
    pub attempts: u32,
    /// What the channel said, or why it does not have it.
    pub result: Result<Receipt, String>,
}

impl Settled {
    /// The events that keep it on record.
    #[must_use]
    pub fn events(self) -> Vec<Event> {
        let Self { topic, channel, attempts, result } = self;
        match result {
            Ok(Receipt { delivery, reference }) => {
                vec![Event::NotificationSettled { topic, channel, delivery, attempts, reference }]
            }
            Err(why) => {
                let text = format!("channel `{channel}` was not told of `{topic}`: {why}");
                let mut fault = Fault::new(Code::NotificationFailed, text);
                fault.tried.push(format!("{attempts} attempts"));
                let delivery = Delivery::Failed;
                vec![
                    Event::NotificationSettled { topic, channel, delivery, attempts, reference: None },
                    Event::Faulted(Box::new(fault)),
                ]
            }
        }
    }
}

/// A letter for a channel, and what it is about.
struct Job {
    topic: String,
    letter: Letter,
}

/// The notifications of one run in our hands.
#[derive(Debug)]
pub struct Outbox {
    post: Arc<Post>,
    lanes: BTreeMap<String, UnboundedSender<Job>>,
    tell: UnboundedSender<Settled>,
    settled: UnboundedReceiver<Settled>,
    /// What was taken out of the run's queue, by topic and channel.
    taken: BTreeSet<(String, String)>,
    /// What has no end yet.
    under_way: BTreeSet<(String, String)>,
    /// Ends the lanes when this is dropped.
    tasks: JoinSet<()>,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.topic)
    }
}

impl Outbox {
    /// An outbox for these channels.
    #[must_use]
    pub fn new(post: Arc<Post>) -> Self {
        let (tell, settled) = unbounded_channel();
        Self {
            post,
            lanes: BTreeMap::new(),
            tell,
            settled,
            taken: BTreeSet::new(),
            under_way: BTreeSet::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Events with the notifications that they cause, each behind its cause; before them what has been settled meanwhile,
    /// so that the last of a list without notifications stays the last.
    #[must_use]
    pub fn with_notifications(&mut self, run: &Run, events: Vec<Event>) -> Vec<Event> {
        let mut all: Vec<Event> = self.settled().into_iter().flat_map(Settled::events).collect();
        let mut then = run.clone();
        for event in &all {
            foresee(&mut then, event);
        }
        for event in events {
            foresee(&mut then, &event);
            let queued = self.post.queue(&then, &event);
            all.push(event);
            for event in queued {
                foresee(&mut then, &event);
                all.push(event);
            }
        }
        all
    }

    /// Sends what is queued in the run, has no end yet, and was not taken up before.
    pub fn send(&mut self, run: &Run) {
        for queued in run.notifications.iter().filter(|queued| queued.delivery.is_none()) {
            let name = (queued.topic.clone(), queued.channel.clone());
            if !self.taken.insert(name.clone()) {
                continue;
            }
            self.under_way.insert(name);
            let refused = |why: &str| Settled {
                topic: queued.topic.clone(),
                channel: queued.channel.clone(),
                attempts: 0,
                result: Err(why.to_owned()),
            };
            let Some(line) = self.post.line(&queued.channel).cloned() else {
                // Nobody else holds the other end, and it lives as long as this.
                let _ = self.tell.send(refused("the configuration has no such channel any more"));
                continue;
            };
            let Some(event) = kind_of(&queued.topic) else {
                let _ = self.tell.send(refused("this version does not know the event"));
                continue;
            };
            let message = Message::about(run, event, &queued.topic);
            let first = run.notifications.iter().filter(|one| one.channel == queued.channel);
            let first = first.filter_map(|one| one.reference.clone()).next();
            let letter = Letter { words: words(&line, &message), message, first, channel: line.name.clone() };
            let job = Job { topic: queued.topic.clone(), letter };
            let lane = self.lane(line);
            let _ = lane.send(job);
        }
    }

    fn lane(&mut self, line: Line) -> &UnboundedSender<Job> {
        let (tell, retry) = (self.tell.clone(), self.post.retry);
        self.lanes.entry(line.name.clone()).or_insert_with(|| {
            let (sender, jobs) = unbounded_channel();
            self.tasks.spawn(carry(line, retry, jobs, tell));
            sender
        })
    }

    /// What has come to its end since this was last asked.
    pub fn settled(&mut self) -> Vec<Settled> {
        let mut all = Vec::new();
        while let Ok(settled) = self.settled.try_recv() {
            all.extend(self.end(settled));
        }
        all
    }

    /// Takes in an end; of two for one notification the first counts.
    fn end(&mut self, settled: Settled) -> Option<Settled> {
        self.under_way.remove(&(settled.topic.clone(), settled.channel.clone())).then_some(settled)
    }

    /// Waits for what is still under way, for a while; what has no end then is given up.
    pub async fn finish(&mut self) -> Vec<Settled> {
        let until = Instant::now() + AT_THE_END;
        let mut all = Vec::new();
        while !self.under_way.is_empty() {
            let Ok(Some(settled)) = timeout_at(until, self.settled.recv()).await else { break };
            all.extend(self.end(settled));
        }
        let given_up = std::mem::take(&mut self.under_way).into_iter().map(|(topic, channel)| Settled {
            topic,
            channel,
            attempts: 1,
            result: Err("there was no time left to wait for the channel".to_owned()),
        });
        all.extend(given_up);
        all
    }
}

/// Takes in an event that is not on record yet. One that cannot follow is refused by the ledger.
fn foresee(run: &mut Run, event: &Event) {
    let record = Record {
        run: run.id.clone(),
        seq: run.seq + 1,
        at: run.updated_at,
        previous: run.head.clone(),
        hash: run.head.clone(),
        text: String::new(),
        event: event.clone(),
    };
    let _ = run.apply(&record);
}

/// The words that the configuration has for a message. Where they cannot be filled in, the usual ones are used: people
/// must hear of it.
pub(super) fn words(line: &Line, message: &Message) -> Option<String> {
    let template = line.template(message.event)?;
    match template.render(&message.values) {
        Ok(words) => Some(words),
        Err(error) => {
            tracing::warn!(channel = line.name, %error, "channel {}: {error}", line.name);
            None
        }
    }
}

/// One channel's work: one message after the other.
async fn carry(line: Line, retry: RetryPolicy, mut jobs: UnboundedReceiver<Job>, tell: UnboundedSender<Settled>) {
    let mut first: Option<String> = None;
    while let Some(Job { topic, mut letter }) = jobs.recv().await {
        // A message that was queued before the first had its reference.
        letter.first = letter.first.or_else(|| first.clone());
        let (attempts, result) = dispatch(line.channel.as_ref(), &letter, retry).await;
        if let Ok(Receipt { reference: Some(reference), .. }) = &result {
            first.get_or_insert_with(|| reference.clone());
        }
        let settled = Settled { topic, channel: line.name.clone(), attempts, result: result.map_err(|no| no.why) };
        if tell.send(settled).is_err() {
            return;
        }
    }
}

/// Sends a letter, as often as it takes and there is patience. How often it was tried, and what came of it.
pub async fn dispatch(channel: &dyn Channel, letter: &Letter, retry: RetryPolicy) -> (u32, Result<Receipt, Refused>) {
    let until = Instant::now() + PATIENCE;
    let (mut attempt, mut silences) = (1, 0);
    loop {
        let refused = match timeout(ATTEMPT, channel.send(letter)).await {
            Ok(Ok(receipt)) => return (attempt, Ok(receipt)),
            Ok(Err(refused)) => refused,
            Err(_) => {
                silences += 1;
                let why = format!("it has not answered within {}", humantime::format_duration(ATTEMPT));
                if silences < SILENCES { Refused::for_now(why) } else { Refused::finally(why) }
            }
        };
        let asked = match refused.class {
            RetryClass::Passing { after } => after,
            RetryClass::Final => None,
        };
        let Some(wait) = retry.wait(attempt, refused.class, rand::random()) else { return (attempt, Err(refused)) };
        if Instant::now() + wait > until {
            let why = match asked {
                Some(asked) => {
                    let asked = Duration::from_secs(asked.as_secs());
                    format!("{}; it wants a wait of {}", refused.why, humantime::format_duration(asked))
                }
                None => refused.why,
            };
            return (attempt, Err(Refused::finally(why)));
        }
        tracing::debug!(channel = letter.channel, attempt, ?wait, because = refused.why, "trying again");
        sleep(wait).await;
        attempt += 1;
    }
}
