//! Blobs: read into memory, streamed, mounted and uploaded.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, StatusCode};
use url::Url;

use super::Registries;
use super::answer::Answer;
use super::ask::{Ask, Payload};
use super::auth::Scopes;
use super::class::Class;
use super::error::{RegistryError, Trouble, is_web_page};
use super::host::Host;
use super::manifest::Descriptor;
use super::manifests::Errand;
use super::progress::{Progress, counted_body};
use crate::promotion::digest::{Digest, Verifier};
use crate::promotion::image::Repository;

/// The most that is read of a blob into memory: configurations, and nothing else.
pub(super) const CONFIG_LIMIT: usize = 8 * 1024 * 1024;

/// A path that content is copied along, and what its requests are for.
#[derive(Debug, Clone)]
pub(super) struct Way<'a> {
    pub(super) from: &'a Repository,
    pub(super) to: &'a Repository,
    pub(super) class: Class,
}

impl Way<'_> {
    /// Whether both ends are at one registry.
    pub(super) fn is_within(&self) -> bool {
        self.from.registry() == self.to.registry()
    }

    /// What the requests along the way need together, at one registry or at two.
    fn scopes(&self) -> (Scopes, Scopes) {
        let (read, write) = (Scopes::pull(self.from), Scopes::push(self.to));
        if self.is_within() {
            let both = write.and(read);
            (both.clone(), both)
        } else {
            (read, write)
        }
    }

    /// The errand of requests at the beginning of the way.
    pub(super) fn reading(&self) -> Errand {
        Errand { class: self.class, wants: self.scopes().0 }
    }

    /// The errand of requests at its end.
    pub(super) fn writing(&self) -> Errand {
        Errand { class: self.class, wants: self.scopes().1 }
    }
}

/// How a blob came to its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Brought {
    /// The registry mounted it, or had it already: no byte passed through this machine.
    Mounted,
    /// It was streamed.
    Streamed,
}

/// What a registry answered to the beginning of an upload.
enum Begun {
    /// The blob is there.
    Mounted,
    /// The upload goes on at this address.
    Session(Url),
    /// It does not mount; an upload can begin without.
    NoMount,
}

impl Registries {
    /// Reads a small blob, a configuration, and checks its size and digest.
    ///
    /// # Errors
    /// [`Trouble::TooLarge`] above 8 MiB, [`Trouble::Absent`], [`Trouble::DigestMismatch`], [`Trouble::Oversized`],
    /// [`Trouble::Truncated`], and those of the way.
    pub async fn blob(&self, repository: &Repository, blob: &Descriptor, class: Class) -> Result<Bytes, RegistryError> {
        self.small_blob(repository, blob, CONFIG_LIMIT, class).await
    }

    /// The same with another limit.
    pub(super) async fn small_blob(
        &self,
        repository: &Repository,
        blob: &Descriptor,
        limit: usize,
        class: Class,
    ) -> Result<Bytes, RegistryError> {
        let doing = format!("read the blob {repository}@{}", blob.digest);
        if blob.size > limit as u64 {
            return Err(RegistryError::new(doing, Trouble::TooLarge { limit }));
        }
        let errand = Errand::alone(class);
        self.patiently(&doing, |_| async {
            let answer = self.get_blob(repository, blob, &errand, false).await?;
            let bytes = answer.body(limit).await?;
            let mut flight = Flight::new(blob);
            flight.take(&bytes)?;
            flight.land()?;
            Ok(bytes)
        })
        .await
    }

    /// Asks for a blob's bytes. What is declared to be of another length is not read at all.
    pub(super) async fn get_blob(
        &self,
        repository: &Repository,
        blob: &Descriptor,
        errand: &Errand,
        admitted: bool,
    ) -> Result<Answer, Trouble> {
        let host = self.host(repository);
        let path = format!("{}/blobs/{}", repository.path(), blob.digest);
        let mut ask = Ask::new(&host, Method::GET, path, errand.class, Scopes::pull(repository)).among(&errand.wants);
        ask.admitted = admitted;
        let answer = self.send(ask).await?.expect(&[StatusCode::OK]).await?;
        match answer.response.content_length() {
            Some(length) if length < blob.size => Err(Trouble::Truncated { got: length, wanted: blob.size }),
            Some(length) if length > blob.size => Err(Trouble::Oversized { wanted: blob.size }),
            _ => Ok(answer),
        }
    }

    /// Brings one blob along a way: mounted where the registry does that, streamed otherwise.
    ///
    /// Inside a registry the first request is the mount, which answers both whether the blob is there already and
    /// whether it need not be sent. To another registry it is a mount from the target repository itself, which answers
    /// the first of the two. An upload that either of them opens is gone on with. Where `certain`, an upload is made in
    /// any case: the registry has said that it has the blob, and then that it has not.
    pub(super) async fn bring_blob(
        &self,
        way: &Way<'_>,
        blob: &Descriptor,
        certain: bool,
    ) -> Result<Brought, RegistryError> {
        let doing = format!("copy the blob {}@{} to {}", way.from, blob.digest, way.to);
        self.patiently(&doing, |_| self.bring_once(way, blob, certain)).await
    }

    async fn bring_once(&self, way: &Way<'_>, blob: &Descriptor, certain: bool) -> Result<Brought, Trouble> {
        let (source, target) = (self.host(way.from), self.host(way.to));
        // One permit at the target covers the whole upload, or uploads would wait for each other with their sources
        // open. Where there are two registries both permits are taken in the order of their names, so that copies in
        // opposite directions cannot wait for each other either.
        let (at_source, _at_target) = if source.name < target.name {
            (Some(source.limiter.acquire().await), target.limiter.acquire().await)
        } else {
            let at_target = target.limiter.acquire().await;
            let at_source = if source.name == target.name { None } else { Some(source.limiter.acquire().await) };
            (at_source, at_target)
        };
        let session = match self.begin(way, blob, &target, certain).await? {
            Begun::Mounted => return Ok(Brought::Mounted),
            Begun::Session(url) => url,
            Begun::NoMount => match self.open_upload(way, &target, None).await? {
                Begun::Session(url) => url,
                Begun::Mounted | Begun::NoMount => {
                    return Err(Trouble::Nonsense { why: "it mounts what nobody asked it to".to_owned() });
                }
            },
        };
        let content = self.get_blob(way.from, blob, &way.reading(), true).await?;
        drop(at_source);
        self.upload(way, blob, &target, session, content).await?;
        Ok(Brought::Streamed)
    }

    async fn begin(
        &self,
        way: &Way<'_>,
        blob: &Descriptor,
        target: &Arc<Host>,
        certain: bool,
    ) -> Result<Begun, Trouble> {
        let from = if way.is_within() { way.from } else { way.to };
        if certain || target.refuses_mount(from, way.to) {
            return Ok(Begun::NoMount);
        }
        let begun = self.open_upload(way, target, Some((from, &blob.digest))).await?;
        if matches!(begun, Begun::NoMount) {
            target.settle_refused_mount(from, way.to);
        }
        Ok(begun)
    }

    /// Opens an upload, with a mount where one is wanted. A mount that is refused (Harbor answers 401 where it does not
    /// let us read the source, Quay 4xx in general) is no error: an upload is opened without.
    async fn open_upload(
        &self,
        way: &Way<'_>,
        target: &Arc<Host>,
        mount: Option<(&Repository, &Digest)>,
    ) -> Result<Begun, Trouble> {
        let mut path = format!("{}/blobs/uploads/", way.to.path());
        let mut needs = Scopes::push(way.to);
        let mut wants = way.writing().wants;
        match mount {
            Some((from, digest)) => {
                let mut query = url::form_urlencoded::Serializer::new(String::new());
                query.append_pair("mount", digest.as_str()).append_pair("from", from.path());
                path = format!("{path}?{}", query.finish());
                needs = needs.and(Scopes::pull(from));
            }
            // The token that was refused the source is of no use here either.
            None => wants = needs.clone(),
        }
        let mut ask = Ask::new(target, Method::POST, path, way.class, needs).among(&wants);
        ask.admitted = true;
        let answer = match self.send(ask).await {
            Ok(answer) => answer,
            // Whether we may write at all, the upload will tell.
            Err(Trouble::PushDenied { .. } | Trouble::Denied { .. } | Trouble::CredentialsRefused { .. })
                if mount.is_some() =>
            {
                return Ok(Begun::NoMount);
            }
            Err(trouble) => return Err(trouble),
        };
        match answer.status() {
            StatusCode::CREATED if mount.is_some() => {
                let told = answer.digest()?;
                answer.discard().await;
                match (told, mount) {
                    (Some(found), Some((_, wanted))) if found != *wanted => {
                        Err(Trouble::DigestMismatch { wanted: wanted.clone(), found })
                    }
                    _ => Ok(Begun::Mounted),
                }
            }
            StatusCode::ACCEPTED => {
                let location = self.location(target, &answer).await?;
                answer.discard().await;
                location.map(Begun::Session).ok_or_else(|| Trouble::Nonsense {
                    why: "it opens an upload and does not say where (no Location)".to_owned(),
                })
            }
            status => match answer.trouble().await {
                trouble @ (Trouble::Throttled { .. } | Trouble::Failed { .. }) => Err(trouble),
                _ if mount.is_some() && status.is_client_error() => Ok(Begun::NoMount),
                trouble => Err(trouble),
            },
        }
    }

    /// Sends content to an open upload, hashing it on its way; the last part is held back until the digest is right.
    async fn upload(
        &self,
        way: &Way<'_>,
        blob: &Descriptor,
        target: &Arc<Host>,
        mut session: Url,
        content: Answer,
    ) -> Result<(), Trouble> {
        session.query_pairs_mut().append_pair("digest", blob.digest.as_str());
        let progress = Arc::new(Progress::new());
        let failure = Arc::new(Mutex::new(None));
        let parts = verified(content.stream(), blob, Arc::clone(&failure), Arc::clone(&progress));
        let ask = Ask::new(target, Method::PUT, "", way.class, Scopes::push(way.to));
        let mut ask = ask.to(session).among(&way.writing().wants);
        ask.admitted = true;
        ask.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        let body = counted_body(&self.shared.meter, parts, &progress);
        ask.payload = Payload::Stream { body, length: blob.size, progress };
        let answer = self.send(ask).await.map_err(|trouble| {
            // The connection broke because the content did: that is what went wrong.
            failure.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or(trouble)
        })?;
        let status = answer.status();
        match answer.expect(&[StatusCode::CREATED, StatusCode::OK, StatusCode::NO_CONTENT]).await {
            Ok(answer) => {
                if is_web_page(answer.headers(), b"") {
                    return Err(Trouble::Nonsense { why: "a web page".to_owned() });
                }
                let told = answer.digest()?;
                answer.discard().await;
                match told {
                    Some(found) if found.algorithm() == blob.digest.algorithm() && found != blob.digest => {
                        Err(Trouble::DigestMismatch { wanted: blob.digest.clone(), found })
                    }
                    _ => Ok(()),
                }
            }
            Err(trouble) => Err(match failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
                Some(cause) => cause,
                None => of_session(status, trouble),
            }),
        }
    }
}

/// What a refusal of an upload's content means: its session or its transfer went wrong, and another one may not. The
/// content itself was right, for it was hashed on its way; only its size can be what is refused.
fn of_session(status: StatusCode, trouble: Trouble) -> Trouble {
    match trouble {
        Trouble::Absent { says }
        | Trouble::Missing { says, .. }
        | Trouble::Refused { says }
        | Trouble::Nonsense { why: says }
            if status.is_client_error() && status != StatusCode::PAYLOAD_TOO_LARGE =>
        {
            Trouble::Failed { after: None, says }
        }
        other => other,
    }
}

/// Content on its way, compared with what it was declared to be.
pub(super) struct Flight {
    verifier: Option<Verifier>,
    wanted: Digest,
    size: u64,
    seen: u64,
}

impl Flight {
    pub(super) fn new(blob: &Descriptor) -> Self {
        Self { verifier: Some(blob.digest.verifier()), wanted: blob.digest.clone(), size: blob.size, seen: 0 }
    }

    /// Takes the next part in. The last one is accepted only if the whole has the right digest.
    pub(super) fn take(&mut self, part: &[u8]) -> Result<(), Trouble> {
        self.seen += part.len() as u64;
        if self.seen > self.size {
            return Err(Trouble::Oversized { wanted: self.size });
        }
        if let Some(verifier) = &mut self.verifier {
            verifier.update(part);
        }
        if self.is_complete() { self.check() } else { Ok(()) }
    }

    /// Ends the content.
    pub(super) fn land(&mut self) -> Result<(), Trouble> {
        if self.is_complete() { self.check() } else { Err(Trouble::Truncated { got: self.seen, wanted: self.size }) }
    }

    /// Whether all that was declared is there.
    pub(super) const fn is_complete(&self) -> bool {
        self.seen == self.size
    }

    fn check(&mut self) -> Result<(), Trouble> {
        match self.verifier.take().map(Verifier::finish) {
            Some(Err(found)) => Err(Trouble::DigestMismatch { wanted: self.wanted.clone(), found }),
            _ => Ok(()),
        }
    }
}

/// Content as the body of an upload: what is wrong with it ends the body, and is left in `failure`.
fn verified(
    parts: impl Stream<Item = Result<Bytes, Trouble>> + Send + Unpin + 'static,
    blob: &Descriptor,
    failure: Arc<Mutex<Option<Trouble>>>,
    progress: Arc<Progress>,
) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static {
    let fail = move |trouble: Trouble| {
        let error = std::io::Error::other(trouble.to_string());
        *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(trouble);
        Err(error)
    };
    let begin = (parts, Flight::new(blob), fail, progress, false);
    stream::unfold(begin, |(mut parts, mut flight, fail, progress, ended)| async move {
        if ended {
            return None;
        }
        let (item, ended) = match parts.next().await {
            Some(Ok(part)) => match flight.take(&part) {
                Ok(()) => (Ok(part), false),
                Err(trouble) => (fail(trouble), true),
            },
            Some(Err(trouble)) => (fail(trouble), true),
            None => match flight.land() {
                Ok(()) => {
                    progress.completed();
                    return None;
                }
                Err(trouble) => (fail(trouble), true),
            },
        };
        if flight.is_complete() {
            progress.completed();
        }
        Some((item, (parts, flight, fail, progress, ended)))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn descriptor(content: &[u8]) -> Descriptor {
        Descriptor {
            media_type: String::new(),
            digest: Digest::sha256(content),
            size: content.len() as u64,
            urls: Vec::new(),
            annotations: Default::default(),
            artifact_type: None,
            platform: None,
        }
    }

    fn fly(flight: &mut Flight, content: &[u8], cut: usize) -> Result<usize, Trouble> {
        let mut passed = 0;
        for part in content.chunks(cut.max(1)) {
            flight.take(part)?;
            passed += part.len();
        }
        flight.land()?;
        Ok(passed)
    }

    proptest! {
        #[test]
        fn exactly_the_declared_content_passes(content in proptest::collection::vec(any::<u8>(), 0..300), cut in 1usize..64) {
            let blob = descriptor(&content);
            prop_assert_eq!(fly(&mut Flight::new(&blob), &content, cut), Ok(content.len()));
        }

        #[test]
        fn nothing_else_passes_whole(
            content in proptest::collection::vec(any::<u8>(), 1..300), cut in 1usize..64, at in any::<proptest::sample::Index>(),
        ) {
            let blob = descriptor(&content);
            let mut changed = content.clone();
            changed[at.index(content.len())] ^= 1;
            prop_assert!(
                matches!(fly(&mut Flight::new(&blob), &changed, cut), Err(Trouble::DigestMismatch { .. })),
                "changed content passed"
            );
            let short = &content[..content.len() - 1];
            prop_assert!(
                matches!(fly(&mut Flight::new(&blob), short, cut), Err(Trouble::Truncated { .. })),
                "short content passed"
            );
            let mut long = content.clone();
            long.push(0);
            prop_assert!(fly(&mut Flight::new(&blob), &long, cut).is_err(), "long content passed");
        }
    }
}
