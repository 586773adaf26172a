//! Starting workflows.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use testbed::github::NewWorkflow;
use tidegate::github::GitHubError;
use tidegate::github::dispatch::{KnownBy, RepositoryDispatch, WorkflowDispatch};

use super::Bench;

pub(super) fn dispatch(nonce: Option<&str>) -> WorkflowDispatch {
    let inputs = nonce.map(|nonce| ("run".to_owned(), nonce.to_owned()));
    WorkflowDispatch {
        workflow: "deploy.yml".to_owned(),
        git_ref: "main".to_owned(),
        inputs: inputs.into_iter().collect(),
        nonce: nonce.map(str::to_owned),
        appears_within: Duration::from_millis(1_200),
    }
}

pub(super) fn deploy() -> NewWorkflow {
    NewWorkflow::file("deploy.yml").run_name("Deploy {run}")
}

fn event(nonce: Option<&str>) -> RepositoryDispatch {
    let payload = nonce.map(|nonce| ("run".to_owned(), json!(nonce)));
    RepositoryDispatch {
        event_type: "deploy".to_owned(),
        payload: payload.into_iter().collect(),
        nonce: nonce.map(str::to_owned),
        appears_within: Duration::from_millis(1_200),
    }
}

#[tokio::test]
async fn github_tells_the_run_that_it_starts() {
    let bench = Bench::new();
    bench.api.workflow(&deploy());
    let github = bench.client();
    let started = github.dispatch_workflow(&bench.name, &dispatch(Some("a1b2"))).await.unwrap();
    assert_eq!(started.known_by, KnownBy::Answer);
    let runs = bench.api.runs();
    assert_eq!((runs.len(), runs[0].id, runs[0].title.as_str()), (1, started.run, "Deploy a1b2"));
}

#[tokio::test]
async fn an_older_server_does_not_and_the_run_is_found() {
    let bench = Bench::new();
    bench.api.workflow(&deploy());
    bench.github.configure(|settings| {
        settings.run_details = false;
        settings.runs_appear_after = 2;
    });
    let github = bench.client();
    let mut seen = Vec::new();
    for nonce in ["a1", "b2"] {
        let started = github.dispatch_workflow(&bench.name, &dispatch(Some(nonce))).await.unwrap();
        assert_eq!(started.known_by, KnownBy::Nonce);
        seen.push(started.run);
    }
    let runs = bench.api.runs();
    assert_eq!(runs.iter().map(|run| run.id).collect::<Vec<_>>(), seen);
    // The question that it does not know is asked once.
    let asked = bench.github.received().iter().filter(|one| one.body.get("return_run_details").is_some()).count();
    assert_eq!(asked, 1);
    let started = github.dispatch_workflow(&bench.name, &dispatch(None)).await.unwrap();
    assert_eq!(started.known_by, KnownBy::Exclusion);
    assert_eq!(bench.api.runs()[2].id, started.run);
}

#[tokio::test]
async fn without_a_nonce_one_of_several_is_none() {
    let bench = Bench::new();
    bench.api.workflow(&deploy());
    bench.github.configure(|settings| {
        settings.run_details = false;
        settings.runs_appear_after = 8;
    });
    let (one, other) = (bench.client(), bench.client());
    let dispatch = dispatch(None);
    let (first, second) =
        tokio::join!(one.dispatch_workflow(&bench.name, &dispatch), other.dispatch_workflow(&bench.name, &dispatch));
    for result in [first, second] {
        assert!(matches!(result, Err(GitHubError::Uncertain { .. })), "{result:?}");
    }
    assert_eq!(bench.api.runs().len(), 2);
}

#[tokio::test]
async fn a_run_that_never_appears_is_told() {
    let bench = Bench::new();
    bench.api.workflow(&deploy());
    bench.github.configure(|settings| {
        settings.run_details = false;
        settings.runs_appear_after = 1_000;
    });
    let hurried = WorkflowDispatch { appears_within: Duration::from_millis(60), ..dispatch(Some("a1")) };
    let error = bench.client().dispatch_workflow(&bench.name, &hurried).await.unwrap_err();
    assert!(error.to_string().contains("GitHub has taken it"), "{error}");
    assert_eq!(bench.api.runs().len(), 1);
}

#[tokio::test]
async fn an_event_of_our_own_starts_what_waits_for_it() {
    let bench = Bench::new();
    bench.api.workflow(&NewWorkflow::file("other.yml").on_event("other"));
    bench.api.workflow(&NewWorkflow::file("deploy.yml").on_event("deploy").run_name("Deploy {run}"));
    let github = bench.client();
    let started = github.dispatch_event(&bench.name, &event(Some("a1"))).await.unwrap().unwrap();
    assert_eq!(started.known_by, KnownBy::Nonce);
    let runs = bench.api.runs();
    assert_eq!((runs.len(), runs[0].id, runs[0].event.as_str()), (1, started.run, "repository_dispatch"));
    assert_eq!(github.dispatch_event(&bench.name, &event(None)).await.unwrap(), None);
    assert_eq!(bench.api.runs().len(), 2);
}

#[tokio::test]
async fn what_github_does_not_take_is_not_sent() {
    let bench = Bench::new();
    let github = bench.client();
    let many: BTreeMap<String, String> = (0..26).map(|number| (format!("input{number}"), String::new())).collect();
    let too_many = WorkflowDispatch { inputs: many, ..dispatch(None) };
    assert!(matches!(github.dispatch_workflow(&bench.name, &too_many).await, Err(GitHubError::Invalid(_))));
    let long = RepositoryDispatch { event_type: "x".repeat(101), ..event(None) };
    let keys = (0..11).map(|number| (format!("key{number}"), json!(1))).collect();
    let wide = RepositoryDispatch { payload: keys, ..event(None) };
    let large = [("text".to_owned(), json!("x".repeat(70_000)))].into_iter().collect();
    let heavy = RepositoryDispatch { payload: large, ..event(None) };
    for bad in [long, wide, heavy] {
        assert!(matches!(github.dispatch_event(&bench.name, &bad).await, Err(GitHubError::Invalid(_))));
    }
    assert_eq!(bench.github.log(), []);
}

#[tokio::test]
async fn what_is_not_there_cannot_be_started() {
    let bench = Bench::new();
    let github = bench.client();
    assert!(github.dispatch_workflow(&bench.name, &dispatch(None)).await.unwrap_err().is_absent());
    bench.api.workflow(&deploy());
    let nowhere = WorkflowDispatch { git_ref: "nowhere".to_owned(), ..dispatch(None) };
    let error = github.dispatch_workflow(&bench.name, &nowhere).await.unwrap_err();
    assert!(error.is_refused_with(422) && error.to_string().contains("No ref found for: nowhere"), "{error}");
    assert_eq!(bench.api.runs(), []);
}
