//! `validate.signature` and `validate.provenance`: who signed an image, and where it was built.

use serde::Serialize;

use super::check::Checker;
use super::collection::OneOrMany;
use super::literal::Lit;
use super::matching::{Pattern, WholePattern};
use super::names::{FilePath, Line};
use super::path::Path;
use super::section::{section, words};

/// Who must have signed.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Signature {
    /// Whose signature it is.
    pub signer: Signer,
    /// The trust root's file; none for the embedded one.
    pub trust_root: Option<String>,
    /// Whether it must be in a transparency log.
    pub transparency_log: bool,
}

/// Whose signature it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signer {
    /// An identity, by a short-lived certificate.
    Identity(Identity),
    /// One of these public keys, by file.
    Keys(Vec<String>),
}

/// An identity, as a certificate of Fulcio has it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Identity {
    /// Who vouches for it.
    pub issuer: Matcher,
    /// Who it is.
    pub subject: Matcher,
}

/// What a text has to be.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Matcher {
    /// This very text.
    Exactly(String),
    /// A text that this pattern matches from end to end.
    Like(Pattern),
}

impl Matcher {
    /// What it has to be, in words.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Exactly(text) => format!("`{text}`"),
            Self::Like(pattern) => format!("somebody like `{}`", pattern.as_str()),
        }
    }

    /// Whether the text is what it has to be.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exactly(wanted) => wanted == text,
            Self::Like(pattern) => pattern.matches(text),
        }
    }
}

/// One of two ways to say what a text has to be.
fn matcher(exactly: Option<String>, like: Option<Pattern>) -> Option<Matcher> {
    exactly.map(Matcher::Exactly).or(like.map(Matcher::Like))
}

section! {
    /// Who must have signed the image: an identity, or the owner of a key.
    struct SignatureKeys from RawSignature,
        at_most_one_of ["issuer", "issuer-pattern", "keys"],
        at_most_one_of ["identity", "identity-exactly", "keys"],
        finish signature => Signature
    {
        /// Who vouches for the signer, e.g. `https://token.actions.githubusercontent.com`.
        optional issuer: Lit<Line> => String,
        /// The same as a pattern that has to match from end to end.
        optional issuer_pattern: Lit<WholePattern> => Pattern,
        /// Who the signer is, as a pattern that has to match from end to end, e.g. `https://github.com/acme/.*`.
        optional identity: Lit<WholePattern> => Pattern,
        /// The same as the exact text.
        optional identity_exactly: Lit<Line> => String,
        /// Files with public keys; the signature of one of them will do.
        default(Vec::new()) keys: OneOrMany<Lit<FilePath>> => Vec<String>,
        /// A file with a trust root. Default: the public one of Sigstore, which is built in.
        optional trust_root: Lit<FilePath> => String,
        /// Whether the signature must be in a transparency log. Default: true for identities, false for keys.
        optional transparency_log: bool,
    }
}

fn signature(keys: SignatureKeys, _: &[String], at: &Path, checker: &mut Checker<'_>) -> Option<Signature> {
    let log = keys.transparency_log;
    if !keys.keys.is_empty() {
        let signer = Signer::Keys(keys.keys);
        return Some(Signature { signer, trust_root: keys.trust_root, transparency_log: log.unwrap_or(false) });
    }
    let issuer = matcher(keys.issuer, keys.issuer_pattern);
    let subject = matcher(keys.identity_exactly, keys.identity);
    if issuer.is_none() || subject.is_none() {
        checker.key_problem(
            at,
            "does not say whose signature it has to be: anybody can sign",
            "add `issuer` and `identity`, or `keys`",
        );
    }
    let signer = Signer::Identity(Identity { issuer: issuer?, subject: subject? });
    Some(Signature { signer, trust_root: keys.trust_root, transparency_log: log.unwrap_or(true) })
}

words! {
    /// Where attestations are looked for.
    pub enum AttestationSource {
        /// Attached to the image in the registry.
        Registry = "registry",
        /// GitHub's attestations of the repository.
        Github = "github",
    }
}

/// Where and from what an image must have been built.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Provenance {
    /// Who must have signed the attestation.
    pub signer: Identity,
    /// The repository that the image must have been built from.
    pub source: String,
    /// The ref that it must have been built from.
    pub reference: Option<Pattern>,
    /// The builder's identity.
    pub builder: Option<Pattern>,
    /// Where attestations are looked for.
    pub from: Vec<AttestationSource>,
    /// The trust root's file; none for the embedded one.
    pub trust_root: Option<String>,
}

section! {
    /// Where and from what the image must have been built, by its SLSA provenance.
    struct ProvenanceKeys from RawProvenance,
        at_most_one_of ["identity", "identity-exactly"],
        finish provenance => Provenance
    {
        /// The repository that it must have been built from, e.g. `https://github.com/acme/api`.
        required source: Lit<Line> => String,
        /// The ref that it must have been built from, as a pattern that has to match from end to end, e.g.
        /// `refs/heads/main`. Default: any.
        optional r#ref: Lit<WholePattern> => Pattern,
        /// The builder's identity, as a pattern that has to match from end to end. Default: any.
        optional builder: Lit<WholePattern> => Pattern,
        /// Who vouches for the signer. Default: `https://token.actions.githubusercontent.com`.
        default("https://token.actions.githubusercontent.com".to_owned()) issuer: Lit<Line> => String,
        /// Who the signer is, as a pattern that has to match from end to end. Default: a workflow of `source`.
        optional identity: Lit<WholePattern> => Pattern,
        /// The same as the exact text.
        optional identity_exactly: Lit<Line> => String,
        /// Where attestations are looked for. Default: in both.
        default(AttestationSource::ALL.to_vec()) from: OneOrMany<AttestationSource> => Vec<AttestationSource>,
        /// A file with a trust root. Default: the public one of Sigstore, which is built in.
        optional trust_root: Lit<FilePath> => String,
    }
}

fn provenance(keys: ProvenanceKeys, _: &[String], at: &Path, checker: &mut Checker<'_>) -> Option<Provenance> {
    let subject = matcher(keys.identity_exactly, keys.identity).or_else(|| {
        let workflow = format!("{}/.github/workflows/.*", regex::escape(&keys.source));
        let pattern = <WholePattern as super::literal::Literal>::read(&workflow).ok();
        if pattern.is_none() {
            checker.problem(&at.key("source"), "is too long", "write the repository's address");
        }
        pattern.map(Matcher::Like)
    })?;
    Some(Provenance {
        signer: Identity { issuer: Matcher::Exactly(keys.issuer), subject },
        source: keys.source,
        reference: keys.r#ref,
        builder: keys.builder,
        from: keys.from,
        trust_root: keys.trust_root,
    })
}
