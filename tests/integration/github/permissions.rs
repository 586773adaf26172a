//! What a token may not do, for each feature in turn; and tokens that are none.

use std::future::Future;
use std::pin::Pin;

use serde_json::json;
use testbed::github::{GitHub as Standin, NewEnvironment};
use tidegate::github::artifact_metadata::{DeploymentRecord, Runs};
use tidegate::github::deployments::DeploymentState;
use tidegate::github::issues::{ClosedAs, Which};
use tidegate::github::runs::RunFilter;
use tidegate::github::statuses::{CommitState, NewStatus};
use tidegate::github::{GitHub, GitHubError, RepositoryName, Settings};
use tidegate::promotion::digest::Digest;
use tidegate::promotion::fault::{Code, Fault};
use tidegate::promotion::marker::Marker;

use super::dispatching::{deploy, dispatch};
use super::issues::{issue, marker};
use super::releasing::{deployment, state};
use super::{Bench, Direct, client, settings};

type Attempt<'a> = Pin<Box<dyn Future<Output = Result<(), GitHubError>> + 'a>>;

/// What is asked of GitHub.
type Asked = for<'a> fn(&'a GitHub, &'a RepositoryName, &'a str) -> Attempt<'a>;

/// Every feature with the permission that it needs.
fn features() -> Vec<(&'static str, &'static str, Asked)> {
    macro_rules! asked {
        ($github:ident, $name:ident, $commit:ident, $call:expr) => {
            |$github, $name, $commit| {
                let _ = $commit;
                Box::pin(async move { $call.await.map(|_| ()) })
            }
        };
    }
    vec![
        ("contents", "read", asked!(g, n, c, g.branch(n, "main"))),
        ("contents", "read", asked!(g, n, c, g.commit(n, c))),
        ("contents", "read", asked!(g, n, c, g.compare(n, c, c, 1))),
        ("contents", "read", asked!(g, n, c, g.is_reachable(n, c, "main"))),
        ("contents", "read", asked!(g, n, c, g.required_checks(n, "main"))),
        ("pull-requests", "read", asked!(g, n, c, g.pull_requests_of(n, c))),
        ("checks", "read", asked!(g, n, c, g.check_runs(n, c))),
        ("checks", "read", asked!(g, n, c, g.own_check(n, 1))),
        ("statuses", "read", asked!(g, n, c, g.commit_statuses(n, c))),
        ("statuses", "write", asked!(g, n, c, set_status(g, n, c))),
        ("actions", "read", asked!(g, n, c, g.environment(n, "production"))),
        ("actions", "read", asked!(g, n, c, g.branch_policies(n, "production"))),
        ("actions", "read", asked!(g, n, c, g.run_reviews(n, 1))),
        ("actions", "read", asked!(g, n, c, g.pending_deployments(n, 1))),
        ("actions", "read", asked!(g, n, c, g.workflow_run(n, 1))),
        ("actions", "read", asked!(g, n, c, g.workflow_runs(n, &RunFilter::default()))),
        ("actions", "read", asked!(g, n, c, g.jobs(n, 1, None))),
        ("actions", "write", asked!(g, n, c, g.cancel_run(n, 1))),
        ("actions", "write", asked!(g, n, c, g.dispatch_workflow(n, &dispatch(None)))),
        ("deployments", "read", asked!(g, n, c, g.deployments(n, "production", 1))),
        ("deployments", "write", asked!(g, n, c, g.ensure_deployment(n, &deployment(c, 1)))),
        ("deployments", "write", asked!(g, n, c, g.set_deployment_status(n, 1, &state(DeploymentState::Success)))),
        ("issues", "read", asked!(g, n, c, g.find_issue(n, "label", &marker(), Which::Open))),
        ("issues", "read", asked!(g, n, c, g.comments(n, 1))),
        ("issues", "write", asked!(g, n, c, g.open_issue(n, &issue()))),
        ("issues", "write", asked!(g, n, c, g.comment(n, 1, &Marker::new("note"), "x"))),
        ("issues", "write", asked!(g, n, c, g.close_issue(n, 1, ClosedAs::Completed))),
        ("attestations", "read", asked!(g, n, c, g.attestations(n, &Digest::sha256(b"x"), None))),
        ("artifact-metadata", "write", asked!(g, n, c, record(g, n))),
    ]
}

async fn set_status(github: &GitHub, name: &RepositoryName, commit: &str) -> Result<u64, GitHubError> {
    let status = NewStatus {
        state: CommitState::Pending,
        context: "tidegate".to_owned(),
        description: String::new(),
        target_url: None,
    };
    github.set_commit_status(name, commit, &status).await
}

async fn record(github: &GitHub, name: &RepositoryName) -> Result<(), GitHubError> {
    let record = DeploymentRecord {
        name: "ghcr.io/acme/api".to_owned(),
        digest: Digest::sha256(b"x"),
        version: None,
        runs: Runs::Deployed,
        environment: "production".to_owned(),
        deployment_name: "api".to_owned(),
    };
    github.record_deployment(name, &record).await
}

const ALL: [&str; 9] = [
    "actions",
    "artifact_metadata",
    "attestations",
    "checks",
    "contents",
    "deployments",
    "issues",
    "pull_requests",
    "statuses",
];

#[tokio::test]
async fn each_feature_names_the_permission_that_it_lacks() {
    let bench = Bench::new();
    bench.api.environment(&NewEnvironment::named("production"));
    bench.api.workflow(&deploy());
    bench.api.issue("github-actions[bot]", "Title", "", &[], false);
    let commit = bench.api.commit("main", "Work", "ann");
    for (name, access, ask) in features() {
        let missing = name.replace('-', "_");
        // Everything but what is needed; where writing is, reading is there.
        let granted = |one: &&str| -> (String, &str) {
            let access = if **one == missing { "read" } else { "write" };
            ((**one).to_owned(), access)
        };
        let granted: Vec<(String, &str)> =
            ALL.iter().filter(|one| **one != missing || access == "write").map(granted).collect();
        let granted: Vec<(&str, &str)> = granted.iter().map(|(name, access)| (name.as_str(), *access)).collect();
        let github = bench.client_with(&bench.github.job_token_with(&granted));
        let error = ask(&github, &bench.name, &commit).await.unwrap_err();
        assert!(matches!(error, GitHubError::Forbidden { .. }), "{name}: {access}: {error}");
        let fault = Fault::from(error);
        assert_eq!(fault.code, Code::TokenLacksPermission);
        assert!(fault.message.contains(&format!("lacks `{name}: {access}` for")), "{}", fault.message);
        assert!(fault.fix.starts_with(&format!("add `{name}: {access}` under `permissions:`")), "{}", fault.fix);
    }
}

#[tokio::test]
async fn the_token_of_a_fork_only_reads() {
    let bench = Bench::new();
    let reading = ALL.map(|name| (name, "read"));
    let github = bench.client_with(&bench.github.job_token_with(&reading));
    let commit = bench.api.commit("main", "Work", "ann");
    github.check_runs(&bench.name, &commit).await.unwrap();
    let fault = Fault::from(github.ensure_deployment(&bench.name, &deployment(&commit, 1)).await.unwrap_err());
    assert!(fault.fix.contains("in runs for forks and for Dependabot the token only reads"), "{}", fault.fix);
    assert_eq!(bench.api.deployments(), []);
}

#[tokio::test]
async fn a_team_needs_another_token_and_that_is_said() {
    let bench = Bench::new();
    bench.github.team("acme", "release", &["ann"]);
    let github = bench.client();
    let team = "@acme/release".parse().unwrap();
    let fault = Fault::from(github.team_members(&team).await.unwrap_err());
    assert!(fault.message.contains("@acme/release"), "{}", fault.message);
    assert!(fault.fix.contains("the job's own token cannot have `members: read`"), "{}", fault.fix);
}

#[tokio::test]
async fn what_cannot_be_seen_may_be_for_lack_of_a_permission() {
    let bench = Bench::new();
    bench.api.make_private();
    let token = bench.github.job_token();
    bench.github.blind(&token);
    let github = bench.client_with(&token);
    let fault = Fault::from(github.repository(&bench.name).await.unwrap_err());
    assert_eq!(fault.code, Code::GithubAbsent);
    assert!(fault.fix.contains("`contents: read`"), "{}", fault.fix);
    let fault = Fault::from(github.workflow_run(&bench.name, 1).await.unwrap_err());
    assert!(fault.message.contains("or the token may not see it for lack of `actions: read`"), "{}", fault.message);
}

#[tokio::test]
async fn a_token_that_is_none_and_one_that_has_expired() {
    let bench = Bench::new();
    let wrong = bench.client_with("ghs_wrong").repository(&bench.name).await.unwrap_err();
    assert_eq!(Fault::from(wrong).code, Code::GithubTokenRefused);
    let token = bench.github.job_token();
    let github = bench.client_with(&token);
    github.repository(&bench.name).await.unwrap();
    bench.github.expire(&token);
    let fault = Fault::from(github.repository(&bench.name).await.unwrap_err());
    assert_eq!(fault.code, Code::GithubTokenExpired);
    assert!(fault.message.contains("the token has expired"), "{}", fault.message);
    let none = Settings { token: None, ..settings(&bench.contract.url(), "", None) };
    let error = GitHub::new(none).unwrap().repository(&bench.name).await.unwrap_err();
    assert!(error.to_string().contains("there is none"), "{error}");
}

#[tokio::test]
async fn a_refusal_that_no_permission_would_lift_is_no_lack_of_one() {
    let direct = Direct::new();
    let archived = testbed::github::message_answer(403, "Repository was archived so is read-only.");
    direct.github.fault(testbed::fault::Rule::on("POST", "*").act(testbed::fault::Action::Answer(archived)));
    let error = direct.client.open_issue(&direct.name, &issue()).await.unwrap_err();
    assert!(error.is_refused_with(403) && error.to_string().contains("archived"), "{error}");
}

#[tokio::test]
async fn the_token_is_nowhere_to_be_read() {
    use testbed::fault::{Action, Answer, Rule};

    let github = Standin::start();
    let token = github.job_token();
    let echo = json!({"message": "Bad things"}).to_string();
    let name: RepositoryName = "acme/api".parse().unwrap();
    for action in [
        Action::Answer(Answer::status(400).header("content-type", "application/json").body(echo)),
        Action::Answer(Answer::html(502)),
        Action::Answer(Answer::status(301).header("location", "https://user:pass@elsewhere.test/")),
        Action::Drop,
        Action::Replace("nonsense".into()),
    ] {
        github.clear_faults();
        github.fault(Rule::on("*", "*").act(action));
        let client = client(&github.url(), &token, None);
        let error = client.repository(&name).await.unwrap_err();
        let shown =
            format!("{error} {error:?} {:?} {client:?}", Fault::from(client.branch(&name, "x").await.unwrap_err()));
        assert!(!shown.contains(&token) && !shown.contains("pass@"), "{shown}");
    }
    let settings = settings("http://elsewhere.test", &token, None);
    let refused = GitHub::new(settings).unwrap_err();
    assert!(matches!(refused, GitHubError::Invalid(_)) && !format!("{refused:?}").contains(&token));
}
