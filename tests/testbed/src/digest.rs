//! Digests of content, computed by the testbed itself.

use sha2::{Digest as _, Sha256, Sha512};

/// `sha256:<64 hexadecimal digits>` of the bytes.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// `sha512:<128 hexadecimal digits>` of the bytes.
#[must_use]
pub fn sha512(bytes: &[u8]) -> String {
    format!("sha512:{}", hex::encode(Sha512::digest(bytes)))
}

/// Whether the text is a digest of an algorithm that the testbed knows, well formed (image-spec, "Digests").
#[must_use]
pub fn is_valid(digest: &str) -> bool {
    let hexadecimal = |text: &str, length| {
        text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    match digest.split_once(':') {
        Some(("sha256", encoded)) => hexadecimal(encoded, 64),
        Some(("sha512", encoded)) => hexadecimal(encoded, 128),
        _ => false,
    }
}

/// Whether the bytes have this digest; false too when the digest is not valid.
#[must_use]
pub fn matches(digest: &str, bytes: &[u8]) -> bool {
    match digest.split_once(':') {
        Some(("sha256", _)) => sha256(bytes) == digest,
        Some(("sha512", _)) => sha512(bytes) == digest,
        _ => false,
    }
}

/// The tag under which a registry without the referrers API keeps what is attached to a digest: `<algorithm>-<hex>`,
/// cut at 32 and 64 characters (distribution-spec, "Referrers Tag Schema").
///
/// # Panics
/// When the text has no colon.
#[must_use]
pub fn fallback_tag(digest: &str) -> String {
    let (algorithm, encoded) = digest.split_once(':').expect("a digest has a colon");
    format!("{:.32}-{:.64}", algorithm, encoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_the_standard_ones() {
        assert_eq!(sha256(b""), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert!(matches(&sha512(b"a"), b"a") && !matches(&sha512(b"a"), b"b"));
        assert!(is_valid(&sha256(b"a")) && is_valid(&sha512(b"a")));
        for wrong in
            ["", "sha256", "sha256:", "sha256:zz", "md5:d41d8cd98f00b204e9800998ecf8427e", &sha256(b"").to_uppercase()]
        {
            assert!(!is_valid(wrong), "{wrong}");
        }
    }

    #[test]
    fn the_fallback_tag_fits_into_a_tag() {
        assert_eq!(fallback_tag(&sha256(b"")).len(), "sha256-".len() + 64);
        assert_eq!(fallback_tag(&sha512(b"")).len(), "sha512-".len() + 64);
    }
}
