//! A workflow's jobs: in their order, side by side where they can, with what they carry over.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::mpsc;

use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use crate::availability::Place;
use crate::expression::{Scope, Status, condition, interpolate, to_text};
use crate::job::JobRun;
use crate::machine::{Going, Machine, grants, typed};
use crate::model::{Concurrency, Environment, Job, Secrets, Values, Workflow};
use crate::outcome::{JobEnd, Verdict};
use crate::permissions::Granted;

/// A workflow in its place: the one that an event started, or one that a job calls.
pub(crate) struct Level<'a> {
    pub(crate) machine: &'a Machine<'a>,
    pub(crate) going: &'a Going,
    /// The repository in which the workflow stands.
    pub(crate) home: PathBuf,
    /// Whether that is the project under test, and not its caller.
    pub(crate) is_project: bool,
    /// The names of the jobs that lead here, e.g. `promote / `.
    pub(crate) prefix: String,
    /// The same as GitHub shows them, e.g. `Promote / `.
    pub(crate) titles: String,
    pub(crate) inputs: Value,
    pub(crate) secrets: BTreeMap<String, String>,
    /// What the caller's token may do; none where nobody calls.
    pub(crate) allowed: Option<Granted>,
    pub(crate) depth: u8,
}

type Ended = (IndexMap<String, JobEnd>, BTreeMap<String, String>);

impl Level<'_> {
    /// Runs the jobs; gives those that ended, and the workflow's outputs.
    pub(crate) fn run(&self, workflow: &Workflow) -> Result<Ended, String> {
        // What GitHub looks at before anything starts.
        for job in workflow.jobs.values() {
            grants(job.permissions.as_ref(), workflow.permissions.as_ref(), self.allowed.as_ref())?;
        }
        if let Some(name) = &workflow.run_name {
            interpolate(name, &self.scope(Place::Workflow, None))?;
        }
        let group = workflow.concurrency.as_ref().map(|one| self.group(one, Place::Workflow, None)).transpose()?;
        let _held = group.as_ref().map(|group| hold(group));
        let (sender, receiver) = mpsc::channel();
        let mut own: IndexMap<String, JobEnd> = IndexMap::new();
        let mut all: IndexMap<String, JobEnd> = IndexMap::new();
        let mut started: BTreeSet<&str> = BTreeSet::new();
        std::thread::scope(|threads| {
            while own.len() < workflow.jobs.len() {
                for (id, job) in &workflow.jobs {
                    if started.contains(id.as_str()) || !job.needs.iter().all(|needed| own.contains_key(needed)) {
                        continue;
                    }
                    started.insert(id);
                    let before = own.clone();
                    let sender = sender.clone();
                    threads.spawn(move || {
                        let ended = catch_unwind(AssertUnwindSafe(|| self.job(workflow, id, job, &before)));
                        // Nobody listens any more where another job gave up.
                        let _ = sender.send((id.as_str(), ended));
                    });
                }
                let (id, ended) = receiver.recv().expect("a sender is kept here");
                let (end, nested) = ended.unwrap_or_else(|panic| resume_unwind(panic));
                all.extend(nested);
                all.insert(format!("{}{id}", self.prefix), end.clone());
                own.insert(id.to_owned(), end);
            }
        });
        let outputs = self.outputs(workflow, &own)?;
        Ok((all, outputs))
    }

    fn outputs(
        &self,
        workflow: &Workflow,
        jobs: &IndexMap<String, JobEnd>,
    ) -> Result<BTreeMap<String, String>, String> {
        let Some(callable) = workflow.on.workflow_call.as_ref().filter(|_| self.depth > 0) else {
            return Ok(BTreeMap::new());
        };
        let shown: Map<String, Value> = jobs
            .iter()
            .map(|(id, end)| {
                (id.clone(), json!({"result": end.result.word(), "outputs": outputs_of(&workflow.jobs[id], end)}))
            })
            .collect();
        let mut scope = self.scope(Place::WorkflowOutput, None);
        scope.contexts.insert("jobs".to_owned(), Value::Object(shown));
        scope.strict.push("jobs");
        callable
            .outputs
            .iter()
            .map(|(name, output)| Ok((name.clone(), to_text(&interpolate(&output.value, &scope)?))))
            .collect()
    }

    /// What an expression at a place may see; jobs that ended before are `needs`.
    pub(crate) fn scope(&self, place: Place, job: Option<&Seen<'_>>) -> Scope {
        let mut contexts: BTreeMap<String, Value> = BTreeMap::new();
        for &name in place.contexts() {
            let value = match name {
                "github" => self.github(job),
                "inputs" => self.inputs.clone(),
                "vars" => {
                    let mut vars = self.machine.vars.clone();
                    if let Some(gate) = job.and_then(|job| job.gate.as_ref()) {
                        vars.extend(gate.vars.clone());
                    }
                    crate::expression::texts(&vars)
                }
                "secrets" => {
                    let mut secrets = self.secrets.clone();
                    if let Some(gate) = job.and_then(|job| job.gate.as_ref()) {
                        secrets.extend(gate.secrets.clone());
                    }
                    if let Some(job) = job {
                        secrets.insert("GITHUB_TOKEN".to_owned(), job.token.clone());
                    }
                    crate::expression::texts(&secrets)
                }
                "needs" => job.map_or_else(|| json!({}), |job| job.needs.clone()),
                "matrix" => job.map_or_else(|| json!({}), |job| Value::Object(job.matrix.clone())),
                "strategy" => json!({"job-index": 0, "job-total": 1}),
                // The job itself adds them.
                _ => continue,
            };
            contexts.insert(name.to_owned(), value);
        }
        Scope {
            contexts,
            strict: vec!["inputs", "vars", "secrets", "needs", "matrix", "job", "runner"],
            status: None,
            files: None,
        }
    }

    fn github(&self, job: Option<&Seen<'_>>) -> Value {
        let machine = self.machine;
        let going = self.going;
        let owner = machine.repository.split('/').next().unwrap_or_default();
        let (base, head) = match going.event.name.as_str() {
            "pull_request" => (going.event.payload["pull_request"]["base"]["ref"].clone(), json!("topic")),
            _ => (json!(""), json!("")),
        };
        let git_ref = match going.event.name.as_str() {
            "pull_request" => "refs/pull/7/merge".to_owned(),
            _ => format!("refs/heads/{}", going.event.branch),
        };
        let api = machine.github.map_or_else(|| "http://127.0.0.1:9".to_owned(), testbed::github::GitHub::url);
        json!({
            "token": job.map(|job| job.token.clone()), "repository": machine.repository, "repository_owner": owner,
            "repository_id": "1296269", "repository_owner_id": "9919", "run_id": going.id.to_string(), "run_number": "7",
            "run_attempt": "1", "sha": machine.commit, "ref": git_ref, "ref_name": going.event.branch,
            "ref_type": "branch", "ref_protected": true, "actor": machine.actor, "triggering_actor": machine.actor,
            "actor_id": "583231", "event_name": going.event.name, "event": going.event.payload,
            "workflow": going.workflow_name, "job": job.map(|job| job.id),
            "workflow_ref": format!("{}/{}@{git_ref}", machine.repository, going.workflow_file),
            "workflow_sha": machine.commit, "server_url": "https://github.com", "api_url": api,
            "graphql_url": format!("{api}/graphql"), "base_ref": base, "head_ref": head,
            "workspace": job.map(|job| job.workspace.display().to_string()), "retention_days": "90",
        })
    }

    fn group(
        &self,
        concurrency: &Concurrency,
        place: Place,
        job: Option<&Seen<'_>>,
    ) -> Result<std::sync::Arc<std::sync::Mutex<()>>, String> {
        let text = match concurrency {
            Concurrency::Group(group) => group,
            Concurrency::Whole(whole) => {
                if whole.cancel_in_progress.as_ref().is_some_and(|one| one.text() != "false") {
                    return Err("concurrency: cancel-in-progress is not known here".to_owned());
                }
                if whole.queue.as_deref().is_some_and(|queue| queue != "max") {
                    return Err("concurrency: queue is `max` or nothing".to_owned());
                }
                &whole.group
            }
        };
        let group = to_text(&interpolate(text, &self.scope(place, job))?);
        let mut groups = self.machine.groups.lock().expect("no thread panicked here");
        Ok(std::sync::Arc::clone(groups.entry(group).or_default()))
    }

    /// Runs one job; gives its end and those of the jobs that it calls.
    fn job(
        &self,
        workflow: &Workflow,
        id: &str,
        job: &Job,
        before: &IndexMap<String, JobEnd>,
    ) -> (JobEnd, IndexMap<String, JobEnd>) {
        let run = || -> Result<_, String> {
            let granted = grants(job.permissions.as_ref(), workflow.permissions.as_ref(), self.allowed.as_ref())?;
            let mut seen = Seen {
                id,
                needs: needs(workflow, job, before),
                matrix: Map::new(),
                token: self.machine.token(&granted),
                gate: None,
                workspace: PathBuf::new(),
            };
            let mut scope = self.scope(Place::JobIf, Some(&seen));
            scope.status = Some(status(workflow, job, before));
            let text = job.condition.as_ref().map(crate::model::Scalar::text);
            if !condition(text.as_deref(), &scope)? {
                return Ok((JobEnd::without_steps(Verdict::Skipped, "its condition was false"), IndexMap::new()));
            }
            let mut ends = IndexMap::new();
            let mut last = None;
            for matrix in variants(job, &self.scope(Place::Job, Some(&seen)))? {
                seen.matrix = matrix;
                let (end, nested) = self.variant(workflow, job, &mut seen, &granted)?;
                ends.extend(nested);
                let failed = end.result == Verdict::Failure;
                last = Some(match last {
                    Some(JobEnd { result: Verdict::Failure, .. }) => last.expect("looked at"),
                    _ => end,
                });
                if failed && job.strategy.as_ref().is_none_or(|strategy| strategy.fail_fast != Some(false)) {
                    break;
                }
            }
            Ok((last.expect("a job has a variant"), ends))
        };
        run().unwrap_or_else(|error| panic!("job `{}{id}`: {error}", self.prefix))
    }

    fn variant(
        &self,
        workflow: &Workflow,
        job: &Job,
        seen: &mut Seen<'_>,
        granted: &Granted,
    ) -> Result<(JobEnd, IndexMap<String, JobEnd>), String> {
        let group = job.concurrency.as_ref().map(|one| self.group(one, Place::Job, Some(seen))).transpose()?;
        let _held = group.as_ref().map(|group| hold(group));
        if let Some(uses) = &job.uses {
            return self.call(uses, job, seen, granted);
        }
        if job.timeout_minutes.is_none() {
            return Err("it has no `timeout-minutes`, so it could run for six hours".to_owned());
        }
        let scope = self.scope(Place::Job, Some(seen));
        for key in [job.name.as_ref(), job.runs_on.as_ref().and_then(|one| one.as_str().map(str::to_owned)).as_ref()] {
            key.map(|text| interpolate(text, &scope)).transpose()?;
        }
        if let Some(environment) = &job.environment {
            let name = match environment {
                Environment::Name(name) => name,
                Environment::Whole(whole) => &whole.name,
            };
            let name = to_text(&interpolate(name, &scope)?);
            // A name that is nothing is no environment.
            if !name.is_empty() {
                let gate = self.machine.environments.get(&name);
                seen.gate = Some(gate.cloned().ok_or_else(|| format!("the environment `{name}` is not there"))?);
                if let Some(end) = self.pause(&name, seen) {
                    return Ok((end, IndexMap::new()));
                }
            }
        }
        let end = JobRun::new(self, workflow, job, seen)?.run()?;
        Ok((end, IndexMap::new()))
    }

    /// Waits for a review; gives the job's end where it is refused.
    fn pause(&self, environment: &str, seen: &Seen<'_>) -> Option<JobEnd> {
        let gate = seen.gate.as_ref()?;
        if gate.reviewers.is_empty() {
            return None;
        }
        let repository = self.machine.on_github();
        // A job comes into being after those that it needs have ended, and GitHub's times are whole seconds.
        if let Some(github) = self.machine.github {
            github.advance(std::time::Duration::from_secs(2));
        }
        if let Some(repository) = &repository {
            repository.wait_for_review(self.going.id, environment);
        }
        let Some(review) = &gate.review else {
            let repository = repository.expect("only GitHub cancels a run");
            return Some(self.wait_in_vain(&repository, environment));
        };
        let waiting = crate::machine::Waiting {
            environment: environment.to_owned(),
            job: format!("{}{}", self.prefix, seen.id),
            run: self.going.id,
        };
        let said = review(&waiting);
        assert!(gate.reviewers.contains(&said.by), "{} may not review {environment}", said.by);
        if let Some(repository) = &repository {
            let state = if said.approved { "approved" } else { "rejected" };
            repository.review(self.going.id, environment, &said.by, state, &said.comment);
        }
        (!said.approved).then(|| JobEnd::without_steps(Verdict::Failure, "its deployment was rejected"))
    }

    /// Waits until somebody cancels the run.
    fn wait_in_vain(&self, repository: &testbed::github::Repository, environment: &str) -> JobEnd {
        let deadline = std::time::Instant::now() + self.machine.timeout;
        while repository.waits_for(self.going.id, environment) {
            assert!(std::time::Instant::now() < deadline, "nobody reviews {environment}, and nobody cancels the run");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        JobEnd::without_steps(Verdict::Cancelled, "the run was cancelled while it waited for a review")
    }

    fn call(
        &self,
        uses: &str,
        job: &Job,
        seen: &Seen<'_>,
        granted: &Granted,
    ) -> Result<(JobEnd, IndexMap<String, JobEnd>), String> {
        if self.depth >= 9 {
            return Err("more than ten workflows call each other".to_owned());
        }
        let (home, is_project, file) = self.resolve(uses)?;
        let called = Workflow::read(&home.join(&file))?;
        let callable = called.on.workflow_call.clone().ok_or_else(|| format!("{uses} cannot be called"))?;
        let scope = self.scope(Place::Job, Some(seen));
        let given: BTreeMap<String, Value> = job
            .with
            .iter()
            .map(|(name, value)| Ok((name.clone(), interpolate(&value.text(), &scope)?)))
            .collect::<Result<_, String>>()?;
        let inputs = typed(&callable.inputs, &given).map_err(|error| format!("{uses}: {error}"))?;
        let secrets = self.given_secrets(uses, job, &callable, seen)?;
        let level = Level {
            machine: self.machine,
            going: self.going,
            home,
            is_project,
            prefix: format!("{}{} / ", self.prefix, seen.id),
            titles: format!("{}{} / ", self.titles, job.name.as_deref().unwrap_or(seen.id)),
            inputs: Value::Object(inputs),
            secrets,
            allowed: Some(granted.clone()),
            depth: self.depth + 1,
        };
        let (jobs, outputs) = level.run(&called).map_err(|error| format!("{uses}: {error}"))?;
        let has = |verdict| jobs.values().any(|job| job.result == verdict);
        let result = match () {
            () if has(Verdict::Failure) => Verdict::Failure,
            () if has(Verdict::Cancelled) => Verdict::Cancelled,
            () if jobs.values().all(|job| job.result == Verdict::Skipped) => Verdict::Skipped,
            () => Verdict::Success,
        };
        let mut end = JobEnd::without_steps(result, uses);
        end.outputs = outputs;
        Ok((end, jobs))
    }

    /// Which repository a called workflow is in, whether that is the project, and its file.
    fn resolve(&self, uses: &str) -> Result<(PathBuf, bool, String), String> {
        if let Some(file) = uses.strip_prefix("./").or_else(|| uses.strip_prefix("$/")) {
            return Ok((self.home.clone(), self.is_project, file.to_owned()));
        }
        let (path, reference) = uses.split_once('@').ok_or_else(|| format!("{uses} names no commit"))?;
        let is_commit = reference.len() == 40 && reference.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_commit {
            return Err(format!("{uses} is not pinned by a whole commit"));
        }
        let file = path.strip_prefix(&self.machine.project_name).and_then(|rest| rest.strip_prefix('/'));
        let file = file.ok_or_else(|| format!("{uses} is a workflow of a repository that is not known here"))?;
        Ok((self.machine.project.clone(), true, file.to_owned()))
    }

    fn given_secrets(
        &self,
        uses: &str,
        job: &Job,
        callable: &crate::model::Callable,
        seen: &Seen<'_>,
    ) -> Result<BTreeMap<String, String>, String> {
        let given = match &job.secrets {
            None => BTreeMap::new(),
            Some(Secrets::All(word)) if word == "inherit" => self.secrets.clone(),
            Some(Secrets::All(word)) => return Err(format!("secrets: `{word}` is not known")),
            Some(Secrets::Some(some)) => {
                let scope = self.scope(Place::CallSecrets, Some(seen));
                let text =
                    |value: &crate::model::Scalar| Ok::<_, String>(to_text(&interpolate(&value.text(), &scope)?));
                let given = some
                    .iter()
                    .map(|(name, value)| Ok((name.clone(), text(value)?)))
                    .collect::<Result<BTreeMap<_, _>, String>>()?;
                if let Some(unknown) = given.keys().find(|name| !callable.secrets.contains_key(*name)) {
                    return Err(format!("{uses}: the secret `{unknown}` is not declared"));
                }
                given
            }
        };
        let mut secrets = given;
        for (name, secret) in &callable.secrets {
            let is_required = secret.as_ref().is_some_and(|secret| secret.required);
            if !secrets.contains_key(name) && is_required {
                return Err(format!("{uses}: the secret `{name}` is required"));
            }
            secrets.entry(name.clone()).or_default();
        }
        secrets.entry("GITHUB_TOKEN".to_owned()).or_default();
        Ok(secrets)
    }
}

/// What a job's expressions see of it.
pub(crate) struct Seen<'a> {
    pub(crate) id: &'a str,
    pub(crate) needs: Value,
    pub(crate) matrix: Map<String, Value>,
    pub(crate) token: String,
    pub(crate) gate: Option<crate::machine::Gate>,
    pub(crate) workspace: PathBuf,
}

/// Its outputs as they are declared; those that are not set are nothing.
fn outputs_of(job: &Job, end: &JobEnd) -> Value {
    if job.uses.is_some() {
        return crate::expression::texts(&end.outputs);
    }
    let outputs: BTreeMap<String, String> =
        job.outputs.keys().map(|name| (name.clone(), end.outputs.get(name).cloned().unwrap_or_default())).collect();
    crate::expression::texts(&outputs)
}

fn needs(workflow: &Workflow, job: &Job, before: &IndexMap<String, JobEnd>) -> Value {
    let shown = job.needs.iter().map(|id| {
        let end = &before[id];
        let outputs = match (&workflow.jobs[id].uses, end.result) {
            // The outputs of a called workflow that did not run are not there to be looked up strictly.
            (Some(_), Verdict::Skipped) => Value::Null,
            _ => outputs_of(&workflow.jobs[id], end),
        };
        (id.clone(), json!({"result": end.result.word(), "outputs": outputs}))
    });
    Value::Object(shown.collect())
}

/// How everything that a job comes after has ended, over several steps too: a job that was skipped further back is no
/// success either.
fn status(workflow: &Workflow, job: &Job, before: &IndexMap<String, JobEnd>) -> Status {
    let mut ancestors: BTreeSet<&str> = BTreeSet::new();
    let mut open: Vec<&str> = job.needs.iter().map(String::as_str).collect();
    while let Some(id) = open.pop() {
        if ancestors.insert(id) {
            open.extend(workflow.jobs[id].needs.iter().map(String::as_str));
        }
    }
    let results: Vec<Verdict> = ancestors.iter().map(|id| before[*id].result).collect();
    let cancelled = results.contains(&Verdict::Cancelled);
    Status {
        success: results.iter().all(|result| *result == Verdict::Success),
        failure: results.contains(&Verdict::Failure),
        cancelled,
    }
}

fn variants(job: &Job, scope: &Scope) -> Result<Vec<Map<String, Value>>, String> {
    let mut variants = vec![Map::new()];
    for (name, values) in job.strategy.iter().flat_map(|strategy| &strategy.matrix) {
        let values: Vec<Value> = match values {
            Values::Some(values) => values.iter().map(|value| Value::String(value.text())).collect(),
            Values::Expression(text) => match interpolate(text, scope)? {
                Value::Array(values) => values,
                other => return Err(format!("strategy: `{name}` is no list, but {other}")),
            },
        };
        variants = variants
            .iter()
            .flat_map(|variant| {
                values.iter().map(move |value| {
                    let mut variant = variant.clone();
                    variant.insert(name.clone(), value.clone());
                    variant
                })
            })
            .collect();
    }
    Ok(variants)
}

/// Takes a group; nobody waits for it longer than the tests would.
fn hold(group: &std::sync::Arc<std::sync::Mutex<()>>) -> std::sync::MutexGuard<'_, ()> {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(100);
    loop {
        match group.try_lock() {
            Ok(guard) => return guard,
            Err(std::sync::TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
            Err(std::sync::TryLockError::WouldBlock) => {
                assert!(std::time::Instant::now() < deadline, "a job waits for its concurrency group for ever");
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
    }
}
