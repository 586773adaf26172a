//! Manifests: GET, HEAD and PUT, with the checks of docker-registry.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::Value;

use super::contents::Resolved;
use super::error::Error;
use super::route::is_tag;
use super::settings::Referrers;
use super::{Call, header_value};
use crate::digest;
use crate::image::media_type;

/// Answers a request for a manifest.
pub(super) async fn handle(call: &Call<'_>, name: &str, reference: &str, body: Body) -> Result<Response, Error> {
    if !is_tag(reference) && !digest::is_valid(reference) {
        return Err(Error::unknown("unsupported digest algorithm"));
    }
    match *call.method {
        Method::GET | Method::HEAD => get(call, name, reference),
        Method::PUT => put(call, name, reference, body).await,
        Method::DELETE => Err(Error::unsupported()),
        _ => Err(Error::method_not_allowed()),
    }
}

fn get(call: &Call<'_>, name: &str, reference: &str) -> Result<Response, Error> {
    let contents = &call.registry.contents;
    if call.settings.denies_what_is_missing && !contents.is_known(name) {
        return Err(Error::denied("denied"));
    }
    let unknown = || Error::manifest_unknown("manifest unknown");
    let digest = match (is_tag(reference), contents.read_tag(name, reference)) {
        (false, _) => reference.to_owned(),
        (true, Resolved::Digest(digest)) => digest,
        (true, Resolved::Unknown) => return Err(unknown()),
    };
    let manifest = contents.manifest(name, &digest).ok_or_else(unknown)?;
    if !is_acceptable(call.headers, &manifest.media_type, is_tag(reference)) {
        return Err(Error::manifest_unknown(format!(
            "{} found, but the accept header does not support it",
            manifest.media_type
        )));
    }
    let length = manifest.bytes.len();
    let body = if call.method == Method::HEAD { Body::empty() } else { Body::from(manifest.bytes) };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header_value(&manifest.media_type));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::ETAG, header_value(&format!("\"{digest}\"")));
    headers.insert("docker-content-digest", header_value(&digest));
    Ok(response)
}

/// docker-registry gives OCI manifests only to whom accepts them, and converts docker's into an older form where they
/// are asked for by tag and not accepted; here they are not found then.
fn is_acceptable(headers: &HeaderMap, kind: &str, by_tag: bool) -> bool {
    let docker = matches!(kind, media_type::DOCKER_MANIFEST | media_type::DOCKER_LIST);
    let accepted = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|accepted| accepted.split(';').next().unwrap_or_default().trim() == kind);
    accepted || (docker && !by_tag)
}

async fn put(call: &Call<'_>, name: &str, reference: &str, body: Body) -> Result<Response, Error> {
    let bytes = read(body, call.settings.manifest_limit).await?;
    let media_type = call.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let document = check_form(media_type, &bytes)?;
    let digest = if is_tag(reference) { digest::sha256(&bytes) } else { reference.to_owned() };
    if !digest::matches(&digest, &bytes) {
        return Err(Error::digest_invalid("provided digest did not match uploaded content"));
    }
    check_dependencies(call, name, media_type, &document)?;
    let contents = &call.registry.contents;
    if is_tag(reference)
        && call.settings.immutable_tags
        && contents.digest(name, reference).is_some_and(|existing| existing != digest)
    {
        return Err(Error::immutable(reference));
    }
    contents.put_manifest(name, &digest, media_type, bytes);
    if is_tag(reference) {
        contents.write_tag(name, reference, &digest, call.settings.lag);
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::CREATED;
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, header_value(&format!("{}/v2/{name}/manifests/{digest}", call.base)));
    headers.insert("docker-content-digest", header_value(&digest));
    if let (Referrers::On, Some(subject)) = (&call.settings.referrers, document["subject"]["digest"].as_str()) {
        headers.insert("oci-subject", header_value(subject));
    }
    Ok(response)
}

async fn read(body: Body, limit: usize) -> Result<Bytes, Error> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Error::manifest_invalid("http: request body too large")),
        Err(_) => Err(Error::bad_request("the body broke off")),
    }
}

/// What a manifest must be by itself: of the type that it is said to be, and not of two types at once (CVE-2021-41190).
fn check_form(media_type: &str, bytes: &[u8]) -> Result<Value, Error> {
    let invalid = |why: &str| Err(Error::manifest_invalid(why));
    let is_index = match media_type {
        media_type::OCI_INDEX | media_type::DOCKER_LIST => true,
        media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST => false,
        _ => return invalid("unsupported manifest media type"),
    };
    let Ok(document) = serde_json::from_slice::<Value>(bytes) else { return invalid("the manifest is not JSON") };
    let stated = document.get("mediaType").and_then(Value::as_str);
    // docker's types must be stated in the manifest itself; in OCI's that is optional.
    let oci = matches!(media_type, media_type::OCI_INDEX | media_type::OCI_MANIFEST);
    if stated != Some(media_type) && !(oci && stated.is_none()) {
        return invalid("the manifest states another media type than Content-Type");
    }
    let has = |field: &str| document.get(field).is_some_and(|value| !value.is_null());
    if is_index && (has("config") || has("layers")) {
        return invalid("expected an index but found a manifest");
    }
    if !is_index && has("manifests") {
        return invalid("expected a manifest but found an index");
    }
    if document["schemaVersion"] != 2 {
        return Err(Error::unknown("unrecognized manifest schema version"));
    }
    Ok(document)
}

/// A manifest's blobs and an index's children must be there; a layer with addresses of its own need not be.
fn check_dependencies(call: &Call<'_>, name: &str, media_type: &str, document: &Value) -> Result<(), Error> {
    let contents = &call.registry.contents;
    let is_index = matches!(media_type, media_type::OCI_INDEX | media_type::DOCKER_LIST);
    let list = |field: &str| document[field].as_array().cloned().unwrap_or_default();
    let references = if is_index {
        list("manifests")
    } else {
        let mut references = vec![document["config"].clone()];
        references.extend(list("layers"));
        references
    };
    for reference in references {
        let digest = reference["digest"].as_str().unwrap_or_default();
        if !digest::is_valid(digest) {
            return Err(Error::unknown("invalid checksum digest format"));
        }
        let elsewhere = reference["urls"].as_array().is_some_and(|urls| !urls.is_empty());
        let there = if is_index {
            contents.manifest(name, digest).is_some()
        } else {
            elsewhere || contents.blob(name, digest).is_some()
        };
        if !there {
            return Err(Error::manifest_blob_unknown(digest));
        }
    }
    Ok(())
}
