//! A port that can be connected to.

use async_trait::async_trait;
use tokio::net::TcpStream;

use super::{Good, Miss, Question, Values, unconnected};
use crate::config::Template;
use crate::promotion::fault::Fault;

pub(super) struct Tcp {
    address: String,
}

impl Tcp {
    pub(super) fn fill(address: &Template, values: &Values) -> Result<Self, Fault> {
        Ok(Self { address: values.render(address)? })
    }
}

#[async_trait]
impl Question for Tcp {
    async fn ask(&self, _: bool) -> Result<Good, Miss> {
        TcpStream::connect(&self.address)
            .await
            .map(|_| Good::default())
            .map_err(|error| unconnected(&error, &self.address))
    }
}
