//! Signals. In the container we are process 1, which has no default actions: a signal without a handler is ignored.

use tokio::signal::unix::{SignalKind, signal};

use crate::promotion::fault::Exit;

/// A signal that asks us to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// SIGINT: what the runner sends first when a job is cancelled.
    Interrupt,
    /// SIGTERM: what it sends 7.5 seconds later, and what `docker stop` sends.
    Terminate,
}

impl Stop {
    /// The signal's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }

    /// The exit code that tells of it.
    #[must_use]
    pub const fn exit(self) -> Exit {
        match self {
            Self::Interrupt => Exit::Interrupted,
            Self::Terminate => Exit::Terminated,
        }
    }
}

/// Listens for both signals from now on.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn listen() -> std::io::Result<tokio::sync::mpsc::Receiver<Stop>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    tokio::spawn(async move {
        loop {
            let stop = tokio::select! {
                _ = interrupt.recv() => Stop::Interrupt,
                _ = terminate.recv() => Stop::Terminate,
            };
            if sender.send(stop).await.is_err() {
                break;
            }
        }
    });
    Ok(receiver)
}
