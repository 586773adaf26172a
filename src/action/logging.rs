//! Diagnostics: what `tracing` shows, and how.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use super::printer::Printer;

/// Shows diagnostics through the printer: warnings, or everything of ours when `debug` is on, or what `filter` says.
///
/// As JSON every event of a run is a line too, at the level `info`. A second call does nothing.
pub fn start(printer: &Printer, json: bool, debug: bool, filter: Option<&str>) {
    let usual = match (debug, json) {
        (true, _) => "warn,tidegate=debug",
        (false, true) => "warn,tidegate=info",
        (false, false) => "error,tidegate=warn",
    };
    let filter = filter.and_then(|filter| filter.parse().ok()).unwrap_or_else(|| EnvFilter::new(usual));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_span_events(FmtSpan::NONE)
        .with_ansi(false)
        .with_writer(printer.clone());
    let _ = if json { builder.json().flatten_event(true).try_init() } else { builder.without_time().try_init() };
}
