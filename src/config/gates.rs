//! `gates`: what must hold before anything is changed.

use std::time::Duration;

use chrono::NaiveDateTime;
use indexmap::IndexMap;
use serde::Serialize;

use super::approval::{Approval, RawApproval};
use super::check::Checker;
use super::collection::{Map, NonEmpty, OneOrMany};
use super::literal::Lit;
use super::names::{
    Branch, EnvironmentName, FilePath, HostPort, Line, Name, Status, StatusSyntax, UrlSyntax, WorkflowFile,
};
use super::number::Whole;
use super::path::Path;
use super::section::{section, words};
use super::size::{Size, SizeSyntax};
use super::ssh::{RawSsh, Ssh};
use super::template::{Filled, Gating, In, Template, TemplateText};
use super::time::{AnyDuration, LocalTimeSyntax, PositiveDuration, WeeklySyntax, WeeklyWindow, Zone, ZoneSyntax};
use super::value::{Value, Variables};

section! {
    /// What must hold before anything is changed. All gates are evaluated and reported together.
    pub struct Gates from RawGates {
        /// Status checks and check runs of the candidate's commit that must be green.
        optional checks: RawChecks => Checks,
        /// A workflow that must have succeeded for the candidate's commit.
        optional workflow: RawWorkflowGate => WorkflowGate,
        /// Workflows that must have run for the candidate's commit one after the other.
        optional order: RawOrder => Order,
        /// How the environment has to be protected on GitHub.
        optional environment: RawProtection => Protection,
        /// Who must say yes. Without it the environment's own protection on GitHub is all there is.
        optional approval: RawApproval => Approval,
        /// Branches from which the candidate's commit must be reachable, e.g. `[main, "release/*"]`. Default: any.
        default(Vec::new()) branches: NonEmpty<Lit<Branch>> => Vec<String>,
        /// Whether the commit must be clean: nothing uncommitted in what is deployed, and its tag not moved. Default:
        /// false.
        default(false) clean: bool,
        /// What must be there before anything is deployed, by name.
        default(IndexMap::new()) resources: In<Gating, Map<Name, RawResource>> => IndexMap<String, Resource>,
        /// How long the digest must have lived, verified, in the environment that it comes from.
        optional soak: Lit<PositiveDuration> => Duration,
        /// When nothing is promoted. A rollback is never held up by it; the input `override: freeze` with a reason
        /// passes it.
        default(Vec::new()) freeze: Vec<RawFreeze> => Vec<Freeze>,
        /// That no other deployment to the environment is in progress on GitHub.
        optional deployments: RawDeployments => Deployments,
        /// What to do when another run holds the environment.
        always lock: RawLock => Lock,
    }
}

words! {
    /// Which checks of a commit must be green.
    pub enum RequiredChecks {
        /// Those that the rules and the protection of the branch require.
        Branch = "branch",
        /// All that the commit has.
        All = "all",
        /// Only those that are named under `also`.
        Named = "named",
    }
}

words! {
    /// What a skipped or neutral check counts as.
    pub enum CountsAs {
        /// It is green, as GitHub itself has it.
        Success = "success",
        /// It is red: a job is skipped too when one that it needs has failed.
        Failure = "failure",
    }
}

section! {
    /// Status checks and check runs of the candidate's commit that must be green.
    pub struct Checks from RawChecks, finish checks => Checks {
        /// Which checks are required. Default: `branch`.
        default(RequiredChecks::Branch) required: RequiredChecks,
        /// Names of checks that are required as well; one that is missing is waited for.
        default(Vec::new()) also: Vec<Lit<Line>> => Vec<String>,
        /// Names of checks that do not count; `*` stands for any text.
        default(Vec::new()) ignore: Vec<Lit<Line>> => Vec<String>,
        /// The GitHub app that a check must come from, by the check's name, e.g. `security-scan: github-actions`.
        default(IndexMap::new()) apps: Map<Line, Lit<Line>> => IndexMap<String, String>,
        /// The branch whose rules count. Default: the repository's default branch.
        optional branch: Lit<Branch> => String,
        /// How long to wait for checks that are missing or still run. Default: `10m`.
        default(Duration::from_secs(600)) wait: Lit<AnyDuration> => Duration,
        /// What a skipped check counts as. Default: `success`.
        default(CountsAs::Success) treat_skipped_as: CountsAs,
        /// What a neutral check counts as. Default: `success`.
        default(CountsAs::Success) treat_neutral_as: CountsAs,
        /// Whether it may be that no check is required at all. Default: false, which closes the gate then.
        default(false) allow_none: bool,
    }
}

fn checks(checks: Checks, _: &[String], at: &Path, checker: &mut Checker<'_>) -> Option<Checks> {
    if checks.required == RequiredChecks::Named && checks.also.is_empty() {
        checker.problem(&at.key("required"), "is `named`, and `also` names no check", "name checks under `also`");
        return None;
    }
    Some(checks)
}

section! {
    /// A workflow that must have succeeded for the candidate's commit.
    pub struct WorkflowGate from RawWorkflowGate {
        /// The workflow's file name, e.g. `ci.yml`.
        required file: Lit<WorkflowFile> => String,
        /// The branch that it must have run on. Default: any.
        optional branch: Lit<Branch> => String,
        /// The event that must have started it, e.g. `push`. Default: any.
        optional event: Lit<Line> => String,
        /// How long to wait for a run that has not ended. Default: `10m`.
        default(Duration::from_secs(600)) wait: Lit<AnyDuration> => Duration,
    }
}

section! {
    /// Workflows that must have run for the candidate's commit one after the other.
    pub struct Order from RawOrder {
        /// The workflows' file names, in the order in which they must have succeeded.
        required workflows: NonEmpty<Lit<WorkflowFile>> => Vec<String>,
        /// How long to wait for one that has not ended. Default: `10m`.
        default(Duration::from_secs(600)) wait: Lit<AnyDuration> => Duration,
    }
}

words! {
    /// Which branches may deploy to an environment on GitHub.
    pub enum DeployBranches {
        /// Protected branches only.
        Protected = "protected",
        /// Protected branches, or those that the environment names.
        Restricted = "restricted",
    }
}

section! {
    /// How the environment has to be protected on GitHub. That it exists is checked in any case.
    pub struct Protection from RawProtection {
        /// The environment's name on GitHub. Default: as under `github`.
        optional name: Lit<EnvironmentName> => String,
        /// Whether it must have required reviewers. Default: false.
        default(false) reviewers: bool,
        /// Whether it must keep people from approving what they started. Default: false.
        default(false) prevent_self_review: bool,
        /// How long its wait timer must be at the least.
        optional wait_timer: Lit<PositiveDuration> => Duration,
        /// Which branches it may let through. Default: any.
        optional branches: DeployBranches,
    }
}

section! {
    /// That no other deployment to the environment is in progress on GitHub.
    pub struct Deployments from RawDeployments {
        /// How long to wait for it. Default: `0s`, which refuses at once.
        default(Duration::ZERO) wait: Lit<AnyDuration> => Duration,
        /// When a deployment counts as abandoned. Default: `6h`, the longest that a job can take.
        default(Duration::from_secs(6 * 3600)) abandoned_after: Lit<PositiveDuration> => Duration,
    }
}

section! {
    /// What to do when another run holds the environment.
    pub struct Lock from RawLock {
        /// How long to wait for it. Default: `0s`, which refuses at once.
        default(Duration::ZERO) wait: Lit<AnyDuration> => Duration,
    }
}

/// When nothing is promoted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Freeze {
    /// The window.
    pub window: FreezeWindow,
    /// The time zone in which it is meant.
    pub timezone: Zone,
    /// Why, for people.
    pub reason: Option<String>,
}

/// A window in which nothing is promoted, in local time: its beginning is in it, its end is not.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FreezeWindow {
    /// It comes back every week.
    Weekly(WeeklyWindow),
    /// It comes once.
    Once {
        /// When it begins.
        from: NaiveDateTime,
        /// When it ends.
        until: NaiveDateTime,
    },
}

section! {
    /// A window in which nothing is promoted: every week, or once.
    struct FreezeKeys from RawFreeze, one_of ["weekly", "from"], finish freeze => Freeze {
        /// A window that comes back every week, e.g. `Fri 16:00 - Mon 08:00`.
        optional weekly: Lit<WeeklySyntax> => WeeklyWindow,
        /// The beginning of a window that comes once, in local time, e.g. `2026-12-23 18:00`.
        optional from: Lit<LocalTimeSyntax> => NaiveDateTime,
        /// The end of a window that comes once; it is no longer frozen then.
        optional until: Lit<LocalTimeSyntax> => NaiveDateTime,
        /// The time zone of the IANA database in which it is meant. Default: `UTC`.
        default(Zone(chrono_tz::UTC)) timezone: Lit<ZoneSyntax> => Zone,
        /// Why, for people.
        optional reason: Lit<Line> => String,
    }
}

fn freeze(keys: FreezeKeys, written: &[String], at: &Path, checker: &mut Checker<'_>) -> Option<Freeze> {
    let window = match (keys.weekly, keys.from, keys.until) {
        (Some(weekly), _, _) => {
            checker.belongs(at, written, &["until"], &["from"]).then_some(FreezeWindow::Weekly(weekly))?
        }
        (None, Some(from), Some(until)) if from < until => FreezeWindow::Once { from, until },
        (None, Some(_), Some(_)) => {
            checker.problem(&at.key("until"), "is not after `from`", "let the window end after it begins");
            return None;
        }
        _ => {
            checker.missing(at, "until");
            return None;
        }
    };
    Some(Freeze { window, timezone: keys.timezone, reason: keys.reason })
}

/// Something that must be there before anything is deployed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Resource {
    /// What.
    pub kind: ResourceKind,
    /// How long to wait for an answer.
    pub timeout: Duration,
}

/// Kinds of resources.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResourceKind {
    /// An address that answers.
    Url {
        /// The address.
        url: Template,
        /// The statuses that will do.
        status: Vec<Status>,
    },
    /// A port that can be connected to, `host:port`.
    Tcp(String),
    /// Free space on a disk.
    Disk {
        /// A path on the file system in question.
        path: String,
        /// How much must be free.
        free: Size,
        /// How to get to the hosts; none where they are those of the deployment.
        ssh: Option<Ssh>,
    },
    /// A program that ends with 0.
    Command {
        /// The program and its arguments.
        run: Vec<Template>,
        /// The variables that it gets.
        env: IndexMap<String, Value>,
    },
}

section! {
    /// Something that must be there before anything is deployed.
    struct ResourceKeys from RawResource, one_of ["url", "tcp", "disk", "command"], finish resource => Resource {
        /// An address that must answer.
        optional url: Filled<UrlSyntax> => Template,
        /// The statuses that will do for `url`. Default: `2xx`.
        default(vec![Status::SUCCESS]) status: OneOrMany<Lit<StatusSyntax>> => Vec<Status>,
        /// A port that can be connected to, `host:port`.
        optional tcp: Lit<HostPort> => String,
        /// A path on a file system that must have space, on the hosts of `ssh`.
        optional disk: Lit<FilePath> => String,
        /// How much must be free for `disk`.
        optional free: Lit<SizeSyntax> => Size,
        /// How to get to the hosts of `disk`. Default: those of `deploy.compose`.
        optional ssh: RawSsh => Ssh,
        /// A program with its arguments that must end with 0.
        optional command: NonEmpty<TemplateText> => Vec<Template>,
        /// The variables that `command` gets; it gets no others but `PATH` and `HOME`.
        default(IndexMap::new()) env: Variables => IndexMap<String, Value>,
        /// How long to wait for an answer. Default: `10s`.
        default(Duration::from_secs(10)) timeout: Lit<PositiveDuration> => Duration,
    }
}

fn resource(keys: ResourceKeys, written: &[String], at: &Path, checker: &mut Checker<'_>) -> Option<Resource> {
    let mut good = true;
    let mut only = |kind: &str, siblings: &[&str]| {
        if !written.iter().any(|key| key == kind) {
            good &= checker.belongs(at, written, siblings, &[kind]);
        }
    };
    only("url", &["status"]);
    only("disk", &["free", "ssh"]);
    only("command", &["env"]);
    let kind = match (keys.url, keys.tcp, keys.disk, keys.command) {
        (Some(url), ..) => ResourceKind::Url { url, status: keys.status },
        (_, Some(tcp), ..) => ResourceKind::Tcp(tcp),
        (_, _, Some(path), _) => {
            if keys.free.is_none() {
                checker.missing(at, "free");
            }
            ResourceKind::Disk { path, free: keys.free?, ssh: keys.ssh }
        }
        (.., Some(run)) => ResourceKind::Command { run, env: keys.env },
        _ => return None,
    };
    good.then_some(Resource { kind, timeout: keys.timeout })
}

/// A number of people, at least one.
pub(super) type People = Whole<1, 100>;
