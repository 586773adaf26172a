//! A private PostgreSQL, and PgBouncer in transaction mode before it.
//!
//! [`Postgres::shared`] is one cluster for all tests of a process, each of which makes itself a database;
//! [`Postgres::start`] is one for a test that stops it. As root they run as another user, as both programs demand.
//!
//! ```no_run
//! use testbed::postgres::Postgres;
//!
//! let database = Postgres::shared().database();
//! let pool = database.pool();
//! assert_eq!(database.psql("select 1"), "1");
//! let (direct, pooled) = (database.url(), pool.url());
//! # drop((direct, pooled));
//! ```

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::child::{self, Account, Program, free_port};
use crate::random;

/// Where Debian has PostgreSQL's programs, by major version.
const VERSIONS: &str = "/usr/lib/postgresql";
/// Where Debian has PgBouncer.
const PGBOUNCER: &str = "/usr/sbin/pgbouncer";
/// The owner of the databases: an ordinary user.
const USER: &str = "tidegate";
/// How often another port is tried when somebody else took the one that was free.
const ATTEMPTS: usize = 5;

/// A PostgreSQL cluster; it stops, and its files go, when the last handle is dropped.
#[derive(Clone)]
pub struct Postgres(Arc<Cluster>);

struct Cluster {
    server: Mutex<Option<Program>>,
    directory: TempDir,
    account: Option<Account>,
    port: u16,
    superuser_password: String,
    /// With every character that must be escaped in an address.
    password: String,
}

/// A database of its own for one test; it is removed when this is dropped.
pub struct Database {
    cluster: Postgres,
    name: String,
}

/// PgBouncer in transaction mode before a database; it stops when this is dropped.
pub struct Pool {
    program: Mutex<Option<Program>>,
    directory: TempDir,
    account: Option<Account>,
    port: u16,
    url: String,
}

impl Postgres {
    /// The cluster that all tests of this process share. It must not be stopped.
    ///
    /// # Panics
    /// As [`Postgres::start`].
    #[must_use]
    pub fn shared() -> Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        let shared = SHARED.get_or_init(|| {
            let cluster = Self::start();
            // A static is not dropped at the end of the process: the kernel kills the server then.
            child::remove_at_exit(cluster.0.directory.path());
            cluster
        });
        shared.clone()
    }

    /// Starts a cluster of its own on a free port of 127.0.0.1, without fsync.
    ///
    /// # Panics
    /// When PostgreSQL is not installed, or does not start; with what it printed.
    #[must_use]
    pub fn start() -> Self {
        let account = Account::unprivileged();
        let directory = directory_of(account.as_ref());
        let superuser_password = random::hex(12);
        let file = directory.path().join("password");
        std::fs::write(&file, &superuser_password).expect("the file of the password is written");
        give(&file, account.as_ref());
        let data = directory.path().join("data");
        let arguments = [
            "--pgdata",
            text(&data),
            "--username=postgres",
            "--auth=scram-sha-256",
            "--pwfile",
            text(&file),
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ];
        child::output(&program("initdb"), &arguments, account.as_ref());
        let password = format!("ti:de/gate@%? {}", random::hex(6));
        let (server, port) = retried(|port| launch(directory.path(), account.as_ref(), port));
        let server = Mutex::new(Some(server));
        let cluster = Self(Arc::new(Cluster { server, directory, account, port, superuser_password, password }));
        cluster.superuser(&format!("create role {USER} login password '{}'", cluster.0.password));
        cluster
    }

    /// Creates a database that belongs to an ordinary user.
    #[must_use]
    pub fn database(&self) -> Database {
        let name = format!("test_{}", random::hex(8));
        self.superuser(&format!("create database {name} owner {USER}"));
        Database { cluster: self.clone(), name }
    }

    /// Stops the server at once, as a crash would; connections break.
    pub fn stop(&self) {
        if let Some(mut server) = self.server().take() {
            server.stop(Signal::QUIT);
        }
    }

    /// Starts the server again, on the same port and with what was committed.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_again(&self) {
        let mut server = self.server();
        if server.is_none() {
            let cluster = &self.0;
            let started = launch(cluster.directory.path(), cluster.account.as_ref(), cluster.port);
            *server = Some(started.unwrap_or_else(|error| panic!("{error}")));
        }
    }

    /// What the server has printed since it was last started; empty while it is stopped.
    #[must_use]
    pub fn log(&self) -> String {
        self.server().as_ref().map(Program::log).unwrap_or_default()
    }

    fn superuser(&self, sql: &str) -> String {
        let cluster = &self.0;
        psql(&address("postgres", &cluster.superuser_password, cluster.port, "postgres"), sql)
    }

    fn server(&self) -> MutexGuard<'_, Option<Program>> {
        self.0.server.lock().expect("no thread panicked while it held the server")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let server = self.server.get_mut().ok().and_then(Option::take);
        if let Some(mut server) = server {
            server.stop(Signal::QUIT);
        }
    }
}

impl Database {
    /// The address of the database, directly.
    #[must_use]
    pub fn url(&self) -> String {
        address(USER, self.password(), self.port(), &self.name)
    }

    /// The host.
    #[must_use]
    pub const fn host(&self) -> &'static str {
        "127.0.0.1"
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.cluster.0.port
    }

    /// The user, who owns the database and nothing else.
    #[must_use]
    pub const fn user(&self) -> &'static str {
        USER
    }

    /// The user's password. It has characters that must be escaped in an address.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.cluster.0.password
    }

    /// The database's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The cluster.
    #[must_use]
    pub const fn cluster(&self) -> &Postgres {
        &self.cluster
    }

    /// Runs SQL through psql as the owner, and gives what it prints: a line for each row, columns separated by `|`.
    ///
    /// # Panics
    /// When a statement fails; with its error.
    pub fn psql(&self, sql: &str) -> String {
        psql(&self.url(), sql)
    }

    /// Starts a PgBouncer of its own before the database: transaction mode, three server connections.
    ///
    /// # Panics
    /// When PgBouncer is not installed, or does not start; with what it printed.
    #[must_use]
    pub fn pool(&self) -> Pool {
        let account = Account::unprivileged();
        let directory = directory_of(account.as_ref());
        let users = directory.path().join("users.txt");
        let quoted = self.password().replace('"', "\"\"");
        std::fs::write(&users, format!("\"{USER}\" \"{quoted}\"\n")).expect("the file of users is written");
        give(&users, account.as_ref());
        let (program, port) = retried(|port| {
            let configuration = format!(
                "[databases]\n* = host=127.0.0.1 port={server}\n\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
                 listen_port = {port}\nunix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {users}\n\
                 pool_mode = transaction\ndefault_pool_size = 3\nmax_client_conn = 500\nserver_login_retry = 1\n\
                 ignore_startup_parameters = extra_float_digits\n",
                server = self.port(),
                users = users.display(),
            );
            let file = directory.path().join("pgbouncer.ini");
            std::fs::write(&file, configuration).expect("the configuration is written");
            give(&file, account.as_ref());
            launch_pool(directory.path(), account.as_ref())
        });
        let url = address(USER, self.password(), port, &self.name);
        Pool { program: Mutex::new(Some(program)), directory, account, port, url }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // A cluster that a test has stopped goes as a whole.
        let running = self.cluster.0.server.lock().is_ok_and(|server| server.is_some());
        if running && !std::thread::panicking() {
            self.cluster.superuser(&format!("drop database if exists {} with (force)", self.name));
        }
    }
}

impl Pool {
    /// The address of the database through the pool.
    #[must_use]
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Stops PgBouncer at once; connections break, and new ones are refused.
    pub fn stop(&self) {
        if let Some(mut program) = self.program().take() {
            program.stop(Signal::QUIT);
        }
    }

    /// Starts PgBouncer again, on the same port.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_again(&self) {
        let mut program = self.program();
        if program.is_none() {
            let started = launch_pool(self.directory.path(), self.account.as_ref());
            *program = Some(started.unwrap_or_else(|error| panic!("{error}")));
        }
    }

    fn program(&self) -> MutexGuard<'_, Option<Program>> {
        self.program.lock().expect("no thread panicked while it held the pool")
    }
}

fn launch(directory: &Path, account: Option<&Account>, port: u16) -> Result<Program, String> {
    let port = port.to_string();
    let settings = [
        "listen_addresses=127.0.0.1".to_owned(),
        format!("unix_socket_directories={}", directory.display()),
        "fsync=off".to_owned(),
        "full_page_writes=off".to_owned(),
        "max_connections=200".to_owned(),
        "shared_buffers=32MB".to_owned(),
        "logging_collector=off".to_owned(),
    ];
    let data = directory.join("data");
    let mut arguments = vec!["-D", text(&data), "-p", port.as_str()];
    arguments.extend(settings.iter().flat_map(|setting| ["-c", setting.as_str()]));
    let log = directory.join(format!("postgres-{}.log", random::hex(4)));
    let mut server = Program::start("postgres", &program("postgres"), &arguments, account, &log);
    server.wait_until(|log| log.contains("database system is ready to accept connections").then_some(()))?;
    Ok(server)
}

fn launch_pool(directory: &Path, account: Option<&Account>) -> Result<Program, String> {
    let configuration = directory.join("pgbouncer.ini");
    let log = directory.join(format!("pgbouncer-{}.log", random::hex(4)));
    let mut program = Program::start("pgbouncer", Path::new(PGBOUNCER), &[text(&configuration)], account, &log);
    program.wait_until(|log| log.contains("process up").then_some(()))?;
    Ok(program)
}

/// Launches with a port that is free at the moment, and with others where somebody took it meanwhile.
fn retried(mut launch: impl FnMut(u16) -> Result<Program, String>) -> (Program, u16) {
    let mut last = String::new();
    for _ in 0..ATTEMPTS {
        let port = free_port();
        match launch(port) {
            Ok(program) => return (program, port),
            Err(error) if error.contains("Address already in use") => last = error,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("{last}");
}

/// A directory that the account can write to.
fn directory_of(account: Option<&Account>) -> TempDir {
    let directory = TempDir::new().expect("a temporary directory");
    give(directory.path(), account);
    directory
}

fn give(path: &Path, account: Option<&Account>) {
    if let Some(account) = account {
        chown(path, Some(account.uid), Some(account.gid)).expect("root can give a file to another user");
    }
}

/// A program of the newest PostgreSQL of this machine.
fn program(name: &str) -> PathBuf {
    let version = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
    let newest = std::fs::read_dir(VERSIONS)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.join("bin").join(name).exists())
        .max_by_key(version);
    newest.unwrap_or_else(|| panic!("{name} of PostgreSQL is not installed below {VERSIONS}")).join("bin").join(name)
}

fn psql(address: &str, sql: &str) -> String {
    let arguments = ["-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql, address];
    child::output(&program("psql"), &arguments, None).trim_end().to_owned()
}

fn address(user: &str, password: &str, port: u16, database: &str) -> String {
    let password = utf8_percent_encode(password, NON_ALPHANUMERIC);
    format!("postgresql://{user}:{password}@127.0.0.1:{port}/{database}")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary directory's path is text")
}
