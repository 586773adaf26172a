//! Manifests in registries: looked up, read and written.

use std::sync::Arc;

use http::header::{ACCEPT as ACCEPT_HEADER, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::{Method, StatusCode};

use super::answer::Answer;
use super::ask::{Ask, Payload};
use super::auth::Scopes;
use super::class::Class;
use super::error::{RegistryError, Trouble, is_web_page};
use super::manifest::{ACCEPT, MANIFEST_LIMIT, Manifest};
use super::{Registries, host::Host};
use crate::promotion::digest::Digest;
use crate::promotion::image::{Reference, Repository};

/// What a registry says about a manifest without giving it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Its digest.
    pub digest: Digest,
    /// Its media type, where it is told.
    pub media_type: Option<String>,
    /// Its number of bytes, where it is told.
    pub size: Option<u64>,
}

/// What a registry answered to a manifest that it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pushed {
    /// Whether it lists the manifest among those that refer to its subject (`OCI-Subject`); otherwise the client has to
    /// (distribution-spec, "Pushing manifests with subject").
    pub subject_listed: bool,
}

/// What a request is for, and what the requests around it need to be allowed to do.
#[derive(Debug, Clone)]
pub(super) struct Errand {
    pub(super) class: Class,
    pub(super) wants: Scopes,
}

impl Errand {
    /// A request on its own.
    pub(super) fn alone(class: Class) -> Self {
        Self { class, wants: Scopes::default() }
    }
}

impl Registries {
    /// What a reference points to, or `None` where it points to nothing. The digest of a reference that has one wins
    /// over its tag. One request, unless the registry does not tell the digest or does not say why it denies.
    ///
    /// # Errors
    /// Everything but absence. GHCR denies (401, 403) what does not exist: that is [`Trouble::Denied`].
    pub async fn head(&self, reference: &Reference, class: Class) -> Result<Option<Head>, RegistryError> {
        let doing = format!("look at {reference}");
        let errand = Errand::alone(class);
        self.patiently(&doing, |_| self.head_once(reference, &errand)).await
    }

    /// What a reference points to.
    ///
    /// # Errors
    /// As [`Self::head`]; and [`Trouble::Absent`] where it points to nothing, with the registry's word on whether it is
    /// the tag or the repository that is absent.
    pub async fn resolve(&self, reference: &Reference, class: Class) -> Result<Head, RegistryError> {
        if let Some(head) = self.head(reference, class).await? {
            return Ok(head);
        }
        // A HEAD has no body, so that it cannot say what is absent.
        let manifest = self.manifest(reference, class).await?;
        Ok(head_of(&manifest))
    }

    pub(super) async fn head_once(&self, reference: &Reference, errand: &Errand) -> Result<Option<Head>, Trouble> {
        let repository = &reference.repository;
        let host = self.host(repository);
        let answer = self.send(about(&host, Method::HEAD, repository, &name(reference), errand)).await?;
        match answer.status() {
            StatusCode::OK if is_web_page(answer.headers(), b"") => {
                Err(Trouble::Nonsense { why: "a web page".to_owned() })
            }
            StatusCode::OK => match (reference.digest.clone(), answer.digest()?) {
                (Some(wanted), Some(found)) if wanted != found => Err(Trouble::DigestMismatch { wanted, found }),
                (Some(digest), _) | (None, Some(digest)) => Ok(Some(Head {
                    digest,
                    media_type: answer.header(CONTENT_TYPE).map(ToOwned::to_owned),
                    size: answer.header(CONTENT_LENGTH).and_then(|length| length.parse().ok()),
                })),
                (None, None) => self.get_once(reference, errand).await.map(|manifest| Some(head_of(&manifest))),
            },
            StatusCode::NOT_FOUND => Ok(None),
            // Without a body GHCR's secondary limit cannot be told from a denial; a GET tells.
            StatusCode::FORBIDDEN => match self.get_once(reference, errand).await {
                Ok(manifest) => Ok(Some(head_of(&manifest))),
                Err(Trouble::Absent { .. }) => Ok(None),
                Err(trouble) => Err(trouble),
            },
            _ => Err(answer.trouble().await),
        }
    }

    /// Reads a manifest. One that was read before is not asked for again by its digest.
    ///
    /// # Errors
    /// [`Trouble::Absent`], [`Trouble::TooLarge`] above 4 MiB, [`Trouble::DigestMismatch`] where the bytes are not what
    /// was asked for (or, by tag, not what the registry says they are), [`Trouble::Malformed`], and those of the way.
    pub async fn manifest(&self, reference: &Reference, class: Class) -> Result<Arc<Manifest>, RegistryError> {
        self.read_manifest(reference, &Errand::alone(class)).await
    }

    pub(super) async fn read_manifest(
        &self,
        reference: &Reference,
        errand: &Errand,
    ) -> Result<Arc<Manifest>, RegistryError> {
        let held = |digest| self.shared.manifests.get(&reference.repository, digest);
        if let Some(manifest) = reference.digest.as_ref().and_then(held) {
            return Ok(manifest);
        }
        let doing = format!("read {reference}");
        self.patiently(&doing, |_| self.get_once(reference, errand)).await
    }

    pub(super) async fn get_once(&self, reference: &Reference, errand: &Errand) -> Result<Arc<Manifest>, Trouble> {
        let repository = &reference.repository;
        let host = self.host(repository);
        let answer = self.send(about(&host, Method::GET, repository, &name(reference), errand)).await?;
        let manifest = read(answer.expect(&[StatusCode::OK]).await?, reference.digest.as_ref()).await?;
        let manifest = Arc::new(manifest);
        self.shared.manifests.keep(repository, &manifest);
        Ok(manifest)
    }

    /// Writes a manifest under its tag, or under its digest where the reference has no tag.
    ///
    /// # Errors
    /// [`Trouble::PushDenied`]; [`Trouble::Missing`] where the registry misses what the manifest refers to;
    /// [`Trouble::Refused`]; [`Trouble::DigestMismatch`] where the registry took something else than was sent; and those
    /// of the way.
    pub async fn put_manifest(
        &self,
        reference: &Reference,
        manifest: &Manifest,
        class: Class,
    ) -> Result<Pushed, RegistryError> {
        self.write_manifest(reference, manifest, &Errand::alone(class)).await
    }

    pub(super) async fn write_manifest(
        &self,
        reference: &Reference,
        manifest: &Manifest,
        errand: &Errand,
    ) -> Result<Pushed, RegistryError> {
        let doing = format!("write {reference}");
        self.patiently(&doing, |_| self.put_once(reference, manifest, errand)).await
    }

    pub(super) async fn put_once(
        &self,
        reference: &Reference,
        manifest: &Manifest,
        errand: &Errand,
    ) -> Result<Pushed, Trouble> {
        if let Some(wanted) = &reference.digest
            && *wanted != manifest.digest
        {
            return Err(Trouble::DigestMismatch { wanted: wanted.clone(), found: manifest.digest.clone() });
        }
        let repository = &reference.repository;
        let host = self.host(repository);
        let under = reference.tag.as_ref().map_or_else(|| manifest.digest.to_string(), ToString::to_string);
        let mut ask = about(&host, Method::PUT, repository, &under, errand);
        ask.headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_str(&manifest.media_type)
                .map_err(|_| Trouble::Malformed { why: "its media type cannot be sent".to_owned() })?,
        );
        ask.payload = Payload::Bytes(manifest.bytes.clone());
        let taken = [StatusCode::CREATED, StatusCode::OK, StatusCode::ACCEPTED];
        let answer = self.send(ask).await?.expect(&taken).await?;
        let told = answer.digest()?;
        let subject_listed = answer.headers().contains_key("oci-subject");
        if is_web_page(answer.headers(), b"") {
            return Err(Trouble::Nonsense { why: "a web page".to_owned() });
        }
        answer.discard().await;
        match told {
            // A registry may tell the digest in its own algorithm; only the same one can be compared.
            Some(found) if found != manifest.digest && found.algorithm() == manifest.digest.algorithm() => {
                Err(Trouble::DigestMismatch { wanted: manifest.digest.clone(), found })
            }
            _ => Ok(Pushed { subject_listed }),
        }
    }
}

/// Reads a manifest's answer, and checks its digest: the one that was asked for, or the one that the registry tells.
pub(super) async fn read(answer: Answer, wanted: Option<&Digest>) -> Result<Manifest, Trouble> {
    let content_type = answer.header(CONTENT_TYPE).map(ToOwned::to_owned);
    let told = answer.digest()?;
    let bytes = answer.document(MANIFEST_LIMIT).await?;
    let vouched_for = wanted.is_some() || told.is_some();
    let digest = match wanted.cloned().or(told) {
        Some(digest) if digest.matches(&bytes) => digest,
        Some(wanted) => {
            let mut verifier = wanted.verifier();
            verifier.update(&bytes);
            let found = verifier.finish().unwrap_or_else(|found| found);
            return Err(Trouble::DigestMismatch { wanted, found });
        }
        None => Digest::sha256(&bytes),
    };
    Manifest::read(bytes, content_type.as_deref(), digest).map_err(|trouble| match trouble {
        // Nobody said that this is the content: then it is the answer that makes no sense.
        Trouble::Malformed { why } if !vouched_for => Trouble::Nonsense { why },
        trouble => trouble,
    })
}

/// A request about a manifest.
pub(super) fn about<'a>(
    host: &'a Arc<Host>,
    method: Method,
    repository: &Repository,
    under: &str,
    errand: &Errand,
) -> Ask<'a> {
    let needs = if method == Method::PUT { Scopes::push(repository) } else { Scopes::pull(repository) };
    let path = format!("{}/manifests/{under}", repository.path());
    let mut ask = Ask::new(host, method, path, errand.class, needs).among(&errand.wants);
    ask.headers.insert(ACCEPT_HEADER, HeaderValue::from_static(ACCEPT));
    ask
}

/// Under what a manifest is asked for.
fn name(reference: &Reference) -> String {
    match (&reference.digest, &reference.tag) {
        (Some(digest), _) => digest.to_string(),
        (None, Some(tag)) => tag.to_string(),
        // A reference has one of them; this is not asked for.
        (None, None) => String::new(),
    }
}

fn head_of(manifest: &Manifest) -> Head {
    Head {
        digest: manifest.digest.clone(),
        media_type: Some(manifest.media_type.clone()),
        size: Some(manifest.bytes.len() as u64),
    }
}
