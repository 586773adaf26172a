//! Blobs: GET and HEAD, whole or a range.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};

use super::error::Error;
use super::{Call, header_value};
use crate::digest;

/// Answers a request for a blob.
pub(super) fn handle(call: &Call<'_>, name: &str, digest: &str) -> Result<Response, Error> {
    if !digest::is_valid(digest) {
        return Err(Error::digest_invalid("provided digest did not match uploaded content"));
    }
    match *call.method {
        Method::GET | Method::HEAD => {}
        Method::DELETE => return Err(Error::unsupported()),
        _ => return Err(Error::method_not_allowed()),
    }
    let bytes = call.registry.contents.blob(name, digest).ok_or_else(Error::blob_unknown)?;
    if let (Some(base), &Method::GET) = (&call.settings.redirect_blobs, call.method) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
        let location = format!("{base}/v2/{name}/blobs/{digest}?X-Signature=0123456789abcdef");
        response.headers_mut().insert(header::LOCATION, header_value(&location));
        return Ok(response);
    }
    let range = call.headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let mut response = match range.and_then(|range| parse(range, bytes.len())) {
        None => whole(call.method, bytes),
        Some(Err(())) => {
            let mut refused = Response::new(Body::empty());
            *refused.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            refused.headers_mut().insert(header::CONTENT_RANGE, header_value(&format!("bytes */{}", bytes.len())));
            return Ok(refused);
        }
        Some(Ok((first, last))) => {
            let range = format!("bytes {first}-{last}/{}", bytes.len());
            let mut part = whole(call.method, bytes.slice(first..=last));
            *part.status_mut() = StatusCode::PARTIAL_CONTENT;
            part.headers_mut().insert(header::CONTENT_RANGE, header_value(&range));
            part
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::ETAG, header_value(&format!("\"{digest}\"")));
    headers.insert("docker-content-digest", header_value(digest));
    Ok(response)
}

fn whole(method: &Method, bytes: Bytes) -> Response {
    let length = bytes.len();
    let mut response = Response::new(if method == Method::HEAD { Body::empty() } else { Body::from(bytes) });
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// The first and the last byte of a single range (RFC 9110, section 14.1.2). `None` where the header is to be ignored,
/// an error where no byte of the blob is in the range.
fn parse(range: &str, length: usize) -> Option<Result<(usize, usize), ()>> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (first, last) = match (first, last) {
        ("", suffix) => (length.saturating_sub(suffix.parse().ok()?), length.checked_sub(1)),
        (first, "") => (first.parse().ok()?, length.checked_sub(1)),
        (first, last) => {
            (first.parse().ok()?, length.checked_sub(1).map(|end| last.parse().map_or(end, |last| end.min(last))))
        }
    };
    Some(last.filter(|&last| first <= last).map(|last| (first, last)).ok_or(()))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn ranges() {
        assert_eq!(parse("bytes=2-4", 10), Some(Ok((2, 4))));
        assert_eq!(parse("bytes=2-", 10), Some(Ok((2, 9))));
        assert_eq!(parse("bytes=-3", 10), Some(Ok((7, 9))));
        assert_eq!(parse("bytes=8-99", 10), Some(Ok((8, 9))));
        assert_eq!(parse("bytes=10-", 10), Some(Err(())));
        assert_eq!(parse("bytes=0-", 0), Some(Err(())));
        assert_eq!(parse("lines=1-2", 10), None);
    }
}
