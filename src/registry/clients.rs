//! The kinds of connections, and what their failures mean.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::address::{GuardedResolver, PrivateAddress, proxies};
use super::error::Trouble;
use crate::http::{READ_TIMEOUT, builder};

/// A kind of connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// TLS with a certificate that verifies.
    Verified,
    /// The same, and only to addresses on the internet.
    Guarded,
    /// TLS with any certificate, or plain HTTP.
    Lenient,
    /// The same on this machine, past every proxy (as Go's `httpproxy` does).
    Direct,
}

/// The HTTP clients, one for each kind of connection, built when first needed. Uploads have their own: what bounds
/// them is [`Progress`](super::progress::Progress), not the wait for an answer.
#[derive(Debug, Default)]
pub(super) struct Clients {
    built: [[OnceLock<reqwest::Client>; 2]; 4],
}

impl Clients {
    /// The client for a kind of connection, for uploads or for everything else.
    pub(super) fn get(&self, route: Route, upload: bool) -> Result<&reqwest::Client, Trouble> {
        let slot = &self.built[route as usize][usize::from(upload)];
        if let Some(client) = slot.get() {
            return Ok(client);
        }
        let mut client = builder();
        client = match route {
            Route::Verified => client,
            Route::Guarded => client.dns_resolver(Arc::new(GuardedResolver { exempt: Arc::new(proxies()) })),
            Route::Lenient => client.tls_danger_accept_invalid_certs(true),
            Route::Direct => client.tls_danger_accept_invalid_certs(true).no_proxy(),
        };
        if upload {
            client = client.read_timeout(Duration::from_secs(24 * 3600));
        }
        let client = client.build().map_err(|error| Trouble::Unreachable {
            why: format!("no connection can be made at all: {}", root_cause(&error.without_url())),
        })?;
        Ok(slot.get_or_init(|| client))
    }
}

/// What a failure of the network is.
pub(super) fn network_trouble(error: &reqwest::Error) -> Trouble {
    if let Some(refused) = find_cause::<PrivateAddress>(error) {
        return Trouble::UnsafeTarget { why: refused.to_string() };
    }
    if let Some(why) = find_cause::<rustls::Error>(error) {
        if let rustls::Error::InvalidCertificate(why) = why {
            return Trouble::Untrusted { why: why.to_string() };
        }
        if error.is_connect() {
            return Trouble::Unreachable { why: format!("no TLS connection: {why}") };
        }
    }
    let why = root_cause(error);
    if error.is_connect() {
        Trouble::Unreachable { why }
    } else if error.is_timeout() {
        Trouble::Unreachable { why: format!("no answer within {} s", READ_TIMEOUT.as_secs()) }
    } else {
        Trouble::Broken { why }
    }
}

/// The innermost reason of an error, in words.
fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// The first reason of a kind; an I/O error may hold one that is not its source.
fn find_cause<'e, T: std::error::Error + 'static>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e T> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        if let Some(inner) = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref)
            && let Some(found) = find_cause::<T>(inner)
        {
            return Some(found);
        }
        cause = error.source();
    }
    None
}
