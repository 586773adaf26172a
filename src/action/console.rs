//! What a person, or a machine, sees while a run goes on.

use std::sync::{Mutex, PoisonError};

use super::printer::{Level, Printer, Style, cut};
use crate::promotion::event::{Conclusion, Event, Record};
use crate::promotion::fault::{Fault, Severity};
use crate::promotion::run::Run;
use crate::promotion::stage::Stage;
use crate::promotion::untrusted::line;
use crate::report::lines::lines;
use crate::stages::audience::Audience;

/// Prints what happens, for people.
#[derive(Debug)]
pub(super) struct Console {
    printer: Printer,
    /// The stage whose group has not been opened: it has said nothing yet.
    silent: Mutex<Option<Stage>>,
}

impl Console {
    /// A console on a printer.
    #[must_use]
    pub(super) fn new(printer: Printer) -> Self {
        Self { printer, silent: Mutex::default() }
    }

    /// The stage that has said nothing yet, and with `next` the one that takes its place.
    fn silent(&self, next: Option<Stage>) -> Option<Stage> {
        std::mem::replace(&mut *self.silent.lock().unwrap_or_else(PoisonError::into_inner), next)
    }

    fn say(&self, lines: &[String]) {
        if lines.is_empty() {
            return;
        }
        if let Some(stage) = self.silent(None) {
            self.printer.group(stage.name());
        }
        for line in lines {
            self.printer.text(&format!("  {line}"));
        }
    }

    fn mark(&self, conclusion: Conclusion) -> &'static str {
        if self.printer.style() != Style::Terminal {
            return "";
        }
        match conclusion {
            Conclusion::Done => "\u{2713} ",
            Conclusion::Skipped => "- ",
            Conclusion::Failed | Conclusion::Errored => "\u{2717} ",
        }
    }
}

impl Audience for Console {
    fn heard(&self, run: &Run, record: &Record) {
        match &record.event {
            Event::RunOpened(opening) => {
                self.printer.text(&format!("{}: {} into {}", run.id, opening.operation, opening.environment));
            }
            Event::StageStarted { stage } => {
                self.silent(Some(*stage));
            }
            Event::StageEnded { stage, conclusion, traffic, .. } => {
                // What is not configured is not worth a line.
                if *conclusion == Conclusion::Skipped && self.silent(None).is_some() {
                    return;
                }
                self.say(&lines(run, record));
                let mark = self.mark(*conclusion);
                self.say(&[format!("{mark}{stage} {}, {} requests", conclusion.name(), traffic.total())]);
                self.printer.end_group();
            }
            Event::Faulted(fault) => annotate(&self.printer, fault),
            Event::RunEnded { state, .. } => self.printer.text(&format!("{}: {state}", run.id)),
            _ => self.say(&lines(run, record)),
        }
    }

    fn waiting(&self, text: &str) {
        self.printer.text(&format!("  {}", line(text, 1000)));
    }

    fn progress(&self, text: &str) {
        self.printer.transient(&format!("  {text}"));
    }
}

/// How many characters of a fault's message an annotation shows, so that what to do about it is never cut off.
const MESSAGE_MAX: usize = 2000;

/// The same of what was tried, and of how many attempts it tells.
const TRIED_MAX: usize = 200;
const ATTEMPTS_MAX: usize = 5;

/// The same of what to do about it.
const FIX_MAX: usize = 800;

/// Shows a fault as an annotation: what happened, what was tried, what to do.
pub(super) fn annotate(printer: &Printer, fault: &Fault) {
    let level = match fault.severity {
        Severity::Critical | Severity::High => Level::Error,
        Severity::Medium => Level::Warning,
        Severity::Low => Level::Notice,
    };
    let about = fault.service.as_deref().map(|service| format!("{service}: ")).unwrap_or_default();
    let stage = fault.stage.map(|stage| format!(" in {stage}")).unwrap_or_default();
    let mut text = format!("{about}{}", cut(&fault.message, MESSAGE_MAX));
    for tried in fault.tried.iter().take(ATTEMPTS_MAX) {
        text.push_str(&format!("\ntried: {}", cut(tried, TRIED_MAX)));
    }
    text.push_str(&format!("\nfix: {}", cut(&fault.fix, FIX_MAX)));
    printer.annotate(level, &format!("{} ({}, {}{stage})", fault.code, fault.category, fault.severity), &text);
}

/// Tells machines what happens: each event of a run is a log line of its own.
#[derive(Debug)]
pub(super) struct Journal {
    printer: Printer,
}

impl Journal {
    /// A journal on a printer.
    #[must_use]
    pub(super) const fn new(printer: Printer) -> Self {
        Self { printer }
    }
}

impl Audience for Journal {
    fn heard(&self, run: &Run, record: &Record) {
        tracing::info!(
            run.id = %run.id,
            run.state = %run.state,
            event.seq = record.seq,
            event.kind = record.event.kind(),
            event = %record.text,
            "run {} event {}: {}", run.id, record.seq, record.event.kind()
        );
        if let Event::Faulted(fault) = &record.event {
            annotate(&self.printer, fault);
        }
    }

    fn progress(&self, _text: &str) {}
}
