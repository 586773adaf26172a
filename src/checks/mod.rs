//! What is validated about an image: one file for each check, each with the same shape.

mod age;
mod base_image;
mod command;
mod consistent;
mod contents;
mod end_of_life;
mod evidence;
mod exists;
mod growth;
mod labels;
mod layers;
mod listing;
mod metadata;
mod packages;
mod platforms;
mod ports;
mod provenance;
mod releases;
mod sbom;
mod scan;
mod secrets;
mod setuid;
mod signature;
mod size;
mod user;

use std::path::Path;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::config::{CheckName, CheckSeverity, Validate};
use crate::github::{GitHub, RepositoryName};
use crate::promotion::candidate::Platform;
use crate::promotion::check::{Finding, Verdict};
use crate::promotion::fault::Fault;
use crate::promotion::image::Repository;
use crate::registry::{Inspection, PlatformInspection, Registries};

pub use evidence::Evidence;
pub use listing::{Listing, installed, listing};

/// Everything that a check may look at.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The service whose image it is.
    pub service: &'a str,
    /// Where the image is.
    pub repository: &'a Repository,
    /// What was read of it.
    pub inspection: &'a Inspection,
    /// What it must be like.
    pub policy: &'a Validate,
    /// The registries, for checks that read more.
    pub registries: &'a Registries,
    /// What it replaces.
    pub previous: Previous<'a>,
    /// What several checks read, and one has read already.
    pub evidence: &'a Evidence,
    /// GitHub and the job's repository there, for attestations.
    pub github: Option<(&'a GitHub, &'a RepositoryName)>,
    /// Where the files are that the policy names.
    pub workspace: &'a Path,
    /// How far is looked.
    pub depth: Depth,
    /// The time.
    pub now: DateTime<Utc>,
}

/// What an image replaces.
#[derive(Debug, Clone, Copy)]
pub enum Previous<'a> {
    /// Nothing.
    Nothing,
    /// This image.
    Image(&'a Inspection),
    /// Something that cannot be read, for this reason.
    Unreadable(&'a str),
}

/// What a check saw, in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    platform: Option<Platform>,
    sight: Sight,
    seen: String,
    wanted: String,
    fix: Option<String>,
    unforceable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sight {
    Good,
    Doubtful,
    Bad,
    Nothing,
}

impl Observation {
    fn new(sight: Sight, seen: impl Into<String>, wanted: impl Into<String>) -> Self {
        Self { platform: None, sight, seen: seen.into(), wanted: wanted.into(), fix: None, unforceable: false }
    }

    /// What was seen is what was wanted.
    #[must_use]
    pub fn good(seen: impl Into<String>, wanted: impl Into<String>) -> Self {
        Self::new(Sight::Good, seen, wanted)
    }

    /// It is not, and nobody asked that it must: a warning at the most.
    #[must_use]
    pub fn doubtful(seen: impl Into<String>, wanted: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { fix: Some(fix.into()), ..Self::new(Sight::Doubtful, seen, wanted) }
    }

    /// It is not.
    #[must_use]
    pub fn bad(seen: impl Into<String>, wanted: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { fix: Some(fix.into()), ..Self::new(Sight::Bad, seen, wanted) }
    }

    /// Good or bad, as `good` says; the fix is only for the bad.
    #[must_use]
    pub fn either(good: bool, seen: impl Into<String>, wanted: impl Into<String>, fix: impl Into<String>) -> Self {
        if good { Self::good(seen, wanted) } else { Self::bad(seen, wanted, fix) }
    }

    /// There is nothing to look at.
    #[must_use]
    pub fn nothing(why: impl Into<String>) -> Self {
        Self::new(Sight::Nothing, why, "")
    }

    /// Whether what was seen is what was wanted.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.sight == Sight::Good
    }

    /// The same, about one platform's image.
    #[must_use]
    pub fn of(mut self, platform: &PlatformInspection) -> Self {
        self.platform = Some(platform.facts.platform.clone());
        self
    }

    /// The same, not to be overruled by force.
    #[must_use]
    pub fn unforceable(mut self) -> Self {
        self.unforceable = true;
        self
    }
}

/// Which check it is, and so whether its severity can be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// Without it nothing can be promoted.
    Fixed(&'static str),
    /// The configuration says what it does.
    Chosen(CheckName),
}

impl Name {
    /// The name in findings.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Fixed(name) => name,
            Self::Chosen(check) => check.name(),
        }
    }
}

/// One check.
#[async_trait]
pub trait Check: Send + Sync {
    /// Which one it is.
    fn name(&self) -> Name;

    /// Whether it reads the layers; such a check comes after the approval.
    fn reads_layers(&self) -> bool {
        false
    }

    /// Looks, and tells what it saw: once for the image, or once for each platform.
    ///
    /// # Errors
    /// What keeps it from looking. That is not the image's fault.
    async fn look(&self, subject: &Subject<'_>) -> Result<Vec<Observation>, Fault>;
}

/// All checks, in the order in which they are shown.
pub const ALL: &[&dyn Check] = &[
    &exists::Exists,
    &consistent::Consistent,
    &platforms::Platforms,
    &size::Size,
    &labels::Labels,
    &metadata::Metadata,
    &command::Command,
    &age::Age,
    &user::User,
    &layers::Deep,
    &scan::Scan,
    &signature::Signature,
    &provenance::Provenance,
    &sbom::Sbom,
    &ports::Ports,
    &setuid::Setuid,
    &secrets::Secrets,
    &base_image::BaseImage,
    &packages::Packages,
    &end_of_life::EndOfLife,
    &growth::Growth,
];

/// How far an image is looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// What inspection has read already.
    Headers,
    /// Everything that the policy asks for.
    Everything,
}

/// Evaluates every check that the policy asks for, all of them concurrently, and all to the end.
///
/// # Errors
/// The first thing that kept a check from looking.
pub async fn evaluate(subject: &Subject<'_>) -> Result<Vec<Finding>, Fault> {
    let asked = ALL.iter().filter(|check| {
        let off = matches!(check.name(), Name::Chosen(name) if subject.policy.severity(name) == CheckSeverity::Off);
        let unread = check.reads_layers() && subject.depth == Depth::Headers;
        !off && !unread
    });
    let looks = asked.map(|check| async move {
        let observations = check.look(subject).await?;
        Ok::<_, Fault>(observations.into_iter().map(|one| finding(subject, check.name(), one)).collect::<Vec<_>>())
    });
    Ok(futures_util::future::try_join_all(looks).await?.into_iter().flatten().collect())
}

/// What an observation means, by the policy.
fn finding(subject: &Subject<'_>, name: Name, observation: Observation) -> Finding {
    let warns = matches!(name, Name::Chosen(check) if subject.policy.severity(check) == CheckSeverity::Warn);
    let verdict = match observation.sight {
        Sight::Good => Verdict::Pass,
        Sight::Nothing => Verdict::Skipped,
        Sight::Doubtful => Verdict::Warn,
        Sight::Bad if warns => Verdict::Warn,
        Sight::Bad => Verdict::Fail,
    };
    Finding {
        check: name.text().to_owned(),
        service: subject.service.to_owned(),
        platform: observation.platform,
        verdict,
        seen: observation.seen,
        wanted: observation.wanted,
        fix: observation.fix,
        unforceable: observation.unforceable,
    }
}
