//! One request as the handlers see it, and what they answer.

use axum::body::Body;
use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use url::form_urlencoded;

use super::access::Token;
use super::shape::DOCUMENTATION;

/// One request.
pub(super) struct Call {
    pub(super) segments: Vec<String>,
    pub(super) query: Vec<(String, String)>,
    pub(super) path: String,
    pub(super) body: Value,
    /// The API's address as the caller sees it.
    pub(super) base: String,
    pub(super) now: DateTime<Utc>,
    pub(super) token: Token,
}

impl Call {
    /// A segment of the path, decoded.
    pub(super) fn segment(&self, index: usize) -> &str {
        &self.segments[index]
    }

    /// A segment that is a number; 0, which nothing has, where it is none.
    pub(super) fn number(&self, index: usize) -> u64 {
        self.segment(index).parse().unwrap_or(0)
    }

    /// The first value of a parameter of the query.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A field of the body that is a text.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.body.get(name)?.as_str().map(str::to_owned)
    }

    /// The address of something below the repository.
    pub(super) fn below(&self, path: &str) -> String {
        format!("{}/repos/{}/{}/{path}", self.base, self.segment(1), self.segment(2))
    }
}

/// An answer.
pub(super) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Content,
}

enum Content {
    Nothing,
    Json(Value),
    /// A list, of which one page is shown: under a name beside other fields, or bare.
    List(Vec<Value>, Option<(&'static str, Value)>),
}

impl Reply {
    pub(super) fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Content::Nothing }
    }

    pub(super) fn json(status: u16, body: Value) -> Self {
        Self { status, headers: Vec::new(), body: Content::Json(body) }
    }

    /// An error as GitHub writes it.
    pub(super) fn error(status: u16, message: &str) -> Self {
        Self::json(
            status,
            json!({"message": message, "documentation_url": DOCUMENTATION, "status": status.to_string()}),
        )
    }

    /// 422 about one field.
    pub(super) fn invalid(resource: &str, field: &str, code: &str) -> Self {
        Self::json(
            422,
            json!({
                "message": "Validation Failed",
                "errors": [{"resource": resource, "field": field, "code": code}],
                "documentation_url": DOCUMENTATION,
            }),
        )
    }

    pub(super) fn not_found() -> Self {
        Self::error(404, "Not Found")
    }

    /// A list that is the whole answer.
    pub(super) fn list(items: Vec<Value>) -> Self {
        Self { status: 200, headers: Vec::new(), body: Content::List(items, None) }
    }

    /// A list under a name, beside `total_count` and other fields.
    pub(super) fn list_under(name: &'static str, items: Vec<Value>, mut beside: Value) -> Self {
        if beside.get("total_count").is_none() {
            beside["total_count"] = json!(items.len());
        }
        Self { status: 200, headers: Vec::new(), body: Content::List(items, Some((name, beside))) }
    }

    /// A list under a name, beside other fields that do not say how long it is.
    pub(super) fn list_beside(name: &'static str, items: Vec<Value>, beside: Value) -> Self {
        Self { status: 200, headers: Vec::new(), body: Content::List(items, Some((name, beside))) }
    }

    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The answer with the page that was asked for, and whether it says that nothing changed.
    pub(super) fn finish(
        self,
        query: &[(String, String)],
        here: &str,
        headers: &HeaderMap,
        link_when_unchanged: bool,
    ) -> (Response<Body>, bool) {
        let number = |name: &str, default: usize| {
            let found = query.iter().find(|(key, _)| key == name);
            found.and_then(|(_, value)| value.parse().ok()).unwrap_or(default)
        };
        let mut link = None;
        let body = match self.body {
            Content::Nothing => None,
            Content::Json(body) => Some(body),
            Content::List(items, shape) => {
                let size = number("per_page", 30).clamp(1, 100);
                let page = number("page", 1).max(1);
                let last = items.len().div_ceil(size).max(1);
                link = links(query, here, page, last);
                let shown: Vec<Value> = items.into_iter().skip((page - 1) * size).take(size).collect();
                Some(match shape {
                    None => Value::Array(shown),
                    Some((name, mut beside)) => {
                        beside[name] = Value::Array(shown);
                        beside
                    }
                })
            }
        };
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::from_u16(self.status).expect("a status between 100 and 999");
        for (name, value) in &self.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("the name of a header");
            response.headers_mut().insert(name, HeaderValue::from_str(value).expect("the value of a header"));
        }
        let link = link.map(|link| HeaderValue::from_str(&link).expect("addresses in ASCII"));
        let mut unchanged = false;
        if let Some(body) = body {
            let text = body.to_string();
            if self.status == 200 {
                let etag = format!("W/\"{}\"", hex::encode(&Sha256::digest(&text)[..16]));
                unchanged = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == etag.as_bytes());
                let etag = HeaderValue::from_str(&etag).expect("an ETag in ASCII");
                response.headers_mut().insert(header::ETAG, etag);
            }
            if unchanged {
                *response.status_mut() = StatusCode::NOT_MODIFIED;
            } else {
                let kind = HeaderValue::from_static("application/json; charset=utf-8");
                response.headers_mut().insert(header::CONTENT_TYPE, kind);
                *response.body_mut() = Body::from(text);
            }
        }
        if let Some(link) = link.filter(|_| !unchanged || link_when_unchanged) {
            response.headers_mut().insert(header::LINK, link);
        }
        (response, unchanged)
    }
}

fn links(query: &[(String, String)], here: &str, page: usize, last: usize) -> Option<String> {
    let to = |page: usize, relation: &str| {
        let others = query.iter().filter(|(name, _)| name != "page");
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(others)
            .append_pair("page", &page.to_string())
            .finish();
        format!("<{here}?{query}>; rel=\"{relation}\"")
    };
    let mut links = Vec::new();
    if page > 1 {
        links.push(to(page - 1, "prev"));
    }
    if page < last {
        links.push(to(page + 1, "next"));
        links.push(to(last, "last"));
    }
    if page > 1 {
        links.push(to(1, "first"));
    }
    (!links.is_empty()).then(|| links.join(", "))
}
