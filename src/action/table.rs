//! The table of the action's inputs, which are also the command line's flags.

/// How an input's text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// Text that is never shown.
    Secret,
    /// `true` or `false`, as YAML 1.2's core schema writes them.
    Boolean,
    /// Items, divided by commas or newlines.
    List,
    /// `name=value`, one to a line.
    Pairs,
    /// A time, e.g. `30m` or `1h 30m`.
    Duration,
}

/// One input of the action.
#[derive(Debug, Clone, Copy)]
pub struct Input {
    /// Its name, in kebab-case.
    pub name: &'static str,
    /// How it is read.
    pub kind: Kind,
    /// What it is when it is not given; an expression in the action's metadata.
    pub default: &'static str,
    /// What it means.
    pub about: &'static str,
}

const fn input(name: &'static str, kind: Kind, default: &'static str, about: &'static str) -> Input {
    Input { name, kind, default, about }
}

/// Where the configuration is, when nothing else is said.
pub const DEFAULT_CONFIG: &str = ".github/tidegate.yml";

/// All inputs.
pub const INPUTS: &[Input] = &[
    input(
        "operation",
        Kind::Text,
        "promote",
        "What to do: `promote`, `plan`, `rollback`, `verify`, `recover`, `report`, `audit`, `watch` or `notify`.",
    ),
    input(
        "config",
        Kind::Text,
        DEFAULT_CONFIG,
        "Path of the configuration, YAML or JSON. None is needed where `image` and `to` say all.",
    ),
    input("environment", Kind::Text, "", "The target environment."),
    input("services", Kind::List, "", "The services, by comma or newline. Default: all of the configuration."),
    input(
        "image",
        Kind::Text,
        "",
        "The image to promote, with its registry and a tag or a digest, e.g. `ghcr.io/acme/api:staging`.",
    ),
    input(
        "to",
        Kind::Text,
        "",
        "Where to promote it without a configuration: a tag of the same repository, or a whole reference.",
    ),
    input(
        "digest",
        Kind::Text,
        "",
        "Pins what is promoted: a source tag that points elsewhere is an error. In a rollback: the digest to go back to.",
    ),
    input("version", Kind::Text, "", "The candidate's version, for services without an image."),
    input(
        "deployment-id",
        Kind::Text,
        "",
        "Go on with this run, e.g. one that an earlier job began. Default: found by the workflow run, else new.",
    ),
    input(
        "until",
        Kind::Text,
        "",
        "Stop after this stage and leave the run to a later job: `conditions`, `approval`, `validation`, `copy`, `migration`, `deployment` or `verification`.",
    ),
    input("requestor", Kind::Text, "", "Who asks for it. Default: the actor."),
    input("reason", Kind::Text, "", "Why. Needed by `force`, `override` and a rollback by hand."),
    input("mode", Kind::Text, "", "Free text for templates, as `{{ mode }}`."),
    input("variables", Kind::Pairs, "", "`name=value` lines for templates, as `{{ vars.name }}`."),
    input("confirm", Kind::Text, "", "Must be `ROLLBACK` for a rollback by hand."),
    input(
        "force",
        Kind::Boolean,
        "false",
        "Go on in spite of failed checks; needs `reason`. Never overrules a missing image, a wrong digest, a signature or an approval.",
    ),
    input(
        "override",
        Kind::List,
        "",
        "Gates to pass over: `freeze`, `bad-digest`; needs `reason`, and is recorded loudly.",
    ),
    input("dry-run", Kind::Boolean, "false", "Read everything, change nothing, print the plan."),
    input(
        "database-url",
        Kind::Secret,
        "",
        "The ledger: `postgres://…`, or `sqlite:` with a path. Default: SQLite in `.tidegate/` of the workspace, which does not outlive the job.",
    ),
    input("database-host", Kind::Text, "", "The ledger's PostgreSQL host, instead of `database-url`."),
    input("database-port", Kind::Text, "", "Its port. Default: 5432."),
    input("database-user", Kind::Text, "", "Its user."),
    input("database-password", Kind::Secret, "", "Its password."),
    input("database-name", Kind::Text, "", "Its database."),
    input(
        "github-token",
        Kind::Secret,
        "${{ github.token }}",
        "The token for GitHub, and for GHCR where no other credentials are given.",
    ),
    input("registry-username", Kind::Text, "", "The registry's user. Default: the actor, on GHCR."),
    input(
        "registry-password",
        Kind::Secret,
        "",
        "The registry's password or token. Default: the docker configuration of the job, or `github-token` on GHCR.",
    ),
    input("job-status", Kind::Text, "${{ job.status }}", "Filled in by the action: the job's status so far."),
    input("check-run-id", Kind::Text, "${{ job.check_run_id }}", "Filled in by the action: the job's own check run."),
    input("ref", Kind::Text, "${{ github.ref }}", "The Git reference that is promoted."),
    input("timeout", Kind::Duration, "", "The deadline of the whole step, e.g. `30m`."),
    input(
        "anchor",
        Kind::Text,
        "",
        "For `audit`: a chain head noted earlier, `deployment-id:number:hash`, as the job summary shows it.",
    ),
    input("audit-file", Kind::Text, "", "For `audit`: verify this exported trail instead of the ledger."),
    input(
        "since",
        Kind::Text,
        "",
        "For `report`: tell of runs from then on: a time ago, e.g. `30d`, or a day, e.g. `2026-11-01`. Default: all.",
    ),
    input(
        "event",
        Kind::Text,
        "",
        "For `notify`: what happened, e.g. `succeeded`, `failed` or `drift`; it says which channels are told.",
    ),
    input("severity", Kind::Text, "", "For `notify`: `low`, `medium`, `high` or `critical`. Default: the event's own."),
    input("message", Kind::Text, "", "For `notify`: what is said; its first line is the title."),
    input(
        "channels",
        Kind::List,
        "",
        "For `notify`: the channels to tell, by comma or newline, whatever they are told else.",
    ),
    input("log-format", Kind::Text, "text", "`text` for people, `json` for machines."),
];
