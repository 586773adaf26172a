//! `operation: audit`: sound trails verify, and whatever was done to them is found.

use std::path::PathBuf;

use tidegate::promotion::run::Run;

use super::scene::{Scene, Visit, one_service, small, wait};

/// Three runs in the ledger, of which the second has failed.
fn three_runs() -> Scene {
    let scene = Scene::new().configured(&one_service("")).on_a_file();
    for number in 1..=3 {
        match number {
            2 => scene.here.contents().remove_tag("acme/api", "staging"),
            _ => scene.place(&small(number), "acme/api", &["staging"]),
        }
        let visit = scene.visit(&scene.production().env("GITHUB_RUN_ID", &number.to_string()));
        assert_eq!(visit.code, Some(i32::from(number == 2)));
    }
    scene
}

fn audit(scene: &Scene, inputs: &[(&str, &str)]) -> Visit {
    let step =
        inputs.iter().fold(scene.step().input("operation", "audit"), |step, (name, value)| step.input(name, value));
    scene.finish(step.start())
}

/// Changes the ledger behind its back, triggers or not.
fn tamper(scene: &Scene, sql: &str) {
    let triggers = "DROP TRIGGER event_is_not_changed; DROP TRIGGER event_is_not_removed;";
    wait(crate::ledger::place::run_on_file(&scene.ledger_file(), &format!("{triggers} {sql}")));
}

fn anchor(run: &Run) -> String {
    format!("{}:{}:{}", run.id, run.seq, run.head)
}

#[track_caller]
fn is_broken(visit: &Visit, texts: &[&str]) {
    visit.was_stopped(1, "audit-broken", texts);
}

#[test]
fn what_is_sound_verifies() {
    let scene = three_runs();
    let runs = scene.runs();
    let entries = scene.entries();
    let visit = audit(&scene, &[]);
    assert!(visit.is_success(), "{visit:?}");
    assert_eq!((visit.output("decision"), visit.output("status")), ("proceed", ""));
    let text = visit.lines().join("\n");
    assert!(text.contains("3 trails verified, 0 breaks"), "{text}");
    for run in &runs {
        // Every head that it prints is an anchor, and so is the one in the job summary.
        assert!(text.contains(&anchor(run)) && visit.summary().contains(&anchor(run)));
        assert!(audit(&scene, &[("anchor", &anchor(run))]).is_success());
    }
    let one = audit(&scene, &[("deployment-id", runs[0].id.as_str())]);
    assert!(one.lines().join("\n").contains("1 trails verified"), "{one:?}");
    let none = audit(&scene, &[("environment", "elsewhere")]);
    assert!(none.lines().join("\n").contains("0 trails verified"), "{none:?}");
    assert_eq!(scene.entries(), entries);
}

#[test]
fn what_was_tampered_with_is_found() {
    let swapped = "UPDATE event SET seq = 1000 WHERE run = '{0}' AND seq = 3; UPDATE event SET seq = 3 WHERE run = '{0}' AND \
                   seq = 4; UPDATE event SET seq = 4 WHERE run = '{0}' AND seq = 1000";
    for (sql, texts) in [
        (
            "UPDATE event SET text = replace(text, 'octocat', 'nobody') WHERE run = '{0}' AND seq = 1",
            ["{0}", "event 1"],
        ),
        ("UPDATE event SET at = '2001-01-01T00:00:00.000Z' WHERE run = '{1}' AND seq = 2", ["{1}", "event 2"]),
        (swapped, ["{0}", "event 3"]),
        ("DELETE FROM event WHERE run = '{2}' AND seq = 3", ["{2}", "event 4"]),
        ("DELETE FROM event WHERE run = '{1}'", ["{1}", "{2}"]),
        ("DELETE FROM event WHERE run = '{2}' AND seq > 5", ["{2}", "5"]),
    ] {
        let scene = three_runs();
        let ids: Vec<String> = scene.runs().iter().map(|run| run.id.to_string()).collect();
        let named = |text: &str| text.replace("{0}", &ids[0]).replace("{1}", &ids[1]).replace("{2}", &ids[2]);
        tamper(&scene, &named(sql));
        let visit = audit(&scene, &[]);
        let texts: Vec<String> = texts.into_iter().map(named).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        is_broken(&visit, &texts);
        assert!(visit.lines().join("\n").contains("breaks"), "{visit:?}");
    }
}

#[test]
fn an_end_that_was_cut_off_cleanly_shows_against_an_anchor_alone() {
    let scene = three_runs();
    let last = scene.runs().remove(2);
    let sql = format!("DELETE FROM event WHERE run = '{}' AND seq > 6", last.id);
    tamper(&scene, &sql);
    // Whoever was careful has made the derived tables fit.
    wait(async { scene.ledger().rebuild().await.unwrap() });
    assert!(audit(&scene, &[]).is_success());
    is_broken(&audit(&scene, &[("anchor", &anchor(&last))]), &[last.id.as_str()]);
    // A whole run that is gone.
    tamper_again(&scene, &format!("DELETE FROM event WHERE run = '{}'", last.id));
    wait(async { scene.ledger().rebuild().await.unwrap() });
    is_broken(&audit(&scene, &[("anchor", &anchor(&last))]), &[last.id.as_str()]);
}

fn tamper_again(scene: &Scene, sql: &str) {
    wait(crate::ledger::place::run_on_file(&scene.ledger_file(), sql));
}

#[test]
fn an_exported_trail_is_verified_without_any_database() {
    let scene = Scene::new().configured(&one_service(""));
    scene.place(&small(1), "acme/api", &["staging"]);
    let visit = scene.visit(&scene.production());
    let run = scene.run();
    let path = visit.output("audit-path");
    let whole: PathBuf = scene.step().workspace().join(path);
    let nowhere = |step: testbed::runner::Runner| {
        step.input("operation", "audit")
            .input("database-host", "nowhere.test")
            .input("database-user", "x")
            .input("database-name", "x")
    };
    let file = |path: &str| nowhere(scene.step()).input("audit-file", path).input("anchor", &anchor(&run));
    let sound = scene.visit(&file(path));
    assert!(sound.is_success() && sound.lines().join("\n").contains("1 trails verified"), "{sound:?}");

    let lines: Vec<String> = std::fs::read_to_string(&whole).unwrap().lines().map(|line| format!("{line}\n")).collect();
    let write = |name: &str, lines: &[String]| {
        std::fs::write(scene.step().workspace().join(name), lines.concat()).unwrap();
        scene.visit(&file(name))
    };
    is_broken(&write("cut.jsonl", &lines[..lines.len() - 1]), &[run.id.as_str()]);
    is_broken(&write("gap.jsonl", &[&lines[..4], &lines[5..]].concat()), &[run.id.as_str(), "event 6"]);
    let edited: Vec<String> = lines.iter().map(|line| line.replace("octocat", "nobody")).collect();
    is_broken(&write("edited.jsonl", &edited), &[run.id.as_str(), "event 1"]);
    let mut reordered = lines.clone();
    reordered.swap(4, 5);
    is_broken(&write("reordered.jsonl", &reordered), &[run.id.as_str()]);

    let garbage = write("garbage.jsonl", &["not json\n".to_owned()]);
    garbage.was_stopped(2, "input-invalid", &["garbage.jsonl"]);
    scene.visit(&file("absent.jsonl")).was_stopped(2, "input-invalid", &["absent.jsonl"]);
    scene.visit(&file(path).input("anchor", "x")).was_stopped(2, "input-invalid", &["`anchor`"]);
}
