//! A PostgreSQL database that answers a query.

use std::str::FromStr as _;

use async_trait::async_trait;
use secrecy::ExposeSecret as _;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Connection as _, Row as _, ValueRef as _};

use super::{Good, Miss, Question, Values, unconnected};
use crate::config::{Secret, Template};
use crate::promotion::fault::{Code, Fault};

/// The most that is shown of a value.
const SHOWN: usize = 100;

pub(super) struct Postgres {
    options: PgConnectOptions,
    query: String,
    expect: Option<String>,
}

impl Postgres {
    pub(super) fn fill(
        database: &Secret,
        query: &str,
        expect: Option<&Template>,
        values: &Values,
    ) -> Result<Self, Fault> {
        let address = values.secrets.resolve(database)?;
        // What sqlx says of an address may quote it.
        let options = PgConnectOptions::from_str(address.expose_secret()).map_err(|_| {
            Fault::new(Code::ConfigurationInvalid, format!("{database} holds no address of a PostgreSQL database"))
                .with_fix("let it hold `postgres://user:password@host:port/name`")
        })?;
        let expect = expect.map(|template| values.render(template)).transpose()?;
        Ok(Self { options: options.statement_cache_capacity(0), query: query.to_owned(), expect })
    }
}

/// One query by the simple protocol: one message, so that no pooler can mix it up with another client's.
#[expect(clippy::disallowed_methods, reason = "the application's database, not the ledger's; this is the one place")]
async fn first_row(connection: &mut PgConnection, query: &str) -> Result<Option<PgRow>, sqlx::Error> {
    use sqlx::Executor as _;
    // The configuration's own text, which nobody but its author writes.
    connection.fetch_optional(sqlx::raw_sql(AssertSqlSafe(query.to_owned()))).await
}

/// The first column as text; nothing for NULL.
fn first_value(row: &PgRow) -> Result<Option<String>, sqlx::Error> {
    let value = row.try_get_raw(0)?;
    if value.is_null() {
        return Ok(None);
    }
    // The simple protocol sends every value as text.
    value.as_str().map(|text| Some(text.to_owned())).map_err(sqlx::Error::Decode)
}

#[async_trait]
impl Question for Postgres {
    async fn ask(&self, _: bool) -> Result<Good, Miss> {
        let mut connection = PgConnection::connect_with(&self.options).await.map_err(|error| miss(&error))?;
        let row = first_row(&mut connection, &self.query).await.map_err(|error| miss(&error))?;
        let value = row.as_ref().map(first_value).transpose().map_err(|error| miss(&error))?.flatten();
        // It was answered; how the connection ends is of no account.
        let _ = connection.close().await;
        match (&self.expect, value) {
            (None, _) => Ok(Good::default()),
            (Some(wanted), Some(found)) if *wanted == found => Ok(Good::default()),
            (Some(wanted), found) => {
                let found = found.map_or_else(|| "nothing".to_owned(), |text| format!("`{}`", cut(&text)));
                Err(Miss::Failed(format!("the query gives {found}, and `{}` is wanted", cut(wanted))))
            }
        }
    }
}

fn cut(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

/// Who does not let us in may well live: that is ours to set right.
fn miss(error: &sqlx::Error) -> Miss {
    match error {
        sqlx::Error::Io(error) => unconnected(error, "the database"),
        sqlx::Error::Tls(error) => Miss::Ours(format!("no TLS with the database: {error}")),
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            let text = format!("the database answers: {} ({code})", error.message());
            // Class 28 is a refused login; 3D is a database that does not exist; 42501 a right that is missing.
            let ours = code.starts_with("28") || code.starts_with("3D") || code == "42501";
            if ours { Miss::Ours(text) } else { Miss::Failed(text) }
        }
        other => Miss::Failed(format!("the database cannot be asked: {other}")),
    }
}
