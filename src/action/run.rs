//! From the process's beginning to its exit code.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use tokio::time::Instant;

use super::console::{Console, Journal, Witness, annotate};
use super::context::Context;
use super::environment::Environment;
use super::inputs::{Inputs, Read, read};
use super::printer::Printer;
use super::signals::{self, Stop};
use super::workspace::Workspace;
use super::{logging, outputs, request, summary};
use crate::config::Configuration;
use crate::github::{GitHub, RepositoryName, Settings};
use crate::ledger::{Ledger, LedgerAddress, Parts, Rehearsal, Spooling, connect};
use crate::promotion::event::{Decision, Operation};
use crate::promotion::fault::{Code, Exit, Fault};
use crate::promotion::retry::RetryPolicy;
use crate::promotion::run::Run;
use crate::registry::{Credentials, Options, Registries, default_docker_config};
use crate::report::{self, outputs::Paths};
use crate::stages::audience::{Audience, Audiences};
use crate::stages::files::Files;
use crate::stages::logs::StageLogs;
use crate::stages::request::Request;
use crate::stages::secrets::Secrets;
use crate::stages::target::{Route, Target};
use crate::stages::{self, Hub, Tools};

/// How long a stopped visit may take to record that it was stopped. The runner waits 7.5 seconds between its signals.
const TIME_TO_STOP: Duration = Duration::from_secs(4);

/// Who GHCR is told we are; it only looks at the token.
const GHCR: &str = "ghcr.io";

/// Everything that an operation needs.
struct Desk {
    printer: Printer,
    environment: Environment,
    context: Context,
    inputs: Inputs,
    request: Request,
    workspace: Workspace,
    witness: Arc<Witness>,
    audience: Arc<dyn Audience>,
    deadline: Option<Instant>,
}

/// What the process ends with.
struct Ended {
    exit: Exit,
    /// The run that it was about, where it was about one.
    run: Option<Run>,
    /// What it was stopped by, where that is not in the run.
    fault: Option<Fault>,
    /// A report that is not a run's.
    text: Option<String>,
}

impl Ended {
    fn of(run: Run) -> Self {
        let exit = match (&run.ended, report::outputs::decision(&run)) {
            (Some(ended), _) => ended.exit,
            (None, Decision::Proceed | Decision::Wait) => Exit::Done,
            (None, Decision::Stop) => Exit::Failed,
        };
        Self { exit, run: Some(run), fault: None, text: None }
    }
}

impl From<Fault> for Ended {
    fn from(fault: Fault) -> Self {
        Self { exit: fault.code.exit(), run: None, fault: Some(fault), text: None }
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
        printer.mask(secret);
    }
    logging::start(&printer, given.wants_json_logs(), context.debug, environment.get("TIDEGATE_LOG"));
    crate::http::install_tls_provider();
    let desk = match desk(&printer, &environment, &context, &given) {
        Ok(desk) => desk,
        Err(fault) => return refused(&printer, &context, &fault),
    };
    let finalising = is_finaliser(&arguments);
    let ended = attended(&desk, finalising).await;
    deliver(&desk, ended).await
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
    let witness: Arc<Witness> = Arc::default();
    let shown: Box<dyn Audience> =
        if inputs.json_logs { Box::new(Journal) } else { Box::new(Console::new(printer.clone())) };
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
    })
}

/// Does what was asked, unless a signal comes first.
async fn attended(desk: &Desk, finalising: bool) -> Ended {
    let mut stops = match signals::listen() {
        Ok(stops) => stops,
        Err(error) => return Fault::defect(format!("signals cannot be listened for: {error}")).into(),
    };
    let ledger = match ledger(desk) {
        Ok(ledger) => ledger,
        Err(fault) => return fault.into(),
    };
    let work = async {
        let done = if finalising { finalise(desk, &ledger).await } else { Box::pin(operate(desk, &ledger)).await };
        done.unwrap_or_else(Ended::from)
    };
    let stop = tokio::select! {
        ended = work => return ended,
        Some(stop) = stops.recv() => stop,
    };
    tokio::select! {
        ended = stopped(desk, &ledger, stop) => ended,
        // Whoever asks twice does not want to wait.
        Some(again) = stops.recv() => Ended { exit: again.exit(), run: None, fault: Some(interruption(again)), text: None },
    }
}

fn interruption(stop: Stop) -> Fault {
    Fault::new(Code::Interrupted, format!("{} asked to stop", stop.name()))
}

/// Records that the visit was stopped. A rollback does not fit into the time that there is: the next visit goes on.
async fn stopped(desk: &Desk, ledger: &Book, stop: Stop) -> Ended {
    let fault = Some(interruption(stop));
    let (Some(run), false) = (desk.witness.run(), desk.request.operation == Operation::Plan || desk.inputs.dry_run)
    else {
        return Ended { exit: stop.exit(), run: None, fault, text: None };
    };
    let recording = stages::interrupt(run, stop.name(), ledger.spooling.clone(), Arc::clone(&desk.audience));
    match tokio::time::timeout(TIME_TO_STOP, recording).await {
        // The run came to its end in the same moment.
        Ok(Ok(run)) if run.ended.is_some() => Ended::of(run),
        Ok(Ok(run)) => Ended { exit: stop.exit(), run: Some(run), fault, text: None },
        Ok(Err(error)) => Ended { exit: stop.exit(), run: None, fault: Some(error), text: None },
        Err(_) => Ended { exit: stop.exit(), run: None, fault, text: None },
    }
}

/// The ledger, and whether it outlives the job.
struct Book {
    spooling: Arc<Spooling>,
    lasting: bool,
    exists: bool,
}

fn ledger(desk: &Desk) -> Result<Book, Fault> {
    let inputs = &desk.inputs;
    let address = match (&inputs.database_url, &inputs.database_host) {
        (Some(url), _) => LedgerAddress::parse(url)?,
        (None, Some(host)) => LedgerAddress::from_parts(&Parts {
            host: host.clone(),
            port: inputs.database_port.map(|port| port.to_string()),
            user: inputs.database_user.clone().unwrap_or_default(),
            password: inputs.database_password.clone(),
            name: inputs.database_name.clone().unwrap_or_default(),
        })?,
        (None, None) => LedgerAddress::in_folder(desk.workspace.folder()),
    };
    let spool = desk.workspace.folder().join("spool");
    Ok(Book {
        lasting: address.is_lasting(),
        exists: address.exists(),
        spooling: Arc::new(Spooling::new(Arc::from(connect(&address)), spool)),
    })
}

impl Book {
    /// The ledger, ready to be written to, with what was kept in files while it was away.
    async fn ready(&self, desk: &Desk) -> Result<Arc<dyn Ledger>, Fault> {
        self.spooling.prepare().await?;
        self.take_in_spool(desk).await?;
        Ok(Arc::clone(&self.spooling) as Arc<dyn Ledger>)
    }
}

impl Book {
    /// Brings what was kept in files while the database was away into the ledger.
    async fn take_in_spool(&self, desk: &Desk) -> Result<(), Fault> {
        for imported in self.spooling.import_all().await? {
            if let Some(fault) = imported.fault() {
                return Err(fault);
            }
            if let Ok(events @ 1..) = imported.events {
                desk.printer.text(&format!(
                    "{events} events that were kept in {} while the database was away are in the ledger now",
                    imported.file.display()
                ));
            }
        }
        Ok(())
    }
}

async fn operate(desk: &Desk, book: &Book) -> Result<Ended, Fault> {
    match desk.request.operation {
        Operation::Promote | Operation::Plan => promote(desk, book).await,
        Operation::Recover => recover(desk, book).await,
        Operation::Audit => audit(desk, book).await,
        operation @ (Operation::Rollback | Operation::Verify | Operation::Report) => {
            Err(Fault::new(Code::NotBuilt, format!("`operation: {operation}` is not in this version"))
                .with_fix("use a version that has it"))
        }
    }
}

async fn promote(desk: &Desk, book: &Book) -> Result<Ended, Fault> {
    let (target, configuration) = target(desk)?;
    let tools = tools(desk, &target, configuration.as_ref())?;
    let rehearsal = desk.request.operation == Operation::Plan || desk.inputs.dry_run;
    if rehearsal {
        let real = if book.exists { Some(Arc::clone(&book.spooling) as Arc<dyn Ledger>) } else { None };
        let ledger = Arc::new(Rehearsal::before(real));
        let run = stages::plan(&desk.request, &target, &tools, ledger, Arc::clone(&desk.audience)).await?;
        let text = report::plan::plan(&run);
        return Ok(Ended { text, ..Ended::of(run) });
    }
    if desk.request.until.is_some() && !book.lasting {
        desk.printer.annotate(
            super::printer::Level::Warning,
            "until",
            "the ledger is a file in this job's workspace: a later step of the same job can go on with the run, a later job cannot\n\
             fix: give `database-url` a PostgreSQL database",
        );
    }
    let ledger = book.ready(desk).await?;
    let run = stages::promote(&desk.request, &target, &tools, ledger, Arc::clone(&desk.audience)).await?;
    // The database may be back; if it is not, the next visit brings it what is in the file.
    if let Err(fault) = book.take_in_spool(desk).await {
        tracing::debug!(%fault, "the spool stays: {fault}");
    }
    Ok(Ended::of(run))
}

/// Where the run goes: by `image` and `to`, or by the configuration.
fn target(desk: &Desk) -> Result<(Target, Option<Configuration>), Fault> {
    if desk.request.to.is_some() && desk.request.environment.is_none() {
        return Ok((Target::unconfigured(&desk.request)?, None));
    }
    let path = desk.inputs.config.as_deref().unwrap_or(super::inputs::DEFAULT_CONFIG);
    let configuration = Configuration::load(&desk.context.workspace.join(path))?;
    let target = Target::configured(&desk.request, &configuration, path)?;
    Ok((target, Some(configuration)))
}

fn tools(desk: &Desk, target: &Target, configuration: Option<&Configuration>) -> Result<Tools, Fault> {
    let secrets = secrets(desk);
    let credentials = credentials(desk, target, configuration, &secrets)?;
    let retry = configuration.map_or_else(RetryPolicy::default, Configuration::retry);
    let registries = Registries::new(Options {
        credentials,
        insecure: configuration.map(|one| one.insecure_registries().to_vec()).unwrap_or_default(),
        retry,
        deadline: desk.deadline,
        ..Options::default()
    });
    Ok(Tools { registries, hub: hub(desk, retry)?, secrets, folder: desk.workspace.folder().to_owned() })
}

fn secrets(desk: &Desk) -> Secrets {
    let (environment, printer) = (desk.environment.clone(), desk.printer.clone());
    Secrets::new(move |name| environment.get(name).map(ToOwned::to_owned), move |secret| printer.mask(secret))
}

/// GitHub, where the job has a repository and a token.
fn hub(desk: &Desk, retry: RetryPolicy) -> Result<Option<Hub>, Fault> {
    let (Some(repository), Some(token)) = (&desk.context.repository, &desk.inputs.github_token) else {
        return Ok(None);
    };
    let repository: RepositoryName = repository
        .parse()
        .map_err(|error| Fault::new(Code::InputInvalid, format!("GITHUB_REPOSITORY is `{repository}`: {error}")))?;
    let github = GitHub::new(Settings {
        api_url: desk.context.api_url.clone(),
        token: Some(token.clone()),
        retry,
        deadline: desk.deadline,
        observer: None,
    })?;
    Ok(Some(Hub { github: Arc::new(github), repository }))
}

/// Who we are to registries. The given login is for the target's registry alone; the configuration's are for those it
/// names; the job's token is for GHCR; what nobody has said otherwise is in the docker configuration.
fn credentials(
    desk: &Desk,
    target: &Target,
    configuration: Option<&Configuration>,
    secrets: &Secrets,
) -> Result<Credentials, Fault> {
    let mut credentials = credentials_of_the_job(desk);
    let routes: Vec<&Route> = target.services.iter().filter_map(|service| service.image.as_ref()).collect();
    let met = |host: &str| {
        routes.iter().any(|route| [route.source.repository.registry(), route.repository.registry()].contains(&host))
    };
    for (host, login) in configuration.into_iter().flat_map(Configuration::registries).filter(|(host, _)| met(host)) {
        let user = secrets.resolve(&login.username)?;
        credentials = credentials.with_login(host, user.expose_secret(), secrets.resolve(&login.password)?);
    }
    if let Some(password) = &desk.inputs.registry_password {
        let user = desk.inputs.registry_username.clone().or_else(|| desk.context.actor.clone()).unwrap_or_default();
        for route in routes {
            credentials = credentials.with_login(route.repository.registry(), user.clone(), password.clone());
        }
    }
    Ok(credentials)
}

/// Who we are where nothing else is said: the job's token at GHCR, and what the docker configuration says.
fn credentials_of_the_job(desk: &Desk) -> Credentials {
    let mut credentials = Credentials::anonymous();
    if let Some(docker) = default_docker_config() {
        credentials = credentials.with_docker_config(docker);
    }
    if let Some(token) = &desk.inputs.github_token {
        credentials = credentials.with_login(GHCR, desk.context.actor.clone().unwrap_or_default(), token.clone());
    }
    credentials
}

async fn recover(desk: &Desk, book: &Book) -> Result<Ended, Fault> {
    let ledger = book.ready(desk).await?;
    let registries = Registries::new(Options {
        credentials: credentials_of_the_job(desk),
        deadline: desk.deadline,
        ..Options::default()
    });
    let hub = hub(desk, RetryPolicy::default())?;
    let tools = Tools { registries, hub, secrets: secrets(desk), folder: desk.workspace.folder().to_owned() };
    let recovered = stages::recover(&desk.request, &tools, ledger, Arc::clone(&desk.audience)).await?;
    let mut text = String::new();
    let mut failed = None;
    for one in &recovered {
        let what = match &one.result {
            stages::Settling::Settled => format!("settled, and is {}", one.run.state),
            stages::Settling::NothingToDo(why) => format!("needs nothing: {why}"),
            stages::Settling::AtWork => {
                "holds its lease and may be at work; name it in `deployment-id` to take it over".to_owned()
            }
            stages::Settling::Failed(fault) => {
                failed.get_or_insert_with(|| fault.clone());
                format!("could not be settled: {fault}")
            }
        };
        text.push_str(&format!("run {} ({}) {what}\n", one.run.id, one.run.opening.environment));
    }
    if recovered.is_empty() {
        text.push_str("there is no run to settle\n");
    }
    let run = match recovered.as_slice() {
        [one] => Some(one.run.clone()),
        _ => None,
    };
    let exit = if failed.is_some() { Exit::Failed } else { Exit::Done };
    Ok(Ended { exit, run, fault: failed, text: Some(text) })
}

async fn audit(desk: &Desk, book: &Book) -> Result<Ended, Fault> {
    let anchors = desk.inputs.anchor.as_deref().map(stages::audit::anchor).transpose()?.into_iter().collect::<Vec<_>>();
    let audited = match &desk.inputs.audit_file {
        Some(path) => stages::audit::file(&PathBuf::from(path), &anchors)?,
        None => {
            let ledger = book.ready(desk).await?;
            let (run, environment) = (desk.request.deployment_id.as_ref(), desk.request.environment.as_deref());
            stages::audit::ledger(ledger.as_ref(), run, environment, &anchors).await?
        }
    };
    let mut text = format!("{} trails verified, {} breaks\n", audited.heads.len(), audited.breaks.len());
    for broken in &audited.breaks {
        text.push_str(&format!("- {broken}\n"));
    }
    for head in audited.heads.values() {
        text.push_str(&format!("{}:{}:{}\n", head.run, head.seq, head.hash));
    }
    let fault = audited.breaks.first().map(|broken| {
        let more = if audited.breaks.len() > 1 {
            format!(", and {} more breaks", audited.breaks.len() - 1)
        } else {
            String::new()
        };
        Fault::new(Code::AuditBroken, format!("{broken}{more}"))
    });
    let exit = if fault.is_some() { Exit::Failed } else { Exit::Done };
    Ok(Ended { exit, run: None, fault, text: Some(text) })
}

/// The post step: a run that this job's main step left in the middle is marked as interrupted, so that nobody waits for
/// its lease.
async fn finalise(desk: &Desk, book: &Book) -> Result<Ended, Fault> {
    let nothing = Ended { exit: Exit::Done, run: None, fault: None, text: None };
    let Some(id) = desk.environment.get("STATE_deployment-id").and_then(|id| id.parse().ok()) else {
        return Ok(nothing);
    };
    let ledger = book.ready(desk).await?;
    let run = Run::fold(&ledger.load(&id).await?)?;
    let cut_off = run.visits.last().is_none_or(|visit| visit.ended.is_none() && visit.interrupted.is_none());
    if run.ended.is_none() && cut_off {
        stages::interrupt(&id, "the step ended without telling", ledger, Arc::clone(&desk.audience)).await?;
    }
    Ok(nothing)
}

/// Hands over what there is: files, summary, outputs; and says how it ended.
async fn deliver(desk: &Desk, ended: Ended) -> Exit {
    let Ended { mut exit, mut run, fault, text } = ended;
    let rehearsal = desk.request.operation == Operation::Plan || desk.inputs.dry_run;
    if let Some(text) = &text {
        desk.printer.end_group();
        desk.printer.text(text.trim_end());
    }
    if let Some(fault) = &fault {
        annotate(&desk.printer, fault);
    }
    let book = if rehearsal { None } else { ledger(desk).ok() };
    if run.is_none()
        && fault.is_some()
        && let (Some(book), Some(id)) = (&book, desk.witness.run())
    {
        // The visit could not go on; what it left behind is still told, where the ledger answers.
        run = book.spooling.load(id).await.ok().and_then(|records| Run::fold(&records).ok());
    }
    let mut paths = Paths::default();
    if let (Some(run), Some(book)) = (&run, &book) {
        let files = Files::of(&run.id, desk.workspace.folder());
        let trail = book.spooling.entries(&run.id).await.unwrap_or_default();
        if let Err(error) = files.write(run, &trail) {
            annotate(
                &desk.printer,
                &Fault::new(Code::ReportUnwritten, format!("the files of the run cannot be written: {error}")),
            );
        }
        paths = Paths {
            log: desk.workspace.relative(&files.folder),
            record: desk.workspace.relative(&files.record),
            audit: desk.workspace.relative(&files.audit),
            report: desk.workspace.relative(&files.report),
        };
    }
    let markdown = match (&run, &fault, &text) {
        (Some(run), _, None) => Some(report::summary::summary(run)),
        (Some(run), _, Some(text)) => {
            Some(format!("{}\n```text\n{}\n```\n", report::summary::summary(run), text.replace("```", "'''")))
        }
        (None, Some(fault), _) => Some(report::summary::refusal(fault)),
        (None, None, Some(text)) => Some(format!("```text\n{}\n```\n", text.replace("```", "'''"))),
        (None, None, None) => None,
    };
    let values = match &run {
        Some(run) => report::outputs::of_visit(run, &paths, fault.as_ref()),
        None => report::outputs::of_fault(fault.as_ref()),
    };
    if let Err(fault) = hand_over(&desk.context, markdown.as_deref(), &values) {
        annotate(&desk.printer, &fault);
        if exit == Exit::Done {
            exit = Exit::Failed;
        }
    }
    if let Some(run) = run.as_ref().filter(|_| !rehearsal) {
        say(desk, run, &paths);
    }
    if let Err(error) = desk.workspace.give_back() {
        tracing::warn!(%error, "the workspace's owner cannot be given the files: {error}");
    }
    exit
}

/// The last lines of the log.
fn say(desk: &Desk, run: &Run, paths: &Paths) {
    let status = report::outputs::status(run);
    let decision = report::outputs::decision(run).name();
    desk.printer.text(&format!(
        "{}: {} ({}{decision}); the record is {}",
        run.id,
        run.state,
        if status.is_empty() { String::new() } else { format!("{status}, ") },
        paths.record
    ));
}

/// Fills the runner's files, where there are any.
fn hand_over(context: &Context, markdown: Option<&str>, values: &[(String, String)]) -> Result<(), Fault> {
    let unwritten = |what: &str, error: std::io::Error| {
        Fault::new(Code::ReportUnwritten, format!("the runner's file for {what} cannot be written: {error}"))
    };
    if let (Some(path), Some(markdown)) = (&context.summary_file, markdown) {
        summary::write(path, markdown).map_err(|error| unwritten("the job summary", error))?;
    }
    if let Some(path) = &context.output_file {
        outputs::append(path, values).map_err(|error| unwritten("outputs", error))?;
    }
    if let (Some(path), Some((name, id))) =
        (&context.state_file, values.iter().find(|(name, id)| name == "deployment-id" && !id.is_empty()))
    {
        outputs::append(path, &[(name.clone(), id.clone())]).map_err(|error| unwritten("its state", error))?;
    }
    Ok(())
}

/// Ends before anything was begun.
fn refused(printer: &Printer, context: &Context, fault: &Fault) -> Exit {
    annotate(printer, fault);
    let values = report::outputs::of_fault(Some(fault));
    if let Err(fault) = hand_over(context, Some(&report::summary::refusal(fault)), &values) {
        annotate(printer, &fault);
    }
    fault.code.exit()
}
