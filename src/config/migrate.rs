//! `migrate`: how the database is brought forward before the deployment.

use std::time::Duration;

use indexmap::IndexMap;
use serde::Serialize;

use super::check::Checker;
use super::collection::NonEmpty;
use super::literal::Lit;
use super::names::{FilePath, Line, SchemaName};
use super::path::Path;
use super::secret::{Secret, SecretText};
use super::section::section;
use super::template::{Template, TemplateText};
use super::time::{AnyDuration, PositiveDuration};
use super::value::{Value, Variables};

/// How the database is brought forward.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Migrate {
    /// By what.
    pub tool: MigrationTool,
    /// The longest that all of it may take.
    pub timeout: Duration,
    /// Migrations that only add: going back past them is safe, whatever their statements look like.
    pub expand_only: Vec<String>,
}

/// What migrates.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MigrationTool {
    /// A folder of Prisma migrations, run as `prisma migrate deploy` does.
    Prisma(SqlMigrations),
    /// A folder of sqlx migrations.
    Sqlx(SqlMigrations),
    /// A folder of numbered SQL files.
    Sql(SqlMigrations),
    /// A program.
    Command {
        /// The program and its arguments.
        run: Vec<Template>,
        /// The variables that it gets.
        env: IndexMap<String, Value>,
    },
}

/// A folder of migrations and the database that they are for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SqlMigrations {
    /// The folder.
    pub folder: String,
    /// The database, as `postgres://…`.
    pub database: Secret,
    /// The schema in it; none for the connection's own.
    pub schema: Option<String>,
    /// How long to wait for the lock that migrating tools hold.
    pub lock_timeout: Duration,
}

section! {
    /// How the database is brought forward before the deployment.
    struct MigrateKeys from RawMigrate, one_of ["prisma", "sqlx", "sql", "command"], finish migrate => Migrate {
        /// A folder of Prisma migrations, run exactly as `prisma migrate deploy` does.
        optional prisma: Lit<FilePath> => String,
        /// A folder of sqlx migrations.
        optional sqlx: Lit<FilePath> => String,
        /// A folder of SQL files, in the order of the numbers that their names begin with.
        optional sql: Lit<FilePath> => String,
        /// Any other tool: a program with its arguments.
        optional command: NonEmpty<TemplateText> => Vec<Template>,
        /// The database, `${NAME}` with `postgres://…` in it.
        optional database: SecretText => Secret,
        /// The schema in it. Default: the connection's own.
        optional schema: Lit<SchemaName> => String,
        /// The variables that `command` gets; it gets no others but `PATH` and `HOME`.
        default(IndexMap::new()) env: Variables => IndexMap<String, Value>,
        /// How long to wait for the lock that migrating tools hold. Default: `10s`, as Prisma has it.
        default(Duration::from_secs(10)) lock_timeout: Lit<AnyDuration> => Duration,
        /// The longest that all of it may take. Default: `10m`.
        default(Duration::from_secs(600)) timeout: Lit<PositiveDuration> => Duration,
        /// Names of migrations that only add, whatever their statements look like: going back past them is safe.
        default(Vec::new()) expand_only: Vec<Lit<Line>> => Vec<String>,
    }
}

fn migrate(keys: MigrateKeys, written: &[String], at: &Path, checker: &mut Checker<'_>) -> Option<Migrate> {
    let tool = if let Some(run) = keys.command {
        checker
            .belongs(at, written, &["database", "schema", "lock-timeout"], &["prisma", "sqlx", "sql"])
            .then_some(MigrationTool::Command { run, env: keys.env })?
    } else {
        let good = checker.belongs(at, written, &["env"], &["command"]);
        if keys.database.is_none() {
            checker.missing(at, "database");
        }
        let database = keys.database.filter(|_| good)?;
        let (schema, lock_timeout) = (keys.schema, keys.lock_timeout);
        let migrations = |folder| SqlMigrations { folder, database, schema, lock_timeout };
        match (keys.prisma, keys.sqlx, keys.sql) {
            (Some(folder), ..) => MigrationTool::Prisma(migrations(folder)),
            (_, Some(folder), _) => MigrationTool::Sqlx(migrations(folder)),
            (.., folder) => MigrationTool::Sql(migrations(folder?)),
        }
    };
    Some(Migrate { tool, timeout: keys.timeout, expand_only: keys.expand_only })
}
