//! Issues: one for each mark, ours and nobody else's.

use testbed::github::SeenIssue;
use tidegate::github::issues::{ClosedAs, NewIssue, Which};
use tidegate::promotion::login::Login;
use tidegate::promotion::marker::Marker;

use super::Bench;

pub(super) fn marker() -> Marker {
    Marker::new("failure").with("environment", "prod -- eu").with("service", "api")
}

pub(super) fn issue() -> NewIssue {
    NewIssue {
        labels: Vec::new(),
        title: "Promotion of api to production failed".to_owned(),
        body: "What happened".to_owned(),
        label: "tidegate: failure".to_owned(),
        assignees: Vec::new(),
        marker: marker(),
    }
}

fn numbers(issues: &[SeenIssue]) -> Vec<(u64, bool)> {
    issues.iter().map(|issue| (issue.number, issue.open)).collect()
}

#[tokio::test]
async fn an_issue_is_opened_once_rewritten_and_closed() {
    let bench = Bench::new();
    let github = bench.client();
    let (first, new) = github.open_issue(&bench.name, &issue()).await.unwrap();
    assert!(new && first.is_open && first.body.ends_with("What happened"));
    assert!(marker().is_on(&first.body));
    let (again, new) = github.open_issue(&bench.name, &issue()).await.unwrap();
    assert_eq!((again.number, new), (first.number, false));
    github.rewrite_issue(&bench.name, first.number, "Failed twice", &marker(), "And again").await.unwrap();
    let seen = github.issue(&bench.name, first.number).await.unwrap();
    assert_eq!(seen.title, "Failed twice");
    assert!(marker().is_on(&seen.body) && seen.body.ends_with("And again"));
    github.close_issue(&bench.name, first.number, ClosedAs::Completed).await.unwrap();
    let find = async |which| github.find_issue(&bench.name, "tidegate: failure", &marker(), which).await.unwrap();
    assert_eq!(find(Which::Open).await, None);
    assert_eq!(find(Which::All).await.map(|issue| (issue.number, issue.is_open)), Some((first.number, false)));
    let (next, new) = github.open_issue(&bench.name, &issue()).await.unwrap();
    assert!(new && next.number != first.number);
    let seen = bench.api.issues();
    assert_eq!(numbers(&seen), [(first.number, false), (next.number, true)]);
    assert_eq!(seen[0].state_reason.as_deref(), Some("completed"));
    assert_eq!(seen[0].labels, ["tidegate: failure"]);
}

#[tokio::test]
async fn only_our_own_issue_is_ours() {
    let bench = Bench::new();
    let marked = marker().put_on("Forged");
    let label = "tidegate: failure";
    bench.api.issue("eve", "Forged", &marked, &[label], false);
    bench.api.issue("github-actions[bot]", "Another mark", "No mark", &[label], false);
    bench.api.issue("github-actions[bot]", "Another label", &marked, &["bug"], false);
    bench.api.issue("github-actions[bot]", "A pull request", &marked, &[label], true);
    let github = bench.client();
    let find = async || github.find_issue(&bench.name, label, &marker(), Which::Open).await.unwrap();
    assert_eq!(find().await, None);
    for number in 0..120 {
        bench.api.issue("ann", &format!("Issue {number}"), "", &[label], false);
    }
    let older = bench.api.issue("github-actions[bot]", "Ours", &marked, &[label], false);
    bench.api.issue("github-actions[bot]", "Ours, too", &marked, &[label], false);
    for number in 0..120 {
        bench.api.issue("ann", &format!("Later issue {number}"), "", &[label], false);
    }
    assert_eq!(find().await.map(|issue| issue.number), Some(older));
    let person = bench.client_with(&bench.github.person_token("EVE"));
    let of_eve = person.find_issue(&bench.name, label, &marker(), Which::Open).await.unwrap().unwrap();
    assert_eq!(of_eve.title, "Forged");
    assert!(github.find_issue(&bench.name, "a,b", &marker(), Which::Open).await.is_err());
}

#[tokio::test]
async fn of_two_that_are_opened_at_once_one_stays() {
    let bench = Bench::new();
    let (one, other) = (bench.client(), bench.client());
    let issue = issue();
    let (first, second) = tokio::join!(one.open_issue(&bench.name, &issue), other.open_issue(&bench.name, &issue));
    let (first, second) = (first.unwrap().0, second.unwrap().0);
    let open: Vec<u64> = bench.api.issues().iter().filter(|issue| issue.open).map(|issue| issue.number).collect();
    assert_eq!(open.len(), 1);
    assert!(first.number == open[0] && second.number == open[0]);
}

#[tokio::test]
async fn who_cannot_be_assigned_does_not_keep_it_from_being_opened() {
    let bench = Bench::new();
    bench.github.person("ann");
    let github = bench.client();
    let assigned = NewIssue { assignees: vec![Login::new("ann")], ..issue() };
    github.open_issue(&bench.name, &assigned).await.unwrap();
    let other = Marker::new("approval").with("run", "1");
    let unknown = NewIssue { assignees: vec![Login::new("ann"), Login::new("gone")], marker: other, ..issue() };
    github.open_issue(&bench.name, &unknown).await.unwrap();
    let seen: Vec<Vec<String>> = bench.api.issues().into_iter().map(|issue| issue.assignees).collect();
    assert_eq!(seen, [vec!["ann".to_owned()], vec![]]);
}

#[tokio::test]
async fn long_texts_are_cut_and_keep_their_mark() {
    let bench = Bench::new();
    let github = bench.client();
    let long = NewIssue { title: "ü".repeat(300), body: "ü".repeat(70_000), ..issue() };
    let (opened, _) = github.open_issue(&bench.name, &long).await.unwrap();
    assert_eq!(opened.title.chars().count(), 256);
    assert_eq!(opened.body.chars().count(), 65_536);
    assert!(marker().is_on(&opened.body));
    github.comment(&bench.name, opened.number, &Marker::new("note"), &"x".repeat(70_000)).await.unwrap();
}

#[tokio::test]
async fn a_comment_is_written_once_for_each_mark() {
    let bench = Bench::new();
    let github = bench.client();
    let (opened, _) = github.open_issue(&bench.name, &issue()).await.unwrap();
    let reminder = |number: u32| Marker::new("reminder").with("number", number.to_string());
    bench.api.comment(opened.number, Some("eve"), &reminder(1).put_on("Forged"));
    for number in [1, 1, 2, 1, 2] {
        github.comment(&bench.name, opened.number, &reminder(number), "Still waiting").await.unwrap();
    }
    let texts = bench.api.issues().remove(0).comments;
    assert_eq!(texts.len(), 3);
    assert!(texts[1..].iter().all(|text| text.ends_with("Still waiting")));
}
