//! `docs/configuration.md`: every key of the configuration, from its schema, with an example of each.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value};
use tidegate::config::schema;

use super::hold;

/// A configuration that has every key.
const EVERY_KEY: &str = include_str!("../integration/config/every-key.yml");

const HEAD: &str = "\
# The configuration

<!-- Written from the model; UPDATE_GENERATED=1 cargo test --test docs writes it anew. -->

`.github/tidegate.yml`, YAML or JSON. For editors there is a schema, `schema/tidegate.schema.json`:

```yaml
# yaml-language-server: $schema=https://raw.githubusercontent.com/tidegate/tidegate/main/schema/tidegate.schema.json
version: 1
services:
  api: { image: ghcr.io/acme/api }
environments:
  staging: { tag: staging }
  production: { from: staging, tag: production }
```

- A duration is written `90s`, `15m`, `1h 30m`; a size `512MiB`, `2GB`; a share `95%`.
- A secret is `${NAME}` and nothing else; the step passes it under `env:`. A literal in its place is refused.
- `{{ … }}` is a template: `{{ service }}`, `{{ environment }}`, `{{ digest }}`, `{{ version }}`, `{{ revision }}`,
  `{{ sequence }}`, `{{ mode }}`, `{{ requestor }}`, `{{ deployment_id }}`, `{{ vars.name }}`; what is named and not there
  is an error.
- An unknown key is an error, with the key that was probably meant. A key whose feature this version does not have yet
  is refused when a run would need it.
- A service overrides any key of an environment under `services.<name>.environments.<environment>`: mappings are merged
  key by key, lists and scalars are replaced.
";

struct Writer<'a> {
    definitions: &'a Map<String, Value>,
    /// Where each definition is described.
    described: BTreeMap<String, String>,
    out: String,
}

/// A section that is still to be written: its path, its schema, and what the examples have there.
struct Section<'a> {
    path: String,
    schema: &'a Value,
    samples: Vec<&'a Value>,
}

impl<'a> Writer<'a> {
    /// The schema itself where it is only referred to, with the definition's name.
    fn resolve(&self, schema: &'a Value) -> (Option<&'a str>, &'a Value) {
        match schema["$ref"].as_str().and_then(|reference| reference.strip_prefix("#/$defs/")) {
            Some(name) => (Some(name), &self.definitions[name]),
            None => (None, schema),
        }
    }

    fn section(&mut self, section: &Section<'a>) {
        let title = if section.path.is_empty() { "The file".to_owned() } else { format!("`{}`", section.path) };
        let _ = write!(self.out, "\n## {title}\n");
        if let Some(about) = section.schema["description"].as_str().filter(|_| !section.path.is_empty()) {
            let _ = write!(self.out, "\n{about}\n");
        }
        let choice = choice(section.schema);
        if !choice.is_empty() {
            let _ = write!(self.out, "\nExactly one of {}.\n", list(&choice));
        }
        self.out.push_str("\n| Key | Example | Meaning |\n|---|---|---|\n");
        let required: Vec<&str> =
            section.schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let properties = section.schema["properties"].as_object().expect("a section has keys");
        let mut below = Vec::new();
        for (key, property) in properties {
            let path = if section.path.is_empty() { key.clone() } else { format!("{}.{key}", section.path) };
            let samples: Vec<&Value> = section.samples.iter().filter_map(|sample| sample.get(key)).collect();
            let mut about = property["description"].as_str().unwrap_or_default().to_owned();
            if required.contains(&key.as_str()) {
                about.push_str(" Required.");
            }
            let words = self.words(property);
            if !words.is_empty() {
                let _ = write!(about, " One of {}.", words.join(", "));
            }
            match self.inner(property, &path, samples.clone()) {
                Some((name, inner)) => match name.and_then(|name| self.described.get(name)) {
                    Some(at) => {
                        let _ = write!(about, " As in {}.", link(at));
                    }
                    None => {
                        let _ = write!(about, " See {}.", link(&inner.path));
                        if let Some(name) = name {
                            self.described.insert(name.to_owned(), inner.path.clone());
                        }
                        below.push(inner);
                    }
                },
                None if is_empty(property) => {}
                None => {}
            }
            let example = samples.iter().map(|sample| flow(sample)).find(|text| text.len() <= 70);
            let example = example.map_or_else(String::new, |text| format!("`{text}`"));
            let _ = writeln!(self.out, "| `{key}` | {} | {} |", cell(&example), cell(&about));
        }
        for one in &below {
            self.section(one);
        }
    }

    /// The section in or below a key, where there is one.
    fn inner(
        &self,
        property: &'a Value,
        path: &str,
        samples: Vec<&'a Value>,
    ) -> Option<(Option<&'a str>, Section<'a>)> {
        let (name, schema) = self.resolve(property);
        if schema["properties"].is_object() {
            return Some((name, Section { path: path.to_owned(), schema, samples }));
        }
        if schema["additionalProperties"].is_object() {
            let below = samples.iter().filter_map(|sample| sample.as_object()).flat_map(Map::values).collect();
            return self.inner(&schema["additionalProperties"], &format!("{path}.<name>"), below);
        }
        if schema["items"].is_object() {
            let below = samples.iter().filter_map(|sample| sample.as_array()).flatten().collect();
            return self.inner(&schema["items"], &format!("{path}[]"), below);
        }
        let variants = ["anyOf", "oneOf"].iter().find_map(|key| schema[*key].as_array())?;
        variants.iter().find_map(|variant| self.inner(variant, path, samples.clone()))
    }

    /// The words of which a value is one.
    fn words(&self, property: &'a Value) -> Vec<String> {
        let (_, schema) = self.resolve(property);
        let schema = if schema["items"].is_object() { self.resolve(&schema["items"]).1 } else { schema };
        let constants = schema["oneOf"].as_array().into_iter().flatten();
        let named = constants.filter_map(|one| {
            let word = one["const"].as_str()?;
            Some(match one["description"].as_str() {
                Some(about) => format!("`{word}` ({})", about.trim_end_matches('.')),
                None => format!("`{word}`"),
            })
        });
        let plain = schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
        named.chain(plain.map(|word| format!("`{word}`"))).collect()
    }
}

fn is_empty(property: &Value) -> bool {
    property.as_object().is_some_and(Map::is_empty)
}

/// The keys of which exactly one is there.
fn choice(schema: &Value) -> Vec<&str> {
    let one_of = schema["oneOf"].as_array().into_iter().flatten();
    one_of.filter_map(|one| one["required"][0].as_str()).collect()
}

fn list(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// A link to a section, as GitHub makes its anchors.
fn link(path: &str) -> String {
    let anchor: String = path.chars().filter(|one| one.is_alphanumeric() || *one == '-').collect();
    format!("[`{path}`](#{})", anchor.to_lowercase())
}

/// A cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// A value on one line, as people write it.
fn flow(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(key, value)| format!("{}: {}", plain(key), flow(value))).collect();
            format!("{{ {} }}", fields.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::String(text) => plain(text),
        other => other.to_string(),
    }
}

/// A text, in quotes where YAML or a reader would take it for something else.
fn plain(text: &str) -> String {
    let is_plain = !text.is_empty()
        && text.chars().all(|one| one.is_alphanumeric() || "-_./%@+".contains(one))
        && !text.starts_with(['-', '@', '%', '.'])
        && text.parse::<f64>().is_err()
        && !["true", "false", "null", "yes", "no", "on", "off"].contains(&text);
    if is_plain { text.to_owned() } else { Value::String(text.to_owned()).to_string() }
}

fn page() -> String {
    let schema = schema();
    let example: Value = serde_yaml::from_str(EVERY_KEY).unwrap();
    let definitions = schema["$defs"].as_object().unwrap();
    let mut writer = Writer { definitions, described: BTreeMap::new(), out: HEAD.to_owned() };
    // What a service overrides is said once, above.
    writer.described.insert("Override".to_owned(), "environments.<name>".to_owned());
    writer.section(&Section { path: String::new(), schema: &schema, samples: vec![&example] });
    writer.out
}

#[test]
fn the_page_is_current() {
    hold("docs/configuration.md", &page());
}

#[test]
fn every_section_is_described_and_every_link_leads_somewhere() {
    let page = page();
    let anchor = |heading: &str| -> String {
        heading
            .chars()
            .filter(|one| one.is_alphanumeric() || *one == '-' || *one == ' ')
            .collect::<String>()
            .to_lowercase()
    };
    let anchors: Vec<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(anchor)
        .map(|text| text.replace(' ', "-"))
        .collect();
    let links = page.match_indices("](#").map(|(at, _)| page[at + 3..].split(')').next().unwrap().to_owned());
    for link in links {
        assert!(anchors.contains(&link), "#{link} leads nowhere");
    }
    for section in ["environments.<name>.gates.checks", "environments.<name>.health.monitor", "notify.<name>"] {
        assert!(page.contains(&format!("## `{section}`")), "{section}");
    }
}
