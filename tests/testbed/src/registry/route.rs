//! The paths of the distribution API and the grammar of what is in them.

use http::Method;
use percent_encoding::percent_decode_str;

use super::error::Error;

/// What a path below `/v2/` names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// `/v2/`
    Base,
    /// `/v2/<name>/tags/list`
    Tags { name: String },
    /// `/v2/<name>/manifests/<tag or digest>`
    Manifest { name: String, reference: String },
    /// `/v2/<name>/blobs/<digest>`
    Blob { name: String, digest: String },
    /// `/v2/<name>/blobs/uploads/`
    Uploads { name: String },
    /// `/v2/<name>/blobs/uploads/<id>`
    Upload { name: String, id: String },
    /// `/v2/<name>/referrers/<digest>`
    Referrers { name: String, digest: String },
}

impl Route {
    /// Reads a path.
    ///
    /// # Errors
    /// The plain 404 that docker-registry's router gives for a path that does not match, which is also how it refuses
    /// a name, a tag or a digest that is not well formed.
    pub(super) fn parse(path: &str) -> Result<Self, Error> {
        let path = percent_decode_str(path).decode_utf8().map_err(|_| Error::no_such_page())?;
        let rest = path.strip_prefix("/v2").ok_or_else(Error::no_such_page)?;
        if rest.is_empty() || rest == "/" {
            return Ok(Self::Base);
        }
        let rest = rest.strip_prefix('/').ok_or_else(Error::no_such_page)?;
        Self::below_base(rest).filter(|route| route.is_well_formed()).ok_or_else(Error::no_such_page)
    }

    fn below_base(rest: &str) -> Option<Self> {
        let owned = str::to_owned;
        if let Some(name) = rest.strip_suffix("/tags/list") {
            return Some(Self::Tags { name: owned(name) });
        }
        if let Some(name) = rest.strip_suffix("/blobs/uploads/").or_else(|| rest.strip_suffix("/blobs/uploads")) {
            return Some(Self::Uploads { name: owned(name) });
        }
        let (before, last) = rest.rsplit_once('/')?;
        let (name, kind) = before.rsplit_once('/')?;
        let (name, last) = (owned(name), owned(last));
        match kind {
            "manifests" => Some(Self::Manifest { name, reference: last }),
            "blobs" => Some(Self::Blob { name, digest: last }),
            "referrers" => Some(Self::Referrers { name, digest: last }),
            "uploads" => Some(Self::Upload { name: name.strip_suffix("/blobs")?.to_owned(), id: last }),
            _ => None,
        }
    }

    fn is_well_formed(&self) -> bool {
        let looks_like_digest = |text: &str| text.split_once(':').is_some_and(|(_, encoded)| encoded.len() >= 32);
        self.name().is_none_or(is_name)
            && match self {
                Self::Manifest { reference, .. } => is_tag(reference) || looks_like_digest(reference),
                Self::Blob { digest, .. } | Self::Referrers { digest, .. } => digest.contains(':'),
                _ => true,
            }
    }

    /// The repository; `None` for the base.
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Self::Base => None,
            Self::Tags { name }
            | Self::Manifest { name, .. }
            | Self::Blob { name, .. }
            | Self::Uploads { name }
            | Self::Upload { name, .. }
            | Self::Referrers { name, .. } => Some(name),
        }
    }
}

/// The actions that a method needs on a repository, as docker-registry asks for them.
pub(super) fn actions(method: &Method) -> &'static [&'static str] {
    match *method {
        Method::GET | Method::HEAD => &["pull"],
        Method::DELETE => &["delete"],
        _ => &["pull", "push"],
    }
}

/// Whether the text is a repository's name (distribution-spec, "Pulling manifests").
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= 255 && text.split('/').all(is_name_component)
}

fn is_name_component(component: &str) -> bool {
    let alphanumeric = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit();
    // What is between the alphanumeric parts must be one of the allowed separators.
    let separators = component.split(alphanumeric).filter(|text| !text.is_empty());
    let allowed = |separator: &str| matches!(separator, "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-');
    component.starts_with(alphanumeric) && component.ends_with(alphanumeric) && separators.into_iter().all(allowed)
}

/// Whether the text is a tag: `[A-Za-z0-9_][A-Za-z0-9._-]{0,127}`.
pub(super) fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|byte| word(byte) || byte == b'.' || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::sha256;

    fn name() -> String {
        "acme/web/api".to_owned()
    }

    #[test]
    fn paths_are_read() {
        let digest = sha256(b"");
        let cases = [
            ("/v2/".to_owned(), Route::Base),
            ("/v2/acme/web/api/tags/list".to_owned(), Route::Tags { name: name() }),
            ("/v2/acme/web/api/manifests/1.0".to_owned(), Route::Manifest { name: name(), reference: "1.0".into() }),
            (
                format!("/v2/acme/web/api/manifests/{}", digest.replace(':', "%3A")),
                Route::Manifest { name: name(), reference: digest.clone() },
            ),
            (format!("/v2/acme/web/api/blobs/{digest}"), Route::Blob { name: name(), digest: digest.clone() }),
            ("/v2/acme/web/api/blobs/uploads/".to_owned(), Route::Uploads { name: name() }),
            ("/v2/acme/web/api/blobs/uploads/7".to_owned(), Route::Upload { name: name(), id: "7".into() }),
            (format!("/v2/acme/web/api/referrers/{digest}"), Route::Referrers { name: name(), digest: digest.clone() }),
        ];
        for (path, expected) in cases {
            assert_eq!(Route::parse(&path).expect(&path), expected);
        }
    }

    #[test]
    fn what_is_not_well_formed_is_not_found() {
        for path in [
            "/v1/",
            "/v2/ACME/manifests/1.0",
            "/v2/acme/manifests/-1",
            "/v2/acme/manifests/1 0",
            "/v2/acme/manifests/sha256:abc",
            "/v2/acme/blobs/latest",
            "/v2/acme//manifests/1",
            "/v2/manifests/1",
        ] {
            assert!(Route::parse(path).is_err(), "{path}");
        }
        assert!(Route::parse(&format!("/v2/acme/manifests/{}", "t".repeat(129))).is_err());
    }

    #[test]
    fn names() {
        for name in ["a", "a/b", "a.b", "a_b", "a__b", "a---b", "0"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "/", "a/", "a..b", "a___b", "a._b", "-a", "a-", "A"] {
            assert!(!is_name(name), "{name}");
        }
    }
}
