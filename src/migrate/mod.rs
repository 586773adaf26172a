//! How the application's database is brought forward: each tool as it does it itself.
//!
//! | file | what it does |
//! |---|---|
//! | `prisma`, `sqlx_folder`, `sql_folder`, `command` | the tools |
//! | `database` | the connection; the one place where SQL is sent to the application's database |
//! | `scripts` | the files of a folder |
//! | `judge` | whether a script only adds |

mod command;
mod database;
mod judge;
mod order;
mod prisma;
mod scripts;
mod sql_folder;
mod sqlx_folder;

use std::collections::BTreeMap;
use std::path::PathBuf;

use secrecy::SecretString;
use serde_json::{Map, Value};

pub use self::database::DatabaseError;
use crate::config::{Migrate, MigrationTool, SecretReader, SqlMigrations};
use crate::promotion::digest::Digest;
use crate::promotion::fault::{Code, Fault};
use crate::promotion::migration::{Migrations, Pending};

/// Takes lines for the log.
pub type Say<'a> = dyn Fn(&str) + Send + Sync + 'a;

/// Brings one database forward.
#[derive(Debug, Clone)]
pub struct Migrator {
    settings: Migrate,
    secrets: SecretReader,
    workspace: PathBuf,
    values: Map<String, Value>,
}

/// A folder of migrations, and where they go.
#[derive(Debug)]
struct Folder<'a> {
    settings: &'a SqlMigrations,
    path: PathBuf,
    database: SecretString,
}

impl Migrator {
    /// A migrator. `values` are for the templates of `command`.
    #[must_use]
    pub fn new(settings: &Migrate, secrets: &SecretReader, workspace: PathBuf, values: Map<String, Value>) -> Self {
        Self { settings: settings.clone(), secrets: secrets.clone(), workspace, values }
    }

    /// The tool.
    #[must_use]
    pub const fn tool(&self) -> &'static str {
        match self.settings.tool {
            MigrationTool::Prisma(_) => "prisma",
            MigrationTool::Sqlx(_) => "sqlx",
            MigrationTool::Sql(_) => "sql",
            MigrationTool::Command { .. } => "command",
        }
    }

    /// The checksums of all files that are read, by their paths in the workspace: what a plan is bound to.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn inputs(&self) -> Result<BTreeMap<String, Digest>, Fault> {
        let folder = match &self.settings.tool {
            MigrationTool::Prisma(folder) | MigrationTool::Sqlx(folder) | MigrationTool::Sql(folder) => &folder.folder,
            MigrationTool::Command { .. } => return Ok(BTreeMap::new()),
        };
        scripts::digests(&self.workspace, folder)
    }

    /// Looks what there is to do. Changes nothing.
    ///
    /// # Errors
    /// What the tool itself would stop at before it has applied anything, and what keeps it from looking.
    pub async fn look(&self) -> Result<Migrations, Fault> {
        let looked = self.within(async {
            match &self.settings.tool {
                MigrationTool::Prisma(settings) => prisma::look(&self.folder(settings)?).await,
                MigrationTool::Sqlx(settings) => sqlx_folder::look(&self.folder(settings)?).await,
                MigrationTool::Sql(settings) => sql_folder::look(&self.folder(settings)?).await,
                MigrationTool::Command { run, env } => command::look(self, run, env),
            }
        });
        let mut found = looked.await?;
        for one in &mut found.pending {
            if self.settings.expand_only.contains(&one.name) {
                one.contracts = None;
            }
        }
        Ok(found)
    }

    /// Applies what is pending, in order; stops at the first that fails. The names of those that were applied.
    ///
    /// # Errors
    /// As the tool itself says it; with what was applied before.
    pub async fn apply(&self, say: &Say<'_>) -> Result<Vec<String>, (Fault, Vec<String>)> {
        let mut applied = Vec::new();
        let applying = self.within(async {
            match &self.settings.tool {
                MigrationTool::Prisma(settings) => {
                    let locks = self.secrets.plain("PRISMA_SCHEMA_DISABLE_ADVISORY_LOCK").is_none();
                    prisma::apply(&self.folder(settings)?, locks, &mut applied, say).await
                }
                MigrationTool::Sqlx(settings) => sqlx_folder::apply(&self.folder(settings)?, &mut applied, say).await,
                MigrationTool::Sql(settings) => sql_folder::apply(&self.folder(settings)?, &mut applied, say).await,
                MigrationTool::Command { run, env } => command::apply(self, run, env, say).await,
            }
        });
        let result = applying.await;
        match result {
            Ok(()) => Ok(applied),
            Err(fault) => Err((Fault { message: self.secrets.redact(&fault.message), ..fault }, applied)),
        }
    }

    async fn within<T>(&self, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        let limit = self.settings.timeout;
        tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
            let text = format!("migrating did not end within {}", humantime::format_duration(limit));
            Err(Fault::new(Code::MigrationTimedOut, text))
        })
    }

    fn folder<'a>(&self, settings: &'a SqlMigrations) -> Result<Folder<'a>, Fault> {
        let database = self.secrets.resolve(&settings.database)?;
        database::hide(&self.secrets, &database);
        Ok(Folder { settings, path: self.workspace.join(&settings.folder), database })
    }
}

/// A script that is pending, judged.
fn pending(name: &str, checksum: String, text: &str) -> Pending {
    Pending { name: name.to_owned(), checksum, contracts: judge::contracts(text) }
}
