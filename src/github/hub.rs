//! GitHub, and the repository there that a run belongs to.

use std::sync::Arc;

use super::{GitHub, RepositoryName};

/// GitHub, and the repository there that a run belongs to.
#[derive(Debug, Clone)]
pub struct Hub {
    /// The client.
    pub github: Arc<GitHub>,
    /// The repository.
    pub repository: RepositoryName,
    /// Whether it is only read: a rehearsal tells nobody of itself.
    pub only_read: bool,
}

impl Hub {
    /// The same, only to be read.
    #[must_use]
    pub fn to_read(&self) -> Self {
        Self { only_read: true, ..self.clone() }
    }

    /// GitHub, where something may be written to it.
    #[must_use]
    pub fn to_write(this: Option<&Self>) -> Option<&Self> {
        this.filter(|hub| !hub.only_read)
    }
}
