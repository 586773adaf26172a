//! A folder of SQL files in the order of the numbers that their names begin with.
//!
//! What was applied is kept in a schema of its own, `tidegate_migrations`, so that nothing of ours is among the
//! application's tables. Each file is applied with its entry in one transaction, all or nothing; one whose first line is
//! `-- no-transaction` is sent as it is, for what PostgreSQL does not do in a transaction.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::database::{Database, DatabaseError, identifier, literal, text};
use super::{Folder, Say, pending, scripts};
use crate::promotion::fault::{Code, Fault};
use crate::promotion::migration::Migrations;

/// Where it is kept what was applied.
const PLACE: &str = "tidegate_migrations";

/// The key of the lock.
const LOCK: i64 = 0x7469_6465_6761_7465;

/// The first line of a file that wants no transaction.
const NO_TRANSACTION: &str = "-- no-transaction";

struct Script {
    number: u64,
    name: String,
    text: String,
}

impl Script {
    fn checksum(&self) -> String {
        hex::encode(Sha256::digest(self.text.as_bytes()))
    }
}

struct Applied {
    name: String,
    checksum: String,
    whole: bool,
}

/// What there is to do.
pub(super) async fn look(folder: &Folder<'_>) -> Result<Migrations, Fault> {
    let scripts = read(folder)?;
    let mut database = Database::connect(&folder.database, folder.settings.schema.as_deref()).await?;
    let known = applied(&mut database).await?;
    refuse_partial(&known)?;
    let mut found = Migrations { tool: "sql".to_owned(), applied: known.len() as u64, ..Migrations::default() };
    for script in &scripts {
        match known.get(&script.number) {
            None => found.pending.push(pending(&script.name, script.checksum(), &script.text)),
            Some(before) if before.checksum != script.checksum() => {
                found.warnings.push(format!("{} was edited after it had been applied", script.name));
            }
            Some(_) => {}
        }
    }
    let gone = known.iter().filter(|(number, _)| !scripts.iter().any(|script| script.number == **number));
    found
        .warnings
        .extend(gone.map(|(_, one)| format!("{} is applied, and is not in {}", one.name, folder.settings.folder)));
    Ok(found)
}

/// Applies what is open, one after the other.
pub(super) async fn apply(folder: &Folder<'_>, done: &mut Vec<String>, say: &Say<'_>) -> Result<(), Fault> {
    let scripts = read(folder)?;
    let mut database = Database::connect(&folder.database, folder.settings.schema.as_deref()).await?;
    database.enter_schema().await?;
    if !database.is_cockroach() && !database.lock(LOCK, folder.settings.lock_timeout).await? {
        let limit = humantime::format_duration(folder.settings.lock_timeout);
        let text = format!("somebody else is migrating this database, and has been for {limit}");
        return Err(Fault::new(Code::MigrationsLocked, text));
    }
    prepare(&mut database).await?;
    let known = applied(&mut database).await?;
    refuse_partial(&known)?;
    for script in scripts.iter().filter(|script| !known.contains_key(&script.number)) {
        say(&format!("applying {}", script.name));
        one(&mut database, script).await?;
        done.push(script.name.clone());
    }
    Ok(())
}

async fn one(database: &mut Database, script: &Script) -> Result<(), Fault> {
    let entry = |whole: bool| {
        format!(
            "INSERT INTO {PLACE}.migration (schema, number, name, checksum, whole) VALUES ({}, {}, {}, '{}', {whole})",
            literal(&database.schema),
            script.number,
            literal(&script.name),
            script.checksum()
        )
    };
    let (begun, whole) = (entry(false), entry(true));
    if script.text.trim_start().starts_with(NO_TRANSACTION) {
        database.execute(&begun).await?;
        database.execute(&script.text).await.map_err(|error| failed(script, &error))?;
        let sql = format!(
            "UPDATE {PLACE}.migration SET whole = true WHERE schema = {} AND number = {}",
            literal(&database.schema),
            script.number
        );
        return Ok(database.execute(&sql).await?);
    }
    database.execute("BEGIN").await?;
    if let Err(error) = database.execute(&script.text).await {
        // Where the connection is gone, so is the transaction.
        let _ = database.execute("ROLLBACK").await;
        return Err(failed(script, &error));
    }
    // The script may have looked elsewhere.
    let back = format!("SET search_path = {}", identifier(&database.schema));
    database.execute(&whole).await?;
    database.execute("COMMIT").await?;
    Ok(database.execute(&back).await?)
}

fn failed(script: &Script, error: &DatabaseError) -> Fault {
    let state = if error.state.is_empty() { "the connection broke".to_owned() } else { error.state.clone() };
    Fault::new(Code::MigrationFailed, format!("{} failed ({state}): {error}", script.name))
}

/// One without a transaction that was begun and has not ended may be there in part.
fn refuse_partial(known: &BTreeMap<u64, Applied>) -> Result<(), Fault> {
    let Some((number, one)) = known.iter().find(|(_, one)| !one.whole) else { return Ok(()) };
    let text = format!("{} was begun without a transaction, and has not ended: it may be there in part", one.name);
    let fix = format!(
        "look what of it is in the database, put that in order, then delete its row (number {number}) from \
         {PLACE}.migration, or set its `whole` to true where all of it is there"
    );
    Err(Fault::new(Code::MigrationFailed, text).with_fix(fix))
}

async fn prepare(database: &mut Database) -> Result<(), DatabaseError> {
    let sql = format!(
        "CREATE SCHEMA IF NOT EXISTS {PLACE}; CREATE TABLE IF NOT EXISTS {PLACE}.migration (schema TEXT NOT NULL, number \
         BIGINT NOT NULL, name TEXT NOT NULL, checksum TEXT NOT NULL, whole BOOLEAN NOT NULL, applied_at TIMESTAMPTZ NOT \
         NULL DEFAULT now(), PRIMARY KEY (schema, number))"
    );
    database.execute(&sql).await
}

async fn applied(database: &mut Database) -> Result<BTreeMap<u64, Applied>, DatabaseError> {
    let there = database.text(&format!("SELECT to_regclass('{PLACE}.migration')::text")).await?;
    if there.is_none() {
        return Ok(BTreeMap::new());
    }
    let sql = format!(
        "SELECT number::text, name, checksum, whole::text FROM {PLACE}.migration WHERE schema = {}",
        literal(&database.schema)
    );
    let rows = database.rows(&sql).await?;
    let read = |row| {
        let whole = text(row, 3)? == "true";
        Some((text(row, 0)?.parse().ok()?, Applied { name: text(row, 1)?, checksum: text(row, 2)?, whole }))
    };
    Ok(rows.iter().filter_map(read).collect())
}

fn read(folder: &Folder<'_>) -> Result<Vec<Script>, Fault> {
    let mut scripts: Vec<Script> = Vec::new();
    for name in scripts::names(&folder.path, false)? {
        if !name.ends_with(".sql") || name.ends_with(".down.sql") {
            continue;
        }
        let digits: String = name.chars().take_while(char::is_ascii_digit).collect();
        let Some(number) = digits.parse::<u64>().ok().filter(|number| i64::try_from(*number).is_ok()) else {
            let text = format!("{name} in {} does not begin with a number", folder.settings.folder);
            let fix = "let the name of each file begin with its number, e.g. `001_users.sql`";
            return Err(Fault::new(Code::MigrationsUnreadable, text).with_fix(fix));
        };
        if let Some(other) = scripts.iter().find(|other| other.number == number) {
            let text = format!("{name} and {} have the same number", other.name);
            return Err(Fault::new(Code::MigrationsUnreadable, text).with_fix("give each file a number of its own"));
        }
        let text = scripts::text(&folder.path.join(&name))?;
        scripts.push(Script { number, name, text });
    }
    scripts.sort_by_key(|script| script.number);
    Ok(scripts)
}
