//! What a driver says while it works: lines for the stage's log, without secrets.

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::config::SecretReader;

/// Takes lines of one service.
#[derive(Debug, Clone)]
pub struct Log {
    service: String,
    lines: UnboundedSender<String>,
    secrets: SecretReader,
}

impl Log {
    /// A log, and where its lines arrive. What `secrets` has read is not in them.
    #[must_use]
    pub fn new(service: &str, secrets: &SecretReader) -> (Self, UnboundedReceiver<String>) {
        let (lines, receiver) = unbounded_channel();
        (Self { service: service.to_owned(), lines, secrets: secrets.clone() }, receiver)
    }

    /// The same for another service: its lines arrive at the same place.
    #[must_use]
    pub fn of(&self, service: &str) -> Self {
        Self { service: service.to_owned(), ..self.clone() }
    }

    /// Says something: one or more lines, which others may have written.
    pub fn say(&self, text: &str) {
        for line in self.secrets.redact(text).lines().filter(|line| !line.trim().is_empty()) {
            // Nobody listens any more when the stage is over.
            let _ = self.lines.send(format!("{}: {line}", self.service));
        }
    }
}
