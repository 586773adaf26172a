//! Any other tool: a program that migrates.

use indexmap::IndexMap;
use secrecy::ExposeSecret as _;

use super::{Migrator, Say};
use crate::config::{FillError, Template, Value};
use crate::process::Program;
use crate::promotion::fault::{Code, Fault};
use crate::promotion::migration::Migrations;

/// How many of the last lines that a failed program printed are in its fault.
const LAST_LINES: usize = 8;

/// What there is to do: the program does not tell.
pub(super) fn look(migrator: &Migrator, run: &[Template], env: &IndexMap<String, Value>) -> Result<Migrations, Fault> {
    let program = program(migrator, run, env)?;
    Ok(Migrations { tool: program.name(), untold: true, ..Migrations::default() })
}

/// Runs it to its end.
pub(super) async fn apply(
    migrator: &Migrator,
    run: &[Template],
    env: &IndexMap<String, Value>,
    say: &Say<'_>,
) -> Result<(), Fault> {
    let program = program(migrator, run, env)?;
    let ended = program.run().await?;
    let (out, error) = (ended.stdout.text(), ended.stderr.text());
    say(&out);
    say(&error);
    if ended.is_good() {
        return Ok(());
    }
    let printed = if error.trim().is_empty() { out } else { error };
    let lines: Vec<&str> = printed.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines[lines.len().saturating_sub(LAST_LINES)..].join(" / ");
    let code = ended.status.code().map_or_else(|| "a signal".to_owned(), |code| code.to_string());
    let text = format!("the program `{}` ended with {code}: {last}", program.name());
    Err(Fault::new(Code::MigrationFailed, text))
}

fn program(migrator: &Migrator, run: &[Template], env: &IndexMap<String, Value>) -> Result<Program, Fault> {
    let unfilled = |error: FillError| match error {
        FillError::Secret(error) => Fault::from(error),
        FillError::Template(error) => Fault::new(Code::ConfigurationInvalid, error.to_string()),
    };
    let words = run.iter().map(|word| word.render(&migrator.values).map_err(|error| unfilled(error.into())));
    let mut words = words.collect::<Result<Vec<_>, _>>()?.into_iter();
    let name = words.next().ok_or_else(|| Fault::defect("a program without a name"))?;
    let mut program =
        Program::new(name).arguments(words).directory(&migrator.workspace).timeout(migrator.settings.timeout);
    for (name, value) in env {
        let value = migrator.secrets.fill(value, &migrator.values).map_err(unfilled)?;
        program = program.variable(name, value.expose_secret().into());
    }
    Ok(program)
}
