//! Where a run goes, by the configuration or, without one, by `image` and `to`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::request::{Destination, Request};
use crate::config::{Configuration, Environment, Github, Settings, Template};
use crate::promotion::digest::Digest;
use crate::promotion::event::Operation;
use crate::promotion::fault::{Code, Fault};
use crate::promotion::image::{Reference, Repository, Tag};
use crate::promotion::plan::Plan;

/// Where a run goes.
#[derive(Debug, Clone)]
pub struct Target {
    /// The environment's name; without a configuration the target reference.
    pub environment: String,
    /// The services, in the order of the configuration.
    pub services: Vec<Service>,
    /// The configuration's path and the checksum of what it says of this environment.
    pub configuration: Option<(String, Digest)>,
    /// What it says.
    settings: Environment,
    /// The names of all services of the configuration.
    known: Vec<String>,
}

/// A service of a run.
#[derive(Debug, Clone)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Its image and where it goes; none for a service without one.
    pub image: Option<Route>,
    /// The services that are deployed before it.
    pub needs: Vec<String>,
}

/// The way of an image.
#[derive(Debug, Clone)]
pub struct Route {
    /// Where it comes from.
    pub source: Reference,
    /// What it must be.
    pub pinned: Option<Digest>,
    /// The repository that it goes to.
    pub repository: Repository,
    /// The environment's own tag.
    pub tag: Tag,
    /// Templates of tags that never move.
    pub immutable: Vec<Template>,
}

impl Target {
    /// The target that a request names in a configuration.
    ///
    /// # Errors
    /// What the request names and the configuration does not have; a
    /// candidate that nothing names.
    pub fn configured(request: &Request, configuration: &Configuration, path: &str) -> Result<Self, Fault> {
        let Some(name) = &request.environment else {
            let names: Vec<&str> = configuration.environments().map(Environment::name).collect();
            return Err(Fault::new(Code::InputInvalid, "no environment is named")
                .with_fix(format!("set `environment` to one of {}", names.join(", "))));
        };
        let environment = configuration.environment(name)?;
        let names: Vec<String> = if request.services.is_empty() {
            configuration.services().keys().cloned().collect()
        } else {
            request
                .services
                .iter()
                .map(|name| configuration.service(name).map(|_| name.clone()))
                .collect::<Result<_, _>>()?
        };
        let with_images = names.iter().filter(|name| configuration.services()[*name].image.is_some()).count();
        if with_images != 1 && (request.image.is_some() || request.digest.is_some()) {
            return Err(Fault::new(
                Code::InputInvalid,
                format!("`image` and `digest` name one image, and {with_images} services with an image are promoted"),
            )
            .with_fix("name the service in `services`"));
        }
        let services = names
            .iter()
            .map(|name| {
                let image = configuration.services()[name].image.as_ref();
                let route = image.map(|repository| route(request, environment, name, repository)).transpose()?;
                Ok(Service { name: name.clone(), image: route, needs: configuration.services()[name].needs.clone() })
            })
            .collect::<Result<_, Fault>>()?;
        Ok(Self {
            environment: name.clone(),
            services,
            configuration: Some((path.to_owned(), configuration.checksum(environment))),
            settings: environment.clone(),
            known: configuration.services().keys().cloned().collect(),
        })
    }

    /// The target of a promotion that `image` and `to` describe: the service is the repository's path, the environment
    /// the target reference.
    ///
    /// # Errors
    /// When one of the two is missing, or they are the same.
    pub fn unconfigured(request: &Request) -> Result<Self, Fault> {
        let (Some(source), Some(to)) = (&request.image, &request.to) else {
            return Err(Fault::new(Code::InputInvalid, "it is not said what is to be promoted, and where to")
                .with_fix("set `image` and `to`, or `environment` with a configuration"));
        };
        let (repository, tag) = match to {
            Destination::Tag(tag) => (source.repository.clone(), tag.clone()),
            Destination::Reference(Reference { repository, tag: Some(tag), digest: None }) => {
                (repository.clone(), tag.clone())
            }
            Destination::Reference(reference) => {
                return Err(Fault::new(
                    Code::InputInvalid,
                    format!("`to` is {reference}, and a promotion goes to a tag"),
                )
                .with_fix("write a tag, or a reference with a tag and no digest"));
            }
        };
        let route = Route {
            source: source.clone(),
            pinned: request.digest.clone(),
            repository: repository.clone(),
            tag: tag.clone(),
            immutable: Vec::new(),
        };
        refuse_same(&route)?;
        let environment = repository.tagged(tag).to_string();
        Ok(Self {
            services: vec![Service { name: repository.path().to_owned(), image: Some(route), needs: Vec::new() }],
            settings: Environment::without_configuration(&environment),
            environment,
            configuration: None,
            known: Vec::new(),
        })
    }

    /// The target of a run whose plan is all that is known of it.
    #[must_use]
    pub fn planned(plan: &Plan) -> Self {
        let services = plan
            .candidates
            .iter()
            .map(|planned| Service { name: planned.service.clone(), image: None, needs: Vec::new() })
            .collect();
        Self {
            environment: plan.environment.clone(),
            services,
            configuration: None,
            settings: Environment::without_configuration(&plan.environment),
            known: Vec::new(),
        }
    }

    /// The ways that images go.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.services.iter().filter_map(|service| service.image.as_ref())
    }

    /// What the environment says for a service.
    #[must_use]
    pub fn settings(&self, service: &str) -> &Settings {
        self.settings.for_service(service)
    }

    /// Something that the services of a run must agree on, because the run does it once for all of them.
    ///
    /// # Errors
    /// [`Code::ConfigurationInvalid`] where one overrides it.
    pub fn agreed<'t, T: PartialEq>(&'t self, key: &str, of: impl Fn(&'t Settings) -> &'t T) -> Result<&'t T, Fault> {
        let first = self.services.first().map_or_else(|| self.settings.settings(), |one| self.settings(&one.name));
        match self.services.iter().find(|one| of(self.settings(&one.name)) != of(first)) {
            None => Ok(of(first)),
            Some(other) => Err(Fault::new(
                Code::ConfigurationInvalid,
                format!("the services {} and {} have different `{key}`", self.services[0].name, other.name),
            )
            .with_fix("promote them in runs of their own, or set it for the environment alone")),
        }
    }

    /// What is written to GitHub: what the services agree on.
    #[must_use]
    pub fn github(&self) -> &Github {
        let first = self.services.first().map_or_else(|| self.settings.settings(), |one| self.settings(&one.name));
        &first.github
    }

    /// The environment.
    #[must_use]
    pub const fn environment(&self) -> &Environment {
        &self.settings
    }

    /// Whether a name is that of a service of the configuration, in this run or not.
    #[must_use]
    pub fn knows(&self, service: &str) -> bool {
        self.known.iter().any(|known| known == service)
    }

    /// The same for some of its services alone.
    pub(super) fn only(&self, services: &[String]) -> Self {
        let mut target = self.clone();
        target.services.retain(|service| services.contains(&service.name));
        target.unpin();
        target
    }

    /// Nothing is said any more of what the candidates must be.
    pub(super) fn unpin(&mut self) {
        for route in self.services.iter_mut().filter_map(|service| service.image.as_mut()) {
            route.pinned = None;
        }
    }

    /// A service of the run.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.name == name)
    }
}

fn route(request: &Request, environment: &Environment, service: &str, own: &Repository) -> Result<Route, Fault> {
    let settings = environment.for_service(service);
    let Some(target) = environment.target(service) else {
        return Err(Fault::new(
            Code::ConfigurationInvalid,
            format!("`{service}` has an image and no tag in `{}`", environment.name()),
        )
        .with_fix("add `tag` to the environment"));
    };
    let tag = target.tag.clone().ok_or_else(|| Fault::defect("a target without a tag"))?;
    // A rollback comes from where it goes to; and what is verified is there.
    let back = matches!(request.operation, Operation::Rollback | Operation::Verify);
    let source = if back { target.clone() } else { source(request, environment, service, own)? };
    let route = Route {
        source,
        pinned: request.digest.clone(),
        repository: target.repository.clone(),
        tag,
        immutable: settings.immutable_tags.clone(),
    };
    if !back {
        refuse_same(&route)?;
    }
    Ok(route)
}

/// Where a candidate comes from: the input, the environment before, the configured tag, or the pinned digest.
fn source(request: &Request, environment: &Environment, service: &str, own: &Repository) -> Result<Reference, Fault> {
    if let Some(image) = &request.image {
        return Ok(image.clone());
    }
    if let Some(source) = environment.source(service) {
        return Ok(source.clone());
    }
    if let Some(template) = &environment.for_service(service).from_tag {
        let mut values = BTreeMap::from([
            ("service", serde_json::Value::from(service)),
            ("environment", environment.name().into()),
            ("vars", serde_json::to_value(&request.variables).unwrap_or_default()),
        ]);
        if let Some(version) = &request.version {
            values.insert("version", version.as_str().into());
        }
        if let Some(commit) = &request.job.commit {
            values.insert("revision", commit.as_str().into());
        }
        return Ok(own.tagged(tag(template, &values)?));
    }
    if let Some(digest) = &request.digest {
        return Ok(own.at(digest.clone()));
    }
    Err(Fault::new(
        Code::InputInvalid,
        format!("nothing says which image of `{service}` goes into `{}`", environment.name()),
    )
    .with_fix("set `image` or `digest`, or add `from` or `from-tag` to the environment"))
}

/// The tag that a template makes of a run's values.
///
/// # Errors
/// [`Code::ConfigurationInvalid`] when a value that it needs is not there, or what it makes is not a tag.
pub(super) fn tag(template: &Template, values: &impl Serialize) -> Result<Tag, Fault> {
    let text = template.render(values).map_err(|error| {
        Fault::new(Code::ConfigurationInvalid, error.to_string()).with_fix(
            "give the value that is missing (an input, or a label of the image), or use another one in the template",
        )
    })?;
    text.parse().map_err(|error| {
        Fault::new(Code::ConfigurationInvalid, format!("the template `{}` makes no tag: {error}", template.as_str()))
    })
}

fn refuse_same(route: &Route) -> Result<(), Fault> {
    if route.source.repository == route.repository && route.source.tag.as_ref() == Some(&route.tag) {
        return Err(Fault::new(
            Code::SourceIsTarget,
            format!("{} would be promoted to itself", route.repository.tagged(route.tag.clone())),
        ));
    }
    Ok(())
}
