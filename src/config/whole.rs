//! What only shows when all of a configuration is there: names that have to exist, ways that must not lead in a circle,
//! a target that must not be its own source.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use super::check::{Check as _, Checker, Merge as _};
use super::configuration::{Parts, RawConfiguration, Service};
use super::deploy::Driver;
use super::environment::{Environment, RawSettings, Settings};
use super::image::invalid;
use super::literal::{NotOne, literal};
use super::names::EnvironmentName;
use super::path::{Path, shortened};
use super::section::Key;
use super::suggest;
use super::template::Template;
use crate::promotion::fault::Code;
use crate::promotion::image::{InvalidReference, Reference, Repository, Tag};

/// The most services of one file: each is looked at in each environment.
const MAX_SERVICES: usize = 500;

/// The most environments of one file.
const MAX_ENVIRONMENTS: usize = 100;

/// Checks it all. `None` where something is wrong; the checker then has all that is.
pub(super) fn check(raw: &RawConfiguration, checker: &mut Checker<'_>) -> Option<Parts> {
    let top = Path::default();
    for (key, count, most) in [
        ("services", raw.services.0.as_ref().map(|services| services.0.len()), MAX_SERVICES),
        ("environments", raw.environments.0.as_ref().map(|environments| environments.0.len()), MAX_ENVIRONMENTS),
    ] {
        match count {
            Some(0) => checker.key_problem(&top.key(key), "names none", "add one"),
            Some(count) if count > most => {
                checker.key_problem(&top.key(key), format!("names {count}, and {most} are the most"), "split the file");
                return None;
            }
            _ => {}
        }
    }
    if raw.environments.0.is_none() {
        checker.missing(&top, "environments");
    }
    let services = raw.services.required(&top, "services", checker);
    let retry = raw.retry.always(&top, "retry", checker);
    let insecure_registries = raw.insecure_registries.or(&top, "insecure-registries", checker, Vec::new);
    // Their secrets are read when their registry is met.
    let registries = raw.registries.or(&top, "registries", checker, IndexMap::new);
    let ((notify, audit), secrets) = checker.noting_secrets(|checker| {
        (raw.notify.always(&top, "notify", checker), raw.audit.always(&top, "audit", checker))
    });
    // What is wrong with `github` at the top is told there, and not again in every environment.
    let github = raw.github.optional(&top, "github", checker);
    let everywhere = if github.is_some() { raw.github.clone() } else { Key::default() };

    let environments = raw.environments.0.as_ref().map(|environments| &environments.0);
    let checked: Vec<Option<(String, Environment)>> = environments
        .into_iter()
        .flatten()
        .map(|(name, settings)| {
            literal::<EnvironmentName>(name, &top.keys(["environments", name]), checker)?;
            let mut settings = settings.clone();
            settings.github = everywhere.clone().merge(settings.github);
            let environment = environment(raw, name, &settings, checker)?;
            Some((name.clone(), environment))
        })
        .collect();
    let complete = checked.iter().all(Option::is_some);
    let mut environments: IndexMap<String, Environment> = checked.into_iter().flatten().collect();

    let services = services?;
    between_services(raw, &services, checker);
    origins(raw, &services, &environments, checker);
    places(&services, &mut environments, checker);
    channels(raw, &environments, checker);
    tellers(&services, &environments, checker);
    let notify = notify?;
    complete.then_some(Parts {
        services,
        environments,
        retry: retry?,
        insecure_registries: insecure_registries?,
        registries: registries?,
        notify,
        audit: audit?,
        secrets,
    })
}

fn base_path(environment: &str) -> Path {
    Path::default().keys(["environments", environment])
}

fn override_path(service: &str, environment: &str) -> Path {
    Path::default().keys(["services", service, "environments", environment])
}

/// Checks an environment, and what services make of it.
fn environment(
    raw: &RawConfiguration,
    name: &str,
    settings: &RawSettings,
    checker: &mut Checker<'_>,
) -> Option<Environment> {
    let base = base_path(name);
    let mut complete = true;
    let ((own, services), mut secrets) = checker.noting_secrets(|checker| {
        let own = settings.check(&base, checker);
        let mut services = BTreeMap::new();
        for (service, keys) in raw.services.0.iter().flat_map(|services| &services.0) {
            let Some(over) = keys.environments.0.as_ref().and_then(|environments| environments.0.get(name)) else {
                continue;
            };
            let merged = settings.clone().merge(over.0.clone());
            let checked =
                checker.overlaid(base.clone(), override_path(service, name), |checker| merged.check(&base, checker));
            match checked {
                Some(settings) => {
                    services.insert(service.clone(), settings);
                }
                None => complete = false,
            }
        }
        (own, services)
    });
    // A secret of the environment is met again in each service that overrides something.
    let mut met = std::collections::HashSet::new();
    secrets.retain(|secret| met.insert((secret.name().to_owned(), secret.path().clone())));
    let settings = own.filter(|_| complete)?;
    Some(Environment {
        name: name.to_owned(),
        settings,
        services,
        targets: BTreeMap::new(),
        sources: BTreeMap::new(),
        secrets,
    })
}

/// Checks what services say of each other and of environments.
fn between_services(raw: &RawConfiguration, services: &IndexMap<String, Service>, checker: &mut Checker<'_>) {
    for (name, service) in services {
        let at = Path::default().keys(["services", name, "needs"]);
        for (place, needed) in service.needs.iter().enumerate() {
            if !services.contains_key(needed) {
                let fix = suggest::fix(needed, services.keys().map(String::as_str), "services");
                checker.problem(&at.index(place), format!("there is no service `{needed}`"), fix);
            }
        }
    }
    let needs = |name: &str| services.get(name).map(|service| service.needs.clone()).unwrap_or_default();
    for circle in circles(services.keys(), needs) {
        let fix = "let none of them need itself by way of the others";
        let at = Path::default().keys(["services", &circle[0], "needs"]);
        checker.key_problem(&at, format!("leads in a circle: {}", circle.join(" → ")), fix);
    }
    let environments = raw.environments.0.as_ref().map(|environments| &environments.0);
    for (name, keys) in raw.services.0.iter().flat_map(|services| &services.0) {
        for environment in keys.environments.0.iter().flat_map(|environments| environments.0.keys()) {
            if !environments.is_some_and(|known| known.contains_key(environment)) {
                let known = environments.into_iter().flatten().map(|(name, _)| name.as_str());
                let fix = suggest::fix(environment, known, "environments");
                let message = format!("there is no environment `{}`", shortened(environment));
                checker.key_problem(&override_path(name, environment), message, fix);
            }
        }
    }
}

/// The circles that `next` leads in, each once, beginning with the name that comes first.
fn circles<'n>(names: impl Iterator<Item = &'n String>, next: impl Fn(&str) -> Vec<String>) -> Vec<Vec<String>> {
    let names: Vec<&String> = names.collect();
    let mut circles: Vec<Vec<String>> = Vec::new();
    let mut ended: Vec<String> = Vec::new();
    for name in names {
        let mut way: Vec<(String, Vec<String>)> = vec![(name.clone(), next(name))];
        while let Some((here, ahead)) = way.last_mut() {
            let Some(step) = ahead.pop() else {
                ended.push(here.clone());
                way.pop();
                continue;
            };
            if let Some(start) = way.iter().position(|(passed, _)| *passed == step) {
                let circle = way[start..].iter().map(|(passed, _)| passed.clone()).chain([step]).collect();
                circles.push(circle);
            } else if !ended.contains(&step) {
                let ahead = next(&step);
                way.push((step, ahead));
            }
        }
    }
    circles
}

/// Notes a problem in an environment's settings for a service.
fn in_settings(
    environment: &str,
    service: Option<&str>,
    checker: &mut Checker<'_>,
    note: impl FnOnce(&Path, &mut Checker<'_>),
) {
    let base = base_path(environment);
    match service {
        Some(service) => {
            checker.overlaid(base.clone(), override_path(service, environment), |checker| note(&base, checker));
        }
        None => note(&base, checker),
    }
}

/// Checks where environments get their candidates.
fn origins(
    raw: &RawConfiguration,
    services: &IndexMap<String, Service>,
    environments: &IndexMap<String, Environment>,
    checker: &mut Checker<'_>,
) {
    // What failed its own check is known by name all the same.
    let known: Vec<&str> =
        raw.environments.0.iter().flat_map(|environments| environments.0.keys()).map(String::as_str).collect();
    let views = std::iter::once(None).chain(services.keys().map(|name| Some(name.as_str())));
    for service in views {
        let settings = |environment: &Environment| view(environment, service).from.clone();
        for (name, environment) in environments {
            if let Some(from) = settings(environment).filter(|from| !known.contains(&from.as_str())) {
                let fix = suggest::fix(&from, known.iter().copied().filter(|known| known != name), "environments");
                in_settings(name, service, checker, |base, checker| {
                    checker.problem(&base.key("from"), format!("there is no environment `{}`", shortened(&from)), fix);
                });
            }
        }
        let next = |name: &str| environments.get(name).and_then(settings).into_iter().collect();
        for circle in circles(environments.keys(), next) {
            in_settings(&circle[0], service, checker, |base, checker| {
                let message = format!("leads in a circle: {}", circle.join(" → "));
                checker.problem(&base.key("from"), message, "let one of them come from no other");
            });
        }
    }
}

/// An environment's settings, for a service or its own.
fn view<'e>(environment: &'e Environment, service: Option<&str>) -> &'e Settings {
    service.map_or(environment.settings(), |service| environment.for_service(service))
}

/// Finds out where each service is in each environment, and that it does not come from the same place.
fn places(
    services: &IndexMap<String, Service>,
    environments: &mut IndexMap<String, Environment>,
    checker: &mut Checker<'_>,
) {
    for environment in environments.values_mut() {
        for (name, service) in services {
            let Some(image) = &service.image else { continue };
            if let Some(target) = target(name, image, environment, checker) {
                environment.targets.insert(name.clone(), target);
            }
        }
    }
    let targets: BTreeMap<String, BTreeMap<String, Reference>> =
        environments.iter().map(|(name, environment)| (name.clone(), environment.targets.clone())).collect();
    for (name, environment) in environments.iter_mut() {
        for (service, target) in &targets[name] {
            let settings = environment.for_service(service);
            let from = settings.from.as_ref().filter(|from| *from != name);
            let source = from.and_then(|from| targets.get(from)).and_then(|targets| targets.get(service)).cloned();
            let tagged =
                settings.from_tag.as_ref().zip(services.get(service).and_then(|service| service.image.as_ref()));
            let tagged = tagged.and_then(|(tag, image)| Some(image.tagged(fixed(tag, service, name)?.parse().ok()?)));
            if source.as_ref() == Some(target) || tagged.as_ref() == Some(target) {
                let origin = from.map_or("`from-tag`".to_owned(), |from| format!("environment `{from}`"));
                in_settings(name, Some(service), checker, |base, checker| {
                    checker.problem_of(
                        Code::SourceIsTarget,
                        &base.key("tag"),
                        format!("source and target are the same: {origin} is `{target}` too"),
                        "give it another `tag`, or another `repository`",
                    );
                });
            }
            if let Some(source) = source {
                environment.sources.insert(service.clone(), source);
            }
        }
    }
}

/// What a template says that needs nothing but names.
fn fixed(template: &Template, service: &str, environment: &str) -> Option<String> {
    template.render(minijinja::context! { service, environment }).ok()
}

/// Where a service is in an environment.
fn target(
    service: &str,
    image: &Repository,
    environment: &Environment,
    checker: &mut Checker<'_>,
) -> Option<Reference> {
    let settings = environment.for_service(service);
    let name = environment.name();
    let Some(tag) = &settings.tag else {
        in_settings(name, Some(service), checker, |base, checker| {
            checker.key_problem(
                base,
                format!("`tag` is missing, and service `{service}` has an image"),
                "add `tag`, e.g. the environment's name",
            );
        });
        return None;
    };
    let mut made = |key: &str, text: &str, error: &InvalidReference| {
        let NotOne { why, fix } = invalid(text, error);
        in_settings(name, Some(service), checker, |base, checker| {
            let message = format!("makes `{}` for service `{service}`, which {why}", shortened(text));
            checker.problem(&base.key(key), message, fix.unwrap_or_default());
        });
    };
    let tag = fixed(tag, service, name)?;
    let tag = tag.parse::<Tag>().inspect_err(|error| made("tag", &tag, error)).ok();
    let repository = match &settings.repository {
        Some(template) => {
            let repository = fixed(template, service, name)?;
            repository.parse().inspect_err(|error| made("repository", &repository, error)).ok()
        }
        None => Some(image.clone()),
    };
    Some(repository?.tagged(tag?))
}

/// Checks that channels and environments that are named exist.
fn channels(raw: &RawConfiguration, environments: &IndexMap<String, Environment>, checker: &mut Checker<'_>) {
    let channels: Vec<&str> = raw.notify.0.iter().flat_map(|channels| channels.0.keys()).map(String::as_str).collect();
    for (name, environment) in environments {
        let views = std::iter::once(None).chain(environment.services.keys().map(|service| Some(service.as_str())));
        for service in views {
            for (place, channel) in view(environment, service).rollback.escalate.iter().enumerate() {
                if !channels.contains(&channel.as_str()) {
                    let fix = match channels.as_slice() {
                        [] => "add it there".to_owned(),
                        known => suggest::fix(channel, known.iter().copied(), "channels"),
                    };
                    in_settings(name, service, checker, |base, checker| {
                        let at = base.keys(["rollback", "escalate"]).index(place);
                        checker.problem(&at, format!("there is no channel `{channel}` under `notify`"), fix);
                    });
                }
            }
        }
    }
    let known: Vec<&str> =
        raw.environments.0.iter().flat_map(|environments| environments.0.keys()).map(String::as_str).collect();
    for (name, channel) in raw.notify.0.iter().flat_map(|channels| &channels.0) {
        for (place, environment) in
            channel.environments.0.iter().flat_map(super::collection::OneOrMany::texts).enumerate()
        {
            if !known.contains(&environment) {
                let fix = suggest::fix(environment, known.iter().copied(), "environments");
                let at = Path::default().keys(["notify", name, "environments"]).index(place);
                checker.problem(&at, format!("there is no environment `{}`", shortened(environment)), fix);
            }
        }
    }
}

/// Checks that somebody can tell which digest runs, where that is asked for.
fn tellers(
    services: &IndexMap<String, Service>,
    environments: &IndexMap<String, Environment>,
    checker: &mut Checker<'_>,
) {
    for (name, environment) in environments {
        for service in services.keys() {
            let settings = environment.for_service(service);
            let asked = settings.health.as_ref().is_some_and(|health| health.running_digest == Some(true));
            if !asked || settings.deploy.as_ref().is_some_and(Driver::tells_what_runs) {
                continue;
            }
            let (why, fix) = match &settings.deploy {
                None => ("nothing deploys it".to_owned(), "delete it for this service, or add `deploy`"),
                Some(Driver::Workflow(_)) => {
                    ("a workflow does not tell it".to_owned(), "give a probe an `identity` instead")
                }
                Some(driver) => (
                    format!("`deploy.{}` has no `running`", driver.name()),
                    "add `running`, or give a probe an `identity`",
                ),
            };
            in_settings(name, Some(service), checker, |base, checker| {
                let message = format!("what runs of `{service}` cannot be told: {why}");
                checker.key_problem(&base.keys(["health", "running-digest"]), message, fix);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_each_circle_once() {
        let found = |edges: &[(&str, &[&str])]| {
            let graph: BTreeMap<String, Vec<String>> = edges
                .iter()
                .map(|(from, to)| ((*from).to_owned(), to.iter().map(ToString::to_string).collect()))
                .collect();
            circles(graph.keys(), |name| graph.get(name).cloned().unwrap_or_default())
                .into_iter()
                .map(|circle| circle.join(" "))
                .collect::<Vec<_>>()
        };
        assert_eq!(found(&[("a", &["b"]), ("b", &["c"]), ("c", &["a"]), ("d", &["a"])]), ["a b c a"]);
        assert_eq!(found(&[("a", &["a"])]), ["a a"]);
        assert_eq!(found(&[("a", &["b", "c"]), ("b", &["d"]), ("c", &["d"]), ("d", &[])]), Vec::<String>::new());
        assert_eq!(found(&[("a", &["unknown"])]), Vec::<String>::new());
    }
}
