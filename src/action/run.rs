//! From the process's beginning to its exit code.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::book::Book;
use super::console::{Console, Journal, annotate};
use super::context::Context;
use super::delivery::{deliver, refused};
use super::environment::Environment;
use super::inputs::{Inputs, Read, read};
use super::operations::{finalise, operate};
use super::printer::Printer;
use super::signals::{self, Stop};
use super::witness::Witness;
use super::workspace::Workspace;
use super::{logging, request};
use crate::promotion::event::{Decision, Operation};
use crate::promotion::fault::{Code, Exit, Fault};
use crate::promotion::run::Run;
use crate::report;
use crate::report::outputs::Paths;
use crate::stages;
use crate::stages::audience::{Audience, Audiences};
use crate::stages::logs::StageLogs;
use crate::stages::request::Request;

/// How long a stopped visit may take to record that it was stopped. The runner waits 7.5 seconds between its signals.
const TIME_TO_STOP: Duration = Duration::from_secs(4);

/// Everything that an operation needs.
pub(super) struct Desk {
    pub(super) printer: Printer,
    pub(super) environment: Environment,
    pub(super) context: Context,
    pub(super) inputs: Inputs,
    pub(super) request: Request,
    pub(super) workspace: Workspace,
    pub(super) witness: Arc<Witness>,
    pub(super) audience: Arc<dyn Audience>,
    pub(super) deadline: Option<Instant>,
    /// Whether everything is only looked at, and nothing recorded.
    pub(super) rehearsal: bool,
}

/// What the process ends with.
pub(super) struct Ended {
    pub(super) exit: Exit,
    /// The run that it was about, where it was about one.
    pub(super) run: Option<Run>,
    /// What it was stopped by, where that is not in the run.
    pub(super) fault: Option<Fault>,
    /// A report that is not a run's.
    pub(super) text: Option<String>,
    /// A report that was asked for.
    pub(super) overview: Option<Overview>,
}

/// A report that was asked for, and where its files are.
pub(super) struct Overview {
    pub(super) markdown: String,
    pub(super) paths: Paths,
}

impl Ended {
    pub(super) fn of(run: Run) -> Self {
        let exit = match (&run.ended, report::outputs::decision(&run)) {
            (Some(ended), _) => ended.exit,
            (None, Decision::Proceed | Decision::Wait) => Exit::Done,
            (None, Decision::Stop) => Exit::Failed,
        };
        Self { exit, run: Some(run), fault: None, text: None, overview: None }
    }
}

impl From<Fault> for Ended {
    fn from(fault: Fault) -> Self {
        Self { exit: fault.code.exit(), run: None, fault: Some(fault), text: None, overview: None }
    }
}

/// Runs the program and returns its exit code. `arguments` begin with the program's name.
pub async fn run(arguments: Vec<String>, environment: Environment) -> Exit {
    let context = Context::read(&environment);
    let printer = Printer::stdout(context.in_actions);
    let given = match read(&arguments, &environment) {
        Ok(Read::Given(given)) => given,
        Ok(Read::Shown(text)) => {
            printer.text(text.trim_end());
            return Exit::Done;
        }
        Err(fault) => return refused(&printer, &context, &fault),
    };
    for secret in given.secrets() {
        printer.mask(&secret);
    }
    let printer = if given.wants_json_logs() { printer.in_json() } else { printer };
    logging::start(&printer, given.wants_json_logs(), context.debug, environment.get("TIDEGATE_LOG"));
    crate::http::install_tls_provider();
    let desk = match desk(&printer, &environment, &context, &given) {
        Ok(desk) => desk,
        Err(fault) => return refused(&printer, &context, &fault),
    };
    if is_finaliser(&arguments) {
        return finalised(&desk).await;
    }
    let ended = attended(&desk).await;
    deliver(&desk, ended)
}

/// The post step runs the same program under another name, because the runner takes one word.
fn is_finaliser(arguments: &[String]) -> bool {
    arguments.first().is_some_and(|name| Path::new(name).file_name().is_some_and(|name| name == "tidegate-finalise"))
}

fn desk(
    printer: &Printer,
    environment: &Environment,
    context: &Context,
    given: &super::inputs::Given,
) -> Result<Desk, Fault> {
    let inputs = given.check().map_err(|fault| *fault)?;
    let request = request::request(&inputs, context)?;
    let workspace = Workspace::open(&context.workspace).map_err(|fault| *fault)?;
    let rehearsal = inputs.operation == Operation::Plan || inputs.dry_run;
    let witness = Arc::new(Witness::telling(context.state_file.clone().filter(|_| !rehearsal)));
    let shown: Box<dyn Audience> = if inputs.json_logs {
        Box::new(Journal::new(printer.clone()))
    } else {
        Box::new(Console::new(printer.clone()))
    };
    let audience = Arc::new(Audiences(vec![
        Box::new(Arc::clone(&witness)),
        shown,
        Box::new(StageLogs::below(workspace.folder())),
    ]));
    Ok(Desk {
        printer: printer.clone(),
        environment: environment.clone(),
        context: context.clone(),
        deadline: inputs.timeout.map(|timeout| Instant::now() + timeout),
        inputs,
        request,
        workspace,
        witness,
        audience,
        rehearsal,
    })
}

/// Does what was asked, unless a signal comes first.
async fn attended(desk: &Desk) -> Ended {
    let mut stops = match signals::listen() {
        Ok(stops) => stops,
        Err(error) => return Fault::defect(format!("signals cannot be listened for: {error}")).into(),
    };
    let book = match Book::of(desk) {
        Ok(book) => book,
        Err(fault) => return fault.into(),
    };
    let work = async { Box::pin(operate(desk, &book)).await.unwrap_or_else(Ended::from) };
    let stop = tokio::select! {
        ended = work => return ended,
        Some(stop) = stops.recv() => stop,
    };
    let without_record = |stop: Stop| Ended {
        exit: stop.exit(),
        run: None,
        fault: Some(interruption(stop)),
        text: None,
        overview: None,
    };
    tokio::select! {
        ended = stopped(desk, &book, stop) => ended.unwrap_or_else(|| without_record(stop)),
        // Whoever asks twice does not want to wait.
        Some(again) = stops.recv() => without_record(again),
    }
}

fn interruption(stop: Stop) -> Fault {
    Fault::new(Code::Interrupted, format!("{} asked to stop", stop.name()))
}

/// Records that the visit was stopped, if it can be done in time. A rollback does not fit into the time that there is: the
/// next visit goes on.
async fn stopped(desk: &Desk, book: &Book, stop: Stop) -> Option<Ended> {
    let known = desk.witness.records();
    if desk.rehearsal || known.is_empty() {
        return None;
    }
    book.spooling.hurry();
    let (ledger, audience) = (book.spooling.clone(), Arc::clone(&desk.audience));
    let recording = stages::interrupt(&known, stop.name(), ledger, audience);
    Some(match tokio::time::timeout(TIME_TO_STOP, recording).await.ok()? {
        // The run came to its end in the same moment.
        Ok(run) if run.ended.is_some() => Ended::of(run),
        Ok(run) => {
            Ended { exit: stop.exit(), run: Some(run), fault: Some(interruption(stop)), text: None, overview: None }
        }
        Err(fault) => Ended { exit: stop.exit(), run: None, fault: Some(fault), text: None, overview: None },
    })
}

/// The post step. It has nothing to hand over: the step's outputs are the main step's.
async fn finalised(desk: &Desk) -> Exit {
    let done = async { finalise(desk, &Book::of(desk)?).await }.await;
    match done {
        Ok(()) => Exit::Done,
        Err(fault) => {
            annotate(&desk.printer, &fault);
            fault.code.exit()
        }
    }
}
