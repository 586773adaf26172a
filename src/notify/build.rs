//! The channels of a configuration, with their secrets read.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use reqwest::Client;
use secrecy::SecretString;
use url::Url;

use super::Channel;
use super::brevo::{self, Brevo};
use super::call::{self, Address};
use super::github::Github;
use super::pagerduty::{self, Pagerduty};
use super::routing::{Line, Post};
use super::slack::Slack;
use super::slack_bot::{self, SlackBot};
use super::smtp::Smtp;
use super::teams::Teams;
use super::webhook::{Header, Webhook};
use crate::config::{self, ChannelKind, Secret, Template, Value};
use crate::github::{GitHub, RepositoryName};
use crate::http;
use crate::promotion::fault::{Code, Fault};
use crate::promotion::retry::RetryPolicy;

/// The longest wait for a connection, and for all of an answer.
const WAITS: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(7));

/// What channels are built with.
pub struct Means<'a> {
    /// Reads a secret that the configuration names.
    pub secret: &'a dyn Fn(&Secret) -> Result<SecretString, Fault>,
    /// GitHub, and the repository of the job there.
    pub github: Option<(Arc<GitHub>, RepositoryName)>,
    /// How patiently each is tried.
    pub retry: RetryPolicy,
}

impl std::fmt::Debug for Means<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Means").field("retry", &self.retry).finish_non_exhaustive()
    }
}

/// The channels of an environment, in the order of the configuration.
///
/// # Errors
/// A secret that is not set, or does not hold what it must; a comment on GitHub where there is no token.
pub fn build<'c>(
    channels: impl Iterator<Item = (&'c str, &'c config::Channel)>,
    means: &Means<'_>,
) -> Result<Post, Fault> {
    let client = http::builder().connect_timeout(WAITS.0).timeout(WAITS.1).build().map_err(|error| {
        Fault::new(Code::NotificationFailed, format!("no channel can be reached: {}", error.without_url()))
    })?;
    let line = |(name, settings): (&str, &config::Channel)| {
        let channel = channel(name, &settings.kind, &client, means)?;
        Ok(Line { name: name.to_owned(), settings: settings.clone(), channel })
    };
    Ok(Post { lines: channels.map(line).collect::<Result<_, Fault>>()?, retry: means.retry })
}

fn channel(name: &str, kind: &ChannelKind, client: &Client, means: &Means<'_>) -> Result<Arc<dyn Channel>, Fault> {
    let client = client.clone();
    let secret = |secret: &Secret| (means.secret)(secret);
    let address = |secret: &Secret| {
        Address::read(&(means.secret)(secret)?)
            .map_err(|why| unusable(name, &format_args!("`{}` {why}", secret.name())))
    };
    Ok(match kind {
        ChannelKind::Slack(url) => Arc::new(Slack { client, address: address(url)? }),
        ChannelKind::SlackBot { token, channel, thread, update, api } => Arc::new(SlackBot {
            client,
            api: base(name, api.as_ref(), slack_bot::API)?,
            token: secret(token)?,
            channel: channel.clone(),
            thread: *thread,
            update: *update,
        }),
        ChannelKind::Teams(url) => Arc::new(Teams { client, address: address(url)? }),
        ChannelKind::Smtp { server, mail } => {
            let login = match (&server.user, &server.password) {
                (Some(user), Some(password)) => Some((secret(user)?, secret(password)?)),
                _ => None,
            };
            Arc::new(Smtp::new(server, login, mail).map_err(|why| unusable(name, &why))?)
        }
        ChannelKind::Brevo { key, mail, api } => {
            let api = base(name, api.as_ref(), brevo::API)?;
            Arc::new(Brevo { client, api, key: secret(key)?, mail: mail.clone() })
        }
        ChannelKind::Github(on) => {
            let Some((github, repository)) = means.github.clone() else {
                return Err(unusable(name, &"it comments on GitHub, and there is no repository or no `github-token`"));
            };
            Arc::new(Github { github, repository, on: on.clone() })
        }
        ChannelKind::Webhook { url, hmac, headers } => Arc::new(Webhook {
            client,
            address: address(url)?,
            hmac: hmac.as_ref().map(secret).transpose()?,
            headers: headers
                .iter()
                .map(|(name, value)| {
                    let value = match value {
                        Value::Template(template) => Header::Template(template.clone()),
                        Value::Secret(named) => Header::Secret(secret(named)?),
                    };
                    Ok((name.clone(), value))
                })
                .collect::<Result<IndexMap<_, _>, Fault>>()?,
        }),
        ChannelKind::Pagerduty { key, api } => {
            Arc::new(Pagerduty { client, api: base(name, api.as_ref(), pagerduty::API)?, key: secret(key)? })
        }
    })
}

/// The address of an API, to which the names of methods are added.
fn base(name: &str, given: Option<&Template>, usual: &str) -> Result<Url, Fault> {
    let text = given.map_or(usual, Template::as_str);
    let text = if text.ends_with('/') { text.to_owned() } else { format!("{text}/") };
    call::address(&text).map_err(|why| unusable(name, &format_args!("`api` {why}")))
}

fn unusable(name: &str, why: &dyn Display) -> Fault {
    Fault::new(Code::ConfigurationInvalid, format!("the channel `{name}` under `notify` cannot be used: {why}"))
        .with_fix("correct the channel, or the secret that it names")
}
