//! Reports: what a visit leaves, and what `operation: report` tells from the ledger.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::scene::{Scene, image};

const TEAM: &str = "team: { slack: \"${SLACK}\", on: [succeeded] }";

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn a_visit_leaves_every_report_and_failure_is_one_only_where_there_is_one() {
    let scene = Scene::new(TEAM, "validate: { size: { max: 10B } }");
    assert_eq!(scene.promote().code, Some(1));
    let folder = scene.step().workspace().join(".tidegate").join(scene.run().id.as_str());
    let errors = read(&folder, "errors.jsonl");
    let error: Value = serde_json::from_str(errors.lines().next().unwrap()).unwrap();
    assert_eq!((&error["code"], &error["category"]), (&"check-failed".into(), &"validation".into()));
    let failure = read(&folder, "failure.md");
    for heading in ["What happened", "What was tried", "How the world is now", "What to do"] {
        assert!(failure.contains(&format!("### {heading}\n")), "{failure}");
    }
    assert!(failure.contains("nothing was changed"), "{failure}");
    let metrics = read(&folder, "metrics.txt");
    assert!(metrics.contains("tidegate_memory_peak_bytes") && metrics.ends_with("# EOF\n"), "{metrics}");

    scene.configure(TEAM, "");
    assert!(scene.step().env("GITHUB_RUN_ID", "16000000002").run().is_success());
    let folder = scene.step().workspace().join(".tidegate").join(scene.run().id.as_str());
    assert!(!folder.join("failure.md").exists());
    assert_eq!(read(&folder, "errors.jsonl"), "");
    let compliance = read(&folder, "compliance.md");
    assert!(compliance.contains(image(1).digest()) && compliance.contains(&scene.run().head), "{compliance}");
}

#[test]
fn reports_are_made_anew_from_the_ledger_and_are_the_same() {
    let scene = Scene::new(TEAM, "");
    assert!(scene.promote().is_success());
    let run = scene.run();
    let folder = scene.step().workspace().join(".tidegate").join(run.id.as_str());
    let names = ["record.json", "report.md", "audit.jsonl", "compliance.md", "compliance.html", "errors.jsonl"];
    let before = names.map(|name| read(&folder, name));
    std::fs::remove_dir_all(&folder).unwrap();
    let told = scene.channels.told().len();
    let finished = scene.step().input("operation", "report").input("deployment-id", run.id.as_str()).run();
    assert!(finished.is_success(), "{finished}");
    assert_eq!(names.map(|name| read(&folder, name)), before);
    let outputs = finished.outputs().unwrap();
    assert_eq!(outputs["record-path"], format!(".tidegate/{}/record.json", run.id));
    assert_eq!(outputs["report-path"], format!(".tidegate/{}/report.md", run.id));
    // It tells nobody, and adds nothing.
    assert_eq!((scene.channels.told().len(), scene.run().seq), (told, run.seq));
}

#[test]
fn an_environment_is_reported_over_a_time() {
    let scene = Scene::new(TEAM, "");
    assert!(scene.promote().is_success());
    image(2).place(scene.registry.contents(), "acme/api", &["staging"]);
    assert!(scene.step().env("GITHUB_RUN_ID", "16000000002").run().is_success());
    let report = |since: &str| {
        let step = scene.step().input("operation", "report").input("since", since);
        let finished = step.run();
        assert!(finished.is_success(), "{finished}");
        let path = finished.outputs().unwrap()["report-path"].clone();
        let markdown = std::fs::read_to_string(scene.step().workspace().join(&path)).unwrap();
        assert_eq!(finished.summary().trim(), markdown.trim());
        let json = std::fs::read_to_string(scene.step().workspace().join(path).with_extension("json")).unwrap();
        (markdown, serde_json::from_str::<Vec<Value>>(&json).unwrap())
    };
    let (markdown, records) = report("30d");
    assert_eq!(records.len(), 2);
    assert!(markdown.contains(image(2).digest()), "{markdown}");
    assert!(!markdown.contains(image(1).digest()), "what was replaced is not in place: {markdown}");
    assert_eq!(report("2099-01-01").1.len(), 0);
    let wrong = scene.step().input("operation", "report").input("since", "yesterday").run();
    assert_eq!(wrong.code, Some(2), "{wrong}");
    let unknown = scene.step().input("operation", "report").input("deployment-id", "1732185300-0123456789ab").run();
    assert_eq!(unknown.code, Some(2), "{unknown}");
}

#[test]
fn the_page_is_one_that_everybody_can_read() {
    let chromium = Path::new("/usr/bin/chromium");
    assert!(chromium.exists(), "there is no chromium: script/setup installs it");
    let scene = Scene::new(TEAM, "validate: { size: { max: 10B } }");
    assert_eq!(scene.promote().code, Some(1));
    let folder = scene.step().workspace().join(".tidegate").join(scene.run().id.as_str());
    for page in ["compliance.html", "failure.html"] {
        let open = |arguments: &[&str]| {
            let home = tempfile::tempdir().unwrap();
            let output = Command::new(chromium)
                .args([
                    "--headless",
                    "--no-sandbox",
                    "--disable-gpu",
                    "--disable-dev-shm-usage",
                    "--window-size=1100,1600",
                ])
                .args(arguments)
                .arg(format!("file://{}", folder.join(page).display()))
                .env("HOME", home.path())
                .output()
                .unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let dom = open(&["--dump-dom"]);
        for landmark in ["<header>", "<main>", "<footer>", "<html lang=\"en\">", "<th scope=\"row\">"] {
            assert!(dom.contains(landmark), "{page} has no {landmark}: {dom}");
        }
        assert_eq!((dom.matches("<h1>").count(), dom.matches("<script").count()), (1, 0));
        assert_eq!(dom.matches("<h2 ").count(), dom.matches("<section aria-labelledby=").count());
        let shots = ["light", "dark"].map(|scheme| {
            let shot = folder.join(format!("{scheme}.png"));
            let scheme = if scheme == "dark" {
                "--blink-settings=preferredColorScheme=0"
            } else {
                "--blink-settings=preferredColorScheme=1"
            };
            open(&[scheme, &format!("--screenshot={}", shot.display())]);
            std::fs::read(shot).unwrap()
        });
        assert!(shots.iter().all(|shot| shot.len() > 10_000 && shot.starts_with(b"\x89PNG")));
        assert_ne!(shots[0], shots[1], "light and dark are the same");
        if let Some(keep) = std::env::var_os("KEEP_PAGES") {
            for (scheme, shot) in ["light", "dark"].iter().zip(&shots) {
                std::fs::write(Path::new(&keep).join(format!("{page}-{scheme}.png")), shot).unwrap();
            }
        }
    }
}
