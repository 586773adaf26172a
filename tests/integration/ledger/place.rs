//! Where a contract is tested.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use secrecy::SecretString;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, Row as _, TypeInfo as _, ValueRef as _};
use tempfile::TempDir;
use testbed::postgres::{Database, Pool, Postgres};
use tidegate::ledger::{Ledger, LedgerAddress, connect};

const DERIVED: [&str; 7] = ["run", "candidate", "fault", "bad_digest", "lease", "counter", "outbox"];

/// A database of its own for one test.
pub(crate) enum Place {
    Sqlite(TempDir),
    Postgres { database: Database, pool: Option<Pool> },
}

impl Place {
    pub(crate) fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    pub(crate) fn postgres() -> Self {
        Self::Postgres { database: Postgres::shared().database(), pool: None }
    }

    pub(crate) fn pgbouncer() -> Self {
        let database = Postgres::shared().database();
        let pool = Some(database.pool());
        Self::Postgres { database, pool }
    }

    /// The file, where there is one.
    pub(crate) fn file(&self) -> PathBuf {
        match self {
            Self::Sqlite(folder) => folder.path().join("folder/ledger.sqlite"),
            Self::Postgres { .. } => panic!("PostgreSQL has no file"),
        }
    }

    /// The address by which it is reached.
    pub(crate) fn address(&self) -> String {
        match self {
            Self::Sqlite(_) => format!("sqlite:{}", self.file().display()),
            Self::Postgres { database, pool } => pool.as_ref().map_or_else(|| database.url(), Pool::url),
        }
    }

    /// A client of its own: another process, as far as the database can tell.
    pub(crate) fn client(&self) -> Arc<dyn Ledger> {
        client(&self.address())
    }

    /// A client of a ledger that is ready.
    pub(crate) async fn ready(&self) -> Arc<dyn Ledger> {
        let ledger = self.client();
        ledger.prepare().await.unwrap();
        ledger
    }

    /// Runs statements behind the ledger's back; tables are written `{}run` and so on.
    #[expect(clippy::disallowed_methods, reason = "tests look behind the ledger's back")]
    pub(crate) async fn run(&self, sql: &str) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(_) => {
                let mut file = self.open().await;
                sqlx::raw_sql(sqlx::AssertSqlSafe(sql.replace("{}", ""))).execute(&mut file).await.map(drop)
            }
            Self::Postgres { database, .. } => {
                let mut connection = PgConnection::connect(&database.url()).await.unwrap();
                sqlx::raw_sql(sqlx::AssertSqlSafe(sql.replace("{}", "tidegate.")))
                    .execute(&mut connection)
                    .await
                    .map(drop)
            }
        }
    }

    /// A connection to the file, past the ledger.
    pub(crate) async fn open(&self) -> SqliteConnection {
        SqliteConnectOptions::new()
            .filename(self.file())
            .busy_timeout(std::time::Duration::from_secs(30))
            .connect()
            .await
            .unwrap()
    }

    /// The rows of a query, every value as text.
    #[expect(clippy::disallowed_methods, reason = "tests look behind the ledger's back")]
    pub(crate) async fn rows(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        match self {
            Self::Sqlite(_) => {
                let mut file = self.open().await;
                let rows =
                    sqlx::raw_sql(sqlx::AssertSqlSafe(sql.replace("{}", ""))).fetch_all(&mut file).await.unwrap();
                let value = |row: &sqlx::sqlite::SqliteRow, place: usize| {
                    let raw = row.try_get_raw(place).unwrap();
                    match raw.type_info().name() {
                        "INTEGER" => row.get::<Option<i64>, _>(place).map(|number| number.to_string()),
                        _ => row.get(place),
                    }
                };
                rows.iter().map(|row| (0..row.len()).map(|place| value(row, place)).collect()).collect()
            }
            Self::Postgres { database, .. } => {
                let mut connection = PgConnection::connect(&database.url()).await.unwrap();
                let sql = sqlx::AssertSqlSafe(sql.replace("{}", "tidegate."));
                let rows = sqlx::raw_sql(sql).fetch_all(&mut connection).await.unwrap();
                // The simple protocol gives every value as text.
                let value = |row: &sqlx::postgres::PgRow, place: usize| {
                    let raw = row.try_get_raw(place).unwrap();
                    (!raw.is_null()).then(|| raw.as_str().unwrap().to_owned())
                };
                rows.iter().map(|row| (0..row.len()).map(|place| value(row, place)).collect()).collect()
            }
        }
    }

    /// Every row of every derived table.
    pub(crate) async fn derived(&self) -> BTreeMap<&'static str, Vec<Vec<Option<String>>>> {
        let mut tables = BTreeMap::new();
        for table in DERIVED {
            tables.insert(table, self.rows(&format!("SELECT * FROM {{}}{table} ORDER BY 1, 2, 3")).await);
        }
        tables.insert("deployment_log", self.rows("SELECT * FROM {}deployment_log ORDER BY 12, 2").await);
        tables
    }

    /// Drops everything but the events.
    pub(crate) async fn drop_derived(&self) {
        self.run("DROP VIEW {}deployment_log").await.unwrap();
        for table in DERIVED {
            self.run(&format!("DROP TABLE {{}}{table}")).await.unwrap();
        }
    }

    /// Lets every lease end now.
    pub(crate) async fn expire_leases(&self) {
        self.run("UPDATE {}lease SET expires_at = '2001-01-01T00:00:00.000Z' WHERE holder IS NOT NULL").await.unwrap();
    }
}

/// Runs statements in a ledger's file behind its back.
#[expect(clippy::disallowed_methods, reason = "tests look behind the ledger's back")]
pub(crate) async fn run_on_file(file: &std::path::Path, sql: &str) {
    let options = SqliteConnectOptions::new().filename(file).busy_timeout(std::time::Duration::from_secs(30));
    let mut file = options.connect().await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut file).await.unwrap();
}

/// A client of the ledger at an address.
pub(crate) fn client(address: &str) -> Arc<dyn Ledger> {
    connect(&LedgerAddress::parse(&SecretString::from(address)).unwrap()).into()
}
