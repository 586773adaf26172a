//! The testbed's own HTTP client.

use std::sync::Arc;

use axum::body::Body;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::authority::Authority;

/// A client that keeps connections open.
pub(crate) type HttpClient = Client<HttpsConnector<HttpConnector>, Body>;

/// A client that trusts this authority, and speaks plain HTTP too.
pub(crate) fn client(authority: Option<&Authority>) -> HttpClient {
    let roots = authority.map_or_else(rustls::RootCertStore::empty, Authority::trust);
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports the default versions of TLS")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
    Client::builder(TokioExecutor::new()).build(connector)
}
