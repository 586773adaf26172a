//! Stage `deployment`: the drivers put the release in place, wave after wave; all of it or nothing.

use super::drivers::{before, deployed_services, driver_of, order, planned_release};
use super::driving::{Begin, Task, carry_out};
use super::take_back::take_back;
use super::work::{Outcome, Trouble, Work};
use crate::promotion::act::{self, Act};
use crate::promotion::deployment::waves;
use crate::promotion::event::{Conclusion, Event};
use crate::promotion::fault::{Code, Fault};
use crate::promotion::run::Run;
use crate::promotion::stage::Stage;

/// Deploys all services. When one cannot be deployed, those that were are taken back, and the tags with them.
///
/// # Errors
/// What the ledger says, and what keeps a driver from being built. A deployment that fails is recorded here, because it
/// is told before it is taken back, and is no error then.
pub(super) async fn run(work: &mut Work<'_>) -> Result<Outcome, Trouble> {
    let services = deployed_services(work);
    if services.is_empty() {
        return Ok(Outcome::not_configured());
    }
    let needs = |name: &String| work.target.service(name).map(|service| service.needs.clone()).unwrap_or_default();
    let waves = waves(&services.iter().map(|name| (name.clone(), needs(name))).collect::<Vec<_>>());
    if !has_failed(work.visit.run()) {
        for wave in &waves {
            deploy(work, wave).await?;
            if has_failed(work.visit.run()) {
                break;
            }
        }
    }
    if !has_failed(work.visit.run()) {
        return Ok(Outcome::done());
    }
    let order: Vec<String> = waves.into_iter().flatten().collect();
    let note = take_back(work, &order).await?;
    Ok(Outcome { conclusion: conclusion(work.visit.run()), note, ..Outcome::done() })
}

/// Whether a deployment of this run has failed, or is being taken back: then there is no way forward any more.
fn has_failed(run: &Run) -> bool {
    run.intents.values().any(|intended| match &intended.act {
        Act::Deploy { .. } => intended.outcome.as_ref().is_some_and(|outcome| !outcome.is_done()),
        Act::RollBackDeployment { .. } => true,
        _ => false,
    })
}

fn conclusion(run: &Run) -> Conclusion {
    let uncertain = run.intents.values().any(|intended| {
        let code = intended.outcome.as_ref().and_then(act::Outcome::code);
        matches!(intended.act, Act::Deploy { .. }) && code == Some(Code::DeploymentUncertain)
    });
    if uncertain { Conclusion::Errored } else { Conclusion::Failed }
}

/// Deploys the services of a wave, all at once; those of an earlier visit are only followed, or looked at.
async fn deploy(work: &mut Work<'_>, wave: &[String]) -> Result<(), Trouble> {
    let mut tasks = Vec::new();
    for service in wave {
        let driver = match driver_of(work, service) {
            Ok(Some(driver)) => driver,
            Ok(None) => continue,
            Err(fault) => {
                not_begun(work, service, fault).await?;
                continue;
            }
        };
        let known = work.visit.run().deployment(service).map(|(intent, intended)| (intent, intended.clone()));
        let to = planned_release(work, service);
        let (intent, begin) = match known {
            Some((_, intended)) if intended.outcome.is_some() => continue,
            Some((intent, intended)) => (intent, intended.begun.map_or(Begin::Look, Begin::Follow)),
            None => {
                let asked = order(work, service, to.clone(), None, String::new());
                let from = match driver.running(&asked).await {
                    Ok(from) => from,
                    Err(fault) => {
                        not_begun(work, service, fault).await?;
                        continue;
                    }
                };
                let before = before(work, service, &from, &to).await?;
                let (name, driver) = (service.clone(), driver.name().to_owned());
                let (to, before) = (Box::new(to.clone()), before.map(Box::new));
                let act = Act::Deploy { service: name, driver, to, from, before };
                (work.visit.announce(Stage::Deployment, act).await?, Begin::Anew)
            }
        };
        let order = order(work, service, to, None, key(work.visit.run(), service, intent));
        tasks.push(Task { intent, driver, order, back: false, begin });
    }
    let results = carry_out(work, &tasks).await?;
    for (task, result) in tasks.iter().zip(results) {
        if let Err(setback) = result {
            tell(work, setback.fault().clone().about(&task.order.service)).await?;
        }
    }
    Ok(())
}

/// Records that a service cannot be deployed: nothing was done to it, and what was done for it is taken back.
async fn not_begun(work: &mut Work<'_>, service: &str, fault: Fault) -> Result<(), Fault> {
    let known = work.visit.run().deployment(service).filter(|(_, one)| one.outcome.is_none()).map(|(intent, _)| intent);
    let intent = match known {
        Some(intent) => intent,
        None => {
            let driver =
                work.target.settings(service).deploy.as_ref().map_or("none", |driver| driver.name()).to_owned();
            let to = Box::new(planned_release(work, service));
            let act = Act::Deploy { service: service.to_owned(), driver, to, from: Vec::new(), before: None };
            work.visit.announce(Stage::Deployment, act).await?
        }
    };
    let outcome = match known {
        // An earlier visit may have begun it.
        Some(_) => act::Outcome::Failed { code: Code::DeploymentUncertain, message: fault.message.clone() },
        None => act::Outcome::NotBegun { code: fault.code, message: fault.message.clone() },
    };
    work.visit.settle(intent, outcome).await?;
    tell(work, fault.about(service)).await
}

/// The name of an act for those who are to know it again.
pub(super) fn key(run: &Run, service: &str, intent: u64) -> String {
    format!("{}.{service}.{intent}", run.id)
}

/// Records a fault at once.
pub(super) async fn tell(work: &mut Work<'_>, fault: Fault) -> Result<(), Fault> {
    let stage = work.visit.run().stages.last().map_or(Stage::Deployment, |stage| stage.stage);
    work.visit.note(Event::Faulted(Box::new(fault.in_stage(stage)))).await
}
