//! Telling people: who is told what, in which words, and how it gets to them.
//!
//! | file | what it does |
//! |---|---|
//! | `routing` | from what happens in a run to who is told; pure |
//! | `message` | what they are told, from the run's events alone; pure |
//! | `outbox` | sends what is on record, in order for each channel, and tells how it ended |
//! | `call` | one HTTP request to a channel, its answer and whether it is worth another |
//! | `slack`, `slack_bot`, `teams`, `smtp`, `brevo`, `github`, `webhook`, `pagerduty` | the channels |
//! | `blocks`, `mail` | what two channels have in common: Slack's blocks, a mail's text |
//!
//! A notification is queued in the transaction of the event that causes it and sent after that. Nothing that happens
//! here changes the verdict of a run.

mod blocks;
mod brevo;
mod build;
mod call;
mod github;
mod mail;
pub mod message;
mod outbox;
mod pagerduty;
mod routing;
#[cfg(test)]
mod shown;
mod slack;
mod slack_bot;
mod smtp;
mod teams;
mod webhook;

use std::fmt;

use async_trait::async_trait;
use uuid::Uuid;

use crate::promotion::event::Delivery;
use crate::promotion::retry::RetryClass;

pub use build::{Means, build};
pub use message::Message;
pub use outbox::{Outbox, Settled, dispatch};
pub use routing::{Line, Post};

/// A way to tell people.
#[async_trait]
pub trait Channel: Send + Sync + fmt::Debug {
    /// Sends a message once.
    ///
    /// # Errors
    /// Why the channel does not have it, and whether that may pass.
    async fn send(&self, letter: &Letter) -> Result<Receipt, Refused>;
}

/// A message on its way to one channel.
#[derive(Debug, Clone)]
pub struct Letter {
    /// What is told.
    pub message: Message,
    /// The words that the configuration has for this event, filled in; in place of the message's own text.
    pub words: Option<String>,
    /// By what the channel knows the first message about the same run.
    pub first: Option<String>,
    /// The channel's name in the configuration.
    pub channel: String,
}

impl Letter {
    /// What is said beside the title.
    #[must_use]
    pub fn text(&self) -> &str {
        self.words.as_deref().unwrap_or(&self.message.text)
    }

    /// What identifies this message to this channel, the same in every attempt.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}/{}", self.message.key, self.channel)
    }

    /// The same as a UUID.
    #[must_use]
    pub fn id(&self) -> String {
        Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("tidegate:{}", self.key()).as_bytes()).to_string()
    }
}

/// What a channel says that took a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Whether it has it, or only promises.
    pub delivery: Delivery,
    /// By what it knows the message, where a later one refers to it.
    pub reference: Option<String>,
}

impl Receipt {
    /// The channel has it.
    #[must_use]
    pub const fn sent() -> Self {
        Self { delivery: Delivery::Sent, reference: None }
    }

    /// The channel took it, and does not tell whether it arrives.
    #[must_use]
    pub const fn accepted() -> Self {
        Self { delivery: Delivery::Accepted, reference: None }
    }
}

/// Why a channel did not take a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Why; may quote the other side, never the channel's address.
    pub why: String,
    /// Whether it is worth another attempt.
    pub class: RetryClass,
}

impl Refused {
    /// It will be refused again.
    #[must_use]
    pub fn finally(why: impl Into<String>) -> Self {
        Self { why: why.into(), class: RetryClass::Final }
    }

    /// It may pass.
    #[must_use]
    pub fn for_now(why: impl Into<String>) -> Self {
        Self { why: why.into(), class: RetryClass::Passing { after: None } }
    }
}
