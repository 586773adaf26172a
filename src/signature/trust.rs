//! Whom we trust, and whether a signature is theirs.

use sigstore_verify::crypto::{KeyAlgorithm, verify_signature, verify_signature_prehashed};
use sigstore_verify::trust_root::{SigstoreInstance, TrustedRoot};
use sigstore_verify::types::{DerPublicKey, DsseEnvelope, Sha256Hash, SignatureContent};
use sigstore_verify::{PublicKeyVerificationPolicy, VerificationPolicy, VerificationResult, Verifier};

use super::material::{Content, Offer};
use super::{Proven, Statement, provider};
use crate::config::Identity;
use crate::promotion::digest::Digest;

/// The roots that certificates, logs and timestamps are held against.
pub struct Trust {
    authorities: Vec<Authority>,
}

/// One root.
struct Authority {
    verifier: Verifier,
    /// Whether it has a transparency log.
    log: bool,
    /// Whether its certificates are logged, too.
    certificates_logged: bool,
}

/// Why there is no trust root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the trust root cannot be used: {0}")]
pub struct UnusableRoot(String);

/// Who must have signed.
#[derive(Debug, Clone, Copy)]
pub enum Wanted<'a> {
    /// Somebody with this identity.
    Identity {
        /// The identity.
        identity: &'a Identity,
        /// Whether a transparency log must know of it.
        log: Log,
    },
    /// The owner of one of these keys.
    Keys {
        /// The keys, each with a name for people.
        keys: &'a [(String, DerPublicKey)],
        /// Whether a transparency log must know of it.
        log: bool,
    },
}

/// Whether a transparency log must know of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    /// It must.
    Required,
    /// It must where the trust root has one; GitHub's for private repositories has none, and timestamps instead.
    AsTheRoot,
    /// It need not; a time that somebody trusted has signed is needed all the same.
    Unasked,
}

impl Trust {
    /// The roots that are compiled in: Sigstore's public one, and GitHub's for attestations of private repositories,
    /// whose proof of time is a timestamp instead of a log.
    ///
    /// # Errors
    /// Never, with the roots that are compiled in.
    pub fn built_in() -> Result<Self, UnusableRoot> {
        provider::install();
        let root = |instance| TrustedRoot::from_embedded(instance).map_err(unusable);
        let authorities = vec![
            Authority::new(&root(SigstoreInstance::PublicGood)?)?,
            Authority::new(&root(SigstoreInstance::GitHub)?)?,
        ];
        Ok(Self { authorities })
    }

    /// The root in a file, and no other: `trusted_root.json`, as Sigstore distributes it.
    ///
    /// # Errors
    /// What is no trust root.
    pub fn of_file(json: &str) -> Result<Self, UnusableRoot> {
        provider::install();
        let root = TrustedRoot::from_json(json).map_err(unusable)?;
        Ok(Self { authorities: vec![Authority::new(&root)?] })
    }

    /// Proves that what is offered was signed by whoever is wanted, for this digest.
    ///
    /// # Errors
    /// Why it is no proof, for people; what it says of the offer is untrusted.
    pub fn prove(&self, offer: &Offer, digest: &Digest, wanted: Wanted<'_>) -> Result<Proven, String> {
        match wanted {
            Wanted::Identity { identity, log } => {
                let result = self.by_certificate(offer, digest, log)?;
                let signer = result.identity().map(|one| one.as_str().to_owned()).unwrap_or_default();
                let issuer = result.issuer().unwrap_or_default().to_owned();
                // Read from the certificate of which the chain was verified.
                if !result.certificate_verified() {
                    return Err("its certificate was not verified".to_owned());
                }
                if !identity.issuer.matches(&issuer) {
                    return Err(format!("it is by `{signer}` of `{issuer}`, and another issuer is wanted"));
                }
                if !identity.subject.matches(&signer) {
                    return Err(format!("it is by `{signer}`, and another identity is wanted"));
                }
                let claims = result.certificate().map(|one| one.ci_claims.clone()).unwrap_or_default();
                Ok(Proven { signer, issuer: Some(issuer), claims, statement: offer.statement()? })
            }
            Wanted::Keys { keys, log } => {
                let mut why = "there is no key to hold it against".to_owned();
                for (name, key) in keys {
                    match self.by_key(offer, digest, key, log) {
                        Ok(()) => {
                            let statement = offer.statement()?;
                            let signer = format!("the key {name}");
                            return Ok(Proven { signer, issuer: None, claims: Default::default(), statement });
                        }
                        Err(error) => why = error,
                    }
                }
                Err(why)
            }
        }
    }

    fn by_certificate(&self, offer: &Offer, digest: &Digest, log: Log) -> Result<VerificationResult, String> {
        let bundle = offer.bundle.as_ref().ok_or("it has no certificate")?;
        if bundle.signing_certificate().is_none() {
            return Err("it is by a key, and an identity is wanted".to_owned());
        }
        let mut why = Vec::new();
        for authority in &self.authorities {
            if log == Log::Required && !authority.log {
                continue;
            }
            let mut policy = VerificationPolicy::any_identity();
            // What cosign wrote before there were bundles has the log's signed promise instead of its proof; the time
            // by which the certificate is judged then comes from nowhere but that promise, whose signature is verified.
            if !authority.log || log == Log::Unasked || offer.is_promise_only {
                policy = policy.skip_tlog_unsafe();
            }
            if !authority.certificates_logged {
                policy = policy.skip_sct();
            }
            let verified = match &offer.content {
                Content::Digest => authority.verifier.verify(sha256(digest)?, bundle, &policy),
                Content::Payload(payload) => authority.verifier.verify(payload.as_slice(), bundle, &policy),
            };
            match verified {
                Ok(result) => return offer.names(digest).map(|()| result),
                Err(error) => why.push(error.to_string()),
            }
        }
        // The first root is the one that most are by.
        Err(why.into_iter().next().unwrap_or_else(|| "no trust root has a transparency log".to_owned()))
    }

    fn by_key(&self, offer: &Offer, digest: &Digest, key: &DerPublicKey, log: bool) -> Result<(), String> {
        if log {
            let bundle = offer.bundle.as_ref().filter(|bundle| bundle.signing_certificate().is_none());
            let Some(bundle) = bundle.filter(|_| !offer.is_promise_only) else {
                return Err("it has no proof that it is in a transparency log".to_owned());
            };
            let logged = bundle.verification_material.tlog_entries.iter().any(|one| one.inclusion_proof.is_some());
            let Some(authority) = self.authorities.iter().find(|authority| authority.log && logged) else {
                return Err("it has no proof that it is in a transparency log".to_owned());
            };
            let policy = PublicKeyVerificationPolicy::new(key.clone());
            let verified = match &offer.content {
                Content::Digest => authority.verifier.verify(sha256(digest)?, bundle, &policy),
                Content::Payload(payload) => authority.verifier.verify(payload.as_slice(), bundle, &policy),
            };
            verified.map_err(|error| error.to_string())?;
            return offer.names(digest);
        }
        let algorithm = KeyAlgorithm::from_spki(key).map_err(|error| error.to_string())?;
        let scheme = algorithm.default_signing_scheme();
        let told = |error: sigstore_verify::crypto::Error| error.to_string();
        match (&offer.content, &offer.signature) {
            (Content::Payload(payload), Some(signature)) => {
                verify_signature(key, payload, signature, scheme).map_err(told)?;
            }
            (Content::Digest, _) => {
                let bundle = offer.bundle.as_ref().ok_or("it has no signature")?;
                match &bundle.content {
                    SignatureContent::DsseEnvelope(envelope) => {
                        verify_signature(key, &envelope.pae(), &envelope.signature.sig, scheme).map_err(told)?;
                    }
                    SignatureContent::MessageSignature(message) => {
                        let digest = sha256(digest)?;
                        verify_signature_prehashed(key, digest.as_slice(), &message.signature, scheme).map_err(told)?;
                    }
                    _ => return Err("it is signed in a way that is not known".to_owned()),
                }
            }
            (Content::Payload(_), None) => return Err("it has no signature".to_owned()),
        }
        offer.names(digest)
    }
}

impl Authority {
    fn new(root: &TrustedRoot) -> Result<Self, UnusableRoot> {
        Ok(Self {
            log: !root.tlogs.is_empty(),
            certificates_logged: !root.ctlogs.is_empty(),
            verifier: Verifier::new(root).map_err(unusable)?,
        })
    }
}

/// Reads a public key: PEM, `PUBLIC KEY`.
///
/// # Errors
/// What is no key that signatures can be held against.
pub fn key(pem: &str) -> Result<DerPublicKey, String> {
    provider::install();
    let key = DerPublicKey::from_pem(pem).map_err(|error| error.to_string())?;
    KeyAlgorithm::from_spki(&key).map_err(|error| error.to_string())?;
    Ok(key)
}

/// The statement in an envelope.
pub(super) fn statement(envelope: &DsseEnvelope) -> Result<Statement, String> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Read {
        predicate_type: String,
        #[serde(default)]
        predicate: serde_json::Value,
    }
    let read: Read = serde_json::from_slice(envelope.payload.as_bytes())
        .map_err(|error| format!("what it signs is no in-toto statement: {error}"))?;
    Ok(Statement { predicate_type: read.predicate_type, predicate: read.predicate })
}

fn sha256(digest: &Digest) -> Result<Sha256Hash, String> {
    if digest.algorithm() != "sha256" {
        return Err(format!("{} digests are not signed", digest.algorithm()));
    }
    Sha256Hash::from_hex(digest.hex()).map_err(|error| error.to_string())
}

fn unusable(error: impl std::fmt::Display) -> UnusableRoot {
    UnusableRoot(error.to_string())
}
