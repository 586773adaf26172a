//! What refers to an image: asked for by the referrers API, or looked up under the fallback tag.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::header::{ACCEPT, HeaderValue};
use http::{Method, StatusCode};
use url::Url;

use super::Registries;
use super::ask::Ask;
use super::auth::Scopes;
use super::class::Class;
use super::error::{RegistryError, Trouble};
use super::manifest::{Descriptor, MANIFEST_LIMIT, Manifest};
use super::manifests::Errand;
use super::tree::together;
use crate::promotion::digest::Digest;
use crate::promotion::image::{Repository, Tag};

/// The most pages that are read of one subject's referrers.
const MAX_PAGES: usize = 100;

impl Registries {
    /// The manifests that refer to a manifest: signatures, attestations, SBOMs. Each was read, and names the manifest as
    /// its subject; what is listed and does not, or is gone, is left out.
    ///
    /// # Errors
    /// Those of reading manifests. That there are none is no error.
    pub async fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
        class: Class,
    ) -> Result<Vec<Arc<Manifest>>, RegistryError> {
        self.referrers_among(repository, subject, None, &Errand::alone(class)).await
    }

    /// The same, where the repository's tags may be known already.
    ///
    /// Both places are looked at where a tag is known to be there: a registry that got the API later does not list what
    /// was attached before.
    pub(super) async fn referrers_among(
        &self,
        repository: &Repository,
        subject: &Digest,
        tags: Option<&BTreeSet<Tag>>,
        errand: &Errand,
    ) -> Result<Vec<Arc<Manifest>>, RegistryError> {
        let listed = self.listed(repository, subject, errand).await?;
        let fallback = fallback_tag(subject);
        let look = tags.map_or(listed.is_none(), |tags| tags.contains(&fallback));
        let mut entries = listed.unwrap_or_default();
        if look {
            entries.extend(self.tagged(repository, &fallback, errand).await?);
        }
        let mut once = BTreeSet::new();
        entries.retain(|entry| entry.is_manifest() && once.insert(entry.digest.clone()));
        let read = entries.iter().map(|entry| async {
            match self.read_manifest(&repository.at(entry.digest.clone()), errand).await {
                Ok(manifest) => {
                    let names_it = manifest.subject.as_ref().is_some_and(|named| named.digest == *subject);
                    Ok(names_it.then_some(manifest))
                }
                Err(error) if error.is_absent() => Ok(None),
                Err(error) => Err(error),
            }
        });
        let mut manifests: Vec<_> = together(read.collect::<Vec<_>>()).await?.into_iter().flatten().collect();
        manifests.sort_by(|one, other| one.digest.cmp(&other.digest));
        Ok(manifests)
    }

    /// What the referrers API lists, or `None` where there is no such API. Redirects are not followed: GHCR's lead to a
    /// page of its web site.
    async fn listed(
        &self,
        repository: &Repository,
        subject: &Digest,
        errand: &Errand,
    ) -> Result<Option<Vec<Descriptor>>, RegistryError> {
        let host = self.host(repository);
        if host.is_without_referrers() {
            return Ok(None);
        }
        let doing = format!("list what refers to {repository}@{subject}");
        let mut entries = Vec::new();
        let mut next: Option<Url> = None;
        for _ in 0..MAX_PAGES {
            let page = self
                .patiently(&doing, |_| {
                    let path = format!("{}/referrers/{subject}", repository.path());
                    let ask = Ask::new(&host, Method::GET, path, errand.class, Scopes::pull(repository));
                    let mut ask = match &next {
                        Some(url) => ask.to(url.clone()),
                        None => ask,
                    };
                    ask = ask.among(&errand.wants);
                    ask.follow = false;
                    let accept = HeaderValue::from_static("application/vnd.oci.image.index.v1+json");
                    ask.headers.insert(ACCEPT, accept);
                    let host = &host;
                    async move {
                        let answer = match self.send(ask).await {
                            Err(Trouble::Denied { .. }) => return Ok(Page::NoApi { for_good: false }),
                            answer => answer?,
                        };
                        let status = answer.status();
                        if status != StatusCode::OK {
                            return page_of_refusal(status, answer.trouble().await);
                        }
                        let following = self.following(host, &answer).await?;
                        let content_type = answer.header(http::header::CONTENT_TYPE).map(ToOwned::to_owned);
                        let bytes = match answer.document(MANIFEST_LIMIT).await {
                            // A web site that answers everything.
                            Err(Trouble::Nonsense { .. }) => return Ok(Page::NoApi { for_good: true }),
                            bytes => bytes?,
                        };
                        let digest = Digest::sha256(&bytes);
                        let index = Manifest::read(bytes, content_type.as_deref(), digest)?;
                        Ok(Page::Listed(index.children().to_vec(), following))
                    }
                })
                .await?;
            match page {
                Page::Listed(page, following) => {
                    entries.extend(page);
                    match following {
                        Some(url) => next = Some(url),
                        None => return Ok(Some(entries)),
                    }
                }
                Page::NoApi { for_good } => {
                    if for_good {
                        host.settle_without_referrers();
                    }
                    return Ok(None);
                }
            }
        }
        let why = format!("more than {MAX_PAGES} pages of referrers");
        Err(RegistryError::new(doing, Trouble::Malformed { why }))
    }

    /// What the fallback tag lists. Whatever is there and is no index (cosign used the name for something else, GitLab
    /// resolves it to the image) lists nothing (distribution-spec, "Unavailable Referrers API").
    async fn tagged(
        &self,
        repository: &Repository,
        tag: &Tag,
        errand: &Errand,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        match self.read_manifest(&repository.tagged(tag.clone()), errand).await {
            Ok(manifest) => Ok(manifest.children().to_vec()),
            Err(RegistryError { trouble: Trouble::Absent { .. } | Trouble::Malformed { .. }, .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

enum Page {
    Listed(Vec<Descriptor>, Option<Url>),
    NoApi { for_good: bool },
}

/// What a registry without the API answers: 404 by the specification, 405, 400, 406, 501 and redirects in practice.
/// Where only this is denied, what is under the tag counts, and the next one is asked again.
fn page_of_refusal(status: StatusCode, trouble: Trouble) -> Result<Page, Trouble> {
    let for_good = match &trouble {
        Trouble::Throttled { .. } => return Err(trouble),
        Trouble::Absent { says } => !says.contains("NAME_UNKNOWN"),
        Trouble::Denied { .. } => false,
        Trouble::Failed { .. } if status != StatusCode::NOT_IMPLEMENTED => return Err(trouble),
        _ => true,
    };
    Ok(Page::NoApi { for_good })
}

/// The tag under which referrers are listed without the API: algorithm and digits, the digits cut to 64
/// (distribution-spec, "Referrers Tag Schema").
#[expect(clippy::expect_used, reason = "an algorithm and up to 64 hexadecimal digits are always a tag")]
pub(super) fn fallback_tag(subject: &Digest) -> Tag {
    let digits = &subject.hex()[..subject.hex().len().min(64)];
    format!("{}-{digits}", subject.algorithm()).parse().expect("a tag")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fallback_tag_is_cut_to_what_a_tag_can_be() {
        let digest = Digest::sha256(b"x");
        assert_eq!(fallback_tag(&digest).as_str(), format!("sha256-{}", digest.hex()));
        let long: Digest = format!("sha512:{}", "a".repeat(128)).parse().unwrap();
        assert_eq!(fallback_tag(&long).as_str(), format!("sha512-{}", "a".repeat(64)));
    }

    #[test]
    fn a_registry_without_the_api_is_told_from_one_in_trouble() {
        let says = String::new;
        for (status, trouble, wanted) in [
            (404, Trouble::Absent { says: says() }, Some(true)),
            (404, Trouble::Absent { says: "404 NAME_UNKNOWN: x".to_owned() }, Some(false)),
            (405, Trouble::Nonsense { why: says() }, Some(true)),
            (303, Trouble::Nonsense { why: says() }, Some(true)),
            (501, Trouble::Failed { after: None, says: says() }, Some(true)),
            (403, Trouble::Denied { anonymous: true, says: says() }, Some(false)),
            (500, Trouble::Failed { after: None, says: says() }, None),
            (429, Trouble::Throttled { after: None, secondary: false, says: says() }, None),
        ] {
            let page = page_of_refusal(StatusCode::from_u16(status).unwrap(), trouble);
            let verdict = page.ok().map(|page| matches!(page, Page::NoApi { for_good: true }));
            assert_eq!(verdict, wanted, "{status}");
        }
    }
}
