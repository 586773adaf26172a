//! Lists in pages: tags and referrers.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::error::Error;
use super::settings::Referrers;
use super::{Call, header_value};
use crate::digest;
use crate::image::media_type;

/// Answers `tags/list`.
pub(super) fn tags(call: &Call<'_>, name: &str) -> Result<Response, Error> {
    if call.method != Method::GET {
        return Err(Error::method_not_allowed());
    }
    let all = call.registry.contents.tags(name);
    if all.is_empty() {
        return Err(Error::name_unknown());
    }
    let (page, next) = page(call, &all, |tag| tag)?;
    let body = json!({"name": name, "tags": page});
    Ok(list("application/json", &body, next.map(|last| link(call, &format!("/v2/{name}/tags/list"), last))))
}

/// Answers `referrers/<digest>`: the manifests whose subject this is, as an index. A subject that is not there has
/// referrers too (distribution-spec, "Listing Referrers").
pub(super) fn referrers(call: &Call<'_>, name: &str, subject: &str) -> Result<Response, Error> {
    match &call.settings.referrers {
        Referrers::On => {}
        Referrers::Off => return Err(Error::no_such_page()),
        Referrers::RedirectTo(address) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::SEE_OTHER;
            response.headers_mut().insert(header::LOCATION, header_value(&format!("{address}/{subject:.19}")));
            return Ok(response);
        }
    }
    if !digest::is_valid(subject) {
        return Err(Error::digest_invalid("not a digest"));
    }
    if call.method != Method::GET {
        return Err(Error::method_not_allowed());
    }
    let wanted = call.parameter("artifactType");
    let all: Vec<Value> = call
        .registry
        .contents
        .referrers(name, subject)
        .iter()
        .map(|(digest, manifest)| describe(digest, &manifest.media_type, &manifest.bytes))
        .filter(|descriptor| wanted.is_none_or(|wanted| descriptor["artifactType"] == wanted))
        .collect();
    let (page, next) = page(call, &all, |descriptor| descriptor["digest"].as_str().unwrap_or_default())?;
    let body = json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": page});
    let next = next.map(|last| link(call, &format!("/v2/{name}/referrers/{subject}"), last));
    let mut response = list(media_type::OCI_INDEX, &body, next);
    if wanted.is_some() {
        response.headers_mut().insert("oci-filters-applied", HeaderValue::from_static("artifactType"));
    }
    Ok(response)
}

/// A referrer's descriptor: with its artifact type, or else its configuration's type, and all its annotations.
pub(crate) fn describe(digest: &str, media_type: &str, bytes: &[u8]) -> Value {
    let document: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let mut descriptor = json!({"mediaType": media_type, "digest": digest, "size": bytes.len()});
    let kind = document["artifactType"].as_str().filter(|kind| !kind.is_empty());
    if let Some(kind) = kind.or_else(|| document["config"]["mediaType"].as_str()) {
        descriptor["artifactType"] = kind.into();
    }
    if document["annotations"].is_object() {
        descriptor["annotations"] = document["annotations"].clone();
    }
    descriptor
}

/// The part of a sorted list that one answer has, and the last of it where more follows.
fn page<'a, T>(call: &Call<'_>, all: &'a [T], key: impl Fn(&T) -> &str) -> Result<(&'a [T], Option<String>), Error> {
    let asked = match call.parameter("n") {
        None => usize::MAX,
        Some(number) => number.parse().map_err(|_| Error::bad_request("`n` is not a number"))?,
    };
    let size = asked.min(call.settings.page_size).max(1);
    let start = call.parameter("last").map_or(0, |last| all.partition_point(|item| key(item) <= last));
    let rest = &all[start..];
    let page = &rest[..rest.len().min(size)];
    let next = page.last().filter(|_| rest.len() > size).map(|last| key(last).to_owned());
    Ok((page, next))
}

fn link(call: &Call<'_>, path: &str, last: String) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("last", &last);
    for name in ["n", "artifactType"] {
        if let Some(value) = call.parameter(name) {
            query.append_pair(name, value);
        }
    }
    format!("<{path}?{}>; rel=\"next\"", query.finish())
}

fn list(kind: &str, body: &Value, next: Option<String>) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, header_value(kind));
    if let Some(next) = next {
        response.headers_mut().insert(header::LINK, header_value(&next));
    }
    response
}
