//! An incoming webhook of Slack.

use async_trait::async_trait;
use reqwest::Client;

use super::blocks::blocks;
use super::call::{Address, call, post};
use super::{Channel, Letter, Receipt, Refused};

/// An incoming webhook. It cannot change or thread what it has sent: that takes a bot.
#[derive(Debug)]
pub(super) struct Slack {
    pub(super) client: Client,
    pub(super) address: Address,
}

#[async_trait]
impl Channel for Slack {
    async fn send(&self, letter: &Letter) -> Result<Receipt, Refused> {
        let request = post(self.address.url()?, &blocks(letter));
        call(&self.client, request, &[self.address.secret()]).await?;
        Ok(Receipt::sent())
    }
}
