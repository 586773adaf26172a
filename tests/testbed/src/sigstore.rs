//! A Sigstore of the testbed's own: an authority for certificates, a transparency log, and signers, whose bundles and
//! old-style signatures verify against [`Sigstore::trusted_root`] and nothing else.
//!
//! The log has one entry for each signature, in a tree of its own of size 1, with a signed promise and a signed
//! checkpoint: the least that Rekor's first version gives.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PublicKeyData as _, SanType,
};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// What cosign's statement about an image is called.
pub const COSIGN_SIGN: &str = "https://sigstore.dev/cosign/sign/v1";

/// The arc of Fulcio's extensions.
const FULCIO: [u64; 9] = [1, 3, 6, 1, 4, 1, 57264, 1, 0];

/// A key pair, ECDSA P-256.
pub struct Key {
    pair: KeyPair,
    signing: EcdsaKeyPair,
}

/// Who signs with a certificate.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The subject, an address.
    pub subject: String,
    /// Who vouches for it.
    pub issuer: String,
    /// Other extensions of Fulcio's by their number: 12 is the source's repository, 14 its ref.
    pub claims: BTreeMap<u64, String>,
    /// The years in which the certificate is valid, from the first of January to the first of January.
    pub years: (i32, i32),
}

impl Identity {
    /// A workflow of GitHub Actions.
    #[must_use]
    pub fn workflow(repository: &str, workflow: &str, reference: &str) -> Self {
        let source = format!("https://github.com/{repository}");
        Self {
            subject: format!("{source}/.github/workflows/{workflow}@{reference}"),
            issuer: "https://token.actions.githubusercontent.com".to_owned(),
            claims: BTreeMap::from([(12, source), (14, reference.to_owned())]),
            years: (2020, 2060),
        }
    }
}

/// An authority and a log.
pub struct Sigstore {
    authority: CertifiedIssuer<'static, KeyPair>,
    log: Key,
}

/// The parts of a proof, from which the forms are made.
struct Proof {
    signature: Vec<u8>,
    certificate: Option<Vec<u8>>,
    entry: Option<Value>,
}

impl Key {
    /// A new key.
    ///
    /// # Panics
    /// When the system has no random numbers.
    #[must_use]
    pub fn new() -> Self {
        let pair = KeyPair::generate().expect("a key can be generated");
        let der = pair.serialize_der();
        let signing = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &der, &SystemRandom::new());
        Self { signing: signing.expect("the key is ring's"), pair }
    }

    /// The public key in PEM.
    #[must_use]
    pub fn public_pem(&self) -> String {
        self.pair.public_key_pem()
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature = self.signing.sign(&SystemRandom::new(), message).expect("what is in memory can be signed");
        signature.as_ref().to_vec()
    }

    fn id(&self) -> Vec<u8> {
        Sha256::digest(self.pair.subject_public_key_info()).to_vec()
    }

    /// A bundle with a statement that this key has signed, and no log knows of.
    #[must_use]
    pub fn bundle(&self, statement: &Value) -> Value {
        let signature = self.sign(&pae(statement));
        bundle(&Proof { signature, certificate: None, entry: None }, statement)
    }

    /// Payload and annotations of an old-style signature of a digest by this key.
    #[must_use]
    pub fn old_style(&self, digest: &str) -> (Vec<u8>, BTreeMap<String, String>) {
        let payload = payload(digest);
        let signature = self.sign(&payload);
        (payload, BTreeMap::from([(annotation("signature"), STANDARD.encode(signature))]))
    }
}

impl Default for Key {
    fn default() -> Self {
        Self::new()
    }
}

impl Sigstore {
    /// A new authority with a new log.
    ///
    /// # Panics
    /// When the system has no random numbers.
    #[must_use]
    pub fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, "testbed fulcio");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key can be generated");
        let authority = CertifiedIssuer::self_signed(parameters, key).expect("the authority can be signed");
        Self { authority, log: Key::new() }
    }

    /// The trust root, as a file has it.
    #[must_use]
    pub fn trusted_root(&self) -> Value {
        let window = json!({"start": "2000-01-01T00:00:00Z"});
        json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [{
                "baseUrl": "https://rekor.test",
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": STANDARD.encode(self.log.pair.subject_public_key_info()),
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "validFor": window,
                },
                "logId": {"keyId": STANDARD.encode(self.log.id())},
            }],
            "certificateAuthorities": [{
                "subject": {"organization": "testbed", "commonName": "testbed fulcio"},
                "uri": "https://fulcio.test",
                "certChain": {"certificates": [{"rawBytes": STANDARD.encode(self.authority.der())}]},
                "validFor": window,
            }],
            "ctlogs": [],
            "timestampAuthorities": [],
        })
    }

    /// A bundle with a statement that somebody has signed, which the log knows of.
    #[must_use]
    pub fn bundle(&self, identity: &Identity, statement: &Value) -> Value {
        let (key, certificate, pem) = self.certified(identity);
        let signature = key.sign(&pae(statement));
        let body = dsse_body(&signature, statement, &pem);
        bundle(&Proof { signature, certificate: Some(certificate), entry: Some(self.entry(&body)) }, statement)
    }

    /// A bundle with a statement that a key has signed, which the log knows of.
    #[must_use]
    pub fn bundle_by_key(&self, key: &Key, statement: &Value) -> Value {
        let signature = key.sign(&pae(statement));
        let body = dsse_body(&signature, statement, &key.public_pem());
        bundle(&Proof { signature, certificate: None, entry: Some(self.entry(&body)) }, statement)
    }

    /// Payload and annotations of an old-style signature of a digest.
    #[must_use]
    pub fn old_style(&self, identity: &Identity, digest: &str) -> (Vec<u8>, BTreeMap<String, String>) {
        let (key, _, pem) = self.certified(identity);
        let payload = payload(digest);
        let signature = key.sign(&payload);
        let body = json!({
            "apiVersion": "0.0.1",
            "kind": "hashedrekord",
            "spec": {
                "data": {"hash": {"algorithm": "sha256", "value": hex::encode(Sha256::digest(&payload))}},
                "signature": {"content": STANDARD.encode(&signature), "publicKey": {"content": STANDARD.encode(&pem)}},
            },
        })
        .to_string();
        let mut annotations = self.old_material(pem, &body);
        annotations.insert(annotation("signature"), STANDARD.encode(signature));
        (payload, annotations)
    }

    /// Envelope and annotations of an old-style attestation: what `cosign attest` put under `sha256-….att` from its version
    /// 2.2 to its version 3.
    ///
    /// # Panics
    /// When the statement has no type of a predicate.
    #[must_use]
    pub fn old_attestation(&self, identity: &Identity, statement: &Value) -> (Vec<u8>, BTreeMap<String, String>) {
        let (key, _, pem) = self.certified(identity);
        let signature = key.sign(&pae(statement));
        let body = dsse_body(&signature, statement, &pem);
        let mut annotations = self.old_material(pem, &body);
        // There, and empty: the signature is in the envelope.
        annotations.insert(annotation("signature"), String::new());
        let kind = statement["predicateType"].as_str().expect("a statement says what it is");
        annotations.insert("predicateType".to_owned(), kind.to_owned());
        (envelope(&signature, statement).to_string().into_bytes(), annotations)
    }

    /// The annotations with a certificate, its chain, and the log's promise of an entry.
    fn old_material(&self, pem: String, body: &str) -> BTreeMap<String, String> {
        let promise = json!({
            "SignedEntryTimestamp": STANDARD.encode(self.promise(body)),
            "Payload": {
                "body": STANDARD.encode(body), "integratedTime": NOW, "logIndex": 0,
                "logID": hex::encode(self.log.id()),
            },
        });
        BTreeMap::from([
            ("dev.sigstore.cosign/certificate".to_owned(), pem),
            ("dev.sigstore.cosign/chain".to_owned(), self.authority.pem()),
            ("dev.sigstore.cosign/bundle".to_owned(), promise.to_string()),
        ])
    }

    /// A key with a certificate, in DER and in PEM.
    fn certified(&self, identity: &Identity) -> (Key, Vec<u8>, String) {
        let key = Key::new();
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        let address = identity.subject.as_str().try_into().expect("the subject is an address");
        parameters.subject_alt_names = vec![SanType::URI(address)];
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
        parameters.not_before = rcgen::date_time_ymd(identity.years.0, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(identity.years.1, 1, 1);
        let issuer = std::iter::once((8, &identity.issuer));
        let extensions = issuer.chain(identity.claims.iter().map(|(number, text)| (*number, text)));
        parameters.custom_extensions = extensions
            .map(|(number, text)| {
                let mut oid = FULCIO;
                oid[8] = number;
                CustomExtension::from_oid_content(&oid, utf8(text))
            })
            .collect();
        let certificate = parameters.signed_by(&key.pair, &self.authority).expect("a certificate can be signed");
        (key, certificate.der().to_vec(), certificate.pem())
    }

    /// A log entry with its promise and its proof.
    fn entry(&self, body: &str) -> Value {
        let root = Sha256::new().chain_update([0]).chain_update(body).finalize().to_vec();
        let note = format!("rekor.test - 1\n1\n{}\n", STANDARD.encode(&root));
        let mut signed = self.log.id()[..4].to_vec();
        signed.extend(self.log.sign(note.as_bytes()));
        let checkpoint = format!("{note}\n\u{2014} rekor.test {}\n", STANDARD.encode(signed));
        json!({
            "logIndex": "0",
            "logId": {"keyId": STANDARD.encode(self.log.id())},
            "kindVersion": {"kind": "dsse", "version": "0.0.1"},
            "integratedTime": NOW.to_string(),
            "inclusionPromise": {"signedEntryTimestamp": STANDARD.encode(self.promise(body))},
            "inclusionProof": {
                "logIndex": "0", "treeSize": "1", "hashes": [], "rootHash": STANDARD.encode(&root),
                "checkpoint": {"envelope": checkpoint},
            },
            "canonicalizedBody": STANDARD.encode(body),
        })
    }

    /// The log's promise: its signature over the entry in canonical JSON (keys in their order).
    fn promise(&self, body: &str) -> Vec<u8> {
        let entry = format!(
            r#"{{"body":"{}","integratedTime":{NOW},"logID":"{}","logIndex":0}}"#,
            STANDARD.encode(body),
            hex::encode(self.log.id())
        );
        self.log.sign(entry.as_bytes())
    }
}

impl Default for Sigstore {
    fn default() -> Self {
        Self::new()
    }
}

/// When everything was logged: 2026-01-01T00:00:00Z.
const NOW: i64 = 1_767_225_600;

/// A statement about a digest.
#[must_use]
pub fn statement(predicate_type: &str, digest: &str, predicate: &Value) -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "image", "digest": {"sha256": digest.trim_start_matches("sha256:")}}],
        "predicateType": predicate_type,
        "predicate": predicate,
    })
}

fn bundle(proof: &Proof, statement: &Value) -> Value {
    let mut material = match &proof.certificate {
        Some(certificate) => json!({"certificate": {"rawBytes": STANDARD.encode(certificate)}}),
        None => json!({"publicKey": {"hint": "testbed"}}),
    };
    material["tlogEntries"] = json!(proof.entry.iter().collect::<Vec<_>>());
    json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": material,
        "dsseEnvelope": envelope(&proof.signature, statement),
    })
}

fn envelope(signature: &[u8], statement: &Value) -> Value {
    json!({
        "payload": STANDARD.encode(statement.to_string()),
        "payloadType": "application/vnd.in-toto+json",
        "signatures": [{"sig": STANDARD.encode(signature)}],
    })
}

fn dsse_body(signature: &[u8], statement: &Value, verifier: &str) -> String {
    let hash = |bytes: &[u8]| json!({"algorithm": "sha256", "value": hex::encode(Sha256::digest(bytes))});
    json!({
        "apiVersion": "0.0.1",
        "kind": "dsse",
        "spec": {
            "envelopeHash": hash(b"not looked at"),
            "payloadHash": hash(statement.to_string().as_bytes()),
            "signatures": [{"signature": STANDARD.encode(signature), "verifier": STANDARD.encode(verifier)}],
        },
    })
    .to_string()
}

/// What a signer of an envelope signs (DSSE, `protocol.md`).
fn pae(statement: &Value) -> Vec<u8> {
    let (kind, payload) = ("application/vnd.in-toto+json", statement.to_string());
    format!("DSSEv1 {} {kind} {} {payload}", kind.len(), payload.len()).into_bytes()
}

fn payload(digest: &str) -> Vec<u8> {
    json!({
        "critical": {
            "identity": {"docker-reference": "registry.test/acme/api"},
            "image": {"docker-manifest-digest": digest},
            "type": "cosign container image signature",
        },
        "optional": null,
    })
    .to_string()
    .into_bytes()
}

fn annotation(name: &str) -> String {
    format!("dev.cosignproject.cosign/{name}")
}

/// A text as DER's UTF8String.
fn utf8(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).expect("a short text");
    let mut der = vec![0x0c];
    if length >= 0x80 {
        der.push(0x81);
    }
    der.push(length);
    der.extend(text.as_bytes());
    der
}
