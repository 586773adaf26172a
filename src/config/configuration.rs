//! The configuration as a whole: reading it, and what only shows when all of it is there.

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::audit::{Audit, RawAudit};
use super::check::Checker;
use super::collection::Map;
use super::decode::decode;
use super::environment::{Environment, Override, RawSettings};
use super::error::{ConfigError, ConfigErrors};
use super::github::RawGithub;
use super::image::RepositorySyntax;
use super::literal::Lit;
use super::names::{EnvironmentName, Host, Name};
use super::notify::{Channel, RawChannel};
use super::path::{Path, shortened};
use super::registries::{RawRegistryCredentials, RegistryCredentials};
use super::retry::RawRetry;
use super::secret::Secret;
use super::section::{Key, section};
use super::source::{Problem, Source};
use super::tree::Tree;
use super::{suggest, whole};
use crate::promotion::digest::Digest;
use crate::promotion::fault::Code;
use crate::promotion::image::Repository;
use crate::promotion::retry::RetryPolicy;

/// The configuration of promotions: services, and the environments that they go through.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a mapping")]
#[schemars(transform = RawConfiguration::shape)]
pub(super) struct RawConfiguration {
    /// The version of this format: 1.
    #[serde(default)]
    #[expect(dead_code, reason = "checked before anything else is read")]
    version: Key<Version>,
    /// What is promoted, by name.
    #[serde(default)]
    pub(super) services: Key<Map<Name, RawService>>,
    /// Where it goes, by name.
    #[serde(default)]
    pub(super) environments: Key<Map<EnvironmentName, RawSettings>>,
    /// How patiently requests that failed in passing are tried again.
    #[serde(default)]
    pub(super) retry: Key<RawRetry>,
    /// Registries that are spoken to without TLS, as `host:port`. Those on loopback are in any case.
    #[serde(default)]
    pub(super) insecure_registries: Key<Vec<Lit<Host>>>,
    /// Logins at registries, by `host` or `host:port`, beside the inputs and the job's docker configuration.
    #[serde(default)]
    pub(super) registries: Key<Map<Host, RawRegistryCredentials>>,
    /// Who is told what, by name.
    #[serde(default)]
    pub(super) notify: Key<Map<Name, RawChannel>>,
    /// Where the audit trail goes.
    #[serde(default)]
    pub(super) audit: Key<RawAudit>,
    /// What is written to GitHub, for all environments.
    #[serde(default)]
    pub(super) github: Key<RawGithub>,
}

impl RawConfiguration {
    fn shape(schema: &mut schemars::Schema) {
        let required = ["version", "services", "environments"].map(ToOwned::to_owned);
        super::section::shape(schema, &required, &[]);
    }
}

/// The version of the format.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
struct Version(serde::de::IgnoredAny);

impl schemars::JsonSchema for Version {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Version".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "const": 1 })
    }
}

/// A service: a named thing that is deployed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Service {
    /// Where its images are; none for a service that its driver or a package knows by version.
    pub image: Option<Repository>,
    /// The services that are deployed before it.
    pub needs: Vec<String>,
}

section! {
    /// A service: a named thing that is deployed.
    pub(super) struct ServiceKeys from RawService, finish service => Service {
        /// The repository of its images, without a tag, e.g. `ghcr.io/acme/api`. A service without one is known to its
        /// driver by a version, or by a package.
        optional image: Lit<RepositorySyntax> => Repository,
        /// The services that are deployed before it.
        default(Vec::new()) needs: Vec<Lit<Name>> => Vec<String>,
        /// What it overrides in environments, by their names: any key of an environment. Mappings are merged key by
        /// key, lists and scalars are replaced.
        default(IndexMap::new()) environments: Map<EnvironmentName, Override> => IndexMap<String, ()>,
    }
}

fn service(keys: ServiceKeys, _: &[String], _: &Path, _: &mut Checker<'_>) -> Option<Service> {
    Some(Service { image: keys.image, needs: keys.needs })
}

/// A configuration that was checked.
#[derive(Debug, Clone)]
pub struct Configuration {
    source: Arc<Source>,
    parts: Parts,
}

/// What a configuration consists of.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    pub(super) services: IndexMap<String, Service>,
    pub(super) environments: IndexMap<String, Environment>,
    pub(super) retry: RetryPolicy,
    pub(super) insecure_registries: Vec<String>,
    pub(super) registries: IndexMap<String, RegistryCredentials>,
    pub(super) notify: IndexMap<String, Channel>,
    pub(super) audit: Audit,
    /// The secrets of channels and archive.
    pub(super) secrets: Vec<Secret>,
}

impl Configuration {
    /// Reads the configuration in a file.
    ///
    /// # Errors
    /// The file is absent or cannot be read; or see [`Configuration::parse`].
    pub fn load(file: &std::path::Path) -> Result<Self, ConfigErrors> {
        Self::of(Source::read(file)?)
    }

    /// Reads a configuration; `file` is what errors call it, and tells JSON from YAML.
    ///
    /// # Errors
    /// What cannot be read at all is told alone: bad syntax, a key twice, an unknown key, a wrong type. What is wrong
    /// with the values, and between them, is told all together, in the order of the file.
    pub fn parse(file: &str, text: &str) -> Result<Self, ConfigErrors> {
        Self::of(Source::new(file, text))
    }

    fn of(source: Source) -> Result<Self, ConfigErrors> {
        let tree = source.tree()?;
        version(&tree).map_err(|problem| source.locate(problem))?;
        let raw: RawConfiguration = decode(&tree, &Path::default()).map_err(|problem| source.locate(problem))?;
        let source = Arc::new(source);
        let mut checker = Checker::new(&source, &tree);
        let checked = whole::check(&raw, &mut checker).map(|parts| Self { source: Arc::clone(&source), parts });
        checker.finish()?;
        checked.ok_or_else(|| {
            // Every refusal notes a problem: without one, something here forgot to.
            ConfigError { code: Code::Defect, ..ConfigError::of_file("", "a problem was not told", Code::Defect.fix()) }
                .into()
        })
    }

    /// Its text, as it was read.
    #[must_use]
    pub fn text(&self) -> &str {
        self.source.text()
    }

    /// The services, in the order of the file.
    #[must_use]
    pub const fn services(&self) -> &IndexMap<String, Service> {
        &self.parts.services
    }

    /// The environments, in the order of the file.
    pub fn environments(&self) -> impl Iterator<Item = &Environment> {
        self.parts.environments.values()
    }

    /// An environment by name.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn environment(&self, name: &str) -> Result<&Environment, ConfigError> {
        self.parts
            .environments
            .get(name)
            .ok_or_else(|| self.unknown("environment", "environments", name, self.parts.environments.keys()))
    }

    /// A service by name.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn service(&self, name: &str) -> Result<&Service, ConfigError> {
        self.parts
            .services
            .get(name)
            .ok_or_else(|| self.unknown("service", "services", name, self.parts.services.keys()))
    }

    fn unknown<'n>(&self, what: &str, key: &str, name: &str, known: impl Iterator<Item = &'n String>) -> ConfigError {
        let fix = suggest::fix(name, known.map(String::as_str), key);
        let mut problem =
            Problem::new(Path::default().key(key), format!("there is no {what} `{}`", shortened(name)), fix);
        (problem.code, problem.on_key) = (Code::InputInvalid, true);
        self.source.locate(problem)
    }

    /// How patiently requests are tried again.
    #[must_use]
    pub const fn retry(&self) -> RetryPolicy {
        self.parts.retry
    }

    /// Registries that are spoken to without TLS, beside those on loopback.
    #[must_use]
    pub fn insecure_registries(&self) -> &[String] {
        &self.parts.insecure_registries
    }

    /// The channels that are told of an environment, by name.
    pub fn channels(&self, environment: &str) -> impl Iterator<Item = (&str, &Channel)> {
        self.parts
            .notify
            .iter()
            .filter(move |(_, channel)| channel.covers(environment))
            .map(|(name, channel)| (name.as_str(), channel))
    }

    /// Every channel, by name.
    pub fn all_channels(&self) -> impl Iterator<Item = (&str, &Channel)> {
        self.parts.notify.iter().map(|(name, channel)| (name.as_str(), channel))
    }

    /// Logins at registries, by host.
    #[must_use]
    pub const fn registries(&self) -> &IndexMap<String, RegistryCredentials> {
        &self.parts.registries
    }

    /// Where the audit trail goes.
    #[must_use]
    pub const fn audit(&self) -> &Audit {
        &self.parts.audit
    }

    /// All secrets that a run on an environment may use: its own, those of its channels, and the archive's.
    #[must_use]
    pub fn secrets<'a>(&'a self, environment: &'a Environment) -> Vec<&'a Secret> {
        let covered = |secret: &&Secret| {
            let channel = secret.channel();
            channel
                .and_then(|name| self.parts.notify.get(name))
                .is_none_or(|channel| channel.covers(environment.name()))
        };
        environment.secrets().iter().chain(self.parts.secrets.iter().filter(covered)).collect()
    }

    /// The checksum of all that a run on an environment reads here: the checked values with the names of secrets, as
    /// JSON with sorted keys. Comments, formatting, the order of keys, and defaults that are written out do not change
    /// it.
    #[must_use]
    pub fn checksum(&self, environment: &Environment) -> Digest {
        let channels: BTreeMap<&str, &Channel> = self.channels(environment.name()).collect();
        let services: BTreeMap<&String, &Service> = self.parts.services.iter().collect();
        // Serialising these types cannot fail: every key is text.
        let all = serde_json::to_value((
            environment,
            services,
            self.parts.retry,
            &self.parts.insecure_registries,
            self.parts.registries.iter().collect::<BTreeMap<_, _>>(),
            channels,
            &self.parts.audit,
        ));
        Digest::sha256(canonical(all.unwrap_or_default()).to_string().as_bytes())
    }
}

/// The same JSON with sorted keys.
fn canonical(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Object(entries) => {
            let sorted: BTreeMap<String, Value> =
                entries.into_iter().map(|(key, value)| (key, canonical(value))).collect();
            Value::Object(sorted.into_iter().collect())
        }
        Value::Array(items) => items.into_iter().map(canonical).collect(),
        scalar => scalar,
    }
}

/// Checks the version before anything else: another one may look entirely different.
fn version(tree: &Tree) -> Result<(), Problem> {
    let at = Path::default().key("version");
    match tree.at(&at) {
        Some(Tree::Unsigned(1)) => Ok(()),
        Some(Tree::Unsigned(other)) => {
            Err(Problem::new(at, format!("is {other}, and this program knows version 1"), "write `version: 1`"))
        }
        Some(_) => Err(Problem::new(at, "is not the number 1", "write `version: 1`")),
        None => Err(Problem::new(Path::default(), "`version` is missing", "begin with `version: 1`")),
    }
}
