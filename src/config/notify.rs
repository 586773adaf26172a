//! `notify`: who is told what.

use std::collections::BTreeSet;

use indexmap::IndexMap;
use serde::Serialize;

use super::check::Checker;
use super::collection::{Map, NonEmpty, OneOrMany};
use super::literal::Lit;
use super::names::{EnvironmentName, Host, Line, Mailbox, UrlSyntax};
use super::number::{Port, Whole};
use super::path::Path;
use super::secret::{Secret, SecretText};
use super::section::{section, words};
use super::template::{Filled, In, Message, Template, TemplateText};
use super::value::{Headers, Value};
use crate::promotion::fault::Severity;

words! {
    /// Something that people may want to be told.
    pub enum NotifyEvent {
        /// A run has begun.
        Started = "started",
        /// People are asked to approve.
        ApprovalNeeded = "approval-needed",
        /// They are reminded of it.
        ApprovalReminder = "approval-reminder",
        /// They have approved.
        Approved = "approved",
        /// They have rejected.
        Rejected = "rejected",
        /// They have not answered in time.
        TimedOut = "timed-out",
        /// The image is not what it must be.
        ValidationFailed = "validation-failed",
        /// The image is in its place.
        Promoted = "promoted",
        /// It is deployed.
        Deployed = "deployed",
        /// The run has ended well.
        Succeeded = "succeeded",
        /// The run has failed, and nothing is left to take back.
        Failed = "failed",
        /// The run was cancelled.
        Cancelled = "cancelled",
        /// It lives, with warnings.
        Degraded = "degraded",
        /// It did not live and was taken back.
        RolledBack = "rolled-back",
        /// It did not live and could not be taken back: a human is needed.
        RollbackFailed = "rollback-failed",
        /// Something else runs than what should.
        Drift = "drift",
        /// It could not be told whether it lives.
        Inconclusive = "inconclusive",
        /// An interrupted run was recovered.
        Recovered = "recovered",
    }
}

impl NotifyEvent {
    /// How bad it is, for channels with `at-least`.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Self::RollbackFailed => Severity::Critical,
            Self::ValidationFailed | Self::Failed | Self::RolledBack | Self::Drift | Self::Inconclusive => {
                Severity::High
            }
            Self::ApprovalNeeded
            | Self::ApprovalReminder
            | Self::Rejected
            | Self::TimedOut
            | Self::Cancelled
            | Self::Degraded
            | Self::Recovered => Severity::Medium,
            Self::Started | Self::Approved | Self::Promoted | Self::Deployed | Self::Succeeded => Severity::Low,
        }
    }
}

/// What a channel is told that says neither `on` nor `at-least`: what asks for somebody's attention, and the end.
const USUAL: [NotifyEvent; 11] = [
    NotifyEvent::ApprovalNeeded,
    NotifyEvent::Rejected,
    NotifyEvent::TimedOut,
    NotifyEvent::ValidationFailed,
    NotifyEvent::Succeeded,
    NotifyEvent::Failed,
    NotifyEvent::Degraded,
    NotifyEvent::RolledBack,
    NotifyEvent::RollbackFailed,
    NotifyEvent::Drift,
    NotifyEvent::Inconclusive,
];

/// Where notifications go, and which.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Channel {
    /// Where.
    pub kind: ChannelKind,
    /// What it is told.
    pub on: BTreeSet<NotifyEvent>,
    /// How bad it must be, where that is what it says; `on` has the same by event.
    #[serde(skip)]
    pub at_least: Option<Severity>,
    /// The environments that it is told of; empty for all.
    pub environments: Vec<String>,
    /// Messages of its own, by event.
    pub templates: IndexMap<NotifyEvent, Template>,
}

impl Channel {
    /// Whether it is told of this event in this environment.
    #[must_use]
    pub fn wants(&self, event: NotifyEvent, environment: &str) -> bool {
        self.on.contains(&event) && self.covers(environment)
    }

    /// Whether it is told of this event where somebody has said how bad it is.
    #[must_use]
    pub fn wants_at(&self, event: NotifyEvent, severity: Severity) -> bool {
        self.at_least.map_or_else(|| self.on.contains(&event), |least| severity >= least)
    }

    /// Whether it is told of this environment at all.
    #[must_use]
    pub fn covers(&self, environment: &str) -> bool {
        self.environments.is_empty() || self.environments.iter().any(|name| name == environment)
    }
}

/// Kinds of channels.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChannelKind {
    /// An incoming webhook of Slack.
    Slack(Secret),
    /// A bot of Slack.
    SlackBot {
        /// The bot's token.
        token: Secret,
        /// The channel.
        channel: String,
        /// Whether all messages of a run are in one thread.
        thread: bool,
        /// Whether the first message is kept up to date.
        update: bool,
        /// The API's address, where it is not Slack's usual one.
        api: Option<Template>,
    },
    /// A workflow's webhook of Teams.
    Teams(Secret),
    /// Mail by SMTP.
    Smtp {
        /// The server.
        server: Smtp,
        /// Who it is from and to.
        mail: Mail,
    },
    /// Mail by Brevo.
    Brevo {
        /// The key of the API.
        key: Secret,
        /// Who it is from and to.
        mail: Mail,
        /// The API's address, where it is not Brevo's usual one.
        api: Option<Template>,
    },
    /// A comment on GitHub.
    Github(GithubComment),
    /// A webhook.
    Webhook {
        /// The address.
        url: Secret,
        /// What the messages are signed with (HMAC-SHA-256).
        hmac: Option<Secret>,
        /// Headers.
        headers: IndexMap<String, Value>,
    },
    /// Events of PagerDuty.
    Pagerduty {
        /// The routing key.
        key: Secret,
        /// The API's address, where it is not PagerDuty's usual one.
        api: Option<Template>,
    },
}

/// Who a mail is from and to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mail {
    /// The sender.
    pub from: String,
    /// The recipients.
    pub to: Vec<String>,
    /// Who gets a copy.
    pub cc: Vec<String>,
}

words! {
    /// How the connection to a mail server is secured.
    pub enum SmtpSecurity {
        /// STARTTLS, which is insisted on.
        Starttls = "starttls",
        /// TLS from the beginning.
        Tls = "tls",
        /// Not at all.
        None = "none",
    }
}

section! {
    /// A mail server.
    pub struct Smtp from RawSmtp, finish smtp => Smtp {
        /// The server's name.
        required host: Lit<Host> => String,
        /// The port. Default: 587, 465 for `tls`, 25 for `none`.
        optional port: Port => u16,
        /// How the connection is secured. Default: `starttls`.
        default(SmtpSecurity::Starttls) security: SmtpSecurity,
        /// The user.
        optional user: SecretText => Secret,
        /// The password.
        optional password: SecretText => Secret,
    }
}

impl Smtp {
    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(match self.security {
            SmtpSecurity::Starttls => 587,
            SmtpSecurity::Tls => 465,
            SmtpSecurity::None => 25,
        })
    }
}

fn smtp(smtp: Smtp, _: &[String], at: &Path, checker: &mut Checker<'_>) -> Option<Smtp> {
    let mut good = true;
    if smtp.host.contains(':') && !smtp.host.ends_with(']') {
        checker.problem(&at.key("host"), "holds a port", "write the port under `port`");
        good = false;
    }
    match (&smtp.user, &smtp.password) {
        (Some(_), None) => {
            checker.missing(at, "password");
            good = false;
        }
        (None, Some(_)) => {
            checker.missing(at, "user");
            good = false;
        }
        (Some(_), Some(_)) if smtp.security == SmtpSecurity::None => {
            checker.problem(
                &at.key("security"),
                "is `none`, and a password would go over the network in the clear",
                "use `starttls` or `tls`",
            );
            good = false;
        }
        _ => {}
    }
    good.then_some(smtp)
}

/// What is commented on.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum GithubComment {
    /// The pull request that the candidate's commit came from.
    PullRequest,
    /// An issue, by number.
    Issue(u32),
}

section! {
    /// A comment on GitHub.
    struct GithubKeys from RawGithubComment, one_of ["issue", "pull-request"], finish github => GithubComment {
        /// The number of an issue.
        optional issue: Whole<1, 2_000_000_000> => u32,
        /// `true` for the pull request that the candidate's commit came from.
        optional pull_request: bool,
    }
}

fn github(keys: GithubKeys, _: &[String], at: &Path, checker: &mut Checker<'_>) -> Option<GithubComment> {
    if keys.pull_request == Some(false) {
        checker.problem(
            &at.key("pull-request"),
            "is `false`: there would be nothing to comment on",
            "write `true`, or an `issue`",
        );
        return None;
    }
    Some(keys.issue.map_or(GithubComment::PullRequest, GithubComment::Issue))
}

section! {
    /// Where notifications go, and which. Without `on` and `at-least` it is told what asks for attention, and the end.
    struct ChannelKeys from RawChannel,
        one_of ["slack", "slack-bot", "teams", "smtp", "brevo", "github", "webhook", "pagerduty"],
        at_most_one_of ["on", "at-least"],
        finish channel => Channel
    {
        /// An incoming webhook of Slack, `${NAME}` with its address.
        optional slack: SecretText => Secret,
        /// A bot of Slack, `${NAME}` with its token.
        optional slack_bot: SecretText => Secret,
        /// A workflow's webhook of Teams, `${NAME}` with its address.
        optional teams: SecretText => Secret,
        /// A mail server.
        optional smtp: RawSmtp => Smtp,
        /// Brevo, `${NAME}` with the key of its API.
        optional brevo: SecretText => Secret,
        /// A comment on GitHub.
        optional github: RawGithubComment => GithubComment,
        /// A webhook, `${NAME}` with its address.
        optional webhook: SecretText => Secret,
        /// PagerDuty, `${NAME}` with the routing key of its events API.
        optional pagerduty: SecretText => Secret,

        /// What it is told.
        optional on: NonEmpty<NotifyEvent> => Vec<NotifyEvent>,
        /// It is told everything that is at least so bad.
        optional at_least: Severity,
        /// The environments that it is told of. Default: all.
        default(Vec::new()) environments: OneOrMany<Lit<EnvironmentName>> => Vec<String>,
        /// Messages of its own, by event.
        default(IndexMap::new())
        templates: In<Message, Map<NotifyEvent, TemplateText>> => IndexMap<NotifyEvent, Template>,

        /// For `slack-bot`: the channel, by name or id.
        optional channel: Lit<Line> => String,
        /// For `slack-bot`: whether all messages of a run are in one thread. Default: true.
        default(true) thread: bool,
        /// For `slack-bot`: whether the first message is kept up to date. Default: true.
        default(true) update: bool,
        /// For `smtp` and `brevo`: the sender.
        optional from: Lit<Mailbox> => String,
        /// For `smtp` and `brevo`: the recipients.
        default(Vec::new()) to: OneOrMany<Lit<Mailbox>> => Vec<String>,
        /// For `smtp` and `brevo`: who gets a copy.
        default(Vec::new()) cc: OneOrMany<Lit<Mailbox>> => Vec<String>,
        /// For `webhook`: what the messages are signed with (HMAC-SHA-256).
        optional hmac: SecretText => Secret,
        /// For `webhook`: headers, each a template, or `${NAME}` for a secret.
        default(IndexMap::new()) headers: In<Message, Headers> => IndexMap<String, Value>,
        /// For `slack-bot`, `brevo` and `pagerduty`: the address of the API, e.g. `https://events.eu.pagerduty.com`.
        /// Default: the service's usual one.
        optional api: Filled<UrlSyntax> => Template,
    }
}

/// The keys that mean something for some kinds of channels only.
const SIBLINGS: [(&[&str], &[&str]); 4] = [
    (&["channel", "thread", "update"], &["slack-bot"]),
    (&["from", "to", "cc"], &["smtp", "brevo"]),
    (&["hmac", "headers"], &["webhook"]),
    (&["api"], &["slack-bot", "brevo", "pagerduty"]),
];

fn channel(keys: ChannelKeys, written: &[String], at: &Path, checker: &mut Checker<'_>) -> Option<Channel> {
    let mut good = true;
    for (siblings, kinds) in SIBLINGS {
        if !kinds.iter().any(|kind| written.iter().any(|key| key == kind)) {
            good &= checker.belongs(at, written, siblings, kinds);
        }
    }
    let on = match (&keys.on, keys.at_least) {
        (Some(on), _) => on.iter().copied().collect(),
        (None, Some(least)) => NotifyEvent::ALL.iter().copied().filter(|event| event.severity() >= least).collect(),
        (None, None) => USUAL.into_iter().collect(),
    };
    let at_least = keys.at_least.filter(|_| keys.on.is_none());
    let (environments, templates) = (keys.environments.clone(), keys.templates.clone());
    let kind = kind(keys, at, checker)?;
    good.then_some(Channel { kind, on, at_least, environments, templates })
}

fn kind(keys: ChannelKeys, at: &Path, checker: &mut Checker<'_>) -> Option<ChannelKind> {
    if let Some(token) = keys.slack_bot {
        if keys.channel.is_none() {
            checker.missing(at, "channel");
        }
        let (channel, thread, update, api) = (keys.channel?, keys.thread, keys.update, keys.api);
        return Some(ChannelKind::SlackBot { token, channel, thread, update, api });
    }
    if keys.smtp.is_some() || keys.brevo.is_some() {
        if keys.from.is_none() {
            checker.missing(at, "from");
        }
        if keys.to.is_empty() {
            checker.missing(at, "to");
        }
        let (from, to, cc) = (keys.from?, Some(keys.to).filter(|to| !to.is_empty())?, keys.cc);
        let mail = Mail { from, to, cc };
        return match (keys.smtp, keys.brevo) {
            (Some(server), _) => Some(ChannelKind::Smtp { server, mail }),
            (None, key) => Some(ChannelKind::Brevo { key: key?, mail, api: keys.api }),
        };
    }
    let (hmac, headers, api) = (keys.hmac, keys.headers, keys.api);
    None.or(keys.slack.map(ChannelKind::Slack))
        .or(keys.teams.map(ChannelKind::Teams))
        .or(keys.github.map(ChannelKind::Github))
        .or(keys.webhook.map(|url| ChannelKind::Webhook { url, hmac, headers }))
        .or(keys.pagerduty.map(|key| ChannelKind::Pagerduty { key, api }))
}
