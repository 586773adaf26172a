//! The connection to the application's database, and the one place where SQL is sent to it.
//!
//! Everything goes by the simple protocol: a script is one query, as its tool sends it, and so is bookkeeping. What is
//! asked here has no parameters; values are written as literals by [`literal`].

use std::str::FromStr as _;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{Connection as _, PgConnection, Row as _};

use crate::config::SecretReader;
use crate::crashpoint;
use crate::promotion::fault::{Code, Fault};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(15);

/// What a database says against a statement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DatabaseError {
    /// Its SQLSTATE; empty where the connection broke.
    pub state: String,
    /// What it says (untrusted).
    pub message: String,
}

impl DatabaseError {
    fn of(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => {
                Self { state: error.code().unwrap_or_default().into_owned(), message: error.message().to_owned() }
            }
            other => Self { state: String::new(), message: other.to_string() },
        }
    }
}

impl From<DatabaseError> for Fault {
    fn from(error: DatabaseError) -> Self {
        if error.state.is_empty() {
            return Self::new(Code::DatabaseUnreachable, format!("the application's database: {error}"));
        }
        Self::new(Code::MigrationFailed, format!("the application's database says {}: {error}", error.state))
    }
}

/// A connection to the application's database.
#[derive(Debug)]
pub(super) struct Database {
    pub(super) connection: PgConnection,
    /// The schema that the migrations are for.
    pub(super) schema: String,
    /// What the server says it is.
    version: String,
}

/// Hides the password in a database's address, by itself too.
pub(super) fn hide(secrets: &SecretReader, address: &SecretString) {
    if let Ok(url) = url::Url::parse(address.expose_secret())
        && let Some(password) = url.password()
    {
        secrets.hide(password);
        secrets.hide(&percent_decode_str(password).decode_utf8_lossy());
    }
}

impl Database {
    /// Connects. `schema` takes the place of the address's own `schema`, as Prisma has it; without both it is `public`.
    ///
    /// # Errors
    /// The address is none, or nobody answers there, or we are not let in.
    pub(super) async fn connect(address: &SecretString, schema: Option<&str>) -> Result<Self, Fault> {
        let (address, own) = split(address.expose_secret())?;
        let schema = schema.map(ToOwned::to_owned).or(own).unwrap_or_else(|| "public".to_owned());
        let options = PgConnectOptions::from_str(&address).map_err(|_| {
            Fault::new(Code::ConfigurationInvalid, "`migrate.database` is not an address of PostgreSQL")
                .with_fix("let the secret hold `postgres://user:password@host:5432/name`")
        })?;
        let place = format!("{}:{}", options.get_host(), options.get_port());
        let unreachable = |why: String| {
            Fault::new(Code::DatabaseUnreachable, format!("the application's database at {place}: {why}"))
        };
        // No statement is prepared: it must work behind a pooler too.
        let options = options.statement_cache_capacity(0).application_name("tidegate");
        crashpoint::pass("database connect");
        let connecting = PgConnection::connect_with(&options);
        let connection = match tokio::time::timeout(CONNECT, connecting).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => {
                let error = DatabaseError::of(&error);
                // 28: invalid authorization; 3D: no such database (PostgreSQL, appendix A).
                return Err(match error.state.get(..2) {
                    Some("28") => {
                        let text = format!("the application's database at {place} does not let us in: {error}");
                        Fault::new(Code::DatabaseRefused, text)
                    }
                    _ => unreachable(error.to_string()),
                });
            }
            Err(_) => return Err(unreachable(format!("no answer within {}", humantime::format_duration(CONNECT)))),
        };
        let mut database = Self { connection, schema, version: String::new() };
        database.version = database.text("SELECT version()").await?.unwrap_or_default();
        Ok(database)
    }

    /// Whether it is CockroachDB, which has no advisory locks.
    pub(super) fn is_cockroach(&self) -> bool {
        self.version.contains("CockroachDB")
    }

    /// Whether the schema exists.
    pub(super) async fn has_schema(&mut self) -> Result<bool, DatabaseError> {
        let sql = format!("SELECT count(*)::text FROM pg_namespace WHERE nspname = {}", literal(&self.schema));
        Ok(self.text(&sql).await?.as_deref() == Some("1"))
    }

    /// Makes the schema if it is not there, and looks for unqualified names in it.
    pub(super) async fn enter_schema(&mut self) -> Result<(), DatabaseError> {
        if !self.has_schema().await? {
            let sql = format!("CREATE SCHEMA {}", identifier(&self.schema));
            self.execute(&sql).await?;
        }
        self.look_in_schema().await
    }

    /// Looks for unqualified names in the schema.
    pub(super) async fn look_in_schema(&mut self) -> Result<(), DatabaseError> {
        let sql = format!("SET search_path = {}", identifier(&self.schema));
        self.execute(&sql).await
    }

    /// The names of the schema's tables.
    pub(super) async fn tables(&mut self) -> Result<Vec<String>, DatabaseError> {
        let sql = format!(
            "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relkind = 'r' AND n.nspname = {} ORDER BY 1",
            literal(&self.schema)
        );
        let rows = self.rows(&sql).await?;
        Ok(rows.iter().filter_map(|row| text(row, 0)).collect())
    }

    /// The one text that a query gives.
    pub(super) async fn text(&mut self, sql: &str) -> Result<Option<String>, DatabaseError> {
        Ok(self.rows(sql).await?.first().and_then(|row| text(row, 0)))
    }

    /// The rows that a query gives, each column cast to text by the query.
    #[expect(clippy::disallowed_methods, reason = "the application's database, by the simple protocol: the one place")]
    pub(super) async fn rows(&mut self, sql: &str) -> Result<Vec<PgRow>, DatabaseError> {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .fetch_all(&mut self.connection)
            .await
            .map_err(|error| DatabaseError::of(&error))
    }

    /// Sends a text as one simple query: without a transaction of its own in it, all of it happens or nothing.
    #[expect(clippy::disallowed_methods, reason = "the application's database, by the simple protocol: the one place")]
    pub(super) async fn execute(&mut self, sql: &str) -> Result<(), DatabaseError> {
        crashpoint::pass("database statement");
        let done = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut self.connection).await;
        crashpoint::pass("database answer");
        done.map(drop).map_err(|error| DatabaseError::of(&error))
    }

    /// Takes a session's advisory lock, waiting so long; whether it is ours. It goes with the connection.
    pub(super) async fn lock(&mut self, key: i64, patience: Duration) -> Result<bool, DatabaseError> {
        let sql = format!("SELECT pg_advisory_lock({key})::text");
        match tokio::time::timeout(patience, self.rows(&sql)).await {
            Ok(locked) => locked.map(|_| true),
            Err(_) => Ok(false),
        }
    }
}

/// A column that the query has cast to text.
pub(super) fn text(row: &PgRow, column: usize) -> Option<String> {
    row.try_get::<Option<String>, _>(column).ok().flatten()
}

/// A text as a literal, whatever `standard_conforming_strings` says.
pub(super) fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''").replace('\0', ""))
}

/// A name in quotes.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\"").replace('\0', ""))
}

/// An address without what only Prisma knows, and the schema that it names.
fn split(address: &str) -> Result<(String, Option<String>), Fault> {
    let invalid = || {
        Fault::new(Code::ConfigurationInvalid, "`migrate.database` is not an address of PostgreSQL")
            .with_fix("let the secret hold `postgres://user:password@host:5432/name`")
    };
    let mut url = url::Url::parse(address.trim()).map_err(|_| invalid())?;
    if !matches!(url.scheme(), "postgres" | "postgresql") {
        return Err(invalid());
    }
    let ours = [
        "schema",
        "connection_limit",
        "pool_timeout",
        "socket_timeout",
        "connect_timeout",
        "pgbouncer",
        "statement_cache_size",
    ];
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let schema =
        pairs.iter().find(|(name, value)| name == "schema" && !value.is_empty()).map(|(_, value)| value.clone());
    let rest: Vec<&(String, String)> = pairs.iter().filter(|(name, _)| !ours.contains(&name.as_str())).collect();
    url.set_query(None);
    if !rest.is_empty() {
        url.query_pairs_mut().extend_pairs(rest);
    }
    Ok((url.to_string(), schema))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_prisma_names_its_schema() {
        let (address, schema) =
            split("postgresql://u:p%40ss@h:5432/d?schema=app&sslmode=require&connection_limit=5").unwrap();
        assert_eq!(address, "postgresql://u:p%40ss@h:5432/d?sslmode=require");
        assert_eq!(schema.as_deref(), Some("app"));
        assert_eq!(split("postgres://h/d").unwrap(), ("postgres://h/d".to_owned(), None));
        assert!(split("mysql://h/d").is_err() && split("host=h").is_err());
    }

    #[test]
    fn nothing_breaks_out_of_a_literal() {
        assert_eq!(literal(r"it's \ here"), r"E'it''s \\ here'");
        assert_eq!(identifier("we\"b"), "\"we\"\"b\"");
    }
}
