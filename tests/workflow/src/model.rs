//! Workflows and actions as their YAML says. Whatever is not known here is an error.

use std::path::Path;

use indexmap::IndexMap;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A text, number or yes and no of YAML, which GitHub takes for text.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Scalar {
    /// `true` or `false`.
    Flag(bool),
    /// A whole number.
    Whole(i64),
    /// Another number.
    Number(f64),
    /// A text.
    Text(String),
}

impl Scalar {
    /// The text.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Flag(flag) => flag.to_string(),
            Self::Whole(number) => number.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

/// Names with their values.
pub type Scalars = IndexMap<String, Scalar>;

/// One or several.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    })
}

/// One event, a list of them, or each with what narrows it.
fn events<'de, D: Deserializer<'de>>(deserializer: D) -> Result<On, D::Error> {
    let named = |name: &Value| name.as_str().map(|name| (name.to_owned(), Value::Null));
    let whole = match Value::deserialize(deserializer)? {
        one @ Value::String(_) => named(&one).into_iter().collect(),
        Value::Array(names) => names.iter().filter_map(named).collect(),
        Value::Object(fields) => fields,
        other => return Err(serde::de::Error::custom(format!("on: {other} is not known"))),
    };
    On::deserialize(Value::Object(whole)).map_err(|error| serde::de::Error::custom(format!("on: {error}")))
}

/// A key that is there, if with nothing after it.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(Some(Option::<T>::deserialize(deserializer)?.unwrap_or_default()))
}

/// A workflow.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Workflow {
    /// Its name.
    pub name: Option<String>,
    /// The title of its runs.
    pub run_name: Option<String>,
    /// What starts it.
    #[serde(deserialize_with = "events")]
    pub on: On,
    /// What its jobs' tokens may do.
    pub permissions: Option<Permissions>,
    /// Variables of all jobs.
    #[serde(default)]
    pub env: Scalars,
    /// What one run at a time has.
    pub concurrency: Option<Concurrency>,
    /// How `run` steps run.
    pub defaults: Option<Defaults>,
    /// Its jobs.
    pub jobs: IndexMap<String, Job>,
}

/// What starts a workflow.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct On {
    /// A push.
    #[serde(default, deserialize_with = "present")]
    pub push: Option<Filter>,
    /// A pull request.
    #[serde(default, deserialize_with = "present")]
    pub pull_request: Option<Filter>,
    /// A comment on an issue.
    #[serde(default, deserialize_with = "present")]
    pub issue_comment: Option<Types>,
    /// The end of another workflow.
    #[serde(default, deserialize_with = "present")]
    pub workflow_run: Option<AfterWorkflow>,
    /// The clock.
    pub schedule: Option<Vec<Schedule>>,
    /// Somebody's hand.
    #[serde(default, deserialize_with = "present")]
    pub workflow_dispatch: Option<Dispatch>,
    /// Another workflow.
    #[serde(default, deserialize_with = "present")]
    pub workflow_call: Option<Callable>,
}

/// Which pushes and pull requests.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Filter {
    /// Of these branches; of a pull request, the one it goes into.
    pub branches: Option<Vec<String>>,
    /// Of these tags.
    pub tags: Option<Vec<String>>,
    /// With changes in these files.
    pub paths: Option<Vec<String>>,
    /// Of these kinds.
    pub types: Option<Vec<String>>,
}

/// Which kinds of an event.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Types {
    /// The kinds.
    pub types: Option<Vec<String>>,
}

/// Which workflows' ends.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AfterWorkflow {
    /// Their names.
    pub workflows: Vec<String>,
    /// Of these kinds.
    pub types: Option<Vec<String>>,
    /// On these branches.
    pub branches: Option<Vec<String>>,
}

/// When.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// As cron says it.
    pub cron: String,
}

/// What a person fills in.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dispatch {
    /// The fields.
    #[serde(default)]
    pub inputs: IndexMap<String, Input>,
}

/// What another workflow gives and gets.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Callable {
    /// What it gives.
    #[serde(default)]
    pub inputs: IndexMap<String, Input>,
    /// What it gets.
    #[serde(default)]
    pub outputs: IndexMap<String, Output>,
    /// Its secrets.
    #[serde(default)]
    pub secrets: IndexMap<String, Option<Secret>>,
}

/// An input.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// What it is.
    pub description: Option<String>,
    /// Whether it must be given.
    #[serde(default)]
    pub required: bool,
    /// What it is where it is not given.
    pub default: Option<Scalar>,
    /// `string`, `boolean`, `number`, `choice` or `environment`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// What can be chosen.
    pub options: Option<Vec<String>>,
}

/// An output of a workflow.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// What it is.
    pub description: Option<String>,
    /// Its value.
    pub value: String,
}

/// A secret.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secret {
    /// What it is.
    pub description: Option<String>,
    /// Whether it must be given.
    #[serde(default)]
    pub required: bool,
}

/// What a token may do.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Permissions {
    /// `read-all` or `write-all`.
    All(String),
    /// `read`, `write` or `none` of each.
    Each(IndexMap<String, String>),
}

/// What one at a time has.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Concurrency {
    /// A group.
    Group(String),
    /// A group, and what becomes of those who come while it is taken.
    Whole(ConcurrencyGroup),
}

/// A group, and what becomes of those who come while it is taken.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ConcurrencyGroup {
    /// The group.
    pub group: String,
    /// Whether the newer one ends the older one.
    pub cancel_in_progress: Option<Scalar>,
    /// `max` lets all wait; otherwise the newest one does.
    pub queue: Option<String>,
}

/// How `run` steps run.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Defaults {
    /// The shell and the directory.
    pub run: RunDefaults,
}

/// The shell and the directory.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RunDefaults {
    /// The shell.
    pub shell: Option<String>,
    /// The directory.
    pub working_directory: Option<String>,
}

/// A job.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Job {
    /// Its name.
    pub name: Option<String>,
    /// What must end before it.
    #[serde(default, deserialize_with = "one_or_many")]
    pub needs: Vec<String>,
    /// Whether it runs.
    #[serde(rename = "if")]
    pub condition: Option<Scalar>,
    /// Where it runs.
    pub runs_on: Option<Value>,
    /// What its token may do.
    pub permissions: Option<Permissions>,
    /// Where it deploys to.
    pub environment: Option<Environment>,
    /// What one job at a time has.
    pub concurrency: Option<Concurrency>,
    /// What other jobs see of it.
    #[serde(default)]
    pub outputs: IndexMap<String, String>,
    /// Its variables.
    #[serde(default)]
    pub env: Scalars,
    /// How `run` steps run.
    pub defaults: Option<Defaults>,
    /// What it does.
    pub steps: Option<Vec<Step>>,
    /// How long it may take.
    pub timeout_minutes: Option<Scalar>,
    /// Whether its failure is none of the workflow's.
    pub continue_on_error: Option<Scalar>,
    /// Its variants.
    pub strategy: Option<Strategy>,
    /// The workflow that it calls.
    pub uses: Option<String>,
    /// What it gives to it.
    #[serde(default)]
    pub with: Scalars,
    /// Which secrets it gives to it.
    pub secrets: Option<Secrets>,
}

/// Which secrets a called workflow gets.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Secrets {
    /// `inherit`.
    All(String),
    /// Some.
    Some(Scalars),
}

/// Where a job deploys to.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Environment {
    /// Its name.
    Name(String),
    /// Its name, and more.
    Whole(JobEnvironment),
}

/// Where a job deploys to.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobEnvironment {
    /// Its name.
    pub name: String,
    /// Its address.
    pub url: Option<String>,
    /// Whether GitHub makes a deployment of its own for the job.
    pub deployment: Option<bool>,
}

/// A job's variants.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Strategy {
    /// The values.
    pub matrix: IndexMap<String, Values>,
    /// Whether one failure ends the others.
    pub fail_fast: Option<bool>,
    /// How many run at once.
    pub max_parallel: Option<u32>,
}

/// The values of a matrix.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Values {
    /// As they are.
    Some(Vec<Scalar>),
    /// What an expression gives.
    Expression(String),
}

/// A step.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Step {
    /// By which others speak of it.
    pub id: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// Whether it runs.
    #[serde(rename = "if")]
    pub condition: Option<Scalar>,
    /// The action.
    pub uses: Option<String>,
    /// Its inputs.
    #[serde(default)]
    pub with: Scalars,
    /// The script.
    pub run: Option<String>,
    /// Its shell.
    pub shell: Option<String>,
    /// Where it runs.
    pub working_directory: Option<String>,
    /// Its variables.
    #[serde(default)]
    pub env: Scalars,
    /// Whether its failure is none of the job's.
    pub continue_on_error: Option<Scalar>,
    /// How long it may take.
    pub timeout_minutes: Option<Scalar>,
}

/// An action that is a container.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// Who made it.
    pub author: Option<String>,
    /// How the marketplace shows it.
    pub branding: Option<Value>,
    /// Its inputs.
    #[serde(default)]
    pub inputs: IndexMap<String, ActionInput>,
    /// Its outputs.
    #[serde(default)]
    pub outputs: IndexMap<String, ActionOutput>,
    /// What runs.
    pub runs: ContainerAction,
}

/// An input of an action.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionInput {
    /// What it is.
    pub description: String,
    /// Whether it must be given; the runner does not look.
    #[serde(default)]
    pub required: bool,
    /// What it is where it is not given.
    pub default: Option<String>,
}

/// An output of an action.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionOutput {
    /// What it is.
    pub description: String,
}

/// What runs.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ContainerAction {
    /// `docker`.
    pub using: String,
    /// The image.
    pub image: String,
    /// The program.
    pub entrypoint: Option<String>,
    /// The program that runs when the job ends.
    pub post_entrypoint: Option<String>,
}

impl Workflow {
    /// Reads a workflow and looks at what can be seen before it runs.
    ///
    /// # Errors
    /// What is not known or makes no sense.
    pub fn read(path: &Path) -> Result<Self, String> {
        let workflow: Self = read(path)?;
        workflow.look_through().map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(workflow)
    }

    fn look_through(&self) -> Result<(), String> {
        for (id, job) in &self.jobs {
            let wrong = |what: &str| Err(format!("job `{id}`: {what}"));
            if let Some(unknown) = job.needs.iter().find(|needed| !self.jobs.contains_key(*needed)) {
                return wrong(&format!("needs `{unknown}`, which is not there"));
            }
            match (&job.uses, &job.steps) {
                (Some(_), None) if job.runs_on.is_none() && job.env.is_empty() && job.outputs.is_empty() => {}
                (None, Some(steps)) if job.runs_on.is_some() && job.with.is_empty() && job.secrets.is_none() => {
                    for (number, step) in steps.iter().enumerate() {
                        let is_one = step.uses.is_some() != step.run.is_some();
                        let is_sound = step.run.is_none() || step.with.is_empty();
                        if !is_one || !is_sound {
                            return wrong(&format!("step {} must be one of `uses` and `run`", number + 1));
                        }
                    }
                }
                _ => return wrong("it must either call a workflow or have steps, and the keys that go with it"),
            }
            if job.permissions.is_none() && self.permissions.is_none() {
                return wrong("nothing says what its token may do");
            }
        }
        self.order().map(|_| ())
    }

    /// The jobs, each after those that it needs.
    ///
    /// # Errors
    /// When they need each other.
    pub fn order(&self) -> Result<Vec<&str>, String> {
        let mut order: Vec<&str> = Vec::new();
        while order.len() < self.jobs.len() {
            let ready = |(id, job): &(&String, &Job)| {
                !order.contains(&id.as_str()) && job.needs.iter().all(|needed| order.contains(&needed.as_str()))
            };
            let Some((id, _)) = self.jobs.iter().find(ready) else { return Err("jobs need each other".to_owned()) };
            order.push(id);
        }
        Ok(order)
    }
}

impl Action {
    /// Reads an action's metadata.
    ///
    /// # Errors
    /// What is not known.
    pub fn read(path: &Path) -> Result<Self, String> {
        let action: Self = read(path)?;
        if action.runs.using != "docker" {
            return Err(format!("{}: only container actions can be run here", path.display()));
        }
        Ok(action)
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_yaml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}
