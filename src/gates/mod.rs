//! What must hold before anything is changed: one file for each gate, each with the same shape.
//!
//! All gates are looked at together and each to its end, so that whoever reads the report can set everything right at
//! once. A gate that says "not yet" is asked again until its own time is up. What cannot be told is not open.

mod bad_digest;
mod branches;
mod checks;
mod clean;
mod deployments;
mod environment;
mod freeze;
mod order;
mod resource;
mod soak;
mod workflow;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use crate::config::{SecretReader, Settings, Ssh};
use crate::github::Hub;
use crate::ledger::Ledger;
use crate::pace;
use crate::promotion::digest::Digest;
use crate::promotion::fault::{Category, Code, Fault};
use crate::promotion::gate::{GateFinding, Standing};
use crate::promotion::identity::DeploymentId;

/// How often it is told again what is waited for, where that has not changed.
const REMINDED: Duration = Duration::from_secs(300);

/// Everything that a gate may look at.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The run.
    pub run: DeploymentId,
    /// The scope of the run in the ledger.
    pub scope: String,
    /// The environment.
    pub environment: String,
    /// What the configuration says of it.
    pub settings: Settings,
    /// What is on its way.
    pub candidates: Vec<Candidate>,
    /// GitHub, where there is a token and a repository.
    pub hub: Option<Hub>,
    /// Past runs.
    pub ledger: Arc<dyn Ledger>,
    /// The configuration's secrets.
    pub secrets: SecretReader,
    /// What templates may use.
    pub values: BTreeMap<&'static str, serde_json::Value>,
    /// The job that asks.
    pub job: Job,
    /// Gates to pass over.
    pub overrides: Vec<String>,
    /// Why.
    pub reason: Option<String>,
    /// Where the repository may be checked out.
    pub workspace: PathBuf,
}

/// What is on its way.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The service.
    pub service: String,
    /// Its image.
    pub digest: Option<Digest>,
    /// The commit that its image says it was built from; of a service without an image the job's.
    pub commit: Option<String>,
    /// The hosts that it is deployed to, where it is deployed over SSH.
    pub hosts: Option<Ssh>,
}

/// The job that asks, as far as a gate must know it.
#[derive(Debug, Clone, Default)]
pub struct Job {
    /// The workflow run.
    pub workflow_run: Option<u64>,
    /// The job's own check run.
    pub check_run: Option<u64>,
    /// The Git reference.
    pub git_ref: Option<String>,
}

/// What a gate saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    sight: Sight,
    seen: String,
    wanted: String,
    fix: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sight {
    Open,
    NotYet,
    Closed,
}

impl Look {
    fn new(sight: Sight, seen: impl Into<String>, wanted: impl Into<String>) -> Self {
        Self { sight, seen: seen.into(), wanted: wanted.into(), fix: None }
    }

    /// It lets through.
    #[must_use]
    pub fn open(seen: impl Into<String>, wanted: impl Into<String>) -> Self {
        Self::new(Sight::Open, seen, wanted)
    }

    /// It may let through later.
    #[must_use]
    pub fn not_yet(seen: impl Into<String>, wanted: impl Into<String>) -> Self {
        Self::new(Sight::NotYet, seen, wanted)
    }

    /// It is closed, and waiting does not help.
    #[must_use]
    pub fn closed(seen: impl Into<String>, wanted: impl Into<String>) -> Self {
        Self::new(Sight::Closed, seen, wanted)
    }

    /// The same, with another fix than its code's.
    #[must_use]
    pub fn with_fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}

/// A condition that must hold before anything is changed.
#[async_trait]
pub trait Gate: Send + Sync {
    /// Its name, as in the configuration.
    fn name(&self) -> String;

    /// The services that it is about; none means all.
    fn services(&self) -> Vec<String> {
        Vec::new()
    }

    /// The fault of one that is closed.
    fn code(&self) -> Code;

    /// The word of the input `override` that passes it over.
    fn override_word(&self) -> Option<&'static str> {
        None
    }

    /// How long a "not yet" is waited for.
    fn wait(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether it is looked at again right before something is changed: what was seen may be hours old then.
    fn is_seen_again(&self) -> bool {
        false
    }

    /// Whether it is only told of when it is not open: one that nobody has configured.
    fn is_quiet(&self) -> bool {
        false
    }

    /// Looks once.
    ///
    /// # Errors
    /// What keeps it from looking.
    async fn look(&self, subject: &Subject) -> Result<Look, Fault>;
}

/// What came of a gate.
#[derive(Debug)]
pub struct Evaluated {
    /// What was seen.
    pub finding: GateFinding,
    /// Why the run must not go on, or, at [`crate::promotion::fault::Severity::Medium`], what was passed over.
    pub fault: Option<Fault>,
}

/// The gates that a configuration sets up.
#[must_use]
pub fn gates(subject: &Subject) -> Vec<Box<dyn Gate>> {
    let settings = &subject.settings.gates;
    let mut gates: Vec<Box<dyn Gate>> = Vec::new();
    if !settings.freeze.is_empty() {
        gates.push(Box::new(freeze::Freeze::new(settings.freeze.clone())));
    }
    gates.extend(bad_digest::BadDigest::of(subject));
    if let Some(soak) = settings.soak {
        gates.push(Box::new(soak::Soak::new(soak)));
    }
    if let Some(protection) = &settings.environment {
        gates.push(Box::new(environment::Protected::new(protection.clone())));
    }
    if let Some(deployments) = &settings.deployments {
        gates.push(Box::new(deployments::Deployments::new(deployments.clone())));
    }
    if !settings.branches.is_empty() {
        gates.push(Box::new(branches::Branches::new(settings.branches.clone())));
    }
    if settings.clean {
        gates.push(Box::new(clean::Clean));
    }
    if let Some(workflow) = &settings.workflow {
        gates.push(Box::new(workflow::Workflow::new(workflow.clone())));
    }
    if let Some(order) = &settings.order {
        gates.push(Box::new(order::Order::new(order.clone())));
    }
    if let Some(checks) = &settings.checks {
        gates.push(Box::new(checks::Checks::new(checks.clone())));
    }
    for (name, resource) in &settings.resources {
        gates.push(Box::new(resource::Available::new(name, resource.clone())));
    }
    gates
}

/// Looks at all gates at once, and waits where one says "not yet" until its time or the deadline is up. `tell` hears what
/// is waited for.
pub async fn evaluate(subject: &Subject, deadline: Option<Instant>, tell: &(dyn Fn(&str) + Sync)) -> Vec<Evaluated> {
    let gates = gates(subject);
    let evaluated = join_all(gates.iter().map(|gate| stand(gate.as_ref(), subject, deadline, tell))).await;
    let pairs = gates.iter().zip(evaluated);
    pairs.filter(|(gate, one)| !gate.is_quiet() || one.finding.standing != Standing::Open).map(|(_, one)| one).collect()
}

/// Looks once more at what may have changed since, without waiting: those that are closed now, or cannot be read.
pub async fn look_again(subject: &Subject) -> Vec<Evaluated> {
    let gates: Vec<_> = gates(subject).into_iter().filter(|gate| gate.is_seen_again()).collect();
    let looks = gates.iter().map(|gate| async move {
        let looked = gate.look(subject).await;
        judged(gate.as_ref(), subject, looked, Duration::ZERO)
    });
    join_all(looks).await.into_iter().filter(|one| !one.finding.standing.lets_through()).collect()
}

async fn stand(
    gate: &dyn Gate,
    subject: &Subject,
    deadline: Option<Instant>,
    tell: &(dyn Fn(&str) + Sync),
) -> Evaluated {
    let begun = Instant::now();
    let until = begun + gate.wait();
    let until = deadline.map_or(until, |deadline| deadline.min(until));
    let mut told: Option<(String, Instant)> = None;
    loop {
        let looked = gate.look(subject).await;
        let now = Instant::now();
        let waits = match &looked {
            Ok(look) => look.sight == Sight::NotYet,
            Err(fault) => fault.category == Category::Network,
        };
        if !waits || now >= until {
            return judged(gate, subject, looked, now - begun);
        }
        if let Ok(look) = &looked
            && told.as_ref().is_none_or(|(seen, at)| *seen != look.seen || now - *at >= REMINDED)
        {
            tell(&format!("waiting for {}: {}", gate.name(), look.seen));
            told = Some((look.seen.clone(), now));
        }
        sleep(pace::gates().min(until - now)).await;
    }
}

fn judged(gate: &dyn Gate, subject: &Subject, looked: Result<Look, Fault>, waited: Duration) -> Evaluated {
    let mut finding = GateFinding {
        gate: gate.name(),
        services: gate.services(),
        standing: Standing::Open,
        seen: String::new(),
        wanted: String::new(),
        fix: None,
        waited: waited.as_secs(),
    };
    let fault = match looked {
        Err(fault) => {
            finding.standing = Standing::Unknown;
            finding.seen = format!("it could not be told: {}", fault.message);
            finding.wanted = "an answer".to_owned();
            finding.fix = Some(fault.fix.clone());
            let message = format!("the gate `{}` could not be looked at: {}", gate.name(), fault.message);
            Some(Fault { message, ..fault })
        }
        Ok(look) => {
            finding.seen = look.seen;
            finding.wanted = look.wanted;
            match look.sight {
                Sight::Open => None,
                Sight::NotYet | Sight::Closed => {
                    let code = gate.code();
                    let fix = look.fix.unwrap_or_else(|| code.fix().to_owned());
                    let text = format!("the gate `{}` is closed: {}", finding.gate, finding.seen);
                    finding.fix = Some(fix.clone());
                    let word = gate.override_word().filter(|word| subject.overrides.iter().any(|one| one == word));
                    Some(match word {
                        None => {
                            finding.standing = Standing::Closed;
                            Fault::new(code, text).with_fix(fix)
                        }
                        Some(word) => {
                            finding.standing = Standing::Overridden;
                            finding.fix = None;
                            let reason = subject.reason.as_deref().unwrap_or("no reason was given");
                            Fault::new(
                                Code::GateOverridden,
                                format!("`override: {word}` passes over it, because: {reason}; {text}"),
                            )
                        }
                    })
                }
            }
        }
    };
    Evaluated { finding, fault }
}

impl Subject {
    /// GitHub.
    ///
    /// # Errors
    /// [`Code::GithubRequired`] where it is not at hand.
    fn hub(&self) -> Result<&Hub, Fault> {
        self.hub.as_ref().ok_or_else(|| {
            Fault::new(Code::GithubRequired, "it asks GitHub, and there is no token or no repository to ask with")
        })
    }

    /// The environment's name on GitHub.
    fn environment_on_github(&self) -> &str {
        self.settings.github.environment_name(&self.environment)
    }

    /// The commits that the candidates were built from, each with its services.
    ///
    /// # Errors
    /// [`Code::RevisionUnknown`] for an image that does not say.
    fn commits(&self) -> Result<BTreeMap<&str, Vec<&str>>, Fault> {
        let mut commits: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for candidate in &self.candidates {
            let commit = candidate.commit.as_deref().filter(|commit| is_commit(commit)).ok_or_else(|| {
                let text = match &candidate.commit {
                    None => format!("the image of `{}` does not say which commit it was built from", candidate.service),
                    Some(other) => {
                        format!(
                            "the image of `{}` says it was built from `{other}`, which is no commit",
                            candidate.service
                        )
                    }
                };
                Fault::new(Code::RevisionUnknown, text)
            })?;
            commits.entry(commit).or_default().push(&candidate.service);
        }
        Ok(commits)
    }
}

/// Whether a text is a commit's id, whole: SHA-1 or SHA-256.
fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A commit, short, for people.
fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}

/// The look at several things: the worst decides, and every one that is not open is told; if all are, all.
fn together(looks: Vec<Look>) -> Look {
    let worst = looks.iter().map(|look| look.sight).max().unwrap_or(Sight::Open);
    let told: Vec<&Look> = looks.iter().filter(|look| worst == Sight::Open || look.sight != Sight::Open).collect();
    let seen = told.iter().map(|look| look.seen.as_str()).collect::<Vec<_>>().join("; ");
    let wanted = told.iter().find(|look| look.sight == worst).map(|look| look.wanted.clone()).unwrap_or_default();
    let fix = told.iter().find(|look| look.sight == worst).and_then(|look| look.fix.clone());
    Look { sight: worst, seen, wanted, fix }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_several_decides_and_is_told() {
        let look =
            together(vec![Look::open("a", "x"), Look::not_yet("b", "y"), Look::closed("c", "z").with_fix("do it")]);
        assert_eq!(look, Look::closed("b; c", "z").with_fix("do it"));
        assert_eq!(together(vec![Look::open("a", "x"), Look::open("b", "x")]), Look::open("a; b", "x"));
    }

    #[test]
    fn a_commit_is_whole() {
        assert!(is_commit(&"a1".repeat(20)) && is_commit(&"b2".repeat(32)));
        assert!(
            !is_commit("a1b2c3d") && !is_commit(&"g".repeat(40)) && !is_commit(&format!("{}-dirty", "a".repeat(40)))
        );
    }
}
