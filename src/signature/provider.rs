//! The cryptography that the Sigstore crates ask for, on ring, and for digests that are signed as such, where ring has
//! no function, on the RustCrypto curves. RSA over a digest and post-quantum signatures are refused.

use std::sync::Once;

use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use ring::signature::{self as algorithms, UnparsedPublicKey, VerificationAlgorithm};
use sha2::Digest as _;
use sigstore_verify::crypto::{CryptoProvider, Error, HashContext, Result, SigningScheme, install_default_provider};
use sigstore_verify::types::HashAlgorithm;

/// Sees to it that the Sigstore crates have their cryptography.
pub(super) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // Another one that is there already, by somebody who uses this as a library, is as good.
        let _ = install_default_provider(&Ring);
    });
}

#[derive(Debug)]
struct Ring;

struct Hash<D>(D);

impl<D: sha2::Digest + Send> HashContext for Hash<D> {
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn finalize(self: Box<Self>) -> Vec<u8> {
        self.0.finalize().to_vec()
    }
}

impl CryptoProvider for Ring {
    fn hash(&self, algorithm: HashAlgorithm) -> Result<Box<dyn HashContext>> {
        Ok(match algorithm {
            HashAlgorithm::Sha2256 => Box::new(Hash(sha2::Sha256::new())),
            HashAlgorithm::Sha2384 => Box::new(Hash(sha2::Sha384::new())),
            HashAlgorithm::Sha2512 => Box::new(Hash(sha2::Sha512::new())),
            other => return Err(Error::UnsupportedAlgorithm(format!("digests by {other}"))),
        })
    }

    fn verify_raw(&self, scheme: SigningScheme, key: &[u8], data: &[u8], signature: &[u8]) -> Result<()> {
        let algorithm: &dyn VerificationAlgorithm = match scheme {
            SigningScheme::EcdsaP256Sha256 => &algorithms::ECDSA_P256_SHA256_ASN1,
            SigningScheme::EcdsaP256Sha384 => &algorithms::ECDSA_P256_SHA384_ASN1,
            SigningScheme::EcdsaP384Sha256 => &algorithms::ECDSA_P384_SHA256_ASN1,
            SigningScheme::EcdsaP384Sha384 => &algorithms::ECDSA_P384_SHA384_ASN1,
            SigningScheme::Ed25519 => &algorithms::ED25519,
            SigningScheme::RsaPssSha256 => &algorithms::RSA_PSS_2048_8192_SHA256,
            SigningScheme::RsaPssSha384 => &algorithms::RSA_PSS_2048_8192_SHA384,
            SigningScheme::RsaPssSha512 => &algorithms::RSA_PSS_2048_8192_SHA512,
            SigningScheme::RsaPkcs1Sha256 => &algorithms::RSA_PKCS1_2048_8192_SHA256,
            SigningScheme::RsaPkcs1Sha384 => &algorithms::RSA_PKCS1_2048_8192_SHA384,
            SigningScheme::RsaPkcs1Sha512 => &algorithms::RSA_PKCS1_2048_8192_SHA512,
            other => return Err(unsupported(other)),
        };
        UnparsedPublicKey::new(algorithm, key).verify(data, signature).map_err(|_| invalid(scheme))
    }

    fn verify_prehashed(&self, scheme: SigningScheme, key: &[u8], digest: &[u8], signature: &[u8]) -> Result<()> {
        match scheme {
            SigningScheme::EcdsaP256Sha256 | SigningScheme::EcdsaP256Sha384 => {
                let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(key).map_err(|_| invalid(scheme))?;
                let signature = p256::ecdsa::Signature::from_der(signature).map_err(|_| invalid(scheme))?;
                key.verify_prehash(digest, &signature).map_err(|_| invalid(scheme))
            }
            SigningScheme::EcdsaP384Sha384 => {
                let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(key).map_err(|_| invalid(scheme))?;
                let signature = p384::ecdsa::Signature::from_der(signature).map_err(|_| invalid(scheme))?;
                key.verify_prehash(digest, &signature).map_err(|_| invalid(scheme))
            }
            other => Err(unsupported(other)),
        }
    }
}

fn invalid(scheme: SigningScheme) -> Error {
    Error::Verification(format!("the signature ({}) is not the key's over this", scheme.name()))
}

fn unsupported(scheme: SigningScheme) -> Error {
    Error::UnsupportedAlgorithm(format!("signatures by {}", scheme.name()))
}
