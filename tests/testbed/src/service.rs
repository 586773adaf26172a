//! A service whose versions behave as told: it runs what a registry's tag points to, or what was deployed to it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::response::IntoResponse as _;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::json;

use crate::registry::Contents;
use crate::server::{Server, Unanswered};

/// How a version behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behaviour {
    /// It answers well.
    Healthy,
    /// It answers 503, from the start.
    Dead,
    /// It answers well so long after it was first asked, and 503 from then on.
    DiesAfter(Duration),
    /// It answers so many requests well, then as many with 503, and so on.
    Flaps(u32),
    /// It answers well, and slowly.
    Slow(Duration),
    /// It answers well, and says that it is the version of this digest.
    Poses(String),
    /// It answers with a body of a gibibyte.
    Huge,
    /// It answers with a body without an end.
    Endless,
    /// It redirects to itself.
    RedirectLoop,
    /// It does not let anybody in who shows credentials.
    Locked,
    /// It closes the connection.
    Silent,
}

/// One version as it runs.
#[derive(Default)]
struct Life {
    asked: u32,
    since: Option<Instant>,
}

/// What decides which version runs.
type Running = dyn Fn() -> Option<String> + Send + Sync;

struct State {
    behaviours: Mutex<BTreeMap<String, Behaviour>>,
    lives: Mutex<BTreeMap<String, Life>>,
    running: Box<Running>,
    asked: Mutex<Vec<(Instant, String)>>,
}

/// A running service; it stops when this is dropped.
pub struct Service {
    server: Server,
    state: Arc<State>,
}

impl Service {
    /// A service that runs what a tag points to, from one request to the next.
    #[must_use]
    pub fn following(contents: &Contents, repository: &str, tag: &str) -> Self {
        let (contents, repository, tag) = (contents.clone(), repository.to_owned(), tag.to_owned());
        Self::running(move || contents.digest(&repository, &tag))
    }

    /// A service that runs what this says.
    #[must_use]
    pub fn running(running: impl Fn() -> Option<String> + Send + Sync + 'static) -> Self {
        let state = Arc::new(State {
            behaviours: Mutex::default(),
            lives: Mutex::default(),
            running: Box::new(running),
            asked: Mutex::default(),
        });
        let answering = Arc::clone(&state);
        let server = Server::start(None, move |request| {
            let state = Arc::clone(&answering);
            async move { answer(&state, &request).await }
        });
        Self { server, state }
    }

    /// From now on the version of this digest behaves so; others are healthy.
    pub fn behaves(&self, digest: &str, behaviour: Behaviour) {
        self.state.behaviours.lock().expect("nobody panics here").insert(digest.to_owned(), behaviour);
        self.state.lives.lock().expect("nobody panics here").remove(digest);
    }

    /// Where it answers.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.address())
    }

    /// Where it answers, as `host:port`.
    #[must_use]
    pub fn address(&self) -> String {
        self.server.address().to_string()
    }

    /// The digest that runs now.
    #[must_use]
    pub fn runs(&self) -> Option<String> {
        (self.state.running)()
    }

    /// How often a version was asked.
    #[must_use]
    pub fn asked(&self, digest: &str) -> usize {
        self.state.asked.lock().expect("nobody panics here").iter().filter(|(_, one)| one == digest).count()
    }
}

async fn answer(state: &State, request: &Request<Incoming>) -> Result<Response<Body>, Unanswered> {
    let Some(digest) = (state.running)() else {
        return Ok(StatusCode::BAD_GATEWAY.into_response());
    };
    state.asked.lock().expect("nobody panics here").push((Instant::now(), digest.clone()));
    let behaviour =
        state.behaviours.lock().expect("nobody panics here").get(&digest).cloned().unwrap_or(Behaviour::Healthy);
    let (number, since) = {
        let mut lives = state.lives.lock().expect("nobody panics here");
        let life = lives.entry(digest.clone()).or_default();
        life.asked += 1;
        (life.asked, life.since.get_or_insert_with(Instant::now).elapsed())
    };
    let well = |digest: &str| {
        let body = json!({ "status": "ok", "digest": digest, "token": "t-1" });
        ([("x-image-digest", digest.to_owned())], axum::Json(body)).into_response()
    };
    let dead = || (StatusCode::SERVICE_UNAVAILABLE, axum::Json(json!({ "status": "down" }))).into_response();
    Ok(match behaviour {
        Behaviour::Healthy => well(&digest),
        Behaviour::Dead => dead(),
        Behaviour::DiesAfter(time) if since >= time => dead(),
        Behaviour::DiesAfter(_) => well(&digest),
        Behaviour::Flaps(times) if (number - 1) / times.max(1) % 2 == 1 => dead(),
        Behaviour::Flaps(_) => well(&digest),
        Behaviour::Slow(time) => {
            tokio::time::sleep(time).await;
            well(&digest)
        }
        Behaviour::Poses(other) => well(&other),
        Behaviour::Huge => Response::builder()
            .header("content-length", 1u64 << 30)
            .body(endless(Some(1 << 30)))
            .expect("a right answer"),
        Behaviour::Endless => Response::new(endless(None)),
        Behaviour::RedirectLoop => (StatusCode::FOUND, [("location", request.uri().path().to_owned())]).into_response(),
        Behaviour::Locked if request.headers().contains_key("authorization") => {
            StatusCode::UNAUTHORIZED.into_response()
        }
        Behaviour::Locked => well(&digest),
        Behaviour::Silent => return Err(Unanswered),
    })
}

/// A body of so many bytes, or without an end.
fn endless(length: Option<usize>) -> Body {
    const CHUNK: usize = 64 * 1024;
    let chunk = Bytes::from(vec![b' '; CHUNK]);
    let chunks = futures_util::stream::iter(
        (0..length.map_or(usize::MAX, |length| length / CHUNK)).map(move |_| Ok::<_, std::io::Error>(chunk.clone())),
    );
    Body::from_stream(chunks)
}
