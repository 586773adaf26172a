//! OpenVEX: statements that a product is, or is not, affected by a vulnerability
//! (<https://github.com/openvex/spec>, 0.2.0).
//!
//! Only `not_affected`, with the reason that the specification asks for, and `fixed` take a vulnerability away, and only
//! where the statement's product is this image or the package. Of several statements the newest counts, and none of the
//! future.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use super::{CLOCK_SKEW, Unreadable, Vulnerability, document, parse, time};
use crate::promotion::digest::Digest;
use crate::promotion::image::Repository;

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    timestamp: Option<String>,
    statements: Vec<RawStatement>,
}

#[derive(Deserialize)]
struct RawStatement {
    vulnerability: Name,
    #[serde(default)]
    products: Option<Vec<Product>>,
    status: String,
    #[serde(default)]
    justification: Option<String>,
    #[serde(default)]
    impact_statement: Option<String>,
    #[serde(default)]
    timestamp: Option<String>,
}

/// An object, or in documents before 0.2.0 the name alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum Name {
    Text(String),
    Object {
        #[serde(default)]
        name: Option<String>,
        #[serde(default, rename = "@id")]
        id: Option<String>,
        #[serde(default)]
        aliases: Option<Vec<String>>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Product {
    Text(String),
    Object {
        #[serde(default, rename = "@id")]
        id: Option<String>,
        #[serde(default)]
        identifiers: Option<Identifiers>,
        #[serde(default)]
        subcomponents: Option<Vec<Product>>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Identifiers {
    #[serde(default)]
    purl: Option<String>,
}

/// A statement about a vulnerability.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    names: Vec<String>,
    products: Vec<Product>,
    clears: bool,
    at: Option<DateTime<Utc>>,
}

/// Reads the statements of a document.
///
/// # Errors
/// What is malformed.
pub fn read(bytes: &[u8]) -> Result<Vec<Statement>, Unreadable> {
    let document: Document = parse("OpenVEX", &document::text(bytes)?)?;
    let whole = document.timestamp.as_deref().and_then(time);
    Ok(document
        .statements
        .into_iter()
        .map(|raw| {
            let said = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.trim().is_empty());
            let clears = match raw.status.as_str() {
                "fixed" => true,
                "not_affected" => said(&raw.justification) || said(&raw.impact_statement),
                _ => false,
            };
            Statement {
                names: names(raw.vulnerability),
                products: raw.products.unwrap_or_default(),
                clears,
                at: raw.timestamp.as_deref().and_then(time).or(whole),
            }
        })
        .collect())
}

fn names(name: Name) -> Vec<String> {
    match name {
        Name::Text(text) => vec![text],
        Name::Object { name, id, aliases } => {
            name.into_iter().chain(id).chain(aliases.unwrap_or_default()).filter(|text| !text.is_empty()).collect()
        }
    }
}

/// The image that statements may be about.
#[derive(Debug, Clone, Copy)]
pub struct Image<'a> {
    /// Where it is.
    pub repository: &'a Repository,
    /// The digests by which it is known: of its index, its manifest and its configuration.
    pub digests: &'a BTreeSet<Digest>,
}

impl Statement {
    /// Whether it is dated after `now`: what somebody may say one day is not heard.
    #[must_use]
    pub fn is_of_the_future(&self, now: DateTime<Utc>) -> bool {
        self.at.is_some_and(|at| at > now + CLOCK_SKEW)
    }
}

/// Whether the newest of the statements about a vulnerability of an image says that it does not apply; those of the future
/// are not among them.
#[must_use]
pub fn clears(statements: &[Statement], vulnerability: &Vulnerability, image: Image<'_>, now: DateTime<Utc>) -> bool {
    let heard = statements.iter().filter(|statement| !statement.is_of_the_future(now));
    let about = heard.filter(|statement| {
        statement.names.iter().any(|name| vulnerability.is_called(name))
            && statement.products.iter().any(|product| is_meant(product, vulnerability, image))
    });
    // Of those of the same time, the last in the file.
    about.max_by_key(|statement| statement.at).is_some_and(|statement| statement.clears)
}

fn is_meant(product: &Product, vulnerability: &Vulnerability, image: Image<'_>) -> bool {
    let names = product_names(product);
    if names.iter().any(|name| is_package(name, vulnerability)) {
        return true;
    }
    let parts = match product {
        Product::Object { subcomponents: Some(parts), .. } => parts.as_slice(),
        _ => &[],
    };
    let part = parts.is_empty()
        || parts.iter().any(|part| product_names(part).iter().any(|name| is_package(name, vulnerability)));
    part && names.iter().any(|name| is_image(name, image))
}

fn product_names(product: &Product) -> Vec<&str> {
    match product {
        Product::Text(text) => vec![text],
        Product::Object { id, identifiers, .. } => {
            let purl = identifiers.as_ref().and_then(|identifiers| identifiers.purl.as_deref());
            id.as_deref().into_iter().chain(purl).collect()
        }
    }
}

/// Whether a package URL names the package in which the vulnerability is; without a version it names all.
fn is_package(name: &str, vulnerability: &Vulnerability) -> bool {
    let Some(purl) = &vulnerability.purl else { return false };
    let bare = |text: &str| text.split(['?', '#']).next().unwrap_or_default().to_owned();
    let (name, purl) = (bare(name), bare(purl));
    name.starts_with("pkg:") && (name == purl || purl.rsplit_once('@').is_some_and(|(package, _)| package == name))
}

/// Whether a name is the image's: by a digest in it, or, without one, by the repository.
fn is_image(name: &str, image: Image<'_>) -> bool {
    let plain = percent_decode_str(name).decode_utf8_lossy();
    let repository = image.repository.to_string();
    if let Some(at) = plain.find("sha256:") {
        let digits: String = plain[at..].chars().take("sha256:".len() + 64).collect();
        return digits.parse::<Digest>().is_ok_and(|digest| image.digests.contains(&digest));
    }
    match plain.strip_prefix("pkg:oci/") {
        Some(rest) => rest.split(['?', '&']).any(|part| part.strip_prefix("repository_url=") == Some(&repository)),
        None => plain == repository,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::{Remedy, Severity};

    fn now() -> DateTime<Utc> {
        "2026-03-01T00:00:00Z".parse().unwrap()
    }

    fn vulnerability() -> Vulnerability {
        Vulnerability {
            id: "CVE-1".to_owned(),
            aliases: vec!["GHSA-1".to_owned()],
            severity: Severity::Critical,
            package: "openssl".to_owned(),
            version: "1.0".to_owned(),
            purl: Some("pkg:apk/alpine/openssl@1.0?arch=x86_64".to_owned()),
            remedy: Remedy::None,
            exploited: false,
        }
    }

    #[test]
    fn a_statement_counts_for_its_product_alone() {
        let digest = Digest::sha256(b"image");
        let other = Digest::sha256(b"other");
        let digests = BTreeSet::from([digest.clone()]);
        let repository: Repository = "ghcr.io/acme/api".parse().unwrap();
        let image = Image { repository: &repository, digests: &digests };
        let said = |product: &str, status: &str| {
            let text = format!(
                r#"{{"@context":"https://openvex.dev/ns/v0.2.0","timestamp":"2026-01-01T00:00:00Z","statements":[{{"vulnerability":{{"name":"cve-1"}},"products":[{product}],{status}}}]}}"#
            );
            clears(&read(text.as_bytes()).unwrap(), &vulnerability(), image, now())
        };
        let justified = r#""status":"not_affected","justification":"vulnerable_code_not_present""#;
        let id = |text: &str| format!(r#"{{"@id":"{text}"}}"#);
        for (product, counts) in [
            (id(&format!("pkg:oci/api@{}", digest.as_str().replace(':', "%3A"))), true),
            (id(&format!("pkg:oci/api@{other}")), false),
            (id("pkg:oci/api?repository_url=ghcr.io/acme/api"), true),
            (id("pkg:oci/api?repository_url=ghcr.io%2Facme%2Fapi&tag=v1"), true),
            (id("pkg:oci/api?repository_url=ghcr.io/evil/api"), false),
            (id("pkg:oci/api"), false),
            (id("ghcr.io/acme/api"), true),
            (id("pkg:apk/alpine/openssl@1.0"), true),
            (id("pkg:apk/alpine/openssl"), true),
            (id("pkg:apk/alpine/openssl@2.0"), false),
            (format!(r#"{{"@id":"ghcr.io/acme/api","subcomponents":[{}]}}"#, id("pkg:apk/alpine/openssl")), true),
            (format!(r#"{{"@id":"ghcr.io/acme/api","subcomponents":[{}]}}"#, id("pkg:apk/alpine/zlib")), false),
        ] {
            assert_eq!(said(&product, justified), counts, "{product}");
        }
        let product = id("ghcr.io/acme/api");
        assert!(said(&product, r#""status":"fixed""#));
        assert!(!said(&product, r#""status":"not_affected""#), "without a reason");
        assert!(!said(&product, r#""status":"under_investigation""#));
        assert!(!said("", justified), "about nothing");
    }

    #[test]
    fn the_newest_statement_counts() {
        let repository: Repository = "ghcr.io/acme/api".parse().unwrap();
        let image = Image { repository: &repository, digests: &BTreeSet::new() };
        let one = |status: &str, at: &str| {
            format!(
                r#"{{"vulnerability":"GHSA-1","products":["ghcr.io/acme/api"],"status":"{status}","impact_statement":"x","timestamp":"{at}"}}"#
            )
        };
        let said = |first: &str, second: &str| {
            let text = format!(r#"{{"statements":[{first},{second}]}}"#);
            clears(&read(text.as_bytes()).unwrap(), &vulnerability(), image, now())
        };
        let (early, late) = ("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z");
        assert!(!said(&one("affected", late), &one("not_affected", early)));
        assert!(said(&one("not_affected", late), &one("affected", early)));
        assert!(!said(&one("not_affected", early), &one("affected", early)));
        // What is dated in the future does not outrank what was said since.
        let future = "2026-03-01T00:06:00Z";
        assert!(!said(&one("affected", early), &one("not_affected", future)));
        assert!(said(&one("not_affected", early), &one("affected", future)));
        assert!(said(&one("affected", early), &one("not_affected", "2026-03-01T00:04:00Z")), "a clock that is ahead");
    }
}
