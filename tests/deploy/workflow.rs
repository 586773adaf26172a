//! The driver `workflow`: another workflow, on a stand-in for GitHub.

use testbed::github::{GitHub, NewWorkflow, Repository};
use testbed::runner::Runner;

use crate::scene::{Scene, small};

const CONFIGURATION: &str = r#"version: 1
services:
  api: { image: "{here}/acme/api" }
environments:
  staging: { tag: staging }
  production:
    from: staging
    tag: production
    github: { status: false, deployment: off, issues: false }
    deploy:
      workflow:
        file: deploy.yml
        ref: main
        inputs: { digest: "{{ digest }}", token: "{{ fencing_token }}" }
        correlation-input: run
        every: 10ms
        timeout: 20s
retry: { attempts: 3, initial: 5ms, max: 10ms }
"#;

struct Place {
    github: GitHub,
    repository: Repository,
    scene: Scene,
}

impl Place {
    fn new(configuration: &str, steps: &[&str]) -> Self {
        let github = GitHub::start();
        let repository = github.repository("acme/api");
        repository.commit("main", "first", "octocat");
        let workflow = NewWorkflow::file("deploy.yml").run_name("Deploy {run}");
        repository.workflow(&workflow.steps(steps));
        let scene = Scene::new().configured(configuration);
        scene.place(&small(9), "acme/api", &["production"]);
        scene.place(&small(1), "acme/api", &["staging"]);
        Self { github, repository, scene }
    }

    fn step(&self) -> Runner {
        self.scene
            .production()
            .input("github-token", &self.github.job_token())
            .env("GITHUB_API_URL", &self.github.url())
    }
}

#[test]
fn a_workflow_is_started_and_followed_to_its_end() {
    let place = Place::new(CONFIGURATION, &["queued", "in_progress", "completed:success"]);
    let visit = place.scene.finish(place.step().start());
    visit.succeeded();
    let runs = place.repository.runs();
    assert_eq!(runs.len(), 1);
    let run = place.scene.run();
    let deployed = run.candidates[0].deployed.clone().unwrap();
    assert_eq!(deployed.state.as_deref(), Some("success"));
    assert!(deployed.url.unwrap().contains(&runs[0].id.to_string()));
    let asked = place.github.received();
    let dispatch = asked.iter().find(|one| one.body.get("inputs").is_some()).unwrap();
    assert_eq!(dispatch.body["inputs"]["digest"], small(1).digest());
    assert_eq!(dispatch.body["inputs"]["token"], "1");
    place.scene.assert_sound();
}

#[test]
fn its_conclusion_is_the_deployments() {
    let place = Place::new(CONFIGURATION, &["queued", "completed:failure"]);
    let visit = place.scene.finish(place.step().start());
    // The same workflow puts back what was there before, and fails again.
    visit.was_stopped(5, "deployment-failed", &["failure", "actions/runs/"]);
    assert_eq!(place.repository.runs().len(), 2);
    let asked = place.github.received();
    let digests: Vec<&str> = asked.iter().filter_map(|one| one.body["inputs"]["digest"].as_str()).collect();
    assert_eq!(digests, [small(1).digest(), small(9).digest()]);
}

#[test]
fn a_visit_that_was_killed_follows_the_run_that_it_had_started() {
    let place = Place::new(CONFIGURATION, &["queued", "in_progress", "completed:success"]);
    let killed = place.scene.finish(place.step().env("TIDEGATE_CRASH_AT", &crash_after_dispatch(&place)).start());
    assert!(!killed.is_success(), "{killed:?}");
    let before = place.repository.runs().len();
    let visit = place.scene.finish(place.step().env("GITHUB_RUN_ATTEMPT", "2").start());
    visit.succeeded();
    assert_eq!((before, place.repository.runs().len()), (1, 1));
}

#[test]
fn recover_goes_on_with_it_where_the_configuration_is() {
    let place = Place::new(CONFIGURATION, &["queued", "in_progress", "completed:success"]);
    let killed = place.scene.finish(place.step().env("TIDEGATE_CRASH_AT", &crash_after_dispatch(&place)).start());
    assert!(!killed.is_success(), "{killed:?}");
    let recovered = place.scene.finish(place.step().input("operation", "recover").start());
    assert!(recovered.is_success() && recovered.stdout.contains("was settled"), "{recovered:?}");
    assert_eq!(place.repository.runs().len(), 1);
    assert_eq!(place.scene.run().ended.unwrap().state.name(), "completed-successfully");
}

/// The number of the crash point right after the dispatch was answered, found by an untouched run elsewhere.
fn crash_after_dispatch(like: &Place) -> String {
    let other = Place::new(CONFIGURATION, &["queued", "completed:success"]);
    let log = other.scene.step().workspace().join("crash.log");
    let step = other.step().env("TIDEGATE_CRASH_LOG", log.to_str().unwrap());
    other.scene.finish(step.start()).succeeded();
    let text = std::fs::read_to_string(log).unwrap();
    let points: Vec<&str> = text.lines().collect();
    let requests: Vec<_> = other.github.log().iter().map(|entry| entry.path().to_owned()).collect();
    // The requests to GitHub are the last ones but those for the ledger: the dispatch is the only POST.
    let after = requests.iter().position(|path| path.ends_with("/dispatches")).unwrap();
    let github = points.iter().enumerate().filter(|(_, point)| point.ends_with("http answer")).map(|(place, _)| place);
    let answers: Vec<usize> = github.collect();
    let place = answers[answers.len() - (requests.len() - after)];
    drop(like.github.log());
    (place + 1).to_string()
}
