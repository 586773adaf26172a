//! A name that the DNS resolves.

use std::net::IpAddr;

use async_trait::async_trait;

use super::{Good, Miss, Question, Values};
use crate::config::Template;
use crate::promotion::fault::{Code, Fault};

pub(super) struct Dns {
    name: String,
    expect: Vec<IpAddr>,
}

impl Dns {
    pub(super) fn fill(name: &Template, expect: &[Template], values: &Values) -> Result<Self, Fault> {
        let addresses = expect.iter().map(|template| {
            let text = values.render(template)?;
            text.parse().map_err(|_| {
                Fault::new(Code::ConfigurationInvalid, format!("`{text}` under `addresses` is no address"))
                    .with_fix("write an IPv4 or IPv6 address")
            })
        });
        Ok(Self { name: values.render(name)?, expect: addresses.collect::<Result<_, _>>()? })
    }
}

#[async_trait]
impl Question for Dns {
    async fn ask(&self, _: bool) -> Result<Good, Miss> {
        let found = match tokio::net::lookup_host((self.name.as_str(), 0)).await {
            Ok(found) => found.map(|address| address.ip()).collect::<Vec<_>>(),
            // The resolver itself is in trouble; it says nothing of the name.
            Err(error) if error.to_string().contains("Temporary failure") => {
                return Err(Miss::Ours(format!("{} cannot be asked for: {error}", self.name)));
            }
            Err(error) => return Err(Miss::Failed(format!("{} is not resolved: {error}", self.name))),
        };
        if self.expect.is_empty() || found.iter().any(|address| self.expect.contains(address)) {
            return Ok(Good::default());
        }
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        Err(Miss::Failed(format!("{} is {}", self.name, found.join(", "))))
    }
}
