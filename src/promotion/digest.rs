//! Content digests, as the OCI image specification writes them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256, Sha512};

/// A content digest: `algorithm:hex`, in lower case.
///
/// Only the two registered algorithms are known, `sha256` and `sha512`
/// (image-spec `descriptor.md`, "Registered Algorithms").
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Digest(String);

/// A text that is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a digest: {why}; write `sha256:` followed by 64 lower-case hexadecimal digits")]
pub struct InvalidDigest {
    text: String,
    why: &'static str,
}

impl Digest {
    /// The SHA-256 digest of `bytes`.
    #[must_use]
    pub fn sha256(bytes: &[u8]) -> Self {
        Self(format!("sha256:{}", hex::encode(Sha256::digest(bytes))))
    }

    /// The whole text, `algorithm:hex`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the colon: `sha256` or `sha512`.
    #[must_use]
    pub fn algorithm(&self) -> &str {
        self.0.split_once(':').map_or("", |(algorithm, _)| algorithm)
    }

    /// The part after the colon.
    #[must_use]
    pub fn hex(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, hex)| hex)
    }

    /// The first twelve hexadecimal digits, for people and for tag names.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.hex()[..12]
    }

    /// Starts hashing with this digest's algorithm, to compare a stream with it.
    #[must_use]
    pub fn verifier(&self) -> Verifier {
        let state = match self.algorithm() {
            "sha512" => State::Sha512(Box::default()),
            _ => State::Sha256(Box::default()),
        };
        Verifier { wanted: self.clone(), state }
    }

    /// Whether `bytes` hash to this digest.
    #[must_use]
    pub fn matches(&self, bytes: &[u8]) -> bool {
        let mut verifier = self.verifier();
        verifier.update(bytes);
        verifier.finish().is_ok()
    }
}

/// Hashes a stream and tells at its end whether it was the wanted content.
#[derive(Debug, Clone)]
pub struct Verifier {
    wanted: Digest,
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    Sha256(Box<Sha256>),
    Sha512(Box<Sha512>),
}

impl Verifier {
    /// Takes in the next part of the stream.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Sha256(hasher) => hasher.update(bytes),
            State::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// Ends the stream.
    ///
    /// # Errors
    /// The digest that was found instead, when it is not the wanted one.
    pub fn finish(self) -> Result<Digest, Digest> {
        let found = match self.state {
            State::Sha256(hasher) => format!("sha256:{}", hex::encode(hasher.finalize())),
            State::Sha512(hasher) => format!("sha512:{}", hex::encode(hasher.finalize())),
        };
        let found = Digest(found);
        if found == self.wanted { Ok(found) } else { Err(found) }
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = |why| InvalidDigest { text: text.chars().take(160).collect(), why };
        let (algorithm, hex) = text.split_once(':').ok_or_else(|| invalid("it has no algorithm"))?;
        let length = match algorithm {
            "sha256" => 64,
            "sha512" => 128,
            _ => return Err(invalid("its algorithm is neither sha256 nor sha512")),
        };
        if hex.len() != length {
            return Err(invalid("it has the wrong length"));
        }
        if !hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return Err(invalid("it has a character that is not a lower-case hexadecimal digit"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Digest {
    type Error = InvalidDigest;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_it_prints() {
        let digest = Digest::sha256(b"tide");
        assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest.clone()));
        assert_eq!(digest.short().len(), 12);
        assert!(digest.matches(b"tide"));
        assert!(!digest.matches(b"gate"));
    }

    #[test]
    fn refuses_what_is_not_a_digest() {
        for text in [
            "",
            "sha256",
            "sha256:",
            "md5:d41d8cd98f00b204e9800998ecf8427e",
            "sha256:ABCDEF",
            &format!("sha256:{}", "G".repeat(64)),
            &format!("sha256:{}", "A".repeat(64)),
            &format!("sha256:{}", "a".repeat(63)),
        ] {
            assert!(text.parse::<Digest>().is_err(), "{text} was accepted");
        }
    }

    #[test]
    fn verifies_sha512_too() {
        let digest: Digest = format!("sha512:{}", hex::encode(Sha512::digest(b"tide"))).parse().unwrap();
        assert!(digest.matches(b"tide"));
    }
}
