//! The documentation: pages that are generated, and whether the others are true.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may give up with a clear message")]

mod configuration;
mod troubleshooting;
mod yaml;

use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Holds a page to what it is generated from; `UPDATE_GENERATED=1 cargo test --test docs` writes it anew.
fn hold(name: &str, wanted: &str) {
    let path = root().join(name);
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == wanted, "{name} is old; write it anew: UPDATE_GENERATED=1 cargo test --test docs");
}

/// Every page for users: the README, and what is below `docs`.
fn pages() -> Vec<(PathBuf, String)> {
    let mut paths = vec![root().join("README.md")];
    let mut directories = vec![root().join("docs"), root().join("examples")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    let text = |path: PathBuf| (path.strip_prefix(root()).unwrap().to_owned(), std::fs::read_to_string(path).unwrap());
    paths.into_iter().map(text).collect()
}
