//! `action.yml` and the README's tables, written from the tables of inputs and outputs.

use std::fmt::Write as _;

use super::inputs::INPUTS;
use super::outputs::OUTPUTS;

const HEAD: &str = "\
# Written from the tables in src/action; a test holds it to them (UPDATE_GENERATED=1 cargo test writes it anew).
name: Tidegate
description: Promotes a tested container image from one environment to the next, and takes it back when it does not live
author: The Tidegate maintainers
branding:
  icon: git-merge
  color: blue
";

// Kubernetes runners need the entrypoint here; the finaliser is the same program under another name, because the runner
// takes one word.
const TAIL: &str = "\
runs:
  using: docker
  image: Dockerfile
  entrypoint: /tidegate
  post-entrypoint: /tidegate-finalise
";

/// The action's metadata.
#[must_use]
pub fn action_yml() -> String {
    let mut out = HEAD.to_owned();
    out.push_str("inputs:\n");
    for one in INPUTS {
        let _ = write!(out, "  {}:\n    description: {}\n    required: false\n", one.name, quoted(one.about));
        let _ = writeln!(out, "    default: {}", quoted(one.default));
    }
    out.push_str("outputs:\n");
    for one in OUTPUTS {
        let _ = write!(out, "  {}:\n    description: {}\n", one.name, quoted(one.about));
    }
    out.push_str(TAIL);
    out
}

/// The README's table of inputs.
#[must_use]
pub fn inputs_table() -> String {
    let mut out = "| Input | Default | Meaning |\n|---|---|---|\n".to_owned();
    for one in INPUTS {
        let default = if one.default.is_empty() { String::new() } else { format!("`{}`", one.default) };
        let _ = writeln!(out, "| `{}` | {default} | {} |", one.name, one.about);
    }
    out
}

/// The README's table of outputs.
#[must_use]
pub fn outputs_table() -> String {
    let mut out = "| Output | Meaning |\n|---|---|\n".to_owned();
    for one in OUTPUTS {
        let _ = writeln!(out, "| `{}` | {} |", one.name, one.about);
    }
    out
}

/// A single-quoted YAML scalar: nothing in it is special but the quote itself.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    fn path(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
    }

    fn hold(name: &str, wanted: &str) {
        let path = path(name);
        if std::env::var_os("UPDATE_GENERATED").is_some() {
            std::fs::write(&path, wanted).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == wanted,
            "{name} is not what the tables say; write it anew with UPDATE_GENERATED=1 cargo test metadata"
        );
    }

    /// Replaces what stands between two markers of a document.
    fn with_section(document: &str, section: &str, content: &str) -> String {
        let (begin, end) = (format!("<!-- {section}:begin -->\n"), format!("<!-- {section}:end -->"));
        let (head, rest) = document.split_once(&begin).unwrap_or_else(|| panic!("no {begin}"));
        let (_, tail) = rest.split_once(&end).unwrap_or_else(|| panic!("no {end}"));
        format!("{head}{begin}{content}{end}{tail}")
    }

    #[test]
    fn the_action_is_what_the_tables_say() {
        hold("action.yml", &action_yml());
        let parsed: serde_json::Value = serde_yaml::from_str(&action_yml()).unwrap();
        assert_eq!(parsed["inputs"].as_object().unwrap().len(), INPUTS.len());
        assert_eq!(parsed["outputs"].as_object().unwrap().len(), OUTPUTS.len());
        assert_eq!(parsed["inputs"]["github-token"]["default"], "${{ github.token }}");
        for name in ["args", "entrypoint"] {
            assert!(parsed["inputs"].get(name).is_none(), "the runner keeps `{name}` for itself");
        }
    }

    #[test]
    fn the_readme_is_what_the_tables_say() {
        let readme = std::fs::read_to_string(path("README.md")).unwrap();
        let wanted = with_section(&with_section(&readme, "inputs", &inputs_table()), "outputs", &outputs_table());
        hold("README.md", &wanted);
    }

    #[test]
    fn outputs_are_those_of_the_table() {
        let run = crate::report::outputs::tests::a_run();
        let written: Vec<String> = crate::report::outputs::outputs(&run, &crate::report::outputs::Paths::default())
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        let table: Vec<&str> = OUTPUTS.iter().map(|one| one.name).collect();
        assert_eq!(written, table);
    }
}
