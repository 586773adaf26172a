//! One transaction on one database: all that the ledger's logic knows of either.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::database::HasStatementCache;
use sqlx::{Executor, IntoArguments};

use super::LedgerError;
use super::statements::Statements;

/// What a transaction is going to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Read.
    Read,
    /// Read and write a few rows.
    Write,
    /// Read and write everything.
    Overhaul,
}

impl Access {
    /// The most time that a transaction may take before it is given up, waiting for others included.
    pub(super) const fn limit(self) -> Duration {
        match self {
            Self::Read | Self::Write => Duration::from_secs(45),
            Self::Overhaul => Duration::from_secs(630),
        }
    }
}

/// A value on its way to or from a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// Text, or none.
    Text(Option<String>),
    /// A whole number, or none.
    Number(Option<i64>),
    /// A time to the millisecond, or none.
    Time(Option<DateTime<Utc>>),
    /// Yes or no.
    Flag(bool),
}

impl Value {
    /// Text that may hold anything. PostgreSQL cannot keep NUL in a text, so that one character is replaced.
    pub(super) fn text(text: &str) -> Self {
        Self::Text(Some(text.replace('\0', "\u{fffd}")))
    }

    /// Text that may hold anything, where there is one.
    pub(super) fn maybe(text: Option<&str>) -> Self {
        text.map_or(Self::Text(None), Self::text)
    }

    /// A number. Those of the ledger count from 1; none comes near the limit.
    pub(super) fn number(number: u64) -> Self {
        Self::Number(Some(i64::try_from(number).unwrap_or(i64::MAX)))
    }

    /// A time.
    pub(super) const fn time(at: DateTime<Utc>) -> Self {
        Self::Time(Some(at))
    }
}

/// One row of an answer.
#[derive(Debug)]
pub(super) struct Row(pub(super) Vec<Value>);

impl Row {
    fn wrong(&self, column: usize, wanted: &str) -> Trouble {
        LedgerError::Corrupt(format!("column {column} of an answer is no {wanted}: {:?}", self.0.get(column))).into()
    }

    /// The text in a column, where there is one.
    pub(super) fn maybe_text(&self, column: usize) -> Result<Option<&str>, Trouble> {
        match self.0.get(column) {
            Some(Value::Text(text)) => Ok(text.as_deref()),
            _ => Err(self.wrong(column, "text")),
        }
    }

    /// The text in a column.
    pub(super) fn text(&self, column: usize) -> Result<&str, Trouble> {
        self.maybe_text(column)?.ok_or_else(|| self.wrong(column, "text"))
    }

    /// What the text in a column stands for.
    pub(super) fn parsed<T: std::str::FromStr>(&self, column: usize) -> Result<T, Trouble> {
        self.text(column)?.parse().map_err(|_| self.wrong(column, std::any::type_name::<T>()))
    }

    /// What the text in a column stands for, where there is one.
    pub(super) fn maybe_parsed<T: std::str::FromStr>(&self, column: usize) -> Result<Option<T>, Trouble> {
        self.maybe_text(column)?.map(|_| self.parsed(column)).transpose()
    }

    /// The number in a column, where there is one.
    pub(super) fn maybe_number(&self, column: usize) -> Result<Option<u64>, Trouble> {
        match self.0.get(column) {
            Some(Value::Number(Some(number))) => {
                u64::try_from(*number).map(Some).map_err(|_| self.wrong(column, "number from 0"))
            }
            Some(Value::Number(None) | Value::Text(None)) => Ok(None),
            _ => Err(self.wrong(column, "number")),
        }
    }

    /// The number in a column.
    pub(super) fn number(&self, column: usize) -> Result<u64, Trouble> {
        self.maybe_number(column)?.ok_or_else(|| self.wrong(column, "number"))
    }

    /// The time in a column, where there is one. SQLite keeps times as text.
    pub(super) fn maybe_time(&self, column: usize) -> Result<Option<DateTime<Utc>>, Trouble> {
        match self.0.get(column) {
            Some(Value::Time(at)) => Ok(*at),
            Some(Value::Text(None)) => Ok(None),
            Some(Value::Text(Some(text))) => match DateTime::parse_from_rfc3339(text) {
                Ok(at) => Ok(Some(at.to_utc())),
                Err(_) => Err(self.wrong(column, "time")),
            },
            _ => Err(self.wrong(column, "time")),
        }
    }

    /// The time in a column.
    pub(super) fn time(&self, column: usize) -> Result<DateTime<Utc>, Trouble> {
        self.maybe_time(column)?.ok_or_else(|| self.wrong(column, "time"))
    }

    /// The yes or no in a column. SQLite keeps it as 1 or 0.
    pub(super) fn flag(&self, column: usize) -> Result<bool, Trouble> {
        match self.0.get(column) {
            Some(Value::Flag(flag)) => Ok(*flag),
            Some(Value::Number(Some(number @ (0 | 1)))) => Ok(*number == 1),
            _ => Err(self.wrong(column, "yes or no")),
        }
    }
}

/// Why a transaction did not go through.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Somebody was in the way: nothing was done, and the same again may succeed.
    Again(String),
    /// Something that may be there only once is there: nothing was done, and the same again may find it.
    Clash(String),
    /// The connection broke: what was being done when it did may or may not have been done.
    Broken(String),
    /// Nothing was done, and the same again will do no better.
    Final(LedgerError),
}

impl From<LedgerError> for Trouble {
    fn from(error: LedgerError) -> Self {
        Self::Final(error)
    }
}

/// A transaction under way. Dropped without [`Session::commit`], nothing in it is done.
#[async_trait]
pub(super) trait Session: Send {
    /// Runs one statement and returns its rows.
    async fn fetch(&mut self, sql: &'static str, arguments: Vec<Value>) -> Result<Vec<Row>, Trouble>;

    /// Runs statements without arguments, for definitions and for the transaction itself.
    async fn script(&mut self, sql: &'static str) -> Result<(), Trouble>;

    /// Makes everything durable. The connection is kept for the next transaction.
    async fn commit(self: Box<Self>) -> Result<(), Trouble>;

    /// Gives everything up. The connection is kept for the next transaction.
    async fn rollback(self: Box<Self>) -> Result<(), Trouble>;
}

/// A database that can hold a ledger.
#[async_trait]
pub(super) trait Database: Send + Sync + fmt::Debug {
    /// What to say to it.
    fn statements(&self) -> &'static Statements;

    /// Begins a transaction, connecting first where there is no connection.
    async fn begin(&self, access: Access) -> Result<Box<dyn Session>, Trouble>;
}

/// Runs one statement. The ONE place where the ledger, and the program, queries a database.
///
/// The statement is unnamed, so nothing of it is left in a server that PgBouncer may give to somebody else next; and
/// the caller is inside a transaction, so PgBouncer does not change the server between its parts.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub(super) async fn query<DB, A>(
    connection: &mut DB::Connection,
    sql: &'static str,
    arguments: A,
) -> Result<Vec<DB::Row>, sqlx::Error>
where
    DB: sqlx::Database + HasStatementCache,
    A: IntoArguments<DB> + 'static,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    sqlx::query_with::<DB, A>(sql, arguments).persistent(false).fetch_all(connection).await
}

/// Runs statements without arguments by the simple protocol, which leaves nothing behind in the server.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub(super) async fn script<DB>(connection: &mut DB::Connection, sql: &'static str) -> Result<(), sqlx::Error>
where
    DB: sqlx::Database,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    sqlx::raw_sql(sql).execute(connection).await.map(drop)
}
