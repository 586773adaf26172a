//! How long a certificate lasts, and trust in it.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rustls::pki_types::ServerName;
use rustls_platform_verifier::ConfigVerifierExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Miss, unconnected};

/// What is to be said of a certificate that does not last `wanted` from now on.
pub(super) fn warning(der: &[u8], wanted: Duration, now: DateTime<Utc>) -> Option<String> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    let ends = DateTime::from_timestamp(certificate.validity().not_after.timestamp(), 0)?;
    let left = ends - now;
    let wanted = chrono::TimeDelta::from_std(wanted).unwrap_or(chrono::TimeDelta::MAX);
    (left < wanted)
        .then(|| format!("the certificate ends on {}, in {} days", ends.format("%Y-%m-%d %H:%M UTC"), left.num_days()))
}

/// Connects and shakes hands.
pub(super) async fn connect(host: &str, port: u16) -> Result<TlsStream<TcpStream>, Miss> {
    crate::http::install_tls_provider();
    let to = format!("{host}:{port}");
    let stream = TcpStream::connect((host, port)).await.map_err(|error| unconnected(&error, &to))?;
    let ours = |error: &dyn std::fmt::Display| Miss::Ours(format!("no TLS with {to}: {error}"));
    let config = rustls::ClientConfig::with_platform_verifier().map_err(|error| ours(&error))?;
    let name = ServerName::try_from(host.to_owned()).map_err(|error| ours(&error))?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| refused(&error, &to))
}

/// Who is not trusted here may well live; who does not shake hands does not.
fn refused(error: &std::io::Error, to: &str) -> Miss {
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(_)) => {
            Miss::Ours(format!("the certificate of {to} is not trusted: {error}"))
        }
        Some(_) => Miss::Failed(format!("no TLS with {to}: {error}")),
        None => unconnected(error, to),
    }
}
