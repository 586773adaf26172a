//! The action's inputs, which are also the command line's flags: one table, from which both are read and documented.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::{Arg, ArgAction, Command};
use percent_encoding::percent_decode_str;
use secrecy::SecretString;

use super::environment::Environment;
pub use super::table::{DEFAULT_CONFIG, INPUTS, Input, Kind};
use super::words::{boolean, duration, event, items, log_format, operation, pairs, parse, port, severity, since};
use crate::config::NotifyEvent;
use crate::promotion::digest::Digest;
use crate::promotion::event::Operation;
use crate::promotion::fault::{Code, Fault, Severity};
use crate::promotion::identity::DeploymentId;
use crate::promotion::stage::Stage;

/// Checked inputs.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// `operation`.
    pub operation: Operation,
    /// `config`, where it was given by hand.
    pub config: Option<String>,
    /// `environment`.
    pub environment: Option<String>,
    /// `services`.
    pub services: Vec<String>,
    /// `image`.
    pub image: Option<String>,
    /// `to`.
    pub to: Option<String>,
    /// `digest`.
    pub digest: Option<Digest>,
    /// `version`.
    pub version: Option<String>,
    /// `deployment-id`.
    pub deployment_id: Option<DeploymentId>,
    /// `until`.
    pub until: Option<Stage>,
    /// `requestor`.
    pub requestor: Option<String>,
    /// `reason`.
    pub reason: Option<String>,
    /// `mode`.
    pub mode: Option<String>,
    /// `variables`.
    pub variables: BTreeMap<String, String>,
    /// `confirm`.
    pub confirm: Option<String>,
    /// `force`.
    pub force: bool,
    /// `override`.
    pub overrides: Vec<String>,
    /// `dry-run`.
    pub dry_run: bool,
    /// `database-url`.
    pub database_url: Option<SecretString>,
    /// `database-host`.
    pub database_host: Option<String>,
    /// `database-port`.
    pub database_port: Option<u16>,
    /// `database-user`.
    pub database_user: Option<String>,
    /// `database-password`.
    pub database_password: Option<SecretString>,
    /// `database-name`.
    pub database_name: Option<String>,
    /// `github-token`.
    pub github_token: Option<SecretString>,
    /// `registry-username`.
    pub registry_username: Option<String>,
    /// `registry-password`.
    pub registry_password: Option<SecretString>,
    /// `job-status`.
    pub job_status: Option<String>,
    /// `check-run-id`.
    pub check_run_id: Option<String>,
    /// `ref`.
    pub git_ref: Option<String>,
    /// `timeout`.
    pub timeout: Option<Duration>,
    /// `anchor`.
    pub anchor: Option<String>,
    /// `audit-file`.
    pub audit_file: Option<String>,
    /// `since`.
    pub since: Option<DateTime<Utc>>,
    /// `event`.
    pub event: Option<NotifyEvent>,
    /// `severity`.
    pub severity: Option<Severity>,
    /// `message`.
    pub message: Option<String>,
    /// `channels`.
    pub channels: Vec<String>,
    /// Whether logs are for machines.
    pub json_logs: bool,
}

/// What came of reading the command line.
#[derive(Debug)]
pub enum Read {
    /// Inputs, as text by name.
    Given(Given),
    /// A text to show, and nothing else to do: help or version.
    Shown(String),
}

/// Inputs as they were given: texts by name, empty ones left out.
#[derive(Default)]
pub struct Given(BTreeMap<&'static str, String>);

impl std::fmt::Debug for Given {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The command line, made from the table.
#[must_use]
pub fn command() -> Command {
    let mut command = Command::new("tidegate")
        // `--version` is the candidate's version; this program's own is `-V`.
        .disable_version_flag(true)
        .about("Promotes a tested container image from one environment to the next, and takes it back when it does not live")
        .after_help(
            "Every flag is also an input of the action, and can be given as an environment variable: TIDEGATE_ and its \
             name in upper case with underscores, e.g. TIDEGATE_DATABASE_URL. Secrets belong there and not on the \
             command line, where others on the machine can read them.",
        )
        .arg(Arg::new("V").short('V').help("Print this program's version").action(ArgAction::SetTrue))
        .arg(Arg::new("OPERATION").help("The same as --operation").required(false));
    for one in INPUTS {
        let about = if one.default.is_empty() || one.default.starts_with("${{") {
            one.about.to_owned()
        } else {
            format!("{} [default: {}]", one.about, one.default)
        };
        let mut arg = Arg::new(one.name).long(one.name).help(about).action(ArgAction::Append).allow_hyphen_values(true);
        arg = match one.kind {
            Kind::Boolean => {
                arg.num_args(0..=1).require_equals(true).default_missing_value("true").value_name("BOOLEAN")
            }
            Kind::Duration => arg.value_name("TIME"),
            Kind::Pairs => arg.value_name("NAME=VALUE"),
            Kind::Text | Kind::Secret | Kind::List => arg.value_name("TEXT"),
        };
        command = command.arg(arg);
    }
    command
}

/// Reads the inputs: from the command line first, then from `INPUT_*` as the runner sets them (upper case, hyphens kept),
/// then from `TIDEGATE_*` (upper case, hyphens as underscores).
///
/// # Errors
/// [`Code::InputInvalid`] for a flag that does not exist or has no value.
pub fn read(arguments: &[String], environment: &Environment) -> Result<Read, Box<Fault>> {
    let matches = match command().try_get_matches_from(arguments) {
        Ok(matches) if matches.get_flag("V") => {
            return Ok(Read::Shown(format!("tidegate {}\n", env!("CARGO_PKG_VERSION"))));
        }
        Ok(matches) => matches,
        Err(error) if error.kind() == clap::error::ErrorKind::DisplayHelp => {
            return Ok(Read::Shown(error.render().to_string()));
        }
        Err(error) => {
            let text = error.render().to_string();
            let text = text.trim_start_matches("error: ").trim();
            let (what, rest) = text.split_once("\n\n").unwrap_or((text, ""));
            let tip = rest
                .lines()
                .find(|line| line.trim_start().starts_with("tip:"))
                .unwrap_or("run `tidegate --help` to see the flags");
            return Err(Box::new(
                Fault::new(Code::InputInvalid, what).with_fix(tip.trim().trim_start_matches("tip: ")),
            ));
        }
    };
    let mut given = Given::default();
    for one in INPUTS {
        let flags: Vec<&str> = matches.get_many::<String>(one.name).into_iter().flatten().map(String::as_str).collect();
        let positional =
            if one.name == "operation" { matches.get_one::<String>("OPERATION").map(String::as_str) } else { None };
        let text = if let Some(operation) = positional {
            Some(operation.to_owned())
        } else if flags.is_empty() {
            let upper = one.name.to_ascii_uppercase();
            environment
                .get(&format!("INPUT_{upper}"))
                .or_else(|| environment.get(&format!("TIDEGATE_{}", upper.replace('-', "_"))))
                .map(ToOwned::to_owned)
        } else {
            Some(flags.join("\n"))
        };
        if let Some(text) = text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()) {
            given.0.insert(one.name, text);
        }
    }
    Ok(Read::Given(given))
}

impl Given {
    /// Whether logs are to be for machines; known before anything else is checked.
    #[must_use]
    pub fn wants_json_logs(&self) -> bool {
        self.0.get("log-format").is_some_and(|format| format == "json")
    }

    /// Every secret among the inputs, to be masked; also the password inside the database's address, in both ways of
    /// writing it.
    #[must_use]
    pub fn secrets(&self) -> Vec<String> {
        let secret = INPUTS.iter().filter(|one| one.kind == Kind::Secret);
        let mut secrets: Vec<String> = secret.filter_map(|one| self.0.get(one.name)).cloned().collect();
        let address = self.0.get("database-url").and_then(|address| url::Url::parse(address).ok());
        if let Some(password) = address.as_ref().and_then(url::Url::password) {
            secrets.push(percent_decode_str(password).decode_utf8_lossy().into_owned());
            secrets.push(password.to_owned());
        }
        secrets
    }

    /// Checks the inputs, all of them, so that every mistake is told at once.
    ///
    /// # Errors
    /// [`Code::InputInvalid`], naming each input that is wrong, and how to write it.
    pub fn check(&self) -> Result<Inputs, Box<Fault>> {
        let mut reader = Reader { given: self, wrong: Vec::new() };
        let inputs = Inputs {
            operation: reader.parsed("operation", operation).unwrap_or(Operation::Promote),
            config: reader.text("config"),
            environment: reader.text("environment"),
            services: reader.list("services"),
            image: reader.text("image"),
            to: reader.text("to"),
            digest: reader.parsed("digest", parse),
            version: reader.text("version"),
            deployment_id: reader.parsed("deployment-id", parse),
            until: reader.parsed("until", parse),
            requestor: reader.text("requestor"),
            reason: reader.text("reason"),
            mode: reader.text("mode"),
            variables: reader.parsed("variables", pairs).unwrap_or_default(),
            confirm: reader.text("confirm"),
            force: reader.parsed("force", boolean).unwrap_or(false),
            overrides: reader.list("override"),
            dry_run: reader.parsed("dry-run", boolean).unwrap_or(false),
            database_url: reader.secret("database-url"),
            database_host: reader.text("database-host"),
            database_port: reader.parsed("database-port", port),
            database_user: reader.text("database-user"),
            database_password: reader.secret("database-password"),
            database_name: reader.text("database-name"),
            github_token: reader.secret("github-token"),
            registry_username: reader.text("registry-username"),
            registry_password: reader.secret("registry-password"),
            job_status: reader.text("job-status"),
            check_run_id: reader.text("check-run-id"),
            git_ref: reader.text("ref"),
            timeout: reader.parsed("timeout", duration),
            anchor: reader.text("anchor"),
            audit_file: reader.text("audit-file"),
            since: reader.parsed("since", since),
            event: reader.parsed("event", event),
            severity: reader.parsed("severity", severity),
            message: reader.text("message"),
            channels: reader.list("channels"),
            json_logs: reader.parsed("log-format", log_format).unwrap_or(false),
        };
        reader.contradictions(&inputs);
        if reader.wrong.is_empty() { Ok(inputs) } else { Err(reader.fault()) }
    }
}

struct Reader<'a> {
    given: &'a Given,
    wrong: Vec<(String, String)>,
}

impl Reader<'_> {
    fn text(&self, name: &str) -> Option<String> {
        debug_assert!(INPUTS.iter().any(|one| one.name == name), "{name} is not in the table");
        self.given.0.get(name).cloned()
    }

    fn secret(&self, name: &str) -> Option<SecretString> {
        self.text(name).map(SecretString::from)
    }

    fn list(&self, name: &str) -> Vec<String> {
        self.text(name).map(|text| items(&text)).unwrap_or_default()
    }

    fn parsed<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        match parse(&self.text(name)?) {
            Ok(value) => Some(value),
            Err(why) => {
                self.wrong.push((name.to_owned(), why));
                None
            }
        }
    }

    /// What cannot be asked for together, whatever the configuration says.
    fn contradictions(&mut self, inputs: &Inputs) {
        let mut wrong = |name: &str, why: &str| self.wrong.push((name.to_owned(), why.to_owned()));
        if inputs.force && inputs.reason.is_none() {
            wrong("force", "needs a `reason`, which is recorded");
        }
        if !inputs.overrides.is_empty() && inputs.reason.is_none() {
            wrong("override", "needs a `reason`, which is recorded");
        }
        for one in &inputs.overrides {
            if !matches!(one.as_str(), "freeze" | "bad-digest") {
                wrong("override", &format!("`{one}` cannot be passed over; `freeze` and `bad-digest` can"));
            }
        }
        if inputs.to.is_some() && inputs.image.is_none() && inputs.environment.is_none() {
            wrong("to", "says where to, and `image` does not say what");
        }
        if inputs.to.is_some() && inputs.environment.is_some() {
            wrong("to", "is for a promotion without a configuration; an `environment` has its own target");
        }
        if inputs.until == Some(Stage::Report) {
            wrong("until", "`report` is the last stage: leave `until` out");
        }
        if inputs.database_url.is_some() && (inputs.database_host.is_some() || inputs.database_name.is_some()) {
            wrong("database-url", "and its parts (`database-host` and the others) are given; give one of the two");
        }
        if inputs.database_url.is_none() && inputs.database_host.is_none() {
            for (name, given) in [
                ("database-port", inputs.database_port.is_some()),
                ("database-user", inputs.database_user.is_some()),
                ("database-password", inputs.database_password.is_some()),
                ("database-name", inputs.database_name.is_some()),
            ] {
                if given {
                    wrong(name, "is given without `database-host`");
                }
            }
        }
        if inputs.operation == Operation::Notify {
            if inputs.event.is_none() {
                wrong("event", "is missing: say what happened, e.g. `succeeded`");
            }
            if inputs.message.is_none() {
                wrong("message", "is missing: say what people are to be told");
            }
        }
        if inputs.operation == Operation::Rollback && inputs.confirm.as_deref() != Some("ROLLBACK") {
            wrong("confirm", "must be `ROLLBACK` for a rollback by hand");
        }
        if inputs.operation == Operation::Rollback && inputs.reason.is_none() {
            wrong("reason", "is needed for a rollback by hand: it is on record");
        }
    }

    fn fault(self) -> Box<Fault> {
        let message = match self.wrong.as_slice() {
            [(name, why)] => format!("input `{name}`: {why}"),
            many => {
                let lines: Vec<String> = many.iter().map(|(name, why)| format!("`{name}`: {why}")).collect();
                format!("{} inputs are wrong: {}", many.len(), lines.join("; "))
            }
        };
        Box::new(Fault::new(Code::InputInvalid, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn checked(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Inputs, Box<Fault>> {
        let arguments: Vec<String> =
            std::iter::once("tidegate").chain(arguments.iter().copied()).map(ToOwned::to_owned).collect();
        match read(&arguments, &environment(variables))? {
            Read::Given(given) => given.check(),
            Read::Shown(text) => panic!("{text}"),
        }
    }

    #[test]
    fn the_runner_and_the_command_line_say_the_same() {
        let from_runner = checked(
            &[],
            &[
                ("INPUT_OPERATION", "plan"),
                ("INPUT_DEPLOYMENT-ID", "1732185300-abc123def456"),
                ("INPUT_SERVICES", "api,\nweb, api"),
                ("INPUT_FORCE", "True"),
                ("INPUT_REASON", " because "),
                ("INPUT_IMAGE", ""),
                ("INPUT_TIMEOUT", "1h 30m"),
                ("INPUT_VARIABLES", "site=example\nid = 12=3\n"),
            ],
        )
        .unwrap();
        let from_flags = checked(
            &[
                "plan",
                "--deployment-id",
                "1732185300-abc123def456",
                "--services=api",
                "--services",
                "web",
                "--force",
                "--reason",
                "because",
                "--timeout",
                "1h30m",
                "--variables",
                "site=example",
                "--variables",
                "id=12=3",
            ],
            &[],
        )
        .unwrap();
        for inputs in [from_runner, from_flags] {
            assert_eq!(inputs.operation, Operation::Plan);
            assert_eq!(inputs.services, ["api", "web"]);
            assert!(inputs.force);
            assert_eq!(inputs.reason.as_deref(), Some("because"));
            assert_eq!(inputs.image, None);
            assert_eq!(inputs.timeout, Some(Duration::from_secs(5400)));
            assert_eq!(inputs.variables["id"], "12=3");
        }
    }

    #[test]
    fn a_flag_wins_over_the_environment() {
        let inputs =
            checked(&["--environment", "a"], &[("INPUT_ENVIRONMENT", "b"), ("TIDEGATE_ENVIRONMENT", "c")]).unwrap();
        assert_eq!(inputs.environment.as_deref(), Some("a"));
        let inputs = checked(&[], &[("INPUT_ENVIRONMENT", "b"), ("TIDEGATE_ENVIRONMENT", "c")]).unwrap();
        assert_eq!(inputs.environment.as_deref(), Some("b"));
        let inputs = checked(&[], &[("TIDEGATE_DATABASE_NAME", "x"), ("TIDEGATE_DATABASE_HOST", "h")]).unwrap();
        assert_eq!(inputs.database_name.as_deref(), Some("x"));
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let fault = checked(
            &[],
            &[
                ("INPUT_OPERATION", "promoet"),
                ("INPUT_DIGEST", "sha256:abc"),
                ("INPUT_FORCE", "yes"),
                ("INPUT_DATABASE-PORT", "0"),
                ("INPUT_TIMEOUT", "soon"),
                ("INPUT_UNTIL", "deploy"),
            ],
        )
        .unwrap_err();
        assert_eq!(fault.code, Code::InputInvalid);
        for part in [
            "did you mean `promote`",
            "`digest`",
            "neither `true` nor `false`",
            "not a port",
            "`30m`",
            "`deploy` is not a stage",
        ] {
            assert!(fault.message.contains(part), "{part} is not in: {}", fault.message);
        }
    }

    #[test]
    fn contradictions_are_refused() {
        for (variables, part) in [
            (&[("INPUT_FORCE", "true")][..], "needs a `reason`"),
            (&[("INPUT_OVERRIDE", "signature"), ("INPUT_REASON", "x")], "cannot be passed over"),
            (&[("INPUT_TO", "production")], "does not say what"),
            (&[("INPUT_OPERATION", "rollback")], "must be `ROLLBACK`"),
            (&[("INPUT_DATABASE-USER", "x")], "without `database-host`"),
            (&[("INPUT_DATABASE-URL", "x"), ("INPUT_DATABASE-HOST", "y")], "one of the two"),
            (&[("INPUT_VARIABLES", "a b=c")], "is not a name"),
        ] {
            let fault = checked(&[], variables).unwrap_err();
            assert!(fault.message.contains(part), "{part} is not in: {}", fault.message);
        }
    }

    #[test]
    fn an_unknown_flag_has_a_hint() {
        let fault = checked(&["--imgae", "x"], &[]).unwrap_err();
        assert!(fault.message.contains("--imgae") && fault.fix.contains("--image"), "{fault:?}");
    }

    #[test]
    fn no_debug_output_holds_a_secret() {
        let inputs =
            checked(&[], &[("INPUT_DATABASE-URL", "postgres://u:hunter2@h/d"), ("INPUT_GITHUB-TOKEN", "hunter2")])
                .unwrap();
        assert!(!format!("{inputs:?}").contains("hunter2"));
    }

    #[test]
    fn the_password_in_an_address_is_a_secret_of_its_own() {
        let environment = environment(&[("INPUT_DATABASE-URL", "postgres://u:p%40ss+%2Fw@h/d")]);
        let Read::Given(given) = read(&["tidegate".to_owned()], &environment).unwrap() else { panic!() };
        let secrets = given.secrets();
        for wanted in ["postgres://u:p%40ss+%2Fw@h/d", "p%40ss+%2Fw", "p@ss+/w"] {
            assert!(secrets.iter().any(|secret| secret == wanted), "{wanted} is not in {secrets:?}");
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }
}
