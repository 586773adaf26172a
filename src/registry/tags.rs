//! Tags: listed, moved, read back, and the one that keeps a previous digest alive.

use std::collections::BTreeSet;

use http::header::LINK;
use http::{Method, StatusCode};
use serde::Deserialize;
use url::Url;

use super::Registries;
use super::address::same_origin;
use super::answer::Answer;
use super::ask::Ask;
use super::auth::Scopes;
use super::class::Class;
use super::content::CopyOptions;
use super::error::{RegistryError, Trouble};
use super::host::Host;
use super::manifest::null_as_default;
use super::manifests::Errand;
use crate::promotion::digest::Digest;
use crate::promotion::image::{Repository, Tag};

/// The most that is read of one page.
const PAGE_LIMIT: usize = 4 * 1024 * 1024;

/// The most pages that are read of a list of tags.
const MAX_PAGES: usize = 1_000;

/// The tags that are asked for at once. Registries give fewer as they like.
const PAGE: usize = 1_000;

#[derive(Deserialize)]
struct Page {
    #[serde(default, deserialize_with = "null_as_default")]
    tags: Vec<String>,
}

impl Registries {
    /// All tags of a repository, in no order that could be relied on. Names that are no tags are left out.
    ///
    /// # Errors
    /// [`Trouble::Absent`] where the repository does not exist, and those of the way.
    pub async fn tags(&self, repository: &Repository, class: Class) -> Result<BTreeSet<Tag>, RegistryError> {
        let errand = Errand::alone(class);
        let doing = format!("list the tags of {repository}");
        let tags = self.tags_within(repository, MAX_PAGES, &errand).await?;
        tags.ok_or_else(|| RegistryError::new(doing, Trouble::TooLarge { limit: MAX_PAGES * PAGE }))
    }

    /// All tags of a repository, or `None` where they fill more than so many pages.
    pub(super) async fn tags_within(
        &self,
        repository: &Repository,
        pages: usize,
        errand: &Errand,
    ) -> Result<Option<BTreeSet<Tag>>, RegistryError> {
        let doing = format!("list the tags of {repository}");
        let host = self.host(repository);
        let mut tags = BTreeSet::new();
        let mut next: Option<Url> = None;
        for _ in 0..pages {
            let (page, following) = self
                .patiently(&doing, |_| {
                    let path = format!("{}/tags/list?n={PAGE}", repository.path());
                    let ask = Ask::new(&host, Method::GET, path, errand.class, Scopes::pull(repository));
                    let ask = ask.among(&errand.wants);
                    let ask = match &next {
                        Some(url) => ask.to(url.clone()),
                        None => ask,
                    };
                    let host = &host;
                    async move {
                        let answer = self.send(ask).await?.expect(&[StatusCode::OK]).await?;
                        let following = self.following(host, &answer).await?;
                        let none = || Trouble::Nonsense { why: "its list of tags is none".to_owned() };
                        let page = match answer.document(PAGE_LIMIT).await {
                            Err(Trouble::TooLarge { .. }) => return Err(none()),
                            page => page?,
                        };
                        let page: Page = serde_json::from_slice(&page).map_err(|_| none())?;
                        Ok((page, following))
                    }
                })
                .await?;
            let before = tags.len();
            tags.extend(page.tags.iter().filter_map(|tag| tag.parse().ok()));
            match following {
                // A page that brings nothing new would be followed by itself for ever.
                Some(_) if tags.len() == before => return Ok(Some(tags)),
                Some(url) => next = Some(url),
                None => return Ok(Some(tags)),
            }
        }
        Ok(None)
    }

    /// The address of the next page (RFC 8288, `rel="next"`).
    pub(super) async fn following(&self, host: &Host, answer: &Answer) -> Result<Option<Url>, Trouble> {
        let links = answer.headers().get_all(LINK).iter().filter_map(|value| value.to_str().ok());
        let Some(target) = links.filter_map(next_link).next() else { return Ok(None) };
        let url = self.named(host, answer, &target).await?;
        if same_origin(&url, &answer.url) {
            Ok(Some(url))
        } else {
            Err(Trouble::Nonsense { why: "its next page is on another host".to_owned() })
        }
    }

    /// Points a tag of `to` to a manifest. The manifest is written with it, so that this is also how the root of an
    /// image whose content was copied from `from` gets there. Class [`Class::Copy`]: one request where the manifest was
    /// read before, two otherwise.
    ///
    /// Content that vanished from `to` since it was copied is brought once more.
    ///
    /// # Errors
    /// As [`Self::manifest`] for `from`, and as [`Self::put_manifest`] for `to`.
    pub async fn move_tag(
        &self,
        from: &Repository,
        to: &Repository,
        tag: &Tag,
        digest: &Digest,
    ) -> Result<(), RegistryError> {
        let source = from.at(digest.clone());
        let target = to.tagged(tag.clone());
        let manifest = self.manifest(&source, Class::Copy).await?;
        match self.put_manifest(&target, &manifest, Class::Copy).await {
            Err(RegistryError { trouble: Trouble::Missing { .. }, .. }) if from != to => {
                self.copy_content(from, to, digest, CopyOptions { attached: false }).await?;
                self.put_manifest(&target, &manifest, Class::Copy).await?;
                Ok(())
            }
            done => done.map(|_| ()),
        }
    }

    /// Waits until a tag shows a digest: some registries lag behind their own writes. Class [`Class::Look`].
    ///
    /// # Errors
    /// [`Trouble::NotSeen`] with what is shown instead, once the retry policy has no attempt left.
    pub async fn read_back(&self, repository: &Repository, tag: &Tag, digest: &Digest) -> Result<(), RegistryError> {
        let reference = repository.tagged(tag.clone());
        let doing = format!("read back {reference}");
        let errand = Errand::alone(Class::Look);
        self.patiently(&doing, |_| async {
            let seen = self.head_once(&reference, &errand).await?.map(|head| head.digest);
            if seen.as_ref() == Some(digest) {
                return Ok(());
            }
            Err(Trouble::NotSeen { wanted: digest.clone(), seen })
        })
        .await
    }

    /// Keeps a manifest alive under a tag of our own, `tidegate-keep-<12 hex>`, so that no clean-up of untagged
    /// manifests takes it and going back is one request. Where the tag is there already nothing is written, and it
    /// takes one request; otherwise three, or two where the manifest was read before. Class [`Class::Keep`].
    ///
    /// # Errors
    /// [`Trouble::Absent`] where there is nothing to keep any more, and those of reading and writing manifests.
    pub async fn keep(&self, repository: &Repository, digest: &Digest) -> Result<Tag, RegistryError> {
        let tag = keep_tag(digest);
        let reference = repository.tagged(tag.clone());
        if self.head(&reference, Class::Keep).await?.is_some_and(|head| head.digest == *digest) {
            return Ok(tag);
        }
        let manifest = self.manifest(&repository.at(digest.clone()), Class::Keep).await?;
        self.put_manifest(&reference, &manifest, Class::Keep).await?;
        Ok(tag)
    }
}

/// The tag that keeps a digest alive.
#[must_use]
#[expect(clippy::expect_used, reason = "twelve hexadecimal digits after a constant are always a tag")]
pub fn keep_tag(digest: &Digest) -> Tag {
    format!("tidegate-keep-{}", digest.short()).parse().expect("a tag")
}

/// The target of `rel="next"` in one `Link` header.
fn next_link(value: &str) -> Option<String> {
    let mut rest = value;
    while let Some(start) = rest.find('<') {
        let end = start + rest[start..].find('>')?;
        let target = &rest[start + 1..end];
        let after = &rest[end + 1..];
        let parameters = &after[..after.find(",").filter(|_| after.contains('<')).unwrap_or(after.len())];
        let is_next = parameters.split(';').any(|parameter| {
            parameter.split_once('=').is_some_and(|(name, value)| {
                name.trim().eq_ignore_ascii_case("rel")
                    && value.trim().trim_matches('"').split_whitespace().any(|rel| rel.eq_ignore_ascii_case("next"))
            })
        });
        if is_next {
            return Some(target.to_owned());
        }
        rest = after;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found() {
        for (value, wanted) in [
            (r#"</v2/a/tags/list?last=x&n=100>; rel="next""#, Some("/v2/a/tags/list?last=x&n=100")),
            (r"<https://a.test/next>; rel=next", Some("https://a.test/next")),
            (r#"</first>; rel="first", </n>; rel="next""#, Some("/n")),
            (r#"</p>; rel="prev next"; title="x""#, Some("/p")),
            (r#"</first>; rel="first""#, None),
            ("nonsense", None),
            ("<unclosed; rel=next", None),
        ] {
            assert_eq!(next_link(value).as_deref(), wanted, "{value}");
        }
    }

    #[test]
    fn a_digest_has_one_keep_tag() {
        let digest = Digest::sha256(b"x");
        assert_eq!(keep_tag(&digest).as_str(), format!("tidegate-keep-{}", &digest.hex()[..12]));
    }
}
