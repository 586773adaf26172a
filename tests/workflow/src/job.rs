//! A job's steps.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use testbed::runner::{Finished, Runner, files};

use crate::availability::Place;
use crate::expression::{Scope, Status, condition, interpolate, to_text, truth};
use crate::model::{Action, Job, Scalar, Scalars, Step, Workflow};
use crate::outcome::{JobEnd, StepEnd, Verdict};
use crate::stand_in::{Done, Use};
use crate::workflow::{Level, Seen};

/// A job under way.
pub(crate) struct JobRun<'a, 'b> {
    level: &'a Level<'a>,
    job: &'a Job,
    seen: &'a Seen<'b>,
    workflow: &'a Workflow,
    runner: Runner,
    workspace: PathBuf,
    temp: PathBuf,
    check_run: u64,
    /// `env` of workflow and job, and what steps added to it.
    env: BTreeMap<String, String>,
    path: Vec<String>,
    masks: Vec<String>,
    steps: Map<String, Value>,
    ended: Vec<StepEnd>,
    posts: Vec<Post>,
}

/// What an action does when the job ends.
struct Post {
    action: Action,
    step: Step,
    state: BTreeMap<String, String>,
    env: BTreeMap<String, String>,
}

/// A step that has run.
struct Ran {
    success: bool,
    outputs: BTreeMap<String, String>,
    log: String,
    summary: String,
}

impl<'a, 'b> JobRun<'a, 'b> {
    pub(crate) fn new(
        level: &'a Level<'a>,
        workflow: &'a Workflow,
        job: &'a Job,
        seen: &'a mut Seen<'b>,
    ) -> Result<Self, String> {
        let runner = Runner::new("/bin/bash").timeout(level.machine.timeout);
        let workspace = runner.workspace();
        let temp = workspace.parent().expect("the workspace has a directory above").join("temp");
        seen.workspace.clone_from(&workspace);
        let check_run = level.machine.on_github().map_or(1, |repository| {
            let title = format!("{}{}", level.titles, job.name.as_deref().unwrap_or(seen.id));
            repository.job(level.going.id, &title, "in_progress")
        });
        let seen: &'a Seen<'b> = seen;
        let mut masks: Vec<String> = level.secrets.values().cloned().collect();
        masks.extend(seen.gate.iter().flat_map(|gate| gate.secrets.values().cloned()));
        masks.push(seen.token.clone());
        masks.retain(|mask| !mask.trim().is_empty());
        let mut run = Self {
            level,
            job,
            seen,
            workflow,
            runner,
            workspace,
            temp,
            check_run,
            env: BTreeMap::new(),
            path: Vec::new(),
            masks,
            steps: Map::new(),
            ended: Vec::new(),
            posts: Vec::new(),
        };
        let outer = run.texts(&workflow.env, &level.scope(Place::WorkflowEnv, Some(seen)))?;
        run.env.extend(outer);
        let own = run.texts(&job.env, &level.scope(Place::JobEnv, Some(seen)))?;
        run.env.extend(own);
        Ok(run)
    }

    fn texts(&self, values: &Scalars, scope: &Scope) -> Result<BTreeMap<String, String>, String> {
        values.iter().map(|(name, value)| Ok((name.clone(), to_text(&interpolate(&value.text(), scope)?)))).collect()
    }

    /// Runs the steps and, at the end, what they left to be done.
    pub(crate) fn run(mut self) -> Result<JobEnd, String> {
        for (number, step) in self.job.steps.iter().flatten().enumerate() {
            let name = step.name.clone().or_else(|| step.uses.clone());
            let name = name.unwrap_or_else(|| step.run.clone().unwrap_or_default());
            self.step(number, &name, step).map_err(|error| format!("step `{name}`: {error}"))?;
        }
        while let Some(post) = self.posts.pop() {
            self.post(&post)?;
        }
        let mut outputs = BTreeMap::new();
        for (name, text) in &self.job.outputs {
            let value = to_text(&interpolate(text, &self.scope(Place::JobOutputs))?);
            // GitHub drops what holds a secret.
            if !self.masks.iter().any(|mask| value.contains(mask.as_str())) {
                outputs.insert(name.clone(), value);
            }
        }
        if let Some(environment) = &self.job.environment
            && let crate::model::Environment::Whole(whole) = environment
            && let Some(url) = &whole.url
        {
            interpolate(url, &self.scope(Place::EnvironmentUrl))?;
        }
        let result = self.verdict();
        if let Some(repository) = self.level.machine.on_github() {
            repository.end_check_run(self.check_run, result.word());
        }
        // It lives as long as the run.
        let kept = self.level.going.kept.path().join(format!("job-{}", self.check_run_or_id()));
        crate::files::copy(&self.workspace, &kept);
        Ok(JobEnd { result, outputs, steps: self.ended, workspace: Some(kept), note: String::new() })
    }

    fn check_run_or_id(&self) -> String {
        format!("{}{}", self.level.prefix, self.seen.id).replace([' ', '/'], "-")
    }

    fn verdict(&self) -> Verdict {
        let failed = self.ended.iter().any(|step| step.conclusion == Verdict::Failure);
        if failed { Verdict::Failure } else { Verdict::Success }
    }

    fn scope(&self, place: Place) -> Scope {
        let mut scope = self.level.scope(place, Some(self.seen));
        let mut add = |name: &str, value: Value| {
            if place.contexts().contains(&name) {
                scope.contexts.insert(name.to_owned(), value);
            }
        };
        add("job", json!({"status": self.verdict().word(), "check_run_id": self.check_run.to_string()}));
        add(
            "runner",
            json!({
                "os": "Linux", "arch": "X64", "name": "GitHub Actions 1", "temp": self.temp.display().to_string(),
                "environment": "github-hosted", "debug": "", "tool_cache": "/opt/hostedtoolcache",
            }),
        );
        add("env", crate::expression::texts(&self.env));
        add("steps", Value::Object(self.steps.clone()));
        let failed = self.verdict() == Verdict::Failure;
        scope.status = place.has_status().then_some(Status { success: !failed, failure: failed, cancelled: false });
        scope.files = place.has_files().then(|| self.workspace.clone());
        scope
    }

    fn step(&mut self, number: usize, name: &str, step: &Step) -> Result<(), String> {
        let text = step.condition.as_ref().map(Scalar::text);
        let runs = condition(text.as_deref(), &self.scope(Place::StepIf))?;
        let end = if runs {
            let ran = self.ran(number, step)?;
            let outcome = if ran.success { Verdict::Success } else { Verdict::Failure };
            let goes_on = match &step.continue_on_error {
                Some(value) => truth(&match value {
                    Scalar::Flag(flag) => Value::Bool(*flag),
                    other => interpolate(&other.text(), &self.scope(Place::Step))?,
                }),
                None => false,
            };
            let conclusion = if goes_on { Verdict::Success } else { outcome };
            StepEnd {
                name: name.to_owned(),
                outcome,
                conclusion,
                outputs: ran.outputs,
                log: ran.log,
                summary: ran.summary,
            }
        } else {
            StepEnd {
                name: name.to_owned(),
                outcome: Verdict::Skipped,
                conclusion: Verdict::Skipped,
                outputs: BTreeMap::new(),
                log: String::new(),
                summary: String::new(),
            }
        };
        if let Some(id) = &step.id {
            let outputs = crate::expression::texts(&end.outputs);
            let shown = json!({"outputs": outputs, "outcome": end.outcome.word(), "conclusion": end.conclusion.word()});
            if self.steps.insert(id.clone(), shown).is_some() {
                return Err(format!("another step has the id `{id}`"));
            }
        }
        self.ended.push(end);
        Ok(())
    }

    fn ran(&mut self, number: usize, step: &Step) -> Result<Ran, String> {
        let mut env = self.env.clone();
        env.extend(self.texts(&step.env, &self.scope(Place::Step))?);
        match (&step.run, &step.uses) {
            (Some(script), None) => self.script(number, step, script, &env),
            (None, Some(uses)) => self.action(step, uses, env),
            _ => Err("it must be one of `uses` and `run`".to_owned()),
        }
    }

    /// What every process of the job gets.
    fn dressed(&self, runner: Runner, env: &BTreeMap<String, String>) -> Runner {
        let github = self.level.scope(Place::Step, Some(self.seen)).contexts["github"].clone();
        let text = |name: &str| to_text(&github[name]);
        let mut runner = runner.event(&self.level.going.event.name, &self.level.going.event.payload);
        for name in [
            "actor",
            "actor_id",
            "api_url",
            "base_ref",
            "event_name",
            "graphql_url",
            "head_ref",
            "job",
            "ref",
            "ref_name",
            "ref_protected",
            "ref_type",
            "repository",
            "repository_id",
            "repository_owner",
            "repository_owner_id",
            "retention_days",
            "run_attempt",
            "run_id",
            "run_number",
            "server_url",
            "sha",
            "triggering_actor",
            "workflow",
            "workflow_ref",
            "workflow_sha",
        ] {
            runner = runner.env(&format!("GITHUB_{}", name.to_uppercase()), &text(name));
        }
        for (name, value) in self.level.machine.variables.iter().chain(env) {
            runner = runner.env(name, value);
        }
        if !self.path.is_empty() {
            let path = format!("{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", self.path.join(":"));
            runner = runner.env("PATH", &path);
        }
        runner
    }

    fn script(
        &mut self,
        number: usize,
        step: &Step,
        script: &str,
        env: &BTreeMap<String, String>,
    ) -> Result<Ran, String> {
        let scope = self.scope(Place::Step);
        let script = to_text(&interpolate(script, &scope)?);
        let defaults = [&self.job.defaults, &self.workflow.defaults];
        let default = |pick: fn(&crate::model::RunDefaults) -> &Option<String>| {
            defaults.iter().find_map(|one| one.as_ref().and_then(|one| pick(&one.run).clone()))
        };
        let shell = step.shell.clone().or_else(|| default(|one| &one.shell));
        let options: &[&str] = match shell.as_deref() {
            None => &["-e"],
            Some("bash") => &["--noprofile", "--norc", "-eo", "pipefail"],
            Some(other) => return Err(format!("the shell `{other}` is not known here")),
        };
        let directory = step.working_directory.clone().or_else(|| default(|one| &one.working_directory));
        let directory = directory.map(|text| interpolate(&text, &scope)).transpose()?.map(|value| to_text(&value));
        let file = self.temp.join(format!("{number}.sh"));
        let whole = directory.map_or_else(String::new, |directory| format!("cd '{directory}'\n")) + &script;
        std::fs::write(&file, whole).map_err(|error| error.to_string())?;
        let mut words: Vec<&str> = options.to_vec();
        let file = file.display().to_string();
        words.push(&file);
        let finished = self.dressed(self.runner.clone(), env).arguments(&words).run();
        self.take(&finished)
    }

    /// What the runner makes of what a process left.
    fn take(&mut self, finished: &Finished) -> Result<Ran, String> {
        self.masks.extend(finished.masks().into_iter().filter(|mask| !mask.trim().is_empty()));
        let env = files::read(finished.file("GITHUB_ENV"));
        let outputs = finished.outputs();
        let is_sound = env.is_ok() && outputs.is_ok();
        self.env.extend(env.unwrap_or_default());
        self.path.splice(0..0, finished.file("GITHUB_PATH").lines().rev().map(str::to_owned));
        Ok(Ran {
            success: finished.is_success() && is_sound,
            outputs: outputs.unwrap_or_default(),
            log: format!("{}{}", finished.stdout, finished.stderr),
            summary: finished.summary().to_owned(),
        })
    }

    fn action(&mut self, step: &Step, uses: &str, env: BTreeMap<String, String>) -> Result<Ran, String> {
        let given = self.texts(&step.with, &self.scope(Place::Step))?;
        if let Some(metadata) = self.own_action(uses)? {
            return self.own(step, &metadata, given, env);
        }
        let (name, reference) = uses.split_once('@').ok_or_else(|| format!("{uses} names no commit"))?;
        if reference.len() != 40 || !reference.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(format!("{uses} is not pinned by a whole commit"));
        }
        let machine = self.level.machine;
        let stand_in = machine.stand_ins.get(name).ok_or_else(|| format!("nothing stands in for {name}"))?;
        let done: Done = stand_in(&Use {
            with: &given,
            env: &env,
            workspace: &self.workspace,
            checkout: &machine.checkout,
            kept: self.level.going.kept.path(),
            artifacts: &self.level.going.artifacts,
            commit: &machine.commit,
        });
        self.env.extend(done.env);
        Ok(Ran { success: done.success, outputs: done.outputs, log: done.log, summary: String::new() })
    }

    /// The metadata's file where an action is the one under test.
    fn own_action(&self, uses: &str) -> Result<Option<PathBuf>, String> {
        let machine = self.level.machine;
        let directory = if let Some(path) = uses.strip_prefix("$/") {
            self.level.home.join(path)
        } else if uses.starts_with("./") {
            return Err(format!("{uses} would be looked for in the caller's checkout"));
        } else if let Some(rest) = uses.strip_prefix(&machine.project_name) {
            match rest.split_once('@') {
                Some(("", reference)) if reference.len() == 40 => machine.project.clone(),
                _ => return Err(format!("{uses} is not the action at a commit")),
            }
        } else {
            return Ok(None);
        };
        let metadata = directory.join("action.yml");
        if directory.join("").components().ne(machine.project.join("").components()) {
            return Err(format!("{uses}: only the project's own action is known here"));
        }
        Ok(Some(metadata))
    }

    fn own(
        &mut self,
        step: &Step,
        metadata: &Path,
        given: BTreeMap<String, String>,
        env: BTreeMap<String, String>,
    ) -> Result<Ran, String> {
        let action = Action::read(metadata)?;
        if let Some(unknown) = given.keys().find(|name| !action.inputs.contains_key(*name)) {
            return Err(format!("the action has no input `{unknown}`"));
        }
        let runner = self.with_inputs(&action, &given)?;
        let name = action.runs.entrypoint.as_deref().unwrap_or("/tidegate");
        let finished = self.dressed(self.program(runner, name)?, &env).run();
        let state = finished.state().unwrap_or_default();
        let mut ran = self.take(&finished)?;
        if let Some(unknown) = ran.outputs.keys().find(|name| !action.outputs.contains_key(*name)) {
            return Err(format!("the action sets the output `{unknown}`, which it does not declare"));
        }
        // A name that the action does not declare is a mistake in the workflow; one that was not set is nothing.
        for declared in action.outputs.keys() {
            ran.outputs.entry(declared.clone()).or_default();
        }
        if action.runs.post_entrypoint.is_some() {
            self.posts.push(Post { action, step: step.clone(), state, env });
        }
        Ok(ran)
    }

    fn with_inputs(&self, action: &Action, given: &BTreeMap<String, String>) -> Result<Runner, String> {
        let scope = self.scope(Place::ActionInput);
        let mut runner = self.runner.clone();
        for (name, input) in &action.inputs {
            let value = match given.get(name) {
                Some(value) => value.clone(),
                None => to_text(&interpolate(input.default.as_deref().unwrap_or_default(), &scope)?),
            };
            runner = runner.input(name, &value);
        }
        Ok(runner)
    }

    /// The program under the name that the image has it by, or the image itself.
    fn program(&self, runner: Runner, name: &str) -> Result<Runner, String> {
        let machine = self.level.machine;
        if let Some((engine, image)) = &machine.image {
            return Ok(runner.in_image(engine, image).option("--entrypoint").option(name));
        }
        let link = self.temp.join(name.trim_start_matches('/'));
        if !link.exists() {
            symlink(&machine.program, &link).map_err(|error| error.to_string())?;
        }
        Ok(runner.program(link))
    }

    fn post(&mut self, post: &Post) -> Result<(), String> {
        let given = self.texts(&post.step.with, &self.scope(Place::Step))?;
        let runner = self.with_inputs(&post.action, &given)?;
        let runner =
            post.state.iter().fold(runner, |runner, (name, value)| runner.env(&format!("STATE_{name}"), value));
        let name = post.action.runs.post_entrypoint.as_deref().unwrap_or_default();
        let finished = self.dressed(self.program(runner, name)?, &post.env).run();
        let ran = self.take(&finished)?;
        let verdict = if ran.success { Verdict::Success } else { Verdict::Failure };
        let step = post.step.name.clone().or_else(|| post.step.uses.clone()).unwrap_or_default();
        self.ended.push(StepEnd {
            name: format!("Post {step}"),
            outcome: verdict,
            conclusion: verdict,
            outputs: ran.outputs,
            log: ran.log,
            summary: ran.summary,
        });
        Ok(())
    }
}
