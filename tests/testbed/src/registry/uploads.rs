//! Uploads of blobs: sessions, chunks, mounts.

use std::collections::HashMap;

use axum::body::Body;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, StatusCode, header};
use http_body_util::BodyExt as _;

use super::error::Error;
use super::route::is_name;
use super::settings::Locations;
use super::{Call, header_value};
use crate::{digest, random};

/// An upload that is not complete.
pub(super) struct Session {
    repository: String,
    bytes: BytesMut,
    /// What must be in the query of the next request: docker-registry signs the state of a session into its address.
    state: String,
}

/// The uploads that are not complete, by their id.
pub(super) type Sessions = HashMap<String, Session>;

/// Answers a request that opens an upload: a mount, the whole blob at once, or a new session.
pub(super) async fn open(call: &Call<'_>, name: &str, body: Body) -> Result<Response, Error> {
    if call.method != Method::POST {
        return Err(Error::blob_upload_unknown());
    }
    let contents = &call.registry.contents;
    if let (Some(digest), Some(from)) = (call.parameter("mount"), call.parameter("from"))
        && call.settings.mounts
        && is_name(from)
        && let Some(bytes) = contents.blob(from, digest)
    {
        contents.put_blob(name, digest, bytes);
        return Ok(created(call, name, digest));
    }
    if let Some(digest) = call.parameter("digest").filter(|_| call.settings.single_post) {
        let bytes = read(body).await?;
        return store(call, name, digest, bytes);
    }
    let id = random::hex(16);
    let session = Session { repository: name.to_owned(), bytes: BytesMut::new(), state: random::hex(8) };
    let response = accepted(call, &id, &session, StatusCode::ACCEPTED, false);
    call.registry.sessions().insert(id, session);
    Ok(response)
}

/// Answers a request to an open session.
pub(super) async fn resume(call: &Call<'_>, name: &str, id: &str, body: Body) -> Result<Response, Error> {
    check_state(call, name, id)?;
    match *call.method {
        Method::GET | Method::HEAD => {
            let sessions = call.registry.sessions();
            let session = sessions.get(id).ok_or_else(Error::blob_upload_unknown)?;
            Ok(accepted(call, id, session, StatusCode::NO_CONTENT, true))
        }
        Method::PATCH => append(call, id, body).await,
        Method::PUT => complete(call, name, id, body).await,
        Method::DELETE => {
            call.registry.sessions().remove(id).ok_or_else(Error::blob_upload_unknown)?;
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            Ok(response)
        }
        _ => Err(Error::method_not_allowed()),
    }
}

/// The session must exist, and the address must be the one that was last given for it.
fn check_state(call: &Call<'_>, name: &str, id: &str) -> Result<(), Error> {
    let sessions = call.registry.sessions();
    let session = sessions.get(id);
    if call.settings.locations != Locations::WithoutQuery {
        let given = call.parameter("_state");
        if given.is_none() || session.is_some_and(|session| given != Some(&session.state)) {
            return Err(Error::blob_upload_invalid("the state of the upload is missing or is not the last one"));
        }
    }
    let session = session.ok_or_else(Error::blob_upload_unknown)?;
    if session.repository == name { Ok(()) } else { Err(Error::blob_upload_invalid("another repository's upload")) }
}

async fn append(call: &Call<'_>, id: &str, body: Body) -> Result<Response, Error> {
    let kind = call.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    if kind.is_some_and(|kind| kind != b"application/octet-stream") {
        return Err(Error::unknown("bad Content-Type"));
    }
    let range = call.headers.get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let bytes = read(body).await?;
    if let (Some(_), Some(limit)) = (range, call.settings.patch_limit)
        && bytes.len() as u64 > limit
    {
        return Err(Error::range_not_satisfiable(format!(
            "request body too large, maximum is {:.2}MiB",
            limit as f64 / f64::from(1 << 20)
        )));
    }
    let mut sessions = call.registry.sessions();
    let session = sessions.get_mut(id).ok_or_else(Error::blob_upload_unknown)?;
    let first = range.map(|range| range.split('-').next().and_then(|first| first.parse::<usize>().ok()));
    if first.is_some_and(|first| first != Some(session.bytes.len())) {
        return Err(Error::range_not_satisfiable("the chunk does not follow the last one"));
    }
    session.bytes.extend_from_slice(&bytes);
    session.state = random::hex(8);
    Ok(accepted(call, id, session, StatusCode::ACCEPTED, true))
}

async fn complete(call: &Call<'_>, name: &str, id: &str, body: Body) -> Result<Response, Error> {
    let digest = call.parameter("digest").ok_or_else(|| Error::digest_invalid("digest missing"))?;
    if !digest::is_valid(digest) {
        return Err(Error::digest_invalid("digest parsing failed"));
    }
    let bytes = read(body).await?;
    let mut session = call.registry.sessions().remove(id).ok_or_else(Error::blob_upload_unknown)?;
    let whole = if session.bytes.is_empty() {
        bytes
    } else {
        session.bytes.extend_from_slice(&bytes);
        session.bytes.freeze()
    };
    store(call, name, digest, whole)
}

fn store(call: &Call<'_>, name: &str, digest: &str, bytes: Bytes) -> Result<Response, Error> {
    if !digest::matches(digest, &bytes) {
        return Err(Error::digest_invalid("provided digest did not match uploaded content"));
    }
    call.registry.contents.put_blob(name, digest, bytes);
    Ok(created(call, name, digest))
}

async fn read(body: Body) -> Result<Bytes, Error> {
    let collected = body.collect().await.map_err(|_| Error::bad_request("the body broke off"))?;
    Ok(collected.to_bytes())
}

fn created(call: &Call<'_>, name: &str, digest: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::CREATED;
    let location = format!("{}/v2/{name}/blobs/{digest}", call.base);
    response.headers_mut().insert(header::LOCATION, header_value(&location));
    response.headers_mut().insert("docker-content-digest", header_value(digest));
    response
}

/// An answer that tells where and how the upload goes on.
fn accepted(call: &Call<'_>, id: &str, session: &Session, status: StatusCode, begun: bool) -> Response {
    let path = format!("/v2/{}/blobs/uploads/{id}", session.repository);
    let location = match &call.settings.locations {
        Locations::Relative => format!("{path}?_state={}", session.state),
        Locations::Absolute => format!("{}{path}?_state={}", call.base, session.state),
        Locations::WithoutQuery => path,
        Locations::At(base) => format!("{base}{path}?_state={}", session.state),
    };
    let last = if begun { session.bytes.len().saturating_sub(1) } else { 0 };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(header::LOCATION, header_value(&location));
    response.headers_mut().insert(header::RANGE, header_value(&format!("0-{last}")));
    response.headers_mut().insert("docker-upload-uuid", header_value(id));
    response
}
