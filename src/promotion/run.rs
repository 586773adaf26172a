//! A run as its events tell it: a fold, and nothing else.

mod fold;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

pub use self::fold::IllegalEvent;
use super::act::{Act, CopyStats, Outcome};
use super::asking::Asking;
use super::candidate::ImageFacts;
use super::check::{Finding, Verdict};
use super::comparison::Comparison;
use super::deployment::{Deployed, Handle};
use super::digest::Digest;
use super::event::{Conclusion, Consent, Decision, Delivery, Opening, Traffic, VisitOpening};
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

impl Run {
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
