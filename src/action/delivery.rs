//! What is handed over when a visit is over: files, job summary, outputs, the last lines of the log.

use super::console::annotate;
use super::context::Context;
use super::printer::Printer;
use super::run::{Desk, Ended};
use super::{outputs, summary};
use crate::ledger::chain::Entry;
use crate::promotion::fault::{Code, Exit, Fault};
use crate::promotion::run::Run;
use crate::report::{self, outputs::Paths};
use crate::stages::files::Files;

/// The state by which the finaliser knows that the step has recorded its end itself.
pub(super) const FINISHED: &str = "finished";

/// Hands over what there is: files, summary, outputs; and says how it ended.
pub(super) fn deliver(desk: &Desk, ended: Ended) -> Exit {
    let Ended { mut exit, run, fault, text, overview } = ended;
    desk.printer.end_group();
    if let Some(text) = &text {
        desk.printer.text(text.trim_end());
    }
    if let Some(fault) = &fault {
        annotate(&desk.printer, fault);
    }
    // A visit that could not go on tells of its run as far as it knows it.
    let run = run.or_else(|| fault.as_ref().and_then(|_| desk.witness.run()));
    let paths = match &run {
        Some(run) if !desk.rehearsal => leave_files(desk, run),
        _ => Paths::default(),
    };
    let markdown = markdown(run.as_ref(), fault.as_ref(), text.as_deref());
    let values = match &run {
        Some(run) if desk.rehearsal => report::outputs::of_rehearsal(run, fault.as_ref()),
        Some(run) => report::outputs::of_visit(run, &paths, fault.as_ref()),
        None => match &overview {
            Some(overview) => report::outputs::of_report(&overview.paths),
            None => report::outputs::of_fault(fault.as_ref()),
        },
    };
    let markdown = overview.map(|overview| overview.markdown).or(markdown);
    let told = run.as_ref().is_none_or(|run| !run.is_visited());
    let handed = hand_over(&desk.context, markdown.as_deref(), &values).and_then(|()| match told {
        true => finished(&desk.context),
        false => Ok(()),
    });
    if let Err(fault) = handed {
        annotate(&desk.printer, &fault);
        if exit == Exit::Done {
            exit = Exit::Failed;
        }
    }
    if let Some(run) = run.as_ref().filter(|_| !desk.rehearsal) {
        say(desk, run, &values, &paths);
    }
    if let Err(error) = desk.workspace.give_back() {
        tracing::warn!(%error, "the workspace's owner cannot be given the files: {error}");
    }
    exit
}

/// Leaves the run's files in the workspace.
fn leave_files(desk: &Desk, run: &Run) -> Paths {
    let files = Files::of(&run.id, desk.workspace.folder());
    let trail: Vec<Entry> =
        desk.witness.records().iter().filter(|record| record.run == run.id).map(Entry::from).collect();
    if let Err(error) = files.write(run, &trail, super::usage::usage()) {
        let text = format!("the files of the run cannot be written: {error}");
        annotate(&desk.printer, &Fault::new(Code::ReportUnwritten, text));
    }
    paths(desk, &files)
}

/// The paths of a run's files, as the workspace's user writes them.
pub(super) fn paths(desk: &Desk, files: &Files) -> Paths {
    Paths {
        log: desk.workspace.relative(&files.folder),
        record: desk.workspace.relative(&files.record),
        audit: desk.workspace.relative(&files.audit),
        report: desk.workspace.relative(&files.report),
    }
}

/// The job summary: of the run, of what stopped the visit where that is not in the run, and of a report that is not a
/// run's.
fn markdown(run: Option<&Run>, fault: Option<&Fault>, text: Option<&str>) -> Option<String> {
    // That it was interrupted is in the run.
    let fault = fault.filter(|fault| fault.code != Code::Interrupted || run.is_none());
    let head = match (run, fault) {
        (Some(run), Some(fault)) => Some(report::summary::stopped(run, fault)),
        (Some(run), None) => Some(report::summary::summary(run)),
        (None, Some(fault)) => Some(report::summary::refusal(fault)),
        (None, None) => None,
    };
    let text = text.map(|text| format!("```text\n{}\n```\n", text.replace("```", "'''")));
    match (head, text) {
        (Some(head), Some(text)) => Some(format!("{head}\n{text}")),
        (head, text) => head.or(text),
    }
}

/// The last line of the log: what the outputs say.
fn say(desk: &Desk, run: &Run, values: &[(String, String)], paths: &Paths) {
    let value = |wanted: &str| values.iter().find(|(name, _)| name == wanted).map_or("", |(_, value)| value);
    let said: Vec<&str> = ["status", "decision"].into_iter().map(value).filter(|value| !value.is_empty()).collect();
    let (id, state, said) = (&run.id, run.state, said.join(", "));
    desk.printer.text(&format!("{id}: {state} ({said}); the record is {}", paths.record));
}

/// Fills the runner's files, where there are any.
fn hand_over(context: &Context, markdown: Option<&str>, values: &[(String, String)]) -> Result<(), Fault> {
    if let (Some(path), Some(markdown)) = (&context.summary_file, markdown) {
        summary::write(path, markdown).map_err(|error| unwritten("the job summary", error))?;
    }
    if let Some(path) = &context.output_file {
        outputs::append(path, values).map_err(|error| unwritten("outputs", error))?;
    }
    Ok(())
}

/// Tells the finaliser that there is nothing left to do.
fn finished(context: &Context) -> Result<(), Fault> {
    let Some(path) = &context.state_file else { return Ok(()) };
    outputs::append(path, &[(FINISHED.to_owned(), "true".to_owned())]).map_err(|error| unwritten("its state", error))
}

fn unwritten(what: &str, error: std::io::Error) -> Fault {
    Fault::new(Code::ReportUnwritten, format!("the runner's file for {what} cannot be written: {error}"))
}

/// Ends before anything was begun.
pub(super) fn refused(printer: &Printer, context: &Context, fault: &Fault) -> Exit {
    annotate(printer, fault);
    let values = report::outputs::of_fault(Some(fault));
    if let Err(fault) = hand_over(context, Some(&report::summary::refusal(fault)), &values) {
        annotate(printer, &fault);
    }
    fault.code.exit()
}
