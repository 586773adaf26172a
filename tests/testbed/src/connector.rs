//! The testbed's own HTTP client.

use std::sync::Arc;

use axum::body::Body;
use hyper_rustls::builderstates::WantsProtocols1;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::authority::Authority;

/// A client that keeps connections open.
pub(crate) type HttpClient = Client<HttpsConnector<HttpConnector>, Body>;

/// A client that trusts this authority; over TLS it speaks HTTP/2 where the server does.
pub(crate) fn client(authority: Option<&Authority>) -> HttpClient {
    Client::builder(TokioExecutor::new()).build(builder(authority).enable_all_versions().build())
}

/// A client that speaks HTTP/1.1 alone, for a proxy: there `Host` need not be the host in the address.
pub(crate) fn client_http1(authority: Option<&Authority>) -> HttpClient {
    Client::builder(TokioExecutor::new()).build(builder(authority).enable_http1().build())
}

fn builder(authority: Option<&Authority>) -> HttpsConnectorBuilder<WantsProtocols1> {
    let roots = authority.map_or_else(rustls::RootCertStore::empty, Authority::trust);
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports the default versions of TLS")
        .with_root_certificates(roots)
        .with_no_client_auth();
    HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http()
}
