//! The tree itself: what must not be in it, and what its documents promise.

use std::path::{Path, PathBuf};
use std::process::Command;

use regex::Regex;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The text of every file of the repository, by its path below the root; what git ignores is left out.
fn texts() -> Vec<(PathBuf, String)> {
    let ignored = std::fs::read_to_string(root().join(".gitignore")).unwrap();
    let ignored: Vec<PathBuf> = ignored.lines().map(|line| root().join(line.trim_matches('/'))).collect();
    let mut texts = Vec::new();
    let mut directories = vec![root().to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if ignored.contains(&path) || path.file_name().is_some_and(|name| name == ".git" || name == ".tidegate") {
                continue;
            }
            if path.is_dir() {
                directories.push(path);
            } else if let Ok(text) = std::fs::read_to_string(&path) {
                texts.push((path.strip_prefix(root()).unwrap().to_owned(), text));
            }
        }
    }
    assert!(texts.len() > 100, "the tree was not found");
    texts
}

/// `path:line: what` for everything that matches.
fn found(texts: &[(PathBuf, String)], wanted: &Regex) -> Vec<String> {
    let places = texts.iter().flat_map(|(path, text)| text.lines().enumerate().map(move |place| (path, place)));
    places
        .filter_map(|(path, (number, line))| {
            Some(format!("{}:{}: {}", path.display(), number + 1, wanted.find(line)?.as_str()))
        })
        .collect()
}

#[test]
fn no_secret_is_in_the_tree() {
    // The forms in which services give them, so that a made-up one in a test is not meant.
    let secrets = Regex::new(concat!(
        r"gh[oprsu]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9]{22}_|AKIA[A-Z0-9]{16}|xox[abpr]-[0-9]{8,}|xkeysib-[a-f0-9]{64}",
        r"|hooks\.slack\.com/services/T[A-Z0-9]{8,}/|eyJ[A-Za-z0-9_-]{20,}\.eyJ[A-Za-z0-9_-]{20,}\.",
        "|-----BEGIN [A-Z ]*PRIVATE KEY-----",
    ))
    .unwrap();
    // It does find one.
    assert!(secrets.is_match(&format!("token: ghp_{}", "a".repeat(36))));
    assert_eq!(found(&texts(), &secrets), Vec::<String>::new());
}

#[test]
fn no_path_of_somebodys_machine_is_in_the_tree() {
    let directory = root().to_str().unwrap();
    let homes = Regex::new(r"/(home|Users)/[a-z][a-z0-9]*/|/(root)/[.a-z]").unwrap();
    // In two pieces, or it would find itself.
    assert!(homes.is_match(&["/home", "/ann/tidegate"].concat()));
    assert_eq!(found(&texts(), &homes), Vec::<String>::new());
    // A checkout at the top of a file system would be found everywhere.
    if directory.matches('/').count() > 1 {
        let here = Regex::new(&regex::escape(directory)).unwrap();
        assert_eq!(found(&texts(), &here), Vec::<String>::new());
    }
}

#[test]
fn scripts_are_well_formed() {
    let scripts: Vec<PathBuf> =
        texts().into_iter().filter(|(_, text)| text.starts_with("#!/usr/bin/env bash")).map(|(path, _)| path).collect();
    assert!(scripts.contains(&PathBuf::from("script/test")), "{scripts:?}");
    for script in scripts {
        let output = Command::new("bash").arg("-n").arg(root().join(&script)).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn documents_name_files_that_exist() {
    let link = Regex::new(r"\]\(([^)#\s]+)(?:#[^)]*)?\)").unwrap();
    let path = Regex::new(r"`([\w.-]+(?:/[\w.-]+)*/?)`").unwrap();
    let mut missing = Vec::new();
    for (document, text) in texts() {
        if document.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let beside = root().join(&document).parent().unwrap().to_owned();
        let linked = link.captures_iter(&text).map(|found| found[1].to_owned()).filter(|to| !to.contains("://"));
        missing.extend(linked.filter(|to| !beside.join(to).exists()).map(|to| format!("{}: {to}", document.display())));
        // What begins with a directory of the repository is meant to be in it; hidden ones are in users' repositories too.
        let named = path
            .captures_iter(&text)
            .map(|found| found[1].to_owned())
            .filter(|name| !name.starts_with('.'))
            .filter(|name| name.split_once('/').is_some_and(|(first, _)| root().join(first).is_dir()));
        missing.extend(named.filter(|to| !root().join(to).exists()).map(|to| format!("{}: {to}", document.display())));
    }
    assert_eq!(missing, Vec::<String>::new());
}

/// The rooms of ARCHITECTURE.md, from the top to the bottom; those of one line do not know each other.
const ROOMS: [&[&str]; 8] = [
    &["action"],
    &["stages"],
    &["gates", "checks", "deploy", "migrate", "health", "notify", "report", "export"],
    &["scan", "signature", "sbom", "aws"],
    &["github", "registry", "ledger", "ssh"],
    &["config"],
    &["http", "process"],
    &["promotion"],
];

#[test]
fn imports_run_one_way() {
    let level = |room: &str| ROOMS.iter().position(|rooms| rooms.contains(&room));
    let import = Regex::new(r"\bcrate::([a-z_]+)").unwrap();
    let map = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(root().join("src")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let room = path.file_name().unwrap().to_str().unwrap().to_owned();
            assert!(map.contains(&format!("      {room}/ ")), "{room} is not on the map");
            assert!(level(&room).is_some(), "{room} has no place");
        }
    }
    for (path, text) in texts() {
        let Some(room) = path.strip_prefix("src").ok().and_then(|path| path.iter().next()?.to_str()) else { continue };
        let Some(here) = level(room) else { continue };
        for (number, line) in text.lines().enumerate() {
            for import in import.captures_iter(line) {
                let other = &import[1];
                if other != room && level(other).is_some_and(|there| there <= here) {
                    wrong.push(format!("{}:{}: {}", path.display(), number + 1, &import[0]));
                }
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}
