//! What the stand-in for GitHub knows.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};

use super::access::Token;

/// A person, a bot or an organisation.
#[derive(Debug, Clone)]
pub(super) struct User {
    pub(super) login: String,
    pub(super) id: u64,
    pub(super) kind: &'static str,
}

/// All of it.
#[derive(Default)]
pub(super) struct World {
    /// How far the clock is ahead of this machine's.
    pub(super) ahead: TimeDelta,
    pub(super) next_id: u64,
    pub(super) users: BTreeMap<String, User>,
    pub(super) teams: BTreeMap<(String, String), BTreeMap<String, &'static str>>,
    pub(super) repos: Vec<Repo>,
    pub(super) tokens: BTreeMap<String, Token>,
    pub(super) records: Vec<Value>,
    /// Bundles of attestations, by the path from which they are fetched.
    pub(super) blobs: BTreeMap<String, Bytes>,
    /// The address below which they are.
    pub(super) elsewhere: String,
    pub(super) settings: Settings,
    pub(super) received: Vec<Received>,
}

/// How the stand-in behaves.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// Whether a dispatch tells the run that it starts, when asked to; an older Enterprise Server refuses the question.
    pub run_details: bool,
    /// Whether a deployment's payload comes back as a text.
    pub payload_as_text: bool,
    /// Whether the answer that nothing changed says where the list goes on.
    pub link_when_unchanged: bool,
    /// Whether an attestation's bundle is kept elsewhere, and the field for it null or absent.
    pub bundles: Bundles,
    /// How often the list of workflow runs is asked for before a new one is in it.
    pub runs_appear_after: u32,
    /// Whether GitHub's records of what runs where can be written.
    pub artifact_metadata: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            run_details: true,
            payload_as_text: false,
            link_when_unchanged: true,
            bundles: Bundles::Inline,
            runs_appear_after: 0,
            artifact_metadata: true,
        }
    }
}

/// Where the bundles of attestations are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bundles {
    /// In the answer.
    Inline,
    /// At an address, packed with Snappy; the field in the answer is absent.
    Elsewhere,
    /// The same; the field in the answer is null, as GitHub has it since July 2026.
    ElsewhereAndNull,
}

/// A request, as far as tests look into it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Received {
    /// The method.
    pub method: String,
    /// The path with its query, below the API's address.
    pub target: String,
    /// The headers.
    pub headers: http::HeaderMap,
    /// The body; null where there is none, or none in JSON.
    pub body: Value,
}

/// A repository.
#[derive(Default)]
pub(super) struct Repo {
    pub(super) id: u64,
    pub(super) owner: String,
    pub(super) name: String,
    pub(super) former_names: BTreeSet<String>,
    pub(super) private: bool,
    pub(super) default_branch: String,
    pub(super) commits: Vec<Commit>,
    pub(super) branches: BTreeMap<String, Branch>,
    pub(super) check_runs: Vec<CheckRun>,
    pub(super) statuses: Vec<Status>,
    pub(super) environments: Vec<Environment>,
    pub(super) deployments: Vec<Deployment>,
    pub(super) issues: Vec<Issue>,
    pub(super) workflows: Vec<Workflow>,
    pub(super) runs: Vec<Run>,
    pub(super) pulls: Vec<Pull>,
    pub(super) attestations: Vec<(String, Value)>,
}

#[derive(Debug, Clone)]
pub(super) struct Commit {
    pub(super) sha: String,
    pub(super) message: String,
    pub(super) author: String,
    pub(super) parents: Vec<String>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Branch {
    pub(super) commit: String,
    /// Required checks of the branch protection: context and app.
    pub(super) required: Vec<(String, Option<i64>)>,
    /// Required checks of rulesets: context and app.
    pub(super) rules: Vec<(String, Option<i64>)>,
}

#[derive(Debug, Clone)]
pub(super) struct CheckRun {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) commit: String,
    pub(super) app: u64,
    pub(super) suite: u64,
    pub(super) status: String,
    pub(super) conclusion: Option<String>,
    pub(super) started_at: DateTime<Utc>,
    pub(super) deployment: Option<u64>,
}

#[derive(Debug, Clone)]
pub(super) struct Status {
    pub(super) id: u64,
    pub(super) commit: String,
    pub(super) context: String,
    pub(super) state: String,
    pub(super) description: Option<String>,
    pub(super) target_url: Option<String>,
    pub(super) creator: String,
    pub(super) at: DateTime<Utc>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Environment {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) users: Vec<String>,
    pub(super) teams: Vec<(String, String)>,
    pub(super) prevent_self_review: bool,
    pub(super) wait_timer: Option<u32>,
    /// Patterns of branches, and whether they are of tags; protected branches only where it is empty.
    pub(super) branches: Option<Vec<(String, bool)>>,
    pub(super) apps: Vec<String>,
    /// Rules of a kind that GitHub may have later.
    pub(super) odd_rules: Vec<String>,
}

#[derive(Debug, Clone)]
pub(super) struct Deployment {
    pub(super) id: u64,
    pub(super) commit: String,
    pub(super) git_ref: String,
    pub(super) task: String,
    pub(super) environment: String,
    pub(super) description: Option<String>,
    pub(super) payload: Value,
    pub(super) production: bool,
    pub(super) transient: bool,
    pub(super) creator: String,
    pub(super) at: DateTime<Utc>,
    pub(super) statuses: Vec<DeploymentStatus>,
}

#[derive(Debug, Clone)]
pub(super) struct DeploymentStatus {
    pub(super) id: u64,
    pub(super) state: String,
    pub(super) description: String,
    pub(super) log_url: String,
    pub(super) environment_url: String,
    pub(super) creator: String,
    pub(super) at: DateTime<Utc>,
}

#[derive(Debug, Clone)]
pub(super) struct Issue {
    pub(super) id: u64,
    pub(super) number: u64,
    pub(super) title: String,
    pub(super) body: String,
    pub(super) author: String,
    pub(super) labels: Vec<String>,
    pub(super) assignees: Vec<String>,
    pub(super) open: bool,
    pub(super) state_reason: Option<String>,
    pub(super) is_pull_request: bool,
    pub(super) at: DateTime<Utc>,
    pub(super) comments: Vec<Comment>,
}

#[derive(Debug, Clone)]
pub(super) struct Comment {
    pub(super) id: u64,
    pub(super) author: Option<String>,
    pub(super) body: String,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
}

#[derive(Debug, Clone)]
pub(super) struct Workflow {
    pub(super) id: u64,
    pub(super) file: String,
    /// The title of its runs; `{name}` stands for the input of that name.
    pub(super) run_name: String,
    pub(super) steps: Vec<(String, Option<String>)>,
    pub(super) event: Option<String>,
}

#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) id: u64,
    pub(super) workflow: u64,
    pub(super) title: String,
    pub(super) event: String,
    pub(super) commit: String,
    pub(super) branch: Option<String>,
    pub(super) actor: String,
    pub(super) suite: u64,
    pub(super) at: DateTime<Utc>,
    pub(super) status: String,
    pub(super) conclusion: Option<String>,
    /// What it becomes, one step each time that it is asked for.
    pub(super) steps: VecDeque<(String, Option<String>)>,
    /// How often the list leaves it out.
    pub(super) hidden: u32,
    pub(super) reviews: Vec<Review>,
    /// The environments that it waits for.
    pub(super) waits_for: Vec<String>,
    pub(super) jobs: Vec<Job>,
    pub(super) inputs: Map<String, Value>,
}

#[derive(Debug, Clone)]
pub(super) struct Review {
    pub(super) environment: String,
    pub(super) by: String,
    pub(super) state: String,
    pub(super) comment: String,
}

#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) status: String,
    pub(super) conclusion: Option<String>,
    pub(super) check_run: u64,
    pub(super) created_at: DateTime<Utc>,
}

#[derive(Debug, Clone)]
pub(super) struct Pull {
    pub(super) id: u64,
    pub(super) number: u64,
    pub(super) title: String,
    pub(super) author: String,
    pub(super) commit: String,
}

impl World {
    pub(super) fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        Utc::now() + self.ahead
    }

    /// A user, who need not have been made known before.
    pub(super) fn user(&self, login: &str) -> User {
        self.users.get(&login.to_ascii_lowercase()).cloned().unwrap_or_else(|| User {
            login: login.to_owned(),
            id: login.bytes().fold(7, |sum, byte| (sum * 31 + u64::from(byte)) % 1_000_003),
            kind: if login.ends_with("[bot]") { "Bot" } else { "User" },
        })
    }

    pub(super) fn repo(&self, owner: &str, name: &str) -> Option<&Repo> {
        self.repos.iter().find(|repo| repo.is(owner, name))
    }

    pub(super) fn repo_mut(&mut self, owner: &str, name: &str) -> Option<&mut Repo> {
        self.repos.iter_mut().find(|repo| repo.is(owner, name))
    }
}

impl Repo {
    fn is(&self, owner: &str, name: &str) -> bool {
        self.owner.eq_ignore_ascii_case(owner) && self.name.eq_ignore_ascii_case(name)
    }

    /// The commit that a branch, an id or the beginning of an id stands for.
    pub(super) fn resolve(&self, reference: &str) -> Option<&Commit> {
        let sha = self.branches.get(reference).map_or(reference, |branch| &branch.commit);
        self.commits.iter().find(|commit| commit.sha == sha || (sha.len() >= 7 && commit.sha.starts_with(sha)))
    }

    /// A commit and everything before it.
    pub(super) fn ancestry(&self, sha: &str) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let mut open = vec![sha.to_owned()];
        while let Some(sha) = open.pop() {
            if seen.insert(sha.clone())
                && let Some(commit) = self.commits.iter().find(|commit| commit.sha == sha)
            {
                open.extend(commit.parents.iter().cloned());
            }
        }
        seen
    }
}

/// The world, shared between the server and the tests.
#[derive(Clone, Default)]
pub(super) struct Shared(Arc<Mutex<World>>);

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().expect("no thread panicked while it held the world")
    }
}

/// A time as GitHub writes it: to the second.
pub(super) fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}
