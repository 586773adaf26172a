//! A stand-in for what people are told by over HTTP: Slack (webhook and API), Teams, Brevo, PagerDuty, any webhook.
//!
//! | path | whose |
//! |---|---|
//! | `/services/*` | Slack's incoming webhooks: 200 `ok` |
//! | `/api/chat.postMessage`, `/api/chat.update` | Slack's API: 200 with `ok: true` |
//! | `/workflows/*` | Teams: 202 |
//! | `/v3/smtp/email` | Brevo: 201 |
//! | `/v2/enqueue` | PagerDuty: 202 |
//! | `/twirp/*/CreateArtifact`, `/twirp/*/FinalizeArtifact`, `/blob` | GitHub's artifacts |
//! | anything else | 200 |

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::response::IntoResponse as _;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::fault::{Fault, Rule};
use crate::front::Front;
use crate::log::Entry;
use crate::server::Server;

/// What somebody was told: a request that was answered by the stand-in itself, not by a fault.
#[derive(Debug, Clone)]
pub struct Told {
    /// The path.
    pub path: String,
    /// The headers, with names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body as text.
    pub body: String,
    /// The body as it came.
    pub bytes: Bytes,
}

impl Told {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// A running stand-in; it stops when this is dropped.
pub struct Channels {
    front: Front,
    server: Server,
    told: Arc<Mutex<Vec<Told>>>,
}

impl Channels {
    /// Starts the stand-in.
    #[must_use]
    pub fn start() -> Self {
        let front = Front::new();
        let told = Arc::<Mutex<Vec<Told>>>::default();
        let server = Server::start(None, {
            let (front, told) = (front.clone(), Arc::clone(&told));
            move |request| {
                let (front, told) = (front.clone(), Arc::clone(&told));
                async move {
                    front
                        .handle(request, Duration::ZERO, |request| async move { Ok(answer(request, &told).await) })
                        .await
                }
            }
        });
        Self { front, server, told }
    }

    /// Its address, without a path.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", self.server.scheme(), self.server.address())
    }

    /// Everything that was told, in order.
    ///
    /// # Panics
    /// When a thread panicked that held it.
    #[must_use]
    pub fn told(&self) -> Vec<Told> {
        self.told.lock().expect("no thread panicked here").clone()
    }

    /// All requests, those that faults answered too.
    #[must_use]
    pub fn log(&self) -> Vec<Entry> {
        self.front.log.entries()
    }

    /// Makes requests go wrong as the rule says.
    pub fn fault(&self, rule: Rule) -> Fault {
        self.front.rules.add(rule)
    }
}

async fn answer(request: Request<Body>, told: &Mutex<Vec<Told>>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = parts.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    let path = parts.uri.path().to_owned();
    let host = parts.headers.get(http::header::HOST).map(text).unwrap_or_default();
    let number = {
        let mut told = told.lock().expect("no thread panicked here");
        let text = String::from_utf8_lossy(&body).into_owned();
        told.push(Told { path: path.clone(), headers, body: text, bytes: body });
        told.len()
    };
    match path.as_str() {
        "/api/chat.postMessage" | "/api/chat.update" => {
            let ts = format!("1732185300.{number:06}");
            axum::Json(json!({ "ok": true, "channel": "C024BE91L", "ts": ts })).into_response()
        }
        "/v3/smtp/email" => (StatusCode::CREATED, axum::Json(json!({ "messageId": "<1@relay>" }))).into_response(),
        "/v2/enqueue" => {
            let answer = json!({ "status": "success", "message": "Event processed", "dedup_key": "x" });
            (StatusCode::ACCEPTED, axum::Json(answer)).into_response()
        }
        path if path.ends_with("/CreateArtifact") => {
            let place = format!("http://{host}/blob?sig=secret");
            axum::Json(json!({ "ok": true, "signed_upload_url": place })).into_response()
        }
        path if path.ends_with("/FinalizeArtifact") => {
            axum::Json(json!({ "ok": true, "artifact_id": "4711" })).into_response()
        }
        path if path.starts_with("/workflows/") => StatusCode::ACCEPTED.into_response(),
        _ => "ok".into_response(),
    }
}
