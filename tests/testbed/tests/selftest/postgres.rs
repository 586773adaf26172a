//! PostgreSQL and PgBouncer run as asked.

use std::fs::Permissions;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use testbed::postgres::Postgres;

/// What psql says through an address of the pool, as a client of it would.
fn through(url: &str, sql: &str) -> (bool, String) {
    let output = Command::new("psql").args(["-XAtq", "-c", sql, url]).output().expect("psql is installed");
    let text = if output.status.success() { output.stdout } else { output.stderr };
    (output.status.success(), String::from_utf8_lossy(&text).trim().to_owned())
}

#[test]
fn every_test_has_a_database_of_its_own() {
    let (first, second) = (Postgres::shared().database(), Postgres::shared().database());
    first.psql("create table t (n int); insert into t values (1), (2)");
    assert_eq!(first.psql("select n, n + 1 from t order by n"), "1|2\n2|3");
    assert_eq!(second.psql("select count(*) from pg_tables where tablename = 't'"), "0");
    assert_eq!(first.psql("select rolsuper from pg_roles where rolname = current_user"), "f");
    assert_eq!(first.port(), second.port());
    let wrong = first.url().replace(':', ":x");
    assert!(!through(&wrong, "select 1").0);
    let name = first.name().to_owned();
    drop(first);
    assert_eq!(second.psql(&format!("select count(*) from pg_database where datname = '{name}'")), "0");
}

#[test]
fn the_pool_is_in_transaction_mode() {
    let database = Postgres::shared().database();
    let pool = database.pool();
    assert_eq!(through(&pool.url(), "select current_database()"), (true, database.name().to_owned()));
    let (accepted, error) = through(&format!("{}?options=-csearch_path%3Dx", pool.url()), "select 1");
    assert!(!accepted && error.contains("unsupported startup parameter"), "{error}");
    // Two clients in turn get the same server connection.
    let server = || through(&pool.url(), "select pg_backend_pid()").1;
    assert_eq!(server(), server());
    pool.stop();
    assert!(!through(&pool.url(), "select 1").0);
    pool.start_again();
    assert!(through(&pool.url(), "select 1").0);
}

#[test]
fn a_server_can_be_down_for_a_while() {
    let postgres = Postgres::start();
    let database = postgres.database();
    database.psql("create table t (n int); insert into t values (7)");
    postgres.stop();
    assert!(TcpStream::connect((database.host(), database.port())).is_err());
    postgres.start_again();
    assert_eq!(database.psql("select n from t"), "7");
    assert!(postgres.log().contains("ready to accept connections"));
    let port = database.port();
    drop(database);
    drop(postgres);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

/// Says where its cluster is, and waits to be killed.
#[test]
#[ignore = "is run, and killed, by the test below"]
fn holds_a_cluster() {
    let database = Postgres::shared().database();
    let told = std::env::var("TESTBED_TELL").expect("the file to tell it in");
    std::fs::write(format!("{told}.part"), database.port().to_string()).expect("it is told");
    std::fs::rename(format!("{told}.part"), told).expect("it is told");
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn nothing_outlives_a_process_that_is_killed() {
    let directory = tempfile::TempDir::new().expect("a directory");
    let (told, files) = (directory.path().join("told"), directory.path().join("files"));
    // The server runs as another user, who must come as far as this.
    for path in [directory.path(), &files] {
        std::fs::create_dir_all(path).expect("a directory");
        std::fs::set_permissions(path, Permissions::from_mode(0o755)).expect("it can be opened to everybody");
    }
    let mut holder = Command::new(std::env::current_exe().expect("this program"))
        .args(["--ignored", "--exact", "postgres::holds_a_cluster"])
        .env("TESTBED_TELL", &told)
        .env("TMPDIR", &files)
        .stdout(Stdio::null())
        .spawn()
        .expect("this program can be started again");
    let port: u16 = eventually(|| std::fs::read_to_string(&told).ok()).parse().expect("a port");
    let left = || std::fs::read_dir(&files).expect("a directory").count();
    assert_eq!(left(), 1);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_ok());
    holder.kill().expect("it can be killed");
    holder.wait().expect("it has ended");
    eventually(|| TcpStream::connect(("127.0.0.1", port)).is_err().then_some(()));
    eventually(|| (left() == 0).then_some(()));
}

fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let found = (0..3000).find_map(|_| {
        std::thread::sleep(Duration::from_millis(10));
        look()
    });
    found.expect("it happens within half a minute")
}
