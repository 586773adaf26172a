//! A deployment API with a memory: sites have versions, promotions take their time, rollbacks go to the last version
//! that lived.
//!
//! | call | what it does |
//! |---|---|
//! | `POST /sites/{site}/promotions` | begins to put `version` in place (without one the API makes its own); 202 with `id` |
//! | `POST /sites/{site}/rollbacks` | the same for an earlier version; without one for the last that lived |
//! | `GET /promotions/{id}` | `status` (PENDING, RUNNING, COMPLETED, FAILED, CANCELLED), `version`, `message` |
//! | `DELETE /promotions/{id}` | cancels |
//! | `GET /sites/{site}` | `version` of what runs; 404 before the first |
//!
//! Two calls with the same `idempotency-key` are one; a call with a smaller `x-fencing-token` than one before is
//! refused with 409.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::response::IntoResponse as _;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::authority::Authority;
use crate::fault::{Fault, Rule};
use crate::front::Front;
use crate::log::Entry;
use crate::server::Server;

/// Decides about a caller by the header `authorization`.
type Bouncer = dyn Fn(Option<&str>) -> bool + Send + Sync;

/// How the next promotions go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conduct {
    /// They complete after so many looks.
    Completes(u32),
    /// They fail after so many looks.
    Fails(u32),
    /// They never end.
    Hangs,
    /// They say that they have completed, and nothing is different.
    Lies,
}

/// A promotion or rollback that was asked for.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The site.
    pub site: String,
    /// The version that it puts in place.
    pub version: String,
    /// Whether it is a rollback.
    pub rollback: bool,
    /// The state that it is in.
    pub status: &'static str,
    /// What was sent.
    pub body: Value,
    /// The idempotency key.
    pub key: String,
    /// The fencing token.
    pub fence: u64,
    left: u32,
    conduct: Conduct,
}

#[derive(Default)]
struct World {
    sites: BTreeMap<String, Vec<String>>,
    asked: Vec<Asked>,
    conduct: Option<Conduct>,
    fences: BTreeMap<String, u64>,
}

/// A running deployment API; it stops when this is dropped.
pub struct DeploymentApi {
    front: Front,
    server: Server,
    world: Arc<Mutex<World>>,
}

impl DeploymentApi {
    /// An API that lets everybody in.
    #[must_use]
    pub fn start() -> Self {
        Self::guarded(None, |_| true)
    }

    /// An API that asks `bouncer` about each caller's `authorization`, with TLS where there is an authority.
    pub fn guarded(tls: Option<&Authority>, bouncer: impl Fn(Option<&str>) -> bool + Send + Sync + 'static) -> Self {
        let (front, world, bouncer) = (Front::new(), Arc::<Mutex<World>>::default(), Arc::new(bouncer));
        let server =
            Server::start(tls, {
                let (front, world) = (front.clone(), Arc::clone(&world));
                move |request| {
                    let (front, world, bouncer) = (front.clone(), Arc::clone(&world), Arc::clone(&bouncer));
                    async move {
                        front
                            .handle(request, Duration::ZERO, |request| async move {
                                Ok(answer(request, &world, bouncer).await)
                            })
                            .await
                    }
                }
            });
        Self { front, server, world }
    }

    /// Its address, without a slash at its end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", self.server.scheme(), self.server.address())
    }

    /// How promotions and rollbacks go that are asked for from now on. At first they complete after two looks.
    pub fn conduct(&self, conduct: Conduct) {
        self.world().conduct = Some(conduct);
    }

    /// The version that runs on a site.
    #[must_use]
    pub fn version(&self, site: &str) -> Option<String> {
        self.world().sites.get(site)?.last().cloned()
    }

    /// Puts a version in place behind everybody's back.
    pub fn put(&self, site: &str, version: &str) {
        self.world().sites.entry(site.to_owned()).or_default().push(version.to_owned());
    }

    /// All that was asked for, in its order.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.world().asked.clone()
    }

    /// All requests so far, in the order of their arrival.
    #[must_use]
    pub fn log(&self) -> Vec<Entry> {
        self.front.log.entries()
    }

    /// Makes requests go wrong as the rule says.
    pub fn fault(&self, rule: Rule) -> Fault {
        self.front.rules.add(rule)
    }

    fn world(&self) -> MutexGuard<'_, World> {
        locked(&self.world)
    }
}

fn locked(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

fn said(status: u16, body: Value) -> Response<Body> {
    let status = StatusCode::from_u16(status).expect("a status");
    (status, axum::Json(body)).into_response()
}

async fn answer(request: Request<Body>, world: &Mutex<World>, bouncer: Arc<Bouncer>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let authorization = text(&parts.headers, header::AUTHORIZATION.as_str());
    // It may ask somebody else, and takes its time then.
    let let_in = tokio::task::spawn_blocking(move || bouncer(authorization.as_deref())).await.unwrap_or(false);
    if !let_in {
        return said(401, json!({ "message": "who are you?" }));
    }
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let segments: Vec<&str> = parts.uri.path().trim_matches('/').split('/').collect();
    let mut world = locked(world);
    match (&parts.method, segments.as_slice()) {
        (&Method::POST, ["sites", site, kind @ ("promotions" | "rollbacks")]) => {
            let read = read(&parts.headers, &body);
            let Some(body) = read else { return said(400, json!({ "message": "neither JSON nor a form" })) };
            world.ask(site, *kind == "rollbacks", body, &parts.headers)
        }
        (&Method::GET, ["promotions", id]) => world.look(id),
        (&Method::DELETE, ["promotions", id]) => world.cancel(id),
        (&Method::GET, ["sites", site]) => match world.sites.get(*site).and_then(|versions| versions.last()) {
            Some(version) => said(200, json!({ "site": site, "version": version })),
            None => said(404, json!({ "message": "no such site" })),
        },
        _ => said(404, json!({ "message": "no such thing" })),
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned)
}

fn read(headers: &HeaderMap, body: &[u8]) -> Option<Value> {
    match text(headers, "content-type")?.split(';').next()? {
        "application/json" => serde_json::from_slice(body).ok(),
        "application/x-www-form-urlencoded" => {
            let fields = url::form_urlencoded::parse(body).into_owned().map(|(name, value)| (name, value.into()));
            Some(Value::Object(fields.collect()))
        }
        _ => None,
    }
}

impl World {
    fn ask(&mut self, site: &str, rollback: bool, body: Value, headers: &HeaderMap) -> Response<Body> {
        let key = text(headers, "idempotency-key").unwrap_or_default();
        let fence: u64 = text(headers, "x-fencing-token").and_then(|text| text.parse().ok()).unwrap_or_default();
        let known = self.asked.iter().position(|one| !key.is_empty() && one.key == key);
        if let Some(known) = known {
            return said(200, self.told(known));
        }
        let greatest = self.fences.entry(site.to_owned()).or_default();
        if fence < *greatest {
            return said(409, json!({ "message": format!("token {fence} is older than {greatest}") }));
        }
        *greatest = fence;
        let versions = self.sites.entry(site.to_owned()).or_default();
        let stable = versions.len().checked_sub(2).and_then(|place| versions.get(place)).cloned();
        let own = || format!("{site}-{}", versions.len() + 1);
        let version = match body.get("version").and_then(Value::as_str) {
            Some(version) => version.to_owned(),
            None if rollback => stable.unwrap_or_default(),
            None => own(),
        };
        if version.is_empty() {
            return said(422, json!({ "message": "there is nothing to go back to" }));
        }
        let conduct = self.conduct.unwrap_or(Conduct::Completes(2));
        let left = match conduct {
            Conduct::Completes(left) | Conduct::Fails(left) => left,
            Conduct::Hangs | Conduct::Lies => 0,
        };
        let (site, status) = (site.to_owned(), "PENDING");
        self.asked.push(Asked { site, version, rollback, status, body, key, fence, left, conduct });
        said(202, self.told(self.asked.len() - 1))
    }

    fn told(&self, place: usize) -> Value {
        let one = &self.asked[place];
        let message = format!("{} of {} is {}", one.version, one.site, one.status);
        json!({ "id": format!("p-{}", place + 1), "status": one.status, "version": one.version, "message": message })
    }

    fn place(&self, id: &str) -> Option<usize> {
        let number: usize = id.strip_prefix("p-")?.parse().ok()?;
        number.checked_sub(1).filter(|place| *place < self.asked.len())
    }

    fn look(&mut self, id: &str) -> Response<Body> {
        let Some(place) = self.place(id) else { return said(404, json!({ "message": "no such promotion" })) };
        let one = &mut self.asked[place];
        if matches!(one.status, "PENDING" | "RUNNING") {
            one.status = match (one.conduct, one.left) {
                (Conduct::Hangs, _) => "RUNNING",
                (Conduct::Lies, _) => "COMPLETED",
                (Conduct::Completes(_), 0) => "COMPLETED",
                (Conduct::Fails(_), 0) => "FAILED",
                _ => "RUNNING",
            };
            one.left = one.left.saturating_sub(1);
            if one.status == "COMPLETED" && one.conduct != Conduct::Lies {
                let (site, version) = (one.site.clone(), one.version.clone());
                self.sites.entry(site).or_default().push(version);
            }
        }
        said(200, self.told(place))
    }

    fn cancel(&mut self, id: &str) -> Response<Body> {
        let Some(place) = self.place(id) else { return said(404, json!({ "message": "no such promotion" })) };
        let one = &mut self.asked[place];
        if matches!(one.status, "PENDING" | "RUNNING") {
            one.status = "CANCELLED";
        }
        said(200, self.told(place))
    }
}
