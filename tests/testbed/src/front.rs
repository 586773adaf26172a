//! What stands before every server of the testbed: the log, the added latency, and the faults on demand.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use crate::fault::{Action, Answer, Rules};
use crate::log::Log;
use crate::server::Unanswered;

/// Whom a server took the caller for; it leaves this in its answer for the log.
#[derive(Clone)]
pub(crate) struct Caller(pub(crate) String);

/// The log and the faults of one server.
#[derive(Clone)]
pub(crate) struct Front {
    pub(crate) log: Log,
    pub(crate) rules: Rules,
}

impl Front {
    pub(crate) fn new() -> Self {
        Self { log: Log::new(), rules: Rules::default() }
    }

    /// Logs the request, applies the rules to it, lets `inner` answer it, and applies the rules to the answer.
    pub(crate) async fn handle<H, F>(
        &self,
        request: Request<Incoming>,
        latency: Duration,
        inner: H,
    ) -> Result<Response<Body>, Unanswered>
    where
        H: FnOnce(Request<Body>) -> F,
        F: Future<Output = Result<Response<Body>, Unanswered>>,
    {
        let open = self.log.open(&request);
        let target = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned();
        let actions = self.rules.actions(request.method().as_str(), &target);
        tokio::time::sleep(latency).await;
        let request = request.map(|body| counted(Body::new(body), &open.received));
        let mut response = match before(&actions, &target).await? {
            Some(answer) => answer,
            None => inner(request).await?,
        };
        for action in &actions {
            response = after(action, response).await?;
        }
        let user = response.extensions().get::<Caller>().map(|user| user.0.clone());
        open.answered(response.status().as_u16(), user);
        let (mut parts, body) = response.into_parts();
        // A counted body does not say how long it is.
        if let Some(length) = hyper::body::Body::size_hint(&body).exact().filter(|&length| length > 0) {
            parts.headers.entry(header::CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
        }
        Ok(Response::from_parts(parts, counted(body, &open.sent)))
    }
}

/// What happens before the request is looked at; an answer when it is not looked at.
async fn before(actions: &[Action], target: &str) -> Result<Option<Response<Body>>, Unanswered> {
    for action in actions {
        match action {
            Action::Answer(answer) => return Ok(Some(response(answer))),
            Action::Redirect(status, base) => {
                let location = format!("{base}{target}");
                return Ok(Some(response(&Answer::status(*status).header("location", &location))));
            }
            Action::Delay(time) => tokio::time::sleep(*time).await,
            Action::Hang => std::future::pending().await,
            Action::Drop => return Err(Unanswered),
            Action::Call(closure) => closure(),
            _ => {}
        }
    }
    Ok(None)
}

/// What happens to the answer.
async fn after(action: &Action, original: Response<Body>) -> Result<Response<Body>, Unanswered> {
    if let Action::Disguise(answer) = action {
        // The request is carried out to its end first, its answer's body too.
        let _ = collect(original.into_body()).await;
        return Ok(response(answer));
    }
    let response = original;
    let (mut parts, body) = response.into_parts();
    let body = match action {
        Action::LoseAnswer => {
            // The request is carried out to its end first, its answer's body too.
            let _ = collect(body).await;
            return Err(Unanswered);
        }
        Action::Truncate(length) => {
            let whole = announce(&mut parts.headers, collect(body).await);
            let first = whole.slice(..whole.len().min(*length));
            Body::from_stream(stream::iter([Ok(first)]).chain(stream::once(async {
                // What came before must have left the server's buffers.
                tokio::time::sleep(Duration::from_millis(20)).await;
                Err(Unanswered)
            })))
        }
        Action::Stall(length) => {
            let whole = announce(&mut parts.headers, collect(body).await);
            let first = whole.slice(..whole.len().min(*length));
            Body::from_stream(stream::iter([Ok::<_, Unanswered>(first)]).chain(stream::pending()))
        }
        Action::Corrupt => Body::from(corrupted(&collect(body).await)),
        Action::Replace(other) => Body::from(announce(&mut parts.headers, other.clone())),
        Action::SetHeader(name, value) => {
            let value = HeaderValue::from_str(value).expect("a header without control characters");
            parts.headers.insert(HeaderName::from_static(name), value);
            body
        }
        Action::CallAfter(closure) => {
            closure();
            body
        }
        Action::RemoveHeader(name) => {
            parts.headers.remove(*name);
            body
        }
        _ => body,
    };
    Ok(Response::from_parts(parts, body))
}

/// Says in the headers how long this body is.
fn announce(headers: &mut http::HeaderMap, body: Bytes) -> Bytes {
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    body
}

fn corrupted(body: &Bytes) -> Bytes {
    let mut changed = BytesMut::from(body.as_ref());
    let middle = changed.len() / 2;
    if let Some(byte) = changed.get_mut(middle) {
        *byte ^= 0x01;
    }
    changed.freeze()
}

async fn collect(body: Body) -> Bytes {
    body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default()
}

fn response(answer: &Answer) -> Response<Body> {
    let mut response = Response::new(Body::from(answer.body.clone()));
    *response.status_mut() = StatusCode::from_u16(answer.status).expect("a status between 100 and 999");
    for (name, value) in &answer.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("the name of a header");
        response.headers_mut().append(name, HeaderValue::from_str(value).expect("the value of a header"));
    }
    response
}

/// Counts the bytes of a body as they pass.
fn counted(body: Body, counter: &Arc<AtomicU64>) -> Body {
    let (counter, length) = (Arc::clone(counter), hyper::body::Body::size_hint(&body).exact());
    let body = body.map_frame(move |frame| {
        let length = frame.data_ref().map_or(0, Bytes::len);
        counter.fetch_add(length as u64, Ordering::SeqCst);
        frame
    });
    match length {
        Some(0) => Body::empty(),
        _ => Body::new(body),
    }
}
