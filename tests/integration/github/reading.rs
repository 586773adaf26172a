//! What is read, each through the contract.

use std::collections::BTreeSet;

use serde_json::json;
use testbed::github::{ACTIONS_APP, Bundles, NewCheckRun, NewEnvironment, NewWorkflow};
use tidegate::github::commits::Relation;
use tidegate::github::runs::{Cancellation, RunFilter};
use tidegate::github::{GitHubError, Identity};
use tidegate::promotion::digest::Digest;
use tidegate::promotion::environment_review::{self, Branches, Demand, ReviewState};
use tidegate::promotion::login::Login;
use tidegate::promotion::required_checks::{self, Observed, Own, Requirement, Standing, Wanted};

use super::{Bench, no_commit};

#[tokio::test]
async fn a_repository_and_its_branches() {
    let bench = Bench::new();
    let commit = bench.api.commit("release/1.x", "Work", "ann");
    let github = bench.client();
    let repository = github.repository(&bench.name).await.unwrap();
    assert_eq!(repository.default_branch, "main");
    assert!(repository.is_of_organisation() && !repository.private);
    let branch = github.branch(&bench.name, "release/1.x").await.unwrap();
    assert_eq!((branch.commit, branch.protected), (commit, false));
    assert!(github.branch(&bench.name, "nowhere").await.unwrap_err().is_absent());
}

#[tokio::test]
async fn required_checks_come_from_rulesets_and_from_branch_protection() {
    let bench = Bench::new();
    let github = bench.client();
    assert_eq!(github.required_checks(&bench.name, "main").await.unwrap(), BTreeSet::new());
    let actions = i64::try_from(ACTIONS_APP).unwrap();
    bench.api.require_check("main", "build", Some(actions));
    bench.api.require_check("main", "lint", Some(-1));
    bench.api.require_check("main", "docs", None);
    bench.api.require_check_by_rule("main", "build", Some(actions));
    bench.api.require_check_by_rule("main", "scan", Some(7));
    bench.api.require_check_by_rule("main", "audit", None);
    let requirement = |name: &str, app| Requirement { name: name.to_owned(), app };
    let expected = [
        requirement("audit", None),
        requirement("build", Some(ACTIONS_APP)),
        requirement("docs", None),
        requirement("lint", None),
        requirement("scan", Some(7)),
    ];
    assert_eq!(github.required_checks(&bench.name, "main").await.unwrap(), expected.into());
}

#[tokio::test]
async fn check_runs_and_statuses_over_all_pages_and_with_all_siblings() {
    let bench = Bench::new();
    let commit = bench.api.commit("main", "Work", "ann");
    for number in 0..230 {
        bench.api.check_run(&commit, &NewCheckRun::ended(&format!("job {number}"), "success"));
    }
    // Two workflows with a job of the same name: GitHub's own filter shows only one of them.
    bench.api.check_run(&commit, &NewCheckRun::ended("build", "failure").in_suite(1));
    bench.api.check_run(&commit, &NewCheckRun::under_way("build", "in_progress").in_suite(2));
    for number in 0..120 {
        bench.api.status(&commit, &format!("ci/{number}"), "pending");
        bench.api.status(&commit, &format!("CI/{number}"), "success");
    }
    let github = bench.client();
    let runs = github.check_runs(&bench.name, &commit).await.unwrap();
    assert_eq!(runs.len(), 232);
    let build: Vec<_> = runs.iter().filter(|run| run.name == "build").collect();
    assert_eq!(build.len(), 2);
    assert_eq!((build[0].app, build[0].suite), (Some(ACTIONS_APP), Some(2)));
    assert_eq!((build[0].status.as_str(), build[0].conclusion.as_deref()), ("in_progress", None));
    assert_eq!((build[1].status.as_str(), build[1].conclusion.as_deref()), ("completed", Some("failure")));
    let statuses = github.commit_statuses(&bench.name, &commit).await.unwrap();
    assert_eq!(statuses.len(), 120);
    assert!(statuses.iter().all(|status| status.state == "success"));
    assert_eq!(github.check_runs(&bench.name, bench.api.commit("main", "More", "ann").as_str()).await.unwrap(), []);
    assert!(github.check_runs(&bench.name, &no_commit()).await.unwrap_err().is_refused_with(422));
}

#[tokio::test]
async fn checks_are_judged_as_they_are_read() {
    let bench = Bench::new();
    let commit = bench.api.commit("main", "Work", "ann");
    bench.api.require_check("main", "build", None);
    bench.api.require_check("main", "late", None);
    bench.api.workflow(&NewWorkflow::file("ci.yml"));
    let ours = bench.api.run("ci.yml", &commit, "ann");
    let own_job = bench.api.job(ours, "promote", "in_progress");
    bench.api.check_run(&commit, &NewCheckRun::ended("build", "success"));
    bench.api.status(&commit, "build", "success");
    let github = bench.client();
    let judge = async || {
        let runs = github.check_runs(&bench.name, &commit).await.unwrap();
        let statuses = github.commit_statuses(&bench.name, &commit).await.unwrap();
        let of_commit = RunFilter { commit: Some(commit.clone()), ..RunFilter::default() };
        let workflows = github.workflow_runs(&bench.name, &of_commit).await.unwrap();
        let workflows = workflows.iter().filter_map(|run| Some((run.suite?, run.workflow))).collect();
        let observed = Observed { commit: commit.clone(), runs, statuses, workflows };
        let required = github.required_checks(&bench.name, "main").await.unwrap();
        let own = github.own_check(&bench.name, own_job).await.unwrap();
        let own = Own { runs: [own.id].into(), suites: own.suite.into_iter().collect(), ..Own::default() };
        let wanted = Wanted { required, everything: true, ..Wanted::default() };
        required_checks::judge(&wanted, &observed, &own).standing
    };
    assert_eq!(judge().await, Standing::Waiting);
    let late = bench.api.check_run(&commit, &NewCheckRun::under_way("late", "queued"));
    assert_eq!(judge().await, Standing::Waiting);
    bench.api.end_check_run(late, "skipped");
    assert_eq!(judge().await, Standing::Passed);
    bench.api.status(&commit, "BUILD", "failure");
    assert_eq!(judge().await, Standing::Failed);
}

#[tokio::test]
async fn an_environment_whatever_its_name() {
    let bench = Bench::new();
    let name = "Prod / EU (100%)?";
    bench.api.environment(
        &NewEnvironment::named(name)
            .reviewer("ann")
            .reviewing_team("acme", "release")
            .preventing_self_review()
            .wait_timer(30)
            .branch("release/*", false)
            .branch("v*", true)
            .app("gatekeeper")
            .odd_rule("phase_of_the_moon"),
    );
    bench.api.environment(&NewEnvironment::named("open"));
    bench.api.environment(&NewEnvironment::named("guarded").protected_branches());
    let github = bench.client();
    let environment = github.environment(&bench.name, &name.to_lowercase()).await.unwrap().unwrap();
    assert_eq!(environment.name, name);
    let reviewers = environment.protection.reviewers.unwrap();
    assert_eq!(reviewers.users, [Login::new("ann")].into());
    assert_eq!(reviewers.teams, ["release".to_owned()].into());
    assert!(reviewers.prevent_self_review);
    assert_eq!(environment.protection.wait_timer, Some(30));
    assert_eq!(environment.protection.branches, Some(Branches::Named));
    assert_eq!(environment.protection.unknown, ["phase_of_the_moon"]);
    let policies = github.branch_policies(&bench.name, name).await.unwrap();
    let shown: Vec<_> = policies.iter().map(|policy| (policy.name.as_str(), policy.is_of_tags)).collect();
    assert_eq!(shown, [("release/*", false), ("v*", true)]);
    let open = github.environment(&bench.name, "open").await.unwrap().unwrap();
    assert_eq!(open.protection, environment_review::Protection::default());
    let guarded = github.environment(&bench.name, "guarded").await.unwrap().unwrap();
    assert_eq!(guarded.protection.branches, Some(Branches::Protected));
    assert_eq!(github.environment(&bench.name, "nowhere").await.unwrap(), None);
    assert!(github.environment(&bench.name, "..").await.is_err());
}

#[tokio::test]
async fn reviews_of_a_run_and_what_it_waits_for() {
    let bench = Bench::new();
    let commit = bench.api.commit("main", "Work", "ann");
    bench.api.environment(&NewEnvironment::named("production").reviewer("ann").reviewer("bob").wait_timer(5));
    bench.api.workflow(&NewWorkflow::file("ci.yml"));
    let run = bench.api.run("ci.yml", &commit, "Cleo");
    bench.api.wait_for_review(run, "production");
    let github = bench.client();
    let pending = github.pending_deployments(&bench.name, run).await.unwrap();
    assert_eq!(pending.len(), 1);
    assert_eq!((pending[0].name.as_str(), pending[0].wait_timer), ("production", 5));
    assert!(pending[0].waiting_since.is_some());
    assert_eq!(pending[0].users, ["ann", "bob"].map(Login::new).into());
    assert_eq!(github.run_reviews(&bench.name, run).await.unwrap(), []);

    let plan_recorded_at = bench.github.now();
    bench.github.advance(std::time::Duration::from_secs(60));
    bench.api.job(run, "deploy", "waiting");
    bench.api.review(run, "production", "Ann", "approved", "fine by me");
    assert_eq!(github.pending_deployments(&bench.name, run).await.unwrap(), []);
    let reviews = github.run_reviews(&bench.name, run).await.unwrap();
    assert_eq!(reviews[0].state, ReviewState::Approved);
    let protection = github.environment(&bench.name, "production").await.unwrap().unwrap().protection;
    let seen = github.workflow_run(&bench.name, run).await.unwrap();
    let askers = [seen.actor.unwrap(), seen.triggering_actor.unwrap()].into();
    let demand = Demand::default();
    let approved = environment_review::approved("Production", &protection, &reviews, &askers, &demand).unwrap();
    assert_eq!(approved.by, [(Login::new("ann"), "fine by me".to_owned())]);
    let askers = [Login::new("aNN")].into();
    assert!(environment_review::approved("Production", &protection, &reviews, &askers, &demand).is_err());
    let jobs = github.jobs(&bench.name, run, Some(1)).await.unwrap();
    assert!(environment_review::is_bound(Some(plan_recorded_at), jobs[0].created_at));
    assert!(!environment_review::is_bound(Some(bench.github.now()), jobs[0].created_at));
}

#[tokio::test]
async fn workflow_runs_and_their_jobs() {
    let bench = Bench::new();
    let (old, new) = (bench.api.commit("main", "Old", "ann"), bench.api.commit("main", "New", "ann"));
    bench.api.workflow(&NewWorkflow::file("ci.yml"));
    bench.api.workflow(&NewWorkflow::file("scan.yml"));
    let first = bench.api.run("ci.yml", &old, "ann");
    let second = bench.api.run("ci.yml", &new, "ann");
    let scan = bench.api.run("scan.yml", &new, "ann");
    bench.api.end_run(second, "success");
    bench.api.end_run(first, "failure");
    let check = bench.api.job(scan, "scan (linux)", "in_progress");
    let github = bench.client();
    let ids = async |filter: RunFilter| {
        let runs = github.workflow_runs(&bench.name, &filter).await.unwrap();
        runs.iter().map(|run| (run.id, run.has_ended(), run.has_succeeded())).collect::<Vec<_>>()
    };
    let ci = RunFilter { workflow: Some("ci.yml".to_owned()), ..RunFilter::default() };
    assert_eq!(ids(ci.clone()).await, [(second, true, true), (first, true, false)]);
    assert_eq!(ids(RunFilter { commit: Some(old), ..ci.clone() }).await, [(first, true, false)]);
    assert_eq!(
        ids(RunFilter { commit: Some(new), ..RunFilter::default() }).await,
        [(scan, false, false), (second, true, true)]
    );
    assert_eq!(ids(RunFilter { event: Some("release".to_owned()), ..RunFilter::default() }).await, []);
    assert_eq!(ids(RunFilter { branch: Some("a&b=c".to_owned()), ..RunFilter::default() }).await, []);
    let newest = github.newest_workflow_runs(&bench.name, &RunFilter::default(), 1).await.unwrap();
    assert_eq!(newest[0].id, scan);
    for attempt in [None, Some(1)] {
        let jobs = github.jobs(&bench.name, scan, attempt).await.unwrap();
        assert_eq!((jobs[0].name.as_str(), jobs[0].check_run), ("scan (linux)", Some(check)));
    }
    assert!(github.jobs(&bench.name, scan, Some(2)).await.unwrap_err().is_absent());
    assert_eq!(github.cancel_run(&bench.name, scan).await.unwrap(), Cancellation::Accepted);
    assert_eq!(github.workflow_run(&bench.name, scan).await.unwrap().conclusion.as_deref(), Some("cancelled"));
    assert_eq!(github.cancel_run(&bench.name, scan).await.unwrap(), Cancellation::AlreadyOver);
    assert!(github.workflow_run(&bench.name, 1).await.unwrap_err().is_absent());
}

#[tokio::test]
async fn what_lies_between_two_commits() {
    let bench = Bench::new();
    let base = bench.api.commit("main", "Base", "ann");
    let mut head = String::new();
    for number in 0..130 {
        head = bench.api.commit("main", &format!("Change {number}"), "bob");
    }
    let side = bench.api.commit("side", "Elsewhere", "cleo");
    let number = bench.api.pull_request(&head, "Change things [x](y)", "bob");
    let github = bench.client();
    let comparison = github.compare(&bench.name, &base, &head, 3).await.unwrap();
    assert_eq!((comparison.relation, comparison.ahead, comparison.behind), (Relation::Ahead, 130, 0));
    assert_eq!(comparison.commits.len(), 130);
    assert_eq!((comparison.commits[0].message.as_str(), comparison.commits[129].sha.as_str()), ("Change 0", &*head));
    assert_eq!(comparison.commits[0].author, Some(Login::new("bob")));
    assert_eq!(github.compare(&bench.name, &base, &head, 1).await.unwrap().commits.len(), 100);
    let relation = async |base: &str, head: &str| github.compare(&bench.name, base, head, 1).await.unwrap().relation;
    assert_eq!(relation(&base, &base).await, Relation::Identical);
    assert_eq!(relation(&head, &base).await, Relation::Behind);
    bench.api.commit("main", "On", "ann");
    assert_eq!(relation("main", "side").await, Relation::Diverged);
    assert!(github.is_reachable(&bench.name, &base, "main").await.unwrap());
    assert!(github.is_reachable(&bench.name, &head, &head).await.unwrap());
    assert!(!github.is_reachable(&bench.name, &side, "main").await.unwrap());
    assert!(github.is_reachable(&bench.name, &no_commit(), "main").await.unwrap_err().is_absent());
    assert_eq!(github.commit(&bench.name, "side").await.unwrap().sha, side);
    let pulls = github.pull_requests_of(&bench.name, &head).await.unwrap();
    assert_eq!((pulls[0].number, pulls[0].is_merged), (number, true));
    assert_eq!(github.pull_requests_of(&bench.name, &base).await.unwrap(), []);
}

#[tokio::test]
async fn teams_with_a_token_that_may_read_them() {
    let bench = Bench::new();
    let people: Vec<String> = (0..130).map(|number| format!("person-{number}")).collect();
    bench.github.team("acme", "release", &people.iter().map(String::as_str).collect::<Vec<_>>());
    bench.github.invite("acme", "release", "invited");
    let team = "@acme/Release".parse().unwrap();
    let github = bench.client_with(&bench.github.person_token("ann"));
    let members = github.team_members(&team).await.unwrap();
    assert_eq!(members.len(), 130);
    assert!(members.contains(&Login::new("PERSON-7")));
    assert!(!members.contains(&Login::new("invited")));
    let nowhere = "@acme/nowhere".parse().unwrap();
    assert!(github.team_members(&nowhere).await.unwrap_err().is_absent());
}

#[tokio::test]
async fn attestations_wherever_github_keeps_them() {
    let bench = Bench::new();
    let digest = Digest::sha256(b"image");
    let github = bench.client();
    assert_eq!(github.attestations(&bench.name, &digest, None).await.unwrap(), []);
    let bundle =
        json!({"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "dsseEnvelope": {"payload": "x"}});
    bench.api.attest(digest.as_str(), bundle.clone());
    bench.api.attest(digest.as_str(), bundle.clone());
    let slsa = Some("https://slsa.dev/provenance/v1");
    for place in [Bundles::Inline, Bundles::Elsewhere, Bundles::ElsewhereAndNull] {
        bench.github.configure(|settings| settings.bundles = place);
        let attestations = github.attestations(&bench.name, &digest, slsa).await.unwrap();
        assert_eq!(attestations.len(), 2);
        assert!(attestations.iter().all(|attestation| attestation.bundle == bundle), "{place:?}");
    }
    let fetched = bench.github.storage_log();
    assert_eq!(fetched.len(), 4);
    assert!(fetched.iter().all(|entry| entry.authorization.is_none()), "the token went elsewhere");
}

#[tokio::test]
async fn who_we_are() {
    let bench = Bench::new();
    let person = bench.client_with(&bench.github.person_token("Ann"));
    assert_eq!(person.identity().await.unwrap(), &Identity::Person(Login::new("ann")));
    assert_eq!(person.identity().await.unwrap(), &Identity::Person(Login::new("ann")));
    assert_eq!(person.traffic().total(), 1);
    let job = bench.client();
    assert_eq!(job.identity().await.unwrap(), &Identity::App);
    assert_eq!(job.traffic().total(), 0);
}

#[tokio::test]
async fn an_enterprise_server_has_its_api_elsewhere() {
    let bench = Bench::new();
    let commit = bench.api.commit("main", "Work", "ann");
    for number in 0..130 {
        bench.api.check_run(&commit, &NewCheckRun::ended(&format!("job {number}"), "success"));
    }
    let token = bench.github.job_token();
    for url in [bench.contract.enterprise_url(), format!("{}/", bench.contract.enterprise_url())] {
        let github = super::client(&url, &token, None);
        assert_eq!(github.check_runs(&bench.name, &commit).await.unwrap().len(), 130);
    }
    // Directly too: the contract takes the path away before the stand-in sees it.
    let github = super::client(&bench.github.enterprise_url(), &token, None);
    assert_eq!(github.check_runs(&bench.name, &commit).await.unwrap().len(), 130);
}

#[tokio::test]
async fn every_request_says_what_it_wants() {
    let bench = Bench::new();
    bench.client().repository(&bench.name).await.unwrap();
    let received = bench.github.received();
    let header = |name: &str| received[0].headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(header("accept").as_deref(), Some("application/vnd.github+json"));
    assert_eq!(header("x-github-api-version").as_deref(), Some("2022-11-28"));
    assert!(header("user-agent").unwrap().starts_with("tidegate/"));
    assert!(header("authorization").unwrap().starts_with("Bearer ghs_"));
}

#[tokio::test]
async fn names_that_are_none_are_refused_before_anything_is_sent() {
    let bench = Bench::new();
    let github = bench.client();
    for bad in ["", "..", "a\nb"] {
        let error = github.branch(&bench.name, bad).await.unwrap_err();
        assert!(matches!(error, GitHubError::Invalid(_)), "{bad:?}: {error}");
    }
    assert_eq!(bench.github.log(), []);
}
