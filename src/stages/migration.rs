//! Stage `migration`: the database is brought forward before anything is deployed.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::mpsc::unbounded_channel;

use super::deployment::tell;
use super::drivers::{order, planned_release};
use super::take_back::take_back;
use super::work::{Outcome, Trouble, Work};
use crate::config::Migrate;
use crate::migrate::Migrator;
use crate::promotion::act::{self, Act};
use crate::promotion::digest::Digest;
use crate::promotion::event::Event;
use crate::promotion::fault::{Code, Fault, Severity};
use crate::promotion::migration::Migrations;
use crate::promotion::stage::Stage;

/// The most that is kept of the files of a plan, in bytes.
const KEPT: usize = 4 * 1024 * 1024;

/// A database that is brought forward, and for whom.
struct Ours {
    /// The services, as they are named in acts and faults.
    services: String,
    migrator: Migrator,
}

/// Brings the databases forward, one after the other. When one fails nothing is deployed, and the tags are put back.
///
/// # Errors
/// What the ledger says. What a tool says is recorded here, because it is told before the tags are put back.
pub(super) async fn run(work: &mut Work<'_>) -> Result<Outcome, Trouble> {
    let all = migrators(work);
    if all.is_empty() {
        return Ok(Outcome::not_configured());
    }
    let trouble = match forward(work, all).await {
        Err(trouble) if !trouble.is_the_ledgers() => trouble,
        done => return done,
    };
    let conclusion = trouble.conclusion();
    for fault in trouble.faults() {
        tell(work, fault).await?;
    }
    let note = take_back(work, &[]).await?;
    Ok(Outcome { conclusion, state: None, note, parked: false })
}

async fn forward(work: &mut Work<'_>, all: Vec<Ours>) -> Result<Outcome, Trouble> {
    let mut done = 0;
    for one in &all {
        if is_done(work, &one.services) {
            continue;
        }
        hold_to_plan(work)?;
        done += migrate(work, one).await?;
    }
    Ok(Outcome::done().saying(match done {
        0 => "no migration was pending".to_owned(),
        number => format!("{number} migrations applied"),
    }))
}

/// The databases of the run: services whose settings are the same share one.
fn migrators(work: &Work<'_>) -> Vec<Ours> {
    let mut all: Vec<(&Migrate, Vec<&str>)> = Vec::new();
    for service in &work.target.services {
        let Some(settings) = &work.target.settings(&service.name).migrate else { continue };
        match all.iter_mut().find(|(known, _)| *known == settings) {
            Some((_, services)) => services.push(&service.name),
            None => all.push((settings, vec![&service.name])),
        }
    }
    let ours = |(settings, services): (&Migrate, Vec<&str>)| {
        let first = services.first().copied().unwrap_or_default();
        let values = order(work, first, planned_release(work, first), None, String::new()).values;
        let migrator = Migrator::new(settings, &work.tools.secrets, work.tools.workspace.clone(), values);
        Ours { services: services.join(", "), migrator }
    };
    all.into_iter().map(ours).collect()
}

/// Whether something is to be migrated in this run.
pub(super) fn is_configured(work: &Work<'_>) -> bool {
    work.target.services.iter().any(|service| work.target.settings(&service.name).migrate.is_some())
}

/// The files of all migrations with their checksums: the plan is bound to them.
///
/// # Errors
/// A folder that cannot be read.
pub(super) fn inputs(work: &Work<'_>) -> Result<BTreeMap<String, Digest>, Fault> {
    let mut inputs = BTreeMap::new();
    for one in migrators(work) {
        inputs.extend(one.migrator.inputs().map_err(|fault| fault.about(&one.services))?);
    }
    Ok(inputs)
}

/// The files that a plan was made of, for a visit in another workspace: what says how, and all migrations.
///
/// # Errors
/// [`Code::ConfigurationInvalid`] where they are too large to be kept, or no text.
pub(super) fn kept(work: &Work<'_>) -> Result<BTreeMap<String, String>, Fault> {
    let mut files = work.request.files.clone();
    let mut length = 0;
    for path in work.visit.run().plan.iter().flat_map(|(plan, _)| plan.inputs.keys()) {
        let refused = |why: &str| {
            let text = format!("the run cannot be left to a later job: {path} {why}");
            let fix = "let the run wait for its approval: `while-pending: wait`; or keep what is no migration out of the folder";
            Fault::new(Code::ConfigurationInvalid, text).with_fix(fix)
        };
        let bytes = std::fs::read(work.tools.workspace.join(path)).map_err(|_| refused("cannot be read"))?;
        length += bytes.len();
        if length > KEPT {
            return Err(refused("makes the migrations larger than what is kept of them (4 MiB)"));
        }
        files.insert(path.clone(), String::from_utf8(bytes).map_err(|_| refused("is no text"))?);
    }
    Ok(files)
}

/// Looks at every database, and records what there is to do.
///
/// # Errors
/// What keeps a database from being migrated, so that nobody is asked about it.
pub(super) async fn look(work: &mut Work<'_>) -> Result<Vec<Migrations>, Trouble> {
    let mut all = Vec::new();
    for one in migrators(work) {
        let found = one.migrator.look().await.map_err(|fault| fault.about(&one.services))?;
        for warning in &found.warnings {
            let fault = Fault::new(Code::MigrationEdited, warning.clone()).about(&one.services);
            work.visit.note(Event::Faulted(Box::new(fault.in_stage(Stage::Conditions)))).await?;
        }
        work.visit.note(Event::MigrationsFound { services: one.services, found: Box::new(found.clone()) }).await?;
        all.push(found);
    }
    Ok(all)
}

/// Whether an earlier visit has brought this database forward.
fn is_done(work: &Work<'_>, services: &str) -> bool {
    work.visit.run().intents.values().any(|one| {
        matches!(&one.act, Act::Migrate { services: its, .. } if its == services)
            && one.outcome.as_ref().is_some_and(act::Outcome::is_done)
    })
}

/// The files must be those that the plan was made of: another job may have another checkout.
///
/// # Errors
/// [`Code::PlanChanged`], and what keeps a folder from being read.
pub(super) fn hold_to_plan(work: &Work<'_>) -> Result<(), Fault> {
    let now = inputs(work)?;
    let Some((plan, _)) = &work.visit.run().plan else { return Ok(()) };
    let paths: BTreeSet<&String> = now.keys().chain(plan.inputs.keys()).collect();
    let changed: Vec<&String> = paths.into_iter().filter(|path| plan.inputs.get(*path) != now.get(*path)).collect();
    if let Some(first) = changed.first() {
        let text = format!("{first} is not what it was when the plan was made ({} files differ)", changed.len());
        let fix = "let every job check out the same commit, or promote again in a new workflow run";
        return Err(Fault::new(Code::PlanChanged, text).with_fix(fix));
    }
    Ok(())
}

/// Brings one database forward; how many migrations were applied.
async fn migrate(work: &mut Work<'_>, one: &Ours) -> Result<usize, Trouble> {
    let planned: BTreeSet<String> = work
        .visit
        .run()
        .migrations
        .get(&one.services)
        .map(|found| found.pending.iter().map(|pending| pending.name.clone()).collect())
        .unwrap_or_default();
    let begun = work.visit.run().unsettled().find_map(|(intent, intended)| match &intended.act {
        Act::Migrate { services, .. } if *services == one.services => Some(intent),
        _ => None,
    });
    let found = one.migrator.look().await.map_err(|fault| fault.about(&one.services));
    let found = match (found, begun) {
        (Ok(found), _) => found,
        // A visit was cut off in it: what it left is told by the tool itself.
        (Err(fault), Some(intent)) => {
            let outcome = act::Outcome::Failed { code: fault.code, message: fault.message.clone() };
            work.visit.settle(intent, outcome).await?;
            return Err(fault.into());
        }
        (Err(fault), None) => return Err(fault.into()),
    };
    let pending: Vec<String> = found.pending.iter().map(|pending| pending.name.clone()).collect();
    if let Some(other) = pending.iter().find(|name| !planned.contains(*name)) {
        let text = format!("{other} is pending now, and was not when the plan was made");
        return Err(Fault::new(Code::PlanChanged, text).about(&one.services).into());
    }
    if pending.is_empty() && !found.untold && begun.is_none() {
        return Ok(0);
    }
    let intent = match begun {
        Some(intent) => intent,
        None => {
            let (services, tool) = (one.services.clone(), one.migrator.tool().to_owned());
            work.visit.announce(Stage::Migration, Act::Migrate { services, tool, migrations: pending }).await?
        }
    };
    match said(work, one).await {
        Ok(applied) => {
            let number = applied.len();
            work.visit.settle(intent, act::Outcome::Migrated { applied }).await?;
            Ok(number)
        }
        Err((fault, applied)) => {
            let so_far = match applied.as_slice() {
                [] => "nothing was applied before it".to_owned(),
                names => format!("applied before it: {}", names.join(", ")),
            };
            let fault = fault.about(&one.services).at_severity(Severity::Critical).after_trying(so_far);
            let outcome = act::Outcome::Failed { code: fault.code, message: fault.message.clone() };
            work.visit.settle(intent, outcome).await?;
            Err(fault.into())
        }
    }
}

/// Applies what is pending, while its lines go into the log.
async fn said(work: &mut Work<'_>, one: &Ours) -> Result<Vec<String>, (Fault, Vec<String>)> {
    let (tell, mut heard) = unbounded_channel::<String>();
    let secrets = work.tools.secrets.clone();
    let say = move |text: &str| {
        for line in secrets.redact(text).lines().filter(|line| !line.trim().is_empty()) {
            // Nobody listens any more when the stage is given up.
            let _ = tell.send(line.to_owned());
        }
    };
    let applying = one.migrator.apply(&say);
    tokio::pin!(applying);
    let result = loop {
        tokio::select! {
            biased;
            Some(line) = heard.recv() => work.visit.say(&line),
            result = &mut applying => break result,
        }
    };
    while let Ok(line) = heard.try_recv() {
        work.visit.say(&line);
    }
    if let Err((fault, _)) = &result {
        for line in fault.message.lines().filter(|line| !line.trim().is_empty()) {
            work.visit.say(line);
        }
    }
    result
}
