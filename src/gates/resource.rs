//! Something that must be there before anything is deployed is there.

use std::time::Duration;

use async_trait::async_trait;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Gate, Look, Subject, together};
use crate::config::{FillError, Resource, ResourceKind, Size, Ssh, Status, Template};
use crate::http;
use crate::process::Program;
use crate::promotion::fault::{Code, Fault};
use crate::ssh::{Access, Command, Host};

/// A resource is available.
pub(super) struct Available {
    name: String,
    resource: Resource,
}

impl Available {
    pub(super) fn new(name: &str, resource: Resource) -> Self {
        Self { name: name.to_owned(), resource }
    }
}

#[async_trait]
impl Gate for Available {
    fn name(&self) -> String {
        format!("resources.{}", self.name)
    }

    fn code(&self) -> Code {
        Code::ResourceUnavailable
    }

    async fn look(&self, subject: &Subject) -> Result<Look, Fault> {
        let patience = self.resource.timeout;
        match &self.resource.kind {
            ResourceKind::Url { url, status } => answers(&filled(url, subject)?, status, patience).await,
            ResourceKind::Tcp(address) => Ok(listens(address, patience).await),
            ResourceKind::Disk { path, free, ssh } => disk(subject, path, *free, ssh.as_ref(), patience).await,
            ResourceKind::Command { run, env } => {
                let words = run.iter().map(|word| filled(word, subject)).collect::<Result<Vec<_>, _>>()?;
                let Some((name, arguments)) = words.split_first() else {
                    return Err(Fault::defect("a command without a program"));
                };
                let mut program =
                    Program::new(name).arguments(arguments).timeout(patience).directory(&subject.workspace);
                for (name, value) in env {
                    program = program.variable(name, subject.secrets.fill(value, &subject.values).map_err(unfilled)?);
                }
                let ended = program.run().await?;
                let wanted = format!("`{name}` ends with 0");
                let seen = format!("`{name}` {}", ended.told());
                Ok(if ended.is_good() { Look::open(seen, wanted) } else { Look::closed(seen, wanted) })
            }
        }
    }
}

fn unfilled(error: FillError) -> Fault {
    match error {
        FillError::Secret(error) => error.into(),
        FillError::Template(error) => Fault::new(Code::ConfigurationInvalid, error.to_string()),
    }
}

fn filled(template: &Template, subject: &Subject) -> Result<String, Fault> {
    template.render(&subject.values).map_err(|error| Fault::new(Code::ConfigurationInvalid, error.to_string()))
}

async fn answers(url: &str, statuses: &[Status], patience: Duration) -> Result<Look, Fault> {
    let client = http::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(patience)
        .build()
        .map_err(|error| Fault::defect(error.to_string()))?;
    let request = client
        .get(url)
        .build()
        .map_err(|error| Fault::new(Code::ConfigurationInvalid, error.without_url().to_string()))?;
    let shown = shown(url);
    let accepted: Vec<String> = statuses.iter().map(ToString::to_string).collect();
    let wanted = format!("{shown} answers with {}", accepted.join(" or "));
    Ok(match http::execute(&client, request).await {
        Ok(response) if statuses.iter().any(|status| status.matches(response.status().as_u16())) => {
            Look::open(format!("it answers with {}", response.status().as_u16()), wanted)
        }
        Ok(response) => Look::closed(format!("{shown} answers with {}", response.status().as_u16()), wanted),
        Err(error) => Look::closed(format!("{shown} does not answer: {error}"), wanted),
    })
}

/// An address without what may be secret in it.
fn shown(url: &str) -> String {
    match url::Url::parse(url) {
        Ok(mut url) => {
            url.set_query(None);
            url.set_fragment(None);
            url.to_string()
        }
        Err(_) => "the address".to_owned(),
    }
}

async fn listens(address: &str, patience: Duration) -> Look {
    let wanted = format!("{address} takes a connection");
    match timeout(patience, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Look::open("it does", wanted),
        Ok(Err(error)) => Look::closed(format!("{address}: {error}"), wanted).with_fix(
            "check host, port and firewall; in a container `localhost` is the container itself, not the machine it runs on",
        ),
        Err(_) => {
            Look::closed(format!("{address}: no connection within {}", humantime::format_duration(patience)), wanted)
        }
    }
}

async fn disk(subject: &Subject, path: &str, free: Size, ssh: Option<&Ssh>, patience: Duration) -> Result<Look, Fault> {
    let mut ways: Vec<&Ssh> = ssh.into_iter().collect();
    if ways.is_empty() {
        ways = subject.candidates.iter().filter_map(|candidate| candidate.hosts.as_ref()).collect();
        ways.dedup();
    }
    let mut looks = Vec::new();
    for way in ways {
        let access = Access {
            user: filled(&way.user, subject)?,
            port: way.port,
            key: subject.secrets.resolve(&way.key)?,
            passphrase: way.passphrase.as_ref().map(|secret| subject.secrets.resolve(secret)).transpose()?,
            host_keys: way.host_keys.clone(),
        };
        for host in &way.hosts {
            looks.push(disk_of(&access, &filled(host, subject)?, path, free, patience).await?);
        }
    }
    Ok(together(looks))
}

async fn disk_of(access: &Access, host: &str, path: &str, free: Size, patience: Duration) -> Result<Look, Fault> {
    let wanted = format!("{free} free at {path}");
    let host = Host::connect(access, host, patience).await?;
    // POSIX: blocks of 1024 bytes, one line for the file system.
    let ended = host.run(&Command::new(["df", "-Pk", "--", path]).timeout(patience)).await?;
    if !ended.is_good() {
        return Ok(Look::closed(format!("{}: `df` {}", host.name(), ended.told()), wanted));
    }
    let Some(found) = available(&ended.stdout.text()) else {
        return Ok(Look::closed(format!("{}: what `df` says of {path} cannot be read", host.name()), wanted));
    };
    let seen = format!("{}: {} free", host.name(), Size::from(found).rounded());
    Ok(if found >= free.bytes() { Look::open(seen, wanted) } else { Look::closed(seen, wanted) })
}

/// How many bytes are free, by what `df -Pk` prints.
fn available(printed: &str) -> Option<u64> {
    let line = printed.lines().nth(1)?;
    // From the right: the name of a file system may have spaces, and so may the path.
    let percent = line.split_whitespace().position(|word| word.ends_with('%'))?;
    let blocks: u64 = line.split_whitespace().nth(percent.checked_sub(1)?)?.parse().ok()?;
    blocks.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_df_prints_is_read() {
        let printed = "Filesystem     1024-blocks      Used Available Capacity Mounted on\n/dev/my disk      1000        10       990       2% /opt\n";
        assert_eq!(available(printed), Some(990 * 1024));
        assert_eq!(available("df: /nowhere: No such file or directory\n"), None);
        assert_eq!(available("Filesystem\nnothing\n"), None);
    }

    #[test]
    fn what_may_be_secret_in_an_address_is_not_shown() {
        assert_eq!(shown("https://acme.test/health?token=x#y"), "https://acme.test/health");
    }
}
