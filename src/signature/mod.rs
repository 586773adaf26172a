//! Signatures and attestations: what is attached to an image, proven to have been made by somebody for this digest.
//!
//! | file | what is in it |
//! |---|---|
//! | `provider` | the cryptography, on ring |
//! | `trust` | whom we trust: the built-in roots, or a file; verification of a bundle |
//! | `material` | what an attachment offers: a Sigstore bundle, or what cosign wrote before there were bundles |
//! | `provenance` | what a SLSA provenance says: pure |
//!
//! The verification itself is the maintained crates': sigstore-verify and what belongs to it. That something is attached
//! is never taken for proof, and nothing here reaches out: the trust roots are compiled in, or named by the policy.

pub mod material;
pub mod provenance;
mod provider;
pub mod trust;

use serde_json::Value;
use sigstore_verify::crypto::FulcioCiClaims;

/// The media types of image signatures by cosign: the predicate of its statements in bundles.
pub const COSIGN_SIGN: &str = "https://sigstore.dev/cosign/sign/v1";

/// What was proven.
#[derive(Debug, Clone)]
pub struct Proven {
    /// By whom: the certificate's identity, or the key.
    pub signer: String,
    /// Who vouches for the identity; none for a key.
    pub issuer: Option<String>,
    /// What the certificate says of the build; all none for a key.
    pub claims: FulcioCiClaims,
    /// The statement that was signed; none where the image itself was.
    pub statement: Option<Statement>,
}

/// An in-toto statement, as far as it is looked at here.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// What kind of predicate it makes.
    pub predicate_type: String,
    /// The predicate.
    pub predicate: Value,
}
