//! Programs that the testbed launches: they die with the process that launched them.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Sender};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A program that is running; dropping this kills it.
pub(crate) struct Program {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

/// An account of this machine, from `/etc/passwd`.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Account {
    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The account for programs that refuse to run as root: `postgres`, or else `nobody`. `None` where this process is
    /// not root's, so that programs run as whoever runs it.
    ///
    /// # Panics
    /// When the machine has neither account.
    pub(crate) fn unprivileged() -> Option<Self> {
        let uid = std::fs::metadata("/proc/self").expect("/proc is mounted").uid();
        if uid != 0 {
            return None;
        }
        let passwd = std::fs::read_to_string("/etc/passwd").expect("/etc/passwd can be read");
        let find = |wanted: &str| {
            passwd.lines().find_map(|line| {
                let fields: Vec<&str> = line.split(':').collect();
                let account = || Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?));
                let (uid, gid) = account().filter(|_| fields[0] == wanted)?;
                Some(Self { name: wanted.to_owned(), uid, gid })
            })
        };
        Some(find("postgres").or_else(|| find("nobody")).expect("an account named `postgres` or `nobody`"))
    }
}

impl Program {
    /// Starts a program, in the account if there is one, with an empty environment but for PATH, and with what it
    /// prints in the file `log`.
    ///
    /// # Panics
    /// When the program, or `setpriv`, is not installed.
    pub(crate) fn start(
        name: &'static str,
        command: &Path,
        arguments: &[&str],
        account: Option<&Account>,
        log: &Path,
    ) -> Self {
        require(command);
        let output = File::options().create(true).append(true).open(log).expect("the program's log can be written");
        let errors = output.try_clone().expect("the program's log can be shared");
        let mut starter = command_in(account);
        starter.arg("--pdeathsig").arg("KILL").arg(command).args(arguments);
        starter.stdin(Stdio::null()).stdout(output).stderr(errors).process_group(0);
        let child = spawn(starter)
            .unwrap_or_else(|error| panic!("{name} cannot be started (by setpriv, of util-linux): {error}"));
        Self { name, child, log: log.to_owned() }
    }

    /// What the program has printed so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits until `ready` gives something, looking every 10 ms.
    ///
    /// # Errors
    /// What the program has printed, when it ends before, or is not ready within 30 seconds.
    pub(crate) fn wait_until<T>(&mut self, mut ready: impl FnMut(&str) -> Option<T>) -> Result<T, String> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let log = self.log();
            if let Some(found) = ready(&log) {
                return Ok(found);
            }
            let ended = self.child.try_wait().expect("the program's state can be asked for");
            if ended.is_some() || Instant::now() > deadline {
                let state = if ended.is_some() { "ended" } else { "is not ready" };
                return Err(format!("{} {state}; it printed:\n{log}", self.name));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends a signal and waits for the end; after ten seconds the program is killed.
    pub(crate) fn stop(&mut self, signal: Signal) {
        if let Some(pid) = self.pid() {
            // The program may have ended by itself.
            let _ = kill_process(pid, signal);
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.kill();
    }

    /// The process; `None` once its end was seen.
    fn pid(&mut self) -> Option<Pid> {
        let running = matches!(self.child.try_wait(), Ok(None));
        running.then(|| Pid::from_raw(i32::try_from(self.child.id()).ok()?)).flatten()
    }

    fn kill(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a program to its end and gives what it printed.
///
/// # Panics
/// When it is not installed, or fails.
pub(crate) fn output(command: &Path, arguments: &[&str], account: Option<&Account>) -> String {
    require(command);
    let output = command_in(account).arg(command).args(arguments).output().expect("setpriv is installed");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{} {arguments:?}: {}\n{printed}{}",
        command.display(),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    printed
}

/// Removes a directory when this process has ended, however it ends: statics are not dropped.
#[expect(clippy::zombie_processes, reason = "the shell outlives this process, and nobody is left to wait for it")]
pub(crate) fn remove_at_exit(directory: &Path) {
    // The shell waits for the end of its input, which nobody else holds open.
    let script = "read _; sleep 0.5; rm -rf -- \"$1\" || { sleep 3; rm -rf -- \"$1\"; }";
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).arg("sh").arg(directory).process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().expect("sh is installed");
    // The write end must stay open for as long as this process lives, and is closed by the kernel then.
    std::mem::forget(child.stdin);
}

/// The path of a program that the machine must have.
///
/// # Panics
/// When it is not installed: a test that skipped itself would prove nothing.
fn require(command: &Path) {
    assert!(command.exists(), "{} is not installed, and the tests need it", command.display());
}

fn command_in(account: Option<&Account>) -> Command {
    let mut command = Command::new("setpriv");
    command
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C.UTF-8");
    command.current_dir("/");
    if let Some(account) = account {
        command.arg("--reuid").arg(&account.name).arg("--regid").arg(account.gid.to_string()).arg("--clear-groups");
    }
    command
}

/// Spawns from a thread that lives as long as the process: the kernel takes the death of the spawning *thread* for the
/// death of the parent (prctl(2), `PR_SET_PDEATHSIG`), and a test's thread ends with the test.
fn spawn(command: Command) -> std::io::Result<Child> {
    type Order = (Command, Sender<std::io::Result<Child>>);
    static SPAWNER: OnceLock<Sender<Order>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, orders) = mpsc::channel::<Order>();
        let serve = move || {
            for (mut command, reply) in orders {
                // Whoever sent the order waits for the reply.
                let _ = reply.send(command.spawn());
            }
        };
        std::thread::Builder::new().name("testbed-spawner".into()).spawn(serve).expect("a thread can be started");
        sender
    });
    let (reply, spawned) = mpsc::channel();
    spawner.send((command, reply)).expect("the spawning thread lives as long as the process");
    spawned.recv().expect("the spawning thread replies to every order")
}

/// A port of the loopback interface on which nothing listens at the moment, e.g. for a server that is not there.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port on 127.0.0.1");
    listener.local_addr().expect("the listener has an address").port()
}
