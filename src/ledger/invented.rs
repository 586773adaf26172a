//! Runs that never were: legal lists of events for property tests.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;

use super::Head;
use super::chain::{self, Entry};
use super::projection::Folded;
use crate::promotion::act::{Act, Outcome, TagMove};
use crate::promotion::digest::Digest;
use crate::promotion::event::{Delivery, Event, Link, Opening, Record, VisitOpening};
use crate::promotion::fault::{Code, Exit, Fault};
use crate::promotion::identity::DeploymentId;
use crate::promotion::stage::Stage;
use crate::promotion::state::State;

/// The services of every invented run. The second has a name that a careless hand would break.
pub(super) const SERVICES: [&str; 2] = ["api", "we'b \"\\\u{0}\u{1f980}"];

/// An opening as a job would write it.
pub(super) fn opening(environment: &str) -> Opening {
    Opening {
        scope: "acme/shop".into(),
        environment: environment.into(),
        services: SERVICES.iter().map(|service| (*service).to_owned()).collect(),
        reason: Some("because \u{0} of \"reasons\"".into()),
        commit: Some("0123456789abcdef".into()),
        ..Opening::invented()
    }
}

/// The id of the run number `number`.
pub(super) fn id(number: u64) -> DeploymentId {
    format!("{}-0123456789ab", 1_732_185_300 + number).parse().unwrap()
}

pub(super) fn digest(of: &str) -> Digest {
    Digest::sha256(of.as_bytes())
}

/// An act that changes the world.
pub(super) fn moving(service: &str) -> Act {
    Act::MoveTags {
        moves: vec![TagMove {
            service: service.into(),
            repository: "ghcr.io/acme/api".parse().unwrap(),
            tag: "production".parse().unwrap(),
            from: None,
            to: digest(service),
            immutable: false,
        }],
    }
}

/// A thing that may happen next, in one of the runs of an environment.
#[derive(Debug, Clone)]
pub(super) enum Move {
    Visit,
    State(State),
    Sequence(usize),
    Resolve(usize),
    Take,
    Release,
    Intent(usize),
    Settle(bool),
    Fault(Code),
    Bad(usize),
    Queue(u8),
    Deliver(u8, Delivery),
    End(State),
}

pub(super) fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        1 => Just(Move::Visit),
        6 => prop::sample::select(&State::ALL[..]).prop_map(Move::State),
        2 => (0..SERVICES.len()).prop_map(Move::Sequence),
        2 => (0..SERVICES.len()).prop_map(Move::Resolve),
        3 => Just(Move::Take),
        2 => Just(Move::Release),
        2 => (0..SERVICES.len()).prop_map(Move::Intent),
        2 => any::<bool>().prop_map(Move::Settle),
        2 => prop::sample::select(Code::ALL).prop_map(Move::Fault),
        1 => (0..SERVICES.len()).prop_map(Move::Bad),
        2 => (0..3u8).prop_map(Move::Queue),
        2 => (0..3u8, prop::sample::select(vec![Delivery::Sent, Delivery::Accepted, Delivery::Failed]))
            .prop_map(|(topic, delivery)| Move::Deliver(topic, delivery)),
        1 => prop::sample::select(&State::FINAL[..]).prop_map(Move::End),
    ]
}

/// An environment with its runs: what a database keeps, without one.
#[derive(Debug)]
pub(super) struct Environment {
    pub(super) runs: Vec<(Folded, Vec<Record>)>,
    numbers: BTreeMap<String, u64>,
    lease: Option<(usize, u64)>,
    token: u64,
    now: DateTime<Utc>,
}

impl Environment {
    /// An environment with runs that were opened one after the other.
    pub(super) fn with_runs(count: usize) -> Self {
        let now = "2026-11-21T14:23:00.123Z".parse().unwrap();
        let mut environment = Self { runs: Vec::new(), numbers: BTreeMap::new(), lease: None, token: 0, now };
        for number in 0..count {
            let mut opening = opening("production");
            opening.predecessor = environment.runs.last().map(|(folded, _)| Head::of(&folded.run)).map(link);
            let head = chain::before_first(id(number as u64));
            environment.now += TimeDelta::milliseconds(7);
            let record = chain::seal(&head, environment.now, &Event::RunOpened(Box::new(opening))).unwrap();
            environment.runs.push((Folded::fold(std::slice::from_ref(&record)).unwrap(), vec![record]));
        }
        environment
    }

    /// Makes a move in a run, if it is legal there; tells the run before it.
    pub(super) fn play(&mut self, number: usize, step: &Move) -> Option<Folded> {
        let event = self.event(number, step)?;
        let (folded, records) = &mut self.runs[number];
        folded.run.allows(&event).ok()?;
        self.now += TimeDelta::milliseconds(13);
        let record = chain::seal(&Head::of(&folded.run), self.now, &event).unwrap();
        let before = folded.clone();
        folded.apply(&record).unwrap();
        records.push(record);
        match event {
            Event::SequenceTaken { service, number } => drop(self.numbers.insert(service, number)),
            Event::LeaseTaken { token } => (self.lease, self.token) = (Some((number, token)), token),
            Event::LeaseReleased { .. } => self.lease = None,
            _ => {}
        }
        Some(before)
    }

    fn event(&self, number: usize, step: &Move) -> Option<Event> {
        let run = &self.runs[number].0.run;
        let service = |place: usize| SERVICES[place].to_owned();
        Some(match step {
            Move::Visit => {
                Event::VisitStarted(VisitOpening { number: run.visits.len() as u64 + 1, ..VisitOpening::default() })
            }
            Move::State(to) => Event::StateChanged { to: *to },
            Move::Sequence(place) => {
                let number = self.numbers.get(&service(*place)).copied().unwrap_or_default() + 1;
                Event::SequenceTaken { service: service(*place), number }
            }
            Move::Resolve(place) => Event::Resolved {
                service: service(*place),
                reference: "ghcr.io/acme/api:staging".parse().unwrap(),
                digest: digest(SERVICES[*place]),
            },
            Move::Take => Event::LeaseTaken { token: self.token + 1 },
            Move::Release => {
                let (_, token) = self.lease.filter(|(holder, _)| *holder == number)?;
                Event::LeaseReleased { token }
            }
            Move::Intent(place) => Event::Intent { stage: Stage::Copy, act: moving(SERVICES[*place]) },
            Move::Settle(good) => {
                let (intent, _) = run.unsettled().next()?;
                let outcome = if *good {
                    Outcome::TagsMoved { found: false }
                } else {
                    Outcome::Failed { code: Code::PushDenied, message: "no\u{0}".into() }
                };
                Event::Settled { intent, outcome }
            }
            Move::Fault(code) => Event::Faulted(Box::new(Fault::new(*code, "it broke \u{0}").about(SERVICES[1]))),
            Move::Bad(service) => Event::MarkedBad {
                service: SERVICES[*service].into(),
                digest: digest("bad"),
                because: "it did not live \u{0}".into(),
            },
            Move::Queue(topic) => {
                Event::NotificationQueued { topic: format!("topic-{topic}"), channel: "team\u{0}".into() }
            }
            Move::Deliver(topic, delivery) => Event::NotificationSettled {
                topic: format!("topic-{topic}"),
                channel: "team\u{0}".into(),
                delivery: *delivery,
                attempts: 2,
                reference: None,
            },
            Move::End(state) => Event::RunEnded { state: *state, exit: Exit::Failed, reason: None },
        })
    }

    /// An environment with `count` runs and some moves that are legal; each run has at least two events.
    pub(super) fn any(count: usize) -> impl Strategy<Value = Self> {
        prop::collection::vec((0..count, moves()), 5..40).prop_map(move |steps| {
            let mut environment = Self::with_runs(count);
            for (run, step) in &steps {
                environment.play(*run, step);
            }
            for run in 0..count {
                environment.play(run, &Move::Visit);
            }
            environment
        })
    }

    /// The entries of every run.
    pub(super) fn entries(&self) -> Vec<Vec<Entry>> {
        self.runs.iter().map(|(_, records)| records.iter().map(Entry::from).collect()).collect()
    }
}

fn link(head: Head) -> Link {
    Link { run: head.run, seq: head.seq, hash: head.hash }
}

/// The head of a run whose last entry is the last of these.
pub(super) fn head_of(entries: &[Entry]) -> Head {
    let last = entries.last().unwrap();
    Head { run: last.run.clone(), seq: last.seq, hash: last.hash.clone() }
}

/// Makes a run's entries consistent again, as somebody who knows the format would after an edit.
pub(super) fn forge(entries: &mut [Entry]) {
    let mut head = chain::before_first(entries[0].run.clone());
    for entry in entries {
        (entry.seq, entry.previous) = (head.seq + 1, head.hash);
        entry.hash = entry.computed_hash();
        head = Head { run: entry.run.clone(), seq: entry.seq, hash: entry.hash.clone() };
    }
}
