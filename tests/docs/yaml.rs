//! Every YAML in the documentation: parsed, and checked as what it is.

use std::path::Path;

use serde_json::{Map, Value, json};
use tidegate::config::{Configuration, schema};

use super::{pages, root};

/// A block of YAML in a page.
struct Block {
    place: String,
    text: String,
}

/// The blocks of all pages, with their places.
fn blocks() -> Vec<Block> {
    let mut blocks = Vec::new();
    for (path, text) in pages() {
        let mut lines = text.lines().enumerate();
        while let Some((number, line)) = lines.next() {
            let word = line.trim_start();
            if word != "```yaml" && word != "```yml" {
                continue;
            }
            let indent = line.len() - word.len();
            let inside: Vec<&str> = lines
                .by_ref()
                .map(|(_, line)| line)
                .take_while(|line| line.trim() != "```")
                .map(|line| line.get(indent..).unwrap_or_default())
                .collect();
            blocks.push(Block { place: format!("{}:{}", path.display(), number + 1), text: inside.join("\n") + "\n" });
        }
    }
    blocks
}

/// What a block is.
#[derive(Debug, PartialEq)]
enum Kind {
    Workflow(String),
    Configuration(String),
}

/// A block that shows a part has the rest put around it, so that it can be checked like a whole.
fn kind(text: &str) -> Result<Kind, String> {
    let value: Value = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
    let names = |pointer: &str| schema().pointer(pointer).and_then(Value::as_object).map(keys).unwrap_or_default();
    let has = |name: &str| value.get(name).is_some();
    let whole = |value: &Value| serde_yaml::to_string(value).map_err(|error| error.to_string());
    let skeleton = json!({
        "version": 1,
        "services": {"api": {"image": "ghcr.io/acme/api"}},
        "environments": {"staging": {"tag": "staging"}, "production": {"from": "staging", "tag": "production"}},
    });
    let job = json!({"runs-on": "ubuntu-24.04", "timeout-minutes": 10, "permissions": {}});
    match &value {
        Value::Object(_) if has("on") && has("jobs") => Ok(Kind::Workflow(text.to_owned())),
        Value::Object(_) if has("version") && has("environments") => Ok(Kind::Configuration(text.to_owned())),
        // Jobs of a workflow, one job's steps, or the steps alone.
        Value::Object(_) if has("jobs") => {
            let mut workflow = value.clone();
            workflow["on"] = json!("workflow_dispatch");
            if workflow.get("permissions").is_none() {
                workflow["permissions"] = json!({});
            }
            for job in workflow["jobs"].as_object_mut().into_iter().flat_map(Map::values_mut) {
                if job.get("steps").is_some() && job.get("timeout-minutes").is_none() {
                    job["timeout-minutes"] = json!(10);
                }
                if job.get("steps").is_some() && job.get("runs-on").is_none() {
                    job["runs-on"] = json!("ubuntu-24.04");
                }
            }
            Ok(Kind::Workflow(whole(&workflow)?))
        }
        Value::Object(_) if has("steps") => {
            let mut around = job;
            around.as_object_mut().expect("an object").extend(value.as_object().expect("looked at").clone());
            Ok(Kind::Workflow(whole(&json!({"on": "workflow_dispatch", "jobs": {"one": around}}))?))
        }
        Value::Object(_) if has("permissions") && value.as_object().is_some_and(|fields| fields.len() == 1) => {
            let mut around = job;
            around["permissions"] = value["permissions"].clone();
            around["steps"] = json!([{"run": "true"}]);
            Ok(Kind::Workflow(whole(&json!({"on": "workflow_dispatch", "jobs": {"one": around}}))?))
        }
        Value::Object(_) if has("uses") || has("on") => Err("a part of a workflow that is not known".to_owned()),
        Value::Array(steps) if steps.iter().all(|step| step.get("uses").is_some() || step.get("run").is_some()) => {
            let mut around = job;
            around["steps"] = value.clone();
            Ok(Kind::Workflow(whole(&json!({"on": "workflow_dispatch", "jobs": {"one": around}}))?))
        }
        // Keys of the file, or keys of an environment.
        Value::Object(fields) if keys(fields).iter().all(|key| names("/properties").contains(key)) => {
            let mut around = skeleton;
            around.as_object_mut().expect("an object").extend(fields.clone());
            Ok(Kind::Configuration(whole(&around)?))
        }
        Value::Object(fields) if keys(fields).iter().all(|key| names("/$defs/Settings/properties").contains(key)) => {
            let mut around = skeleton;
            around["environments"]["production"].as_object_mut().expect("an object").extend(fields.clone());
            Ok(Kind::Configuration(whole(&around)?))
        }
        _ => Err("neither a workflow nor a configuration, nor a part of one that is known".to_owned()),
    }
}

fn keys(fields: &Map<String, Value>) -> Vec<String> {
    fields.keys().cloned().collect()
}

#[test]
fn every_block_is_what_it_says() {
    let mut wrong = Vec::new();
    let directory = tempfile::tempdir().unwrap();
    for Block { place, text } in blocks() {
        let checked = kind(&text).and_then(|kind| match kind {
            Kind::Configuration(text) => {
                Configuration::parse("tidegate.yml", &text).map(|_| ()).map_err(|errors| errors.to_string())
            }
            Kind::Workflow(text) => check_workflow(&text, directory.path()),
        });
        if let Err(error) = checked {
            wrong.push(format!("{place}: {error}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Looks through a workflow without running it.
fn check_workflow(text: &str, directory: &Path) -> Result<(), String> {
    let file = directory.join("workflow.yml");
    std::fs::write(&file, text).map_err(|error| error.to_string())?;
    let action = workflow::model::Action::read(&root().join("action.yml"))?;
    workflow::look::through(&workflow::model::Workflow::read(&file)?, &action, "tidegate/tidegate")
}

#[test]
fn the_workflows_and_examples_are_sound() {
    let action = workflow::model::Action::read(&root().join("action.yml")).unwrap();
    let mut wrong = Vec::new();
    let mut seen = 0;
    let mut directories = vec![root().join(".github/workflows"), root().join("examples")];
    while let Some(directory) = directories.pop() {
        for path in std::fs::read_dir(directory).unwrap().flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let is_workflow = path.parent().is_some_and(|parent| parent.ends_with(".github/workflows"));
            let checked = if is_workflow {
                workflow::model::Workflow::read(&path)
                    .and_then(|read| workflow::look::through(&read, &action, "tidegate/tidegate"))
            } else if path.extension().is_some_and(|extension| extension == "yml" || extension == "json") {
                let text = std::fs::read_to_string(&path).unwrap();
                let name = path.file_name().unwrap().to_string_lossy();
                let is_configuration = name.starts_with("tidegate") || name == "deployment.json";
                let parsed = Configuration::parse(&name, &text).map(|_| ()).map_err(|errors| errors.to_string());
                if is_configuration { parsed } else { Ok(()) }
            } else {
                continue;
            };
            seen += 1;
            if let Err(error) = checked {
                wrong.push(format!("{}: {error}", path.strip_prefix(root()).unwrap().display()));
            }
        }
    }
    assert!(seen > 1, "nothing was found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn parts_are_put_into_a_whole() {
    let table = [
        ("gates: { soak: 1h }", true),
        ("notify: { team: { slack: \"${SLACK_WEBHOOK}\" } }", true),
        ("- run: 'true'", false),
        ("permissions: { contents: read }", false),
        ("jobs: { a: { steps: [{ run: 'true' }] } }", false),
    ];
    for (text, is_configuration) in table {
        let kind = kind(text).unwrap();
        assert_eq!(matches!(kind, Kind::Configuration(_)), is_configuration, "{text}");
    }
    assert!(kind("nonsense: 1").is_err());
}
