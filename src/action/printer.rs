//! Everything that is printed passes here, so that nothing but ourselves can give the runner a command.
//!
//! The runner reads commands from stdout and stderr alike, `::name::` at the beginning of a line and `##[name]` anywhere
//! in it (actions/runner, `ActionCommand.cs`). Text is therefore defused line by line; commands are made by one function.

use std::io::{self, IsTerminal as _, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::promotion::untrusted;

/// What the runner lets through of one annotation's message.
const ANNOTATION_MAX: usize = 4096;

/// What the runner shows of each kind of annotation in one step.
const ANNOTATIONS_MAX: usize = 10;

/// Where we print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Inside GitHub Actions: groups, annotations and masks are commands.
    Actions,
    /// A person's terminal.
    Terminal,
    /// A file or a pipe.
    Plain,
}

/// An annotation's level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Shown in red.
    Error,
    /// Shown in yellow.
    Warning,
    /// Shown in blue.
    Notice,
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Notice => "notice",
        }
    }

    const fn of_diagnostics(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Warning => "WARN",
            Self::Notice => "INFO",
        }
    }
}

/// Prints to one stream, one whole line at a time.
#[derive(Clone)]
pub struct Printer {
    style: Style,
    /// Whether every line that is no command is a JSON object.
    json: bool,
    stream: Arc<Mutex<Stream>>,
}

struct Stream {
    out: Box<dyn Write + Send>,
    grouped: bool,
    transient: bool,
    annotations: [usize; 3],
}

impl std::fmt::Debug for Printer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Printer").field("style", &self.style).finish_non_exhaustive()
    }
}

impl Printer {
    /// Prints to standard output.
    #[must_use]
    pub fn stdout(in_actions: bool) -> Self {
        let style = match (in_actions, io::stdout().is_terminal()) {
            (true, _) => Style::Actions,
            (false, true) => Style::Terminal,
            (false, false) => Style::Plain,
        };
        Self::new(style, Box::new(io::stdout()))
    }

    /// Prints to any stream.
    #[must_use]
    pub fn new(style: Style, out: Box<dyn Write + Send>) -> Self {
        let stream = Stream { out, grouped: false, transient: false, annotations: [0; 3] };
        Self { style, json: false, stream: Arc::new(Mutex::new(stream)) }
    }

    /// The same for machines: every line that is no command is a JSON object.
    #[must_use]
    pub fn in_json(&self) -> Self {
        Self { json: true, ..self.clone() }
    }

    /// How it prints.
    #[must_use]
    pub const fn style(&self) -> Style {
        self.style
    }

    fn stream(&self) -> MutexGuard<'_, Stream> {
        // A thread that panicked while printing has at most left half a line behind.
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Prints text, line by line, each harmless.
    pub fn text(&self, text: &str) {
        if self.json {
            return self.object("INFO", text);
        }
        let mut stream = self.stream();
        stream.clear_transient();
        for line in text.split('\n') {
            stream.line(&harmless(line));
        }
    }

    /// Prints a line for machines, of the same shape as the diagnostics.
    fn object(&self, level: &str, message: &str) {
        let timestamp = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        let object = serde_json::json!({ "timestamp": timestamp, "level": level, "message": message });
        self.stream().line(&harmless(&object.to_string()));
    }

    /// Shows text on a terminal until the next line is printed; elsewhere nothing.
    pub fn transient(&self, text: &str) {
        if self.style == Style::Terminal {
            let mut stream = self.stream();
            let _ = write!(stream.out, "\r\u{1b}[2K{}", untrusted::line(text, 100));
            let _ = stream.out.flush();
            stream.transient = true;
        }
    }

    /// Begins a group of lines that the runner folds. Groups do not nest: the one before ends.
    pub fn group(&self, title: &str) {
        let mut stream = self.stream();
        stream.clear_transient();
        stream.end_group();
        match self.style {
            Style::Actions => {
                stream.line(&format!("::group::{}", escape_data(&untrusted::line(title, 200))));
                stream.grouped = true;
            }
            Style::Terminal => stream.line(&format!("\u{1b}[1m{}\u{1b}[0m", untrusted::line(title, 200))),
            Style::Plain => stream.line(&untrusted::line(title, 200)),
        }
    }

    /// Ends the group.
    pub fn end_group(&self) {
        self.stream().end_group();
    }

    /// Shows an annotation on the run's page; elsewhere a line. What is more than the runner shows becomes plain lines.
    pub fn annotate(&self, level: Level, title: &str, message: &str) {
        if self.json {
            self.object(level.of_diagnostics(), &format!("{title}\n{message}"));
            if self.style != Style::Actions {
                return;
            }
        }
        let mut stream = self.stream();
        stream.clear_transient();
        let place = level as usize;
        if self.style == Style::Actions && stream.annotations[place] < ANNOTATIONS_MAX {
            stream.annotations[place] += 1;
            let shown: Vec<String> = message.split('\n').map(untrusted::visible).collect();
            let message = escape_data(&cut(&shown.join("\n"), ANNOTATION_MAX));
            let title = escape_property(&untrusted::line(title, 200));
            stream.line(&format!("::{} title={title}::{message}", level.name()));
        } else if !self.json {
            stream.line(&harmless(&format!("{}: {title}", level.name())));
            for line in message.split('\n') {
                stream.line(&format!("  {}", harmless(line)));
            }
        }
    }

    /// Makes the runner replace a secret wherever it shows up. Short texts are not masked: they would blot out the log.
    pub fn mask(&self, secret: &str) {
        if self.style != Style::Actions {
            return;
        }
        let mut stream = self.stream();
        for line in secret.split(['\n', '\r']).map(str::trim).filter(|line| line.chars().count() >= 4) {
            stream.line(&format!("::add-mask::{}", escape_data(line)));
        }
    }
}

impl Stream {
    fn line(&mut self, line: &str) {
        // A reader that went away must not stop a promotion.
        let _ = self.out.write_all(format!("{line}\n").as_bytes());
        let _ = self.out.flush();
    }

    fn end_group(&mut self) {
        if std::mem::take(&mut self.grouped) {
            self.line("::endgroup::");
        }
    }

    fn clear_transient(&mut self) {
        if std::mem::take(&mut self.transient) {
            let _ = self.out.write_all(b"\r\x1b[2K");
        }
    }
}

/// One line without what is not seen, and without commands; spaces are kept.
fn harmless(line: &str) -> String {
    untrusted::defuse(&untrusted::visible(line))
}

pub(super) fn cut(text: &str, max: usize) -> String {
    if text.chars().count() <= max { text.to_owned() } else { text.chars().take(max - 1).chain(['…']).collect() }
}

/// Escapes a command's data (actions/toolkit, `command.ts`).
fn escape_data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes a command's property.
fn escape_property(text: &str) -> String {
    escape_data(text).replace(':', "%3A").replace(',', "%2C")
}

/// Lets `tracing` print through the printer.
impl<'a> tracing_subscriber::fmt::MakeWriter<'a> for Printer {
    type Writer = Lines;

    fn make_writer(&'a self) -> Self::Writer {
        Lines { printer: self.clone(), buffer: Vec::new() }
    }
}

/// Collects what is written and prints it as harmless lines.
#[derive(Debug)]
pub struct Lines {
    printer: Printer,
    buffer: Vec<u8>,
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if !self.buffer.is_empty() {
            // Whatever it is, it has its shape already.
            let plain = Printer { json: false, ..self.printer.clone() };
            plain.text(String::from_utf8_lossy(&self.buffer).trim_end());
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A stream that can be read back.
    #[derive(Clone, Default)]
    pub(crate) struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Captured {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn printed(style: Style, print: impl FnOnce(&Printer)) -> String {
        let captured = Captured::default();
        print(&Printer::new(style, Box::new(captured.clone())));
        captured.text()
    }

    #[test]
    fn text_is_never_a_command() {
        let text = printed(Style::Actions, |printer| {
            printer.text("::set-output name=a::b\nx ##[set-output name=a]b\r\n  ::error::c\u{1b}[31m");
        });
        for line in text.lines() {
            assert!(!line.trim_start().starts_with("::") && !line.contains("##["), "{line}");
            assert!(!line.contains('\u{1b}'));
        }
    }

    #[test]
    fn commands_are_escaped() {
        let text = printed(Style::Actions, |printer| {
            printer.annotate(Level::Error, "a:b,c", "100%\nnext\r::x::");
            printer.mask("abc");
            printer.mask("line one\nline two");
            printer.group("g\n::error::x");
            printer.group("h");
            printer.end_group();
        });
        assert_eq!(
            text,
            "::error title=a%3Ab%2Cc::100%25%0Anext::x::\n::add-mask::line one\n::add-mask::line two\n\
             ::group::g ::error::x\n::endgroup::\n::group::h\n::endgroup::\n"
        );
    }

    #[test]
    fn annotations_beyond_what_is_shown_become_lines() {
        let text = printed(Style::Actions, |printer| {
            for number in 0..12 {
                printer.annotate(Level::Warning, "t", &format!("::{number}"));
            }
        });
        assert_eq!(text.matches("::warning title=t::").count(), 10);
        assert_eq!(text.matches("warning: t\n").count(), 2);
        assert!(!text.contains("\n  ::"));
    }

    #[test]
    fn for_machines_every_line_is_an_object_or_a_command_of_ours() {
        for style in [Style::Plain, Style::Terminal, Style::Actions] {
            let text = printed(style, |printer| {
                let printer = printer.in_json();
                printer.text("one\n::error::two \"three\"");
                printer.annotate(Level::Error, "t", "what\n##[error]why");
            });
            let (commands, objects): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with("::"));
            assert_eq!(commands.len(), usize::from(style == Style::Actions), "{text}");
            assert_eq!(objects.len(), 2, "{text}");
            for line in objects {
                assert!(serde_json::from_str::<serde_json::Value>(line).unwrap().is_object());
                assert!(!line.contains("##["));
            }
        }
    }

    #[test]
    fn a_terminal_shows_progress_and_a_pipe_does_not() {
        assert!(printed(Style::Plain, |printer| printer.transient("x")).is_empty());
        let text = printed(Style::Terminal, |printer| {
            printer.transient("10 %");
            printer.text("done");
        });
        assert!(text.ends_with("\r\u{1b}[2Kdone\n"));
    }
}
