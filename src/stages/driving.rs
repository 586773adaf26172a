//! Drivers at work: several at once, each to its end; what they begin is recorded as soon as it is known.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep};

use super::work::Work;
use crate::deploy::{Begun, Driver, Log, Order, Progress, Report, Setback};
use crate::promotion::act;
use crate::promotion::deployment::{Deployed, Handle, Release, Running, differences};
use crate::promotion::event::Event;
use crate::promotion::fault::{Code, Fault};

/// How often in a row it is borne that a look fails.
const BEARABLE: u32 = 5;

/// How often what runs is looked at after a deployment: what has ended may show a little later.
const LOOKS: u32 = 6;

/// The longest wait between two of these looks.
const BETWEEN_LOOKS: Duration = Duration::from_secs(10);

/// An order in its driver's hands.
pub(super) struct Task {
    /// The intent's place in the run.
    pub intent: u64,
    pub driver: Arc<dyn Driver>,
    pub order: Order,
    /// Whether it is put back.
    pub back: bool,
    pub begin: Begin,
}

/// Where a task begins.
pub(super) enum Begin {
    /// It was just announced.
    Anew,
    /// An earlier visit has begun it, and knew how it is followed.
    Follow(Handle),
    /// An earlier visit announced it, and it is not known whether it was begun.
    Look,
}

/// Carries out tasks, all at once and each to its end, and settles their intents.
///
/// # Errors
/// What the ledger says; the drivers are then left alone with what they have begun. What goes wrong with a task is in its
/// result.
pub(super) async fn carry_out(work: &mut Work<'_>, tasks: &[Task]) -> Result<Vec<Result<Deployed, Setback>>, Fault> {
    let (tell, mut heard) = unbounded_channel::<(u64, Handle)>();
    let (log, mut lines) = Log::new("", &work.tools.secrets);
    let all = join_all(tasks.iter().map(|task| drive(task, log.of(&task.order.service), tell.clone())));
    tokio::pin!(all);
    let results = loop {
        tokio::select! {
            biased;
            Some((intent, handle)) = heard.recv() => begun(work, intent, handle).await?,
            Some(line) = lines.recv() => work.visit.say(&line),
            results = &mut all => break results,
        }
    };
    while let Ok((intent, handle)) = heard.try_recv() {
        begun(work, intent, handle).await?;
    }
    while let Ok(line) = lines.try_recv() {
        work.visit.say(&line);
    }
    for (task, result) in tasks.iter().zip(&results) {
        work.visit.settle(task.intent, outcome(result)).await?;
    }
    Ok(results)
}

async fn begun(work: &mut Work<'_>, intent: u64, handle: Handle) -> Result<(), Fault> {
    work.visit.note(Event::Begun { intent, handle: Box::new(handle) }).await
}

fn outcome(result: &Result<Deployed, Setback>) -> act::Outcome {
    match result {
        Ok(deployed) => act::Outcome::Deployed(Box::new(deployed.clone())),
        Err(Setback::Untouched(fault)) => act::Outcome::NotBegun { code: fault.code, message: fault.message.clone() },
        Err(Setback::Failed(fault) | Setback::Uncertain(fault)) => {
            act::Outcome::Failed { code: fault.code, message: fault.message.clone() }
        }
    }
}

async fn drive(task: &Task, log: Log, tell: UnboundedSender<(u64, Handle)>) -> Result<Deployed, Setback> {
    let mut found = false;
    let begun = match &task.begin {
        Begin::Anew => start(task, &log).await?,
        Begin::Follow(handle) => Begun::GoesOn(handle.clone()),
        Begin::Look => match look(task).await? {
            Progress::NotStarted => start(task, &log).await?,
            Progress::InProgress(_) => Begun::GoesOn(Handle::default()),
            Progress::Applied(report) => {
                found = true;
                Begun::Done(report)
            }
            Progress::Failed(report) => return Err(failed(task, &report)),
            Progress::Unknown(why) => return Err(Setback::uncertain(format!("{}: {why}", task.order.service))),
        },
    };
    let report = match begun {
        Begun::Done(report) => report,
        Begun::GoesOn(handle) => {
            if !matches!(task.begin, Begin::Follow(_)) {
                // Nobody listens any more when the stage is given up.
                let _ = tell.send((task.intent, handle.clone()));
            }
            follow(task, &handle, &log).await?
        }
    };
    let running = confirm(task, &report, &log).await?;
    let Report { state, version, message, url } = report;
    Ok(Deployed { found, state, version, message, url, running })
}

async fn start(task: &Task, log: &Log) -> Result<Begun, Setback> {
    if task.back { task.driver.roll_back(&task.order, log).await } else { task.driver.start(&task.order, log).await }
}

/// Looks what became of a task of which nothing is known.
async fn look(task: &Task) -> Result<Progress, Setback> {
    let mut borne = 0;
    loop {
        match task.driver.observe(&task.order, None).await {
            Ok(progress) => return Ok(progress),
            Err(fault) if borne >= BEARABLE => {
                let text =
                    format!("a visit was cut off in it, and what became of it cannot be learned: {}", fault.message);
                return Err(Setback::uncertain(text));
            }
            Err(_) => {
                borne += 1;
                sleep(task.driver.pace().every).await;
            }
        }
    }
}

/// Follows what goes on elsewhere to its end.
async fn follow(task: &Task, handle: &Handle, log: &Log) -> Result<Report, Setback> {
    let pace = task.driver.pace();
    let end = Instant::now() + pace.timeout;
    let mut borne = 0;
    let mut told = String::new();
    loop {
        match task.driver.observe(&task.order, Some(handle)).await {
            Ok(Progress::Applied(report)) => {
                log.say(&report.to_string());
                return Ok(report);
            }
            Ok(Progress::Failed(report)) => return Err(failed(task, &report)),
            Ok(Progress::InProgress(report)) => {
                borne = 0;
                let now = report.to_string();
                if now != told {
                    log.say(&now);
                    told = now;
                }
            }
            Ok(Progress::NotStarted) => borne += 1,
            Ok(Progress::Unknown(why)) => {
                borne += 1;
                log.say(&why);
                told = why;
            }
            Err(fault) => {
                borne += 1;
                log.say(&fault.message);
                told.clone_from(&fault.message);
            }
        }
        if borne > BEARABLE {
            return Err(Setback::uncertain(format!("it was begun, and can no longer be followed: {told}")));
        }
        if Instant::now() + pace.every >= end {
            return Err(out_of_time(task, handle, &told, log).await);
        }
        sleep(pace.every).await;
    }
}

async fn out_of_time(task: &Task, handle: &Handle, told: &str, log: &Log) -> Setback {
    let limit = humantime::format_duration(task.driver.pace().timeout);
    let mut fault =
        Fault::new(Code::DeploymentTimedOut, format!("it did not end within {limit}; the last that was seen: {told}"));
    if let Err(error) = task.driver.cancel(&task.order, handle).await {
        log.say(&format!("it could not be stopped: {}", error.message));
        fault = fault.after_trying(format!("to stop it: {}", error.message));
    }
    Setback::Failed(fault)
}

fn failed(task: &Task, report: &Report) -> Setback {
    let text = format!("the driver `{}` says that it has failed: {report}", task.driver.name());
    Setback::Failed(Fault::new(Code::DeploymentFailed, text))
}

/// Holds what runs against what should.
async fn confirm(task: &Task, report: &Report, log: &Log) -> Result<Vec<Running>, Setback> {
    let wanted = Release {
        version: task.order.release.version.clone().or_else(|| report.version.clone()),
        ..task.order.release.clone()
    };
    let mut last = Err(String::new());
    for number in 0..LOOKS {
        if number > 0 {
            sleep(task.driver.pace().every.min(BETWEEN_LOOKS)).await;
        }
        last = match task.driver.running(&task.order).await {
            Ok(running) => {
                let others = differences(&wanted, &task.order.names, &running);
                if others.is_empty() {
                    return Ok(running);
                }
                Ok(others.join(", "))
            }
            Err(fault) => Err(fault.message),
        };
        log.say(&match &last {
            Ok(others) => format!("{wanted} should run, and what runs is {others}"),
            Err(why) => why.clone(),
        });
    }
    Err(match last {
        Ok(others) => {
            let text = format!("the deployment has ended well, and instead of {wanted} there runs {others}");
            Setback::Failed(Fault::new(Code::RunningDiffers, text))
        }
        Err(why) => {
            Setback::uncertain(format!("the deployment has ended well, and what runs cannot be learned: {why}"))
        }
    })
}
