//! `deploy.compose`: Docker Compose on hosts that are reached over SSH.

use std::time::Duration;

use indexmap::IndexMap;
use serde::Serialize;

use crate::config::check::Checker;
use crate::config::collection::{NonEmpty, OneOrMany};
use crate::config::literal::Lit;
use crate::config::names::{FilePath, HostKey, UserSyntax};
use crate::config::number::{Port, Whole};
use crate::config::path::Path;
use crate::config::secret::{Secret, SecretText};
use crate::config::section::section;
use crate::config::size::{Size, SizeSyntax};
use crate::config::ssh::Ssh;
use crate::config::template::{Deployment, Filled, In, Template, TemplateText};
use crate::config::time::PositiveDuration;
use crate::config::value::{Value, VariableName, Variables};

/// Docker Compose, or plain commands, on hosts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ComposeDriver {
    /// The hosts and how to get there.
    pub ssh: Ssh,
    /// The directory on the hosts.
    pub directory: Template,
    /// What is done there.
    pub mode: ComposeMode,
    /// The login to the registry on the host, for the time of the pull.
    pub registry_login: Option<RegistryLogin>,
    /// How many hosts at a time.
    pub parallel: u32,
    /// How many backups stay.
    pub keep_backups: u32,
    /// How much must be free on the disk of `directory`.
    pub free_disk: Option<Size>,
    /// How long it may take on one host.
    pub timeout: Duration,
}

/// What is done on a host.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ComposeMode {
    /// Docker Compose.
    Compose {
        /// The compose file, in the directory.
        file: String,
        /// The project's name; none for Compose's own choice.
        project: Option<Template>,
        /// The service's name in the compose file.
        service: Template,
        /// The variable of the environment file that names the image; none where an override file does.
        image_variable: Option<String>,
        /// The environment file, in the directory.
        env_file: Option<String>,
        /// Variables that are written into the environment file.
        env: IndexMap<String, Value>,
    },
    /// Commands of the host.
    Commands(HostCommands),
}

section! {
    /// Docker Compose on hosts that are reached over SSH, or plain commands there.
    struct ComposeKeys from RawComposeDriver,
        at_most_one_of ["file", "commands"],
        finish compose => ComposeDriver
    {
        /// The hosts.
        required hosts: OneOrMany<TemplateText> => Vec<Template>,
        /// The user there.
        required user: Filled<UserSyntax> => Template,
        /// The private key, as it is or in base64.
        required key: SecretText => Secret,
        /// The passphrase of the key.
        optional passphrase: SecretText => Secret,
        /// The keys that the hosts may show: fingerprints (`SHA256:…`) or lines of `known_hosts`. An unknown host is
        /// never trusted.
        required host_keys: NonEmpty<Lit<HostKey>> => Vec<String>,
        /// The port. Default: 22.
        default(22) port: Port => u16,
        /// The directory on the hosts, e.g. `/opt/api`.
        required directory: In<Deployment, TemplateText> => Template,
        /// The compose file in it. Default: `compose.yaml`.
        default("compose.yaml".to_owned()) file: Lit<FilePath> => String,
        /// The project's name. Default: Compose's own choice.
        optional project: In<Deployment, TemplateText> => Template,
        /// The service's name in the compose file. Default: the service's name here.
        optional service: In<Deployment, TemplateText> => Template,
        /// The variable of `env-file` that names the image in the compose file, e.g. `API_IMAGE`. Default: the image is
        /// written into an override file beside the compose file.
        optional image_variable: Lit<VariableName> => String,
        /// The environment file in the directory, e.g. `.env`.
        optional env_file: Lit<FilePath> => String,
        /// Variables that are written into `env-file`: templates, or `${NAME}` for secrets.
        default(IndexMap::new()) env: In<Deployment, Variables> => IndexMap<String, Value>,
        /// Commands, for hosts without Compose.
        optional commands: In<Deployment, RawHostCommands> => HostCommands,
        /// The login to the registry on the host, for the time of the pull alone.
        optional registry_login: RawRegistryLogin => RegistryLogin,
        /// How many hosts at a time. Default: 1; a bad one stops the rest.
        default(1) parallel: Whole<1, 100> => u32,
        /// How many backups of the compose and environment files stay. Default: 5.
        default(5) keep_backups: Whole<1, 100> => u32,
        /// How much must be free on the disk of `directory` before it is touched.
        optional free_disk: Lit<SizeSyntax> => Size,
        /// How long it may take on one host. Default: `10m`.
        default(Duration::from_secs(600)) timeout: Lit<PositiveDuration> => Duration,
    }
}

fn compose(keys: ComposeKeys, written: &[String], at: &Path, checker: &mut Checker<'_>) -> Option<ComposeDriver> {
    let mut good = true;
    let mode = if let Some(commands) = keys.commands {
        let others = ["project", "service", "image-variable", "env-file", "env"];
        good &= checker.belongs(at, written, &others, &["file"]);
        ComposeMode::Commands(commands)
    } else {
        for (key, used) in [("image-variable", keys.image_variable.is_some()), ("env", !keys.env.is_empty())] {
            if used && keys.env_file.is_none() {
                checker.key_problem(
                    &at.key(key),
                    "needs an environment file, and `env-file` names none",
                    "add `env-file`, e.g. `.env`",
                );
                good = false;
            }
        }
        let service = match keys.service {
            Some(service) => service,
            None => Template::new("{{ service }}").ok()?,
        };
        ComposeMode::Compose {
            file: keys.file,
            project: keys.project,
            service,
            image_variable: keys.image_variable,
            env_file: keys.env_file,
            env: keys.env,
        }
    };
    let ssh = Ssh {
        hosts: keys.hosts,
        user: keys.user,
        key: keys.key,
        passphrase: keys.passphrase,
        host_keys: keys.host_keys,
        port: keys.port,
    };
    good.then_some(ComposeDriver {
        ssh,
        directory: keys.directory,
        mode,
        registry_login: keys.registry_login,
        parallel: keys.parallel,
        keep_backups: keys.keep_backups,
        free_disk: keys.free_disk,
        timeout: keys.timeout,
    })
}

section! {
    /// Commands of a host, each a program with its arguments.
    pub struct HostCommands from RawHostCommands, finish host_commands => HostCommands {
        /// Puts the image in place.
        required deploy: NonEmpty<TemplateText> => Vec<Template>,
        /// Puts an earlier image in place; `digest` is then that of the target. Default: `deploy`.
        optional rollback: NonEmpty<TemplateText> => Vec<Template>,
        /// Prints the digest that runs.
        required running: NonEmpty<TemplateText> => Vec<Template>,
    }
}

fn host_commands(commands: HostCommands, _: &[String], at: &Path, checker: &mut Checker<'_>) -> Option<HostCommands> {
    let mut good = super::command::no_injection(&commands.deploy, &at.key("deploy"), checker);
    good &= super::command::no_injection(&commands.running, &at.key("running"), checker);
    if let Some(rollback) = &commands.rollback {
        good &= super::command::no_injection(rollback, &at.key("rollback"), checker);
    }
    good.then_some(commands)
}

section! {
    /// A login to a registry.
    pub struct RegistryLogin from RawRegistryLogin {
        /// The user.
        required user: SecretText => Secret,
        /// The password or token.
        required password: SecretText => Secret,
    }
}
