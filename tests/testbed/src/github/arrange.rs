//! How a test arranges a repository of the stand-in, and looks into it.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::fixtures::{NewCheckRun, NewEnvironment, NewWorkflow};
use super::seen::{SeenDeployment, SeenIssue, SeenRun, SeenStatus};
use super::world::{
    Branch, CheckRun, Comment, Commit, Deployment, DeploymentStatus, Environment, Issue, Job, Pull, Repo, Review, Run,
    Shared, Status, Workflow,
};

/// A repository of the stand-in.
#[derive(Clone)]
pub struct Repository {
    pub(super) world: Shared,
    pub(super) owner: String,
    pub(super) name: String,
}

/// New ids, and the time.
struct Fresh<'a> {
    next_id: &'a mut u64,
    now: DateTime<Utc>,
}

impl Fresh<'_> {
    fn id(&mut self) -> u64 {
        *self.next_id += 1;
        *self.next_id
    }
}

impl Repository {
    /// `owner/name`.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    fn change<T>(&self, work: impl FnOnce(&mut Repo, &mut Fresh<'_>) -> T) -> T {
        let mut world = self.world.lock();
        let world = &mut *world;
        let mut fresh = Fresh { now: world.now(), next_id: &mut world.next_id };
        let repo = world.repos.iter_mut().find(|repo| repo.owner == self.owner && repo.name == self.name);
        work(repo.expect("a repository is never removed"), &mut fresh)
    }

    /// Makes it one that only some may see.
    pub fn make_private(&self) {
        self.change(|repo, _| repo.private = true);
    }

    /// Lets it have had another name, from which GitHub redirects.
    pub fn was_called(&self, name: &str) {
        self.change(|repo, _| repo.former_names.insert(name.to_owned()));
    }

    /// Adds a commit to a branch, which begins with the default branch's end where it is new; gives its id.
    pub fn commit(&self, branch: &str, message: &str, author: &str) -> String {
        self.change(|repo, fresh| {
            let sha = hex::encode(&Sha256::digest(format!("{}/{message}/{}", repo.id, fresh.id()))[..20]);
            let start = repo.branches.get(branch).or_else(|| repo.branches.get(&repo.default_branch));
            let parents = start.map(|branch| branch.commit.clone()).into_iter().collect();
            let (message, author) = (message.to_owned(), author.to_owned());
            repo.commits.push(Commit { sha: sha.clone(), message, author, parents });
            repo.branches.entry(branch.to_owned()).or_insert_with(Branch::default).commit.clone_from(&sha);
            sha
        })
    }

    /// Lets a commit have come with a merged pull request; gives its number.
    pub fn pull_request(&self, commit: &str, title: &str, author: &str) -> u64 {
        self.change(|repo, fresh| {
            let (id, number) = (fresh.id(), super::next_number(repo));
            let (title, author, commit) = (title.to_owned(), author.to_owned(), commit.to_owned());
            repo.pulls.push(Pull { id, number, title, author, commit });
            number
        })
    }

    /// Requires a check on a branch, by its protection; `app` may be -1, which is any.
    pub fn require_check(&self, branch: &str, context: &str, app: Option<i64>) {
        self.change(|repo, _| {
            repo.branches.get_mut(branch).expect("the branch is there").required.push((context.to_owned(), app));
        });
    }

    /// Requires a check on a branch, by a ruleset.
    pub fn require_check_by_rule(&self, branch: &str, context: &str, app: Option<i64>) {
        self.change(|repo, _| {
            repo.branches.get_mut(branch).expect("the branch is there").rules.push((context.to_owned(), app));
        });
    }

    /// Puts a check run in place; gives its id.
    pub fn check_run(&self, commit: &str, new: &NewCheckRun) -> u64 {
        self.change(|repo, fresh| {
            let id = fresh.id();
            let suite = new.suite.unwrap_or_else(|| fresh.id());
            repo.check_runs.push(CheckRun {
                id,
                name: new.name.clone(),
                commit: commit.to_owned(),
                app: new.app,
                suite,
                status: new.status.clone(),
                conclusion: new.conclusion.clone(),
                started_at: fresh.now,
                deployment: new.deployment,
            });
            id
        })
    }

    /// Lets a check run end.
    pub fn end_check_run(&self, id: u64, conclusion: &str) {
        self.change(|repo, _| {
            let run = repo.check_runs.iter_mut().find(|run| run.id == id).expect("the check run is there");
            "completed".clone_into(&mut run.status);
            run.conclusion = Some(conclusion.to_owned());
        });
    }

    /// Sets a commit status, as somebody else does.
    pub fn status(&self, commit: &str, context: &str, state: &str) {
        self.change(|repo, fresh| {
            repo.statuses.push(Status {
                id: fresh.id(),
                commit: commit.to_owned(),
                context: context.to_owned(),
                state: state.to_owned(),
                description: None,
                target_url: None,
                creator: "somebody".to_owned(),
                at: fresh.now,
            });
        });
    }

    /// All commit statuses that were set for a commit, in order.
    #[must_use]
    pub fn statuses(&self, commit: &str) -> Vec<SeenStatus> {
        self.change(|repo, _| {
            let seen = |status: &Status| SeenStatus {
                context: status.context.clone(),
                state: status.state.clone(),
                description: status.description.clone(),
            };
            repo.statuses.iter().filter(|status| status.commit == commit).map(seen).collect()
        })
    }

    /// Puts an environment in place.
    pub fn environment(&self, new: &NewEnvironment) {
        self.change(|repo, fresh| repo.environments.push(Environment { id: fresh.id(), ..new.0.clone() }));
    }

    /// The names of its environments.
    #[must_use]
    pub fn environments(&self) -> Vec<String> {
        self.change(|repo, _| repo.environments.iter().map(|environment| environment.name.clone()).collect())
    }

    /// Puts a workflow in place; gives its id.
    pub fn workflow(&self, new: &NewWorkflow) -> u64 {
        self.change(|repo, fresh| {
            if let Some(known) = repo.workflows.iter_mut().find(|known| known.file == new.file) {
                (known.run_name, known.steps, known.event) =
                    (new.run_name.clone(), new.steps.clone(), new.event.clone());
                return known.id;
            }
            let id = fresh.id();
            let (file, run_name) = (new.file.clone(), new.run_name.clone());
            repo.workflows.push(Workflow { id, file, run_name, steps: new.steps.clone(), event: new.event.clone() });
            id
        })
    }

    /// Puts a run of a workflow in place, that has not ended; gives its id.
    pub fn run(&self, file: &str, commit: &str, actor: &str) -> u64 {
        self.change(|repo, fresh| {
            let workflow = repo.workflows.iter().find(|workflow| workflow.file == file).map(|workflow| workflow.id);
            let (id, suite) = (fresh.id(), fresh.id());
            repo.runs.push(Run {
                id,
                workflow: workflow.expect("the workflow is there"),
                title: file.to_owned(),
                event: "push".to_owned(),
                commit: commit.to_owned(),
                branch: Some(repo.default_branch.clone()),
                actor: actor.to_owned(),
                suite,
                at: fresh.now,
                status: "in_progress".to_owned(),
                conclusion: None,
                steps: VecDeque::new(),
                hidden: 0,
                reviews: Vec::new(),
                waits_for: Vec::new(),
                jobs: Vec::new(),
                inputs: Map::new(),
            });
            id
        })
    }

    fn change_run<T>(&self, id: u64, work: impl FnOnce(&mut Run, &mut Fresh<'_>) -> T) -> T {
        self.change(|repo, fresh| work(repo.runs.iter_mut().find(|run| run.id == id).expect("the run is there"), fresh))
    }

    /// Lets a run end.
    pub fn end_run(&self, id: u64, conclusion: &str) {
        self.change_run(id, |run, _| {
            "completed".clone_into(&mut run.status);
            run.conclusion = Some(conclusion.to_owned());
        });
    }

    /// Adds a job to a run; gives its check run's id.
    pub fn job(&self, run: u64, name: &str, status: &str) -> u64 {
        let (commit, suite) = self.change_run(run, |run, _| (run.commit.clone(), run.suite));
        let check = NewCheckRun::under_way(name, status).in_suite(suite);
        let check_run = self.check_run(&commit, &check);
        self.change_run(run, |run, fresh| {
            run.jobs.push(Job {
                id: fresh.id(),
                name: name.to_owned(),
                status: status.to_owned(),
                conclusion: None,
                check_run,
                created_at: fresh.now,
            });
        });
        check_run
    }

    /// The check suite of a run.
    #[must_use]
    pub fn suite_of(&self, run: u64) -> u64 {
        self.change_run(run, |run, _| run.suite)
    }

    /// Lets a run wait for an environment.
    pub fn wait_for_review(&self, run: u64, environment: &str) {
        self.change_run(run, |run, _| run.waits_for.push(environment.to_owned()));
    }

    /// Whether a run waits for an environment.
    #[must_use]
    pub fn waits_for(&self, run: u64, environment: &str) -> bool {
        self.change_run(run, |run, _| run.waits_for.iter().any(|name| name == environment))
    }

    /// Reviews a run's deployment, as GitHub's page does.
    pub fn review(&self, run: u64, environment: &str, by: &str, state: &str, comment: &str) {
        self.change_run(run, |run, _| {
            run.waits_for.retain(|name| !name.eq_ignore_ascii_case(environment));
            let (environment, by) = (environment.to_owned(), by.to_owned());
            run.reviews.push(Review { environment, by, state: state.to_owned(), comment: comment.to_owned() });
        });
    }

    /// Its workflow runs, in order.
    #[must_use]
    pub fn runs(&self) -> Vec<SeenRun> {
        self.change(|repo, _| {
            let seen = |run: &Run| SeenRun {
                id: run.id,
                title: run.title.clone(),
                event: run.event.clone(),
                inputs: run.inputs.clone(),
            };
            repo.runs.iter().map(seen).collect()
        })
    }

    /// Makes a deployment, as a job with an `environment` does; gives its id.
    pub fn deployment(&self, commit: &str, environment: &str, production: bool, states: &[&str]) -> u64 {
        self.change(|repo, fresh| {
            let id = fresh.id();
            let status = |state: &&str| DeploymentStatus {
                id: 0,
                state: (*state).to_owned(),
                description: String::new(),
                log_url: String::new(),
                environment_url: String::new(),
                creator: "github-actions[bot]".to_owned(),
                at: fresh.now,
            };
            let statuses = states.iter().map(status).collect();
            repo.deployments.push(Deployment {
                id,
                commit: commit.to_owned(),
                git_ref: commit.to_owned(),
                task: "deploy".to_owned(),
                environment: environment.to_owned(),
                description: None,
                payload: serde_json::json!({}),
                production,
                transient: false,
                creator: "github-actions[bot]".to_owned(),
                at: fresh.now,
                statuses,
            });
            id
        })
    }

    /// Its deployments, in order.
    #[must_use]
    pub fn deployments(&self) -> Vec<SeenDeployment> {
        self.change(|repo, _| {
            let seen = |deployment: &Deployment| SeenDeployment {
                id: deployment.id,
                commit: deployment.commit.clone(),
                environment: deployment.environment.clone(),
                task: deployment.task.clone(),
                payload: deployment.payload.clone(),
                production: deployment.production,
                states: deployment.statuses.iter().map(|status| status.state.clone()).collect(),
            };
            repo.deployments.iter().map(seen).collect()
        })
    }

    /// Opens an issue, or with `is_pull_request` a pull request, as somebody else does; gives its number.
    pub fn issue(&self, author: &str, title: &str, body: &str, labels: &[&str], is_pull_request: bool) -> u64 {
        self.change(|repo, fresh| {
            let number = super::next_number(repo);
            repo.issues.push(Issue {
                id: fresh.id(),
                number,
                title: title.to_owned(),
                body: body.to_owned(),
                author: author.to_owned(),
                labels: labels.iter().map(|label| (*label).to_owned()).collect(),
                assignees: Vec::new(),
                open: true,
                state_reason: None,
                is_pull_request,
                at: fresh.now,
                comments: Vec::new(),
            });
            number
        })
    }

    /// Its issues, in order.
    #[must_use]
    pub fn issues(&self) -> Vec<SeenIssue> {
        self.change(|repo, _| {
            let seen = |issue: &Issue| SeenIssue {
                number: issue.number,
                title: issue.title.clone(),
                body: issue.body.clone(),
                labels: issue.labels.clone(),
                assignees: issue.assignees.clone(),
                open: issue.open,
                state_reason: issue.state_reason.clone(),
                comments: issue.comments.iter().map(|comment| comment.body.clone()).collect(),
            };
            repo.issues.iter().map(seen).collect()
        })
    }

    fn change_issue<T>(&self, number: u64, work: impl FnOnce(&mut Issue, &mut Fresh<'_>) -> T) -> T {
        self.change(|repo, fresh| {
            work(repo.issues.iter_mut().find(|issue| issue.number == number).expect("the issue is there"), fresh)
        })
    }

    /// Writes a comment, as this person does; nobody's account is gone where there is none. Gives its id.
    pub fn comment(&self, issue: u64, author: Option<&str>, body: &str) -> u64 {
        self.change_issue(issue, |issue, fresh| {
            let (id, at) = (fresh.id(), fresh.now);
            let (author, body) = (author.map(str::to_owned), body.to_owned());
            issue.comments.push(Comment { id, author, body, created_at: at, updated_at: at });
            id
        })
    }

    /// Edits a comment, as anybody with write access can. The author stays.
    pub fn edit_comment(&self, issue: u64, comment: u64, body: &str) {
        self.change_issue(issue, |issue, fresh| {
            let comment = issue.comments.iter_mut().find(|one| one.id == comment).expect("the comment is there");
            body.clone_into(&mut comment.body);
            comment.updated_at = fresh.now.max(comment.created_at + TimeDelta::seconds(1));
        });
    }

    /// Attests something of a digest.
    pub fn attest(&self, digest: &str, bundle: Value) {
        self.change(|repo, _| repo.attestations.push((digest.to_owned(), bundle)));
    }
}
