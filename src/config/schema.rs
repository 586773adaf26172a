//! The JSON schema of the configuration, for editors and for whoever writes one by program.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::configuration::RawConfiguration;
use super::section::at_most_one;

/// What a service overrides: the environment's settings, of which nothing is required.
pub(super) const OVERRIDE: &str = "Override";

/// The JSON schema (draft 2020-12) of a configuration.
#[must_use]
pub fn schema() -> Value {
    let settings = schemars::generate::SchemaSettings::draft2020_12();
    let mut schema = settings.into_generator().into_root_schema_for::<RawConfiguration>().to_value();
    relax_overrides(&mut schema);
    plain(&mut schema);
    schema["title"] = json!("Tidegate configuration");
    schema
}

/// Makes what can be overridden in parts optional: below `Override`, required keys are not, and of a choice at most one
/// is named. Lists are replaced as a whole, so their items stay as they are.
fn relax_overrides(schema: &mut Value) {
    let Some(definitions) = schema.get_mut("$defs").and_then(Value::as_object_mut) else { return };
    let strict = strict_definitions(definitions);
    for name in &strict {
        let Some(mut definition) = definitions.get(name).cloned() else { continue };
        relax(&mut definition);
        for reference in references(&mut definition) {
            if strict.iter().any(|name| *reference == format!("#/$defs/{name}")) {
                reference.push_str(OVERRIDE);
            }
        }
        let relaxed = if name == OVERRIDE { name.clone() } else { format!("{name}{OVERRIDE}") };
        definitions.insert(relaxed, definition);
    }
}

/// The definitions below `Override` that require something, themselves or in what they refer to; `Override` too.
fn strict_definitions(definitions: &Map<String, Value>) -> BTreeSet<String> {
    let below = |name: &str| -> Vec<String> {
        let mut definition = definitions.get(name).cloned().unwrap_or_default();
        let found = references(&mut definition);
        found.into_iter().filter_map(|reference| reference.strip_prefix("#/$defs/").map(ToOwned::to_owned)).collect()
    };
    let mut reached = BTreeSet::new();
    let mut waiting = vec![OVERRIDE.to_owned()];
    while let Some(name) = waiting.pop() {
        if reached.insert(name.clone()) {
            waiting.extend(below(&name));
        }
    }
    let requires = |name: &String| {
        definitions
            .get(name)
            .is_some_and(|definition| definition.get("required").is_some() || choice(definition).is_some())
    };
    let mut strict: BTreeSet<String> =
        reached.iter().filter(|name| *name == OVERRIDE || requires(name)).cloned().collect();
    loop {
        let more: Vec<String> = reached
            .iter()
            .filter(|name| !strict.contains(*name) && below(name).iter().any(|name| strict.contains(name)))
            .cloned()
            .collect();
        if more.is_empty() {
            return strict;
        }
        strict.extend(more);
    }
}

/// The keys of which a definition wants exactly one.
fn choice(definition: &Value) -> Option<Vec<String>> {
    let one_of = definition.get("oneOf")?.as_array()?;
    one_of.iter().map(|one| one["required"][0].as_str().map(ToOwned::to_owned)).collect()
}

/// Takes out of a definition what it requires.
fn relax(definition: &mut Value) {
    let choice = choice(definition);
    let Some(object) = definition.as_object_mut() else { return };
    object.remove("required");
    if let Some(keys) = choice {
        object.remove("oneOf");
        if let Some(all) = object.entry("allOf").or_insert_with(|| json!([])).as_array_mut() {
            all.push(at_most_one(&keys));
        }
    }
}

/// The references from a definition to those of its keys' values, which are merged; not to those of lists' items.
fn references(definition: &mut Value) -> Vec<&mut String> {
    let Value::Object(object) = definition else { return Vec::new() };
    let mut found = Vec::new();
    for (name, part) in object {
        match (name.as_str(), part) {
            ("$ref", Value::String(reference)) => found.push(reference),
            ("properties", Value::Object(properties)) => found.extend(properties.values_mut().flat_map(references)),
            ("additionalProperties", part) => found.extend(references(part)),
            _ => {}
        }
    }
    found
}

/// Takes the `Raw` off the names, which says something about the program and nothing about the file, and the line
/// breaks out of the descriptions.
fn plain(schema: &mut Value) {
    let name_of = |name: &str| name.strip_prefix("Raw").unwrap_or(name).to_owned();
    match schema {
        Value::Object(object) => {
            if let Some(Value::Object(definitions)) = object.get_mut("$defs") {
                *definitions = std::mem::take(definitions)
                    .into_iter()
                    .map(|(name, value)| (name_of(&name), value))
                    .collect::<Map<_, _>>();
            }
            if let Some(Value::String(reference)) = object.get_mut("$ref")
                && let Some(name) = reference.strip_prefix("#/$defs/")
            {
                *reference = format!("#/$defs/{}", name_of(name));
            }
            if let Some(Value::String(description)) = object.get_mut("description") {
                *description = description.replace('\n', " ");
            }
            object.values_mut().for_each(plain);
        }
        Value::Array(items) => items.iter_mut().for_each(plain),
        _ => {}
    }
}
