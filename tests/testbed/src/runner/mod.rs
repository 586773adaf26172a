//! What GitHub's runner gives a container action, and what it makes of what the action leaves.
//!
//! ```no_run
//! use testbed::runner::Runner;
//!
//! let step = Runner::new("target/debug/tidegate").input("image", "127.0.0.1:5000/acme/api:staging");
//! let finished = step.run();
//! assert_eq!(finished.code, Some(0), "{finished}");
//! assert_eq!(finished.outputs().expect("well-formed outputs")["decision"], "proceed");
//! assert!(finished.commands().iter().all(|command| command.name != "set-output"));
//! ```

pub mod commands;
mod container;
pub mod files;
mod finished;

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, kill_process, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;

pub use rustix::process::Signal;

pub use self::commands::Command;
use self::container::{Action, Container};
pub use self::finished::Finished;
use crate::random;

/// The files through which a step speaks to the runner, and the variables that name them.
const FILES: [&str; 5] = ["GITHUB_OUTPUT", "GITHUB_STATE", "GITHUB_ENV", "GITHUB_PATH", "GITHUB_STEP_SUMMARY"];

/// Where the runner writes the event that started the workflow.
const EVENT: &str = "workflow/event.json";

/// A step that can be run, several times too. Clones share the workspace, as the steps of a job do.
#[derive(Clone)]
pub struct Runner {
    program: PathBuf,
    arguments: Vec<String>,
    variables: BTreeMap<String, String>,
    timeout: Duration,
    directory: Arc<TempDir>,
    action: Option<Action>,
}

impl Runner {
    /// A step of a workflow that runs this program, with the variables that the runner sets, and no others.
    ///
    /// GitHub's API is at an address where nothing listens, so that no test reaches the real one by mistake.
    ///
    /// # Panics
    /// When there is no such program, or no place for the workspace.
    #[must_use]
    pub fn new(program: impl AsRef<Path>) -> Self {
        let mut runner = Self::outside_actions(program);
        let directory = runner.directory.path().to_owned();
        let path = |name: &str| directory.join(name).display().to_string();
        let variables = [
            ("CI", "true"),
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_ACTION", "__acme_tidegate"),
            ("GITHUB_ACTION_REPOSITORY", "acme/tidegate"),
            ("GITHUB_ACTOR", "octocat"),
            ("GITHUB_ACTOR_ID", "583231"),
            ("GITHUB_API_URL", "http://127.0.0.1:9"),
            ("GITHUB_EVENT_NAME", "workflow_dispatch"),
            ("GITHUB_GRAPHQL_URL", "http://127.0.0.1:9/graphql"),
            ("GITHUB_JOB", "promote"),
            ("GITHUB_REF", "refs/heads/main"),
            ("GITHUB_REF_NAME", "main"),
            ("GITHUB_REF_PROTECTED", "true"),
            ("GITHUB_REF_TYPE", "branch"),
            ("GITHUB_REPOSITORY", "acme/api"),
            ("GITHUB_REPOSITORY_ID", "1296269"),
            ("GITHUB_REPOSITORY_OWNER", "acme"),
            ("GITHUB_REPOSITORY_OWNER_ID", "9919"),
            ("GITHUB_RETENTION_DAYS", "90"),
            ("GITHUB_RUN_ATTEMPT", "1"),
            ("GITHUB_RUN_ID", "16000000001"),
            ("GITHUB_RUN_NUMBER", "7"),
            ("GITHUB_SERVER_URL", "https://github.com"),
            ("GITHUB_SHA", "0123456789abcdef0123456789abcdef01234567"),
            ("GITHUB_TRIGGERING_ACTOR", "octocat"),
            ("GITHUB_WORKFLOW", "Promote"),
            ("GITHUB_WORKFLOW_REF", "acme/api/.github/workflows/promote.yml@refs/heads/main"),
            ("GITHUB_WORKFLOW_SHA", "0123456789abcdef0123456789abcdef01234567"),
            ("RUNNER_ARCH", "X64"),
            ("RUNNER_ENVIRONMENT", "github-hosted"),
            ("RUNNER_NAME", "GitHub Actions 1"),
            ("RUNNER_OS", "Linux"),
            ("RUNNER_TOOL_CACHE", "/opt/hostedtoolcache"),
        ];
        runner.variables.extend(variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let places = [
            ("GITHUB_WORKSPACE", "workspace"),
            ("GITHUB_EVENT_PATH", EVENT),
            ("RUNNER_TEMP", "temp"),
            ("RUNNER_WORKSPACE", "workspace"),
        ];
        runner.variables.extend(places.map(|(name, place)| (name.to_owned(), path(place))));
        runner.event("workflow_dispatch", &json!({"inputs": {}, "ref": "refs/heads/main"}))
    }

    /// The program as a person runs it in a directory, without anything of GitHub's.
    ///
    /// # Panics
    /// When there is no such program, or no place for the workspace.
    #[must_use]
    pub fn outside_actions(program: impl AsRef<Path>) -> Self {
        let program = std::path::absolute(program).expect("the program's path");
        assert!(program.exists(), "{} is not there to be run", program.display());
        let directory = TempDir::new().expect("a directory for the workspace");
        for name in ["workspace", "home", "temp", "commands", "workflow"] {
            std::fs::create_dir(directory.path().join(name)).expect("a directory in the runner's directory");
        }
        let variables = BTreeMap::from([
            ("HOME".to_owned(), directory.path().join("home").display().to_string()),
            ("PATH".to_owned(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
        ]);
        let timeout = Duration::from_secs(120);
        Self { program, arguments: Vec::new(), variables, timeout, directory: Arc::new(directory), action: None }
    }

    /// Sets an input: `with:` of the step.
    #[must_use]
    pub fn input(self, name: &str, value: &str) -> Self {
        // The runner keeps hyphens (Handler.cs, AddInputsToEnvironment).
        let name = format!("INPUT_{}", name.replace(' ', "_").to_uppercase());
        self.env(&name, value)
    }

    /// Sets inputs that the step does not give: the runner sets them to nothing.
    #[must_use]
    pub fn absent_inputs(self, names: &[&str]) -> Self {
        names.iter().fold(self, |runner, name| runner.input(name, ""))
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Takes a variable away.
    #[must_use]
    pub fn without_env(mut self, name: &str) -> Self {
        self.variables.remove(name);
        self
    }

    /// Runs another program, or the same under another name, in the same workspace: e.g. the post step.
    ///
    /// # Panics
    /// When there is no such program.
    #[must_use]
    pub fn program(mut self, program: impl AsRef<Path>) -> Self {
        self.program = std::path::absolute(program).expect("the program's path");
        assert!(self.program.exists(), "{} is not there to be run", self.program.display());
        self
    }

    /// Adds words to the command line.
    #[must_use]
    pub fn arguments(mut self, words: &[&str]) -> Self {
        self.arguments.extend(words.iter().map(|&word| word.to_owned()));
        self
    }

    /// Sets the event that started the workflow.
    ///
    /// # Panics
    /// When its file cannot be written.
    #[must_use]
    pub fn event(self, name: &str, payload: &Value) -> Self {
        std::fs::write(self.directory.path().join(EVENT), payload.to_string()).expect("the event is written");
        self.env("GITHUB_EVENT_NAME", name)
    }

    /// How long the program may take; two minutes by default.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The directory in which the program runs.
    #[must_use]
    pub fn workspace(&self) -> PathBuf {
        self.directory.path().join("workspace")
    }

    /// Writes a file into the workspace, with the directories above it.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.workspace().join(path);
        let parent = path.parent().expect("a file in the workspace has a directory");
        std::fs::create_dir_all(parent).expect("a directory in the workspace");
        std::fs::write(path, content).expect("a file in the workspace");
        self
    }

    /// Runs the program to its end, blocking the calling thread.
    ///
    /// # Panics
    /// When it cannot be started, or does not end in time; with what it printed.
    #[must_use]
    pub fn run(&self) -> Finished {
        self.start().wait()
    }

    /// Starts the program.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(&self) -> Running {
        let files = self.directory.path().join("commands").join(random::hex(8));
        std::fs::create_dir(&files).expect("a directory for the step's files");
        let mut variables = self.variables.clone();
        if self.variables.contains_key("GITHUB_ACTIONS") {
            for name in FILES {
                let file = files.join(name);
                std::fs::write(&file, "").expect("the step's file");
                // A test may have set it to something else on purpose.
                variables.entry(name.to_owned()).or_insert_with(|| file.display().to_string());
            }
        }
        let (mut command, container) = match &self.action {
            Some(action) => {
                let variables = variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
                let (command, container) = action.command(self.directory.path(), variables, &self.arguments);
                (command, Some(container))
            }
            None => {
                let mut command = std::process::Command::new(&self.program);
                command.args(&self.arguments).env_clear().envs(&variables);
                (command, None)
            }
        };
        command.current_dir(self.workspace());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().expect("the program can be started");
        let stdout = Stream::read(child.stdout.take().expect("standard output is piped"));
        let stderr = Stream::read(child.stderr.take().expect("standard error is piped"));
        Running {
            child,
            container,
            stdout,
            stderr,
            files,
            started: Instant::now(),
            timeout: self.timeout,
            step: self.clone(),
        }
    }
}

/// What a program has printed so far.
struct Stream {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Stream {
    fn read(mut pipe: impl Read + Send + 'static) -> Self {
        let bytes = Arc::<Mutex<Vec<u8>>>::default();
        let sink = Arc::clone(&bytes);
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(length @ 1..) = pipe.read(&mut buffer) {
                sink.lock().expect("no thread panicked here").extend_from_slice(&buffer[..length]);
            }
        });
        Self { bytes, reader: Some(reader) }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().expect("no thread panicked here")).into_owned()
    }

    /// The whole text, once everybody who could write has closed it.
    fn finish(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the reading thread does not panic");
        }
        self.text()
    }
}

/// A program that is running. It is killed, with its children, when this is dropped.
pub struct Running {
    child: Child,
    container: Option<Container>,
    stdout: Stream,
    stderr: Stream,
    files: PathBuf,
    started: Instant,
    timeout: Duration,
    step: Runner,
}

impl Running {
    /// Sends a signal to the program alone, as docker does to a container's first process.
    pub fn signal(&self, signal: Signal) {
        // The program may have ended by itself.
        let _ = kill_process(self.pid(), signal);
    }

    /// What it has printed on standard output so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// What it has printed on standard error so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Waits until it has printed this on either stream.
    ///
    /// # Panics
    /// When it ends before, or the time is up; with what it printed.
    pub fn wait_for(&mut self, text: &str) {
        loop {
            let ended = self.child.try_wait().expect("the program's state can be asked for").is_some();
            if self.stdout().contains(text) || self.stderr().contains(text) {
                return;
            }
            let late = self.started.elapsed() > self.timeout;
            assert!(!ended && !late, "the program did not print `{text}`:\n{}\n{}", self.stdout(), self.stderr());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for the end, blocking the calling thread.
    ///
    /// # Panics
    /// When the time is up; with what it printed.
    #[must_use]
    pub fn wait(mut self) -> Finished {
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("the program's state can be asked for") {
                break status;
            }
            assert!(
                self.started.elapsed() <= self.timeout,
                "the program did not end within {:?}:\n{}\n{}",
                self.timeout,
                self.stdout(),
                self.stderr()
            );
            std::thread::sleep(Duration::from_millis(2));
        };
        let duration = self.started.elapsed();
        // Children that are left would keep the streams open; the runner ends them with the container.
        self.kill_group();
        let file = |name: &str| {
            String::from_utf8_lossy(&std::fs::read(self.files.join(name)).unwrap_or_default()).into_owned()
        };
        let files = FILES.map(|name| (name, file(name))).into_iter().collect();
        let (stdout, stderr) = (self.stdout.finish(), self.stderr.finish());
        Finished {
            code: status.code(),
            signal: status.signal(),
            stdout,
            stderr,
            duration,
            files,
            step: self.step.clone(),
        }
    }

    fn pid(&self) -> Pid {
        let id = i32::try_from(self.child.id()).expect("a process id is an i32");
        Pid::from_raw(id).expect("a process id is not 0")
    }

    fn kill_group(&self) {
        // An error means that nobody is left in it.
        let _ = kill_process_group(self.pid(), Signal::KILL);
        if let Some(container) = &self.container {
            container.remove();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill_group();
        // An error means that its end was seen already.
        let _ = self.child.wait();
    }
}
