//! Which probes are asked in a run, and for which service.
//!
//! What an environment says of `health` holds for all its services, and a service may override it; services for which
//! the same holds are one group, whose probes are asked once. A probe that bears a service's name is that service's:
//! its templates and its identity are about it.

use regex::Regex;

use super::work::Work;
use crate::config::{Health, Probe};
use crate::health::{Prepared, Values, prepare, prepare_smoke};
use crate::promotion::fault::{Code, Fault};
use crate::promotion::run::Run;
use crate::promotion::window::sensitivity;

/// Services for which the same is asked.
pub(super) struct Group {
    /// What the configuration says.
    pub(super) health: Health,
    /// What is asked.
    pub(super) probes: Vec<Prepared>,
    /// The smoke test.
    pub(super) smoke: Option<Prepared>,
}

/// A value that each service has its own of.
const OWN: &str = r"\{[\{%][^}]*\b(service|digest|previous_digest|version|revision|sequence)\b";

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
    for (name, probe) in &health.probes {
        let mut probe = probe.clone();
        let whose = match services.iter().find(|service| **service == name.as_str()) {
            Some(own) => own,
            None if work.target.knows(name) => {
                // Another service's, which is not promoted: it must live, in whatever version it is.
                probe.identity = None;
                first
            }
            None if services.len() > 1 && is_about_one(&probe)? => return Err(unclear(name, services)),
            None => first,
        };
        probes.push(prepare(shown(name), &probe, health, &values(work, run, whose))?);
    }
    let smoke = (!health.smoke.is_empty())
        .then(|| prepare_smoke(shown("smoke"), &health.smoke, health, &values(work, run, first)))
        .transpose()?;
    Ok(Group { health: health.clone(), probes, smoke })
}

fn values(work: &Work<'_>, run: &Run, service: &str) -> Values {
    let run = super::values::of(run, service, work.request.version.as_deref());
    Values { run: serde_json::Value::Object(run), secrets: work.tools.secrets.clone() }
}

/// Whether a probe's templates use what each service has its own of.
fn is_about_one(probe: &Probe) -> Result<bool, Fault> {
    let text = serde_json::to_string(probe).map_err(|error| Fault::defect(error.to_string()))?;
    let own = Regex::new(OWN).map_err(|error| Fault::defect(error.to_string()))?;
    Ok(own.is_match(&text))
}

fn unclear(name: &str, services: &[&str]) -> Fault {
    Fault::new(
        Code::ConfigurationInvalid,
        format!("the probe `{name}` asks for a value that each of {} has its own of", services.join(", ")),
    )
    .with_fix("give it the name of the service that it is about, or write it under `services.<name>.environments`")
}
