//! Commit statuses, deployments, and the record of what runs where.

use std::collections::BTreeMap;

use testbed::github::NewCheckRun;
use tidegate::github::artifact_metadata::{DeploymentRecord, Runs};
use tidegate::github::deployments::{Deployment, DeploymentState, NewDeployment, NewDeploymentStatus, Payload, Task};
use tidegate::github::statuses::{CommitState, NewStatus};
use tidegate::promotion::digest::Digest;
use tidegate::promotion::identity::DeploymentId;

use super::Bench;

fn status(state: CommitState, description: &str) -> NewStatus {
    NewStatus {
        state,
        context: "tidegate/production".to_owned(),
        description: description.to_owned(),
        target_url: Some("https://github.test/acme/api/actions/runs/1".to_owned()),
    }
}

pub(super) fn run(number: u64) -> DeploymentId {
    format!("{}-0123456789ab", 1_732_185_300 + number).parse().unwrap()
}

pub(super) fn deployment(commit: &str, number: u64) -> NewDeployment {
    NewDeployment {
        commit: commit.to_owned(),
        task: Task::Promote,
        environment: "production".to_owned(),
        production: true,
        description: "x".repeat(200),
        payload: Payload {
            tidegate: 1,
            run: run(number),
            candidates: BTreeMap::from([("api".to_owned(), Digest::sha256(b"image").to_string())]),
            rolls_back: None,
        },
    }
}

pub(super) fn state(state: DeploymentState) -> NewDeploymentStatus {
    NewDeploymentStatus {
        state,
        description: "ü".repeat(200),
        log_url: Some("https://github.test/acme/api/actions/runs/1/job/2".to_owned()),
        environment_url: Some("https://acme.test".to_owned()),
    }
}

#[tokio::test]
async fn a_commit_status_follows_the_run() {
    let bench = Bench::new();
    let commit = bench.api.commit("main", "Work", "ann");
    let github = bench.client();
    github.set_commit_status(&bench.name, &commit, &status(CommitState::Pending, "promotion-running")).await.unwrap();
    github.set_commit_status(&bench.name, &commit, &status(CommitState::Success, &"ü".repeat(200))).await.unwrap();
    let seen = bench.api.statuses(&commit);
    assert_eq!(seen.iter().map(|status| status.state.as_str()).collect::<Vec<_>>(), ["pending", "success"]);
    let description = seen[1].description.as_deref().unwrap();
    assert!(description.chars().count() == 140 && description.ends_with('…'));
}

#[tokio::test]
async fn a_run_has_one_deployment_however_often_it_asks() {
    let bench = Bench::new();
    let commit = bench.api.commit("main", "Work", "ann");
    bench.api.status(&commit, "tidegate/production", "pending");
    let github = bench.client();
    let first = github.ensure_deployment(&bench.name, &deployment(&commit, 1)).await.unwrap();
    for as_text in [false, true] {
        bench.github.configure(|settings| settings.payload_as_text = as_text);
        assert_eq!(github.ensure_deployment(&bench.name, &deployment(&commit, 1)).await.unwrap().id, first.id);
    }
    let second = github.ensure_deployment(&bench.name, &deployment(&commit, 2)).await.unwrap();
    let rollback = NewDeployment { task: Task::Rollback, ..deployment(&commit, 1) };
    let third = github.ensure_deployment(&bench.name, &rollback).await.unwrap();
    assert!(first.id != second.id && first.id != third.id);
    let seen = bench.api.deployments();
    assert_eq!(seen.len(), 3);
    assert_eq!((seen[0].task.as_str(), seen[2].task.as_str()), ("promote", "rollback"));
    assert!(seen.iter().all(|deployment| deployment.production && deployment.commit == commit));
    assert_eq!(seen[0].payload["run"], run(1).as_str());
}

#[tokio::test]
async fn what_a_deployment_replaces_becomes_inactive_in_production_too() {
    let bench = Bench::new();
    let commit = bench.api.commit("main", "Work", "ann");
    let github = bench.client();
    let foreign = bench.api.deployment(&commit, "production", true, &["in_progress", "success"]);
    let elsewhere = bench.api.deployment(&commit, "staging", false, &["success"]);
    let ours = |deployment: &Deployment| deployment.payload.is_some();
    let mut ids = Vec::new();
    for number in 1..=3 {
        let current = github.ensure_deployment(&bench.name, &deployment(&commit, number)).await.unwrap().id;
        for next in [DeploymentState::InProgress, DeploymentState::Success] {
            github.set_deployment_status(&bench.name, current, &state(next)).await.unwrap();
        }
        let retired = github.retire_deployments(&bench.name, "production", current, ours).await.unwrap();
        assert_eq!(retired, ids.last().copied().into_iter().collect::<Vec<u64>>());
        ids.push(current);
    }
    let states = |id: u64| bench.api.deployments().into_iter().find(|one| one.id == id).unwrap().states;
    assert_eq!(states(ids[0]), ["in_progress", "success", "inactive"]);
    assert_eq!(states(ids[2]), ["in_progress", "success"]);
    assert_eq!(states(foreign), ["in_progress", "success"]);
    assert_eq!(states(elsewhere), ["success"]);
    assert_eq!(github.deployment_state(&bench.name, ids[2]).await.unwrap(), Some(DeploymentState::Success));
    let listed = github.deployments(&bench.name, "production", 2).await.unwrap();
    assert_eq!(listed.iter().map(|one| one.id).collect::<Vec<_>>(), [ids[2], ids[1]]);
    // Nothing is left to do the next time.
    assert_eq!(github.retire_deployments(&bench.name, "production", ids[2], ours).await.unwrap(), Vec::<u64>::new());
}

#[tokio::test]
async fn the_deployment_of_the_job_itself_is_found() {
    let bench = Bench::new();
    let commit = bench.api.commit("main", "Work", "ann");
    let made = bench.api.deployment(&commit, "production", true, &["in_progress"]);
    let check = bench.api.check_run(&commit, &NewCheckRun::under_way("deploy", "in_progress").with_deployment(made));
    let plain = bench.api.check_run(&commit, &NewCheckRun::under_way("other", "in_progress"));
    let github = bench.client();
    assert_eq!(github.own_check(&bench.name, plain).await.unwrap().deployment, None);
    let found = github.own_check(&bench.name, check).await.unwrap().deployment.unwrap();
    assert_eq!(found, made);
    github.set_deployment_status(&bench.name, found, &state(DeploymentState::Failure)).await.unwrap();
    assert_eq!(bench.api.deployments()[0].states, ["in_progress", "failure"]);
    let unknown = github.set_deployment_status(&bench.name, 1, &state(DeploymentState::Error)).await.unwrap_err();
    assert!(unknown.is_absent());
}

#[tokio::test]
async fn a_deployment_without_a_status_has_none() {
    let bench = Bench::new();
    let commit = bench.api.commit("main", "Work", "ann");
    let github = bench.client();
    let id = bench.api.deployment(&commit, "production", true, &[]);
    assert_eq!(github.deployment_state(&bench.name, id).await.unwrap(), None);
    assert_eq!(github.deployments(&bench.name, "a b/c", 5).await.unwrap(), []);
}

#[tokio::test]
async fn what_runs_where_is_recorded_once() {
    let bench = Bench::new();
    let github = bench.client();
    let record = DeploymentRecord {
        name: "ghcr.io/acme/api".to_owned(),
        digest: Digest::sha256(b"image"),
        version: Some("1.2.3".to_owned()),
        runs: Runs::Deployed,
        environment: "production".to_owned(),
        deployment_name: "api".to_owned(),
    };
    github.record_deployment(&bench.name, &record).await.unwrap();
    github
        .record_deployment(&bench.name, &DeploymentRecord { runs: Runs::Decommissioned, ..record.clone() })
        .await
        .unwrap();
    let kept = bench.github.deployment_records();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0]["status"], "decommissioned");
    bench.github.configure(|settings| settings.artifact_metadata = false);
    assert!(github.record_deployment(&bench.name, &record).await.unwrap_err().is_absent());
}
