//! GitHub answers 502 to a POST that was carried out, or not at all: nothing may come into being twice.

use testbed::fault::{Action, Answer, Rule};
use testbed::github::message_answer;
use tidegate::github::GitHubError;
use tidegate::github::deployments::DeploymentState;
use tidegate::github::statuses::{CommitState, NewStatus};
use tidegate::promotion::marker::Marker;

use super::Direct;
use super::dispatching::{deploy, dispatch};
use super::issues::issue;
use super::releasing::{deployment, state};

/// How an answer can be lost after the request was carried out.
fn losses() -> [Action; 4] {
    [
        Action::Disguise(Answer::html(502)),
        Action::Disguise(message_answer(500, "Something went wrong")),
        Action::Disguise(Answer::status(201).header("content-type", "text/html").body("<html>")),
        Action::LoseAnswer,
    ]
}

/// How a request can fail without being carried out.
fn refusals() -> [Action; 3] {
    [Action::Answer(Answer::html(502)), Action::Answer(Answer::html(504)), Action::Drop]
}

/// Creates something with every loss and every refusal of the first POST, and counts what has come into being.
async fn once(create: impl AsyncFn(&Direct), count: impl Fn(&Direct) -> usize) {
    for (done, action) in losses().map(|loss| (true, loss)).into_iter().chain(refusals().map(|loss| (false, loss))) {
        let direct = Direct::new();
        direct.api.workflow(&deploy());
        let shown = format!("{action:?}");
        let fault = direct.github.fault(Rule::on("POST", "*").times(1).act(action));
        create(&direct).await;
        assert_eq!(fault.hits(), 1, "{shown}");
        assert_eq!(count(&direct), 1, "{shown}");
        let posts = direct.github.log().iter().filter(|entry| entry.method == "POST").count();
        assert_eq!(posts, if done { 1 } else { 2 }, "{shown}");
    }
}

#[tokio::test]
async fn a_commit_status() {
    let status = NewStatus {
        state: CommitState::Success,
        context: "tidegate/production".to_owned(),
        description: "done".to_owned(),
        target_url: None,
    };
    once(
        async |direct| {
            let commit = direct.client.branch(&direct.name, "main").await.unwrap().commit;
            direct.client.set_commit_status(&direct.name, &commit, &status).await.unwrap();
        },
        all_statuses,
    )
    .await;
}

fn all_statuses(direct: &Direct) -> usize {
    let received = direct.github.received();
    let post = received.iter().find(|one| one.method == "POST").unwrap();
    direct.api.statuses(post.target.rsplit('/').next().unwrap()).len()
}

#[tokio::test]
async fn a_deployment_and_its_status() {
    let commit = async |direct: &Direct| direct.client.branch(&direct.name, "main").await.unwrap().commit;
    once(
        async |direct| {
            let commit = commit(direct).await;
            direct.client.ensure_deployment(&direct.name, &deployment(&commit, 1)).await.unwrap();
        },
        |direct| direct.api.deployments().len(),
    )
    .await;
    once(
        async |direct| {
            let made = direct.api.deployment(&commit(direct).await, "production", true, &[]);
            direct.client.set_deployment_status(&direct.name, made, &state(DeploymentState::Success)).await.unwrap();
        },
        |direct| direct.api.deployments()[0].states.len(),
    )
    .await;
}

#[tokio::test]
async fn an_issue_and_a_comment() {
    once(
        async |direct| {
            direct.client.open_issue(&direct.name, &issue()).await.unwrap();
        },
        |direct| direct.api.issues().len(),
    )
    .await;
    once(
        async |direct| {
            let number = direct.api.issue("ann", "Title", "", &[], false);
            direct.client.comment(&direct.name, number, &Marker::new("note"), "Text").await.unwrap();
        },
        |direct| direct.api.issues()[0].comments.len(),
    )
    .await;
}

#[tokio::test]
async fn a_dispatch_with_a_nonce() {
    once(
        async |direct| {
            let mut hurried = dispatch(Some("a1b2"));
            hurried.appears_within = std::time::Duration::from_millis(60);
            direct.client.dispatch_workflow(&direct.name, &hurried).await.unwrap();
        },
        |direct| direct.api.runs().len(),
    )
    .await;
}

#[tokio::test]
async fn a_dispatch_without_one_is_never_sent_twice() {
    for action in losses().into_iter().chain([Action::Answer(Answer::html(502)), Action::Drop]) {
        let direct = Direct::new();
        direct.api.workflow(&deploy());
        let shown = format!("{action:?}");
        direct.github.fault(Rule::on("POST", "*").times(1).act(action));
        let error = direct.client.dispatch_workflow(&direct.name, &dispatch(None)).await.unwrap_err();
        assert!(matches!(error, GitHubError::Uncertain { .. }), "{shown}: {error}");
        let posts = direct.github.log().iter().filter(|entry| entry.method == "POST").count();
        assert_eq!(posts, 1, "{shown}");
    }
}

#[tokio::test]
async fn where_nobody_can_tell_it_is_said_so() {
    let direct = Direct::new();
    // GitHub fails for good: it cannot even be looked.
    direct.github.fault(Rule::on("POST", "*").act(Action::Disguise(Answer::html(502))));
    direct.github.fault(Rule::on("GET", "*/issues*").skip(1).act(Action::Answer(Answer::html(502))));
    let error = direct.client.open_issue(&direct.name, &issue()).await.unwrap_err();
    assert!(matches!(error, GitHubError::Uncertain { .. }), "{error}");
    assert_eq!(direct.api.issues().len(), 1);
    assert_eq!(direct.count("POST", "/repos/acme/api/issues"), 1);
}

#[tokio::test]
async fn what_sets_a_value_is_simply_repeated() {
    for action in losses().into_iter().chain(refusals()) {
        let direct = Direct::new();
        let number = direct.api.issue("github-actions[bot]", "Title", "", &[], false);
        let shown = format!("{action:?}");
        // A success that is no JSON is a success all the same: nothing is read of it.
        direct.github.fault(Rule::on("PATCH", "*").times(1).act(action));
        let closed_as = tidegate::github::issues::ClosedAs::Completed;
        direct.client.close_issue(&direct.name, number, closed_as).await.unwrap();
        assert!(!direct.api.issues()[0].open, "{shown}");
    }
}
