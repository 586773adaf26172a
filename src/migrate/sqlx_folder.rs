//! sqlx's migrations, applied by sqlx itself: its table, its checksums, its lock, its errors.

use std::collections::BTreeMap;

use flate2::Crc;
use sqlx::migrate::{MigrateError, Migrator};

use super::database::{Database, DatabaseError, text};
use super::{Folder, Say, pending, scripts};
use crate::promotion::fault::{Code, Fault};
use crate::promotion::migration::Migrations;

/// sqlx's table.
const TABLE: &str = "_sqlx_migrations";

/// What sqlx multiplies the checksum of the database's name with for the key of its lock (sqlx-postgres, `migrate.rs`).
const LOCK: i64 = 0x3d32_ad9e;

/// What there is to do.
pub(super) async fn look(folder: &Folder<'_>) -> Result<Migrations, Fault> {
    let migrator = read(folder).await?;
    let mut database = Database::connect(&folder.database, folder.settings.schema.as_deref()).await?;
    database.look_in_schema().await?;
    let applied = applied(&mut database).await?;
    if let Some(version) = applied.iter().find_map(|(version, (good, _))| (!good).then_some(*version)) {
        return Err(fault(&MigrateError::Dirty(version)));
    }
    let mut found = Migrations { tool: "sqlx".to_owned(), applied: applied.len() as u64, ..Migrations::default() };
    for migration in migrator.iter().filter(|migration| !migration.migration_type.is_down_migration()) {
        let checksum = hex::encode(&*migration.checksum);
        match applied.get(&migration.version) {
            // sqlx itself refuses then.
            Some((_, known)) if *known != checksum => {
                return Err(fault(&MigrateError::VersionMismatch(migration.version)));
            }
            Some(_) => {}
            None => {
                let name = format!("{}_{}", migration.version, migration.description.replace(' ', "_"));
                found.pending.push(pending(&name, checksum, migration.sql.as_str()));
            }
        }
    }
    if let Some(version) = applied.keys().find(|version| !migrator.version_exists(**version)) {
        return Err(fault(&MigrateError::VersionMissing(*version)));
    }
    Ok(found)
}

/// Applies what is open, one after the other.
pub(super) async fn apply(folder: &Folder<'_>, done: &mut Vec<String>, say: &Say<'_>) -> Result<(), Fault> {
    let mut migrator = read(folder).await?;
    let mut database = Database::connect(&folder.database, folder.settings.schema.as_deref()).await?;
    database.enter_schema().await?;
    let cockroach = database.is_cockroach();
    if !cockroach {
        // The same lock that sqlx takes, with a limit: the session that has it takes it again at once.
        let name = database.text("SELECT current_database()::text").await?.unwrap_or_default();
        let mut crc = Crc::new();
        crc.update(name.as_bytes());
        if !database.lock(LOCK.wrapping_mul(i64::from(crc.sum())), folder.settings.lock_timeout).await? {
            let limit = humantime::format_duration(folder.settings.lock_timeout);
            return Err(Fault::new(
                Code::MigrationsLocked,
                format!("sqlx's lock is held by somebody else for {limit}"),
            ));
        }
    }
    migrator.set_locking(!cockroach);
    let known = applied(&mut database).await?;
    let open: Vec<(i64, String)> = migrator
        .iter()
        .filter(|one| !one.migration_type.is_down_migration() && !known.contains_key(&one.version))
        .map(|one| (one.version, format!("{}_{}", one.version, one.description.replace(' ', "_"))))
        .collect();
    if open.is_empty() {
        // Also then it is sqlx that says whether all is well.
        migrator.run_direct(None, &mut database.connection, false).await.map_err(|error| fault(&error))?;
    }
    for (version, name) in open {
        say(&format!("applying {name}"));
        migrator.run_direct(Some(version), &mut database.connection, false).await.map_err(|error| fault(&error))?;
        done.push(name);
    }
    Ok(())
}

async fn read(folder: &Folder<'_>) -> Result<Migrator, Fault> {
    // sqlx would say less of a folder that is not there.
    scripts::names(&folder.path, false)?;
    Migrator::new(folder.path.as_path())
        .await
        .map_err(|error| Fault::new(Code::MigrationsUnreadable, format!("{}: {error}", folder.settings.folder)))
}

/// The versions that are applied, whether each was applied wholly, and their checksums.
async fn applied(database: &mut Database) -> Result<BTreeMap<i64, (bool, String)>, DatabaseError> {
    if !database.tables().await?.iter().any(|table| table == TABLE) {
        return Ok(BTreeMap::new());
    }
    let sql = format!("SELECT version::text, success::text, encode(checksum, 'hex') FROM {TABLE} ORDER BY version");
    let rows = database.rows(&sql).await?;
    let read = |row| Some((text(row, 0)?.parse().ok()?, (text(row, 1)? == "true", text(row, 2)?)));
    Ok(rows.iter().filter_map(read).collect())
}

fn fault(error: &MigrateError) -> Fault {
    let code = match error {
        MigrateError::VersionMissing(_) | MigrateError::VersionMismatch(_) | MigrateError::Source(_) => {
            Code::MigrationsUnreadable
        }
        _ => Code::MigrationFailed,
    };
    let fault = Fault::new(code, error.to_string());
    match error {
        MigrateError::VersionMissing(_) | MigrateError::VersionMismatch(_) => {
            fault.with_fix("restore the migration as it was applied, and make the change in a new one")
        }
        _ => fault,
    }
}
