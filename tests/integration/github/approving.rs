//! Approval by the comments of an issue, with all that must not count.

use std::time::Duration;

use testbed::fault::{Action, Answer, Rule};
use tidegate::promotion::approval::{self, Electorate, Objection, Request, Standing};
use tidegate::promotion::digest::Digest;
use tidegate::promotion::login::Login;

use super::{Bench, Direct};

fn request(asked_at: chrono::DateTime<chrono::Utc>) -> Request {
    Request {
        code: approval::code(&Digest::sha256(b"plan"), "nonce"),
        asked_at,
        until: None,
        askers: ["Asker", "github-actions[bot]"].map(Login::new).into(),
    }
}

fn electorate() -> Electorate {
    let approvers = ["ann", "bob", "asker"].map(Login::new).into();
    Electorate { approvers, minimum: 2, askers_count: false }
}

#[tokio::test]
async fn forged_edited_early_foreign_and_own_comments_do_not_count() {
    let bench = Bench::new();
    let github = bench.client();
    let issue = bench.api.issue("github-actions[bot]", "Approve?", "", &[], false);
    let yes = format!("/approve {}", request(bench.github.now()).code);
    bench.api.comment(issue, Some("ann"), &yes);
    bench.github.advance(Duration::from_secs(5));
    let request = request(github.issue(&bench.name, issue).await.unwrap().created_at + chrono::TimeDelta::seconds(5));
    let edited = bench.api.comment(issue, Some("bob"), "let me look");
    bench.api.edit_comment(issue, edited, &yes);
    bench.api.comment(issue, Some("eve"), &yes);
    bench.api.comment(issue, None, &yes);
    bench.api.comment(issue, Some("ASKER"), &yes);
    bench.api.comment(issue, Some("bob"), "/approve 000000000000");
    for number in 0..120 {
        bench.api.comment(issue, Some("dora"), &format!("talk {number}"));
    }
    let tally = async || {
        let comments = github.comments(&bench.name, issue).await.unwrap();
        approval::tally(&request, &electorate(), &comments, bench.github.now())
    };
    let first = tally().await;
    assert_eq!((first.standing, first.missing), (Standing::Waiting, 2));
    let objections: Vec<Objection> = first.ignored.iter().map(|ignored| ignored.because).collect();
    assert_eq!(
        objections,
        [
            Objection::TooEarly,
            Objection::Edited,
            Objection::NotAsked,
            Objection::NoAuthor,
            Objection::OwnRequest,
            Objection::OtherRequest,
        ]
    );
    // What counts comes on the second page.
    bench.api.comment(issue, Some("Ann"), &yes);
    assert_eq!(tally().await.missing, 1);
    bench.api.comment(issue, Some("bob"), &format!("{yes} ship it"));
    let granted = tally().await;
    assert_eq!(granted.standing, Standing::Granted);
    assert_eq!(granted.approvals[1].remark, "ship it");
}

#[tokio::test]
async fn a_page_that_fails_is_no_answer_and_no_refusal() {
    let direct = Direct::new();
    let issue = direct.api.issue("github-actions[bot]", "Approve?", "", &[], false);
    for number in 0..150 {
        direct.api.comment(issue, Some("dora"), &format!("talk {number}"));
    }
    let fault = direct.github.fault(Rule::on("GET", "*/comments?*page=2*").act(Action::Answer(Answer::html(502))));
    let error = direct.client.comments(&direct.name, issue).await.unwrap_err();
    assert!(error.to_string().contains("it answers 502"), "{error}");
    assert_eq!(fault.hits(), 4);
    fault.remove();
    assert_eq!(direct.client.comments(&direct.name, issue).await.unwrap().len(), 150);
}

#[tokio::test]
async fn waiting_costs_nothing_and_misses_nothing() {
    let direct = Direct::new();
    // As GitHub may do it: what has not changed does not say where it goes on.
    direct.github.configure(|settings| settings.link_when_unchanged = false);
    let issue = direct.api.issue("github-actions[bot]", "Approve?", "", &[], false);
    for number in 0..99 {
        direct.api.comment(issue, Some("dora"), &format!("talk {number}"));
    }
    let count = async || direct.client.comments(&direct.name, issue).await.unwrap().len();
    assert_eq!(count().await, 99);
    let left = direct.github.remaining(&direct.token);
    for _ in 0..5 {
        assert_eq!(count().await, 99);
    }
    assert_eq!(direct.github.remaining(&direct.token), left);
    // The first page gets full: from then on it looks the same whatever comes after it.
    direct.api.comment(issue, Some("dora"), "the hundredth");
    assert_eq!(count().await, 100);
    direct.api.comment(issue, Some("dora"), "one more");
    assert_eq!(count().await, 101);
    direct.api.comment(issue, Some("dora"), "and one more");
    assert_eq!(count().await, 102);
    let requests = direct.github.log().len() as u64;
    assert_eq!(direct.client.traffic().total(), requests);
}
