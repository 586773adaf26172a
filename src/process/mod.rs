//! Programs that we run: bounded in time and in output, and never left behind.
//!
//! A program gets a group of its own, so that what it starts ends with it; an environment of its own, so that it sees no
//! secret that was not meant for it; and nobody at its terminal.

mod background;
mod captured;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process_group};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout, timeout_at};

pub use background::Background;
use captured::Capture;
pub use captured::Captured;

use crate::crashpoint;
use crate::promotion::fault::{Code, Fault};

/// How long a program may take after it was asked to stop.
const TIME_TO_STOP: Duration = Duration::from_secs(3);

/// How long what a program has started may keep its output open after its own end.
const TIME_TO_CLOSE: Duration = Duration::from_secs(2);

/// How much of a program's output is kept where nothing else is said: of each of the two, in bytes.
pub const OUTPUT_LIMIT: usize = 256 * 1024;

/// Variables that every program gets, because next to none runs without them.
const GIVEN: [&str; 2] = ["PATH", "HOME"];

/// A program to be run.
#[derive(Debug, Clone)]
pub struct Program {
    name: OsString,
    arguments: Vec<OsString>,
    environment: BTreeMap<OsString, SecretString>,
    input: Option<Bytes>,
    directory: Option<PathBuf>,
    timeout: Duration,
    output_limit: usize,
}

impl Program {
    /// A program, found on the `PATH` where its name holds no slash. It gets `PATH` and `HOME`, no input, ten minutes,
    /// and [`OUTPUT_LIMIT`].
    #[must_use]
    pub fn new(name: impl Into<OsString>) -> Self {
        Self {
            name: name.into(),
            arguments: Vec::new(),
            environment: BTreeMap::new(),
            input: None,
            directory: None,
            timeout: Duration::from_secs(600),
            output_limit: OUTPUT_LIMIT,
        }
    }

    /// The same, with one more word. Others on the machine can read it: it must hold no secret.
    #[must_use]
    pub fn argument(mut self, word: impl Into<OsString>) -> Self {
        self.arguments.push(word.into());
        self
    }

    /// The same, with more words.
    #[must_use]
    pub fn arguments(mut self, words: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.arguments.extend(words.into_iter().map(Into::into));
        self
    }

    /// The same, with a variable.
    #[must_use]
    pub fn variable(mut self, name: impl Into<OsString>, value: SecretString) -> Self {
        self.environment.insert(name.into(), value);
        self
    }

    /// The same, with this as its input.
    #[must_use]
    pub fn input(mut self, input: impl Into<Bytes>) -> Self {
        self.input = Some(input.into());
        self
    }

    /// The same, in this directory.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// The same, with so much time.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The same, with so much of its output kept: of each of the two, in bytes.
    #[must_use]
    pub const fn output_limit(mut self, bytes: usize) -> Self {
        self.output_limit = bytes;
        self
    }

    /// Its name, for people.
    #[must_use]
    pub fn name(&self) -> String {
        self.name.to_string_lossy().into_owned()
    }

    /// Runs it to its end. When the time is up it is asked to stop, and then made to, with all that it has started. The
    /// same where this is dropped before its end.
    ///
    /// # Errors
    /// When it cannot be started, or does not end in time. How it ended is no error here.
    pub async fn run(&self) -> Result<Ended, ProcessError> {
        crashpoint::pass("process start");
        let started = Instant::now();
        let mut running = self.start(if self.input.is_some() { Stdio::piped() } else { Stdio::null() })?;
        let ended = running.finish(self, started).await;
        crashpoint::pass("process end");
        ended
    }

    /// Starts it beside us, with its standard input open: see [`Background`]. Its timeout is not looked at.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn background(&self) -> Result<Background, ProcessError> {
        Ok(Background::new(self, self.start(Stdio::piped())?))
    }

    fn start(&self, stdin: Stdio) -> Result<Running, ProcessError> {
        let mut command = Command::new(&self.name);
        command.args(&self.arguments).env_clear().process_group(0).kill_on_drop(true);
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        for name in GIVEN {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        for (name, value) in &self.environment {
            command.env(name, value.expose_secret());
        }
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        match command.spawn() {
            Ok(child) => Ok(Running::new(child)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let directory = self.directory.as_ref().filter(|directory| !directory.is_dir());
                match directory {
                    Some(directory) => {
                        let why = format!("the directory {} is not there", directory.display());
                        Err(ProcessError::NotStarted { program: self.name(), why })
                    }
                    None => Err(ProcessError::Absent { program: self.name() }),
                }
            }
            Err(error) => Err(ProcessError::NotStarted { program: self.name(), why: error.to_string() }),
        }
    }
}

/// A program that has ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// How: its exit code, or the signal that ended it.
    pub status: ExitStatus,
    /// What it printed on standard output (untrusted).
    pub stdout: Captured,
    /// What it printed on standard error (untrusted).
    pub stderr: Captured,
    /// How long it ran.
    pub took: Duration,
}

impl Ended {
    /// Whether it ended with 0.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.status.success()
    }

    /// How it ended, and what it printed last, for people: `ended with 3: no such file`.
    #[must_use]
    pub fn told(&self) -> String {
        use std::os::unix::process::ExitStatusExt as _;
        let how = match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("ended with {code}"),
            (None, Some(signal)) => format!("was ended by signal {signal}"),
            (None, None) => "ended in an unknown way".to_owned(),
        };
        let last = self.stderr.last_line().or_else(|| self.stdout.last_line());
        match last {
            Some(last) => format!("{how}: {last}"),
            None => format!("{how}, and printed nothing"),
        }
    }
}

/// Why a program did not come to its own end.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// There is no such program.
    #[error("the program `{program}` is not there")]
    Absent {
        /// Its name.
        program: String,
    },
    /// It could not be started.
    #[error("the program `{program}` cannot be started: {why}")]
    NotStarted {
        /// Its name.
        program: String,
        /// Why.
        why: String,
    },
    /// It did not end in time, and was made to.
    #[error("the program `{program}` did not end within {}{}", humantime::format_duration(*.limit), quoted(.last))]
    TimedOut {
        /// Its name.
        program: String,
        /// How much time it had.
        limit: Duration,
        /// What it printed last (untrusted).
        last: Option<String>,
    },
    /// What became of it cannot be learned.
    #[error("it cannot be learned how the program `{program}` ended: {why}")]
    Lost {
        /// Its name.
        program: String,
        /// Why.
        why: String,
    },
}

fn quoted(last: &Option<String>) -> String {
    last.as_ref().map(|last| format!("; it printed last: {last}")).unwrap_or_default()
}

impl From<ProcessError> for Fault {
    fn from(error: ProcessError) -> Self {
        let message = error.to_string();
        match error {
            ProcessError::Absent { .. } | ProcessError::NotStarted { .. } => Self::new(Code::ProgramAbsent, message),
            ProcessError::TimedOut { .. } => Self::new(Code::ProgramTimedOut, message),
            ProcessError::Lost { .. } => Self::defect(message),
        }
    }
}

/// A program that runs. What is left of its group ends when this is dropped.
struct Running {
    child: Child,
    group: Option<Pid>,
}

impl Running {
    fn new(child: Child) -> Self {
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Self { child, group }
    }

    async fn finish(&mut self, program: &Program, started: Instant) -> Result<Ended, ProcessError> {
        let mut stdout = Capture::of(self.child.stdout.take(), program.output_limit);
        let mut stderr = Capture::of(self.child.stderr.take(), program.output_limit);
        if let (Some(mut pipe), Some(input)) = (self.child.stdin.take(), program.input.clone()) {
            tokio::spawn(async move {
                // A program that does not want its input has a right to that.
                let _ = pipe.write_all(&input).await;
            });
        }
        let deadline = started + program.timeout;
        let Ok(waited) = timeout_at(deadline, self.child.wait()).await else {
            self.stop().await;
            let last = stderr.finish(Duration::ZERO).await.last_line();
            let last = match last {
                Some(last) => Some(last),
                None => stdout.finish(Duration::ZERO).await.last_line(),
            };
            return Err(ProcessError::TimedOut { program: program.name(), limit: program.timeout, last });
        };
        let status = waited.map_err(|error| ProcessError::Lost { program: program.name(), why: error.to_string() })?;
        let took = started.elapsed();
        let (stdout, stderr) = tokio::join!(stdout.finish(TIME_TO_CLOSE), stderr.finish(TIME_TO_CLOSE));
        Ok(Ended { status, stdout, stderr, took })
    }

    async fn stop(&mut self) {
        self.signal(Signal::TERM);
        if timeout(TIME_TO_STOP, self.child.wait()).await.is_err() {
            self.signal(Signal::KILL);
            // The kernel ends it; the moment is for its output to arrive.
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // An error means that nobody is left in it.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Program {
        Program::new("sh").argument("-c").argument(script).timeout(Duration::from_secs(20))
    }

    #[tokio::test]
    async fn a_program_is_told_by_its_code_and_its_last_words() {
        let ended = sh("echo out; echo first >&2; echo last >&2; exit 3").run().await.unwrap();
        assert_eq!(ended.told(), "ended with 3: last");
        assert_eq!(ended.stdout.text(), "out\n");
        assert!(!ended.is_good() && sh("true").run().await.unwrap().is_good());
        assert_eq!(sh("kill -9 $$").run().await.unwrap().told(), "was ended by signal 9, and printed nothing");
    }

    #[tokio::test]
    async fn it_sees_what_it_is_given_and_nothing_else() {
        let ended = sh("cat; env | sort").input("in\n").variable("TOKEN", "secret".into()).run().await.unwrap();
        let text = ended.stdout.text();
        let names: Vec<&str> = text.lines().skip(1).filter_map(|line| line.split('=').next()).collect();
        assert!(text.starts_with("in\n") && text.contains("TOKEN=secret"), "{text}");
        assert!(names.iter().all(|name| ["PATH", "HOME", "TOKEN", "PWD", "SHLVL", "_", "OLDPWD"].contains(name)));
    }

    #[tokio::test]
    async fn time_is_up_for_everything_that_it_has_started() {
        let marker = format!("sleep 98.{}", std::process::id());
        let script = format!("echo begun >&2; {marker} & {marker}");
        let error = sh(&script).timeout(Duration::from_millis(300)).run().await.unwrap_err();
        assert!(error.to_string().ends_with("it printed last: begun"), "{error}");
        assert_eq!(Fault::from(error).code, Code::ProgramTimedOut);
        assert!(!is_running(&marker).await);
        let dropped = sh(&script);
        assert!(timeout(Duration::from_millis(300), dropped.run()).await.is_err());
        assert!(!is_running(&marker).await);
    }

    /// Whether somebody is still at it a little later.
    async fn is_running(words: &str) -> bool {
        sleep(Duration::from_millis(100)).await;
        let found = sh("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '").run().await.unwrap();
        found.stdout.text().contains(words)
    }

    #[tokio::test]
    async fn one_that_stays_behind_holds_nobody_up() {
        let began = Instant::now();
        let ended = sh("sleep 60 & echo done").run().await.unwrap();
        assert_eq!(ended.stdout.text(), "done\n");
        assert!(began.elapsed() < Duration::from_secs(10));
    }

    #[tokio::test]
    async fn output_is_bounded() {
        let ended =
            sh("head -c 5000000 /dev/zero | tr '\\0' x; echo; echo end").output_limit(1_000).run().await.unwrap();
        assert!(ended.stdout.is_cut() && ended.stdout.text().len() < 1_100);
        assert_eq!(ended.stdout.last_line().as_deref(), Some("end"));
    }

    #[tokio::test]
    async fn what_is_not_there_is_said() {
        let error = Program::new("no-such-program").run().await.unwrap_err();
        assert_eq!(error.to_string(), "the program `no-such-program` is not there");
        let error = sh("true").directory("/no/such/directory").run().await.unwrap_err();
        assert!(error.to_string().contains("the directory /no/such/directory is not there"), "{error}");
    }
}
