//! `deploy.command`: a program.

use std::time::Duration;

use indexmap::IndexMap;

use crate::config::check::Checker;
use crate::config::collection::NonEmpty;
use crate::config::literal::Lit;
use crate::config::names::FilePath;
use crate::config::path::Path;
use crate::config::section::section;
use crate::config::template::{Deployment, In, Template, TemplateText};
use crate::config::time::PositiveDuration;
use crate::config::value::{Value, Variables};

section! {
    /// A program with its arguments, without a shell between. In the container it is one of the container's own PATH.
    pub struct CommandDriver from RawCommandDriver, finish command => CommandDriver {
        /// Puts the candidate in place, e.g. `[./deploy, "{{ digest }}"]`. It ends with 0 where that went well.
        required run: In<Deployment, NonEmpty<TemplateText>> => Vec<Template>,
        /// Puts an earlier version in place; `digest` and `version` are then those of the target. Default: `run`.
        optional rollback: In<Deployment, NonEmpty<TemplateText>> => Vec<Template>,
        /// Prints the digest or version that runs.
        optional running: In<Deployment, NonEmpty<TemplateText>> => Vec<Template>,
        /// The variables that they get, templates or `${NAME}` for secrets; they get no others but `PATH` and `HOME`.
        default(IndexMap::new()) env: In<Deployment, Variables> => IndexMap<String, Value>,
        /// The directory that they run in. Default: the workspace.
        optional working_directory: Lit<FilePath> => String,
        /// How long each may take. Default: `10m`.
        default(Duration::from_secs(600)) timeout: Lit<PositiveDuration> => Duration,
    }
}

fn command(driver: CommandDriver, _: &[String], at: &Path, checker: &mut Checker<'_>) -> Option<CommandDriver> {
    let mut good = no_injection(&driver.run, &at.key("run"), checker);
    for (key, program) in [("rollback", &driver.rollback), ("running", &driver.running)] {
        good &= program.as_ref().is_none_or(|program| no_injection(program, &at.key(key), checker));
    }
    good.then_some(driver)
}

/// Refuses a template inside a shell's script: whoever chooses the value would choose the commands.
pub(in crate::config) fn no_injection(program: &[Template], at: &Path, checker: &mut Checker<'_>) -> bool {
    const SHELLS: [&str; 6] = ["sh", "bash", "dash", "ash", "zsh", "ksh"];
    let name = program.first().map(|name| name.as_str().rsplit('/').next().unwrap_or_default());
    if !name.is_some_and(|name| SHELLS.contains(&name)) {
        return true;
    }
    let option = program.iter().position(|word| {
        let word = word.as_str();
        word.starts_with('-') && !word.starts_with("--") && word.ends_with('c')
    });
    let script = option.and_then(|option| Some((option + 1, program.get(option + 1)?)));
    match script {
        Some((place, script)) if !script.is_plain() => {
            checker.problem(
                &at.index(place),
                "puts a value into a shell's script, where it could be anything",
                "give the value as an argument: `[sh, -c, 'deploy \"$1\"', deploy, \"{{ digest }}\"]`, or under `env`",
            );
            false
        }
        _ => true,
    }
}
