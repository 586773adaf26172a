//! Workflow commands, as the runner reads them from what a step prints.
//!
//! Follows actions/runner, `ActionCommand.cs` and `ActionCommandManager.cs`, and .NET's `StreamReader.ReadLine`, by
//! which the runner cuts what a process prints into lines: a carriage return alone ends a line too.

use std::collections::BTreeMap;

/// The commands that the runner knows (`ActionCommandManager.cs`).
const REGISTERED: [&str; 15] = [
    "stop-commands",
    "set-env",
    "set-output",
    "save-state",
    "add-mask",
    "add-path",
    "add-matcher",
    "remove-matcher",
    "debug",
    "warning",
    "error",
    "notice",
    "group",
    "endgroup",
    "echo",
];

/// A command that the runner would carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Its name, in lower case.
    pub name: String,
    /// Its properties; the names in lower case, the values unescaped.
    pub properties: BTreeMap<String, String>,
    /// What follows it, unescaped.
    pub data: String,
    /// The whole line.
    pub line: String,
}

impl Command {
    /// A property by its name.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties.get(name).map(String::as_str)
    }
}

/// What the runner makes of what a step printed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Printed {
    /// The commands that it would carry out, in their order.
    pub commands: Vec<Command>,
    /// The lines that it would show as they are.
    pub lines: Vec<String>,
}

/// Reads one stream as the runner does.
#[must_use]
pub fn read(text: &str) -> Printed {
    let mut printed = Printed::default();
    let mut stop_token: Option<String> = None;
    for line in lines(text) {
        let is_known = |name: &str| {
            REGISTERED.contains(&name) || stop_token.as_deref().is_some_and(|token| token.eq_ignore_ascii_case(name))
        };
        let command = second_syntax(line, is_known).or_else(|| first_syntax(line, is_known));
        match (command, &stop_token) {
            (Some(command), Some(token)) if token.eq_ignore_ascii_case(&command.name) => stop_token = None,
            (Some(command), None) => {
                if command.name == "stop-commands" {
                    // An empty token, or the name of a command, is refused, and the step fails.
                    stop_token = Some(command.data.clone()).filter(|token| is_stop_token(token));
                }
                printed.commands.push(command);
            }
            _ => printed.lines.push(line.to_owned()),
        }
    }
    printed
}

fn is_stop_token(token: &str) -> bool {
    let lower = token.to_ascii_lowercase();
    !token.is_empty() && lower != "pause-logging" && !REGISTERED.contains(&lower.as_str())
}

/// The lines of a text: each ends with `\n`, `\r\n`, or `\r` alone.
pub(super) fn lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(end) = rest.find(['\r', '\n']) {
        lines.push(&rest[..end]);
        rest = rest[end..].strip_prefix("\r\n").unwrap_or(&rest[end + 1..]);
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    lines
}

/// `::name key=value,key=value::data`, at the beginning of a line but for white space.
fn second_syntax(line: &str, is_known: impl Fn(&str) -> bool) -> Option<Command> {
    let (information, data) = line.trim_start().strip_prefix("::")?.split_once("::")?;
    let properties: [(&str, &str); 5] = [("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")];
    let text: [(&str, &str); 3] = [("%0D", "\r"), ("%0A", "\n"), ("%25", "%")];
    command(line, information, ',', &properties, unescape(data, &text), is_known)
}

/// `##[name key=value;key=value]data`, anywhere in a line; the runner looks at the first `##[` only.
fn first_syntax(line: &str, is_known: impl Fn(&str) -> bool) -> Option<Command> {
    let (_, rest) = line.split_once("##[")?;
    let (information, data) = rest.split_once(']')?;
    let escapes: [(&str, &str); 5] = [("%3B", ";"), ("%0D", "\r"), ("%0A", "\n"), ("%5D", "]"), ("%25", "%")];
    command(line, information, ';', &escapes, unescape(data, &escapes), is_known)
}

fn command(
    line: &str,
    information: &str,
    separator: char,
    escapes: &[(&str, &str)],
    data: String,
    is_known: impl Fn(&str) -> bool,
) -> Option<Command> {
    let (name, properties) = information.split_once(' ').unwrap_or((information, ""));
    let name = name.to_ascii_lowercase();
    if !is_known(&name) {
        return None;
    }
    let pairs = properties.trim().split(separator).filter_map(|pair| pair.split_once('='));
    let properties = pairs
        .filter(|(key, value)| !key.is_empty() && !value.is_empty())
        .map(|(key, value)| (key.to_ascii_lowercase(), unescape(value, escapes)))
        .collect();
    Some(Command { name, properties, data, line: line.to_owned() })
}

/// Replaces one escape after the other over the whole text, as the runner does: `%` comes last.
fn unescape(text: &str, escapes: &[(&str, &str)]) -> String {
    escapes.iter().fold(text.to_owned(), |text, (escape, character)| text.replace(escape, character))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        read(text).commands.into_iter().map(|command| command.name).collect()
    }

    #[test]
    fn both_syntaxes_are_commands() {
        let printed = read("x\n  ::error file=a%2Cb,line=3,title=::1%0A2 %25\nlog ##[set-output name=a;b=c%3Bd]e]f\n");
        assert_eq!(printed.lines, ["x"]);
        let error = &printed.commands[0];
        assert_eq!((error.name.as_str(), error.data.as_str()), ("error", "1\n2 %"));
        assert_eq!(
            (error.property("file"), error.property("line"), error.property("title")),
            (Some("a,b"), Some("3"), None)
        );
        let output = &printed.commands[1];
        assert_eq!(
            (output.property("name"), output.property("b"), output.data.as_str()),
            (Some("a"), Some("c;d"), "e]f")
        );
    }

    #[test]
    fn what_looks_like_a_command_and_is_none_is_shown() {
        for line in ["::nothing::x", "a ::error::x", "::error", "##[nothing]", "##[error", "#\u{200b}#[error]x"] {
            assert_eq!(read(line).lines, [line]);
        }
        // Only the first of two is looked at.
        assert_eq!(names("##[nothing] ##[error]x"), Vec::<String>::new());
        // Names are not case-sensitive.
        assert_eq!(names("::ERROR::x"), ["error"]);
    }

    #[test]
    fn a_carriage_return_begins_a_line() {
        assert_eq!(names("harmless\r::set-output name=a::b\r\n"), ["set-output"]);
        assert_eq!(lines("a\r\nb\n\nc\rd"), ["a", "b", "", "c", "d"]);
    }

    #[test]
    fn stopped_commands_are_shown() {
        let printed = read("::stop-commands::Xyz\n::error::a\n##[error]b\n::xyz::\n::error::c");
        assert_eq!(printed.lines, ["::error::a", "##[error]b"]);
        assert_eq!(printed.commands.len(), 2);
        assert_eq!(names("::stop-commands::\n::error::a"), ["stop-commands", "error"]);
    }
}
