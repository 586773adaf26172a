//! What an attachment offers for a proof.
//!
//! Cosign keeps signatures in three ways: as a Sigstore bundle that refers to the image (since its version 3), as a
//! layer under the tag `sha256-….sig`, and as such a layer in a manifest that refers to the image; the last two with
//! signature, certificate and the log's promise in annotations (sigstore/cosign `specs/SIGNATURE_SPEC.md`). The old form
//! is brought into the form of a bundle, so that it is verified in the same way.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use sigstore_verify::types::{Bundle, SignatureBytes, SignatureContent};

use super::{Statement, trust};
use crate::promotion::digest::Digest;
use crate::registry::Attachment;

/// The payload of an image's signature in the old form.
const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// An attestation in the old form.
const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";

/// The largest document that is taken for a signature.
const LIMIT: usize = 16 * 1024 * 1024;

/// Something that may prove who signed.
#[derive(Debug, Clone)]
pub struct Offer {
    /// What is signed.
    pub content: Content,
    /// Signature, certificate and log entries; none in the old form without a certificate.
    pub bundle: Option<Bundle>,
    /// The signature of a payload.
    pub signature: Option<SignatureBytes>,
    /// Whether the log's entry has its promise alone, and no proof.
    pub is_promise_only: bool,
}

/// What is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The digest of the image, or a statement with the digest as its subject.
    Digest,
    /// A payload that names the digest.
    Payload(Vec<u8>),
}

impl Offer {
    /// What a bundle offers.
    #[must_use]
    pub const fn of_bundle(bundle: Bundle) -> Self {
        Self { content: Content::Digest, bundle: Some(bundle), signature: None, is_promise_only: false }
    }

    /// The bundle in a JSON text, e.g. GitHub's.
    ///
    /// # Errors
    /// What is no bundle.
    pub fn of_json(text: &str) -> Result<Self, String> {
        Bundle::from_json(text).map(Self::of_bundle).map_err(|error| format!("it is no bundle: {error}"))
    }

    /// The statement that is signed; none where the image is.
    ///
    /// # Errors
    /// What is signed and is no statement.
    pub fn statement(&self) -> Result<Option<Statement>, String> {
        match self.bundle.as_ref().map(|bundle| &bundle.content) {
            Some(SignatureContent::DsseEnvelope(envelope)) => trust::statement(envelope).map(Some),
            _ => Ok(None),
        }
    }

    /// Whether what is signed names the digest.
    ///
    /// # Errors
    /// What it names instead.
    pub fn names(&self, digest: &Digest) -> Result<(), String> {
        match (&self.content, self.bundle.as_ref().map(|bundle| &bundle.content)) {
            (Content::Payload(payload), _) => named_in_payload(payload, digest),
            (Content::Digest, Some(SignatureContent::DsseEnvelope(envelope))) => {
                let statement: Subjects = serde_json::from_slice(envelope.payload.as_bytes())
                    .map_err(|error| format!("what it signs is no in-toto statement: {error}"))?;
                let hex =
                    |subject: &Subject| subject.digest.get(digest.algorithm()).is_some_and(|hex| hex == digest.hex());
                if statement.subject.iter().any(hex) { Ok(()) } else { Err("it is about another digest".to_owned()) }
            }
            // A signature of a digest was verified over this one.
            (Content::Digest, _) => Ok(()),
        }
    }
}

#[derive(Deserialize)]
struct Subjects {
    subject: Vec<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    #[serde(default)]
    digest: std::collections::BTreeMap<String, String>,
}

/// Whether a payload in the old form names a digest (containers/image `docs/containers-signature.5.md`).
fn named_in_payload(payload: &[u8], digest: &Digest) -> Result<(), String> {
    let payload: Value = serde_json::from_slice(payload).map_err(|error| format!("its payload is no JSON: {error}"))?;
    if payload.pointer("/critical/type").and_then(Value::as_str) != Some("cosign container image signature") {
        return Err("its payload is no signature of an image".to_owned());
    }
    match payload.pointer("/critical/image/docker-manifest-digest").and_then(Value::as_str) {
        Some(named) if named == digest.as_str() => Ok(()),
        Some(named) => Err(format!("it signs {named}")),
        None => Err("its payload names no digest".to_owned()),
    }
}

/// What an attachment offers; none where it is nothing that is signed.
///
/// # Errors
/// What has the marks of a signature, and not its form.
pub fn offer(attachment: &Attachment) -> Option<Result<Offer, String>> {
    let is_bundle =
        attachment.media_type.contains("sigstore.bundle") || attachment.artifact_type.contains("sigstore.bundle");
    let is_old = matches!(attachment.media_type.as_str(), SIMPLE_SIGNING | ENVELOPE);
    if !is_bundle && !is_old {
        return None;
    }
    Some(match &attachment.bytes {
        Err(error) => Err(error.to_string()),
        Ok(bytes) if bytes.len() > LIMIT => Err(format!("it has more than {LIMIT} bytes")),
        Ok(bytes) if is_bundle => {
            std::str::from_utf8(bytes).map_err(|error| error.to_string()).and_then(Offer::of_json)
        }
        Ok(bytes) => old(attachment, bytes),
    })
}

/// The log's promise in the old form.
#[derive(Deserialize)]
struct Promise {
    #[serde(rename = "SignedEntryTimestamp")]
    timestamp: String,
    #[serde(rename = "Payload")]
    payload: PromisePayload,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PromisePayload {
    body: String,
    integrated_time: i64,
    log_index: i64,
    #[serde(rename = "logID")]
    log_id: String,
}

/// An offer in the old form: cosign's annotations on a payload or an envelope.
fn old(attachment: &Attachment, bytes: &[u8]) -> Result<Offer, String> {
    let annotation = |name: &str| attachment.annotations.get(name).filter(|text| !text.is_empty());
    let is_payload = attachment.media_type == SIMPLE_SIGNING;
    let signature = annotation("dev.cosignproject.cosign/signature");
    let signature = match (is_payload, signature) {
        (true, Some(text)) => {
            Some(SignatureBytes::from_base64(text.trim()).map_err(|error| format!("its signature: {error}"))?)
        }
        (true, None) => return Err("it has no signature".to_owned()),
        (false, _) => None,
    };
    let content = if is_payload {
        json!({"messageSignature": {
            "messageDigest": {"algorithm": "SHA2_256", "digest": STANDARD.encode(sha256(bytes))},
            "signature": signature,
        }})
    } else {
        let envelope: Value = serde_json::from_slice(bytes).map_err(|error| format!("its envelope: {error}"))?;
        json!({"dsseEnvelope": envelope})
    };
    let material = material(annotation("dev.sigstore.cosign/certificate"), annotation("dev.sigstore.cosign/chain"))?;
    let entries = annotation("dev.sigstore.cosign/bundle").map(|text| entry(text)).transpose()?;
    let mut bundle = json!({
        // The first version: that with a promise instead of a proof.
        "mediaType": "application/vnd.dev.sigstore.bundle+json;version=0.1",
        "verificationMaterial": material,
    });
    bundle["verificationMaterial"]["tlogEntries"] = json!(entries.into_iter().collect::<Vec<_>>());
    if let (Some(bundle), Value::Object(content)) = (bundle.as_object_mut(), content) {
        bundle.extend(content);
    }
    let bundle = Bundle::from_json(&bundle.to_string()).map_err(|error| format!("it is malformed: {error}"))?;
    Ok(Offer {
        content: if is_payload { Content::Payload(bytes.to_vec()) } else { Content::Digest },
        bundle: Some(bundle),
        signature,
        is_promise_only: true,
    })
}

/// Certificate and chain as a bundle has them; a hint at a key where there is none.
fn material(certificate: Option<&String>, chain: Option<&String>) -> Result<Value, String> {
    let Some(certificate) = certificate else { return Ok(json!({"publicKey": {"hint": ""}})) };
    let mut certificates = Vec::new();
    for pem in [Some(certificate), chain].into_iter().flatten() {
        certificates.extend(certificates_of(pem)?);
    }
    // The root is nothing that a signer says.
    let listed: Vec<Value> = certificates.into_iter().map(|raw| json!({"rawBytes": raw})).collect();
    Ok(json!({"x509CertificateChain": {"certificates": listed}}))
}

/// The certificates in a PEM text, as base64 without line breaks.
fn certificates_of(pem: &str) -> Result<Vec<String>, String> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let mut rest = pem;
    let mut found = Vec::new();
    while let Some(begin) = rest.find(BEGIN) {
        let after = &rest[begin + BEGIN.len()..];
        let end = after.find(END).ok_or("its certificate is cut off")?;
        found.push(after[..end].split_whitespace().collect());
        rest = &after[end + END.len()..];
    }
    if found.is_empty() { Err("its certificate is no PEM".to_owned()) } else { Ok(found) }
}

/// A log entry with the log's promise.
fn entry(text: &str) -> Result<Value, String> {
    let malformed = |error: &dyn std::fmt::Display| format!("the log's promise is malformed: {error}");
    let promise: Promise = serde_json::from_str(text).map_err(|error| malformed(&error))?;
    let body = STANDARD.decode(&promise.payload.body).map_err(|error| malformed(&error))?;
    let body: Value = serde_json::from_slice(&body).map_err(|error| malformed(&error))?;
    let id = hex::decode(&promise.payload.log_id).map_err(|error| malformed(&error))?;
    Ok(json!({
        "logIndex": promise.payload.log_index.to_string(),
        "logId": {"keyId": STANDARD.encode(id)},
        "kindVersion": {"kind": body["kind"], "version": body["apiVersion"]},
        "integratedTime": promise.payload.integrated_time.to_string(),
        "inclusionPromise": {"signedEntryTimestamp": promise.timestamp},
        "canonicalizedBody": promise.payload.body,
    }))
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).to_vec()
}
