//! What a test puts into a repository of the stand-in.

use super::world::Environment;

/// The App of GitHub Actions.
pub const ACTIONS_APP: u64 = 15_368;

/// A check run to be put in place.
#[derive(Debug, Clone)]
pub struct NewCheckRun {
    pub(super) name: String,
    pub(super) app: u64,
    pub(super) suite: Option<u64>,
    pub(super) status: String,
    pub(super) conclusion: Option<String>,
    pub(super) deployment: Option<u64>,
}

impl NewCheckRun {
    /// A check run of GitHub Actions that has ended like this, e.g. `success`.
    #[must_use]
    pub fn ended(name: &str, conclusion: &str) -> Self {
        Self {
            name: name.to_owned(),
            app: ACTIONS_APP,
            suite: None,
            status: "completed".to_owned(),
            conclusion: Some(conclusion.to_owned()),
            deployment: None,
        }
    }

    /// A check run that has this status, e.g. `in_progress`.
    #[must_use]
    pub fn under_way(name: &str, status: &str) -> Self {
        Self { status: status.to_owned(), conclusion: None, ..Self::ended(name, "") }
    }

    /// The same, of another App.
    #[must_use]
    pub const fn of_app(mut self, app: u64) -> Self {
        self.app = app;
        self
    }

    /// The same, in this check suite.
    #[must_use]
    pub const fn in_suite(mut self, suite: u64) -> Self {
        self.suite = Some(suite);
        self
    }

    /// The same, of a job for which this deployment was made.
    #[must_use]
    pub const fn with_deployment(mut self, deployment: u64) -> Self {
        self.deployment = Some(deployment);
        self
    }
}

/// An environment to be put in place.
#[derive(Debug, Clone)]
pub struct NewEnvironment(pub(super) Environment);

impl NewEnvironment {
    /// An environment that nothing protects.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self(Environment { name: name.to_owned(), ..Environment::default() })
    }

    /// With a person who may review.
    #[must_use]
    pub fn reviewer(mut self, login: &str) -> Self {
        self.0.users.push(login.to_owned());
        self
    }

    /// With a team whose members may review.
    #[must_use]
    pub fn reviewing_team(mut self, organisation: &str, slug: &str) -> Self {
        self.0.teams.push((organisation.to_owned(), slug.to_owned()));
        self
    }

    /// Refusing the review of the one who started the run.
    #[must_use]
    pub const fn preventing_self_review(mut self) -> Self {
        self.0.prevent_self_review = true;
        self
    }

    /// With a wait in minutes.
    #[must_use]
    pub const fn wait_timer(mut self, minutes: u32) -> Self {
        self.0.wait_timer = Some(minutes);
        self
    }

    /// For protected branches only.
    #[must_use]
    pub fn protected_branches(mut self) -> Self {
        self.0.branches = Some(Vec::new());
        self
    }

    /// For branches (or tags) of this name, too.
    #[must_use]
    pub fn branch(mut self, name: &str, is_of_tags: bool) -> Self {
        self.0.branches.get_or_insert_default().push((name.to_owned(), is_of_tags));
        self
    }

    /// With an App that has to consent.
    #[must_use]
    pub fn app(mut self, slug: &str) -> Self {
        self.0.apps.push(slug.to_owned());
        self
    }

    /// With a rule of a kind that is not known yet.
    #[must_use]
    pub fn odd_rule(mut self, kind: &str) -> Self {
        self.0.odd_rules.push(kind.to_owned());
        self
    }
}

/// A workflow to be put in place.
#[derive(Debug, Clone)]
pub struct NewWorkflow {
    pub(super) file: String,
    pub(super) run_name: String,
    pub(super) steps: Vec<(String, Option<String>)>,
    pub(super) event: Option<String>,
}

impl NewWorkflow {
    /// A workflow whose runs succeed at once.
    #[must_use]
    pub fn file(file: &str) -> Self {
        let steps = vec![("completed".to_owned(), Some("success".to_owned()))];
        Self { file: file.to_owned(), run_name: file.to_owned(), steps, event: None }
    }

    /// Its `run-name`; `{name}` stands for the input of that name.
    #[must_use]
    pub fn run_name(mut self, template: &str) -> Self {
        self.run_name = template.to_owned();
        self
    }

    /// What its runs become, one step each time that they are asked for: a status, or `completed:conclusion`.
    #[must_use]
    pub fn steps(mut self, steps: &[&str]) -> Self {
        let step = |step: &&str| match step.split_once(':') {
            Some((status, conclusion)) => (status.to_owned(), Some(conclusion.to_owned())),
            None => ((*step).to_owned(), None),
        };
        self.steps = steps.iter().map(step).collect();
        self
    }

    /// The event of `repository_dispatch` for which it waits.
    #[must_use]
    pub fn on_event(mut self, event: &str) -> Self {
        self.event = Some(event.to_owned());
        self
    }
}
