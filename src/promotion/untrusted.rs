//! Text that others wrote, made harmless for the place where it is shown.
//!
//! A label, a commit message, a registry's error or a probe's body may hold anything: control characters, direction
//! marks, Markdown, HTML, mentions, workflow commands. Everything that is not ours passes one of these functions on
//! its way out, and nothing is neutralised before that, so that the ledger keeps what was seen.

use std::fmt::Write as _;

/// What is put in place of what was cut off.
const ELLIPSIS: char = '…';

/// One line of plain text of at most `max` characters: no control characters, no direction marks, no line breaks,
/// nothing that the runner could take for a workflow command.
///
/// The runner reads `##[name]` anywhere in a line and `::name::` at its beginning (actions/runner,
/// `ActionCommand.cs`); both are broken by a zero-width space.
#[must_use]
pub fn line(text: &str, max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(max * 4));
    let mut count = 0;
    let mut space = false;
    for c in text.chars() {
        if count >= max {
            out.push(ELLIPSIS);
            break;
        }
        if c.is_whitespace() || c.is_control() {
            space = !out.is_empty();
            continue;
        }
        if is_invisible(c) {
            continue;
        }
        if space {
            out.push(' ');
            count += 1;
            space = false;
        }
        out.push(c);
        count += 1;
    }
    defuse(&out)
}

/// One line of text as it is, without what is not seen: control characters, direction marks, zero-width characters.
#[must_use]
pub fn visible(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() && !is_invisible(*c)).collect()
}

/// Breaks both syntaxes of the runner's workflow commands in one line of text.
#[must_use]
pub fn defuse(text: &str) -> String {
    let mut text = text.replace("##[", "#\u{200b}#[");
    if text.trim_start().starts_with("::") {
        text = text.replacen("::", ":\u{200b}:", 1);
    }
    text
}

/// Several lines of plain text: at most `max_lines` lines of `max` characters each.
#[must_use]
pub fn block(text: &str, max_lines: usize, max: usize) -> String {
    let mut out = String::new();
    for (number, one) in text.lines().enumerate() {
        if number >= max_lines {
            out.push(ELLIPSIS);
            out.push('\n');
            break;
        }
        out.push_str(&line(one, max));
        out.push('\n');
    }
    out
}

/// One line for GitHub's Markdown: shown as it is, without links, mentions, HTML or formatting.
#[must_use]
pub fn markdown(text: &str, max: usize) -> String {
    let mut out = String::new();
    for c in line(text, max).chars() {
        match c {
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '(' | ')' | '!' | '|' | '~' => {
                out.push('\\');
                out.push(c);
            }
            // Mentions and references to issues survive a backslash; an entity does not.
            '<' | '>' | '&' | '@' | '#' => {
                let _ = write!(out, "&#{};", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    // Bare addresses become links by themselves.
    out.replace("://", ":&#8203;//").replace("www.", "www&#8203;.")
}

/// One line as a code span of GitHub's Markdown, safe in a table's cell.
#[must_use]
pub fn code(text: &str, max: usize) -> String {
    let text = line(text, max).replace('`', "'").replace('|', "\u{2502}");
    if text.is_empty() { "–".to_owned() } else { format!("`{text}`") }
}

/// One line for HTML's text and attributes.
#[must_use]
pub fn html(text: &str, max: usize) -> String {
    let mut out = String::new();
    for c in line(text, max).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}

/// Characters that are not seen and change how a text is read: direction marks (Trojan Source, CVE-2021-42574),
/// zero-width characters, tags, byte order marks, variation selectors.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn commands_are_broken_in_either_syntax() {
        for text in [
            "::set-output name=x::y",
            "  ::error::x",
            "a ##[set-output name=decision]continue",
            "##[error]x",
            "\u{200b}::add-mask::x",
        ] {
            let shown = line(text, 200);
            assert!(!shown.trim_start().starts_with("::"), "{shown}");
            assert!(!shown.contains("##["), "{shown}");
        }
    }

    #[test]
    fn markdown_is_shown_as_it_is() {
        assert_eq!(markdown("[x](y) @team #12 <b>", 100), r"\[x\]\(y\) &#64;team &#35;12 &#60;b&#62;");
        assert_eq!(markdown("see https://evil.test", 100), "see https:&#8203;//evil.test");
    }

    #[test]
    fn long_text_is_cut_and_says_so() {
        assert_eq!(line("abcdef", 3), "abc…");
        assert_eq!(block("a\nb\nc", 2, 10), "a\nb\n…\n");
    }

    #[test]
    fn direction_marks_are_gone() {
        assert_eq!(line("user\u{202e}txt.exe", 100), "usertxt.exe");
    }

    proptest! {
        #[test]
        fn nothing_becomes_a_command_or_a_second_line(text in any::<String>()) {
            for shown in [line(&text, 300), markdown(&text, 300), code(&text, 300), html(&text, 300)] {
                prop_assert!(!shown.contains('\n') && !shown.contains('\r'));
                prop_assert!(!shown.contains("##["));
                prop_assert!(!shown.trim_start().starts_with("::"));
                prop_assert!(!shown.chars().any(char::is_control));
            }
            prop_assert!(!html(&text, 300).contains('<'));
            prop_assert!(!markdown(&text, 300).contains('<'));
        }
    }
}
