//! `github`: what is written to GitHub.

use super::literal::Lit;
use super::names::{EnvironmentName, IssueLabel, UrlSyntax};
use super::section::{section, words};
use super::template::{Filled, Template};

words! {
    /// What happens with GitHub's deployments.
    pub enum GithubDeployment {
        /// The run makes one of its own.
        Create = "create",
        /// The run uses the one that the job's `environment:` has made.
        Reuse = "reuse",
        /// None.
        Off = "off",
    }
}

section! {
    /// What is written to GitHub: for all environments at the top, and for one of them there, which wins key by key.
    pub struct Github from RawGithub {
        /// Whether the run's state is shown as a commit status. Default: true.
        default(true) status: bool,
        /// What happens with GitHub's deployments. Default: `create`.
        default(GithubDeployment::Create) deployment: GithubDeployment,
        /// Whether a failure opens an issue, and the next success closes it. Default: true.
        default(true) issues: bool,
        /// Labels of such issues, beside their own.
        default(Vec::new()) labels: Vec<Lit<IssueLabel>> => Vec<String>,
        /// The environment's name on GitHub. Default: its name here.
        optional environment: Lit<EnvironmentName> => String,
        /// Where the environment can be looked at.
        optional url: Filled<UrlSyntax> => Template,
        /// Whether GitHub shows it as a production environment. Default: where its name begins with `prod`.
        optional production: bool,
        /// Whether the deployment is recorded in the organisation's artifact metadata. Default: false. It takes
        /// `artifact-metadata: write` under `permissions:`.
        default(false) record: bool,
    }
}

impl Github {
    /// The name on GitHub of the environment that is called `environment` here.
    #[must_use]
    pub fn environment_name<'n>(&'n self, environment: &'n str) -> &'n str {
        self.environment.as_deref().unwrap_or(environment)
    }

    /// Whether GitHub shows the environment that is called `environment` here as a production environment.
    #[must_use]
    pub fn is_production(&self, environment: &str) -> bool {
        self.production.unwrap_or_else(|| environment.to_ascii_lowercase().starts_with("prod"))
    }
}
