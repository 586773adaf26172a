//! A message as a mail: its subject, its text, and the same as HTML.

use std::fmt::Write as _;

use super::Letter;
use super::message::{cut, mark};
use crate::promotion::untrusted::{html, line};

/// The longest subject. A line of a mail's head has 998 characters at the most, and is shown with far fewer.
const SUBJECT: usize = 180;

/// The longest text and fact.
const LENGTHS: (usize, usize) = (6000, 1000);

/// A mail's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) html: String,
}

/// The mail that a letter is.
pub(super) fn content(letter: &Letter) -> Content {
    let message = &letter.message;
    let subject = line(&message.title, SUBJECT);
    let said = cut(letter.text(), LENGTHS.0);
    let mut text = format!("{subject}\n\n");
    let mut body =
        format!("<h1 style=\"font-size:1.25em\">{} {}</h1>\n", mark(message.event), html(&message.title, SUBJECT));
    if !said.is_empty() {
        let _ = writeln!(text, "{said}\n");
        for said in said.lines() {
            let _ = writeln!(body, "<p>{}</p>", html(said, LENGTHS.0));
        }
    }
    let facts: Vec<&(String, String)> = message.facts.iter().filter(|(_, value)| !value.is_empty()).collect();
    if !facts.is_empty() {
        body.push_str("<table style=\"border-collapse:collapse\">\n");
        for (name, value) in facts {
            let _ = writeln!(text, "{}: {}", line(name, 100), line(value, LENGTHS.1));
            let _ = writeln!(
                body,
                "<tr><th scope=\"row\" style=\"text-align:left;padding:2px 12px 2px 0\">{}</th><td>{}</td></tr>",
                html(name, 100),
                html(value, LENGTHS.1)
            );
        }
        body.push_str("</table>\n");
    }
    for (name, url) in &message.links {
        let _ = writeln!(text, "\n{}: {}", line(name, 100), line(url, 2000));
        let _ = writeln!(body, "<p><a href=\"{}\">{}</a></p>", html(url, 2000), html(name, 100));
    }
    let html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>{}</title></head>\n\
         <body style=\"font-family:sans-serif\">\n{body}</body>\n</html>\n",
        html(&message.title, SUBJECT)
    );
    Content { subject, text, html }
}
