//! `operation: notify`: people are told something that is not a run's, by the same channels.

use futures_util::future::join_all;

use crate::config::NotifyEvent;
use crate::notify::message::without_run;
use crate::notify::{Letter, Message, Post, Settled, dispatch};
use crate::promotion::fault::Severity;

/// What is told.
#[derive(Debug, Clone)]
pub struct Announcement {
    /// What kind of thing it is.
    pub event: NotifyEvent,
    /// How bad it is, where it is not as bad as usual.
    pub severity: Option<Severity>,
    /// What is said: the first line is the title.
    pub message: String,
    /// The environment that it is about.
    pub environment: Option<String>,
    /// Names and values.
    pub facts: Vec<(String, String)>,
    /// The address of the workflow run.
    pub url: Option<String>,
    /// The commit.
    pub commit: Option<String>,
    /// What it is about, for channels that put together what belongs together.
    pub subject: String,
    /// What identifies it.
    pub key: String,
}

/// Tells it to all channels of the post at the same time, and gives what became of it for each.
pub async fn announce(post: &Post, announcement: &Announcement) -> Vec<Settled> {
    let message = message(announcement);
    join_all(post.lines.iter().map(|line| {
        let letter = Letter { words: None, message: message.clone(), first: None, channel: line.name.clone() };
        async move {
            let (attempts, result) = dispatch(line.channel.as_ref(), &letter, post.retry).await;
            Settled {
                topic: letter.message.event.name().to_owned(),
                channel: line.name.clone(),
                attempts,
                result: result.map_err(|refused| refused.why),
            }
        }
    }))
    .await
}

fn message(announcement: &Announcement) -> Message {
    let said = announcement.message.trim();
    let (title, text) = said.split_once('\n').unwrap_or((said, ""));
    let severity = announcement.severity.unwrap_or(announcement.event.severity());
    let mut values = without_run();
    values.extend([
        ("event", announcement.event.name().into()),
        ("severity", severity.name().into()),
        ("message", said.into()),
        ("environment", announcement.environment.clone().unwrap_or_default().into()),
        ("revision", announcement.commit.clone().unwrap_or_default().into()),
        ("url", announcement.url.clone().unwrap_or_default().into()),
    ]);
    Message {
        event: announcement.event,
        severity,
        title: title.trim().to_owned(),
        text: text.trim().to_owned(),
        facts: announcement.facts.clone(),
        links: announcement.url.iter().map(|url| ("Workflow run".to_owned(), url.clone())).collect(),
        at: chrono::Utc::now(),
        key: announcement.key.clone(),
        subject: announcement.subject.clone(),
        run: None,
        commit: announcement.commit.clone(),
        values,
    }
}
