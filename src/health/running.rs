//! What runs, told by who puts it in place: it must be what was promoted.

use std::time::Duration;

use async_trait::async_trait;

use super::{Good, Miss, Question, shown};
use crate::promotion::deployment::{Release, Running, differences};
use crate::promotion::digest::Digest;
use crate::promotion::fault::Fault;

/// Somebody who can tell what runs.
#[async_trait]
pub trait Teller: Send + Sync {
    /// What runs, one entry for each place. Changes nothing, and is safe to drop at any time.
    ///
    /// # Errors
    /// What keeps it from looking.
    async fn running(&self) -> Result<Vec<Running>, Fault>;
}

/// What must run.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The release.
    pub release: Release,
    /// Other digests under which it may run: those of its platforms' manifests.
    pub names: Vec<Digest>,
}

pub(super) struct RunningDigest {
    pub(super) teller: Box<dyn Teller>,
    pub(super) wanted: Wanted,
    pub(super) patience: Duration,
}

#[async_trait]
impl Question for RunningDigest {
    async fn ask(&self, identity: bool) -> Result<Good, Miss> {
        // Which version it is, is all that can be asked.
        if !identity {
            return Ok(Good::default());
        }
        // That it cannot be told says nothing of what runs.
        let told = tokio::time::timeout(self.patience, self.teller.running()).await;
        let running = told
            .map_err(|_| Miss::Ours(format!("what runs was not told within {}", shown(self.patience))))?
            .map_err(|fault| Miss::Ours(fault.message))?;
        let others = differences(&self.wanted.release, &self.wanted.names, &running);
        match others.as_slice() {
            [] => Ok(Good::default()),
            others => {
                Err(Miss::Failed(format!("{} should run, and what runs is {}", self.wanted.release, others.join(", "))))
            }
        }
    }

    fn shows_identity(&self) -> bool {
        true
    }
}
