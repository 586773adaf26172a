//! What changes with a promotion, for people.

use crate::promotion::comparison::{Comparison, Difference};
use crate::promotion::run::Run;
use crate::promotion::untrusted::{code, line, markdown};

/// How many differences are shown of one image; the record has all.
const SHOWN: usize = 40;

/// The longest section: an issue's text has its end.
const SECTION: usize = 30_000;

/// How much of a value is shown.
const VALUE: usize = 100;

/// One line of plain text for each difference; the first says what is compared.
#[must_use]
pub fn lines(service: &str, comparison: &Comparison) -> Vec<String> {
    if comparison.differences.is_empty() {
        return vec![format!("{service}: as {} but for its digest", comparison.previous.short())];
    }
    let mut lines = vec![format!("{service}: what changes against {}:", comparison.previous.short())];
    lines.extend(comparison.differences.iter().take(SHOWN).map(|one| {
        let platform = one.platform.as_ref().map(|platform| format!(" ({platform})")).unwrap_or_default();
        let name = if one.name.is_empty() { String::new() } else { format!(" {}", line(&one.name, VALUE)) };
        let value = |value: &Option<String>| line(value.as_deref().unwrap_or_default(), VALUE);
        let change = match (&one.before, &one.after) {
            (None, _) => format!("added, {}", value(&one.after)),
            (_, None) => format!("removed, was {}", value(&one.before)),
            (Some(_), Some(_)) => format!("{} -> {}", value(&one.before), value(&one.after)),
        };
        format!("  {}{name}{platform}: {change}", one.aspect.name())
    }));
    lines.extend(rest(comparison).map(|more| format!("  and {more}")));
    lines
}

/// What changes with each image of a run, in Markdown; nothing where nothing does.
#[must_use]
pub fn section(run: &Run) -> String {
    let mut out = String::new();
    let mut more = 0;
    for table in run.candidates.iter().filter_map(|one| table(&one.service, one.comparison.as_ref()?)) {
        if out.len() + table.len() > SECTION {
            more += 1;
        } else {
            out.push_str(&format!("{table}\n"));
        }
    }
    if more > 0 {
        out.push_str(&format!("{more} more services change; the record has all of it.\n\n"));
    }
    if out.is_empty() { out } else { format!("### What changes in the images\n\n{out}") }
}

/// The differences of one image as a table; nothing where nothing is different.
fn table(service: &str, comparison: &Comparison) -> Option<String> {
    if comparison.differences.is_empty() {
        return None;
    }
    let title = format!("#### {} against {}", code(service, 100), code(comparison.previous.short(), 40));
    let mut out = format!("{title}\n\n| | What | Platform | Before | After |\n|---|---|---|---|---|\n");
    for one in comparison.differences.iter().take(SHOWN) {
        out.push_str(&row(one));
    }
    if let Some(more) = rest(comparison) {
        out.push_str(&format!("\nAnd {more}.\n"));
    }
    Some(out)
}

fn row(one: &Difference) -> String {
    let mark = match (&one.before, &one.after) {
        (None, _) => "➕",
        (_, None) => "➖",
        (Some(_), Some(_)) => "✏️",
    };
    let name = if one.name.is_empty() { String::new() } else { format!(" {}", code(&one.name, VALUE)) };
    let platform = one.platform.as_ref().map(|platform| code(&platform.to_string(), 60)).unwrap_or_default();
    let value = |value: &Option<String>| value.as_deref().map(|value| markdown(value, VALUE)).unwrap_or_default();
    format!("| {mark} | {}{name} | {platform} | {} | {} |\n", one.aspect.name(), value(&one.before), value(&one.after))
}

fn rest(comparison: &Comparison) -> Option<String> {
    let more = comparison.differences.len().saturating_sub(SHOWN) as u64 + comparison.more;
    (more > 0).then(|| format!("{more} more"))
}
