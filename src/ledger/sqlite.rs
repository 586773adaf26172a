//! The ledger in a file.
//!
//! The file is kept with a rollback journal, not a write-ahead log: at rest everything is in the one file, which may be
//! copied or cached between jobs, and no shared memory is needed between containers. Each commit is on the disk when it
//! returns, its journal's removal included.

use std::fmt;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteRow, SqliteSynchronous,
};
use sqlx::{Arguments as _, ConnectOptions as _, Row as _, Sqlite, TypeInfo as _, ValueRef as _};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::LedgerError;
use super::chain::timestamp;
use super::session::{self, Access, Database, Row, Session, Trouble, Value};
use super::statements::{SQLITE, Statements};

/// How long a process waits for others that have the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// A file. It is used through one connection; callers in the same process take turns.
pub(super) struct SqliteDatabase {
    path: PathBuf,
    idle: Arc<Mutex<Option<SqliteConnection>>>,
}

impl SqliteDatabase {
    /// The file at `path`, which is made when it is first needed.
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), idle: Arc::default() }
    }

    async fn connect(&self) -> Result<SqliteConnection, Trouble> {
        self.create().map_err(|error| LedgerError::Refused(format!("{}: {error}", self.path.display())))?;
        let options = SqliteConnectOptions::new()
            .filename(&self.path)
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Delete)
            .synchronous(SqliteSynchronous::Extra)
            .busy_timeout(BUSY_TIMEOUT)
            // A file that somebody else put here gets no functions to call from its definitions.
            .pragma("trusted_schema", "OFF")
            .disable_statement_logging();
        options.connect().await.map_err(|error| explain(&self.path, error))
    }

    /// Makes folder and file, readable for their owner alone.
    fn create(&self) -> std::io::Result<()> {
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600).open(&self.path).map(drop)
    }
}

impl fmt::Debug for SqliteDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SqliteDatabase({})", self.path.display())
    }
}

#[async_trait]
impl Database for SqliteDatabase {
    fn statements(&self) -> &'static Statements {
        &SQLITE
    }

    async fn begin(&self, access: Access) -> Result<Box<dyn Session>, Trouble> {
        let mut idle = Arc::clone(&self.idle).lock_owned().await;
        let mut connection = match idle.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let begin = match access {
            Access::Read => "BEGIN",
            Access::Write | Access::Overhaul => "BEGIN IMMEDIATE",
        };
        session::script::<Sqlite>(&mut connection, begin).await.map_err(|error| explain(&self.path, error))?;
        Ok(Box::new(SqliteSession { connection, idle, path: self.path.clone() }))
    }
}

struct SqliteSession {
    connection: SqliteConnection,
    /// Where the connection goes when the transaction has ended well; until then nobody else has one.
    idle: OwnedMutexGuard<Option<SqliteConnection>>,
    path: PathBuf,
}

impl SqliteSession {
    async fn end(mut self, how: &'static str) -> Result<(), Trouble> {
        session::script::<Sqlite>(&mut self.connection, how).await.map_err(|error| explain(&self.path, error))?;
        *self.idle = Some(self.connection);
        Ok(())
    }
}

#[async_trait]
impl Session for SqliteSession {
    async fn fetch(&mut self, sql: &'static str, arguments: Vec<Value>) -> Result<Vec<Row>, Trouble> {
        let arguments = bind(arguments).map_err(|error| explain(&self.path, sqlx::Error::Encode(error)))?;
        let rows = session::query::<Sqlite, _>(&mut self.connection, sql, arguments).await;
        let rows = rows.map_err(|error| explain(&self.path, error))?;
        rows.iter().map(read).collect::<Result<_, _>>().map_err(|error| explain(&self.path, error))
    }

    async fn script(&mut self, sql: &'static str) -> Result<(), Trouble> {
        session::script::<Sqlite>(&mut self.connection, sql).await.map_err(|error| explain(&self.path, error))
    }

    async fn commit(self: Box<Self>) -> Result<(), Trouble> {
        self.end("COMMIT").await
    }

    async fn rollback(self: Box<Self>) -> Result<(), Trouble> {
        self.end("ROLLBACK").await
    }
}

fn bind(values: Vec<Value>) -> Result<SqliteArguments, sqlx::error::BoxDynError> {
    let mut arguments = SqliteArguments::default();
    for value in values {
        match value {
            Value::Text(text) => arguments.add(text)?,
            Value::Number(number) => arguments.add(number)?,
            Value::Time(at) => arguments.add(at.map(timestamp))?,
            Value::Flag(flag) => arguments.add(i64::from(flag))?,
        }
    }
    Ok(arguments)
}

fn read(row: &SqliteRow) -> Result<Row, sqlx::Error> {
    let value = |place: usize| {
        let kind = row.try_get_raw(place)?.type_info().name().to_owned();
        Ok(if kind == "INTEGER" { Value::Number(row.try_get(place)?) } else { Value::Text(row.try_get(place)?) })
    };
    (0..row.len()).map(value).collect::<Result<_, _>>().map(Row)
}

/// What an error means (sqlite.org/rescode.html).
fn explain(path: &Path, error: sqlx::Error) -> Trouble {
    let place = path.display();
    let sqlx::Error::Database(database) = error else {
        return match error {
            sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } | sqlx::Error::Encode(_) => {
                LedgerError::Corrupt(format!("{place}: {error}")).into()
            }
            error => Trouble::Broken(format!("{place}: {error}")),
        };
    };
    let code: u32 = database.code().and_then(|code| code.parse().ok()).unwrap_or_default();
    let why = format!("{place}: {} (SQLite {code})", database.message());
    match (code, code & 0xff) {
        (1555 | 2067, _) => Trouble::Clash(why),
        // A trigger's word.
        (1811, _) => LedgerError::Refused(why).into(),
        // Busy, locked, full: nothing was done.
        (_, 5 | 6 | 13) => LedgerError::Unreachable(why).into(),
        (_, 3 | 8 | 14 | 23) => LedgerError::Refused(why).into(),
        (_, 10) => Trouble::Broken(why),
        _ => LedgerError::Corrupt(why).into(),
    }
}
