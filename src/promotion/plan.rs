//! The plan: what a run is going to do, word for word, so that people can say yes to exactly that.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::image::{Reference, Repository, Tag};
use super::stage::Stage;

/// What a run is going to do. Its hash is what an approval is bound to.
///
/// It holds digests, targets with what they point to now, the configuration's checksum and those of input files; never
/// what a gate observed, because that changes while people think.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Plan {
    /// The environment that everything goes into.
    pub environment: String,
    /// What goes into it, in the order of the configuration.
    pub candidates: Vec<Planned>,
    /// The stages that have something to do.
    pub stages: Vec<Stage>,
    /// The checksum of the checked configuration of this environment; none where the run has no configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<Digest>,
    /// Files that later stages read, as they were when the plan was made.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, Digest>,
}

/// One candidate in a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Planned {
    /// The service.
    pub service: String,
    /// The image and where it goes; none for a service without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<PlannedImage>,
    /// The version that the driver is given, for a service without an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// An image in a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PlannedImage {
    /// Where it comes from, as it was named.
    pub source: Reference,
    /// The digest that the source was resolved to: what is promoted.
    pub digest: Digest,
    /// The repository that it goes to.
    pub target: Repository,
    /// The tags that will point to it, the environment's own first.
    pub tags: Vec<PlannedTag>,
}

impl PlannedImage {
    /// Whether content must be brought to another repository.
    #[must_use]
    pub fn crosses_repositories(&self) -> bool {
        self.source.repository != self.target
    }

    /// The digest that the environment's own tag points to now: what this promotion replaces.
    #[must_use]
    pub fn previous(&self) -> Option<&Digest> {
        self.tags.iter().find(|tag| !tag.immutable).and_then(|tag| tag.previous.as_ref())
    }

    /// Whether every tag is where it will be.
    #[must_use]
    pub fn is_in_place(&self) -> bool {
        self.tags.iter().all(|tag| tag.previous.as_ref() == Some(&self.digest))
    }
}

/// A tag in a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PlannedTag {
    /// The tag.
    pub tag: Tag,
    /// Whether it may never move once it exists.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub immutable: bool,
    /// What it points to now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Digest>,
}

impl Plan {
    /// The plan's hash: SHA-256 over its canonical JSON (fields in the order of this type, maps by key).
    #[must_use]
    pub fn hash(&self) -> Digest {
        // Serialising these types cannot fail: no map has a key that is not a string.
        Digest::sha256(serde_json::to_string(self).unwrap_or_default().as_bytes())
    }

    /// The candidate of a service.
    #[must_use]
    pub fn candidate(&self, service: &str) -> Option<&Planned> {
        self.candidates.iter().find(|planned| planned.service == service)
    }

    /// Whether a stage has something to do.
    #[must_use]
    pub fn includes(&self, stage: Stage) -> bool {
        self.stages.contains(&stage)
    }
}

/// What a plan will cost, for people; not part of what is approved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Estimate {
    /// Requests of the copy at the least.
    pub requests: u64,
    /// Bytes that pass through this machine, where layers have to be streamed.
    pub bytes: u64,
    /// What else should be known of it before it is begun.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
}
