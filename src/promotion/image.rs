//! Where images are: repositories, tags and references.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use regex::Regex;
use serde::{Deserialize, Serialize};

use super::digest::Digest;

/// The longest name of a repository with its host (distribution-spec, "Pulling manifests").
const MAX_NAME: usize = 255;

#[expect(clippy::expect_used, reason = "the patterns are constants, checked by the tests below")]
fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a constant pattern")
}

static PATH: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$"));
static HOST: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"^(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?$",
    )
});
static TAG: LazyLock<Regex> = LazyLock::new(|| pattern(r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$"));

/// A text that does not name an image, a repository or a tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` {why}; {fix}")]
pub struct InvalidReference {
    text: String,
    why: String,
    fix: String,
}

impl InvalidReference {
    fn new(text: &str, why: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { text: text.chars().take(300).collect(), why: why.into(), fix: fix.into() }
    }
}

/// A repository: a registry's host with its port, and the path there.
///
/// Docker Hub is written `docker.io`, and its official images with their `library/`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Repository {
    registry: String,
    path: String,
}

impl Repository {
    /// The registry's host, with the port where one is given.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path inside the registry, e.g. `acme/api`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The reference to a tag of this repository.
    #[must_use]
    pub fn tagged(&self, tag: Tag) -> Reference {
        Reference { repository: self.clone(), tag: Some(tag), digest: None }
    }

    /// The reference to a manifest of this repository by its digest.
    #[must_use]
    pub fn at(&self, digest: Digest) -> Reference {
        Reference { repository: self.clone(), tag: None, digest: Some(digest) }
    }
}

impl FromStr for Repository {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some((registry, path)) = text.split_once('/') else {
            return Err(InvalidReference::new(
                text,
                "names no registry",
                format!("write it with its registry, e.g. `ghcr.io/{text}` or `docker.io/library/{text}`"),
            ));
        };
        let has_host = registry.contains('.') || registry.contains(':') || registry == "localhost";
        if !has_host || !HOST.is_match(registry) {
            return Err(InvalidReference::new(
                text,
                format!("does not begin with a registry (`{registry}` is not a host name)"),
                format!("write the registry first, e.g. `ghcr.io/{text}` or `docker.io/{text}`"),
            ));
        }
        if path.chars().any(|c| c.is_ascii_uppercase()) {
            return Err(InvalidReference::new(
                text,
                "has an upper-case letter in its path",
                format!("registries know lower case only: `{registry}/{}`", path.to_ascii_lowercase()),
            ));
        }
        if !PATH.is_match(path) {
            return Err(InvalidReference::new(
                text,
                "is not a repository",
                "a path has lower-case letters, digits and single `.`, `_`, `-` between them, its parts divided by `/`",
            ));
        }
        if text.len() > MAX_NAME {
            return Err(InvalidReference::new(
                text,
                "is longer than 255 characters",
                "choose a shorter repository name",
            ));
        }
        let registry = match registry {
            "index.docker.io" | "registry-1.docker.io" | "registry.hub.docker.com" => "docker.io",
            other => other,
        };
        let path =
            if registry == "docker.io" && !path.contains('/') { format!("library/{path}") } else { path.to_owned() };
        Ok(Self { registry: registry.to_ascii_lowercase(), path })
    }
}

impl TryFrom<String> for Repository {
    type Error = InvalidReference;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Repository> for String {
    fn from(repository: Repository) -> Self {
        repository.to_string()
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)
    }
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A tag (distribution-spec: 128 characters at most).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Tag(String);

impl Tag {
    /// The tag's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if TAG.is_match(text) {
            return Ok(Self(text.to_owned()));
        }
        Err(InvalidReference::new(
            text,
            "is not a tag",
            "a tag has 1 to 128 letters, digits, `.`, `_` and `-`, and begins with a letter, a digit or `_`",
        ))
    }
}

impl TryFrom<String> for Tag {
    type Error = InvalidReference;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Tag> for String {
    fn from(tag: Tag) -> Self {
        tag.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A reference to an image: a repository with a tag, a digest, or both.
///
/// Nothing is guessed: a reference without its registry, or with neither tag nor digest, is refused.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Reference {
    /// The repository.
    pub repository: Repository,
    /// The tag, where one is given.
    pub tag: Option<Tag>,
    /// The digest, where one is given; it wins over the tag, and the tag must then point to it.
    pub digest: Option<Digest>,
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => {
                let digest = digest.parse().map_err(|error| {
                    InvalidReference::new(text, format!("has a malformed digest ({error})"), "copy the digest whole")
                })?;
                (name, Some(digest))
            }
            None => (text, None),
        };
        // A colon after the last slash divides the tag; one before it is the registry's port.
        let last = name.rfind('/').map_or(0, |at| at + 1);
        let (repository, tag) = match name[last..].find(':') {
            Some(colon) if last > 0 => (&name[..last + colon], Some(name[last + colon + 1..].parse()?)),
            _ => (name, None),
        };
        let repository: Repository = repository.parse()?;
        if tag.is_none() && digest.is_none() {
            return Err(InvalidReference::new(
                text,
                "has neither a tag nor a digest",
                format!("`latest` is never assumed: write `{repository}:<tag>` or `{repository}@sha256:…`"),
            ));
        }
        Ok(Self { repository, tag, digest })
    }
}

impl TryFrom<String> for Reference {
    type Error = InvalidReference;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.repository, f)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_references() {
        let digest = Digest::sha256(b"x");
        for (text, repository, tag, has_digest) in [
            ("ghcr.io/acme/api:staging", "ghcr.io/acme/api", Some("staging"), false),
            ("localhost:5000/api:v1", "localhost:5000/api", Some("v1"), false),
            ("docker.io/nginx:1", "docker.io/library/nginx", Some("1"), false),
            ("index.docker.io/acme/api:1", "docker.io/acme/api", Some("1"), false),
            (&format!("127.0.0.1:5000/a/b/c@{digest}"), "127.0.0.1:5000/a/b/c", None, true),
            (&format!("ghcr.io/acme/api:v1@{digest}"), "ghcr.io/acme/api", Some("v1"), true),
            ("[::1]:5000/api:v1", "[::1]:5000/api", Some("v1"), false),
        ] {
            let reference: Reference = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(reference.repository.to_string(), repository);
            assert_eq!(reference.tag.as_ref().map(Tag::as_str), tag);
            assert_eq!(reference.digest.is_some(), has_digest);
            assert_eq!(reference.to_string().parse::<Reference>().as_ref(), Ok(&reference));
        }
    }

    #[test]
    fn guesses_nothing() {
        for (text, says) in [
            ("api", "names no registry"),
            ("acme/api:v1", "does not begin with a registry"),
            ("ghcr.io/acme/api", "neither a tag nor a digest"),
            ("ghcr.io/Acme/api:v1", "upper-case"),
            ("ghcr.io/acme/api:", "not a tag"),
            ("ghcr.io/acme/api:v 1", "not a tag"),
            ("ghcr.io/acme//api:v1", "not a repository"),
            ("ghcr.io/acme/api@sha256:abc", "malformed digest"),
            ("ghcr.io/acme/../api:v1", "not a repository"),
            ("gh cr.io/acme/api:v1", "does not begin with a registry"),
        ] {
            let error = text.parse::<Reference>().expect_err(text).to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
