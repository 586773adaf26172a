//! What the stages work with.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::Utc;
use tokio::time::Instant;

use super::drivers::Known;
use super::request::Request;
use super::target::Target;
use super::visit::Visit;
use crate::checks::{self, Depth, Evidence, Previous, Subject};
use crate::config::SecretReader;
use crate::deploy::Kit;
use crate::github::Hub;
use crate::ledger::{Filter, LedgerError, Past};
use crate::notify::Post;
use crate::promotion::check::Finding;
use crate::promotion::comparison::{Aspect, Comparison};
use crate::promotion::digest::Digest;
use crate::promotion::event::{Conclusion, Traffic};
use crate::promotion::fault::{Category, Fault};
use crate::promotion::image::Repository;
use crate::promotion::plan::PlannedImage;
use crate::promotion::retry::RetryPolicy;
use crate::promotion::state::State;
use crate::registry::{Inspection, Registries};

/// The tools of a visit.
#[derive(Debug, Clone)]
pub struct Tools {
    /// The registries.
    pub registries: Registries,
    /// GitHub, where there is a token and a repository.
    pub hub: Option<Hub>,
    /// The configuration's secrets.
    pub secrets: SecretReader,
    /// The channels by which people are told, where there are any.
    pub post: Option<Arc<Post>>,
    /// The workspace, where the files are that the configuration names.
    pub workspace: PathBuf,
    /// How patiently requests are tried again.
    pub retry: RetryPolicy,
    /// The address of GitHub's API.
    pub api_url: String,
    /// The folder for records, reports and logs, with one folder for each run.
    pub folder: PathBuf,
    /// Whether nothing is recorded and nobody told.
    pub rehearsal: bool,
    /// When the visit must be over, unless it has begun to change the world.
    pub deadline: Option<Instant>,
}

impl Tools {
    /// What GitHub was asked so far.
    #[must_use]
    pub fn asked_of_github(&self) -> Traffic {
        self.hub.as_ref().map(|hub| hub.github.traffic()).unwrap_or_default()
    }

    /// What drivers are built with.
    #[must_use]
    pub(super) fn kit(&self) -> Kit {
        Kit {
            secrets: self.secrets.clone(),
            retry: self.retry,
            workspace: self.workspace.clone(),
            github: self.hub.clone(),
            api_url: self.api_url.clone(),
        }
    }
}

/// One visit's work: the run in our hands, what it is asked, where it goes, and with which tools.
#[derive(Debug)]
pub(super) struct Work<'a> {
    /// The run.
    pub visit: &'a mut Visit,
    /// What is asked.
    pub request: &'a Request,
    /// Where it goes.
    pub target: &'a Target,
    /// The tools.
    pub tools: &'a Tools,
    /// What this visit has looked at.
    pub seen: Seen,
    /// What was sent and received when the last stage ended: what came since belongs to the next.
    pub told: Traffic,
    /// The same, of GitHub.
    pub told_of_github: Traffic,
}

/// What an image replaces, where there is something; or why it cannot be read.
pub(super) type Replaced = Result<Option<Arc<Inspection>>, Arc<str>>;

/// What a visit has looked at with its own eyes; the next visit has not.
#[derive(Debug, Default)]
pub(super) struct Seen {
    inspections: Mutex<BTreeMap<String, Arc<Inspection>>>,
    evidence: Mutex<BTreeMap<String, Arc<Evidence>>>,
    previous: Mutex<BTreeMap<String, Replaced>>,
    /// Comments that were looked at.
    comments: Mutex<BTreeSet<u64>>,
    /// Whether the sources were seen to point to the candidates.
    pub sources: bool,
    /// The drivers that were built.
    pub drivers: Vec<Known>,
}

impl Seen {
    /// The image of a service, as this visit saw it.
    #[must_use]
    pub(super) fn inspection(&self, service: &str) -> Option<Arc<Inspection>> {
        self.inspections.lock().unwrap_or_else(PoisonError::into_inner).get(service).cloned()
    }

    /// What checks have read about the image of a service.
    #[must_use]
    pub(super) fn evidence(&self, service: &str) -> Arc<Evidence> {
        let mut evidence = self.evidence.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(evidence.entry(service.to_owned()).or_default())
    }

    /// Whether a comment is looked at for the first time.
    pub(super) fn is_news(&self, comment: u64) -> bool {
        self.comments.lock().unwrap_or_else(PoisonError::into_inner).insert(comment)
    }

    /// Remembers the image of a service.
    pub(super) fn remember(&self, service: &str, inspection: Arc<Inspection>) {
        self.inspections.lock().unwrap_or_else(PoisonError::into_inner).insert(service.to_owned(), inspection);
    }
}

/// What a stage came to.
#[derive(Debug)]
pub(super) struct Outcome {
    /// How it ended.
    pub conclusion: Conclusion,
    /// The state that follows, if it is another.
    pub state: Option<State>,
    /// What it wants to say about that.
    pub note: Option<String>,
    /// Whether it has not ended, and a later visit goes on with it.
    pub parked: bool,
}

impl Outcome {
    /// Done.
    #[must_use]
    pub(super) const fn done() -> Self {
        Self { conclusion: Conclusion::Done, state: None, note: None, parked: false }
    }

    /// Nothing is configured for it.
    #[must_use]
    pub(super) const fn not_configured() -> Self {
        Self { conclusion: Conclusion::Skipped, state: None, note: None, parked: false }
    }

    /// Nothing to do.
    #[must_use]
    pub(super) fn skipped(why: impl Into<String>) -> Self {
        Self { conclusion: Conclusion::Skipped, state: None, note: Some(why.into()), parked: false }
    }

    /// Somebody is waited for, and not by this visit.
    #[must_use]
    pub(super) const fn parked() -> Self {
        Self { conclusion: Conclusion::Done, state: None, note: None, parked: true }
    }

    /// The same, with the state that follows.
    #[must_use]
    pub(super) const fn entering(mut self, state: State) -> Self {
        self.state = Some(state);
        self
    }

    /// The same, with something to say.
    #[must_use]
    pub(super) fn saying(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }
}

/// Why a stage did not do its work: every fault that was found, never none.
#[derive(Debug)]
pub(super) struct Trouble(Vec<Fault>);

impl Trouble {
    /// The faults, if there are any.
    ///
    /// # Errors
    /// All of them, as one trouble.
    pub(super) fn unless_none(faults: Vec<Fault>) -> Result<(), Self> {
        if faults.is_empty() { Ok(()) } else { Err(Self(faults)) }
    }

    /// The faults.
    #[must_use]
    pub(super) fn faults(self) -> Vec<Fault> {
        self.0
    }

    /// How a stage with this trouble ends: the candidate is bad, or we could not tell.
    #[must_use]
    pub(super) fn conclusion(&self) -> Conclusion {
        let bad = self.0.iter().any(|fault| fault.category == Category::Validation);
        if bad { Conclusion::Failed } else { Conclusion::Errored }
    }

    /// Whether the ledger itself is in the way, so that nothing can be recorded any more.
    #[must_use]
    pub(super) fn is_the_ledgers(&self) -> bool {
        use crate::promotion::fault::Code;
        self.0.iter().any(|fault| {
            matches!(
                fault.code,
                Code::LedgerUnreachable
                    | Code::LedgerRefused
                    | Code::LedgerCorrupt
                    | Code::LeaseLost
                    | Code::VisitConflict
                    | Code::Defect
            )
        })
    }
}

impl<F: Into<Fault>> From<F> for Trouble {
    fn from(fault: F) -> Self {
        Self(vec![fault.into()])
    }
}

impl Work<'_> {
    /// The other runs of a service on this environment, the newest first.
    ///
    /// # Errors
    /// What the ledger says.
    pub(super) async fn past(&self, service: &str) -> Result<Vec<Past>, LedgerError> {
        let run = self.visit.run();
        let history = Filter::history(&run.opening.scope, &run.opening.environment);
        let filter = Filter { service: Some(service.to_owned()), ..history };
        let mut past = self.visit.ledger().past(&filter).await?;
        past.retain(|one| one.run != run.id);
        Ok(past)
    }

    /// The deadline, as long as it counts: what was begun to be changed is finished, however long it takes.
    #[must_use]
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.tools.deadline.filter(|_| !self.visit.run().changed_the_world())
    }

    /// The registries, under the deadline as long as it counts.
    #[must_use]
    pub(super) fn registries(&self) -> Registries {
        self.tools.registries.with_deadline(self.deadline())
    }

    /// What was sent and received since this was last asked: what one stage, and the way to it, has cost.
    #[must_use]
    pub(super) fn traffic(&mut self) -> Traffic {
        let mut since = self.tools.registries.traffic_since(&self.told);
        self.told.add(&since);
        if let Some(hub) = &self.tools.hub {
            let asked = hub.github.traffic().since(&self.told_of_github);
            self.told_of_github.add(&asked);
            since.add(&asked);
        }
        since
    }

    /// What a service's image replaces, as the plan has it.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub(super) async fn previous(&self, service: &str) -> Replaced {
        let known = self.seen.previous.lock().unwrap_or_else(PoisonError::into_inner).get(service).cloned();
        if let Some(known) = known {
            return known;
        }
        let images = self.images();
        let Some((_, image)) = images.iter().find(|(name, _)| name == service) else { return Ok(None) };
        let found = self.look_at_previous(service, &image.target, image.previous()).await;
        found.map(|found| found.filter(|found| found.root.digest != image.digest))
    }

    /// Looks at what an image replaces, and remembers it.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub(super) async fn look_at_previous(
        &self,
        service: &str,
        target: &Repository,
        previous: Option<&Digest>,
    ) -> Replaced {
        let found = match previous {
            Some(digest) => match self.registries().inspect(target, digest).await {
                Ok(inspection) => Ok(Some(Arc::new(inspection))),
                Err(error) => {
                    tracing::debug!(%error, "what {service} replaces cannot be looked at: {error}");
                    Err(Arc::from(error.to_string()))
                }
            },
            None => Ok(None),
        };
        let mut seen = self.seen.previous.lock().unwrap_or_else(PoisonError::into_inner);
        seen.insert(service.to_owned(), found.clone());
        found
    }

    /// Evaluates the checks of a service's image.
    ///
    /// # Errors
    /// What keeps a check from looking.
    pub(super) async fn evaluate(
        &self,
        service: &str,
        repository: &Repository,
        inspection: &Inspection,
        depth: Depth,
    ) -> Result<Vec<Finding>, Fault> {
        let (registries, evidence) = (self.registries(), self.seen.evidence(service));
        let previous = self.previous(service).await;
        let subject = self.subject(service, repository, inspection, &registries, &evidence);
        let previous = match &previous {
            Ok(None) => Previous::Nothing,
            Ok(Some(previous)) => Previous::Image(previous),
            Err(why) => Previous::Unreadable(why),
        };
        let subject = Subject { previous, depth, ..subject };
        checks::evaluate(&subject).await.map_err(|fault| fault.about(service))
    }

    /// The comparison of a service's image with the one that it replaces, with the packages that the databases of both
    /// list: where the policy reads them, and no bills of materials have told of packages already. It is nice to know and
    /// keeps nothing from going on.
    pub(super) async fn compared(&self, service: &str, image: &PlannedImage) -> Option<Comparison> {
        let comparison = self.visit.run().candidate(service)?.comparison.clone()?;
        if comparison.differences.iter().any(|one| one.aspect == Aspect::Package) {
            return None;
        }
        let (previous, inspection) = (self.previous(service).await.ok()??, self.seen.inspection(service)?);
        let (registries, evidence, of_previous) = (self.registries(), self.seen.evidence(service), Evidence::default());
        let before = self.subject(service, &image.target, &previous, &registries, &of_previous);
        let after = self.subject(service, &image.source.repository, &inspection, &registries, &evidence);
        let (old, new) = checks::installed(&before, &after).await.ok()??;
        let told = comparison.clone().with(Aspect::Package, &old, &new);
        (told != comparison).then_some(told)
    }

    fn subject<'s>(
        &'s self,
        service: &'s str,
        repository: &'s Repository,
        inspection: &'s Inspection,
        registries: &'s Registries,
        evidence: &'s Evidence,
    ) -> Subject<'s> {
        Subject {
            service,
            repository,
            inspection,
            policy: &self.target.settings(service).validate,
            registries,
            previous: Previous::Nothing,
            evidence,
            github: self.tools.hub.as_ref().map(|hub| (hub.github.as_ref(), &hub.repository)),
            workspace: &self.tools.workspace,
            depth: Depth::Everything,
            now: Utc::now(),
        }
    }

    /// The images of the plan.
    #[must_use]
    pub(super) fn images(&self) -> Vec<(String, PlannedImage)> {
        let Some((plan, _)) = &self.visit.run().plan else { return Vec::new() };
        plan.candidates.iter().filter_map(|planned| Some((planned.service.clone(), planned.image.clone()?))).collect()
    }
}
