//! `environments`, and what services override there.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::check::{Check, Checker, Merge};
use super::deploy::{Driver, RawDeploy};
use super::gates::{Gates, RawGates};
use super::github::{Github, GithubDeployment, RawGithub};
use super::health::{Health, RawHealth};
use super::image::{RepositoryTemplateSyntax, TagSyntax};
use super::literal::Lit;
use super::migrate::{Migrate, RawMigrate};
use super::names::EnvironmentName;
use super::path::Path;
use super::rollback::{RawRollback, Rollback};
use super::secret::Secret;
use super::section::{Key, section};
use super::source::Source;
use super::template::{Filled, ImageTag, In, Naming, SourceTag, Template};
use super::tree::Tree;
use super::validate::{Profile, RawValidate, Validate};
use crate::promotion::image::Reference;

section! {
    /// Where services run: its tag, gates, validation, deployment, health, rollback.
    pub struct Settings from RawSettings, at_most_one_of ["from", "from-tag"], finish settings => Settings {
        /// The environment that candidates come from: what it runs is what this one gets.
        optional from: Lit<EnvironmentName> => String,
        /// The tag in the service's own repository that candidates come from, where they come from no environment, e.g.
        /// `sha-{{ revision }}`. Without `from` and `from-tag` the input `image` or `digest` names the candidate.
        optional from_tag: In<SourceTag, Filled<TagSyntax>> => Template,
        /// The tag that points to what runs here. Every service with an image needs one.
        optional tag: In<Naming, Filled<TagSyntax>> => Template,
        /// Tags that are made for each promotion and never move, e.g. `production-{{ sequence }}`.
        default(Vec::new()) immutable_tags: Vec<In<ImageTag, Filled<TagSyntax>>> => Vec<Template>,
        /// Another repository for the images of this environment, e.g. `ghcr.io/acme-prod/{{ service }}`. Default: the
        /// service's own.
        optional repository: In<Naming, Filled<RepositoryTemplateSyntax>> => Template,
        /// What must hold before anything is changed.
        always gates: RawGates => Gates,
        /// What an image must be like.
        always validate: RawValidate => Validate,
        /// How the database is brought forward before the deployment.
        optional migrate: RawMigrate => Migrate,
        /// How a service is put in place. Default: not at all; the tag is what others look at.
        optional deploy: RawDeploy => Driver,
        /// How a deployment is found to live.
        optional health: RawHealth => Health,
        /// What happens when it does not.
        always rollback: RawRollback => Rollback,
        /// What is written to GitHub.
        always github: RawGithub => Github,
    }
}

fn settings(settings: Settings, _: &[String], at: &Path, checker: &mut Checker<'_>) -> Option<Settings> {
    let mut good = true;
    if settings.gates.soak.is_some() && settings.from.is_none() {
        checker.problem(
            &at.keys(["gates", "soak"]),
            "waits for a digest to have lived where it comes from, and it comes from no environment",
            "add `from`, or delete `soak`",
        );
        good = false;
    }
    let over_ssh = matches!(settings.deploy, Some(Driver::Compose(_)));
    for (name, resource) in &settings.gates.resources {
        if matches!(resource.kind, super::gates::ResourceKind::Disk { ssh: None, .. }) && !over_ssh {
            checker.key_problem(
                &at.keys(["gates", "resources", name]),
                "does not say on which hosts: `deploy.compose` is not used here",
                "add `ssh` with `hosts`, `user`, `key` and `host-keys`",
            );
            good = false;
        }
    }
    if let Some(tag) = &settings.tag {
        for (place, immutable) in settings.immutable_tags.iter().enumerate() {
            if immutable == tag {
                checker.problem(
                    &at.key("immutable-tags").index(place),
                    format!("`{tag}` is the environment's own tag, and that one moves"),
                    "write a tag that is new each time, e.g. with `{{ sequence }}` in it",
                );
                good = false;
            }
        }
    }
    good.then_some(settings)
}

/// What a service overrides in an environment: checked when it is merged into the environment's own.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(transparent)]
pub(super) struct Override(pub(super) RawSettings);

impl JsonSchema for Override {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        super::schema::OVERRIDE.into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        RawSettings::json_schema(generator)
    }
}

impl Check for Override {
    type Checked = ();

    fn check(&self, _: &Path, _: &mut Checker<'_>) -> Option<()> {
        Some(())
    }
}

impl Merge for Override {
    fn merge(self, over: Self) -> Self {
        Self(self.0.merge(over.0))
    }
}

/// An environment, checked, with what its services override.
#[derive(Debug, Clone)]
pub struct Environment {
    pub(super) name: String,
    pub(super) settings: Settings,
    /// Of the services that override something.
    pub(super) services: BTreeMap<String, Settings>,
    /// Where each service with an image is, here.
    pub(super) targets: BTreeMap<String, Reference>,
    /// Where each comes from, where that is known without the run.
    pub(super) sources: BTreeMap<String, Reference>,
    pub(super) secrets: Vec<Secret>,
}

impl Environment {
    /// The defaults of a run that has no configuration: only existence, consistency and command checks can fail it, and
    /// nothing is written to GitHub.
    #[must_use]
    pub fn without_configuration(name: &str) -> Self {
        let validate = RawValidate { profile: Key(Some(Profile::Minimal)), ..RawValidate::default() };
        let github = RawGithub {
            status: Key(Some(false)),
            deployment: Key(Some(GithubDeployment::Off)),
            issues: Key(Some(false)),
            ..RawGithub::default()
        };
        let raw = RawSettings { validate: Key(Some(validate)), github: Key(Some(github)), ..RawSettings::default() };
        let source = Arc::new(Source::new("", ""));
        #[expect(clippy::expect_used, reason = "constants, checked by a test")]
        let settings = raw.check(&Path::default(), &mut Checker::new(&source, &Tree::Null)).expect("right defaults");
        Self {
            name: name.to_owned(),
            settings,
            services: BTreeMap::new(),
            targets: BTreeMap::new(),
            sources: BTreeMap::new(),
            secrets: Vec::new(),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its settings, without what services override.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Its settings for a service: the environment's own, with what the service overrides.
    #[must_use]
    pub fn for_service(&self, service: &str) -> &Settings {
        self.services.get(service).unwrap_or(&self.settings)
    }

    /// The repository and tag of a service here; none for a service without an image.
    #[must_use]
    pub fn target(&self, service: &str) -> Option<&Reference> {
        self.targets.get(service)
    }

    /// The repository and tag of a service in the environment that its candidates come from; none where they come from
    /// none, or the service has no image.
    #[must_use]
    pub fn source(&self, service: &str) -> Option<&Reference> {
        self.sources.get(service)
    }

    /// The secrets that it names, for all services.
    #[must_use]
    pub fn secrets(&self) -> &[Secret] {
        &self.secrets
    }
}

impl Serialize for Environment {
    /// What it means: nothing of where and how it was written.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;
        let mut fields = serializer.serialize_struct("Environment", 5)?;
        fields.serialize_field("name", &self.name)?;
        fields.serialize_field("settings", &self.settings)?;
        fields.serialize_field("services", &self.services)?;
        fields.serialize_field("targets", &self.targets)?;
        fields.serialize_field("sources", &self.sources)?;
        fields.end()
    }
}
