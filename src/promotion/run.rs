//! A run as its events tell it: a fold, and nothing else.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::act::{Act, CopyStats, Outcome};
use super::asking::{Asking, Issue};
use super::candidate::ImageFacts;
use super::check::{Finding, Verdict};
use super::comparison::Comparison;
use super::deployment::{Deployed, Handle};
use super::digest::Digest;
use super::event::{Conclusion, Consent, Decision, Delivery, Event, Opening, Record, Traffic, VisitOpening};
use super::fault::{Category, Code, Exit, Fault, Severity};
use super::gate::GateFinding;
use super::health::Asked;
use super::identity::DeploymentId;
use super::image::Reference;
use super::migration::Migrations;
use super::plan::{Estimate, Plan};
use super::stage::Stage;
use super::state::State;
use super::way_back::PassedOver;

/// A run, folded from its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its id.
    pub id: DeploymentId,
    /// What was asked for.
    pub opening: Opening,
    /// When it was opened.
    pub opened_at: DateTime<Utc>,
    /// When its last event was recorded.
    pub updated_at: DateTime<Utc>,
    /// The place of its last event.
    pub seq: u64,
    /// The hash of its last event.
    pub head: String,
    /// Its state.
    pub state: State,
    /// The executions on it.
    pub visits: Vec<Visited>,
    /// Every time a stage was begun, in order.
    pub stages: Vec<StageRun>,
    /// What is on its way, in the order of the services asked for.
    pub candidates: Vec<Candidate>,
    /// What there was to migrate, by the services whose database it is.
    pub migrations: BTreeMap<String, Migrations>,
    /// The plan with its hash.
    pub plan: Option<(Plan, Digest)>,
    /// What the plan will cost.
    pub estimate: Estimate,
    /// The yes to the plan.
    pub consent: Option<(Digest, Consent)>,
    /// How the gates stood, the last time they were looked at.
    pub gates: Vec<GateFinding>,
    /// How people were asked for their yes to the plan.
    pub asking: Option<Asking>,
    /// The files that the plan was made of.
    pub files: BTreeMap<String, String>,
    /// GitHub's deployment.
    pub github_deployment: Option<GithubDeployment>,
    /// Digests that this run found bad.
    pub bad_digests: Vec<MarkedBad>,
    /// What the checks found, the last time they were evaluated.
    pub findings: Vec<Finding>,
    /// Who overruled failed checks, and why.
    pub forced: Option<Forced>,
    /// The fencing token of the lease that it holds.
    pub lease: Option<u64>,
    /// Every intent with its outcome.
    pub intents: BTreeMap<u64, Intended>,
    /// How what was deployed was asked how it is, and what it answered.
    pub health: Asked,
    /// What each service goes back to, in a rollback.
    pub targets: BTreeMap<String, Chosen>,
    /// How what this run has deployed was taken back.
    pub rollback: Rollback,
    /// What was tried again.
    pub retries: Vec<Retry>,
    /// What went wrong, in order.
    pub faults: Vec<Faulted>,
    /// Who was to be told.
    pub notifications: Vec<Notification>,
    /// Events that came through a file while the database was away.
    pub imported: u64,
    /// How it ended.
    pub ended: Option<Ended>,
}

/// One execution on a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visited {
    /// What it was asked.
    pub opening: VisitOpening,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When and how it let the run go.
    pub ended: Option<(DateTime<Utc>, Decision)>,
    /// What cut it off.
    pub interrupted: Option<String>,
}

/// One time that a stage was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageRun {
    /// The stage.
    pub stage: Stage,
    /// The visit that began it.
    pub visit: u64,
    /// When.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// How.
    pub conclusion: Option<Conclusion>,
    /// What it said about that.
    pub note: Option<String>,
    /// What it cost.
    pub traffic: Traffic,
}

/// What is on its way, and how far it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Candidate {
    /// The service.
    pub service: String,
    /// Its sequence number in the environment.
    pub sequence: Option<u64>,
    /// What was asked for.
    pub reference: Option<Reference>,
    /// What it is.
    pub digest: Option<Digest>,
    /// What was seen of it.
    pub facts: Option<ImageFacts>,
    /// How it differs from what it replaces.
    pub comparison: Option<Comparison>,
    /// What was done to bring its content.
    pub copied: Option<CopyStats>,
    /// Whether its tags were moved (or found in place), and not put back since.
    pub moved: bool,
    /// How it was deployed, unless that was taken back since.
    pub deployed: Option<Deployed>,
}

/// GitHub's deployment of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GithubDeployment {
    /// Its id.
    pub id: u64,
    /// The environment's name there.
    pub environment: String,
    /// Whether the job's `environment:` had made it.
    pub reused: bool,
}

/// A digest that a run found bad.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkedBad {
    /// The place of its event.
    pub seq: u64,
    /// When.
    pub at: DateTime<Utc>,
    /// The service.
    pub service: String,
    /// The digest.
    pub digest: Digest,
    /// Why.
    pub because: String,
}

/// Failed checks that were overruled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forced {
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Which.
    pub checks: Vec<String>,
}

/// An act with its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intended {
    /// The stage.
    pub stage: Stage,
    /// What was to be done.
    pub act: Act,
    /// How it is followed, where it goes on elsewhere.
    pub begun: Option<Handle>,
    /// What became of it.
    pub outcome: Option<Outcome>,
}

/// What a service goes back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The digest.
    pub digest: Digest,
    /// The run that had put it there.
    pub of: Option<DeploymentId>,
    /// What is newer and will not do.
    pub passed_over: Vec<PassedOver>,
}

/// People who are asked to take back what a run cannot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedBack {
    /// Since when.
    pub at: DateTime<Utc>,
    /// How long they are waited for.
    pub until: DateTime<Utc>,
    /// How often others were told that nobody has.
    pub escalations: u32,
}

/// How what a run has deployed was taken back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rollback {
    /// The run that takes it back, once there is one.
    pub run: Option<DeploymentId>,
    /// Whether it is back, and lives; none as long as it is not known.
    pub good: Option<bool>,
    /// Where each service is now.
    pub to: BTreeMap<String, Digest>,
    /// Whether people are, or were, asked to take it back.
    pub asked: Option<AskedBack>,
}

/// Something tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// When.
    pub at: DateTime<Utc>,
    /// What.
    pub what: String,
    /// The attempt that failed.
    pub attempt: u32,
    /// Why it failed.
    pub because: String,
}

/// A fault with its place and time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faulted {
    /// The place of its event.
    pub seq: u64,
    /// When.
    pub at: DateTime<Utc>,
    /// What.
    pub fault: Fault,
}

/// A notification and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// What about.
    pub topic: String,
    /// The channel.
    pub channel: String,
    /// The place of the event that queued it.
    pub seq: u64,
    /// How it ended.
    pub delivery: Option<(Delivery, u32)>,
    /// By what the channel knows the message, where a later one refers to it.
    pub reference: Option<String>,
}

/// The end of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// When.
    pub at: DateTime<Utc>,
    /// In which state.
    pub state: State,
    /// With which exit code.
    pub exit: Exit,
    /// What decided it.
    pub reason: Option<Code>,
}

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

    /// The candidate of a service.
    #[must_use]
    pub fn candidate(&self, service: &str) -> Option<&Candidate> {
        self.candidates.iter().find(|candidate| candidate.service == service)
    }

    /// The version of a service without an image: the one that was planned, else the one that its driver has named.
    #[must_use]
    pub fn version(&self, service: &str) -> Option<&str> {
        let planned = self.plan.as_ref().and_then(|(plan, _)| plan.candidate(service));
        if planned.is_some_and(|planned| planned.image.is_some()) {
            return None;
        }
        let named = planned.and_then(|planned| planned.version.as_deref());
        named.or_else(|| self.candidate(service)?.deployed.as_ref()?.version.as_deref())
    }

    /// A notification, once queued.
    #[must_use]
    pub fn notification(&self, topic: &str, channel: &str) -> Option<&Notification> {
        self.notifications.iter().find(|one| one.topic == topic && one.channel == channel)
    }

    /// How a stage ended, the last time it was begun; `None` while it has not.
    #[must_use]
    pub fn conclusion(&self, stage: Stage) -> Option<Conclusion> {
        self.stages.iter().rev().find(|run| run.stage == stage).and_then(|run| run.conclusion)
    }

    /// Whether a visit is under way, as far as the run knows: it was begun, and has neither ended nor been interrupted.
    #[must_use]
    pub fn is_visited(&self) -> bool {
        self.visits.last().is_some_and(|visit| visit.ended.is_none() && visit.interrupted.is_none())
    }

    /// The intents whose outcome is not known.
    pub fn unsettled(&self) -> impl Iterator<Item = (u64, &Intended)> {
        self.intents.iter().filter(|(_, intended)| intended.outcome.is_none()).map(|(seq, intended)| (*seq, intended))
    }

    /// The last time that a service's deployment was begun, or was to be: the intent's place.
    #[must_use]
    pub fn deployment(&self, service: &str) -> Option<(u64, &Intended)> {
        let is_its = |act: &Act| matches!(act, Act::Deploy { service: its, .. } if its == service);
        self.intents.iter().rev().find(|(_, intended)| is_its(&intended.act)).map(|(seq, intended)| (*seq, intended))
    }

    /// The last time that a service's deployment was taken back, or was to be: the intent's place.
    #[must_use]
    pub fn taking_back(&self, service: &str) -> Option<(u64, &Intended)> {
        let is_its = |act: &Act| matches!(act, Act::RollBackDeployment { service: its, .. } if its == service);
        self.intents.iter().rev().find(|(_, intended)| is_its(&intended.act)).map(|(seq, intended)| (*seq, intended))
    }

    /// Why a version from before this run's migrations cannot be relied on after them; nothing where it can, or nothing is
    /// migrated.
    #[must_use]
    pub fn bars_the_way_back(&self) -> Option<String> {
        self.migrations.values().find_map(Migrations::bars_the_way_back)
    }

    /// Whether this run has taken back what it had deployed: all of it, or not all. `None` where it did not begin to.
    #[must_use]
    pub fn took_back(&self) -> Option<bool> {
        let takes_back = |intended: &&Intended| match intended.act {
            Act::RollBackDeployment { .. } => true,
            Act::MoveTags { .. } => intended.stage > Stage::Copy,
            _ => false,
        };
        let mut begun = self.intents.values().filter(takes_back).peekable();
        begun.peek()?;
        let left = self.candidates.iter().any(|candidate| candidate.deployed.is_some());
        Some(!left && begun.all(|intended| intended.outcome.as_ref().is_some_and(Outcome::is_done)))
    }

    /// Whether something was, or may have been, done to the world: from then on the run never abandons.
    #[must_use]
    pub fn changed_the_world(&self) -> bool {
        self.intents.values().any(|intended| intended.act.changes_the_world())
    }

    /// The worst verdict of the checks; `Skipped` when none was evaluated.
    #[must_use]
    pub fn worst_verdict(&self) -> Verdict {
        self.findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Skipped)
    }

    /// The fault that decided the run: the first of the worst.
    #[must_use]
    pub fn decisive_fault(&self) -> Option<&Fault> {
        let worst = self.faults.iter().map(|faulted| faulted.fault.severity).max()?;
        self.faults.iter().map(|faulted| &faulted.fault).find(|fault| fault.severity == worst && worst.stops())
    }

    /// Faults counted by category.
    #[must_use]
    pub fn faults_by_category(&self) -> BTreeMap<Category, u64> {
        self.count_faults(|fault| fault.category)
    }

    /// Faults counted by severity.
    #[must_use]
    pub fn faults_by_severity(&self) -> BTreeMap<Severity, u64> {
        self.count_faults(|fault| fault.severity)
    }

    fn count_faults<K: Ord>(&self, by: impl Fn(&Fault) -> K) -> BTreeMap<K, u64> {
        let mut counts = BTreeMap::new();
        for faulted in &self.faults {
            *counts.entry(by(&faulted.fault)).or_default() += 1;
        }
        counts
    }

    /// All that was sent and received.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        let mut all = Traffic::default();
        for stage in &self.stages {
            all.add(&stage.traffic);
        }
        all
    }
}
