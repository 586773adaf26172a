//! The ledger in PostgreSQL, directly or behind PgBouncer in transaction mode.
//!
//! Nothing lives longer than a transaction: no session settings, no named statements, no session locks.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgRow};
use sqlx::{Arguments as _, Column as _, ConnectOptions as _, Postgres, Row as _, TypeInfo as _};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::timeout;

use super::LedgerError;
use super::session::{self, Access, Database, Row, Session, Trouble, Value};
use super::statements::{POSTGRES, Statements};

/// The longest wait for a connection to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest wait for a transaction to begin.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(15);

/// A PostgreSQL database. It is used through one connection, which is made when it is first needed and made again when
/// it breaks; callers in the same process take turns.
pub(super) struct PostgresDatabase {
    options: PgConnectOptions,
    place: Arc<str>,
    idle: Arc<Mutex<Option<PgConnection>>>,
}

impl PostgresDatabase {
    /// The database at `options`, shown to people as `place`.
    pub(super) fn new(options: PgConnectOptions, place: &str) -> Self {
        Self { options, place: place.into(), idle: Arc::default() }
    }

    async fn connect(&self) -> Result<PgConnection, Trouble> {
        match timeout(CONNECT_TIMEOUT, self.options.connect()).await {
            Ok(connected) => connected.map_err(|error| explain(&self.place, error)),
            Err(_) => Err(Trouble::Broken(format!(
                "{}: no connection within {}",
                self.place,
                humantime::format_duration(CONNECT_TIMEOUT)
            ))),
        }
    }

    /// The connection with a transaction begun on it. Where PgBouncer has no server to give, this is what waits.
    async fn begun(&self, mut connection: PgConnection, access: Access) -> Result<PgConnection, Trouble> {
        match timeout(BEGIN_TIMEOUT, session::script::<Postgres>(&mut connection, begin(access))).await {
            Ok(Ok(())) => Ok(connection),
            Ok(Err(error)) => Err(explain(&self.place, error)),
            Err(_) => Err(LedgerError::Unreachable(format!(
                "{}: no transaction within {}",
                self.place,
                humantime::format_duration(BEGIN_TIMEOUT)
            ))
            .into()),
        }
    }
}

impl fmt::Debug for PostgresDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresDatabase({})", self.place)
    }
}

/// How a transaction begins. Its limits are its own: behind PgBouncer a session's would meet somebody else.
///
/// The row locks of the ledger are thought out for READ COMMITTED, so a database's other default does not count.
const fn begin(access: Access) -> &'static str {
    match access {
        Access::Read => {
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = '30s'; \
             SET LOCAL idle_in_transaction_session_timeout = '60s'"
        }
        Access::Write => {
            "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = '30s'; \
             SET LOCAL lock_timeout = '20s'; SET LOCAL idle_in_transaction_session_timeout = '60s'"
        }
        Access::Overhaul => {
            "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = '10min'; \
             SET LOCAL lock_timeout = '60s'; SET LOCAL idle_in_transaction_session_timeout = '60s'"
        }
    }
}

#[async_trait]
impl Database for PostgresDatabase {
    fn statements(&self) -> &'static Statements {
        &POSTGRES
    }

    async fn begin(&self, access: Access) -> Result<Box<dyn Session>, Trouble> {
        let mut idle = Arc::clone(&self.idle).lock_owned().await;
        let kept = match idle.take() {
            Some(connection) => match self.begun(connection, access).await {
                // It broke while nobody used it, and nothing was asked yet: another will do.
                Err(Trouble::Broken(_)) => None,
                begun => Some(begun?),
            },
            None => None,
        };
        let connection = match kept {
            Some(connection) => connection,
            None => self.begun(self.connect().await?, access).await?,
        };
        Ok(Box::new(PostgresSession { connection, idle, place: Arc::clone(&self.place) }))
    }
}

struct PostgresSession {
    connection: PgConnection,
    /// Where the connection goes when the transaction has ended well; until then nobody else has one.
    idle: OwnedMutexGuard<Option<PgConnection>>,
    place: Arc<str>,
}

impl PostgresSession {
    async fn end(mut self, how: &'static str) -> Result<(), Trouble> {
        session::script::<Postgres>(&mut self.connection, how).await.map_err(|error| explain(&self.place, error))?;
        *self.idle = Some(self.connection);
        Ok(())
    }
}

#[async_trait]
impl Session for PostgresSession {
    async fn fetch(&mut self, sql: &'static str, arguments: Vec<Value>) -> Result<Vec<Row>, Trouble> {
        let arguments = bind(arguments).map_err(|error| explain(&self.place, sqlx::Error::Encode(error)))?;
        let rows = session::query::<Postgres, _>(&mut self.connection, sql, arguments).await;
        let rows = rows.map_err(|error| explain(&self.place, error))?;
        rows.iter().map(read).collect::<Result<_, _>>().map_err(|error| explain(&self.place, error))
    }

    async fn script(&mut self, sql: &'static str) -> Result<(), Trouble> {
        session::script::<Postgres>(&mut self.connection, sql).await.map_err(|error| explain(&self.place, error))
    }

    async fn commit(self: Box<Self>) -> Result<(), Trouble> {
        self.end("COMMIT").await
    }

    async fn rollback(self: Box<Self>) -> Result<(), Trouble> {
        self.end("ROLLBACK").await
    }
}

fn bind(values: Vec<Value>) -> Result<PgArguments, sqlx::error::BoxDynError> {
    let mut arguments = PgArguments::default();
    for value in values {
        match value {
            Value::Text(text) => arguments.add(text)?,
            Value::Number(number) => arguments.add(number)?,
            Value::Time(at) => arguments.add(at)?,
            Value::Flag(flag) => arguments.add(flag)?,
        }
    }
    Ok(arguments)
}

fn read(row: &PgRow) -> Result<Row, sqlx::Error> {
    let value = |column: &sqlx::postgres::PgColumn| {
        let place = column.ordinal();
        Ok(match column.type_info().name() {
            "INT8" => Value::Number(row.try_get(place)?),
            "INT4" => Value::Number(row.try_get::<Option<i32>, _>(place)?.map(i64::from)),
            "TIMESTAMPTZ" => Value::Time(row.try_get(place)?),
            "BOOL" => Value::Flag(row.try_get(place)?),
            _ => Value::Text(row.try_get(place)?),
        })
    };
    row.columns().iter().map(value).collect::<Result<_, _>>().map(Row)
}

/// What an error means. Texts of the server are kept, because people know them; none holds a password.
fn explain(place: &str, error: sqlx::Error) -> Trouble {
    let database = match error {
        sqlx::Error::Database(database) => database,
        sqlx::Error::Io(error) if is_distrust(&error) => return no_tls(place, &error),
        sqlx::Error::Io(error) => return Trouble::Broken(format!("{place}: {error}")),
        sqlx::Error::Tls(error) => return no_tls(place, &error),
        sqlx::Error::Configuration(error) => return LedgerError::BadAddress(error.to_string()).into(),
        error @ (sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } | sqlx::Error::Encode(_)) => {
            return LedgerError::Corrupt(format!("{place}: {error}")).into();
        }
        error => return Trouble::Broken(format!("{place}: {error}")),
    };
    let code = database.code().unwrap_or_default();
    let why = format!("{place}: {} ({code})", database.message());
    classify(&code, database.message(), why)
}

fn no_tls(place: &str, error: &impl fmt::Display) -> Trouble {
    LedgerError::Refused(format!("no TLS with {place}: {error}; see `sslmode` and `sslrootcert` of the address")).into()
}

/// Whether a connection was given up because one side does not trust the other's certificate, which time does not heal.
fn is_distrust(error: &std::io::Error) -> bool {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(tls, Some(rustls::Error::InvalidCertificate(_) | rustls::Error::AlertReceived(_)))
}

/// What an SQLSTATE means (PostgreSQL, Appendix A). PgBouncer says most of what it has to say as 08P01, so its texts
/// have to be known.
fn classify(code: &str, message: &str, why: String) -> Trouble {
    match code {
        "40001" | "40P01" => Trouble::Again(why),
        // A row, schema, table or trigger that somebody else has made in the meantime.
        "23505" | "42P06" | "42P07" | "42710" | "42723" => Trouble::Clash(why),
        "XX000" if message.contains("concurrently updated") => Trouble::Clash(why),
        "42501" => LedgerError::Denied(why).into(),
        "3D000" | "P0001" => LedgerError::Refused(why).into(),
        "25006" => LedgerError::Refused(format!("{why}; name the primary, not a standby")).into(),
        "08P01" if message.contains("extra_float_digits") => {
            LedgerError::Refused(format!("{why}; PgBouncer needs `ignore_startup_parameters = extra_float_digits`"))
                .into()
        }
        "08P01" if message.contains("statement pooling") => {
            LedgerError::Refused(format!("{why}; PgBouncer needs `pool_mode = transaction` or `session`")).into()
        }
        "08P01"
            if ["no such", "does not exist", "authentication", "startup parameter"]
                .iter()
                .any(|text| message.contains(text)) =>
        {
            LedgerError::Refused(why).into()
        }
        // Taking too long, waiting too long, no room: the statement was not done, and the connection is whole.
        "57014" | "55P03" => LedgerError::Unreachable(why).into(),
        _ => match code.get(..2).unwrap_or_default() {
            "28" => LedgerError::Refused(why).into(),
            "53" | "54" => LedgerError::Unreachable(why).into(),
            "08" | "57" | "58" => Trouble::Broken(why),
            _ => LedgerError::Corrupt(why).into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_mean_what_they_say() {
        let meaning = |code: &str, message: &str| match classify(code, message, message.to_owned()) {
            Trouble::Again(_) => "again",
            Trouble::Clash(_) => "clash",
            Trouble::Broken(_) => "broken",
            Trouble::Final(LedgerError::Refused(_)) => "refused",
            Trouble::Final(LedgerError::Denied(_)) => "denied",
            Trouble::Final(LedgerError::Unreachable(_)) => "unreachable",
            Trouble::Final(_) => "corrupt",
        };
        for (code, message, expected) in [
            ("40001", "", "again"),
            ("40P01", "", "again"),
            ("23505", "", "clash"),
            ("XX000", "tuple concurrently updated", "clash"),
            ("XX000", "cache lookup failed", "corrupt"),
            ("28P01", "", "refused"),
            ("28000", "", "refused"),
            ("3D000", "", "refused"),
            ("25006", "", "refused"),
            ("42501", "", "denied"),
            ("57014", "", "unreachable"),
            ("55P03", "", "unreachable"),
            ("53300", "", "unreachable"),
            ("57P01", "", "broken"),
            ("57P03", "", "broken"),
            ("08006", "", "broken"),
            ("08P01", "unsupported startup parameter: extra_float_digits", "refused"),
            ("08P01", "transaction blocks not allowed in statement pooling mode", "refused"),
            ("08P01", "no such user", "refused"),
            ("08P01", "database \"app\" does not exist", "refused"),
            ("08P01", "server conn crashed?", "broken"),
            ("42P01", "", "corrupt"),
            ("", "", "corrupt"),
        ] {
            assert_eq!(meaning(code, message), expected, "{code} {message}");
        }
    }
}
