//! Rate limits.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use testbed::fault::{Action, Answer, Rule};
use testbed::github::{NewCheckRun, secondary_limit};
use tidegate::github::{GitHub, GitHubError, Limit, Settings};
use tidegate::promotion::event::Event;
use tidegate::promotion::fault::{Code, Fault};

use super::issues::issue;
use super::{Bench, Direct, settings};

#[tokio::test]
async fn the_primary_limit_is_waited_for_where_there_is_time() {
    let bench = Bench::new();
    let token = bench.github.job_token();
    let github = bench.client_with(&token);
    bench.github.set_remaining(&token, 1, Duration::from_secs(1));
    let began = Instant::now();
    // One request is left: the second is refused, and a POST that was refused may be sent again.
    github.open_issue(&bench.name, &issue()).await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(bench.api.issues().len(), 1);
}

#[tokio::test]
async fn where_there_is_none_it_is_told_at_once() {
    let direct = Direct::new();
    direct.github.set_remaining(&direct.token, 0, Duration::from_secs(10 * 60));
    let hurried = direct.hurried(Duration::from_secs(60));
    let began = Instant::now();
    let error = hurried.repository(&direct.name).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(30));
    let GitHubError::Throttled { limit: Limit::Primary, wait, .. } = &error else { panic!("{error}") };
    assert!(*wait > Duration::from_secs(9 * 60) && *wait < Duration::from_secs(12 * 60), "{wait:?}");
    let fault = Fault::from(error);
    assert_eq!(fault.code, Code::GithubThrottled);
    assert!(fault.message.contains("primary rate limit"), "{}", fault.message);
    // Nothing more is sent while it lasts.
    hurried.repository(&direct.name).await.unwrap_err();
    assert_eq!(direct.github.log().len(), 1);
}

#[tokio::test]
async fn no_limit_is_waited_for_that_lasts_too_long() {
    let direct = Direct::new();
    direct.github.set_remaining(&direct.token, 0, Duration::from_secs(59 * 60));
    let error = direct.client.repository(&direct.name).await.unwrap_err();
    assert!(matches!(error, GitHubError::Throttled { .. }), "{error}");
}

#[tokio::test]
async fn the_secondary_limit_lasts_as_long_as_it_says() {
    let direct = Direct::new();
    let fault = direct.github.fault(Rule::on("*", "*").times(2).act(Action::Answer(secondary_limit(Some(1)))));
    let began = Instant::now();
    direct.client.repository(&direct.name).await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(2));
    assert_eq!(fault.hits(), 2);
}

#[tokio::test]
async fn and_at_least_a_minute_where_it_does_not() {
    let direct = Direct::new();
    direct.github.fault(Rule::on("*", "*").act(Action::Answer(secondary_limit(None))));
    let error = direct.hurried(Duration::from_secs(30)).repository(&direct.name).await.unwrap_err();
    let GitHubError::Throttled { limit: Limit::Secondary, wait, .. } = error else { panic!("{error}") };
    assert!(wait >= Duration::from_secs(59), "{wait:?}");
}

#[tokio::test]
async fn a_limit_for_ever_ends_after_a_few_times() {
    let direct = Direct::new();
    let limit = Answer::retry_after_seconds(0);
    let fault = direct.github.fault(Rule::on("*", "*").act(Action::Answer(limit)));
    let error = direct.client.repository(&direct.name).await.unwrap_err();
    assert!(matches!(error, GitHubError::Throttled { .. }), "{error}");
    assert_eq!(fault.hits(), 4);
}

#[tokio::test]
async fn what_has_not_changed_costs_nothing() {
    let bench = Bench::new();
    let commit = bench.api.commit("main", "Work", "ann");
    for number in 0..130 {
        bench.api.check_run(&commit, &NewCheckRun::ended(&format!("job {number}"), "success"));
    }
    let token = bench.github.job_token();
    let github = bench.client_with(&token);
    assert_eq!(github.check_runs(&bench.name, &commit).await.unwrap().len(), 130);
    let left = bench.github.remaining(&token);
    for _ in 0..3 {
        assert_eq!(github.check_runs(&bench.name, &commit).await.unwrap().len(), 130);
    }
    assert_eq!(bench.github.remaining(&token), left);
    bench.api.check_run(&commit, &NewCheckRun::ended("late", "success"));
    assert_eq!(github.check_runs(&bench.name, &commit).await.unwrap().len(), 131);
    let traffic = github.traffic();
    assert_eq!(traffic.total(), bench.github.log().len() as u64);
    assert_eq!(traffic.requests.keys().collect::<Vec<_>>(), ["github/checks"]);
    assert_eq!(traffic.total(), 10);
}

#[tokio::test]
async fn retries_are_told() {
    let direct = Direct::new();
    let heard: Arc<Mutex<Vec<Event>>> = Arc::default();
    let observer = Arc::clone(&heard);
    let github = GitHub::new(Settings {
        observer: Some(Arc::new(move |event| observer.lock().unwrap().push(event))),
        ..settings(&direct.github.url(), &direct.token, None)
    })
    .unwrap();
    direct.github.fault(Rule::on("*", "*").times(2).act(Action::Answer(Answer::html(502))));
    github.repository(&direct.name).await.unwrap();
    let heard = heard.lock().unwrap();
    let Event::Retried { what, attempt: 2, because, .. } = &heard[1] else { panic!("{heard:?}") };
    assert_eq!((what.as_str(), because.as_str()), ("reading the repository acme/api", "a page for people"));
}
