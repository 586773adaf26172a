//! The configuration file: what it may say, what it means, and what is wrong with it.
//!
//! A file is taken in three steps. [`Configuration::load`] reads it into a tree (YAML or JSON, nothing twice), the tree
//! into the *raw* model (the file's own shape, from which [`schema()`] is made too), and that into the *checked* model,
//! which is all that the rest of the program sees. Every error names its file, line, column and path, and what to write
//! instead.
//!
//! | file | what is in it |
//! |---|---|
//! | `tree`, `source`, `path`, `decode`, `error` | reading, and places in the file |
//! | `section`, `check` | how sections are declared; how they are checked and merged |
//! | `literal`, `collection`, `number` | what values, lists and mappings have in common |
//! | `names`, `image`, `matching`, `size`, `time`, `template`, `value`, `secret` | values and their syntax |
//! | `secret_reader` | what the secrets' names stand for |
//! | the others, one for each section | the model |
//! | `whole` | what only shows when all of it is there |
//! | `schema` | the JSON schema |
//!
//! The types of the checked model mirror the file: a key `fail-on` is a field `fail_on`, a choice of keys is an enum.

mod approval;
mod audit;
mod check;
mod collection;
mod configuration;
mod content;
mod decode;
mod deploy;
mod environment;
mod error;
mod gates;
mod github;
mod health;
mod image;
mod literal;
mod matching;
mod migrate;
mod names;
mod notify;
mod number;
mod path;
mod probe;
mod registries;
mod retry;
mod rollback;
mod scan;
mod schema;
mod secret;
mod secret_reader;
mod section;
mod signature;
mod size;
mod source;
mod ssh;
mod suggest;
mod template;
mod time;
mod tree;
mod validate;
mod value;
mod whole;

pub use self::approval::{Approval, Via, WhilePending};
pub use self::audit::{ArchiveCredentials, Audit};
pub use self::configuration::{Configuration, Service};
pub use self::content::{BaseImage, Content, EndOfLife, Growth, Ports, Secrets, Setuid};
pub use self::deploy::{
    Authentication, Basic, Body, Call, ClientAuthentication, CommandDriver, ComposeDriver, ComposeMode, Credentials,
    Dispatch, Driver, HostCommands, HttpDriver, LambdaDriver, LambdaPackage, Method, MutualTls, OAuth, Outcome,
    RegistryLogin, RunningCall, Shift, StatusCall, WorkflowDriver,
};
pub use self::environment::{Environment, Settings};
pub use self::error::{ConfigError, ConfigErrors};
pub use self::gates::{
    Checks, CountsAs, DeployBranches, Deployments, Freeze, FreezeWindow, Gates, Lock, Order, Protection,
    RequiredChecks, Resource, ResourceKind, WorkflowGate,
};
pub use self::github::{Github, GithubDeployment};
pub use self::health::{Flapping, Health, Latency, Monitor, Readiness};
pub use self::matching::{JsonPath, Pattern, Pointer};
pub use self::migrate::{Migrate, MigrationTool, SqlMigrations};
pub use self::names::{Approver, Status};
pub use self::notify::{Channel, ChannelKind, GithubComment, Mail, NotifyEvent, Smtp, SmtpSecurity};
pub use self::probe::{
    Expectation, HttpProbe, IdentityPlace, LambdaProbe, Probe, ProbeIdentity, ProbeKind, Request, SmokeStep,
};
pub use self::registries::RegistryCredentials;
pub use self::rollback::Rollback;
pub use self::scan::{Scan, Threshold, Vulnerability};
pub use self::schema::schema;
pub use self::secret::Secret;
pub use self::secret_reader::SecretReader;
pub use self::signature::{AttestationSource, Identity, Matcher, Provenance, Signature, Signer};
pub use self::size::{InvalidSize, Percent, Size};
pub use self::ssh::Ssh;
pub use self::suggest::nearest;
pub use self::template::{RenderError, Template, message_names};
pub use self::time::{WeekMinute, WeeklyWindow, Zone};
pub use self::validate::{
    Age, CheckName, CheckSeverity, CommandPolicy, LayerLimits, Layers, MetadataField, Policy, Profile, Sbom,
    SbomFormat, SizeLimits, User, Validate,
};
pub use self::value::{FillError, Json, Value};
