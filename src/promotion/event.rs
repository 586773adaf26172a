//! The events of a run: the only truth about it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::act::{Act, Outcome};
use super::asking::{Approver, Asked, Refusal};
use super::candidate::ImageFacts;
use super::check::Finding;
use super::comparison::Comparison;
use super::deployment::Handle;
use super::digest::Digest;
use super::fault::{Code, Exit, Fault};
use super::gate::GateFinding;
use super::health::{Health, Phase, Sample, Watched};
use super::identity::DeploymentId;
use super::image::Reference;
use super::migration::Migrations;
pub use super::opening::{Link, Opening, VisitOpening, WorkflowRun};
pub use super::operation::Operation;
use super::plan::{Estimate, Plan};
use super::stage::Stage;
use super::state::State;
pub use super::traffic::Traffic;
use super::way_back::PassedOver;

/// What a later job is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// Go on.
    Proceed,
    /// The run is parked and waits for somebody.
    Wait,
    /// Do not go on.
    Stop,
}

impl Decision {
    /// The name in the outputs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Proceed => "proceed",
            Self::Wait => "wait",
            Self::Stop => "stop",
        }
    }
}

/// An event of the ledger: what happened, when, and its place in the run's chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The run.
    pub run: DeploymentId,
    /// The place in the run, from 1, without gaps.
    pub seq: u64,
    /// When it was recorded, by the ledger's clock, to the millisecond.
    pub at: DateTime<Utc>,
    /// The hash of the record before, 64 hexadecimal digits; zeros for the first.
    pub previous: String,
    /// The hash of this record, 64 hexadecimal digits.
    pub hash: String,
    /// The event as text, exactly as hashed.
    pub text: String,
    /// The event, read from the text.
    pub event: Event,
}

/// How a stage ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Conclusion {
    /// It did its work.
    Done,
    /// It had nothing to do.
    Skipped,
    /// The candidate is bad, or could not be put in place.
    Failed,
    /// It could not be told.
    Errored,
}

impl Conclusion {
    /// The name in the reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
            Self::Errored => "errored",
        }
    }

    /// Whether the next stage may begin.
    #[must_use]
    pub const fn lets_go_on(self) -> bool {
        matches!(self, Self::Done | Self::Skipped)
    }
}

/// How the yes to a plan came about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Consent {
    /// Nobody has to be asked for this environment.
    Policy {
        /// Why nobody has to.
        because: String,
    },
    /// People have said yes.
    People {
        /// Who, each once for every place in which they were asked.
        approvers: Vec<Approver>,
        /// Whether the yes was given to this very plan, and not only to this workflow run.
        bound: bool,
    },
}

/// How a notification ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// The channel has it.
    Sent,
    /// The channel took it, and does not tell whether it arrives.
    Accepted,
    /// The channel did not take it.
    Failed,
}

impl Delivery {
    /// The name in the ledger and the reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Accepted => "accepted",
            Self::Failed => "failed",
        }
    }
}

/// Something that happened in a run.
///
/// Events are only ever added to: a field that comes later has a default, a kind that this version does not know is
/// kept and passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Event {
    /// The run exists.
    RunOpened(Box<Opening>),
    /// An execution takes the run up.
    VisitStarted(VisitOpening),
    /// An execution lets the run go.
    VisitEnded {
        /// What a later job is to do.
        decision: Decision,
    },
    /// The run's state is another.
    StateChanged {
        /// The new state.
        to: State,
    },
    /// A stage begins, or is taken up again.
    StageStarted {
        /// The stage.
        stage: Stage,
    },
    /// A stage has ended for all candidates.
    StageEnded {
        /// The stage.
        stage: Stage,
        /// How.
        conclusion: Conclusion,
        /// What it wants to say about that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
        /// What it cost.
        #[serde(default)]
        traffic: Traffic,
    },
    /// A candidate has its sequence number.
    SequenceTaken {
        /// The service.
        service: String,
        /// The number, per service and environment, from 1, without gaps.
        number: u64,
    },
    /// A candidate's reference was resolved; from now on its digest is its name.
    Resolved {
        /// The service.
        service: String,
        /// What was asked for.
        reference: Reference,
        /// What it is.
        digest: Digest,
    },
    /// A candidate's image was looked at.
    Inspected {
        /// The service.
        service: String,
        /// What was seen.
        facts: Box<ImageFacts>,
    },
    /// A candidate's image was compared with the one that it replaces.
    Compared {
        /// The service.
        service: String,
        /// What is different.
        comparison: Box<Comparison>,
    },
    /// It was looked what there is to migrate.
    MigrationsFound {
        /// The services whose database it is.
        services: String,
        /// What was found.
        found: Box<Migrations>,
    },
    /// The plan is made.
    Planned {
        /// The plan.
        plan: Box<Plan>,
        /// Its hash.
        hash: Digest,
        /// What it will cost.
        estimate: Estimate,
    },
    /// The plan has its yes.
    Approved {
        /// The plan's hash.
        plan: Digest,
        /// How.
        consent: Consent,
    },
    /// The gates were looked at.
    GatesEvaluated {
        /// How each stands.
        findings: Vec<GateFinding>,
    },
    /// People are asked for their yes to the plan; recorded before they are.
    ApprovalAsked(Box<Asked>),
    /// The issue in which people are asked.
    ApprovalIssue {
        /// Its number.
        number: u64,
        /// Its web address.
        url: String,
        /// When it was opened, by GitHub's clock: from then on answers count.
        #[schemars(with = "String")]
        at: DateTime<Utc>,
        /// Until when they do.
        #[schemars(with = "String")]
        until: DateTime<Utc>,
    },
    /// Somebody said yes.
    ApprovalGiven {
        /// Who, where, with which words.
        approver: Approver,
    },
    /// Those who are asked were reminded.
    ApprovalReminded,
    /// The plan has no yes, and will not get one.
    ApprovalRefused(Refusal),
    /// The files that the plan was made of, for a visit whose workspace has none.
    FilesKept {
        /// Their text, by path.
        files: BTreeMap<String, String>,
    },
    /// GitHub's deployment of this run.
    GithubDeployment {
        /// Its id.
        id: u64,
        /// The environment's name there.
        environment: String,
        /// Whether the job's `environment:` had made it.
        reused: bool,
    },
    /// A digest turned out bad in this environment.
    MarkedBad {
        /// The service.
        service: String,
        /// The digest.
        digest: Digest,
        /// Why (may quote others: untrusted).
        because: String,
    },
    /// Checks were evaluated.
    Checked {
        /// What they found.
        findings: Vec<Finding>,
    },
    /// Failed checks were overruled.
    Forced {
        /// Who.
        by: String,
        /// Why.
        reason: String,
        /// The names of the checks.
        checks: Vec<String>,
    },
    /// The environment's lease was taken.
    LeaseTaken {
        /// The fencing token: greater than every one before in this environment.
        token: u64,
    },
    /// The environment's lease was given back.
    LeaseReleased {
        /// The fencing token.
        token: u64,
    },
    /// Something is about to change the world.
    Intent {
        /// The stage.
        stage: Stage,
        /// What.
        act: Act,
    },
    /// An act has begun, and goes on elsewhere: this is how it is followed.
    Begun {
        /// The intent's place in the run.
        intent: u64,
        /// How it is followed.
        handle: Box<Handle>,
    },
    /// What became of an intent.
    Settled {
        /// The intent's place in the run.
        intent: u64,
        /// What.
        outcome: Outcome,
    },
    /// What was deployed, or what was there before it, was asked how it is.
    Probed {
        /// When.
        phase: Phase,
        /// What each question came to.
        samples: Vec<Sample>,
    },
    /// The new version answers: it is no longer waited for.
    BecameReady,
    /// It is watched from now on.
    WatchBegun {
        /// From one tick to the next, in milliseconds.
        every_ms: u64,
        /// What is watched, by which rules.
        probes: Vec<Watched>,
    },
    /// Whether it lives.
    HealthJudged {
        /// The verdict.
        health: Health,
        /// Why.
        because: String,
    },
    /// What a service goes back to, in a rollback.
    TargetChosen {
        /// The service.
        service: String,
        /// The digest.
        digest: Digest,
        /// The run that had put it there; none for one that was there before there were runs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        of: Option<DeploymentId>,
        /// What is newer and will not do.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        passed_over: Vec<PassedOver>,
    },
    /// What this run has deployed is taken back by another run.
    RollbackBegun {
        /// The other run.
        run: DeploymentId,
    },
    /// People are asked to take it back.
    RollbackAsked {
        /// How long they are waited for.
        #[schemars(with = "String")]
        until: DateTime<Utc>,
    },
    /// Nobody has yet, and those are told who are named for that.
    RollbackEscalated {
        /// How often that was, this time included.
        number: u32,
        /// The channels.
        channels: Vec<String>,
    },
    /// It was taken back, or could not be.
    RollbackEnded {
        /// The run that took it back, where one was begun.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run: Option<DeploymentId>,
        /// Whether it is back, and lives.
        good: bool,
        /// Where each service is now, where it is back.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        to: BTreeMap<String, Digest>,
    },
    /// Something failed in a way that may pass, and is tried again.
    Retried {
        /// What is tried.
        what: String,
        /// The attempt that failed, from 1.
        attempt: u32,
        /// The wait before the next, in milliseconds.
        wait_ms: u64,
        /// Why it failed.
        because: String,
    },
    /// Something went wrong.
    Faulted(Box<Fault>),
    /// Somebody is to be told; sent after this is recorded.
    NotificationQueued {
        /// What about.
        topic: String,
        /// The channel's name in the configuration.
        channel: String,
    },
    /// Somebody was told, or could not be.
    NotificationSettled {
        /// What about.
        topic: String,
        /// The channel's name in the configuration.
        channel: String,
        /// How it ended.
        delivery: Delivery,
        /// How often it was tried.
        attempts: u32,
        /// By what the channel knows the message, where a later one refers to it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// A visit ended before its time.
    Interrupted {
        /// The signal, or `crash` where the next visit found it so.
        cause: String,
    },
    /// Events that were kept in a file while the database was away are in the ledger now.
    Imported {
        /// How many.
        events: u64,
    },
    /// The run is over.
    RunEnded {
        /// The state in which it ends.
        state: State,
        /// The exit code.
        exit: Exit,
        /// What decided it, where a fault did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Code>,
    },
    /// An event of a later version.
    #[serde(other)]
    Unknown,
}

impl Event {
    /// The event's kind, as in its text.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::RunOpened(_) => "run-opened",
            Self::VisitStarted(_) => "visit-started",
            Self::VisitEnded { .. } => "visit-ended",
            Self::StateChanged { .. } => "state-changed",
            Self::StageStarted { .. } => "stage-started",
            Self::StageEnded { .. } => "stage-ended",
            Self::SequenceTaken { .. } => "sequence-taken",
            Self::Resolved { .. } => "resolved",
            Self::Inspected { .. } => "inspected",
            Self::Compared { .. } => "compared",
            Self::MigrationsFound { .. } => "migrations-found",
            Self::Planned { .. } => "planned",
            Self::Approved { .. } => "approved",
            Self::GatesEvaluated { .. } => "gates-evaluated",
            Self::ApprovalAsked(_) => "approval-asked",
            Self::ApprovalIssue { .. } => "approval-issue",
            Self::ApprovalGiven { .. } => "approval-given",
            Self::ApprovalReminded => "approval-reminded",
            Self::ApprovalRefused(_) => "approval-refused",
            Self::FilesKept { .. } => "files-kept",
            Self::GithubDeployment { .. } => "github-deployment",
            Self::MarkedBad { .. } => "marked-bad",
            Self::Checked { .. } => "checked",
            Self::Forced { .. } => "forced",
            Self::LeaseTaken { .. } => "lease-taken",
            Self::LeaseReleased { .. } => "lease-released",
            Self::Intent { .. } => "intent",
            Self::Begun { .. } => "begun",
            Self::Settled { .. } => "settled",
            Self::Probed { .. } => "probed",
            Self::BecameReady => "became-ready",
            Self::WatchBegun { .. } => "watch-begun",
            Self::HealthJudged { .. } => "health-judged",
            Self::TargetChosen { .. } => "target-chosen",
            Self::RollbackBegun { .. } => "rollback-begun",
            Self::RollbackAsked { .. } => "rollback-asked",
            Self::RollbackEscalated { .. } => "rollback-escalated",
            Self::RollbackEnded { .. } => "rollback-ended",
            Self::Retried { .. } => "retried",
            Self::Faulted(_) => "faulted",
            Self::NotificationQueued { .. } => "notification-queued",
            Self::NotificationSettled { .. } => "notification-settled",
            Self::Interrupted { .. } => "interrupted",
            Self::Imported { .. } => "imported",
            Self::RunEnded { .. } => "run-ended",
            Self::Unknown => "unknown",
        }
    }
}
