//! What changes the world: announced before, told after.

use serde::{Deserialize, Serialize};

use super::deployment::{Deployed, Release, Running};
use super::digest::Digest;
use super::fault::Code;
use super::identity::DeploymentId;
use super::image::{Reference, Repository, Tag};

/// Something that a stage is about to do to the world.
///
/// It is recorded before it is done. A visit that finds one without an outcome looks at the world to learn what
/// became of it; so each act names all that a look needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "act", rename_all = "kebab-case")]
pub enum Act {
    /// Bring an image's content, with what is attached to it, to another repository; no tag moves.
    CopyContent {
        /// The service.
        service: String,
        /// The image, by digest.
        from: Reference,
        /// The repository that it goes to.
        to: Repository,
    },
    /// Keep what a tag points to alive under a tag of our own, so that going back is one request.
    KeepPrevious {
        /// The service.
        service: String,
        /// The repository.
        repository: Repository,
        /// The tag that keeps it.
        tag: Tag,
        /// What is kept.
        digest: Digest,
    },
    /// Point tags to their new digests, all together.
    MoveTags {
        /// The tags.
        moves: Vec<TagMove>,
    },
    /// Bring a database forward.
    Migrate {
        /// The services whose database it is.
        services: String,
        /// By what.
        tool: String,
        /// The migrations that were pending; empty where the tool does not tell.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        migrations: Vec<String>,
    },
    /// Put a service's candidate in place by its driver.
    Deploy {
        /// The service.
        service: String,
        /// The driver.
        driver: String,
        /// What is put in place.
        to: Box<Release>,
        /// What ran before, as the driver said; empty where it cannot tell.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        from: Vec<Running>,
        /// What is put back when this run takes the deployment back; none where nothing is known of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<Box<Release>>,
    },
    /// Put back what a service was before a deployment.
    RollBackDeployment {
        /// The service.
        service: String,
        /// The driver.
        driver: String,
        /// What is put back.
        to: Box<Release>,
        /// The run whose deployment is taken back.
        undoes: DeploymentId,
    },
}

/// One tag's move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TagMove {
    /// The service.
    pub service: String,
    /// The repository.
    pub repository: Repository,
    /// The tag.
    pub tag: Tag,
    /// What it pointed to when it was last looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Digest>,
    /// What it will point to.
    pub to: Digest,
    /// Whether it may never move once it exists.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub immutable: bool,
}

impl Act {
    /// Whether it changes what an environment is: from then on a run never abandons. Content without a tag, and a tag
    /// of our own, harm nobody.
    #[must_use]
    pub const fn changes_the_world(&self) -> bool {
        match self {
            Self::CopyContent { .. } | Self::KeepPrevious { .. } => false,
            Self::MoveTags { .. } | Self::Migrate { .. } | Self::Deploy { .. } | Self::RollBackDeployment { .. } => {
                true
            }
        }
    }

    /// A short name for logs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::CopyContent { .. } => "copy-content",
            Self::KeepPrevious { .. } => "keep-previous",
            Self::MoveTags { .. } => "move-tags",
            Self::Migrate { .. } => "migrate",
            Self::Deploy { .. } => "deploy",
            Self::RollBackDeployment { .. } => "roll-back-deployment",
        }
    }
}

/// What became of an act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// The content is in place.
    ContentCopied(CopyStats),
    /// What was there before is kept.
    PreviousKept,
    /// Every tag points to its new digest.
    TagsMoved {
        /// Whether this was found by looking, after a visit that was cut off.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        found: bool,
    },
    /// The database is brought forward.
    Migrated {
        /// The migrations that were applied.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        applied: Vec<String>,
    },
    /// The release is in place, and runs as far as the driver can tell.
    Deployed(Box<Deployed>),
    /// It was refused, and nothing was changed.
    NotBegun {
        /// Why.
        code: Code,
        /// The same in words.
        message: String,
    },
    /// It was not done, or not wholly.
    Failed {
        /// Why.
        code: Code,
        /// The same in words.
        message: String,
    },
}

impl Outcome {
    /// Whether the act was done.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        !matches!(self, Self::Failed { .. } | Self::NotBegun { .. })
    }

    /// Why it was not done.
    #[must_use]
    pub const fn code(&self) -> Option<Code> {
        match self {
            Self::Failed { code, .. } | Self::NotBegun { code, .. } => Some(*code),
            _ => None,
        }
    }
}

/// What a copy of content did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct CopyStats {
    /// Manifests of the image written below its root; the root is written with its first tag.
    pub manifests: u64,
    /// Blobs of the image that the registry mounted or already had: no byte passed through this machine.
    pub mounted: u64,
    /// Blobs of the image streamed through this machine.
    pub streamed: u64,
    /// Blobs that are never copied: foreign layers, which live elsewhere.
    pub foreign: u64,
    /// Bytes of the streamed blobs.
    pub bytes: u64,
    /// Signatures, attestations, SBOMs and the like that travelled with the image.
    pub attached: u64,
}
