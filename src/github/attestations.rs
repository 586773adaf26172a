//! GitHub's attestations of how an artifact was built.
//!
//! That there is one proves nothing: its signature, its time and who signed it have to be verified.

use http::Method;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::client::{GitHub, decode, nonsense};
use super::error::GitHubError;
use super::pages::Shape;
use super::repository::RepositoryName;
use super::request::Request;
use crate::promotion::digest::Digest;

const CLASS: &str = "github/attestations";

/// The most attestations of one digest that are fetched.
const MOST: usize = 100;

/// The largest bundle that is read, packed or not, in bytes.
const BUNDLE: usize = 16 * 1024 * 1024;

/// An attestation.
#[derive(Debug, Clone, PartialEq)]
pub struct Attestation {
    /// The Sigstore bundle.
    pub bundle: Value,
    /// The repository whose workflow made it.
    pub repository: Option<u64>,
}

#[derive(Deserialize)]
struct AttestationModel {
    /// Null since July 2026: then the address is followed.
    bundle: Option<Value>,
    bundle_url: Option<String>,
    repository_id: Option<u64>,
}

impl GitHub {
    /// The attestations of a digest; none where GitHub has none (GitHub docs, "List attestations"; attestations: read).
    ///
    /// Bundles that GitHub keeps elsewhere are fetched from there without the token, and unpacked up to a limit.
    ///
    /// # Errors
    /// What GitHub says. A bundle that cannot be had is an error: it may be the one that matters.
    pub async fn attestations(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        predicate_type: Option<&str>,
    ) -> Result<Vec<Attestation>, GitHubError> {
        let what = format!("reading the attestations of {digest} in {repository}");
        let path = repository.path(&["attestations", digest.as_str()]);
        let mut request = self.get(&path, CLASS, what)?.needs("attestations", "read");
        if let Some(predicate_type) = predicate_type {
            request = request.query("predicate_type", predicate_type);
        }
        let models: Vec<AttestationModel> = match self.all(&request, Shape::Under("attestations")).await {
            Err(error) if error.is_absent() => return Ok(Vec::new()),
            models => models?,
        };
        if models.len() > MOST {
            let why = format!("there are {}, and {MOST} are read", models.len());
            return Err(GitHubError::Incomplete { what: request.what, why });
        }
        let mut attestations = Vec::new();
        for model in models {
            let bundle = match (model.bundle, model.bundle_url) {
                (Some(bundle), _) => bundle,
                (None, Some(url)) => self.bundle(&url, digest).await?,
                (None, None) => return Err(nonsense(&request.what, "an attestation has no bundle".to_owned())),
            };
            attestations.push(Attestation { bundle, repository: model.repository_id });
        }
        Ok(attestations)
    }

    /// Fetches a bundle. Its address holds a signature, so that it is not shown.
    async fn bundle(&self, url: &str, digest: &Digest) -> Result<Value, GitHubError> {
        let what = format!("fetching an attestation of {digest}");
        let url = Url::parse(url).map_err(|error| nonsense(&what, format!("its address: {error}")))?;
        if url.scheme() != "https" && url.scheme() != self.base().scheme() {
            return Err(nonsense(&what, "its address is not one over TLS".to_owned()));
        }
        let request = Request::new(Method::GET, url, CLASS, what).anonymous(BUNDLE);
        let answer = self.send(&request).await?;
        let bundle = unpack(&answer.body).map_err(|why| nonsense(&request.what, why))?;
        decode(&bundle, &request.what)
    }
}

/// Unpacks a raw Snappy block; what is JSON already stays.
fn unpack(body: &[u8]) -> Result<Vec<u8>, String> {
    if body.trim_ascii_start().first() == Some(&b'{') && serde_json::from_slice::<Value>(body).is_ok() {
        return Ok(body.to_vec());
    }
    let length = snap::raw::decompress_len(body).map_err(|error| format!("not packed as expected: {error}"))?;
    if length > BUNDLE {
        return Err(format!("it would be larger than {BUNDLE} bytes"));
    }
    snap::raw::Decoder::new().decompress_vec(body).map_err(|error| format!("not packed as expected: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundles_are_unpacked_within_bounds() {
        let json = br#"{"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json"}"#;
        let packed = snap::raw::Encoder::new().compress_vec(json).unwrap();
        assert_eq!(unpack(&packed).unwrap(), json);
        assert_eq!(unpack(json).unwrap(), json);
        // A header that promises more than is read, and one byte of content.
        let bomb = [0xff, 0xff, 0xff, 0xff, 0x0f, 0x00];
        assert!(unpack(&bomb).unwrap_err().contains("larger than"));
        assert!(unpack(&packed[..packed.len() - 1]).is_err());
        assert!(unpack(b"").is_err());
    }
}
