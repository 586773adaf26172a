//! A private PostgreSQL with PgBouncer in transaction mode before it, one for the whole test process.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{Connection as _, PgConnection};

/// The user that owns everything, and its password.
const OWNER: &str = "tidegate:pass%2Fword";

/// Makes the cluster and tears it down when its input ends, which it does when the test process does, however it ends.
const SUPERVISOR: &str = r#"
set -eu
dir=$1 port=$2 pooled=$3
bin=/usr/lib/postgresql/15/bin
trap 'kill -9 $postgres $pgbouncer 2>/dev/null; rm -rf "$dir"' EXIT
postgres= pgbouncer=
if [ "$(id -u)" = 0 ]; then
  chown postgres "$dir"
  as='setpriv --reuid postgres --regid postgres --clear-groups --'
else
  as=
fi
printf 'pass/word' > "$dir/password"
chmod 644 "$dir/password"
cd "$dir"
$as $bin/initdb -D "$dir/data" -A scram-sha-256 -U tidegate --pwfile="$dir/password" -E UTF8 --no-locale -N >"$dir/initdb.log" 2>&1 || { cat "$dir/initdb.log" >&2; exit 1; }
# Its own authority, so that a client can verify it, and one that has signed nothing.
for name in authority stranger; do
  openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=$name -keyout "$dir/$name.key" -out "$dir/$name.crt" 2>/dev/null
done
openssl req -newkey rsa:2048 -nodes -subj /CN=server -keyout "$dir/server.key" -out "$dir/server.csr" 2>/dev/null
printf 'subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n' > "$dir/server.ext"
openssl x509 -req -days 2 -in "$dir/server.csr" -extfile "$dir/server.ext" \
  -CA "$dir/authority.crt" -CAkey "$dir/authority.key" -CAcreateserial -out "$dir/server.crt" 2>/dev/null
[ -z "$as" ] || chown postgres "$dir/server.key"
chmod 600 "$dir/server.key"
$as $bin/postgres -D "$dir/data" -c port=$port -c listen_addresses=127.0.0.1 -c unix_socket_directories="$dir" \
  -c ssl=on -c ssl_cert_file="$dir/server.crt" -c ssl_key_file="$dir/server.key" -c fsync=off -c max_connections=200 >"$dir/postgres.log" 2>&1 &
postgres=$!
cat > "$dir/pgbouncer.ini" <<END
[databases]
* = host=127.0.0.1 port=$port
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $pooled
unix_socket_dir =
auth_type = scram-sha-256
auth_file = $dir/users
pool_mode = transaction
default_pool_size = 4
max_client_conn = 500
ignore_startup_parameters = extra_float_digits
END
printf '"tidegate" "pass/word"\n"writer" "pass/word"\n' > "$dir/users"
chmod 644 "$dir/users" "$dir/pgbouncer.ini"
$as pgbouncer "$dir/pgbouncer.ini" >"$dir/pgbouncer.log" 2>&1 &
pgbouncer=$!
for i in $(seq 100); do $bin/pg_isready -q -h 127.0.0.1 -p $port && break; sleep 0.1; done
for i in $(seq 100); do $bin/pg_isready -q -h 127.0.0.1 -p $pooled && break; sleep 0.1; done
PGPASSWORD=pass/word $bin/psql -q -h 127.0.0.1 -p $port -U tidegate -d postgres \
  -c "CREATE ROLE writer LOGIN PASSWORD 'pass/word'"
echo ready
cat >/dev/null
"#;

/// The cluster.
pub(crate) struct Cluster {
    pub(crate) folder: PathBuf,
    pub(crate) port: u16,
    pooled: u16,
    databases: AtomicU32,
    _supervisor: Child,
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The cluster of this process, made when it is first asked for.
pub(crate) fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let folder = tempfile::Builder::new().prefix("ledger-").tempdir().unwrap().keep();
        let (port, pooled) = (free_port(), free_port());
        let mut supervisor = Command::new("sh")
            .args(["-c", SUPERVISOR, "supervisor"])
            .arg(&folder)
            .args([port.to_string(), pooled.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(supervisor.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "ready\n", "PostgreSQL 15 and PgBouncer must be installed");
        Cluster { folder, port, pooled, databases: AtomicU32::new(0), _supervisor: supervisor }
    })
}

impl Cluster {
    /// The address of a database, directly.
    pub(crate) fn direct(&self, database: &str) -> String {
        self.address(OWNER, self.port, database)
    }

    /// The address of a database, through PgBouncer.
    pub(crate) fn pooled(&self, database: &str) -> String {
        self.address(OWNER, self.pooled, database)
    }

    /// The address of a database for the role `writer`, which owns nothing.
    pub(crate) fn as_writer(&self, database: &str) -> String {
        self.address("writer:pass%2Fword", self.port, database)
    }

    /// The address of a database at a port that leads to it.
    pub(crate) fn at(&self, port: u16, database: &str) -> String {
        self.address(OWNER, port, database)
    }

    fn address(&self, user: &str, port: u16, database: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{port}/{database}?sslmode=disable")
    }

    /// A new, empty database.
    pub(crate) async fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::SeqCst));
        run(&self.direct("postgres"), &format!("CREATE DATABASE {name}")).await;
        name
    }
}

/// Runs statements on a database.
#[expect(clippy::disallowed_methods, reason = "tests look behind the ledger's back")]
pub(crate) async fn run(address: &str, sql: &str) {
    let mut connection = PgConnection::connect(address).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}
