//! How the events make a run: what each one adds, and which may not come now.

use std::collections::BTreeMap;

use super::{
    AskedBack, Candidate, Chosen, Ended, Faulted, Forced, GithubDeployment, Intended, MarkedBad, Notification, Retry,
    Rollback, Run, StageRun, Visited,
};
use crate::promotion::act::{Act, Outcome};
use crate::promotion::asking::{Asking, Issue};
use crate::promotion::event::{Event, Record, Traffic};
use crate::promotion::health::Asked;
use crate::promotion::plan::Estimate;
use crate::promotion::stage::Stage;
use crate::promotion::state::State;

/// An event that cannot follow the events before it: a defect of the program that wrote it, or a tampered ledger.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event {seq} ({kind}) cannot follow the events before it: {why}")]
pub struct IllegalEvent {
    /// Its place.
    pub seq: u64,
    /// Its kind.
    pub kind: &'static str,
    /// Why it cannot.
    pub why: String,
}

impl Run {
    /// Folds a run from its records, the first of which opens it.
    ///
    /// # Errors
    /// When the records are not those of one run in order, or one of them cannot follow the others.
    pub fn fold<'a>(records: impl IntoIterator<Item = &'a Record>) -> Result<Self, IllegalEvent> {
        let mut records = records.into_iter();
        let illegal = |record: &Record, why: &str| IllegalEvent {
            seq: record.seq,
            kind: record.event.kind(),
            why: why.to_owned(),
        };
        let first = records.next().ok_or_else(|| IllegalEvent {
            seq: 0,
            kind: "none",
            why: "there are no events".to_owned(),
        })?;
        let Event::RunOpened(opening) = &first.event else {
            return Err(illegal(first, "the first event does not open a run"));
        };
        if first.seq != 1 {
            return Err(illegal(first, "the first event is not number 1"));
        }
        let mut run = Self {
            id: first.run.clone(),
            opening: (**opening).clone(),
            opened_at: first.at,
            updated_at: first.at,
            seq: 1,
            head: first.hash.clone(),
            state: State::Initializing,
            visits: Vec::new(),
            stages: Vec::new(),
            candidates: opening
                .services
                .iter()
                .map(|service| Candidate { service: service.clone(), ..Candidate::default() })
                .collect(),
            migrations: BTreeMap::new(),
            plan: None,
            estimate: Estimate::default(),
            consent: None,
            gates: Vec::new(),
            asking: None,
            files: BTreeMap::new(),
            github_deployment: None,
            bad_digests: Vec::new(),
            findings: Vec::new(),
            forced: None,
            lease: None,
            intents: BTreeMap::new(),
            health: Asked::default(),
            targets: BTreeMap::new(),
            rollback: Rollback::default(),
            retries: Vec::new(),
            faults: Vec::new(),
            notifications: Vec::new(),
            imported: 0,
            ended: None,
        };
        for record in records {
            run.apply(record)?;
        }
        Ok(run)
    }

    /// Takes in the next record.
    ///
    /// # Errors
    /// When it is not the next, or cannot follow; the run is then as it was.
    pub fn apply(&mut self, record: &Record) -> Result<(), IllegalEvent> {
        let illegal = |why: String| IllegalEvent { seq: record.seq, kind: record.event.kind(), why };
        if record.run != self.id || record.seq != self.seq + 1 {
            return Err(illegal(format!("the run is {} at event {}", self.id, self.seq)));
        }
        self.allows(&record.event).map_err(illegal)?;
        self.take_in(record);
        self.seq = record.seq;
        self.head.clone_from(&record.hash);
        self.updated_at = record.at;
        Ok(())
    }

    /// Whether an event may follow, by the rules that make a run what it is.
    ///
    /// # Errors
    /// Why it may not.
    pub fn allows(&self, event: &Event) -> Result<(), String> {
        let becoming = |to: State| {
            if self.ended.is_some() {
                Err("the run is over".to_owned())
            } else if self.state.may_become(to) {
                Ok(())
            } else {
                Err(format!("{} does not become {to}", self.state))
            }
        };
        match event {
            Event::RunOpened(_) => Err("the run is open".to_owned()),
            Event::StateChanged { to } => {
                if matches!(
                    to,
                    State::CompletedSuccessfully
                        | State::Failed
                        | State::Cancelled
                        | State::Rejected
                        | State::Inconclusive
                ) {
                    return Err(format!("{to} ends a run"));
                }
                becoming(*to)
            }
            Event::Interrupted { .. } => becoming(State::Interrupted),
            Event::RunEnded { state, .. } => {
                if !State::FINAL.contains(state) {
                    return Err(format!("no run ends as {state}"));
                }
                // What was taken back ends as what it is, whether or not a report came after it.
                if *state == self.state
                    && matches!(state, State::RolledBack | State::RollbackFailed)
                    && self.ended.is_none()
                {
                    return Ok(());
                }
                becoming(*state)
            }
            Event::SequenceTaken { service, .. } => match self.candidate(service) {
                None => Err(format!("{service} is not in this run")),
                Some(Candidate { sequence: Some(_), .. }) => Err(format!("{service} has its sequence number")),
                Some(_) => Ok(()),
            },
            Event::Resolved { service, digest, .. } => match self.candidate(service) {
                None => Err(format!("{service} is not in this run")),
                Some(Candidate { digest: Some(known), .. }) if known != digest => Err(format!("{service} is {known}")),
                Some(_) => Ok(()),
            },
            Event::Inspected { service, .. } if self.candidate(service).is_none() => {
                Err(format!("{service} is not in this run"))
            }
            Event::Begun { intent, .. } | Event::Settled { intent, .. } => match self.intents.get(intent) {
                None => Err(format!("there is no intent {intent}")),
                Some(Intended { outcome: Some(_), .. }) => Err(format!("intent {intent} is settled")),
                Some(_) => Ok(()),
            },
            Event::LeaseTaken { token } if self.lease.is_some_and(|held| held >= *token) => {
                Err("the fencing token does not grow".to_owned())
            }
            Event::LeaseReleased { token } if self.lease != Some(*token) => Err("that lease is not held".to_owned()),
            Event::ApprovalIssue { .. }
            | Event::ApprovalGiven { .. }
            | Event::ApprovalReminded
            | Event::ApprovalRefused(_)
                if self.asking.is_none() =>
            {
                Err("nobody is asked".to_owned())
            }
            Event::MarkedBad { service, .. } if self.candidate(service).is_none() => {
                Err(format!("{service} is not in this run"))
            }
            Event::Intent { .. } | Event::Planned { .. } | Event::Approved { .. } | Event::ApprovalAsked(_)
                if self.ended.is_some() =>
            {
                Err("the run is over".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn take_in(&mut self, record: &Record) {
        let at = record.at;
        match &record.event {
            Event::RunOpened(_) | Event::Unknown => {}
            Event::VisitStarted(opening) => {
                self.visits.push(Visited { opening: opening.clone(), started_at: at, ended: None, interrupted: None });
            }
            Event::VisitEnded { decision } => {
                if let Some(visit) = self.visits.last_mut() {
                    visit.ended = Some((at, *decision));
                }
            }
            Event::StateChanged { to } => self.state = *to,
            Event::StageStarted { stage } => self.stages.push(StageRun {
                stage: *stage,
                visit: self.visits.last().map_or(0, |visit| visit.opening.number),
                started_at: at,
                ended_at: None,
                conclusion: None,
                note: None,
                traffic: Traffic::default(),
            }),
            Event::StageEnded { stage, conclusion, note, traffic } => {
                if let Some(run) = self.stages.iter_mut().rev().find(|run| run.stage == *stage) {
                    run.ended_at = Some(at);
                    run.conclusion = Some(*conclusion);
                    run.note.clone_from(note);
                    run.traffic = traffic.clone();
                }
            }
            Event::SequenceTaken { service, number } => {
                self.change(service, |candidate| candidate.sequence = Some(*number))
            }
            Event::Resolved { service, reference, digest } => self.change(service, |candidate| {
                candidate.reference = Some(reference.clone());
                candidate.digest = Some(digest.clone());
            }),
            Event::Inspected { service, facts } => {
                self.change(service, |candidate| candidate.facts = Some((**facts).clone()))
            }
            Event::Compared { service, comparison } => {
                self.change(service, |candidate| candidate.comparison = Some((**comparison).clone()))
            }
            Event::MigrationsFound { services, found } => {
                self.migrations.insert(services.clone(), (**found).clone());
            }
            Event::Planned { plan, hash, estimate } => {
                self.plan = Some(((**plan).clone(), hash.clone()));
                self.estimate = estimate.clone();
            }
            Event::Approved { plan, consent } => self.consent = Some((plan.clone(), consent.clone())),
            Event::GatesEvaluated { findings } => self.gates.clone_from(findings),
            Event::ApprovalAsked(asked) => self.asking = Some(Asking::new((**asked).clone(), at)),
            Event::ApprovalIssue { number, url, at, until } => {
                if let Some(asking) = &mut self.asking {
                    asking.issue = Some(Issue { number: *number, url: url.clone(), at: *at, until: *until });
                }
            }
            Event::ApprovalGiven { approver } => {
                if let Some(asking) = &mut self.asking {
                    asking.approvers.push(approver.clone());
                }
            }
            Event::ApprovalReminded => {
                if let Some(asking) = &mut self.asking {
                    asking.reminded_at = Some(at);
                    asking.reminders += 1;
                }
            }
            Event::ApprovalRefused(refusal) => {
                if let Some(asking) = &mut self.asking {
                    asking.refusal = Some(refusal.clone());
                }
            }
            Event::FilesKept { files } => self.files.clone_from(files),
            Event::GithubDeployment { id, environment, reused } => {
                self.github_deployment =
                    Some(GithubDeployment { id: *id, environment: environment.clone(), reused: *reused });
            }
            Event::MarkedBad { service, digest, because } => self.bad_digests.push(MarkedBad {
                seq: record.seq,
                at,
                service: service.clone(),
                digest: digest.clone(),
                because: because.clone(),
            }),
            Event::Checked { findings } => {
                self.findings.retain(|known| {
                    !findings.iter().any(|new| {
                        (&new.check, &new.service, &new.platform) == (&known.check, &known.service, &known.platform)
                    })
                });
                self.findings.extend(findings.iter().cloned());
            }
            Event::Forced { by, reason, checks } => {
                self.forced = Some(Forced { by: by.clone(), reason: reason.clone(), checks: checks.clone() });
            }
            Event::LeaseTaken { token } => self.lease = Some(*token),
            Event::LeaseReleased { .. } => self.lease = None,
            Event::Intent { stage, act } => {
                self.intents
                    .insert(record.seq, Intended { stage: *stage, act: act.clone(), begun: None, outcome: None });
            }
            Event::Begun { intent, handle } => {
                if let Some(intended) = self.intents.get_mut(intent) {
                    intended.begun = Some((**handle).clone());
                }
            }
            Event::Settled { intent, outcome } => self.settle(*intent, outcome),
            Event::Probed { phase, samples } => self.health.take_in(*phase, samples),
            Event::BecameReady => self.health.ready = true,
            Event::WatchBegun { probes, .. } => self.health.watched.clone_from(probes),
            Event::HealthJudged { health, because } => self.health.verdict = Some((*health, because.clone())),
            Event::TargetChosen { service, digest, of, passed_over } => {
                let chosen = Chosen { digest: digest.clone(), of: of.clone(), passed_over: passed_over.clone() };
                self.targets.insert(service.clone(), chosen);
            }
            Event::RollbackBegun { run } => self.rollback.run = Some(run.clone()),
            Event::RollbackAsked { until } => {
                self.rollback.asked = Some(AskedBack { at, until: *until, escalations: 0 });
            }
            Event::RollbackEscalated { number, .. } => {
                if let Some(asked) = &mut self.rollback.asked {
                    asked.escalations = *number;
                }
            }
            Event::RollbackEnded { run, good, to } => {
                let asked = self.rollback.asked.take();
                self.rollback = Rollback { run: run.clone(), good: Some(*good), to: to.clone(), asked };
            }
            Event::Retried { what, attempt, because, .. } => {
                self.retries.push(Retry { at, what: what.clone(), attempt: *attempt, because: because.clone() });
            }
            Event::Faulted(fault) => self.faults.push(Faulted { seq: record.seq, at, fault: (**fault).clone() }),
            Event::NotificationQueued { topic, channel } => {
                if self.notification(topic, channel).is_none() {
                    self.notifications.push(Notification {
                        topic: topic.clone(),
                        channel: channel.clone(),
                        seq: record.seq,
                        delivery: None,
                        reference: None,
                    });
                }
            }
            Event::NotificationSettled { topic, channel, delivery, attempts, reference } => {
                if let Some(known) =
                    self.notifications.iter_mut().find(|one| one.topic == *topic && one.channel == *channel)
                {
                    known.delivery = Some((*delivery, *attempts));
                    known.reference.clone_from(reference);
                }
            }
            Event::Interrupted { cause } => {
                self.state = State::Interrupted;
                if let Some(visit) = self.visits.last_mut() {
                    visit.interrupted = Some(cause.clone());
                }
            }
            Event::Imported { events } => self.imported += events,
            Event::RunEnded { state, exit, reason } => {
                self.state = *state;
                self.ended = Some(Ended { at, state: *state, exit: *exit, reason: *reason });
            }
        }
    }

    fn settle(&mut self, intent: u64, outcome: &Outcome) {
        let Some(intended) = self.intents.get_mut(&intent) else { return };
        intended.outcome = Some(outcome.clone());
        // Tags that are moved after they were put in place are put back.
        let in_place = intended.stage <= Stage::Copy;
        match (&intended.act.clone(), outcome) {
            (Act::CopyContent { service, .. }, Outcome::ContentCopied(stats)) => {
                self.change(service, |candidate| candidate.copied = Some(stats.clone()));
            }
            (Act::MoveTags { moves }, Outcome::TagsMoved { .. }) => {
                for one in moves {
                    self.change(&one.service, |candidate| candidate.moved = in_place);
                }
            }
            (Act::Deploy { service, .. }, Outcome::Deployed(deployed)) => {
                self.change(service, |candidate| candidate.deployed = Some((**deployed).clone()));
            }
            (Act::RollBackDeployment { service, .. }, Outcome::Deployed(_)) => {
                self.change(service, |candidate| candidate.deployed = None);
            }
            _ => {}
        }
    }

    fn change(&mut self, service: &str, change: impl FnOnce(&mut Candidate)) {
        if let Some(candidate) = self.candidates.iter_mut().find(|candidate| candidate.service == service) {
            change(candidate);
        }
    }
}
