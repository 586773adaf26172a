//! What a comment answers: the command in it, if there is one. Pure.

use serde::{Deserialize, Serialize};

/// The length of the code that an answer carries.
pub(super) const CODE_LENGTH: usize = 12;

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// `/approve`.
    Approve,
    /// `/reject`.
    Reject,
}

/// A comment that says yes and no.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Contradiction;

/// What a comment commands.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) answer: Answer,
    pub(super) code: Option<String>,
    pub(super) remark: String,
}

/// The command in a comment, if there is one.
///
/// It begins a line that readers see as text: not one in a quote, in code, or in an HTML comment.
pub(super) fn read(body: &str) -> Option<Result<Command, Contradiction>> {
    let mut found: Option<Command> = None;
    let mut talk = Vec::new();
    for line in visible_lines(body) {
        let Some(command) = command_of(&line) else {
            talk.push(line);
            continue;
        };
        match &found {
            Some(first) if first.answer != command.answer => return Some(Err(Contradiction)),
            Some(_) => {}
            None => found = Some(command),
        }
    }
    let mut command = found?;
    talk.insert(0, std::mem::take(&mut command.remark));
    command.remark = talk.join("\n").trim().to_owned();
    Some(Ok(command))
}

/// A line's command, e.g. `/approve 0123456789ab looks good`.
fn command_of(line: &str) -> Option<Command> {
    let rest = line.trim().strip_prefix('/')?;
    let (word, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let answer = match word.to_ascii_lowercase().as_str() {
        "approve" => Answer::Approve,
        "reject" => Answer::Reject,
        _ => return None,
    };
    let rest = rest.trim_start();
    let (first, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let bare = first.trim_matches('`');
    if bare.len() == CODE_LENGTH && bare.bytes().all(|b| b.is_ascii_hexdigit()) {
        Some(Command { answer, code: Some(bare.to_owned()), remark: after.trim().to_owned() })
    } else {
        Some(Command { answer, code: None, remark: rest.to_owned() })
    }
}

/// The lines of a comment that are shown as text: without HTML comments, quotes, and code.
fn visible_lines(body: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut fence: Option<char> = None;
    for line in without_html_comments(body).lines() {
        let trimmed = line.trim_start();
        let mark = trimmed.chars().next().filter(|c| matches!(c, '`' | '~'));
        let is_fence = mark.is_some_and(|c| trimmed.chars().take_while(|other| *other == c).count() >= 3);
        match (fence, mark) {
            (None, Some(c)) if is_fence => fence = Some(c),
            (Some(open), Some(c)) if is_fence && open == c => fence = None,
            (Some(_), _) => {}
            (None, _) => {
                let code = line.starts_with("    ") || line.starts_with('\t');
                if !code && !trimmed.starts_with('>') {
                    lines.push(line.to_owned());
                }
            }
        }
    }
    lines
}

fn without_html_comments(body: &str) -> String {
    let mut out = String::with_capacity(body.len());
    let mut rest = body;
    while let Some((before, after)) = rest.split_once("<!--") {
        out.push_str(before);
        // What is never closed hides all the rest.
        rest = after.split_once("-->").map_or("", |(_, rest)| rest);
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const YES: &str = "/approve 0123456789ab";

    fn seen(body: &str) -> Option<(Answer, Option<String>)> {
        read(body).map(|command| command.unwrap()).map(|command| (command.answer, command.code))
    }

    #[test]
    fn only_a_line_of_shown_text_is_a_command() {
        for body in [
            format!("> {YES}"),
            format!("    {YES}"),
            format!("\t{YES}"),
            format!("```\n{YES}\n```"),
            format!("~~~\n```\n{YES}\n~~~"),
            format!("<!--\n{YES}\n-->"),
            format!("<!-- {YES}"),
            format!("I would say {YES}"),
            "/approved 0123456789ab".to_owned(),
            "lgtm".to_owned(),
            String::new(),
        ] {
            assert_eq!(seen(&body), None, "{body}");
        }
        for body in [
            YES.to_uppercase(),
            format!("  {YES}\r\n"),
            format!("Looks good.\n\n{YES} after the fix\nThanks"),
            "/Approve `0123456789ab`".to_owned(),
            format!("{YES}\n{YES}"),
            format!("```\ncode\n```\n{YES}"),
            format!("<!-- hidden -->{YES}"),
        ] {
            let (answer, code) = seen(&body).unwrap();
            assert_eq!(
                (answer, code.unwrap().to_ascii_lowercase().as_str()),
                (Answer::Approve, "0123456789ab"),
                "{body}"
            );
        }
        assert_eq!(seen("/reject"), Some((Answer::Reject, None)));
        assert_eq!(seen("/approve 0123456789a"), Some((Answer::Approve, None)));
        assert_eq!(read(&format!("{YES}\n/reject")), Some(Err(Contradiction)));
    }

    #[test]
    fn the_remark_is_what_was_said_beside_the_command() {
        let remark = |body: &str| read(body).unwrap().unwrap().remark;
        assert_eq!(remark(&format!("Looks good.\n{YES} after the fix\nThanks")), "after the fix\nLooks good.\nThanks");
        assert_eq!(remark("/reject not yet"), "not yet");
        assert_eq!(remark(YES), "");
    }

    proptest! {
        #[test]
        fn what_is_hidden_in_a_comment_commands_nothing(before in "[a-z \\n]{0,20}", inside in "[a-z /\\n]{0,20}") {
            let body = format!("{before}<!--\n{inside}\n{YES}\n-->");
            prop_assert_eq!(read(&body), None);
        }

        #[test]
        fn any_text_can_be_read(body in any::<String>()) {
            let _ = read(&body);
        }
    }
}
