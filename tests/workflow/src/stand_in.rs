//! What stands in for actions that are not the project's.
//!
//! Each knows the inputs of the action that it stands in for, as far as workflows here use them; another input panics.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// What an action is given.
pub struct Use<'a> {
    /// Its inputs.
    pub with: &'a BTreeMap<String, String>,
    /// Its variables.
    pub env: &'a BTreeMap<String, String>,
    /// The job's workspace.
    pub workspace: &'a Path,
    /// What there is to be checked out.
    pub checkout: &'a Path,
    pub(crate) kept: &'a Path,
    pub(crate) artifacts: &'a Mutex<BTreeMap<String, PathBuf>>,
    /// The commit of the run.
    pub commit: &'a str,
}

/// What it did.
#[derive(Debug, Clone, Default)]
pub struct Done {
    /// Whether it succeeded.
    pub success: bool,
    /// Its outputs.
    pub outputs: BTreeMap<String, String>,
    /// What it adds to the variables of the steps that follow.
    pub env: BTreeMap<String, String>,
    /// What it prints.
    pub log: String,
}

impl Done {
    /// A success.
    #[must_use]
    pub fn well() -> Self {
        Self { success: true, ..Self::default() }
    }

    /// A failure.
    #[must_use]
    pub fn failed(log: &str) -> Self {
        Self { log: log.to_owned(), ..Self::default() }
    }

    /// With an output.
    #[must_use]
    pub fn output(mut self, name: &str, value: &str) -> Self {
        self.outputs.insert(name.to_owned(), value.to_owned());
        self
    }

    /// With a variable for the steps that follow.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }
}

/// What stands in for an action.
pub type StandIn = Arc<dyn Fn(&Use<'_>) -> Done + Send + Sync>;

impl Use<'_> {
    /// An input; nothing where it is not given.
    #[must_use]
    pub fn input(&self, name: &str) -> &str {
        self.with.get(name).map_or("", String::as_str)
    }

    /// An input that must be given.
    ///
    /// # Panics
    /// When it is not.
    #[must_use]
    pub fn needed(&self, name: &str) -> &str {
        let value = self.input(name);
        assert!(!value.is_empty(), "the action needs `{name}`");
        value
    }

    /// Refuses inputs that are not among these.
    ///
    /// # Panics
    /// When there is one.
    pub fn knows(&self, names: &[&str]) {
        let unknown = self.with.keys().find(|name| !names.contains(&name.as_str()));
        assert!(unknown.is_none(), "the input `{}` is not known here", unknown.expect("looked at"));
    }

    fn lines(&self, name: &str) -> Vec<String> {
        self.input(name).lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }
}

/// The stand-ins for the actions that need nothing of a test.
pub(crate) fn known() -> BTreeMap<String, StandIn> {
    let mut known: BTreeMap<String, StandIn> = BTreeMap::new();
    known.insert("actions/checkout".to_owned(), Arc::new(checkout));
    known.insert("actions/upload-artifact".to_owned(), Arc::new(upload));
    known.insert("actions/download-artifact".to_owned(), Arc::new(download));
    known.insert("actions/setup-node".to_owned(), Arc::new(setup_node));
    known.insert("docker/login-action".to_owned(), Arc::new(docker_login));
    known.insert("docker/setup-buildx-action".to_owned(), Arc::new(nothing));
    known.insert("docker/setup-qemu-action".to_owned(), Arc::new(nothing));
    known.insert("aws-actions/configure-aws-credentials".to_owned(), Arc::new(aws_credentials));
    known
}

fn checkout(given: &Use<'_>) -> Done {
    given.knows(&["persist-credentials", "ref", "fetch-depth", "sparse-checkout"]);
    assert_eq!(given.input("persist-credentials"), "false", "the token would be left in the workspace");
    let wanted = given.input("ref");
    assert!(wanted.is_empty() || wanted == given.commit, "only {} is there to be checked out", given.commit);
    crate::files::copy(given.checkout, given.workspace);
    Done::well()
}

/// Hidden files and directories are left out unless asked for, as upload-artifact does since its version 4.4.
fn upload(given: &Use<'_>) -> Done {
    given.knows(&["name", "path", "retention-days", "if-no-files-found", "include-hidden-files", "overwrite"]);
    let name = given.needed("name");
    let is_named = !name.contains(['"', ':', '<', '>', '|', '*', '?', '\r', '\n', '\\', '/']);
    assert!(is_named, "an artifact cannot be called `{name}`");
    let days: u32 = given.needed("retention-days").parse().expect("a number of days");
    // A repository may allow 400 in a private one, 90 in a public one; more is cut down with a warning.
    assert!((1..=400).contains(&days), "an artifact cannot be kept for {days} days");
    let with_hidden = given.input("include-hidden-files") == "true";
    let found = crate::files::matching(given.workspace, &given.lines("path")).expect("patterns of paths");
    let is_shown = |path: &PathBuf| {
        let below = path.strip_prefix(given.workspace).unwrap_or(path);
        with_hidden || !below.components().any(|part| part.as_os_str().to_string_lossy().starts_with('.'))
    };
    let found: Vec<PathBuf> = found.into_iter().filter(is_shown).collect();
    if found.is_empty() {
        let text = format!("no files were found with the provided path: {}", given.input("path"));
        return match given.input("if-no-files-found") {
            "error" => Done::failed(&text),
            "" | "warn" | "ignore" => Done { log: text, ..Done::well() },
            other => panic!("if-no-files-found: `{other}` is not known"),
        };
    }
    let directory = given.kept.join("artifacts").join(name);
    let mut artifacts = given.artifacts.lock().expect("no thread panicked here");
    let is_new = artifacts.insert(name.to_owned(), directory.clone()).is_none();
    if !is_new && given.input("overwrite") != "true" {
        return Done::failed(&format!("an artifact with the name `{name}` already exists on the workflow run"));
    }
    // Paths are kept below what one pattern names before its first wildcard, else from where those of all files part.
    let root = match given.lines("path").as_slice() {
        [one] if given.workspace.join(named(one)).is_dir() => given.workspace.join(named(one)),
        _ => root_of(&found),
    };
    for path in &found {
        let target = directory.join(path.strip_prefix(&root).expect("it is below"));
        std::fs::create_dir_all(target.parent().expect("a file has a directory")).expect("a directory for artifacts");
        std::fs::copy(path, target).expect("a file is copied");
    }
    Done { log: format!("{} files", found.len()), ..Done::well() }
}

/// What a pattern names before its first wildcard.
fn named(pattern: &str) -> PathBuf {
    pattern.split('/').take_while(|part| !part.contains(['*', '?', '['])).collect()
}

fn root_of(paths: &[PathBuf]) -> PathBuf {
    let mut root = paths[0].parent().expect("a file has a directory").to_owned();
    while !paths.iter().all(|path| path.starts_with(&root)) {
        root.pop();
    }
    root
}

fn download(given: &Use<'_>) -> Done {
    given.knows(&["name", "pattern", "merge-multiple", "path"]);
    let artifacts = given.artifacts.lock().expect("no thread panicked here");
    if !given.input("pattern").is_empty() {
        let start = given.input("pattern").strip_suffix('*').expect("a pattern that ends with a star");
        assert_eq!(given.input("merge-multiple"), "true", "each into a directory of its own is not known here");
        let found = artifacts.iter().filter(|(name, _)| name.starts_with(start));
        found.for_each(|(_, directory)| crate::files::copy(directory, &given.workspace.join(given.input("path"))));
        return Done::well();
    }
    let name = given.needed("name");
    let Some(directory) = artifacts.get(name) else {
        return Done::failed(&format!("unable to download artifact: no artifact `{name}`"));
    };
    crate::files::copy(directory, &given.workspace.join(given.input("path")));
    Done::well()
}

fn setup_node(given: &Use<'_>) -> Done {
    given.knows(&["node-version", "node-version-file", "cache", "package-manager-cache"]);
    Done::well()
}

/// It writes the runner's own Docker configuration, which a container action does not see.
fn docker_login(given: &Use<'_>) -> Done {
    given.knows(&["registry", "username", "password"]);
    if given.input("username").is_empty() || given.input("password").is_empty() {
        return Done::failed("Username and password required");
    }
    Done::well()
}

fn nothing(given: &Use<'_>) -> Done {
    given.knows(&[]);
    Done::well()
}

fn aws_credentials(given: &Use<'_>) -> Done {
    given.knows(&["aws-region", "role-to-assume", "role-session-name", "role-duration-seconds"]);
    assert!(given.needed("role-to-assume").starts_with("arn:aws"), "a role has an ARN");
    Done::well()
        .variable("AWS_REGION", given.needed("aws-region"))
        .variable("AWS_DEFAULT_REGION", given.needed("aws-region"))
        .variable("AWS_ACCESS_KEY_ID", "AKIA-of-a-test")
        .variable("AWS_SECRET_ACCESS_KEY", "a-secret-key")
        .variable("AWS_SESSION_TOKEN", "a-session")
}
