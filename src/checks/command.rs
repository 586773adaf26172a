//! `command`: CMD and ENTRYPOINT are present and sane.

use async_trait::async_trait;

use super::{Check, Name, Observation, Subject};
use crate::config::{CheckName, CommandPolicy};
use crate::promotion::fault::Fault;
use crate::registry::PlatformInspection;

/// Each platform's image says what it runs.
#[derive(Debug)]
pub(super) struct Command;

/// The shells that `CMD command` and `ENTRYPOINT command` without brackets run through.
const SHELLS: [&str; 6] = ["sh", "bash", "ash", "dash", "cmd", "powershell"];

#[async_trait]
impl Check for Command {
    fn name(&self) -> Name {
        Name::Chosen(CheckName::Command)
    }

    async fn look(&self, subject: &Subject<'_>) -> Result<Vec<Observation>, Fault> {
        let policy = &subject.policy.policy.command;
        Ok(subject.inspection.platforms.iter().map(|platform| observe(platform, policy).of(platform)).collect())
    }
}

fn observe(platform: &PlatformInspection, policy: &CommandPolicy) -> Observation {
    let words: Vec<&str> =
        platform.facts.entrypoint.iter().chain(&platform.facts.command).map(String::as_str).collect();
    let whole = words.join(" ");
    let Some(first) = words.first() else {
        return Observation::bad(
            "neither CMD nor ENTRYPOINT",
            "a command",
            "add `CMD` or `ENTRYPOINT` to the Dockerfile",
        );
    };
    if first.trim().is_empty() {
        return Observation::bad("an empty command", "a command", "let `CMD` or `ENTRYPOINT` name a program");
    }
    if let Some(word) = words.iter().find(|word| word.contains('\0')) {
        return Observation::bad(format!("a NUL in `{word}`"), "words that a kernel takes", "rebuild the image");
    }
    // `CMD [ 'x' ]`: single quotes are no JSON, so that Docker takes the line for a shell's.
    if let Some(script) = shell_script(&words)
        && script.trim_start().starts_with('[')
    {
        return Observation::bad(
            format!("a list that was taken for a shell's line: {script}"),
            "a command",
            "write the list with double quotes: `CMD [\"program\", \"argument\"]`",
        );
    }
    if !policy.allow_shell && shell_script(&words).is_some() {
        return Observation::bad(
            format!("a shell's line: {whole}"),
            "a program without a shell around it",
            "write `CMD` and `ENTRYPOINT` as lists, so that the program is process 1 and gets the signals",
        );
    }
    match &policy.pattern {
        Some(pattern) => {
            let good = pattern.matches(&whole);
            Observation::either(
                good,
                whole,
                format!("`{}` in it", pattern.as_str()),
                "let the image run what is asked for",
            )
        }
        None => Observation::good(whole, "a command"),
    }
}

/// The script of a command that is a shell's line: `/bin/sh -c script`.
fn shell_script<'a>(words: &[&'a str]) -> Option<&'a str> {
    let [shell, option, script, ..] = words else { return None };
    let name = shell.rsplit(['/', '\\']).next().unwrap_or(shell).trim_end_matches(".exe");
    (SHELLS.contains(&name) && matches!(*option, "-c" | "/c" | "/S" | "-Command")).then_some(*script)
}
