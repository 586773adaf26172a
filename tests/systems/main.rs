//! The systems that the examples describe, run from their YAML as it stands: only addresses and waits are changed.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may give up with a clear message")]

mod announcement;
mod image_promotion;
mod lambda;
mod pages;
mod production_deployment;
mod release;
mod site;
mod staging_deployment;

use std::path::Path;

use testbed::github::GitHub;
use testbed::postgres::Database;
use workflow::{Machine, Run};

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_tidegate");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A repository that has an example's files, with texts in its configuration replaced. Each must be there.
fn example<'a>(name: &str, github: &'a GitHub, replaced: &[(&str, &str)]) -> Machine<'a> {
    configured(name, Path::new(".github/tidegate.yml"), github, replaced)
}

/// The same where the configuration is at another path.
fn configured<'a>(name: &str, path: &Path, github: &'a GitHub, replaced: &[(&str, &str)]) -> Machine<'a> {
    let directory = root().join("examples").join(name);
    let machine = Machine::new(root(), "tidegate/tidegate", PROGRAM).files(&directory).on(github);
    let mut text = std::fs::read_to_string(directory.join(path)).unwrap();
    for (from, to) in replaced {
        assert!(text.contains(from), "{from} is not in the configuration of {name}");
        text = text.replace(from, to);
    }
    machine.file(path.to_str().unwrap(), text)
}

/// The states of the newest run of an operation, in their order.
fn states(database: &Database, operation: &str) -> Vec<String> {
    let sql = format!(
        "select coalesce(event->>'to', event->>'state') from tidegate.event where kind in ('state-changed', 'run-ended') \
         and run = (select id from tidegate.run where operation = '{operation}' order by opened_at desc, id desc limit 1) \
         order by seq"
    );
    std::iter::once("initializing".to_owned()).chain(database.psql(&sql).lines().map(str::to_owned)).collect()
}

/// Whether these states were visited in this order, with others in between or not.
fn is_visited(states: &[String], way: &[&str]) -> bool {
    let mut states = states.iter();
    way.iter().all(|wanted| states.any(|state| state == wanted))
}

/// Whether none of these secrets is in anything that people can see.
fn is_discreet(run: &Run, secrets: &[&str]) -> bool {
    let log = run.log();
    let mut shown = log.lines().filter(|line| !line.starts_with("::add-mask::"));
    shown.all(|line| secrets.iter().all(|secret| !line.contains(secret)))
}
