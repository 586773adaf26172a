//! The systems that the examples describe, run from their YAML as it stands: only addresses and waits are changed.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may give up with a clear message")]

mod image_promotion;
mod pages;
mod release;
mod site;

use std::path::{Path, PathBuf};

use testbed::github::GitHub;
use workflow::Machine;

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_tidegate");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A repository that has an example's files, with texts in its configuration replaced. Each must be there.
fn example<'a>(name: &str, github: &'a GitHub, replaced: &[(&str, &str)]) -> Machine<'a> {
    let directory = root().join("examples").join(name);
    let machine = Machine::new(root(), "tidegate/tidegate", PROGRAM).files(&directory).on(github);
    let configuration = PathBuf::from(".github/tidegate.yml");
    let mut text = std::fs::read_to_string(directory.join(&configuration)).unwrap();
    for (from, to) in replaced {
        assert!(text.contains(from), "{from} is not in the configuration of {name}");
        text = text.replace(from, to);
    }
    machine.file(".github/tidegate.yml", text)
}
