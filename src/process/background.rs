//! A program that runs beside us, until it is dropped.

use std::process::ExitStatus;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::ChildStdin;

use super::captured::{Capture, Captured};
use super::{ProcessError, Program, Running};

/// A program that runs beside us. It ends, with all that it has started, when this is dropped.
pub struct Background {
    running: Running,
    name: String,
    stdin: Option<ChildStdin>,
    stdout: Capture,
    stderr: Capture,
}

impl Background {
    pub(super) fn new(program: &Program, mut running: Running) -> Self {
        let stdin = running.child.stdin.take();
        let stdout = Capture::of(running.child.stdout.take(), program.output_limit);
        let stderr = Capture::of(running.child.stderr.take(), program.output_limit);
        Self { running, name: program.name(), stdin, stdout, stderr }
    }

    /// Writes to its standard input, which stays open.
    ///
    /// # Errors
    /// When it reads no more.
    pub async fn say(&mut self, text: &str) -> Result<(), ProcessError> {
        let Some(stdin) = &mut self.stdin else { return Ok(()) };
        let written = async {
            stdin.write_all(text.as_bytes()).await?;
            stdin.flush().await
        };
        written.await.map_err(|error| ProcessError::Lost { program: self.name.clone(), why: error.to_string() })
    }

    /// What it has printed on standard output so far (untrusted).
    #[must_use]
    pub fn stdout(&self) -> Captured {
        self.stdout.so_far()
    }

    /// What it has printed on standard error so far (untrusted).
    #[must_use]
    pub fn stderr(&self) -> Captured {
        self.stderr.so_far()
    }

    /// How it ended; none while it runs.
    ///
    /// # Errors
    /// When that cannot be learned.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>, ProcessError> {
        let ended = self.running.child.try_wait();
        ended.map_err(|error| ProcessError::Lost { program: self.name.clone(), why: error.to_string() })
    }

    /// Waits for what it still has to say after its end.
    pub async fn last_words(&mut self, patience: Duration) -> Captured {
        self.stderr.finish(patience).await
    }
}
