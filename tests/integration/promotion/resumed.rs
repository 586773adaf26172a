//! A run that takes several visits: later steps, later jobs, re-runs.

use testbed::fault::{Action, Rule};
use testbed::image::{Defect, Image};
use tidegate::promotion::event::Operation;
use tidegate::promotion::stage::Stage;
use tidegate::promotion::state::State;

use super::scene::{Scene, one_service, release, small};

#[test]
fn a_run_is_divided_at_every_stage() {
    for until in ["conditions", "approval", "validation", "copy", "migration", "deployment", "verification"] {
        let scene = Scene::new().configured(&one_service("")).on_a_file();
        scene.place(&release(1), "acme/api", &["staging"]);
        let stage: Stage = until.parse().unwrap();
        let first = scene.visit(&scene.production().input("until", until));
        assert!(first.is_success(), "{first:?}");
        let told = (first.output("decision"), first.output("status"), first.output("sequence"));
        assert_eq!(told, ("proceed", "", "1"), "{until}");
        assert!(first.summary().contains("goes on in a later job"), "{}", first.summary());
        let moved = scene.tag("acme/api", "production").is_some();
        assert_eq!(moved, stage >= Stage::Copy, "{until}");
        assert!(scene.run().lease.is_none() && scene.run().ended.is_none());

        // A later job of the workflow run finds it by its key; another job by its id.
        let by_key = scene.production().env("GITHUB_JOB", "deploy");
        let by_id = by_key.clone().env("GITHUB_RUN_ID", "2").input("deployment-id", first.output("deployment-id"));
        let second = scene.visit(if stage == Stage::Validation { &by_id } else { &by_key });
        second.succeeded();
        assert_eq!(second.output("deployment-id"), first.output("deployment-id"));
        assert_eq!(second.output("sequence"), "1");
        let run = scene.run();
        assert_eq!(run.visits.len(), 2);
        let mut begun: Vec<Stage> = run.stages.iter().map(|one| one.stage).collect();
        begun.dedup();
        assert_eq!(begun, Stage::ALL, "{until}");
        assert_eq!(run.intents.len(), 1);
        scene.assert_sound();
    }
}

#[test]
fn a_ledger_in_the_workspace_serves_later_steps_and_says_so() {
    let scene = Scene::new().configured(&one_service(""));
    scene.place(&small(1), "acme/api", &["staging"]);
    let first = scene.visit(&scene.production().input("until", "validation"));
    assert_eq!(first.annotations("warning").len(), 1, "{first:?}");
    assert!(first.annotations("warning")[0].contains("database-url"));
    scene.visit(&scene.production()).succeeded();
}

#[test]
fn a_finished_run_met_again_repeats_its_outputs() {
    let scene = Scene::new().configured(&one_service(r#"immutable-tags: ["production-{{ sequence }}"]"#));
    scene.place(&release(1), "acme/api", &["staging"]);
    let first = scene.visit(&scene.production());
    first.succeeded();
    // The world behind the source has moved on, which is nothing to a run that is over.
    scene.place(&release(2), "acme/api", &["staging"]);
    let (entries, snapshot) = (scene.entries(), scene.snapshot());
    for attempt in ["2", "3"] {
        // One look at each of the two tags, and nothing else.
        let again = scene.visit_with(&scene.production().env("GITHUB_RUN_ATTEMPT", attempt), 2);
        again.succeeded();
        assert_eq!(again.values(), first.values());
        assert_eq!(again.summary(), first.summary());
        assert_eq!(again.file_of("record-path"), first.file_of("record-path"));
    }
    assert_eq!((scene.entries(), scene.snapshot()), (entries, snapshot));
    scene.here.clear_log();
}

#[test]
fn a_finished_run_whose_tag_has_moved_is_refused() {
    let scene = Scene::new().configured(&one_service(""));
    scene.place(&release(1), "acme/api", &["staging"]);
    let first = scene.visit(&scene.production());
    first.succeeded();
    // Somebody moved it by hand.
    scene.place(&small(7), "acme/api", &["production"]);
    let again = scene.visit_with(&scene.production(), 1);
    again.was_stopped(1, "target-moved", &["acme/api:production", small(7).digest(), first.output("digest")]);
    assert_eq!(again.output("deployment-id"), first.output("deployment-id"));
    // A later run moved it.
    scene.place(&release(2), "acme/api", &["staging"]);
    let later = scene.visit(&scene.production().env("GITHUB_RUN_ID", "2"));
    later.succeeded();
    let again = scene.visit_with(&scene.production().env("GITHUB_RUN_ATTEMPT", "2"), 1);
    let texts = [later.output("deployment-id"), "came after it", "new workflow run"];
    again.was_stopped(1, "target-moved", &texts);
    assert_eq!(scene.tag("acme/api", "production").as_deref(), Some(release(2).digest()));
    assert_eq!(scene.runs().len(), 2);
}

#[test]
fn after_a_failure_comes_a_new_run_and_no_number_is_left_out() {
    let scene = Scene::new().configured(&one_service("")).on_a_file();
    let broken = Image::manifest("linux/amd64").layers(1, 200).defect(Defect::NoCommand).build();
    scene.place(&broken, "acme/api", &["staging"]);
    let failed = scene.visit(&scene.production());
    failed.was_stopped(1, "check-failed", &["command"]);
    assert_eq!(failed.output("sequence"), "1");
    // No such image at all: it has its number too.
    scene.here.contents().remove_tag("acme/api", "staging");
    let absent = scene.visit(&scene.production().env("GITHUB_RUN_ATTEMPT", "2"));
    absent.was_stopped(1, "image-absent", &["acme/api:staging"]);
    scene.place(&small(1), "acme/api", &["staging"]);
    let good = scene.visit(&scene.production().env("GITHUB_RUN_ATTEMPT", "3"));
    good.succeeded();
    let numbers: Vec<_> = scene.runs().iter().map(|run| run.candidates[0].sequence).collect();
    assert_eq!(numbers, [Some(1), Some(2), Some(3)]);
    assert_ne!(good.output("deployment-id"), failed.output("deployment-id"));

    // The one that failed, by its id: it tells how it ended, and asks nobody.
    let by_id = scene.production().input("deployment-id", failed.output("deployment-id"));
    let again = scene.visit(&by_id);
    assert_eq!((again.code, again.values()), (Some(1), failed.values()));
    scene.assert_sound();
}

#[test]
fn a_run_about_something_else_is_refused() {
    let scene = Scene::new().configured(&one_service("")).on_a_file();
    scene.place(&small(1), "acme/api", &["staging"]);
    scene.place(&small(2), "acme/api", &["next"]);
    let first = scene.visit(&scene.production().input("until", "validation"));
    let id = first.output("deployment-id");
    let (before, entries) = (scene.snapshot(), scene.entries());
    let next = scene.filled("{here}/acme/api:next");
    for (step, texts) in [
        (scene.plain("{here}/acme/api:staging", "elsewhere").input("deployment-id", id), ["it goes to production", id]),
        (
            scene.production().input("deployment-id", id).env("GITHUB_REPOSITORY", "acme/other"),
            ["it belongs to acme/api", id],
        ),
        (scene.production().input("image", &next), [next.as_str(), "workflow run of its own"]),
        (scene.production().input("digest", small(2).digest()), [small(2).digest(), id]),
    ] {
        scene.visit(&step).was_stopped(2, "input-invalid", &texts);
    }
    let unknown = scene.production().input("deployment-id", "1732185300-0123456789ab");
    scene.visit(&unknown).was_stopped(2, "run-unknown", &["1732185300-0123456789ab"]);
    assert_eq!((scene.snapshot(), scene.entries()), (before, entries));
}

#[test]
fn a_plan_that_no_longer_holds_is_not_carried_out() {
    let scene = Scene::new().configured(&one_service("")).on_a_file();
    scene.place(&small(1), "acme/api", &["staging"]);
    let first = |run: &str| {
        scene.place(&small(1), "acme/api", &["staging"]);
        scene.visit(&scene.production().env("GITHUB_RUN_ID", run).input("until", "validation"));
        scene.production().env("GITHUB_RUN_ID", run)
    };
    // The source was moved, by somebody who pushed.
    let step = first("1");
    scene.place(&small(2), "acme/api", &["staging"]);
    let before = scene.snapshot();
    scene.visit(&step).was_stopped(1, "source-moved", &["acme/api:staging", small(2).digest()]);
    // The target was.
    let step = first("2");
    scene.place(&small(3), "acme/api", &["production"]);
    scene.visit(&step).was_stopped(1, "target-moved", &["acme/api:production", small(3).digest()]);
    assert_eq!(scene.tag("acme/api", "production").as_deref(), Some(small(3).digest()));
    // The configuration was changed.
    scene.here.contents().remove_tag("acme/api", "production");
    let step = first("3");
    scene.configure(&one_service("validate: { platforms: [linux/amd64] }"));
    scene.visit(&step).was_stopped(3, "plan-changed", &["configuration of production"]);
    scene.place(&small(2), "acme/api", &["staging"]);
    assert_eq!(scene.snapshot()[0].tags["acme/api"].len(), before[0].tags["acme/api"].len());
    assert!(scene.runs().iter().all(|run| run.state == State::Failed && !run.changed_the_world()));
    scene.assert_sound();
}

#[test]
fn a_source_that_moves_during_the_visit_is_noticed_before_the_tags_move() {
    let scene = Scene::new();
    scene.place(&release(1), "acme/api", &["staging"]);
    let contents = scene.here.contents().clone();
    let moved = release(2);
    moved.place(&contents, "acme/api", &[]);
    // While the content is on its way.
    let digest = moved.digest().to_owned();
    let hook = Action::call(move || contents.put_tag("acme/api", "staging", &digest));
    scene.here.fault(Rule::on("POST", "/v2/prod/api/blobs/uploads/*").nth(1).act(hook));
    let visit = scene.visit(&scene.plain("{here}/acme/api:staging", "{here}/prod/api:live"));
    visit.was_stopped(1, "source-moved", &["acme/api:staging", moved.digest()]);
    assert!(scene.here.contents().tags("prod/api").is_empty());
    assert_eq!(visit.output("failed-stage"), "copy");
}

#[test]
fn a_run_whose_tags_were_moved_after_its_copy_ends() {
    let scene = Scene::new().configured(&one_service("")).on_a_file();
    scene.place(&small(1), "acme/api", &["staging"]);
    scene.visit(&scene.production().input("until", "copy"));
    scene.place(&small(2), "acme/api", &["production"]);
    let visit = scene.visit(&scene.production());
    visit.was_stopped(1, "target-moved", &[small(2).digest()]);
    let run = scene.run();
    assert_eq!((run.state, run.opening.operation), (State::Failed, Operation::Promote));
    assert!(run.lease.is_none());
}
