//! Which probes are asked in a run, and for which service.
//!
//! What an environment says of `health` holds for all its services, and a service may override it; services for which
//! the same holds are one group, whose probes are asked once. A probe that bears a service's name is that service's:
//! its templates and its identity are about it.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use regex::Regex;
use serde::Serialize;

use super::drivers::{deployed_release, driver_of, order};
use super::work::Work;
use crate::config::{Driver, Health, Probe};
use crate::deploy::{self, Order};
use crate::health::{Prepared, Teller, Values, Wanted, prepare, prepare_running, prepare_smoke};
use crate::promotion::deployment::Running;
use crate::promotion::fault::{Code, Fault};
use crate::promotion::run::Run;
use crate::promotion::window::sensitivity;

/// Services for which the same is asked.
pub(super) struct Group {
    /// The services.
    services: Vec<String>,
    /// What the configuration says.
    pub(super) health: Health,
    /// What is asked.
    pub(super) probes: Vec<Prepared>,
    /// The smoke test.
    pub(super) smoke: Option<Prepared>,
    /// The names of those that hold for every version, and not only for the one that is promoted.
    pub(super) lasting: BTreeSet<String>,
}

/// What the probe is called that asks a driver what runs.
const RUNNING: &str = "running-digest";

/// A value that each service has its own of.
const OWN: &str = r"\{[\{%][^}]*\b(service|digest|previous_digest|version|revision|sequence)\b";

/// A value that is another one for every version.
const NEW: &str = r"\{[\{%][^}]*\b(digest|version|revision|sequence)\b";

/// Everything that is asked in this run, filled in.
///
/// # Errors
/// A secret that is not set, a template that cannot be rendered, a probe of which it is not clear whose it is.
pub(super) fn groups(work: &Work<'_>) -> Result<Vec<Group>, Fault> {
    let mut named: Vec<(&Health, Vec<&str>)> = Vec::new();
    for service in &work.target.services {
        let Some(health) = &work.target.settings(&service.name).health else { continue };
        match named.iter_mut().find(|(known, _)| *known == health) {
            Some((_, services)) => services.push(&service.name),
            None => named.push((health, vec![&service.name])),
        }
    }
    let several = named.len() > 1;
    named.into_iter().map(|(health, services)| group(work, health, &services, several)).collect()
}

/// What the windows can detect and what they cannot.
pub(super) fn remarks(groups: &[Group]) -> Vec<String> {
    let mut said: Vec<(Vec<&str>, Vec<String>)> = Vec::new();
    for group in groups {
        let Some(monitor) = &group.health.monitor else { continue };
        for probe in group.probes.iter().filter(|probe| probe.critical) {
            let found = sensitivity(&super::verification::rules_of(monitor, probe.samples));
            match said.iter_mut().find(|(_, known)| *known == found) {
                Some((probes, _)) => probes.push(&probe.name),
                None => said.push((vec![&probe.name], found)),
            }
        }
    }
    said.into_iter().map(|(probes, found)| format!("watching {}: {}", probes.join(", "), found.join("; "))).collect()
}

fn group(work: &Work<'_>, health: &Health, services: &[&str], several: bool) -> Result<Group, Fault> {
    let run = work.visit.run();
    let first = services.first().copied().unwrap_or_default();
    let shown = |name: &str| if several { format!("{first}/{name}") } else { name.to_owned() };
    let mut probes = Vec::new();
    let mut lasting = BTreeSet::new();
    for (name, probe) in &health.probes {
        let mut probe = probe.clone();
        let whose = match services.iter().find(|service| **service == name.as_str()) {
            Some(own) => own,
            None if work.target.knows(name) => {
                // Another service's, which is not promoted: it must live, in whatever version it is.
                probe.identity = None;
                first
            }
            None if services.len() > 1 && uses(OWN, &probe)? => {
                return Err(unclear(&format!("the probe `{name}`"), services));
            }
            None => first,
        };
        // Before the deployment nobody is asked which version it is.
        if !uses(NEW, &Probe { identity: None, ..probe.clone() })? {
            lasting.insert(shown(name));
        }
        probes.push(prepare(shown(name), &probe, health, &values(work, run, whose))?);
    }
    if services.len() > 1 && uses(OWN, &health.smoke)? {
        return Err(unclear("the smoke test", services));
    }
    if !uses(NEW, &health.smoke)? {
        lasting.insert(shown("smoke"));
    }
    let smoke = (!health.smoke.is_empty())
        .then(|| prepare_smoke(shown("smoke"), &health.smoke, health, &values(work, run, first)))
        .transpose()?;
    let services = services.iter().map(|service| (*service).to_owned()).collect();
    Ok(Group { services, health: health.clone(), probes, smoke, lasting })
}

fn values(work: &Work<'_>, run: &Run, service: &str) -> Values {
    let run = super::values::of(run, service, work.request.version.as_deref());
    Values { run: serde_json::Value::Object(run), secrets: work.tools.secrets.clone() }
}

/// Whether the templates of what is asked use certain values.
fn uses(values: &str, asked: &impl Serialize) -> Result<bool, Fault> {
    let text = serde_json::to_string(asked).map_err(|error| Fault::defect(error.to_string()))?;
    let values = Regex::new(values).map_err(|error| Fault::defect(error.to_string()))?;
    Ok(values.is_match(&text))
}

fn unclear(what: &str, services: &[&str]) -> Fault {
    Fault::new(
        Code::ConfigurationInvalid,
        format!("{what} asks for a value that each of {} has its own of", services.join(", ")),
    )
    .with_fix("give it the name of the service that it is about, or write it under `services.<name>.environments`")
}

/// Has the drivers that can tell asked what runs, beside the probes. Gives back what keeps one from being asked that did
/// not have to be: a job that only verifies may lack what deploys.
///
/// # Errors
/// What keeps a driver from being asked that has to be.
pub(super) fn ask_the_drivers(work: &mut Work<'_>, groups: &mut [Group]) -> Result<Vec<String>, Fault> {
    let several = groups.iter().map(|group| group.services.len()).sum::<usize>() > 1;
    let mut unasked = Vec::new();
    for group in groups {
        if group.health.running_digest == Some(false) {
            continue;
        }
        for service in &group.services {
            if !work.target.settings(service).deploy.as_ref().is_some_and(Driver::tells_what_runs) {
                continue;
            }
            let name = if several { format!("{service}/{RUNNING}") } else { RUNNING.to_owned() };
            // What an earlier visit was told counts, and cannot be judged without the rest.
            let was_asked = work.visit.run().health.after_deployment(&name).next().is_some();
            let told = match told(work, service) {
                Ok(told) => told,
                Err(fault) if group.health.running_digest.is_none() && !was_asked => {
                    unasked.push(format!("it is not asked what runs of {service}: {}", fault.message));
                    continue;
                }
                Err(fault) => return Err(fault),
            };
            let wanted = Wanted { release: told.order.release.clone(), names: told.order.names.clone() };
            group.probes.push(prepare_running(name, Box::new(told), wanted, &group.health, &work.tools.secrets));
        }
    }
    Ok(unasked)
}

fn told(work: &mut Work<'_>, service: &str) -> Result<Told, Fault> {
    let driver =
        driver_of(work, service)?.ok_or_else(|| Fault::defect("a driver that tells what runs, and is none"))?;
    let order = order(work, service, deployed_release(work, service), None, String::new());
    driver.check(&order)?;
    Ok(Told { driver, order })
}

/// A driver that tells what runs of a service.
struct Told {
    driver: Arc<dyn deploy::Driver>,
    order: Order,
}

#[async_trait]
impl Teller for Told {
    async fn running(&self) -> Result<Vec<Running>, Fault> {
        self.driver.running(&self.order).await
    }
}
