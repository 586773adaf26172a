//! What a run costs in requests and bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What was sent and received, counted by what it was for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Traffic {
    /// HTTP requests by class: those to registries by what they were for, those to GitHub by resource
    /// (`github/checks`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub requests: BTreeMap<String, u64>,
    /// Bytes of bodies received.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub received: u64,
    /// Bytes of bodies sent.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub sent: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Traffic {
    /// Adds another count to this one.
    pub fn add(&mut self, other: &Self) {
        for (class, count) in &other.requests {
            *self.requests.entry(class.clone()).or_default() += count;
        }
        self.received += other.received;
        self.sent += other.sent;
    }

    /// What came since an earlier count.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let requests = self.requests.iter().filter_map(|(class, count)| {
            let more = count.saturating_sub(earlier.requests.get(class).copied().unwrap_or_default());
            (more > 0).then(|| (class.clone(), more))
        });
        Self {
            requests: requests.collect(),
            received: self.received.saturating_sub(earlier.received),
            sent: self.sent.saturating_sub(earlier.sent),
        }
    }

    /// All requests together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.requests.values().sum()
    }
}
