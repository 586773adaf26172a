//! A repository on GitHub with its secrets and environments, in which workflows can be run.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use testbed::docker::Engine;
use testbed::github::{GitHub, NewEnvironment, NewWorkflow, Repository};

use crate::model::{Input, Workflow};
use crate::outcome::Run;
use crate::permissions::{self, Granted};
use crate::stand_in::{self, StandIn};

/// What a reviewer sees.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// The environment.
    pub environment: String,
    /// The job that waits.
    pub job: String,
    /// The workflow run.
    pub run: u64,
}

/// What a reviewer says.
#[derive(Debug, Clone)]
pub struct Review {
    /// Who.
    pub by: String,
    /// Yes or no.
    pub approved: bool,
    /// Why.
    pub comment: String,
}

impl Review {
    /// A yes.
    #[must_use]
    pub fn yes(by: &str) -> Self {
        Self { by: by.to_owned(), approved: true, comment: "go".to_owned() }
    }

    /// A no.
    #[must_use]
    pub fn no(by: &str, comment: &str) -> Self {
        Self { by: by.to_owned(), approved: false, comment: comment.to_owned() }
    }
}

type Reviewer = Arc<dyn Fn(&Waiting) -> Review + Send + Sync>;

/// An environment of the repository.
#[derive(Clone, Default)]
pub struct Gate {
    pub(crate) secrets: BTreeMap<String, String>,
    pub(crate) vars: BTreeMap<String, String>,
    pub(crate) reviewers: Vec<String>,
    pub(crate) review: Option<Reviewer>,
}

impl Gate {
    /// An environment that nothing protects.
    #[must_use]
    pub fn open() -> Self {
        Self::default()
    }

    /// An environment whose jobs wait until one of these people has spoken.
    #[must_use]
    pub fn reviewed(reviewers: &[&str], review: impl Fn(&Waiting) -> Review + Send + Sync + 'static) -> Self {
        let reviewers = reviewers.iter().map(|&one| one.to_owned()).collect();
        Self { reviewers, review: Some(Arc::new(review)), ..Self::default() }
    }

    /// An environment whose jobs wait for one of these people, and none of them says anything.
    #[must_use]
    pub fn unanswered(reviewers: &[&str]) -> Self {
        Self { reviewers: reviewers.iter().map(|&one| one.to_owned()).collect(), ..Self::default() }
    }

    /// With a secret.
    #[must_use]
    pub fn secret(mut self, name: &str, value: &str) -> Self {
        self.secrets.insert(name.to_owned(), value.to_owned());
        self
    }

    /// With a variable.
    #[must_use]
    pub fn var(mut self, name: &str, value: &str) -> Self {
        self.vars.insert(name.to_owned(), value.to_owned());
        self
    }
}

/// What starts a workflow.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its name.
    pub name: String,
    /// What it says.
    pub payload: Value,
    /// The branch.
    pub branch: String,
}

/// A repository on GitHub with its secrets and environments, in which workflows can be run.
pub struct Machine<'a> {
    /// The project whose action and reusable workflows are under test.
    pub(crate) project: PathBuf,
    /// What it is called on GitHub.
    pub(crate) project_name: String,
    pub(crate) program: PathBuf,
    /// The image that is run instead of the program.
    pub(crate) image: Option<(Engine, String)>,
    /// What `actions/checkout` checks out.
    pub(crate) checkout: PathBuf,
    pub(crate) repository: String,
    pub(crate) actor: String,
    pub(crate) commit: String,
    pub(crate) github: Option<&'a GitHub>,
    pub(crate) secrets: BTreeMap<String, String>,
    pub(crate) vars: BTreeMap<String, String>,
    pub(crate) environments: BTreeMap<String, Gate>,
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) stand_ins: BTreeMap<String, StandIn>,
    pub(crate) groups: Mutex<HashMap<String, Arc<Mutex<()>>>>,
    pub(crate) timeout: Duration,
    next_run: AtomicU64,
    _made: TempDir,
}

/// A workflow run that is under way.
pub(crate) struct Going {
    pub(crate) id: u64,
    pub(crate) event: Event,
    pub(crate) workflow_name: String,
    pub(crate) workflow_file: String,
    /// Artifacts, and the workspaces of its jobs.
    pub(crate) kept: Arc<TempDir>,
    pub(crate) artifacts: Mutex<BTreeMap<String, PathBuf>>,
}

impl<'a> Machine<'a> {
    /// A repository `acme/api`, whose checkout is empty but for the files that tests add. `project` is the directory of the
    /// action under test, `program` its binary.
    ///
    /// # Panics
    /// When there is no place for the checkout.
    #[must_use]
    pub fn new(project: &Path, project_name: &str, program: impl AsRef<Path>) -> Self {
        let made = TempDir::new().expect("a directory for the checkout");
        Self {
            project: project.to_owned(),
            project_name: project_name.to_owned(),
            program: program.as_ref().to_owned(),
            image: None,
            checkout: made.path().to_owned(),
            repository: "acme/api".to_owned(),
            actor: "octocat".to_owned(),
            commit: "0123456789abcdef0123456789abcdef01234567".to_owned(),
            github: None,
            secrets: BTreeMap::new(),
            vars: BTreeMap::new(),
            environments: BTreeMap::new(),
            variables: BTreeMap::new(),
            stand_ins: stand_in::known(),
            groups: Mutex::default(),
            timeout: Duration::from_secs(120),
            next_run: AtomicU64::new(16_000_000_001),
            _made: made,
        }
    }

    /// Lets it be on this stand-in for GitHub.
    #[must_use]
    pub const fn on(mut self, github: &'a GitHub) -> Self {
        self.github = Some(github);
        self
    }

    /// Lets the action be run as this image.
    #[must_use]
    pub fn image(mut self, engine: &Engine, image: &str) -> Self {
        self.image = Some((engine.clone(), image.to_owned()));
        self
    }

    /// Writes a file into the checkout.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.write(path, content);
        self
    }

    /// Writes a file into the checkout, between runs.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.checkout.join(path);
        std::fs::create_dir_all(path.parent().expect("a file has a directory")).expect("a directory of the checkout");
        std::fs::write(path, content).expect("a file of the checkout");
    }

    /// Copies a directory into the checkout.
    ///
    /// # Panics
    /// When it cannot be copied.
    #[must_use]
    pub fn files(self, from: &Path) -> Self {
        crate::files::copy(from, &self.checkout);
        self
    }

    /// Sets a secret of the repository.
    #[must_use]
    pub fn secret(mut self, name: &str, value: &str) -> Self {
        self.secrets.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Sets a variable of the repository.
    #[must_use]
    pub fn var(mut self, name: &str, value: &str) -> Self {
        self.vars.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Puts an environment in place.
    #[must_use]
    pub fn environment(mut self, name: &str, gate: Gate) -> Self {
        if let Some(repository) = self.on_github() {
            let new = gate.reviewers.iter().fold(NewEnvironment::named(name), |new, login| new.reviewer(login));
            repository.environment(&new);
        }
        self.environments.insert(name.to_owned(), gate);
        self
    }

    /// Sets a variable of the runner's own environment, which every step gets.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Says who starts the runs; `octocat` by default.
    #[must_use]
    pub fn actor(mut self, login: &str) -> Self {
        login.clone_into(&mut self.actor);
        self
    }

    /// Says which commit the runs are of.
    #[must_use]
    pub fn commit(mut self, commit: &str) -> Self {
        commit.clone_into(&mut self.commit);
        self
    }

    /// Sets what stands in for an action, by its `owner/name`.
    #[must_use]
    pub fn stand_in(
        mut self,
        name: &str,
        stand_in: impl Fn(&stand_in::Use<'_>) -> stand_in::Done + Send + Sync + 'static,
    ) -> Self {
        self.stand_ins.insert(name.to_owned(), Arc::new(stand_in));
        self
    }

    pub(crate) fn on_github(&self) -> Option<Repository> {
        self.github.map(|github| github.repository(&self.repository))
    }

    /// A token with these permissions.
    pub(crate) fn token(&self, granted: &Granted) -> String {
        let Some(github) = self.github else { return "ghs_of-a-test".to_owned() };
        let names: Vec<(String, &str)> =
            granted.iter().map(|(key, access)| (key.replace('-', "_"), access.as_str())).collect();
        let names: Vec<(&str, &str)> = names.iter().map(|(key, access)| (key.as_str(), *access)).collect();
        github.job_token_with(&names)
    }

    /// Starts a workflow by hand.
    ///
    /// # Panics
    /// When GitHub would refuse these inputs, or something in the workflow is not known.
    #[must_use]
    pub fn dispatch(&self, file: &str, inputs: &[(&str, &str)]) -> Run {
        let workflow = self.read(file);
        let declared = workflow.on.workflow_dispatch.clone();
        let declared = declared.unwrap_or_else(|| panic!("{file} cannot be started by hand")).inputs;
        let given: BTreeMap<String, Value> =
            inputs.iter().map(|(name, value)| ((*name).to_owned(), Value::String((*value).to_owned()))).collect();
        let values = typed(&declared, &given).unwrap_or_else(|error| panic!("{file}: {error}"));
        let texts: Map<String, Value> = values
            .iter()
            .map(|(name, value)| (name.clone(), Value::String(crate::expression::to_text(value))))
            .collect();
        let payload = json!({"inputs": texts, "ref": "refs/heads/main"});
        let event = Event { name: "workflow_dispatch".to_owned(), payload, branch: "main".to_owned() };
        self.start(file, &workflow, event, Value::Object(values))
    }

    /// Pushes to a branch.
    ///
    /// # Panics
    /// When the workflow does not start on it, or something in it is not known.
    #[must_use]
    pub fn push(&self, file: &str, branch: &str) -> Run {
        let workflow = self.read(file);
        let filter = workflow.on.push.clone().unwrap_or_else(|| panic!("{file} does not start on a push"));
        let starts = filter.branches.is_none_or(|branches| branches.iter().any(|one| one == branch));
        assert!(starts, "{file} does not start on a push to {branch}");
        let payload = json!({"ref": format!("refs/heads/{branch}"), "after": self.commit});
        let event = Event { name: "push".to_owned(), payload, branch: branch.to_owned() };
        self.start(file, &workflow, event, Value::Object(Map::new()))
    }

    /// Opens a pull request into a branch.
    ///
    /// # Panics
    /// As [`Machine::push`].
    #[must_use]
    pub fn pull_request(&self, file: &str, base: &str) -> Run {
        let workflow = self.read(file);
        let filter =
            workflow.on.pull_request.clone().unwrap_or_else(|| panic!("{file} does not start on pull requests"));
        let starts = filter.branches.is_none_or(|branches| branches.iter().any(|one| one == base));
        assert!(starts, "{file} does not start on a pull request into {base}");
        let payload = json!({
            "action": "opened", "number": 7,
            "pull_request": {
                "number": 7, "base": {"ref": base},
                "head": {"sha": self.commit, "ref": "topic", "repo": {"full_name": self.repository}},
            },
        });
        let event = Event { name: "pull_request".to_owned(), payload, branch: "topic".to_owned() };
        self.start(file, &workflow, event, Value::Object(Map::new()))
    }

    /// Starts a workflow by any event.
    ///
    /// # Panics
    /// When something in the workflow is not known.
    #[must_use]
    pub fn happen(&self, file: &str, event: Event) -> Run {
        let workflow = self.read(file);
        let starts = match event.name.as_str() {
            "issue_comment" => workflow.on.issue_comment.is_some(),
            "workflow_run" => workflow.on.workflow_run.is_some(),
            "schedule" => workflow.on.schedule.is_some(),
            other => panic!("the event {other} is not known here"),
        };
        assert!(starts, "{file} does not start on {}", event.name);
        self.start(file, &workflow, event, Value::Object(Map::new()))
    }

    fn read(&self, file: &str) -> Workflow {
        Workflow::read(&self.checkout.join(file)).unwrap_or_else(|error| panic!("{error}"))
    }

    fn start(&self, file: &str, workflow: &Workflow, event: Event, inputs: Value) -> Run {
        let id = self.on_github().map_or_else(
            || self.next_run.fetch_add(1, Ordering::Relaxed),
            |repository| {
                let name = Path::new(file).file_name().expect("a file has a name").to_string_lossy();
                repository.workflow(&NewWorkflow::file(&name));
                repository.run(&name, &self.commit, &self.actor)
            },
        );
        let going = Going {
            id,
            event,
            workflow_name: workflow.name.clone().unwrap_or_else(|| file.to_owned()),
            workflow_file: file.to_owned(),
            kept: Arc::new(TempDir::new().expect("a directory for artifacts")),
            artifacts: Mutex::default(),
        };
        let mut secrets = self.secrets.clone();
        secrets.insert("GITHUB_TOKEN".to_owned(), String::new());
        let level = crate::workflow::Level {
            machine: self,
            going: &going,
            home: self.checkout.clone(),
            is_project: false,
            prefix: String::new(),
            titles: String::new(),
            inputs,
            secrets,
            allowed: None,
            depth: 0,
        };
        let (jobs, outputs) = level.run(workflow).unwrap_or_else(|error| panic!("{file}: {error}"));
        let artifacts = going.artifacts.lock().expect("no thread panicked here").clone();
        let run = Run { id, jobs, artifacts, outputs, _kept: Arc::clone(&going.kept) };
        if let Some(repository) = self.on_github() {
            repository.end_run(id, run.result().word());
        }
        run
    }
}

/// Inputs of their declared types, with defaults.
///
/// # Errors
/// What is not declared, missing, or of another type.
pub(crate) fn typed(
    declared: &IndexMap<String, Input>,
    given: &BTreeMap<String, Value>,
) -> Result<Map<String, Value>, String> {
    if let Some(unknown) = given.keys().find(|name| !declared.contains_key(*name)) {
        return Err(format!("the input `{unknown}` is not declared"));
    }
    let mut values = Map::new();
    for (name, input) in declared {
        let default = || input.default.as_ref().map(|one| Value::String(one.text()));
        let kind = input.kind.as_deref().unwrap_or("string");
        let value = match given.get(name).cloned().or_else(default) {
            // A required input that is given, but empty, is refused by the form.
            None if input.required => return Err(format!("the input `{name}` is required")),
            None => match kind {
                "boolean" => Value::Bool(false),
                "number" => Value::from(0),
                _ => Value::String(String::new()),
            },
            Some(value) => of_kind(name, kind, input, &value)?,
        };
        values.insert(name.clone(), value);
    }
    Ok(values)
}

fn of_kind(name: &str, kind: &str, input: &Input, value: &Value) -> Result<Value, String> {
    let text = crate::expression::to_text(value);
    match kind {
        "string" | "environment" => Ok(Value::String(text)),
        "boolean" => match text.as_str() {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => Err(format!("the input `{name}` is a boolean, and not `{text}`")),
        },
        "number" => text.parse::<i64>().map(Value::from).map_err(|_| format!("the input `{name}` is a number")),
        "choice" => {
            let options = input.options.as_deref().unwrap_or_default();
            if options.contains(&text) {
                return Ok(Value::String(text));
            }
            Err(format!("the input `{name}` is one of {options:?}, and not `{text}`"))
        }
        other => Err(format!("the input `{name}` has the type `{other}`, which is not known")),
    }
}

/// What a level of workflows may grant to its tokens.
pub(crate) fn grants(
    own: Option<&crate::model::Permissions>,
    outer: Option<&crate::model::Permissions>,
    allowed: Option<&Granted>,
) -> Result<Granted, String> {
    let asked = own.or(outer).ok_or("nothing says what the token may do")?;
    let granted = permissions::granted(asked)?;
    if let Some(allowed) = allowed {
        permissions::within(&granted, allowed)?;
    }
    Ok(granted)
}
