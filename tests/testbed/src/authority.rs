//! A certificate authority for local TLS.
//!
//! A program under test trusts it by the file in [`Authority::file`], e.g. through `SSL_CERT_FILE`.

use std::path::Path;
use std::sync::Arc;

use chrono::Datelike as _;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;

/// What every certificate of the testbed is valid for: the names of this machine, and one that a test can give it where
/// a program treats those as special.
const NAMES: [&str; 4] = ["localhost", "127.0.0.1", "::1", "registry.test"];

/// A certificate authority with its certificate in a file.
#[derive(Clone)]
pub struct Authority(Arc<Inner>);

struct Inner {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: TempDir,
}

/// A certificate and its key, in PEM.
pub struct Certificate {
    /// The certificate.
    pub certificate: String,
    /// The key, PKCS#8.
    pub key: String,
    der: CertificateDer<'static>,
    key_der: Vec<u8>,
}

impl Authority {
    /// Creates an authority with a new key (ECDSA P-256).
    ///
    /// # Panics
    /// When its file cannot be written.
    #[must_use]
    pub fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, "testbed authority");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().expect("a key can be generated");
        let issuer = CertifiedIssuer::self_signed(parameters, key).expect("the authority's certificate can be signed");
        let directory = TempDir::new().expect("a directory for the authority's certificate");
        std::fs::write(directory.path().join("ca.pem"), issuer.pem()).expect("the authority's certificate is written");
        Self(Arc::new(Inner { issuer, directory }))
    }

    /// The file with the authority's certificate in PEM; it lives as long as the authority.
    #[must_use]
    pub fn file(&self) -> std::path::PathBuf {
        self.0.directory.path().join("ca.pem")
    }

    /// The authority's certificate in PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.0.issuer.pem()
    }

    /// Issues a certificate for this machine: `localhost`, `127.0.0.1` and `::1`.
    #[must_use]
    pub fn issue(&self) -> Certificate {
        self.issue_for(&NAMES)
    }

    /// Issues a certificate for these names and addresses, e.g. for a test that must refuse it.
    ///
    /// # Panics
    /// When a name is not a DNS name.
    #[must_use]
    pub fn issue_for(&self, names: &[&str]) -> Certificate {
        self.signed(names, |_| {})
    }

    /// Issues a certificate for this machine that ends after so many days; where they are negative, it has ended.
    #[must_use]
    pub fn issue_lasting(&self, days: i64) -> Certificate {
        let date = |days: i64| {
            let day = chrono::Utc::now() + chrono::TimeDelta::days(days);
            rcgen::date_time_ymd(
                day.year(),
                u8::try_from(day.month()).unwrap_or(1),
                u8::try_from(day.day()).unwrap_or(1),
            )
        };
        self.signed(&NAMES, |parameters| {
            parameters.not_before = date(-365);
            parameters.not_after = date(days);
        })
    }

    fn signed(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Certificate {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut parameters = CertificateParams::new(names).expect("the names of the certificate are valid");
        change(&mut parameters);
        parameters.distinguished_name.push(DnType::CommonName, "testbed server");
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        parameters.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().expect("a key can be generated");
        let certificate = parameters.signed_by(&key, &self.0.issuer).expect("a certificate can be signed");
        Certificate {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            der: certificate.der().clone(),
            key_der: key.serialize_der(),
        }
    }

    /// What a client must have to trust this authority, and nothing else.
    pub(crate) fn trust(&self) -> rustls::RootCertStore {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.0.issuer.der().clone()).expect("the authority's certificate is a root");
        roots
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Certificate {
    /// Writes `certificate.pem` and `key.pem` into the directory.
    ///
    /// # Panics
    /// When they cannot be written.
    pub fn write(&self, directory: &Path) {
        std::fs::write(directory.join("certificate.pem"), &self.certificate).expect("the certificate is written");
        std::fs::write(directory.join("key.pem"), &self.key).expect("the certificate's key is written");
    }

    /// The certificate in DER.
    pub(crate) fn der(&self) -> &[u8] {
        &self.der
    }

    /// The key in PKCS#8 DER.
    pub(crate) fn key_der(&self) -> &[u8] {
        &self.key_der
    }

    /// What a TLS server needs; it offers HTTP/2 and HTTP/1.1.
    pub(crate) fn server(&self) -> Arc<rustls::ServerConfig> {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key_der.clone()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut configuration = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring supports the default versions of TLS")
            .with_no_client_auth()
            .with_single_cert(vec![self.der.clone()], key)
            .expect("the certificate and its key belong together");
        configuration.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(configuration)
    }
}
