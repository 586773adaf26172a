//! The scripts of a release.

use std::path::Path;
use std::process::{Command, Output};

use super::root;

const IMAGE: &str = "ghcr.io/tidegate/tidegate@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn run(directory: &Path, program: &str, words: &[&str]) -> Output {
    let mut command = Command::new(program);
    for (name, value) in [("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_SYSTEM", "/dev/null")] {
        command.env(name, value);
    }
    for role in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{role}_NAME"), "ann").env(format!("GIT_{role}_EMAIL"), "ann@acme.test");
    }
    command.args(words).current_dir(directory).output().unwrap()
}

/// A repository with what the scripts of a release look at.
fn repository() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for file in
        ["action.yml", "script/release-commit", "script/pin", "examples/image-promotion/.github/workflows/promote.yml"]
    {
        let to = directory.path().join(file);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(root().join(file), to).unwrap();
    }
    for words in [&["init", "--quiet"][..], &["add", "--all"], &["commit", "--quiet", "--message", "Begin"]] {
        assert!(run(directory.path(), "git", words).status.success());
    }
    directory
}

#[test]
fn a_release_names_its_image_by_digest() {
    let directory = repository();
    let at = directory.path();
    for words in [["1.2.3", IMAGE], ["v1.2.3", "ghcr.io/tidegate/tidegate:v1"]] {
        assert_eq!(run(at, "script/release-commit", &words).status.code(), Some(2), "{words:?}");
    }
    let made = run(at, "script/release-commit", &["v1.2.3", IMAGE]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let tagged = run(at, "git", &["show", "v1.2.3:action.yml"]);
    let text = String::from_utf8(tagged.stdout).unwrap();
    assert!(text.contains(&format!("\n  image: docker://{IMAGE}\n")), "{text}");
    // Nothing else is different.
    let before = std::fs::read_to_string(root().join("action.yml")).unwrap();
    assert_eq!(text.replace(&format!("docker://{IMAGE}"), "Dockerfile"), before);
    workflow::model::Action::read(&at.join("action.yml")).unwrap();
    // And the examples follow.
    let commit = String::from_utf8(run(at, "git", &["rev-parse", "v1.2.3"]).stdout).unwrap();
    let commit =
        String::from_utf8(run(at, "git", &["rev-parse", &format!("{}^{{commit}}", commit.trim())]).stdout).unwrap();
    assert!(run(at, "script/pin", &["v1.2.3"]).status.success());
    let example = std::fs::read_to_string(at.join("examples/image-promotion/.github/workflows/promote.yml")).unwrap();
    let wanted = format!("uses: tidegate/tidegate/.github/workflows/image-promotion.yml@{} # v1.2.3\n", commit.trim());
    assert!(example.contains(&wanted), "{example}");
    assert_eq!(run(at, "script/pin", &["v9.9.9"]).status.code(), Some(2));
}
