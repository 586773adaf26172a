//! What people are told of the most common outcomes, in every format: held to the limits, and to what it was before; and that
//! nothing that others write gets through. What it was is in the snapshots, which `tests/messages` holds to the published
//! schemas.

use std::collections::BTreeMap;

use serde_json::Value;

use super::message::Message;
use super::routing::{Line, Post, kind_of};
use super::{Channel, Letter, Receipt, Refused};
use super::{blocks, github, mail, pagerduty, teams, webhook};
use crate::config::{self, ChannelKind, NotifyEvent};
use crate::promotion::event::Event;
use crate::promotion::retry::RetryPolicy;
use crate::promotion::stories::{Story, hostile, outcomes};

/// A channel that takes everything.
#[derive(Debug)]
struct Anybody;

#[async_trait::async_trait]
impl Channel for Anybody {
    async fn send(&self, _: &Letter) -> Result<Receipt, Refused> {
        Ok(Receipt::sent())
    }
}

fn post(on: &[NotifyEvent]) -> Post {
    let settings = config::Channel {
        kind: ChannelKind::Github(config::GithubComment::PullRequest),
        on: on.iter().copied().collect(),
        at_least: None,
        environments: Vec::new(),
        templates: indexmap::IndexMap::new(),
    };
    let line = Line { name: "all".to_owned(), settings, channel: std::sync::Arc::new(Anybody) };
    Post { lines: vec![line], retry: RetryPolicy::default() }
}

/// What a channel that wants these events is told of a story, in order; events and what the run was then.
fn told(story: &Story, on: &[NotifyEvent]) -> Vec<Letter> {
    let post = post(on);
    let mut letters = Vec::new();
    let mut told = Vec::new();
    for end in 1..=story.records.len() {
        let run = crate::promotion::run::Run::fold(&story.records[..end]).unwrap();
        for event in post.queue(&run, &story.records[end - 1].event) {
            let Event::NotificationQueued { topic, .. } = event else { unreachable!() };
            // The stories' own notifications are of other channels.
            if !told.contains(&topic) {
                let message = Message::about(&run, kind_of(&topic).unwrap(), &topic);
                letters.push(Letter { message, words: None, first: None, channel: "all".to_owned() });
                told.push(topic);
            }
        }
    }
    letters
}

/// The events of letters.
fn events(letters: &[Letter]) -> Vec<&'static str> {
    letters.iter().map(|letter| letter.message.event.name()).collect()
}

/// Every text in a JSON value.
fn texts<'a>(value: &'a Value, into: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => into.push(text),
        Value::Array(items) => items.iter().for_each(|item| texts(item, into)),
        Value::Object(entries) => entries.values().for_each(|item| texts(item, into)),
        _ => {}
    }
}

/// Slack's limits, which its schema does not know.
fn within_slacks_limits(message: &Value) {
    let blocks = message["blocks"].as_array().unwrap();
    assert!(blocks.len() <= 50);
    assert!(blocks[0]["text"]["text"].as_str().unwrap().chars().count() <= 150);
    let mut all = Vec::new();
    texts(&message["blocks"], &mut all);
    assert!(all.iter().all(|text| text.chars().count() <= 3000));
    assert!(all.iter().map(|text| text.chars().count()).sum::<usize>() < 13_000);
    assert!(message["text"].as_str().unwrap().chars().count() <= 3000);
}

#[test]
fn every_outcome_is_told_as_what_it_is() {
    let found: BTreeMap<&str, Vec<&str>> =
        outcomes().iter().map(|(name, story)| (*name, events(&told(story, NotifyEvent::ALL)))).collect();
    let expected = BTreeMap::from([
        ("succeeded", vec!["started", "promoted", "succeeded"]),
        ("nothing to do", vec![]),
        ("validation failed", vec!["started", "validation-failed"]),
        ("forced", vec!["started", "promoted", "succeeded"]),
        ("lock taken", vec!["started", "failed"]),
        ("image absent", vec!["failed"]),
        ("registry unreachable", vec!["started", "failed"]),
        ("waiting", vec!["started", "approval-needed"]),
        ("interrupted", vec!["started"]),
        ("recovered", vec!["started", "promoted", "recovered"]),
        ("rolled back", vec!["started", "promoted", "rolled-back"]),
        ("rollback failed", vec!["started", "promoted", "rollback-failed"]),
        ("degraded", vec!["started", "promoted", "degraded"]),
        ("inconclusive", vec!["started", "promoted", "inconclusive"]),
        ("approved", vec!["started", "approval-needed", "approved", "promoted", "succeeded"]),
        ("rejected", vec!["started", "approval-needed", "rejected"]),
        ("timed out", vec!["started", "approval-needed", "approval-reminder", "timed-out"]),
        ("drift", vec!["drift"]),
        ("as it should be", vec![]),
    ]);
    assert_eq!(found, expected);
}

#[test]
fn whoever_asks_for_failures_hears_of_each_once_under_that_name() {
    for (name, story) in outcomes() {
        let failed = [
            "validation failed",
            "lock taken",
            "image absent",
            "registry unreachable",
            "rolled back",
            "rollback failed",
            "inconclusive",
            "drift",
        ];
        let expected = if failed.contains(&name) { vec!["failed"] } else { vec![] };
        assert_eq!(events(&told(&story, &[NotifyEvent::Failed])), expected, "{name}");
    }
}

#[test]
fn messages_fit_the_limits_and_are_what_they_were() {
    for (name, story) in outcomes().into_iter().chain([("hostile", hostile())]) {
        let mut shown = String::new();
        for letter in told(&story, NotifyEvent::ALL) {
            let (message, team) = (blocks::blocks(&letter), teams::message(&letter));
            within_slacks_limits(&message);
            shown.push_str(&format!("=== {}\n--- slack\n{message:#}\n--- teams\n{team:#}\n", letter.message.event));
            // Of what is as long as it may be, two forms say enough.
            if name != "hostile" {
                let mail = mail::content(&letter);
                shown.push_str(&format!(
                    "--- mail\n{}\n{}\n--- html\n{}\n--- github\n{}\n--- webhook\n{:#}\n--- pagerduty\n{:#}\n\n",
                    mail.subject,
                    mail.text,
                    mail.html,
                    github::body(&letter),
                    webhook::body(&letter),
                    pagerduty::event(&letter),
                ));
            }
        }
        insta::assert_snapshot!(name.replace(' ', "-"), shown);
    }
}

#[test]
fn nothing_that_others_write_gets_through_and_nothing_is_too_long() {
    let letters = told(&hostile(), NotifyEvent::ALL);
    assert_eq!(events(&letters), ["started", "validation-failed"]);
    for mut letter in letters {
        for words in [None, Some(letter.message.facts[1].1.repeat(2))] {
            letter.words = words;
            let (message, team, mail) = (blocks::blocks(&letter), teams::message(&letter), mail::content(&letter));
            within_slacks_limits(&message);
            // The fallback is markup; everything else is shown as it is.
            let fallback = message["text"].as_str().unwrap();
            assert!(!fallback.contains("<!") && !fallback.contains("<@"), "{fallback}");
            let mut elements = Vec::new();
            collect(&message["blocks"], "type", &mut elements);
            let known = ["header", "plain_text", "rich_text", "rich_text_section", "text", "link"];
            assert!(elements.iter().all(|element| known.contains(element)), "{elements:?}");

            assert!(team.to_string().len() <= teams::LARGEST);
            assert!(!team.to_string().contains("{{"), "{team}");
            let mut elements = Vec::new();
            collect(&team, "type", &mut elements);
            // Markdown is read in text blocks and facts, and there are none.
            assert!(!elements.iter().any(|element| ["TextBlock", "FactSet"].contains(element)), "{elements:?}");

            assert!(!mail.subject.contains(['\r', '\n']));
            assert!(!mail.html.contains("<b onload") && !mail.html.contains("<@"), "{}", mail.html);
            assert!(mail.html.len() < 200_000);

            let comment = github::body(&letter);
            assert!(comment.chars().count() < 65_000);
            for sequence in ["@everyone", "@acme/team", "<b onload", "](https://evil.test)"] {
                let outside: String = comment.split('`').step_by(2).collect();
                assert!(!outside.contains(sequence), "{sequence}: {outside}");
            }
            let event = pagerduty::event(&letter);
            assert!(event.to_string().len() < 512 * 1024);
            if let Some(summary) = event["payload"]["summary"].as_str() {
                assert!(summary.chars().count() <= 1024);
            }
            for text in [&mail.text, &mail.html, &comment, &message.to_string(), &team.to_string(), &event.to_string()]
            {
                assert!(!text.contains('\u{202e}') && !text.contains('\u{1b}') && !text.contains("\\u001b"), "{text}");
                assert!(!text.contains("##[") && !text.lines().any(|line| line.starts_with("::")), "{text}");
            }
        }
    }
}

/// Every value of a key, at any depth.
fn collect<'a>(value: &'a Value, key: &str, into: &mut Vec<&'a str>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, key, into)),
        Value::Object(entries) => {
            into.extend(entries.get(key).and_then(Value::as_str));
            entries.values().for_each(|item| collect(item, key, into));
        }
        _ => {}
    }
}
