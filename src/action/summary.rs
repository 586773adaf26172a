//! The job summary's file.

use std::fs;
use std::io;
use std::path::Path;

/// What the runner takes of a step's summary; more is thrown away whole (actions/runner, `CreateStepSummaryCommand`).
pub const SUMMARY_MAX: usize = 1024 * 1024;

const CUT: &str = "\n\n> The summary is longer than GitHub shows. The rest is in `report.md` beside the record.\n";

/// Writes the step's summary, cut at a line's end where it would be too long.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, markdown: &str) -> io::Result<()> {
    fs::write(path, fitting(markdown))
}

fn fitting(markdown: &str) -> String {
    if markdown.len() <= SUMMARY_MAX {
        return markdown.to_owned();
    }
    let mut end = SUMMARY_MAX - CUT.len() - 16;
    while !markdown.is_char_boundary(end) {
        end -= 1;
    }
    let end = markdown[..end].rfind('\n').unwrap_or(end);
    let mut text = markdown[..end].to_owned();
    // An open code block would swallow the notice.
    if text.lines().filter(|line| line.trim_start().starts_with("```")).count() % 2 == 1 {
        text.push_str("\n```\n");
    }
    text.push_str(CUT);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_summary_is_cut_and_says_so() {
        assert_eq!(fitting("short"), "short");
        let long = format!("```text\n{}\n```\n", "zeile äöü\n".repeat(200_000));
        let text = fitting(&long);
        assert!(text.len() <= SUMMARY_MAX);
        assert!(text.ends_with(CUT));
        assert_eq!(text.matches("```").count(), 2);
    }
}
