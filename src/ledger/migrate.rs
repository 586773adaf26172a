//! The ledger's schema: numbered scripts, run once each, all that are missing in one transaction.
//!
//! No lock is needed, which some poolers and databases would not have: each script's number is unique in the table of
//! migrations, so of several who migrate at once one gets through, and the others find it done when they try again.

use super::LedgerError;
use super::session::{Trouble, Value};
use super::transaction::Transaction;

/// One script.
#[derive(Debug)]
pub(super) struct Migration {
    name: &'static str,
    script: &'static str,
    /// Whether it makes what is made from events. It then does nothing to what is there, and may be run again.
    derived: bool,
}

/// The scripts of one database; the number of each is its place, from 1.
macro_rules! migrations {
    ($folder:literal) => {
        &[
            migration!($folder, "0001_event", derived: false),
            migration!($folder, "0002_derived", derived: true),
        ]
    };
}

macro_rules! migration {
    ($folder:literal, $name:literal, derived: $derived:literal) => {
        Migration {
            name: $name,
            script: include_str!(concat!("../../migrations/", $folder, "/", $name, ".sql")),
            derived: $derived,
        }
    };
}

/// For PostgreSQL.
pub(super) const POSTGRES: &[Migration] = migrations!("postgres");

/// For SQLite.
pub(super) const SQLITE: &[Migration] = migrations!("sqlite");

/// The version that this program knows.
const KNOWN: u64 = POSTGRES.len() as u64;

/// How many tables and views are derived.
const DERIVED: u64 = 8;

/// Whether there is a schema.
///
/// # Errors
/// [`LedgerError::TooNew`] when it is newer than this program.
pub(super) async fn exists(transaction: &mut Transaction) -> Result<bool, Trouble> {
    Ok(version(transaction).await? > 0)
}

/// Whether the schema is the one that this program knows.
///
/// # Errors
/// [`LedgerError::TooNew`] when it is newer.
pub(super) async fn is_current(transaction: &mut Transaction) -> Result<bool, Trouble> {
    Ok(version(transaction).await? == KNOWN)
}

async fn version(transaction: &mut Transaction) -> Result<u64, Trouble> {
    let sql = transaction.sql;
    if transaction.number(sql.exists).await? == 0 {
        return Ok(0);
    }
    let found = transaction.number(sql.version).await?;
    if found > KNOWN { Err(LedgerError::TooNew { found, known: KNOWN }.into()) } else { Ok(found) }
}

/// Runs what is missing, and fills what is derived.
pub(super) async fn run(transaction: &mut Transaction) -> Result<(), Trouble> {
    let sql = transaction.sql;
    let found = version(transaction).await?;
    if found == KNOWN {
        return Ok(());
    }
    check_encoding(transaction).await?;
    if transaction.number(sql.exists).await? == 0 {
        if transaction.number(sql.schema_exists).await? == 0 {
            transaction.script(sql.create_schema).await?;
        }
        transaction.script(sql.create_migrations).await?;
    }
    for (migration, version) in sql.migrations.iter().zip(1..).filter(|(_, version)| *version > found) {
        transaction.fetch(sql.insert_version, vec![Value::number(version), Value::text(migration.name)]).await?;
        transaction.script(migration.script).await?;
    }
    transaction.refill().await
}

/// Makes the derived tables that are missing.
pub(super) async fn restore_derived(transaction: &mut Transaction) -> Result<(), Trouble> {
    // Asked first, because even a statement that does nothing needs the right to make tables.
    if transaction.number(transaction.sql.derived_count).await? < DERIVED {
        for migration in transaction.sql.migrations.iter().filter(|migration| migration.derived) {
            transaction.script(migration.script).await?;
        }
    }
    Ok(())
}

async fn check_encoding(transaction: &mut Transaction) -> Result<(), Trouble> {
    let rows = transaction.fetch(transaction.sql.encoding, Vec::new()).await?;
    match rows.first().map(|row| row.text(0)).transpose()? {
        Some("UTF8") => Ok(()),
        other => {
            let other = other.unwrap_or("nothing");
            Err(LedgerError::Refused(format!(
                "the database is encoded in {other}, and the ledger needs UTF8: create one with `ENCODING 'UTF8'`"
            ))
            .into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promotion::event::Operation;
    use crate::promotion::fault::{Category, Severity};
    use crate::promotion::state::State;

    #[test]
    fn the_schema_knows_every_word_of_the_domain() {
        for migrations in [POSTGRES, SQLITE] {
            let script = migrations[1].script;
            let names = State::ALL.iter().map(|state| state.name());
            let names = names.chain(Operation::ALL.iter().map(|operation| operation.name()));
            let names = names.chain(Category::ALL.iter().map(|category| category.name()));
            for name in names.chain(Severity::ALL.iter().map(|severity| severity.name())) {
                assert!(script.contains(&format!("'{name}'")), "{name} is in no CHECK");
            }
        }
    }

    #[test]
    fn both_databases_have_the_same_scripts() {
        let shape = |migrations: &[Migration]| migrations.iter().map(|one| (one.name, one.derived)).collect::<Vec<_>>();
        assert_eq!(shape(POSTGRES), shape(SQLITE));
    }
}
