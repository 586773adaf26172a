//! A report's content, and the two forms it is written in: Markdown for GitHub, HTML for everybody else.
//!
//! A document holds text as it was seen. It is neutralised by the form that shows it.

use std::fmt::Write as _;

use crate::promotion::untrusted::{code, html, markdown};

/// How much of a text that others wrote is shown in one place.
const MAX: usize = 2000;

/// A report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its title.
    pub title: String,
    /// What it says, in order.
    pub parts: Vec<Part>,
}

/// A piece of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The heading of a section.
    Heading(String),
    /// A paragraph.
    Text(String),
    /// Points.
    List(Vec<String>),
    /// Names and values.
    Facts(Vec<(String, Cell)>),
    /// Rows below a head.
    Table {
        /// The names of the columns.
        head: Vec<&'static str>,
        /// The rows, each as long as the head.
        rows: Vec<Vec<Cell>>,
    },
    /// Something to copy.
    Command(String),
}

/// A value in a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// Text.
    Text(String),
    /// A name, digest or address that is read letter by letter.
    Code(String),
    /// An address that we made ourselves.
    Link(String, String),
    /// A verdict.
    Verdict(Tone, String),
}

/// Whether a verdict is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// It is.
    Good,
    /// It is worth a look.
    Warning,
    /// It is not.
    Bad,
    /// Neither.
    Neutral,
}

impl Cell {
    /// Text.
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Something that is read letter by letter.
    pub(super) fn code(text: impl ToString) -> Self {
        Self::Code(text.to_string())
    }

    /// A verdict.
    pub(super) fn verdict(tone: Tone, text: impl Into<String>) -> Self {
        Self::Verdict(tone, text.into())
    }
}

impl Document {
    /// An empty report.
    #[must_use]
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), parts: Vec::new() }
    }

    /// Adds the heading of a section.
    pub(super) fn heading(&mut self, text: &str) {
        self.parts.push(Part::Heading(text.to_owned()));
    }

    /// Adds a paragraph.
    pub(super) fn text(&mut self, text: impl Into<String>) {
        self.parts.push(Part::Text(text.into()));
    }

    /// Adds points, if there are any.
    pub(super) fn list(&mut self, points: Vec<String>) {
        if !points.is_empty() {
            self.parts.push(Part::List(points));
        }
    }

    /// Adds names and values.
    pub(super) fn facts(&mut self, facts: Vec<(&str, Cell)>) {
        self.parts.push(Part::Facts(facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()));
    }

    /// Adds a table; a sentence in its place where it has no rows.
    pub(super) fn table(&mut self, head: &[&'static str], rows: Vec<Vec<Cell>>, none: &str) {
        if rows.is_empty() {
            self.text(none);
        } else {
            self.parts.push(Part::Table { head: head.to_vec(), rows });
        }
    }

    /// Adds something to copy.
    pub(super) fn command(&mut self, text: impl Into<String>) {
        self.parts.push(Part::Command(text.into()));
    }

    /// The report in GitHub's Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut out = format!("## {}\n\n", markdown(&self.title, MAX));
        for part in &self.parts {
            match part {
                Part::Heading(text) => {
                    let _ = writeln!(out, "### {}\n", markdown(text, MAX));
                }
                Part::Text(text) => {
                    let _ = writeln!(out, "{}\n", markdown(text, MAX));
                }
                Part::List(points) => {
                    for point in points {
                        let _ = writeln!(out, "- {}", markdown(point, MAX));
                    }
                    out.push('\n');
                }
                Part::Facts(facts) => {
                    out.push_str("| | |\n|---|---|\n");
                    for (name, value) in facts {
                        let _ = writeln!(out, "| {} | {} |", markdown(name, MAX), in_markdown(value));
                    }
                    out.push('\n');
                }
                Part::Table { head, rows } => {
                    let _ = writeln!(out, "| {} |\n|{}", head.join(" | "), "---|".repeat(head.len()));
                    for row in rows {
                        let cells: Vec<String> = row.iter().map(in_markdown).collect();
                        let _ = writeln!(out, "| {} |", cells.join(" | "));
                    }
                    out.push('\n');
                }
                Part::Command(text) => {
                    let _ = writeln!(out, "{}\n", code(text, MAX));
                }
            }
        }
        out
    }

    /// The report as one HTML file that needs nothing else: no script, no font, no picture of anybody's.
    #[must_use]
    pub fn html(&self) -> String {
        let title = html(&self.title, MAX);
        let mut body = String::new();
        let mut section: Option<String> = None;
        for part in &self.parts {
            match part {
                Part::Heading(text) => {
                    if section.is_some() {
                        body.push_str("</section>\n");
                    }
                    let (name, text) = (anchor(text), html(text, MAX));
                    let _ = writeln!(body, "<section aria-labelledby=\"{name}\">\n<h2 id=\"{name}\">{text}</h2>");
                    section = Some(name);
                }
                Part::Text(text) => {
                    let _ = writeln!(body, "<p>{}</p>", html(text, MAX));
                }
                Part::List(points) => {
                    let points: String =
                        points.iter().map(|point| format!("<li>{}</li>\n", html(point, MAX))).collect();
                    let _ = writeln!(body, "<ul>\n{points}</ul>");
                }
                Part::Facts(facts) => {
                    body.push_str("<table class=\"facts\">\n<tbody>\n");
                    for (name, value) in facts {
                        let (name, value) = (html(name, MAX), in_html(value));
                        let _ = writeln!(body, "<tr><th scope=\"row\">{name}</th><td>{value}</td></tr>");
                    }
                    body.push_str("</tbody>\n</table>\n");
                }
                Part::Table { head, rows } => {
                    let head: String = head.iter().map(|name| format!("<th scope=\"col\">{name}</th>")).collect();
                    // A wide table is scrolled by itself, with the keyboard too.
                    let label = match &section {
                        Some(name) => format!("aria-labelledby=\"{name}\""),
                        None => "aria-label=\"Table\"".to_owned(),
                    };
                    let _ = writeln!(
                        body,
                        "<div class=\"wide\" role=\"region\" {label} tabindex=\"0\">\n<table>\n<thead><tr>{head}</tr></thead>\n<tbody>"
                    );
                    for row in rows {
                        let cells: String = row.iter().map(|cell| format!("<td>{}</td>", in_html(cell))).collect();
                        let _ = writeln!(body, "<tr>{cells}</tr>");
                    }
                    body.push_str("</tbody>\n</table>\n</div>\n");
                }
                Part::Command(text) => {
                    let _ = writeln!(body, "<pre><code>{}</code></pre>", html(text, MAX));
                }
            }
        }
        if section.is_some() {
            body.push_str("</section>\n");
        }
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n\
             <body>\n<header><h1>{title}</h1></header>\n<main>\n{body}</main>\n\
             <footer><p>Written by Tidegate {} from the run's audit trail.</p></footer>\n</body>\n</html>\n",
            env!("CARGO_PKG_VERSION")
        )
    }
}

/// Colours with a contrast of 4.5 to 1 and more in either scheme (WCAG 2.2, 1.4.3).
const STYLE: &str = "\
:root { --text: #1a1d21; --soft: #4a5058; --page: #ffffff; --line: #c4c9d0; --good: #0b6b2e; --warn: #7a4b00; --bad: #b3151b; --link: #0a56c2; --code: #f1f3f5; }
@media (prefers-color-scheme: dark) { :root { --text: #e8eaed; --soft: #b4bac2; --page: #16181b; --line: #454b53; --good: #6ed394; --warn: #f0b95c; --bad: #ff9a9a; --link: #8ab8ff; --code: #24282d; } }
body { margin: 0 auto; max-width: 72rem; padding: 1rem; color: var(--text); background: var(--page); font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2rem; }
.wide { overflow-x: auto; } .wide:focus { outline: 2px solid var(--link); }
table { border-collapse: collapse; width: 100%; } .facts { width: auto; }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
.wide td { min-width: 6.5rem; }
th { color: var(--soft); font-weight: 600; overflow-wrap: normal; }
code { background: var(--code); padding: 0 .25rem; border-radius: .2rem; font-size: .9em; }
pre { background: var(--code); padding: .6rem; overflow-x: auto; } pre code { padding: 0; }
a { color: var(--link); } .good { color: var(--good); } .warn { color: var(--warn); } .bad { color: var(--bad); }
footer { margin-top: 3rem; color: var(--soft); border-top: 1px solid var(--line); }
@media print { body { max-width: none; } }
";

/// A heading's name in its page.
fn anchor(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect()
}

fn in_markdown(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) => markdown(text, MAX),
        Cell::Code(text) => code(text, MAX),
        Cell::Link(text, url) => {
            format!("[{}]({})", markdown(text, MAX), url.replace(['(', ')', ' ', '<', '>', '|'], ""))
        }
        Cell::Verdict(tone, text) => {
            let mark = match tone {
                Tone::Good => "✅",
                Tone::Warning => "⚠️",
                Tone::Bad => "❌",
                Tone::Neutral => "➖",
            };
            format!("{mark} {}", markdown(text, MAX))
        }
    }
}

fn in_html(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) => html(text, MAX),
        Cell::Code(text) => format!("<code>{}</code>", html(text, MAX)),
        // What is not an address of the web is shown as text.
        Cell::Link(text, url) if url.starts_with("https://") || url.starts_with("http://") => {
            format!("<a href=\"{}\">{}</a>", html(url, MAX), html(text, MAX))
        }
        Cell::Link(text, _) => html(text, MAX),
        Cell::Verdict(tone, text) => {
            let (class, mark) = match tone {
                Tone::Good => ("good", "\u{2713}"),
                Tone::Warning => ("warn", "!"),
                Tone::Bad => ("bad", "\u{2717}"),
                Tone::Neutral => ("", "\u{2013}"),
            };
            format!("<strong class=\"{class}\">{mark} {}</strong>", html(text, MAX))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// The colours of a scheme, by name: those of a line of the style.
    fn colours(line: &str) -> BTreeMap<&str, [f64; 3]> {
        let declared = line.split("--").skip(1).map(|part| part.split_once(": #").unwrap());
        declared
            .map(|(name, rest)| {
                let channel = |at: usize| f64::from(u8::from_str_radix(&rest[at..at + 2], 16).unwrap()) / 255.0;
                (name, [channel(0), channel(2), channel(4)])
            })
            .collect()
    }

    /// Relative luminance and contrast (WCAG 2.2, "relative luminance", "contrast ratio").
    fn contrast(one: [f64; 3], other: [f64; 3]) -> f64 {
        let linear = |c: f64| if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) };
        let luminance = |[r, g, b]: [f64; 3]| 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
        let (one, other) = (luminance(one), luminance(other));
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    #[test]
    fn every_text_can_be_read_in_light_and_in_dark() {
        assert!((contrast([0.0; 3], [1.0; 3]) - 21.0).abs() < 0.01);
        let schemes: Vec<_> = STYLE.lines().filter(|line| line.contains(":root")).map(colours).collect();
        assert_eq!(schemes.len(), 2);
        for scheme in schemes {
            for text in ["text", "soft", "good", "warn", "bad", "link"] {
                let ratio = contrast(scheme[text], scheme["page"]);
                assert!(ratio >= 4.5, "{text}: {ratio:.2}");
            }
            assert!(contrast(scheme["text"], scheme["code"]) >= 4.5);
        }
    }
}
