//! An OCI 1.1 registry inside the process.
//!
//! It keeps everything in memory, refuses what docker-registry refuses (a manifest whose blobs or children are not
//! there, a wrong digest, a wrong `Content-Type`, a name or tag that is not well formed), and fails on demand
//! ([`Registry::fault`]) or by habit ([`Settings`]). A test looks at and arranges what it holds through
//! [`Registry::contents`], and at what was asked of it through [`Registry::log`].
//!
//! ```
//! use testbed::image::Image;
//! use testbed::registry::{Auth, Registry};
//!
//! let registry = Registry::builder().auth(Auth::Token).user("ann", "secret").start();
//! let image = Image::index(&["linux/amd64", "linux/arm64"]).build();
//! image.place(registry.contents(), "acme/api", &["staging"]);
//! assert_eq!(registry.contents().digest("acme/api", "staging").as_deref(), Some(image.digest()));
//! ```

mod access;
mod blobs;
mod contents;
mod error;
mod lists;
mod manifests;
mod route;
mod settings;
mod uploads;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use http::{HeaderMap, HeaderValue, Method, Request, header};
use tower::ServiceExt as _;
use url::form_urlencoded;

use self::access::Access;
pub use self::access::Auth;
pub(crate) use self::access::{Scope, User, basic};
pub use self::contents::{Contents, Manifest, Snapshot};
use self::error::Error;
pub(crate) use self::lists::describe;
use self::route::Route;
pub use self::settings::{Lag, Locations, Referrers, Settings, TokenField};
use self::uploads::Sessions;
use crate::authority::Authority;
use crate::client::Endpoint;
use crate::fault::{Fault, Rule};
use crate::front::{Caller, Front};
use crate::log::Entry;
use crate::server::{Server, Unanswered};

/// A running registry; it stops when this is dropped.
pub struct Registry {
    state: Arc<Shared>,
    front: Front,
    server: Server,
    credentials: Option<(String, String)>,
}

/// What all requests of a registry share.
struct Shared {
    contents: Contents,
    settings: Mutex<Settings>,
    access: Access,
    sessions: Mutex<Sessions>,
    in_flight: AtomicUsize,
    scheme: &'static str,
}

/// One request, as the handlers see it.
struct Call<'a> {
    registry: &'a Shared,
    settings: Settings,
    method: &'a Method,
    headers: &'a HeaderMap,
    query: Vec<(String, String)>,
    /// Scheme and host as the caller sees them.
    base: String,
}

impl Call<'_> {
    /// The first value of a parameter of the query.
    fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl Shared {
    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().expect("no thread panicked while it held the settings")
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().expect("no thread panicked while it held the uploads")
    }
}

/// What a registry is started with.
#[derive(Default)]
pub struct Builder {
    auth: Option<Auth>,
    users: Vec<User>,
    settings: Settings,
    contents: Contents,
    authority: Option<Authority>,
}

impl Builder {
    /// How callers are told apart; without this everybody may do everything.
    #[must_use]
    pub const fn auth(mut self, auth: Auth) -> Self {
        self.auth = Some(auth);
        self
    }

    /// Adds a user who may do everything. The first one is whom [`Registry::endpoint`] names.
    #[must_use]
    pub fn user(self, name: &str, password: &str) -> Self {
        self.user_with(name, password, &[("*", "pull,push,delete")])
    }

    /// Adds a user with grants: a pattern of repositories (`*` stands for any text) and actions, e.g.
    /// `("acme/*", "pull,push")`.
    #[must_use]
    pub fn user_with(mut self, name: &str, password: &str, grants: &[(&str, &str)]) -> Self {
        self.users.push(User::new(name, password, grants));
        self
    }

    /// How it behaves from the start.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Serves content that another registry holds too.
    #[must_use]
    pub fn contents(mut self, contents: &Contents) -> Self {
        self.contents = contents.clone();
        self
    }

    /// Serves over TLS, with a certificate of this authority, in HTTP/2 and HTTP/1.1.
    #[must_use]
    pub fn tls(mut self, authority: &Authority) -> Self {
        self.authority = Some(authority.clone());
        self
    }

    /// Starts the registry on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// When there is no free port.
    #[must_use]
    pub fn start(self) -> Registry {
        let credentials = self.users.first().map(|user| (user.name.clone(), user.password.clone()));
        let state = Arc::new(Shared {
            contents: self.contents,
            settings: Mutex::new(self.settings),
            access: Access::new(self.auth.unwrap_or(Auth::None), self.users),
            sessions: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            scheme: if self.authority.is_some() { "https" } else { "http" },
        });
        let router = Router::new().route("/token", any(token)).fallback(api).with_state(Arc::clone(&state));
        let front = Front::new();
        let server = Server::start(self.authority.as_ref(), {
            let (front, state) = (front.clone(), Arc::clone(&state));
            move |request| {
                let (front, router) = (front.clone(), router.clone());
                let latency = state.settings().latency;
                async move {
                    let answer = |request: Request<Body>| async move {
                        router.oneshot(request).await.map_err(|never| match never {})
                    };
                    front.handle(request, latency, answer).await as Result<Response, Unanswered>
                }
            }
        });
        Registry { state, front, server, credentials }
    }
}

impl Registry {
    /// Starts a registry in which everybody may do everything.
    #[must_use]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// What a registry can be started with.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Host and port, as they stand in a reference: `127.0.0.1:<port>`.
    #[must_use]
    pub fn host(&self) -> String {
        self.server.address().to_string()
    }

    /// The same server under another name: `localhost:<port>`.
    #[must_use]
    pub fn host_by_name(&self) -> String {
        format!("localhost:{}", self.server.address().port())
    }

    /// Scheme and host, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", self.server.scheme(), self.host())
    }

    /// How a client reaches it: address, authority, and the first user's credentials.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        Endpoint { url: self.url(), credentials: self.credentials.clone(), authority: self.server.authority().cloned() }
    }

    /// What it holds.
    #[must_use]
    pub fn contents(&self) -> &Contents {
        &self.state.contents
    }

    /// Changes how it behaves, from the next request on.
    pub fn configure(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.state.settings());
    }

    /// Makes requests go wrong as the rule says.
    pub fn fault(&self, rule: Rule) -> Fault {
        self.front.rules.add(rule)
    }

    /// Takes all rules back.
    pub fn clear_faults(&self) {
        self.front.rules.clear();
    }

    /// Makes every token given so far invalid.
    pub fn expire_tokens(&self) {
        self.state.access.expire_tokens();
    }

    /// All requests so far, in the order of their arrival.
    #[must_use]
    pub fn log(&self) -> Vec<Entry> {
        self.front.log.entries()
    }

    /// Forgets the requests so far.
    pub fn clear_log(&self) {
        self.front.log.clear();
    }

    /// How many connections were accepted so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.server.connections()
    }

    /// How many uploads were begun, and neither completed nor cancelled.
    #[must_use]
    pub fn open_uploads(&self) -> usize {
        self.state.sessions().len()
    }
}

/// The token endpoint.
async fn token(State(registry): State<Arc<Shared>>, request: Request<Body>) -> Response {
    if request.method() != Method::GET {
        return Error::method_not_allowed().into_response();
    }
    let settings = registry.settings().clone();
    let query = query(&request);
    let exists = |name: &str| registry.contents.is_known(name);
    match registry.access.token(&settings, request.headers(), &query, exists) {
        Err(error) => error.into_response(),
        Ok((answer, user)) => with_user(axum::Json(answer).into_response(), user),
    }
}

/// Everything below `/v2/`.
async fn api(State(registry): State<Arc<Shared>>, request: Request<Body>) -> Response {
    let settings = registry.settings().clone();
    let limit = settings.max_in_flight.unwrap_or(usize::MAX);
    let under_way = registry.in_flight.fetch_add(1, Ordering::SeqCst);
    let _counted = Counted(&registry.in_flight);
    if under_way >= limit {
        return Error::too_many_requests().into_response();
    }
    let (parts, body) = request.into_parts();
    let call = Call {
        registry: &registry,
        settings,
        method: &parts.method,
        headers: &parts.headers,
        query: form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect(),
        base: base(registry.scheme, &parts.uri, &parts.headers),
    };
    let mut response = match dispatch(&call, parts.uri.path(), body).await {
        Ok((response, user)) => with_user(response, user),
        Err(error) => error.into_response(),
    };
    let version = HeaderValue::from_static("registry/2.0");
    response.headers_mut().insert("docker-distribution-api-version", version);
    response
}

async fn dispatch(call: &Call<'_>, path: &str, body: Body) -> Result<(Response, Option<String>), Error> {
    let route = Route::parse(path)?;
    let user = call.registry.access.authorize(&call.settings, &call.base, call.headers, &scopes(call, &route))?;
    let response = match &route {
        Route::Base => Ok(axum::Json(serde_json::json!({})).into_response()),
        Route::Tags { name } => lists::tags(call, name),
        Route::Referrers { name, digest } => lists::referrers(call, name, digest),
        Route::Manifest { name, reference } => manifests::handle(call, name, reference, body).await,
        Route::Blob { name, digest } => blobs::handle(call, name, digest),
        Route::Uploads { name } => uploads::open(call, name, body).await,
        Route::Upload { name, id } => uploads::resume(call, name, id, body).await,
    };
    // Whose request it was is known also where it is refused.
    Ok((response.unwrap_or_else(axum::response::IntoResponse::into_response), user))
}

/// What the caller must be allowed: a mount needs to read the repository that it mounts from, too.
fn scopes(call: &Call<'_>, route: &Route) -> Vec<Scope> {
    let scope = |repository: &str, actions: &[&str]| Scope {
        repository: repository.to_owned(),
        actions: actions.iter().map(|&action| action.to_owned()).collect(),
    };
    let own = route.name().map(|name| scope(name, route::actions(call.method)));
    let source = call.parameter("from").filter(|_| own.is_some()).map(|from| scope(from, &["pull"]));
    own.into_iter().chain(source).collect()
}

/// Scheme and host as the caller sees them; a proxy says them in `X-Forwarded-*`.
fn base(scheme: &str, uri: &http::Uri, headers: &HeaderMap) -> String {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let scheme = text("x-forwarded-proto").unwrap_or(scheme);
    let authority = uri.authority().map(http::uri::Authority::as_str);
    let host = text("x-forwarded-host").or(authority).or_else(|| text(header::HOST.as_str())).unwrap_or("localhost");
    format!("{scheme}://{host}")
}

fn query(request: &Request<Body>) -> Vec<(String, String)> {
    form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()).into_owned().collect()
}

fn with_user(mut response: Response, user: Option<String>) -> Response {
    if let Some(user) = user {
        response.extensions_mut().insert(Caller(user));
    }
    response
}

fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("a header without control characters")
}

/// A request that is under way, until this is dropped.
struct Counted<'a>(&'a AtomicUsize);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
