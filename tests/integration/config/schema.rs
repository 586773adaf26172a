//! The JSON schema says the same as the program.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use tidegate::config::schema;

use super::{EVERY_KEY, EXAMPLE, with_production};

fn committed() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/tidegate.schema.json")
}

/// `UPDATE_SCHEMA=1 cargo test schema` writes it anew.
#[test]
fn the_committed_schema_is_current() {
    let current = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::create_dir_all(committed().parent().unwrap()).unwrap();
        std::fs::write(committed(), &current).unwrap();
    }
    let committed = std::fs::read_to_string(committed()).unwrap_or_default();
    assert!(
        committed == current,
        "schema/tidegate.schema.json is old; write it anew: UPDATE_SCHEMA=1 cargo test schema"
    );
}

fn value(yaml: &str) -> Value {
    serde_yaml::from_str(yaml).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn what_is_right_fits() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    for text in [EXAMPLE, EVERY_KEY] {
        let errors: Vec<String> =
            validator.iter_errors(&value(text)).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{}", errors.join("\n"));
    }
}

#[test]
fn what_is_wrong_in_its_shape_does_not_fit() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    assert!(validator.is_valid(&value(&with_production(""))));
    for body in [
        "gats: {}",
        "gates: []",
        "gates:",
        "gates: { soak: 3600 }",
        "gates: { soak: soon }",
        "gates: { approval: { via: mail } }",
        "gates: { approval: { minimum: 0 } }",
        "gates: { freeze: [{ timezone: UTC }] }",
        "gates: { freeze: [{ weekly: Fri 16:00 - Mon 08:00, from: 2026-12-23 }] }",
        "gates: { freeze: [{ weekly: Friday afternoon }] }",
        "validate: { size: { max: 2048 } }",
        "validate: { severity: { nothing: warn } }",
        "validate: { platforms: [linux] }",
        "migrate: { prisma: a, database: postgres://u:p@h/d }",
        "migrate: { database: '${A}' }",
        "deploy: {}",
        "deploy: { http: { promote: { url: 'https://a.test' } }, command: { run: [a] } }",
        "deploy: { http: { promote: {} } }",
        "deploy: { http: { bearer: '${A}', basic: { user: '${A}', password: '${A}' }, promote: { url: 'https://a.test' } } }",
        "deploy: { command: { run: [] } }",
        "health: { probes: { a: { critical: true } } }",
        "health: { probes: { a: { tcp: 'a:1', url: 'https://a.test' } } }",
        "health: { monitor: { success-rate: 95 } }",
        "health: { smoke: [{ name: a }] }",
        "from-tag: x",
    ] {
        let text = with_production(body);
        assert!(!validator.is_valid(&value(&text)), "the schema lets this pass: {body}");
        super::refused(&text);
    }
}

#[test]
fn an_override_need_not_be_complete() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let over = |body: &str| {
        let mut all = value(&with_production("deploy: { http: { promote: { url: 'https://a.test' } } }"));
        all["services"]["api"]["environments"]["production"] = value(body);
        all
    };
    for body in ["deploy: { http: { promote: { timeout: 1m } } }", "gates: { approval: { minimum: 2 } }", "{}"] {
        assert!(validator.is_valid(&over(body)), "{body}");
    }
    for body in ["deploy: { http: {}, command: {} }", "gates: { freeze: [{ reason: x }] }", "unknown: 1"] {
        assert!(!validator.is_valid(&over(body)), "{body}");
    }
}

/// Walks a configuration along the schema, and notes which keys of which definition were met.
fn walk(schema: &Value, part: &Value, value: &Value, definition: &str, met: &mut BTreeSet<(String, String)>) {
    let name = part["$ref"].as_str().and_then(|reference| reference.strip_prefix("#/$defs/"));
    let (part, definition) = name.map_or((part, definition), |name| (&schema["$defs"][name], name));
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                if let Some(property) = part["properties"].get(key) {
                    met.insert((definition.to_owned(), key.clone()));
                    walk(schema, property, value, definition, met);
                } else if part["additionalProperties"].is_object() {
                    walk(schema, &part["additionalProperties"], value, definition, met);
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                let part = if part["items"].is_object() { &part["items"] } else { &part["anyOf"][1]["items"] };
                walk(schema, part, item, definition, met);
            }
        }
        _ => {}
    }
}

#[test]
fn the_complete_example_has_every_key() {
    let schema = schema();
    let mut met = BTreeSet::new();
    walk(&schema, &schema, &value(EVERY_KEY), "", &mut met);
    let mut missing = Vec::new();
    let definitions = schema["$defs"].as_object().unwrap().iter().map(|(name, part)| (name.as_str(), part));
    for (name, part) in definitions.chain([("", &schema)]).filter(|(name, _)| !name.ends_with("Override")) {
        for key in part["properties"].as_object().into_iter().flat_map(serde_json::Map::keys) {
            if !met.contains(&(name.to_owned(), key.clone())) {
                missing.push(format!("{name}.{key}"));
            }
        }
    }
    assert!(missing.is_empty(), "every-key.yml lacks {missing:?}");
}

#[test]
fn every_key_is_described_and_every_reference_leads_somewhere() {
    fn look(schema: &Value, part: &Value, at: &str) {
        match part {
            Value::Object(object) => {
                if let Some(reference) = object.get("$ref").and_then(Value::as_str) {
                    assert!(schema.pointer(&reference[1..]).is_some(), "{at}: {reference} leads nowhere");
                }
                for (key, property) in object.get("properties").and_then(Value::as_object).into_iter().flatten() {
                    assert!(property["description"].is_string(), "{at}.{key} is not described");
                }
                object.iter().for_each(|(key, part)| look(schema, part, &format!("{at}/{key}")));
            }
            Value::Array(items) => items.iter().for_each(|part| look(schema, part, at)),
            _ => {}
        }
    }
    let schema = schema();
    look(&schema, &schema, "");
}
