//! Prisma's migrations, applied as `prisma migrate deploy` does: its table, its checksums, its order, its lock, its codes
//! and texts (prisma-engines, `apply_migrations.rs`, `sql_migration_persistence`, `migrations_directory.rs`).

use std::collections::BTreeSet;
use std::fmt::Write as _;

use chrono::Utc;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::database::{Database, DatabaseError, literal, text};
use super::{Folder, Say, order, pending, scripts};
use crate::promotion::fault::{Code, Fault};
use crate::promotion::migration::Migrations;

/// Prisma's table.
const TABLE: &str = "_prisma_migrations";

/// The key of Prisma's lock.
const LOCK: i64 = 72_707_369;

/// Tables that do not count as the application's: PostGIS makes them.
const IGNORED: [&str; 1] = ["spatial_ref_sys"];

/// How Prisma makes its table.
const CREATE: &str = "CREATE TABLE _prisma_migrations (
    id                      VARCHAR(36) PRIMARY KEY NOT NULL,
    checksum                VARCHAR(64) NOT NULL,
    finished_at             TIMESTAMPTZ,
    migration_name          VARCHAR(255) NOT NULL,
    logs                    TEXT,
    rolled_back_at          TIMESTAMPTZ,
    started_at              TIMESTAMPTZ NOT NULL DEFAULT now(),
    applied_steps_count     INTEGER NOT NULL DEFAULT 0
);";

/// A row of Prisma's table.
#[derive(Debug, Clone)]
struct Row {
    name: String,
    checksum: String,
    started_at: String,
    finished: bool,
    rolled_back: bool,
    logs: Option<String>,
}

/// What is there before anything is applied.
struct Found {
    rows: Vec<Row>,
    /// The names in the folder, in the order in which they are applied.
    names: Vec<String>,
}

impl Found {
    /// The names of those that are not applied.
    fn open(&self) -> Vec<String> {
        let applied: BTreeSet<&str> =
            self.rows.iter().filter(|row| !row.rolled_back).map(|row| row.name.as_str()).collect();
        self.names.iter().filter(|name| !applied.contains(name.as_str())).cloned().collect()
    }
}

/// What there is to do.
pub(super) async fn look(folder: &Folder<'_>) -> Result<Migrations, Fault> {
    let names = names(folder)?;
    let mut database = Database::connect(&folder.database, folder.settings.schema.as_deref()).await?;
    database.look_in_schema().await?;
    let rows = if is_prepared(&mut database).await? { rows(&mut database).await? } else { Vec::new() };
    refuse_failed(&rows)?;
    let found = Found { rows, names };
    let warnings = warnings(folder, &found);
    let mut all = Vec::new();
    for name in found.open() {
        let script = script(folder, &name)?;
        all.push(pending(&name, checksum(&script), &script));
    }
    let applied = found.rows.iter().filter(|row| row.finished && !row.rolled_back).count() as u64;
    Ok(Migrations { tool: "prisma".to_owned(), applied, pending: all, warnings, untold: false })
}

/// Applies what is open.
pub(super) async fn apply(
    folder: &Folder<'_>,
    locks: bool,
    applied: &mut Vec<String>,
    say: &Say<'_>,
) -> Result<(), Fault> {
    let names = names(folder)?;
    say(&format!("{} migrations found in {}", names.len(), folder.settings.folder));
    let mut database = Database::connect(&folder.database, folder.settings.schema.as_deref()).await?;
    database.enter_schema().await?;
    if locks && !database.is_cockroach() {
        let patience = folder.settings.lock_timeout;
        if !database.lock(LOCK, patience).await? {
            return Err(locked(patience));
        }
    }
    if !is_prepared(&mut database).await? {
        database.execute(CREATE).await?;
    }
    let rows = rows(&mut database).await?;
    refuse_failed(&rows)?;
    let open = Found { rows, names }.open();
    if open.is_empty() {
        say("No pending migrations to apply.");
    }
    for name in open {
        // A file that is missing is met when its turn comes: those before it are applied then.
        let script = script(folder, &name)?;
        say(&format!("Applying migration `{name}`"));
        one(&mut database, &name, &script).await?;
        applied.push(name);
    }
    if !applied.is_empty() {
        say("All migrations have been successfully applied.");
    }
    Ok(())
}

/// Applies one: its row, its script as one query, and what became of it.
async fn one(database: &mut Database, name: &str, script: &str) -> Result<(), Fault> {
    let id = Uuid::new_v4();
    let now = || literal(&Utc::now().format("%Y-%m-%d %H:%M:%S%.6f+00").to_string());
    let begun = format!(
        "INSERT INTO {TABLE} (id, checksum, started_at, migration_name) VALUES ('{id}', '{}', {}, {})",
        checksum(script),
        now(),
        literal(name)
    );
    database.execute(&begun).await?;
    if let Err(error) = database.execute(script).await {
        // Only a text for people is lost where this cannot be written.
        let logs = format!("UPDATE {TABLE} SET logs = {} WHERE id = '{id}'", literal(&told(&error)));
        let _ = database.execute(&logs).await;
        return Err(failed(name, &error));
    }
    let counted = format!("UPDATE {TABLE} SET applied_steps_count = applied_steps_count + 1 WHERE id = '{id}'");
    database.execute(&counted).await?;
    let finished = format!("UPDATE {TABLE} SET finished_at = {} WHERE id = '{id}'", now());
    Ok(database.execute(&finished).await?)
}

fn told(error: &DatabaseError) -> String {
    if error.state.is_empty() {
        return error.message.clone();
    }
    format!("Database error code: {}\n\nDatabase error:\nERROR: {}", error.state, error.message)
}

/// P3018.
fn failed(name: &str, error: &DatabaseError) -> Fault {
    let text = format!(
        "P3018: A migration failed to apply. New migrations cannot be applied before the error is recovered from. Read \
         more about how to resolve migration issues in a production database: https://pris.ly/d/migrate-resolve\n\n\
         Migration name: {name}\n\n{}",
        told(error)
    );
    let fix = format!(
        "look what of `{name}` is in the database, put that in order, then `prisma migrate resolve --rolled-back {name}` \
         (or `--applied {name}`), and promote again"
    );
    Fault::new(Code::MigrationFailed, text).with_fix(fix)
}

/// P1002.
fn locked(patience: std::time::Duration) -> Fault {
    let text = format!(
        "P1002: The database server was reached but timed out. Context: Timed out trying to acquire a postgres advisory \
         lock (SELECT pg_advisory_lock({LOCK})). Timeout: {}ms. See https://pris.ly/d/migrate-advisory-locking for details.",
        patience.as_millis()
    );
    Fault::new(Code::MigrationsLocked, text)
}

/// P3009, where a migration has begun and neither ended nor been taken back.
fn refuse_failed(rows: &[Row]) -> Result<(), Fault> {
    let failed: Vec<&Row> = rows.iter().filter(|row| !row.finished && !row.rolled_back).collect();
    let Some(first) = failed.first() else { return Ok(()) };
    let mut text = String::from(
        "P3009: migrate found failed migrations in the target database, new migrations will not be applied. Read more \
         about how to resolve migration issues in a production database: https://pris.ly/d/migrate-resolve",
    );
    for row in &failed {
        let _ = write!(text, "\nThe `{}` migration started at {} UTC failed", row.name, row.started_at);
        if let Some(logs) = row.logs.as_ref().filter(|logs| !logs.is_empty()) {
            let _ = write!(text, " with the following logs:\n{logs}");
        }
    }
    let name = &first.name;
    let fix = format!(
        "look first whether `{name}` is in the database after all: a runner that was stopped between the migration and its \
         entry leaves the same trace; then `prisma migrate resolve --applied {name}` or `--rolled-back {name}`"
    );
    Err(Fault::new(Code::MigrationFailed, text).with_fix(fix))
}

/// The names in the folder, in order; P3019 where it is not for PostgreSQL.
fn names(folder: &Folder<'_>) -> Result<Vec<String>, Fault> {
    let lock = folder.path.join("migration_lock.toml");
    if lock.is_file() {
        let text = scripts::text(&lock)?;
        let provider = text.lines().find(|line| line.starts_with("provider"));
        let provider = provider.map(|line| line.trim_start_matches("provider = ").trim_matches('"').to_owned());
        if let Some(other) = provider.filter(|provider| !matches!(provider.as_str(), "postgresql" | "cockroachdb")) {
            let text = format!(
                "P3019: The datasource provider `postgresql` specified in your schema does not match the one specified in \
                 the migration_lock.toml, `{other}`. Please remove your current migration directory and start a new \
                 migration history with prisma migrate dev. Read more: https://pris.ly/d/migrate-provider-switch"
            );
            return Err(Fault::new(Code::MigrationsUnreadable, text));
        }
    }
    let mut names = scripts::names(&folder.path, true)?;
    names.sort_by(|one, other| order::compare(one, other));
    Ok(names)
}

/// The text of a migration; P3015 where there is none.
fn script(folder: &Folder<'_>, name: &str) -> Result<String, Fault> {
    let path = folder.path.join(name).join("migration.sql");
    if !path.is_file() {
        let text = format!(
            "P3015: Could not find the migration file at {}. Please delete the directory or restore the migration file.",
            path.display()
        );
        return Err(Fault::new(Code::MigrationsUnreadable, text));
    }
    scripts::text(&path)
}

/// Whether Prisma's table is there; P3005 where others are and it is not.
async fn is_prepared(database: &mut Database) -> Result<bool, Fault> {
    let tables = database.tables().await?;
    if tables.iter().any(|table| table == TABLE) {
        return Ok(true);
    }
    if tables.iter().any(|table| !IGNORED.contains(&table.as_str())) {
        let text = "P3005: The database schema is not empty. Read more about how to baseline an existing production \
                    database: https://pris.ly/d/migrate-baseline";
        let fix =
            "mark what is in the database as applied: `prisma migrate resolve --applied <name>` for each migration";
        return Err(Fault::new(Code::MigrationFailed, text).with_fix(fix));
    }
    Ok(false)
}

async fn rows(database: &mut Database) -> Result<Vec<Row>, Fault> {
    let sql = format!(
        "SELECT migration_name::text, checksum::text, to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US'), \
         (finished_at IS NOT NULL)::text, (rolled_back_at IS NOT NULL)::text, logs FROM {TABLE} ORDER BY started_at ASC"
    );
    let rows = database.rows(&sql).await?;
    let truth = |row, column| text(row, column).is_some_and(|value| value == "true");
    Ok(rows
        .iter()
        .map(|row| Row {
            name: text(row, 0).unwrap_or_default(),
            checksum: text(row, 1).unwrap_or_default(),
            started_at: text(row, 2).unwrap_or_default(),
            finished: truth(row, 3),
            rolled_back: truth(row, 4),
            logs: text(row, 5),
        })
        .collect())
}

/// The checksum that Prisma keeps: SHA-256 of the text exactly, in small hexadecimal digits.
fn checksum(script: &str) -> String {
    hex::encode(Sha256::digest(script.as_bytes()))
}

/// Whether a checksum is that of a text, with either kind of line ends, or as earlier versions wrote it: without leading
/// zeros in its bytes.
fn is_checksum_of(kept: &str, script: &str) -> bool {
    let unix = script.replace("\r\n", "\n");
    let windows = unix.replace('\n', "\r\n");
    [script, &unix, &windows].into_iter().any(|text| {
        let unpadded = || {
            Sha256::digest(text.as_bytes()).iter().fold(String::new(), |mut all, byte| {
                let _ = write!(all, "{byte:x}");
                all
            })
        };
        checksum(text) == kept || (kept.len() != 64 && unpadded() == kept)
    })
}

/// What is odd about those that are applied. Prisma's `migrate deploy` passes over it, and so do we, but not in silence.
fn warnings(folder: &Folder<'_>, found: &Found) -> Vec<String> {
    let mut warnings = Vec::new();
    for row in found.rows.iter().filter(|row| row.finished && !row.rolled_back) {
        if !found.names.contains(&row.name) {
            warnings.push(format!("{} is applied, and is not in {}", row.name, folder.settings.folder));
        } else if script(folder, &row.name).is_ok_and(|script| !is_checksum_of(&row.checksum, &script)) {
            warnings.push(format!("{} was edited after it had been applied", row.name));
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_knows_both_kinds_of_line_ends_and_the_old_form() {
        let script = "SELECT 1;\nSELECT 2;\n";
        assert!(is_checksum_of(&checksum(script), script));
        assert!(is_checksum_of(&checksum(script), &script.replace('\n', "\r\n")));
        assert!(is_checksum_of(&checksum(&script.replace('\n', "\r\n")), script));
        assert!(!is_checksum_of(&checksum(script), "SELECT 1;"));
        // A text whose digest has a byte below 16.
        let old =
            (0..).map(|n| format!("-- {n}")).find(|text| checksum(text).as_bytes().chunks(2).any(|two| two[0] == b'0'));
        let old = old.unwrap();
        let unpadded: String = Sha256::digest(old.as_bytes()).iter().map(|byte| format!("{byte:x}")).collect();
        assert!(unpadded.len() < 64 && is_checksum_of(&unpadded, &old));
    }
}
