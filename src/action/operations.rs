//! The operations: what each needs is put together, and what came of it is told.

use std::path::PathBuf;
use std::sync::Arc;

use super::approving;
use super::book::Book;
use super::delivery::{FINISHED, paths};
use super::exports::Exports;
use super::inputs::DEFAULT_CONFIG;
use super::run::{Desk, Ended, Overview};
use super::tools::{Met, post_of, tools};
use crate::config::{Configuration, NotifyEvent, nearest};
use crate::ledger::{Audit, Filter, Ledger, Rehearsal};
use crate::promotion::event::Operation;
use crate::promotion::fault::{Code, Exit, Fault, Severity};
use crate::promotion::identity::DeploymentId;
use crate::promotion::run::Run;
use crate::report;
use crate::report::outputs::Paths;
use crate::stages::announce::Announcement;
use crate::stages::request::Request;
use crate::stages::target::Target;
use crate::stages::{self, Recovered, Recovery, Settling};

/// Does what was asked.
///
/// # Errors
/// What keeps it from being done, and is not in a run.
pub(super) async fn operate(desk: &Desk, book: &Book) -> Result<Ended, Fault> {
    match desk.request.operation {
        Operation::Promote | Operation::Plan | Operation::Rollback | Operation::Verify => promoted(desk, book).await,
        Operation::Watch => approving::watch(desk).await,
        Operation::Recover => recover(desk, book).await,
        Operation::Audit => audit(desk, book).await,
        Operation::Report => report(desk, book).await,
        Operation::Notify => notify(desk).await,
    }
}

async fn promoted(desk: &Desk, book: &Book) -> Result<Ended, Fault> {
    let Some(commented) = approving::commented(desk) else {
        let (request, target, configuration) = described(desk)?;
        return promote(desk, book, &request, &target, configuration.as_ref()).await;
    };
    match approving::taken_up(desk, book, &commented).await? {
        Ok((request, target, configuration)) => promote(desk, book, &request, &target, Some(&configuration)).await,
        Err(nothing) => Ok(nothing),
    }
}

async fn promote(
    desk: &Desk,
    book: &Book,
    request: &Request,
    target: &Target,
    configuration: Option<&Configuration>,
) -> Result<Ended, Fault> {
    let tools = tools(desk, &Met::on(target.routes()), configuration, &target.environment)?;
    // Nobody is asked for a rollback or a look.
    if matches!(request.operation, Operation::Promote | Operation::Plan) {
        approving::can_park(target, book)?;
    }
    let audience = Arc::clone(&desk.audience);
    if desk.rehearsal {
        let ledger = Arc::new(Rehearsal::before(book.to_read().await?));
        let run = stages::plan(request, target, &tools, ledger, audience).await?;
        let text = report::plan::plan(&run).map(|text| text + &policy_text(target) + &approving::needed(target));
        let fault = stages::foreseen(&run, desk.inputs.force).filter(|_| run.ended.is_none());
        let exit = fault.as_ref().map_or(Ended::of(run.clone()).exit, |fault| fault.code.exit());
        return Ok(Ended { exit, run: Some(run), fault, text, overview: None });
    }
    if desk.request.operation == Operation::Rollback && desk.request.digest.is_none() && !book.lasting {
        return Err(Fault::new(
            Code::LastingLedgerRequired,
            "a rollback that chooses its target needs the history of the environment, and this ledger has none",
        ));
    }
    if desk.request.until.is_some() && !book.lasting {
        desk.printer.annotate(
            super::printer::Level::Warning,
            "until",
            "the ledger is a file in this job's workspace: a later step of the same job can go on with the run, a later job cannot\n\
             fix: give `database-url` a PostgreSQL database",
        );
    }
    let exports = Exports::of(desk, configuration, &tools.secrets)?;
    let ledger = book.ready(desk).await?;
    let run = stages::promote(request, target, &tools, Arc::clone(&ledger), audience).await?;
    let run = with_spool(desk, book, ledger.as_ref(), run).await;
    exports.send(desk, &run, &desk.witness.records()).await;
    // What takes back is a run of its own, with a trail of its own.
    if let Some(other) = &run.rollback.run
        && let Ok(records) = ledger.load(other).await
        && let Ok(back) = Run::fold(&records)
    {
        exports.send(desk, &back, &records).await;
    }
    Ok(Ended::of(run))
}

/// What the checks of each service do, for whoever reads a plan.
fn policy_text(target: &Target) -> String {
    let services = target.services.iter().filter(|service| service.image.is_some());
    services
        .map(|service| format!("- {}: {}\n", service.name, target.settings(&service.name).validate.text()))
        .collect()
}

/// The run, with its events in the ledger where they were kept in a file meanwhile and the database is back. If it is not,
/// the next visit brings it what is in the file.
async fn with_spool(desk: &Desk, book: &Book, ledger: &dyn Ledger, run: Run) -> Run {
    match book.take_in_spool(desk).await {
        Ok(0) => run,
        Ok(_) => match ledger.load(&run.id).await {
            Ok(records) => match Run::fold(&records) {
                Ok(whole) => {
                    desk.audience.in_hand(&whole, &records);
                    whole
                }
                Err(_) => run,
            },
            Err(_) => run,
        },
        Err(fault) => {
            tracing::debug!(%fault, "the spool stays: {fault}");
            run
        }
    }
}

/// Where the run goes: by `image` and `to`, or by the configuration.
pub(super) fn described(desk: &Desk) -> Result<(Request, Target, Option<Configuration>), Fault> {
    let mut request = desk.request.clone();
    if request.to.is_some() && request.environment.is_none() {
        let target = Target::unconfigured(&request)?;
        return Ok((request, target, None));
    }
    let configuration = Configuration::load(&configuration_path(desk))?;
    let path = desk.inputs.config.as_deref().unwrap_or(DEFAULT_CONFIG);
    let target = Target::configured(&request, &configuration, path)?;
    request.files.insert(path.to_owned(), configuration.text().to_owned());
    Ok((request, target, Some(configuration)))
}

fn configuration_path(desk: &Desk) -> PathBuf {
    desk.context.workspace.join(desk.inputs.config.as_deref().unwrap_or(DEFAULT_CONFIG))
}

async fn recover(desk: &Desk, book: &Book) -> Result<Ended, Fault> {
    let ledger = if desk.rehearsal {
        let Some(ledger) = book.to_read().await? else { return Ok(recovered_text(&[])) };
        ledger
    } else {
        book.ready(desk).await?
    };
    // A run that has only its tags to move needs it for how registries are spoken to; its plan says everything else.
    let configuration = Configuration::load(&configuration_path(desk)).ok();
    let tools = |run: &Run| {
        let plan = run.plan.as_ref().map(|(plan, _)| plan);
        let images = plan.into_iter().flat_map(|plan| &plan.candidates).filter_map(|planned| planned.image.as_ref());
        tools(desk, &Met::by(images), configuration.as_ref(), &run.opening.environment)
    };
    let path = desk.inputs.config.as_deref().unwrap_or(DEFAULT_CONFIG);
    let target = |run: &Run| {
        let (environment, services) = (Some(run.opening.environment.clone()), run.opening.services.clone());
        let request = Request { environment, services, ..desk.request.clone() };
        let target = Target::configured(&request, configuration.as_ref()?, path).ok()?;
        let (plan, _) = run.plan.as_ref()?;
        let checksum = target.configuration.as_ref().map(|(_, checksum)| checksum);
        (plan.configuration.as_ref() == checksum).then_some(target)
    };
    let parked = if desk.rehearsal { Vec::new() } else { look_after_parked(desk, book, ledger.as_ref()).await? };
    let recovered = stages::recover(&Recovery {
        request: &desk.request,
        tools: &tools,
        target: &target,
        looked_after: parked.iter().map(|(run, _)| run.clone()).collect(),
        ledger,
        audience: Arc::clone(&desk.audience),
        only_look: desk.rehearsal,
    })
    .await?;
    let mut ended = recovered_text(&recovered);
    if recovered.is_empty() && !parked.is_empty() {
        ended.text = None;
    }
    if let ([(_, Ok(one))], []) = (parked.as_slice(), recovered.as_slice()) {
        let (run, fault) = (one.run.clone(), one.fault.clone());
        ended = Ended { exit: one.exit, run, fault, text: None, overview: None };
    }
    let text = ended.text.get_or_insert_default();
    for (run, one) in &parked {
        let what = match one {
            Ok(one) => one.run.as_ref().map_or("over", |run| run.state.name()).to_owned(),
            Err(fault) => format!("left as it is: {fault}"),
        };
        text.push_str(&format!("run {run}, which waits for people, was looked after, and is {what}\n"));
        match one {
            Ok(one) if ended.exit == Exit::Done => ended.exit = one.exit,
            Ok(_) => {}
            Err(fault) => {
                ended.exit = Exit::Failed;
                ended.fault.get_or_insert_with(|| fault.clone());
            }
        }
    }
    Ok(ended)
}

/// Goes on with runs that were left waiting for people: reminds them, counts their answers, sees what they have done, ends
/// what has taken too long. What keeps one of them from going on is told of it, and stops no other.
async fn look_after_parked(
    desk: &Desk,
    book: &Book,
    ledger: &dyn Ledger,
) -> Result<Vec<(DeploymentId, Result<Ended, Fault>)>, Fault> {
    let ids = match &desk.request.deployment_id {
        Some(id) => vec![id.clone()],
        None => {
            let filter = Filter {
                scope: Some(desk.request.job.scope()),
                environment: desk.request.environment.clone(),
                unfinished: true,
                ..Filter::default()
            };
            ledger.runs(&filter).await?
        }
    };
    let mut all = Vec::new();
    for id in ids {
        let run = Run::fold(&ledger.load(&id).await?)?;
        if !approving::is_parked(&run) || run.opening.scope != desk.request.job.scope() {
            continue;
        }
        let ended = match approving::as_asked(desk, &run) {
            Ok((request, target, configuration)) => {
                Box::pin(promote(desk, book, &request, &target, Some(&configuration))).await
            }
            Err(fault) => Err(fault),
        };
        all.push((id, ended));
    }
    Ok(all)
}

fn recovered_text(recovered: &[Recovered]) -> Ended {
    let mut text = String::new();
    let mut failed = None;
    for one in recovered {
        let what = match &one.result {
            Settling::Settled => format!("was settled, and is {}", one.run.state),
            Settling::Needed => "needs to be settled".to_owned(),
            Settling::NothingToDo(why) => format!("needs nothing: {why}"),
            Settling::AtWork => {
                "holds its lease and may be at work; name it in `deployment-id` to take it over".to_owned()
            }
            Settling::Failed(fault) => {
                failed.get_or_insert_with(|| fault.clone());
                format!("could not be settled: {fault}")
            }
        };
        text.push_str(&format!("run {} ({}) {what}\n", one.run.id, one.run.opening.environment));
    }
    if recovered.is_empty() {
        text.push_str("there is no run to settle\n");
    }
    let run = match recovered {
        [one] => Some(one.run.clone()),
        _ => None,
    };
    let exit = if failed.is_some() { Exit::Failed } else { Exit::Done };
    Ended { exit, run, fault: failed, text: Some(text), overview: None }
}

async fn audit(desk: &Desk, book: &Book) -> Result<Ended, Fault> {
    let anchors = desk.inputs.anchor.as_deref().map(stages::audit::anchor).transpose()?.into_iter().collect::<Vec<_>>();
    let audited = match &desk.inputs.audit_file {
        Some(path) => stages::audit::file(&PathBuf::from(path), &anchors)?,
        None => {
            let (run, environment) = (desk.request.deployment_id.as_ref(), desk.request.environment.as_deref());
            match book.exists().await? {
                true => stages::audit::ledger(book.ready(desk).await?.as_ref(), run, environment, &anchors).await?,
                // Whoever has an anchor of something that is gone is told so.
                false => Audit::default().finish(true, &anchors),
            }
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
    Ok(Ended { exit, run: None, fault, text: Some(text), overview: None })
}

/// Tells of a run, or of many, from the ledger. It changes nothing.
async fn report(desk: &Desk, book: &Book) -> Result<Ended, Fault> {
    let Some(ledger) = book.to_read().await? else {
        return Err(Fault::new(Code::InputInvalid, "there is no ledger to tell from")
            .with_fix("give `database-url` the address of the ledger that the runs were recorded in"));
    };
    let folder = desk.workspace.folder();
    let (markdown, paths) = match &desk.request.deployment_id {
        Some(id) => {
            let (run, files) = stages::reporting::one(ledger.as_ref(), id, folder).await?;
            (report::summary::summary(&run), paths(desk, &files))
        }
        None => {
            let (environment, since) = (desk.request.environment.as_deref(), desk.inputs.since);
            let overview = stages::reporting::many(ledger.as_ref(), None, environment, since, folder).await?;
            desk.printer.text(&format!("{} runs", overview.runs));
            (overview.markdown, Paths { report: desk.workspace.relative(&overview.path), ..Paths::default() })
        }
    };
    desk.printer.text(&format!("the report is {}", paths.report));
    let overview = Some(Overview { markdown, paths });
    Ok(Ended { exit: Exit::Done, run: None, fault: None, text: None, overview })
}

/// Tells people something that is not a run's.
async fn notify(desk: &Desk) -> Result<Ended, Fault> {
    let configuration = Configuration::load(&configuration_path(desk))?;
    let inputs = &desk.inputs;
    let (Some(event), Some(message)) = (inputs.event, &inputs.message) else {
        return Err(Fault::defect("a notification without an event or a message"));
    };
    let names: Vec<&str> = configuration.all_channels().map(|(name, _)| name).collect();
    if let Some(unknown) = inputs.channels.iter().find(|name| !names.contains(&name.as_str())) {
        let hint = nearest(unknown, &names).map(|name| format!("did you mean `{name}`? ")).unwrap_or_default();
        return Err(Fault::new(Code::InputInvalid, format!("input `channels`: there is no channel `{unknown}`"))
            .with_fix(format!("{hint}the channels are: {}", names.join(", "))));
    }
    let environment = desk.request.environment.as_deref();
    let severity = inputs.severity.unwrap_or(event.severity());
    let wanted = configuration.all_channels().filter(|(name, channel)| match inputs.channels.as_slice() {
        [] => channel.wants_at(event, severity) && environment.is_none_or(|environment| channel.covers(environment)),
        named => named.iter().any(|one| one == name),
    });
    let wanted: Vec<_> = wanted.collect();
    // A rehearsal needs no channel's secrets.
    if desk.rehearsal || wanted.is_empty() {
        let names: Vec<&str> = wanted.iter().map(|(name, _)| *name).collect();
        let text = match names.as_slice() {
            [] => format!("no channel is told of `{event}`"),
            names => format!("these would be told of `{event}`: {}", names.join(", ")),
        };
        return Ok(Ended { exit: Exit::Done, run: None, fault: None, text: Some(text), overview: None });
    }
    let post = post_of(desk, &configuration, wanted.into_iter())?;
    let settled = stages::announce::announce(&post, &announcement(desk, event, message)).await;
    let (mut text, mut failed) = (String::new(), Vec::new());
    for one in settled {
        match one.result {
            Ok(receipt) => text.push_str(&format!("{}: {}\n", one.channel, receipt.delivery.name())),
            Err(why) => {
                text.push_str(&format!("{}: failed, after {} attempts\n", one.channel, one.attempts));
                failed.push(format!("{}: {why}", one.channel));
            }
        }
    }
    let fault = (!failed.is_empty()).then(|| {
        Fault::new(Code::NotificationFailed, format!("not everybody was told: {}", failed.join("; ")))
            .at_severity(Severity::High)
    });
    let exit = if fault.is_some() { Exit::Failed } else { Exit::Done };
    Ok(Ended { exit, run: None, fault, text: Some(text), overview: None })
}

fn announcement(desk: &Desk, event: NotifyEvent, message: &str) -> Announcement {
    let (job, inputs) = (&desk.request.job, &desk.inputs);
    let workflow = job.workflow.as_ref();
    let mut facts = vec![("Repository".to_owned(), job.scope())];
    let mut add =
        |name: &str, value: Option<&String>| facts.extend(value.map(|value| (name.to_owned(), value.clone())));
    add("Environment", desk.request.environment.as_ref());
    add("Workflow", workflow.and_then(|workflow| workflow.workflow.as_ref()));
    add("Actor", job.actor.as_ref());
    add("Commit", job.commit.as_ref());
    let place = desk.request.environment.as_ref().or(workflow.and_then(|workflow| workflow.workflow.as_ref()));
    // The same step, tried again in the same attempt, says the same.
    let step = ["GITHUB_RUN_ID", "GITHUB_RUN_ATTEMPT", "GITHUB_JOB", "GITHUB_ACTION"];
    let step: Vec<&str> = step.iter().filter_map(|name| desk.environment.get(name)).collect();
    let own = if step.is_empty() { uuid::Uuid::new_v4().to_string() } else { step.join("/") };
    Announcement {
        event,
        severity: inputs.severity,
        message: message.to_owned(),
        environment: desk.request.environment.clone(),
        facts,
        url: workflow.and_then(|workflow| workflow.url.clone()),
        commit: job.commit.clone(),
        subject: format!("{}/{}", job.scope(), place.map_or("notify", String::as_str)),
        key: format!("notify/{}/{own}", job.scope()),
    }
}

/// The post step: a run that this job's main step left in the middle is marked as interrupted, so that nobody waits for
/// its lease.
///
/// # Errors
/// What the ledger says.
pub(super) async fn finalise(desk: &Desk, book: &Book) -> Result<(), Fault> {
    let told = |name: &str| desk.environment.get(&format!("STATE_{name}"));
    if told(FINISHED).is_some() {
        return Ok(());
    }
    let Some(id) = told("deployment-id").and_then(|id| id.parse().ok()) else { return Ok(()) };
    let ledger = book.ready(desk).await?;
    let records = ledger.load(&id).await?;
    let run = Run::fold(&records)?;
    if run.ended.is_none() && run.is_visited() {
        stages::interrupt(&records, "the step ended without telling", ledger, Arc::clone(&desk.audience)).await?;
    }
    Ok(())
}
