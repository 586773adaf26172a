//! Messages as people get them, held to what Slack and Microsoft have published.
//!
//! The messages are the snapshots of `src/notify`, which the library's own tests hold to what is sent. The schemas are not
//! part of the project. Where their folder (`TIDEGATE_MESSAGES`, or `data/messages` of what is shared beside the checkout)
//! is absent, the cases are reported as ignored, by name.

#![allow(clippy::expect_used, reason = "a test may give up with a clear message")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use jsonschema::Validator;
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;

/// A form of a message: its name in the snapshots, its schema, and where what the schema describes is in it.
const FORMS: [(&str, &str, &str); 2] =
    [("slack", "slack-message-3.2.0.schema.json", ""), ("teams", "adaptive-card-1.5.0.json", "/attachments/0/content")];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    let snapshots = snapshots();
    for (form, schema, place) in FORMS {
        let schema = folder().join(schema);
        let absent = !schema.exists();
        let validator = (!absent).then(|| Arc::new(validator(&schema)));
        for (name, path) in &snapshots {
            let (path, validator) = (path.clone(), validator.clone());
            let trial = Trial::test(format!("messages::{form}::{name}"), move || match validator {
                Some(validator) => check(&path, form, place, &validator),
                None => Err("there is no schema".into()),
            });
            trials.push(trial.with_ignored_flag(absent));
        }
        // What accepts everything would prove nothing.
        let trial = Trial::test(format!("messages::{form}::refuses_what_is_wrong"), move || match validator {
            Some(validator) => refuses(form, &validator),
            None => Err("there is no schema".into()),
        });
        trials.push(trial.with_ignored_flag(absent));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn folder() -> PathBuf {
    std::env::var_os("TIDEGATE_MESSAGES")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared").join("data/messages"), PathBuf::from)
}

/// The snapshots with messages, by the name of the outcome.
fn snapshots() -> Vec<(String, PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/notify/snapshots");
    let entries = std::fs::read_dir(folder).expect("the snapshots of the messages");
    let mut snapshots: Vec<(String, PathBuf)> = entries
        .filter_map(|entry| {
            let path = entry.expect("a snapshot").path();
            let name = path.file_name()?.to_str()?.strip_suffix(".snap")?.rsplit("__").next()?.to_owned();
            Some((name, path))
        })
        .collect();
    snapshots.sort();
    assert!(snapshots.len() >= 12, "{snapshots:?}");
    snapshots
}

fn validator(path: &Path) -> Validator {
    let text = std::fs::read_to_string(path).expect("a schema");
    let mut schema: Value = serde_json::from_str(&text).expect("a schema in JSON");
    if let Some(object) = schema.as_object_mut() {
        // The draft before the one that it is read as calls its address so.
        object.remove("id");
    }
    jsonschema::draft7::new(&schema).expect("a schema")
}

/// Every message of this form in a snapshot is valid. An outcome that nobody is told of has none.
fn check(path: &Path, form: &str, place: &str, validator: &Validator) -> Result<(), Failed> {
    let text = std::fs::read_to_string(path)?;
    let silent = !text.contains("=== ");
    let mut seen = 0;
    for part in text.split("--- ").filter_map(|part| part.strip_prefix(form)?.strip_prefix('\n')) {
        // What comes after the message is the next form.
        let mut values = serde_json::Deserializer::from_str(part).into_iter::<Value>();
        let message = values.next().ok_or("a form without a message")??;
        let mut message = message.pointer(place).ok_or("there is nothing where the schema begins")?.clone();
        if let Some(object) = message.as_object_mut() {
            object.remove("$schema");
        }
        let errors: Vec<String> = validator.iter_errors(&message).map(|error| error.to_string()).collect();
        if !errors.is_empty() {
            return Err(format!("{errors:#?} in {message:#}").into());
        }
        seen += 1;
    }
    if seen == 0 && !silent { Err("no message was found".into()) } else { Ok(()) }
}

fn refuses(form: &str, validator: &Validator) -> Result<(), Failed> {
    let wrong = match form {
        "slack" => serde_json::json!({ "text": "x", "blocks": [{ "type": "no such block" }] }),
        _ => serde_json::json!({ "type": "AdaptiveCard", "version": "1.5", "body": [{ "type": "TextBlock" }] }),
    };
    if validator.is_valid(&wrong) { Err(format!("it takes {wrong}").into()) } else { Ok(()) }
}
