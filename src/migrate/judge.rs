//! Whether a script only adds to the schema, so that a version from before it can still work after it.
//!
//! What is not understood counts as not: the answer is used to decide whether it is safe to go back.

use std::collections::BTreeSet;

use sqlparser::ast::{AlterTableOperation, AlterTypeOperation, ColumnOption, CreateIndex, ObjectName, Statement};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

/// Why going back past this script is not safe; nothing where it only adds.
pub(super) fn contracts(script: &str) -> Option<String> {
    let statements = match Parser::parse_sql(&PostgreSqlDialect {}, script) {
        Ok(statements) => statements,
        Err(_) => return Some("has statements that are not understood".to_owned()),
    };
    // What this script itself has made may be changed by it as it likes.
    let mut made = BTreeSet::new();
    statements.iter().find_map(|statement| statement_contracts(statement, &mut made))
}

fn statement_contracts(statement: &Statement, made: &mut BTreeSet<String>) -> Option<String> {
    let not = |what: &str| Some(what.to_owned());
    match statement {
        Statement::CreateTable(table) => {
            made.insert(name(&table.name));
            if table.or_replace { not("replaces a table") } else { None }
        }
        Statement::CreateView(view) => {
            if view.or_replace {
                not("replaces a view")
            } else {
                None
            }
        }
        Statement::CreateIndex(CreateIndex { unique, table_name, .. }) => {
            if *unique && !made.contains(&name(table_name)) { not("makes values unique that were not") } else { None }
        }
        Statement::CreateFunction(function) => {
            if function.or_replace {
                not("replaces a function")
            } else {
                None
            }
        }
        Statement::CreateType { .. }
        | Statement::CreateSchema { .. }
        | Statement::CreateSequence { .. }
        | Statement::CreateExtension { .. }
        | Statement::Comment { .. }
        | Statement::StartTransaction { .. }
        | Statement::Commit { .. }
        | Statement::Set(_) => None,
        Statement::AlterType(alter) => match &alter.operation {
            AlterTypeOperation::AddValue(_) => None,
            _ => not("changes a type"),
        },
        Statement::AlterTable(alter) => {
            let table = name(&alter.name);
            let own = made.contains(&table);
            alter
                .operations
                .iter()
                .find_map(|operation| if own { None } else { operation_contracts(operation, &table) })
        }
        Statement::Insert(insert) => {
            let target = insert.table.to_string();
            if made.contains(&bare(&target)) { None } else { not("changes rows") }
        }
        Statement::Drop { object_type, .. } => Some(format!("drops a {}", object_type.to_string().to_lowercase())),
        Statement::Update { .. } | Statement::Delete(_) | Statement::Truncate { .. } => not("changes rows"),
        other => {
            let words: Vec<String> = other.to_string().split_whitespace().take(2).map(ToOwned::to_owned).collect();
            Some(format!("has a statement that may do more than add: {}", words.join(" ")))
        }
    }
}

fn operation_contracts(operation: &AlterTableOperation, table: &str) -> Option<String> {
    match operation {
        AlterTableOperation::AddColumn { column_def, .. } => {
            let has = |wanted: fn(&ColumnOption) -> bool| column_def.options.iter().any(|one| wanted(&one.option));
            let filled = has(|one| matches!(one, ColumnOption::Default(_) | ColumnOption::Generated { .. }))
                || column_def.data_type.to_string().to_lowercase().contains("serial");
            if has(|one| matches!(one, ColumnOption::NotNull)) && !filled {
                return Some(format!("adds a column to {table} that every writer must know: {}", column_def.name));
            }
            let strict = has(|one| {
                matches!(one, ColumnOption::Unique { .. } | ColumnOption::PrimaryKey { .. } | ColumnOption::Check(_))
            });
            strict.then(|| format!("adds a column to {table} with a constraint: {}", column_def.name))
        }
        AlterTableOperation::DropColumn { .. } => Some(format!("drops a column of {table}")),
        AlterTableOperation::RenameColumn { .. } => Some(format!("renames a column of {table}")),
        AlterTableOperation::RenameTable { .. } => Some(format!("renames {table}")),
        AlterTableOperation::AddConstraint { .. } => Some(format!("adds a constraint to {table}")),
        // Less is demanded of writers than before.
        AlterTableOperation::DropConstraint { .. } => None,
        _ => Some(format!("changes {table}")),
    }
}

fn name(name: &ObjectName) -> String {
    bare(&name.to_string())
}

/// A name without quotes and without its schema.
fn bare(name: &str) -> String {
    name.rsplit('.').next().unwrap_or(name).trim_matches('"').to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_adds_is_known_and_nothing_else_is_taken_for_it() {
        for script in [
            "CREATE TABLE \"User\" (\"id\" SERIAL NOT NULL, \"email\" TEXT NOT NULL, CONSTRAINT \"User_pkey\" PRIMARY KEY (\"id\"));
             CREATE UNIQUE INDEX \"User_email_key\" ON \"User\"(\"email\");
             ALTER TABLE \"User\" ADD CONSTRAINT x FOREIGN KEY (\"id\") REFERENCES \"Other\"(\"id\") ON DELETE RESTRICT ON UPDATE CASCADE;",
            "ALTER TABLE \"User\" ADD COLUMN \"name\" TEXT;",
            "ALTER TABLE \"User\" ADD COLUMN \"age\" INTEGER NOT NULL DEFAULT 0;",
            "CREATE INDEX CONCURRENTLY i ON t (a);",
            "CREATE TYPE \"Role\" AS ENUM ('USER', 'ADMIN');",
            "ALTER TYPE \"Role\" ADD VALUE 'OWNER';",
            "CREATE FUNCTION f() RETURNS integer AS $$ BEGIN; RETURN 1; END; $$ LANGUAGE plpgsql;",
            "CREATE VIEW v AS SELECT 1; COMMENT ON TABLE t IS 'x';",
            "CREATE TABLE t (a int); INSERT INTO t VALUES (1);",
            "-- nothing\n",
        ] {
            assert_eq!(contracts(script), None, "{script}");
        }
        for (script, why) in [
            ("ALTER TABLE \"User\" DROP COLUMN \"name\";", "drops a column"),
            ("DROP TABLE t;", "drops a table"),
            ("ALTER TABLE t ADD COLUMN a INTEGER NOT NULL;", "every writer"),
            ("ALTER TABLE t RENAME COLUMN a TO b;", "renames a column"),
            ("ALTER TABLE t RENAME TO u;", "renames t"),
            ("ALTER TABLE t ALTER COLUMN a SET NOT NULL;", "changes t"),
            ("ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0);", "adds a constraint"),
            ("CREATE UNIQUE INDEX i ON t (a);", "unique"),
            ("UPDATE t SET a = 1;", "changes rows"),
            ("INSERT INTO t VALUES (1);", "changes rows"),
            ("CREATE OR REPLACE FUNCTION f() RETURNS integer AS $$ SELECT 1 $$ LANGUAGE sql;", "replaces a function"),
            ("DO $$ BEGIN EXECUTE 'DROP TABLE t'; END $$;", ""),
            ("GRANT ALL ON t TO u;", ""),
            ("this is no SQL", "not understood"),
        ] {
            let said = contracts(script);
            assert!(said.as_ref().is_some_and(|said| said.contains(why)), "{script}: {said:?}");
        }
    }
}
