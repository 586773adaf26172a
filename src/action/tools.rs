//! What a run works with, put together from the inputs, the job and the configuration.

use std::sync::Arc;

use secrecy::ExposeSecret as _;

use super::run::Desk;
use crate::config::{Channel, Configuration, SecretReader};
use crate::github::{GitHub, Hub, RepositoryName, Settings};
use crate::notify::{self, Means, Post};
use crate::promotion::event::Operation;
use crate::promotion::fault::{Code, Fault};
use crate::promotion::image::Repository;
use crate::promotion::plan::PlannedImage;
use crate::promotion::retry::RetryPolicy;
use crate::registry::{Credentials, Options, Registries, default_docker_config};
use crate::stages::Tools;
use crate::stages::target::Route;

/// Who GHCR is told we are; it only looks at the token.
const GHCR: &str = "ghcr.io";

/// The repositories that a run meets.
pub(super) struct Met<'a> {
    pub(super) sources: Vec<&'a Repository>,
    pub(super) targets: Vec<&'a Repository>,
}

impl<'a> Met<'a> {
    /// On these ways.
    pub(super) fn on(routes: impl Iterator<Item = &'a Route>) -> Self {
        let (sources, targets) = routes.map(|route| (&route.source.repository, &route.repository)).unzip();
        Self { sources, targets }
    }

    /// By these images of a plan.
    pub(super) fn by(images: impl Iterator<Item = &'a PlannedImage>) -> Self {
        let (sources, targets) = images.map(|image| (&image.source.repository, &image.target)).unzip();
        Self { sources, targets }
    }
}

/// The tools for a run that meets these repositories.
///
/// # Errors
/// A login of the configuration that is not set, and a repository of the job that has no name.
pub(super) fn tools(
    desk: &Desk,
    met: &Met<'_>,
    configuration: Option<&Configuration>,
    environment: &str,
) -> Result<Tools, Fault> {
    let secrets = secrets(desk);
    let retry = configuration.map_or_else(RetryPolicy::default, Configuration::retry);
    let registries = Registries::new(Options {
        credentials: credentials(desk, met, configuration, &secrets)?,
        insecure: configuration.map(|one| one.insecure_registries().to_vec()).unwrap_or_default(),
        retry,
        deadline: desk.deadline,
        ..Options::default()
    });
    let hub = hub(desk, retry)?;
    Ok(Tools {
        registries,
        post: configuration.map(|one| post(desk, one, environment, hub.as_ref(), &secrets)).transpose()?.flatten(),
        hub,
        secrets,
        workspace: desk.context.workspace.clone(),
        retry,
        api_url: desk.context.api_url.clone(),
        folder: desk.workspace.folder().to_owned(),
        rehearsal: desk.rehearsal,
        deadline: desk.deadline,
    })
}

fn secrets(desk: &Desk) -> SecretReader {
    let (environment, printer) = (desk.environment.clone(), desk.printer.clone());
    SecretReader::new(move |name| environment.get(name).map(ToOwned::to_owned), move |secret| printer.mask(secret))
}

/// The channels that are told of the environment. Nobody is told of a rehearsal, so it needs none of their secrets.
fn post(
    desk: &Desk,
    configuration: &Configuration,
    environment: &str,
    hub: Option<&Hub>,
    secrets: &SecretReader,
) -> Result<Option<Arc<Post>>, Fault> {
    if desk.rehearsal {
        return Ok(None);
    }
    let means = Means {
        secret: &|secret| Ok(secrets.resolve(secret)?),
        github: hub.map(|hub| (Arc::clone(&hub.github), hub.repository.clone())),
        retry: configuration.retry(),
    };
    match notify::build(configuration.channels(environment), &means) {
        Ok(post) => Ok(Some(Arc::new(post)).filter(|post| !post.lines.is_empty())),
        // Whoever recovers may be in a job that has not all of the run's secrets; that is no reason to leave it unsettled.
        Err(fault) if desk.request.operation == Operation::Recover => {
            tracing::warn!(%fault, "nobody is told: {fault}");
            Ok(None)
        }
        Err(fault) => Err(fault),
    }
}

/// These channels of the configuration.
///
/// # Errors
/// See [`notify::build`].
pub(super) fn post_of<'c>(
    desk: &Desk,
    configuration: &'c Configuration,
    channels: impl Iterator<Item = (&'c str, &'c Channel)>,
) -> Result<Post, Fault> {
    let (secrets, retry) = (secrets(desk), configuration.retry());
    let github = hub(desk, retry)?.map(|hub| (hub.github, hub.repository));
    notify::build(channels, &Means { secret: &|secret| Ok(secrets.resolve(secret)?), github, retry })
}

/// GitHub, where the job has a repository and a token.
pub(super) fn hub(desk: &Desk, retry: RetryPolicy) -> Result<Option<Hub>, Fault> {
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
    Ok(Some(Hub { github: Arc::new(github), repository, only_read: false }))
}

/// Who we are to registries. The given login is for the targets' registries alone; the configuration's are for those it
/// names; the job's token is for GHCR; what nobody has said otherwise is in the docker configuration.
fn credentials(
    desk: &Desk,
    met: &Met<'_>,
    configuration: Option<&Configuration>,
    secrets: &SecretReader,
) -> Result<Credentials, Fault> {
    let mut credentials = credentials_of_the_job(desk);
    let is_met = |host: &str| met.sources.iter().chain(&met.targets).any(|one| one.registry() == host);
    for (host, login) in configuration.into_iter().flat_map(Configuration::registries).filter(|(host, _)| is_met(host))
    {
        let user = secrets.resolve(&login.username)?;
        credentials = credentials.with_login(host, user.expose_secret(), secrets.resolve(&login.password)?);
    }
    if let Some(password) = &desk.inputs.registry_password {
        let user = desk.inputs.registry_username.clone().or_else(|| desk.context.actor.clone()).unwrap_or_default();
        for target in &met.targets {
            credentials = credentials.with_login(target.registry(), user.clone(), password.clone());
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
        let actor = desk.context.actor.clone().unwrap_or_else(|| "tidegate".to_owned());
        credentials = credentials.with_login(GHCR, actor, token.clone());
    }
    credentials
}
