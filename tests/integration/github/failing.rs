//! GitHub, or what stands before it, fails.

use std::time::{Duration, Instant};

use serde_json::json;
use testbed::fault::{Action, Answer, Rule};
use testbed::github::{Bundles, GitHub as Standin, NewCheckRun};
use tidegate::github::GitHubError;
use tidegate::promotion::digest::Digest;
use tidegate::promotion::fault::{Code, Fault};
use tidegate::promotion::required_checks::{self, Observed, Own, Standing, Wanted};

use super::issues::issue;
use super::{Direct, client};

#[tokio::test]
async fn what_passes_is_tried_again() {
    for action in [
        Action::Answer(Answer::html(502)),
        Action::Answer(Answer::status(503)),
        Action::Drop,
        Action::Truncate(20),
        Action::Answer(testbed::github::message_answer(500, "Server Error")),
    ] {
        let direct = Direct::new();
        let shown = format!("{action:?}");
        direct.github.fault(Rule::on("GET", "*").times(2).act(action));
        direct.client.repository(&direct.name).await.unwrap_or_else(|error| panic!("{shown}: {error}"));
        assert_eq!(direct.github.log().len(), 3, "{shown}");
        assert_eq!(direct.client.traffic().total(), 3, "{shown}");
    }
}

#[tokio::test]
async fn what_does_not_pass_ends_with_the_number_of_tries() {
    let direct = Direct::new();
    direct.github.fault(Rule::on("GET", "*").act(Action::Answer(testbed::github::message_answer(503, "Unicorn!"))));
    let fault = Fault::from(direct.client.repository(&direct.name).await.unwrap_err());
    assert_eq!(fault.code, Code::GithubFailed);
    assert_eq!(fault.message, "GitHub fails while reading the repository acme/api: it answers 503 (\"Unicorn!\")");
    assert_eq!(fault.tried, ["4 times"]);
    assert_eq!(direct.github.log().len(), 4);
}

#[tokio::test]
async fn what_is_refused_is_not_tried_again() {
    let direct = Direct::new();
    let body = json!({"message": "Validation Failed", "errors": [{"field": "title", "code": "missing"}, "And this"]});
    let answer = Answer::status(422).header("content-type", "application/json").body(body.to_string());
    direct.github.fault(Rule::on("POST", "*").act(Action::Answer(answer)));
    let error = direct.client.open_issue(&direct.name, &issue()).await.unwrap_err();
    assert!(error.to_string().contains("Validation Failed; title missing; And this"), "{error}");
    assert_eq!(direct.count("POST", "/repos/acme/api/issues"), 1);
}

#[tokio::test]
async fn nobody_there() {
    let gone = format!("http://127.0.0.1:{}", testbed::free_port());
    let github = client(&gone, "ghs_x", None);
    let name = "acme/api".parse().unwrap();
    let error = github.repository(&name).await.unwrap_err();
    assert!(matches!(error, GitHubError::Unreachable { attempts: 4, .. }), "{error}");
    assert_eq!(Fault::from(error).code, Code::GithubUnreachable);
    // Nobody has seen the requests, so that even what creates may be tried again; and none of them counts.
    let error = github.open_issue(&name, &issue()).await.unwrap_err();
    assert!(matches!(error, GitHubError::Unreachable { attempts: 4, .. }), "{error}");
    assert_eq!(github.traffic().total(), 0);
}

#[tokio::test]
async fn nothing_lasts_longer_than_the_deadline() {
    for action in [Action::Hang, Action::Delay(Duration::from_secs(30)), Action::Stall(10)] {
        let direct = Direct::new();
        let shown = format!("{action:?}");
        direct.github.fault(Rule::on("*", "*").act(action));
        let hurried = direct.hurried(Duration::from_millis(300));
        let began = Instant::now();
        let error = hurried.repository(&direct.name).await.unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(10), "{shown}");
        assert!(matches!(error, GitHubError::OutOfTime { .. }), "{shown}: {error}");
        let hurried = direct.hurried(Duration::from_millis(300));
        let error = hurried.cancel_run(&direct.name, 1).await.unwrap_err();
        assert!(matches!(error, GitHubError::OutOfTime { .. }), "{shown}: {error}");
        let error = hurried.repository(&direct.name).await.unwrap_err();
        assert!(matches!(error, GitHubError::OutOfTime { .. }), "{shown}: {error}");
        assert_eq!(Fault::from(error).code, Code::DeadlinePassed);
    }
    // What creates something, and was sent, may have been done.
    let direct = Direct::new();
    direct.github.fault(Rule::on("POST", "*").act(Action::Hang));
    let error = direct.hurried(Duration::from_millis(500)).open_issue(&direct.name, &issue()).await.unwrap_err();
    assert!(matches!(error, GitHubError::Uncertain { .. }), "{error}");
}

#[tokio::test]
async fn a_list_is_whole_or_an_error() {
    let direct = Direct::new();
    let commit = direct.api.commit("main", "Work", "ann");
    for number in 0..250 {
        direct.api.check_run(&commit, &NewCheckRun::ended(&format!("job {number}"), "success"));
    }
    // A new client each time: what one has read, GitHub may tell to be unchanged.
    let read = async || client(&direct.github.url(), &direct.token, None).check_runs(&direct.name, &commit).await;
    let page = |number: u32| Rule::on("GET", &format!("*/check-runs?*page={number}*"));
    // It fails once, and for good.
    direct.github.fault(page(3).times(1).act(Action::Answer(Answer::html(502))));
    assert_eq!(read().await.unwrap().len(), 250);
    for action in [
        Action::Answer(Answer::html(502)),
        Action::Truncate(100),
        Action::Replace("[]".into()),
        Action::Replace(json!({"total_count": 250, "check_runs": "none"}).to_string().into()),
    ] {
        direct.github.clear_faults();
        let shown = format!("{action:?}");
        direct.github.fault(page(3).act(action));
        assert!(read().await.is_err(), "{shown}");
    }
    // GitHub lists fewer than there are.
    direct.github.clear_faults();
    let fewer = json!({"total_count": 1_234, "check_runs": []}).to_string();
    direct.github.fault(page(3).act(Action::Replace(fewer.into())));
    let error = read().await.unwrap_err();
    assert!(matches!(error, GitHubError::Incomplete { .. }), "{error}");
    assert!(error.to_string().contains("200 of 1234 were listed"), "{error}");
    direct.github.clear_faults();
    assert_eq!(read().await.unwrap().len(), 250);
}

#[tokio::test]
async fn a_list_goes_on_at_github_and_ends() {
    let direct = Direct::new();
    let commit = direct.api.commit("main", "Work", "ann");
    direct.api.check_run(&commit, &NewCheckRun::ended("build", "success"));
    let elsewhere = Standin::start();
    let link = format!("<{}/repos/acme/api/commits/{commit}/check-runs?page=2>; rel=\"next\"", elsewhere.url());
    let fault = direct.github.fault(Rule::on("GET", "*/check-runs*").act(Action::SetHeader("link", link)));
    let error = direct.client.check_runs(&direct.name, &commit).await.unwrap_err();
    assert!(matches!(error, GitHubError::Nonsense { .. }), "{error}");
    assert_eq!(elsewhere.log(), []);
    fault.remove();
    let itself = format!("<{}/repos/acme/api/commits/{commit}/check-runs>; rel=\"next\"", direct.github.url());
    direct.github.fault(Rule::on("GET", "*/check-runs*").act(Action::SetHeader("link", itself)));
    let error = direct.client.check_runs(&direct.name, &commit).await.unwrap_err();
    assert!(error.to_string().contains("more than 100 pages"), "{error}");
}

#[tokio::test]
async fn words_that_github_has_not_said_yet_are_taken_for_what_they_are() {
    let direct = Direct::new();
    let commit = direct.api.commit("main", "Work", "ann");
    direct.api.check_run(&commit, &NewCheckRun::ended("odd", "wobbled"));
    direct.api.check_run(&commit, &NewCheckRun::under_way("dreaming", "dreaming"));
    direct.api.status(&commit, "ci", "maybe");
    let id = direct.api.deployment(&commit, "production", true, &["hovering"]);
    let runs = direct.client.check_runs(&direct.name, &commit).await.unwrap();
    let statuses = direct.client.commit_statuses(&direct.name, &commit).await.unwrap();
    let judge = |runs, statuses| {
        let observed = Observed { commit: commit.clone(), runs, statuses, ..Observed::default() };
        let wanted = Wanted { everything: true, ..Wanted::default() };
        required_checks::judge(&wanted, &observed, &Own::default()).standing
    };
    assert_eq!(judge(runs.clone(), vec![]), Standing::Failed);
    let dreaming = runs.into_iter().filter(|run| run.name == "dreaming").collect();
    assert_eq!(judge(dreaming, vec![]), Standing::Waiting);
    assert_eq!(judge(vec![], statuses), Standing::Failed);
    let state = direct.client.deployment_state(&direct.name, id).await.unwrap().unwrap();
    assert_eq!(state.name(), "hovering");
}

#[tokio::test]
async fn what_is_no_answer_of_githubs() {
    let huge = vec![b' '; 17 * 1024 * 1024];
    for (body, kind) in [
        (b"<html>Please log in</html>".to_vec(), "text/html"),
        (b"{\"id\": 1".to_vec(), "application/json"),
        (b"{}".to_vec(), "application/json"),
        (b"null".to_vec(), "application/json"),
        (vec![], "application/json"),
        (huge, "application/json"),
    ] {
        let direct = Direct::new();
        let length = body.len();
        let answer = Answer::status(200).header("content-type", kind).body(body);
        direct.github.fault(Rule::on("GET", "*").act(Action::Answer(answer)));
        let error = direct.client.repository(&direct.name).await.unwrap_err();
        assert!(matches!(error, GitHubError::Nonsense { .. }), "{length} bytes of {kind}: {error}");
        assert_eq!(direct.github.log().len(), 1, "{length} bytes of {kind}");
        assert_eq!(Fault::from(error).code, Code::GithubNonsense);
    }
}

#[tokio::test]
async fn a_repository_that_was_renamed_is_found() {
    let direct = Direct::new();
    direct.api.was_called("old-api");
    let old = "acme/old-api".parse().unwrap();
    assert_eq!(direct.client.repository(&old).await.unwrap().default_branch, "main");
    let (_, new) = direct.client.open_issue(&old, &issue()).await.unwrap();
    assert!(new);
    assert_eq!(direct.api.issues().len(), 1);
    assert_eq!(direct.client.traffic().total(), direct.github.log().len() as u64);
}

#[tokio::test]
async fn redirects_are_followed_with_care() {
    let (direct, elsewhere) = (Direct::new(), Standin::start());
    // To another server: without the token, and only what reads.
    for status in [301, 302, 307] {
        direct.github.clear_faults();
        direct.github.fault(Rule::on("*", "*").act(Action::Redirect(status, elsewhere.url())));
        let error = direct.client.repository(&direct.name).await.unwrap_err();
        assert!(matches!(error, GitHubError::TokenRefused { .. }), "{status}: {error}");
    }
    assert_eq!(elsewhere.log().len(), 3);
    assert!(elsewhere.log().iter().all(|entry| entry.authorization.is_none()));
    for status in [301, 302, 303, 307] {
        direct.github.clear_faults();
        direct.github.fault(Rule::on("PATCH", "*").act(Action::Redirect(status, elsewhere.url())));
        let closed_as = tidegate::github::issues::ClosedAs::Completed;
        let error = direct.client.close_issue(&direct.name, 1, closed_as).await.unwrap_err();
        assert!(error.to_string().contains("redirects a request that changes something"), "{status}: {error}");
    }
    assert_eq!(elsewhere.log().len(), 3);
    // In a circle, to nowhere, and to where there is no TLS.
    for (location, why) in [
        (direct.github.url(), "it redirects too often"),
        ("http://elsewhere.test".to_owned(), "to a server without TLS"),
    ] {
        direct.github.clear_faults();
        direct.github.fault(Rule::on("*", "*").act(Action::Redirect(302, location)));
        let error = direct.client.repository(&direct.name).await.unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
    direct.github.clear_faults();
    direct.github.fault(Rule::on("*", "*").act(Action::Answer(Answer::status(302))));
    let error = direct.client.repository(&direct.name).await.unwrap_err();
    assert!(error.to_string().contains("it redirects to nowhere"), "{error}");
}

#[tokio::test]
async fn a_bundle_that_cannot_be_had_is_an_error() {
    let direct = Direct::new();
    let digest = Digest::sha256(b"image");
    direct.api.attest(digest.as_str(), json!({"mediaType": "x"}));
    direct.github.configure(|settings| settings.bundles = Bundles::ElsewhereAndNull);
    let bomb: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0x0f, 0x00];
    for action in [
        Action::Answer(Answer::status(404)),
        Action::Answer(Answer::html(403)),
        Action::Answer(Answer::html(502)),
        Action::Replace(bomb.to_vec().into()),
        Action::Replace("nonsense".into()),
        Action::Truncate(5),
    ] {
        let shown = format!("{action:?}");
        let fault = direct.github.storage_fault(Rule::on("*", "*").act(action));
        let error = direct.client.attestations(&direct.name, &digest, None).await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret-signature"), "{shown}: {error:?}");
        fault.remove();
    }
    assert_eq!(direct.client.attestations(&direct.name, &digest, None).await.unwrap().len(), 1);
}
