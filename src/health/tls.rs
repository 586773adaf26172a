//! A TLS handshake, and how long the certificate lasts.

use std::time::Duration;

use async_trait::async_trait;
use chrono::Utc;

use super::{Good, Miss, Question, Values, certificate};
use crate::config::Template;
use crate::promotion::fault::{Code, Fault};

pub(super) struct Tls {
    host: String,
    port: u16,
    lasts: Duration,
}

impl Tls {
    pub(super) fn fill(address: &Template, lasts: Duration, values: &Values) -> Result<Self, Fault> {
        let address = values.render(address)?;
        let parts = address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let Some((host, port)) = parts else {
            return Err(Fault::new(Code::ConfigurationInvalid, format!("`{address}` is no address"))
                .with_fix("write `host:port`"));
        };
        Ok(Self { host: host.trim_matches(['[', ']']).to_owned(), port, lasts })
    }
}

#[async_trait]
impl Question for Tls {
    async fn ask(&self, _: bool) -> Result<Good, Miss> {
        let stream = certificate::connect(&self.host, self.port).await?;
        let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        Ok(Good { warning: shown.and_then(|der| certificate::warning(der, self.lasts, Utc::now())) })
    }
}
