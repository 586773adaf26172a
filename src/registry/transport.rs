//! How a request reaches a registry: one attempt, with its turn, its credentials and its redirects.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderValue, LOCATION};
use http::{Method, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::Instant;
use url::Url;

use super::Registries;
use super::address::{
    GuardedResolver, Place, PrivateAddress, Scheme, Trust, authority, is_loopback, place, proxies, same_origin,
};
use super::answer::Answer;
use super::auth::{self, Challenge, Scopes, Token};
use super::class::Class;
use super::credentials::Credential;
use super::error::{Asked, Trouble};
use super::host::{Greeting, Host};
use crate::http::{READ_TIMEOUT, builder, execute};

/// The redirects that are followed one after another.
const MAX_REDIRECTS: usize = 5;

/// The longest wait for the answer to an upload once its last byte is out: registries hash and move what they got.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// The most that is read of a token server's answer.
const TOKEN_LIMIT: usize = 64 * 1024;

/// A header by which a registry shows that it is one.
const API_VERSION: &str = "docker-distribution-api-version";

/// A request.
pub(super) struct Ask<'a> {
    pub(super) host: &'a Arc<Host>,
    pub(super) method: Method,
    pub(super) target: Target,
    pub(super) class: Class,
    /// What this request needs to be allowed to do.
    pub(super) needs: Scopes,
    /// What the requests around it need, so that one token serves all.
    pub(super) wants: Scopes,
    pub(super) headers: HeaderMap,
    pub(super) payload: Payload,
    /// Whether redirects are followed.
    pub(super) follow: bool,
    /// Whether the caller holds a permit that covers this request.
    pub(super) admitted: bool,
}

/// Where a request goes.
pub(super) enum Target {
    /// A path below `/v2/`, with its query.
    Path(String),
    /// An address that the registry named, and that was found to be safe.
    Url(Url),
}

/// What a request carries.
pub(super) enum Payload {
    Nothing,
    Bytes(Bytes),
    /// A body of known length that can be sent once.
    Stream {
        body: reqwest::Body,
        length: u64,
        progress: Arc<Progress>,
    },
}

impl<'a> Ask<'a> {
    /// A request to a path of a registry's interface that needs `needs`.
    pub(super) fn new(
        host: &'a Arc<Host>,
        method: Method,
        path: impl Into<String>,
        class: Class,
        needs: Scopes,
    ) -> Self {
        Self {
            host,
            method,
            target: Target::Path(path.into()),
            class,
            wants: needs.clone(),
            needs,
            headers: HeaderMap::new(),
            payload: Payload::Nothing,
            follow: true,
            admitted: false,
        }
    }

    /// The same, to an address that the registry named.
    pub(super) fn to(mut self, url: Url) -> Self {
        self.target = Target::Url(url);
        self
    }

    /// The same, as one of several requests that together need `wants` too.
    pub(super) fn among(mut self, wants: &Scopes) -> Self {
        self.wants = self.needs.clone().and(wants.clone());
        self
    }

    fn writes(&self) -> bool {
        !matches!(self.method, Method::GET | Method::HEAD)
    }
}

/// How far an upload has come, so that one that stands still is given up.
#[derive(Debug)]
pub(super) struct Progress {
    moved: Mutex<Instant>,
    complete: AtomicBool,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { moved: Mutex::new(Instant::now()), complete: AtomicBool::new(false) }
    }

    /// A part was taken by the connection.
    pub(super) fn moved(&self) {
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// The last part was.
    pub(super) fn completed(&self) {
        self.moved();
        self.complete.store(true, Ordering::Relaxed);
    }

    /// Returns once nothing has moved for too long.
    async fn stalled(&self) -> Trouble {
        loop {
            let patience = if self.complete.load(Ordering::Relaxed) { COMMIT_TIMEOUT } else { READ_TIMEOUT };
            let until = *self.moved.lock().unwrap_or_else(PoisonError::into_inner) + patience;
            if until <= Instant::now() {
                return Trouble::Broken { why: format!("nothing moved for {} s", patience.as_secs()) };
            }
            tokio::time::sleep_until(until).await;
        }
    }
}

/// A kind of connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    /// TLS with a certificate that verifies.
    Verified,
    /// The same, and only to addresses on the internet.
    Guarded,
    /// TLS with any certificate, or plain HTTP.
    Lenient,
    /// The same on this machine, past every proxy (as Go's `httpproxy` does).
    Direct,
}

/// The HTTP clients, one for each kind of connection, built when first needed. Uploads have their own: what bounds
/// them is [`Progress`], not the wait for an answer.
#[derive(Debug, Default)]
pub(super) struct Clients {
    built: [[OnceLock<reqwest::Client>; 2]; 4],
}

impl Clients {
    fn get(&self, route: Route, upload: bool) -> Result<&reqwest::Client, Trouble> {
        let slot = &self.built[route as usize][usize::from(upload)];
        if let Some(client) = slot.get() {
            return Ok(client);
        }
        let mut client = builder();
        client = match route {
            Route::Verified => client,
            Route::Guarded => client.dns_resolver(Arc::new(GuardedResolver { exempt: Arc::new(proxies()) })),
            Route::Lenient => client.tls_danger_accept_invalid_certs(true),
            Route::Direct => client.tls_danger_accept_invalid_certs(true).no_proxy(),
        };
        if upload {
            client = client.read_timeout(Duration::from_secs(24 * 3600));
        }
        let client = client.build().map_err(|error| Trouble::Unreachable {
            why: format!("no connection can be made at all: {}", root_cause(&error.without_url())),
        })?;
        Ok(slot.get_or_init(|| client))
    }
}

/// The credentials of one request.
struct Authorization {
    header: Option<SecretString>,
    /// The token in it, where it is one.
    token: Option<Arc<Token>>,
    secrets: Vec<SecretString>,
    /// Whether nobody vouches for us; there may be a token all the same.
    anonymous: bool,
}

impl Authorization {
    const NONE: Self = Self { header: None, token: None, secrets: Vec::new(), anonymous: true };
}

impl Registries {
    /// Sends a request: one attempt. What comes back is any answer but a challenge that could be met.
    pub(super) async fn send(&self, mut ask: Ask<'_>) -> Result<Answer, Trouble> {
        let host = ask.host;
        let _permit = match ask.admitted {
            true => None,
            false => Some(host.limiter.acquire().await),
        };
        while let Some(moment) = host.limiter.not_before() {
            tokio::time::sleep_until(moment).await;
        }
        if host.greeting() == Greeting::Unknown {
            let _alone = host.contact.lock().await;
            if host.greeting() == Greeting::Unknown {
                let answer = self.first_contact(&mut ask).await?;
                if answer.status() != StatusCode::UNAUTHORIZED || answer.asked.elsewhere {
                    host.answered_openly();
                    return Ok(answer);
                }
                self.meet(&ask, answer).await?;
            }
        }
        let answer = self.send_as_known(&mut ask, None).await?;
        if answer.status() != StatusCode::UNAUTHORIZED || answer.asked.elsewhere {
            return Ok(answer);
        }
        if matches!(ask.payload, Payload::Stream { .. }) {
            // What was streamed is gone; a fresh token is fetched when it is streamed again.
            self.meet(&ask, answer).await?;
            return Err(Trouble::Broken { why: "the token ended before the upload".to_owned() });
        }
        let scope = self.meet(&ask, answer).await?;
        let answer = self.send_as_known(&mut ask, Some(scope)).await?;
        if answer.status() == StatusCode::UNAUTHORIZED && !answer.asked.elsewhere {
            self.shared.meter.reclassify(ask.class, Class::Auth);
            return Err(answer.trouble().await);
        }
        Ok(answer)
    }

    /// Sends the first request to a registry, in each scheme that it may speak. A server that speaks another one does
    /// not take it for a request, so that it is not counted.
    async fn first_contact(&self, ask: &mut Ask<'_>) -> Result<Answer, Trouble> {
        let host = ask.host;
        if let Some(scheme) = host.scheme() {
            return self.follow(ask, scheme, &Authorization::NONE).await;
        }
        let [first, second] = host.trust.schemes() else {
            return self.follow(ask, Scheme::Https, &Authorization::NONE).await;
        };
        let first_result = self.follow(ask, *first, &Authorization::NONE).await;
        let other_protocol = match &first_result {
            Ok(answer) => *first == Scheme::Http && is_tls_port(answer),
            Err(trouble) => matches!(trouble, Trouble::Unreachable { .. } | Trouble::Broken { .. }),
        };
        if !other_protocol {
            if first_result.is_ok() {
                host.settle_scheme(*first);
            }
            return first_result;
        }
        match self.follow(ask, *second, &Authorization::NONE).await {
            Ok(answer) => {
                if !matches!(first_result, Err(Trouble::Unreachable { .. })) {
                    self.shared.meter.forget(ask.class);
                }
                host.settle_scheme(*second);
                Ok(answer)
            }
            Err(_) => {
                if first_result.is_ok() {
                    host.settle_scheme(*first);
                }
                first_result
            }
        }
    }

    /// Takes a challenge in, and tells which scope it names. The request that was answered with it counts as one about
    /// who we are.
    async fn meet(&self, ask: &Ask<'_>, answer: Answer) -> Result<Option<String>, Trouble> {
        self.shared.meter.reclassify(ask.class, Class::Auth);
        let challenge = Challenge::read(answer.headers())?;
        let known = ask.host.greeting();
        match challenge {
            Challenge::Basic => {
                if known == Greeting::Basic {
                    let says = match self.credential(ask.host).await? {
                        Some(_) => format!("it does not accept the credentials ({})", said(answer).await),
                        None => "it wants credentials, and there are none for it".to_owned(),
                    };
                    return Err(Trouble::CredentialsRefused { says });
                }
                answer.discard().await;
                ask.host.settle_greeting(Greeting::Basic);
                Ok(None)
            }
            Challenge::Bearer { realm, service, scope } => {
                answer.discard().await;
                auth::realm(&realm, ask.host.spoken())?;
                ask.host.settle_greeting(Greeting::Bearer { realm, service });
                Ok(scope)
            }
        }
    }

    /// Sends a request with the credentials that the registry wants. After a challenge that followed a token, the token
    /// is fetched anew, for exactly what the request needs.
    async fn send_as_known(&self, ask: &mut Ask<'_>, challenged: Option<Option<String>>) -> Result<Answer, Trouble> {
        let authorization = self.authorization(ask, challenged).await?;
        let scheme = ask.host.spoken();
        let answer = self.follow(ask, scheme, &authorization).await?;
        if answer.status() == StatusCode::UNAUTHORIZED
            && let Some(token) = &authorization.token
        {
            ask.host.drop_token(token);
        }
        Ok(answer)
    }

    async fn authorization(&self, ask: &Ask<'_>, challenged: Option<Option<String>>) -> Result<Authorization, Trouble> {
        match ask.host.greeting() {
            Greeting::Unknown | Greeting::Open => Ok(Authorization::NONE),
            Greeting::Basic => match self.credential(ask.host).await? {
                Some(Credential::Login { username, password }) => {
                    let header = auth::basic(username, password);
                    let encoded = header.expose_secret().trim_start_matches("Basic ").into();
                    Ok(Authorization {
                        secrets: vec![encoded, password.clone()],
                        header: Some(header),
                        token: None,
                        anonymous: false,
                    })
                }
                Some(Credential::Identity(_) | Credential::Token(_)) => Err(Trouble::CredentialsRefused {
                    says: "it wants a name and a password, and there is only a token for it".to_owned(),
                }),
                None => Ok(Authorization::NONE),
            },
            Greeting::Bearer { realm, service } => {
                let token = self.token(ask, &realm, service.as_deref(), challenged).await?;
                Ok(Authorization {
                    header: Some(auth::bearer(&token.secret)),
                    secrets: vec![token.secret.clone()],
                    token: Some(token),
                    anonymous: self.credential(ask.host).await?.is_none(),
                })
            }
        }
    }

    /// The credential for a registry, looked up once.
    async fn credential<'h>(&self, host: &'h Host) -> Result<Option<&'h Credential>, Trouble> {
        let find = || async {
            self.shared.credentials.find(&host.name).await.map_err(|why| Trouble::CredentialsUnreadable { why })
        };
        Ok(host.credential.get_or_try_init(find).await?.as_ref())
    }

    /// A token for a request: one that is there, or a new one. Who comes while one is fetched waits for it.
    async fn token(
        &self,
        ask: &Ask<'_>,
        realm: &Url,
        service: Option<&str>,
        challenged: Option<Option<String>>,
    ) -> Result<Arc<Token>, Trouble> {
        let host = ask.host;
        if let Some(Credential::Token(secret)) = self.credential(host).await? {
            return Ok(Arc::new(Token::lasting(secret.clone())));
        }
        if let Some(token) = host.token(&ask.needs) {
            return Ok(token);
        }
        let _alone = host.fetching.lock().await;
        if let Some(token) = host.token(&ask.needs) {
            return Ok(token);
        }
        let (scopes, extra) = match challenged {
            Some(scope) => (&ask.needs, scope),
            None => (&ask.wants, None),
        };
        let token = Arc::new(self.fetch_token(host, realm, service, scopes, extra).await?);
        host.keep_token(scopes.clone(), &token);
        Ok(token)
    }

    async fn fetch_token(
        &self,
        host: &Arc<Host>,
        realm: &Url,
        service: Option<&str>,
        scopes: &Scopes,
        extra: Option<String>,
    ) -> Result<Token, Trouble> {
        let mut names: Vec<String> = scopes.names().collect();
        if let Some(extra) = extra
            && !names.contains(&extra)
            && !names.iter().any(|name| extra == name.replace("pull,push", "push,pull"))
        {
            names.push(extra);
        }
        let route = self.route(host, host.spoken(), realm).await?;
        let credential = self.credential(host).await?;
        let mut secrets = Vec::new();
        let request = match credential {
            Some(Credential::Identity(secret)) => {
                secrets.push(secret.clone());
                let mut form = url::form_urlencoded::Serializer::new(String::new());
                form.append_pair("grant_type", "refresh_token")
                    .append_pair("client_id", "tidegate")
                    .append_pair("scope", &names.join(" "))
                    .append_pair("refresh_token", secret.expose_secret());
                if let Some(service) = service {
                    form.append_pair("service", service);
                }
                let mut request = reqwest::Request::new(Method::POST, realm.clone());
                let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
                request.headers_mut().insert(http::header::CONTENT_TYPE, form_type);
                let form = form.finish();
                self.shared.meter.sent(form.len());
                *request.body_mut() = Some(form.into());
                request
            }
            _ => {
                let mut url = realm.clone();
                {
                    let mut query = url.query_pairs_mut();
                    if let Some(service) = service {
                        query.append_pair("service", service);
                    }
                    for name in &names {
                        query.append_pair("scope", name);
                    }
                }
                let mut request = reqwest::Request::new(Method::GET, url);
                if let Some(Credential::Login { username, password }) = credential {
                    let header = auth::basic(username, password);
                    secrets.push(header.expose_secret().trim_start_matches("Basic ").into());
                    secrets.push(password.clone());
                    request.headers_mut().insert(AUTHORIZATION, secret_header(&header)?);
                }
                request
            }
        };
        let sent = Instant::now();
        let response = self.shoot(Class::Auth, self.shared.clients.get(route, false)?, request).await?;
        let anonymous = credential.is_none();
        let answer = Answer {
            url: realm.clone(),
            host: Arc::clone(host),
            meter: Arc::clone(&self.shared.meter),
            asked: Asked { write: scopes.write(), anonymous, elsewhere: false },
            sent,
            secrets,
            response,
        };
        match answer.status() {
            StatusCode::OK => match answer.document(TOKEN_LIMIT).await {
                Ok(document) => Token::read(&document, sent),
                Err(Trouble::TooLarge { .. }) => {
                    Err(Trouble::Nonsense { why: "the token server's answer is too long for a token".to_owned() })
                }
                Err(trouble) => Err(trouble),
            },
            StatusCode::UNAUTHORIZED if !anonymous => Err(Trouble::CredentialsRefused {
                says: format!("its token server does not accept the credentials ({})", said(answer).await),
            }),
            status if status.is_redirection() => {
                answer.discard().await;
                Err(Trouble::Nonsense { why: format!("the token server {} redirects", auth::shown(realm)) })
            }
            _ => Err(match answer.trouble().await {
                Trouble::Absent { says } | Trouble::Refused { says } => {
                    Trouble::Nonsense { why: format!("the token server {} answers {says}", auth::shown(realm)) }
                }
                other => other,
            }),
        }
    }

    /// Sends a request and follows its redirects. The credentials go to the registry's own origin only.
    async fn follow(
        &self,
        ask: &mut Ask<'_>,
        scheme: Scheme,
        authorization: &Authorization,
    ) -> Result<Answer, Trouble> {
        let host = ask.host;
        let home = host.url(scheme, "")?;
        let mut url = match &ask.target {
            Target::Path(path) => host.url(scheme, path)?,
            Target::Url(url) => url.clone(),
        };
        let mut redirects = 0;
        loop {
            let at_home = same_origin(&url, &home);
            let mut request = reqwest::Request::new(ask.method.clone(), url.clone());
            *request.headers_mut() = ask.headers.clone();
            if at_home && let Some(header) = &authorization.header {
                request.headers_mut().insert(AUTHORIZATION, secret_header(header)?);
            }
            let progress = self.load(ask, &mut request)?;
            let route = if at_home { home_route(host.trust) } else { self.route(host, scheme, &url).await? };
            let client = self.shared.clients.get(route, progress.is_some())?;
            let sent = Instant::now();
            let response = match progress {
                None => self.shoot(ask.class, client, request).await?,
                Some(progress) => tokio::select! {
                    response = self.shoot(ask.class, client, request) => response?,
                    trouble = progress.stalled() => return Err(trouble),
                },
            };
            let answer = Answer {
                host: Arc::clone(host),
                meter: Arc::clone(&self.shared.meter),
                asked: Asked { write: ask.writes(), anonymous: authorization.anonymous, elsewhere: !at_home },
                sent,
                secrets: authorization.secrets.clone(),
                response,
                url,
            };
            if !may_be_throttled(answer.status()) {
                host.limiter.answered();
            }
            if !(ask.follow && !ask.writes() && is_redirect(answer.status())) {
                return Ok(answer);
            }
            redirects += 1;
            if redirects > MAX_REDIRECTS {
                return Err(Trouble::Nonsense { why: format!("more than {MAX_REDIRECTS} redirects in a row") });
            }
            let next = answer.header(LOCATION).ok_or_else(|| Trouble::Nonsense {
                why: format!("a redirect ({}) without Location", answer.status().as_u16()),
            })?;
            url = self.safe(host, scheme, join(&answer.url, next)?).await?;
            answer.discard().await;
        }
    }

    /// Puts a request's payload in. A stream can be taken once.
    fn load(&self, ask: &mut Ask<'_>, request: &mut reqwest::Request) -> Result<Option<Arc<Progress>>, Trouble> {
        match &mut ask.payload {
            Payload::Nothing => {
                if ask.writes() {
                    // Some servers want to be told that there is nothing.
                    request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
                }
                Ok(None)
            }
            Payload::Bytes(bytes) => {
                self.shared.meter.sent(bytes.len());
                *request.body_mut() = Some(bytes.clone().into());
                Ok(None)
            }
            Payload::Stream { body, length, progress } => {
                let spent = reqwest::Body::from(Bytes::new());
                request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(*length));
                *request.body_mut() = Some(std::mem::replace(body, spent));
                Ok(Some(Arc::clone(progress)))
            }
        }
    }

    /// The one place where requests to registries and their token servers are sent, and counted.
    async fn shoot(
        &self,
        class: Class,
        client: &reqwest::Client,
        request: reqwest::Request,
    ) -> Result<reqwest::Response, Trouble> {
        tracing::trace!(class = class.name(), method = %request.method(), url = %auth::shown(request.url()), "request");
        self.shared.meter.count(class);
        let answer = execute(client, request).await.map_err(|error| {
            if error.is_connect() {
                self.shared.meter.forget(class);
            }
            network_trouble(&error)
        })?;
        tracing::trace!(status = answer.status().as_u16(), "answer");
        Ok(answer)
    }

    /// Where an answer says that something is, if it says so, and if it is safe to go there.
    pub(super) async fn location(&self, host: &Host, answer: &Answer) -> Result<Option<Url>, Trouble> {
        match answer.header(LOCATION) {
            Some(text) => self.named(host, answer, text).await.map(Some),
            None => Ok(None),
        }
    }

    /// An address, relative or absolute, that an answer names, if it is safe to go there.
    pub(super) async fn named(&self, host: &Host, answer: &Answer, text: &str) -> Result<Url, Trouble> {
        self.safe(host, host.spoken(), join(&answer.url, text)?).await
    }

    /// An address that a registry named, if it is safe to go to: over TLS unless the registry itself is not; not to a
    /// private address unless the registry itself is at one; never to this link's own addresses. The same host over
    /// plain HTTP, as proxies in front of registries write it, is taken for the same host over TLS.
    async fn safe(&self, host: &Host, scheme: Scheme, mut url: Url) -> Result<Url, Trouble> {
        let refused = |url: &Url, why: &str| Err(Trouble::UnsafeTarget { why: format!("{} {why}", auth::shown(url)) });
        let home = host.url(scheme, "")?;
        if !url.username().is_empty() || url.password().is_some() {
            return refused(&url, "holds credentials");
        }
        if same_origin(&url, &home) {
            return Ok(url);
        }
        match (url.scheme(), scheme) {
            ("https", _) | ("http", Scheme::Http) => {}
            ("http", Scheme::Https)
                if url.host() == home.host() && url.port().is_none_or(|port| Some(port) == home.port()) =>
            {
                let port = home.port();
                if url.set_scheme("https").is_err() || url.set_port(port).is_err() {
                    return refused(&url, "is not https");
                }
                return Ok(url);
            }
            _ => return refused(&url, "is not https"),
        }
        let listed =
            self.shared.private_hosts.contains(&authority(&url)) || self.shared.insecure.contains(&authority(&url));
        match place(&url) {
            _ if listed => Ok(url),
            Place::LinkLocal => refused(&url, "is of this link only"),
            Place::Private if !host.is_private().await => refused(&url, "is private"),
            _ => Ok(url),
        }
    }

    /// The kind of connection to an address that is not the registry's own.
    async fn route(&self, host: &Host, scheme: Scheme, url: &Url) -> Result<Route, Trouble> {
        if same_origin(url, &host.url(scheme, "")?) {
            return Ok(home_route(host.trust));
        }
        let url = self.safe(host, scheme, url.clone()).await?;
        let authority = authority(&url);
        Ok(if is_loopback(&authority) {
            Route::Direct
        } else if self.shared.insecure.contains(&authority) {
            Route::Lenient
        } else if self.shared.private_hosts.contains(&authority) || host.is_private().await {
            Route::Verified
        } else {
            Route::Guarded
        })
    }
}

/// An address, relative or absolute, that was named by another.
fn join(base: &Url, text: &str) -> Result<Url, Trouble> {
    base.join(text).map_err(|_| Trouble::Nonsense { why: "it names an address that is none".to_owned() })
}

const fn home_route(trust: Trust) -> Route {
    match trust {
        Trust::Public => Route::Verified,
        Trust::Loopback => Route::Direct,
        Trust::Insecure => Route::Lenient,
    }
}

/// Whether an answer may be one that asks us to slow down.
fn may_be_throttled(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::FORBIDDEN) || status.is_server_error()
}

const fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Whether an answer over plain HTTP is that of a TLS port: what Go and nginx answer there, a 400 without a registry's
/// headers.
fn is_tls_port(answer: &Answer) -> bool {
    answer.status() == StatusCode::BAD_REQUEST && answer.header(API_VERSION).is_none()
}

/// What a server says in a refusal, short.
async fn said(answer: Answer) -> String {
    let status = answer.status().as_u16();
    match answer.trouble().await {
        Trouble::Denied { says, .. } | Trouble::PushDenied { says, .. } => says,
        _ => status.to_string(),
    }
}

/// A header that is kept out of every log.
fn secret_header(secret: &SecretString) -> Result<HeaderValue, Trouble> {
    let mut value = HeaderValue::from_str(secret.expose_secret()).map_err(|_| Trouble::CredentialsRefused {
        says: "the credentials hold a character that cannot be sent".to_owned(),
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// What a failure of the network is.
pub(super) fn network_trouble(error: &reqwest::Error) -> Trouble {
    if let Some(refused) = find_cause::<PrivateAddress>(error) {
        return Trouble::UnsafeTarget { why: refused.to_string() };
    }
    if let Some(why) = find_cause::<rustls::Error>(error) {
        if let rustls::Error::InvalidCertificate(why) = why {
            return Trouble::Untrusted { why: why.to_string() };
        }
        if error.is_connect() {
            return Trouble::Unreachable { why: format!("no TLS connection: {why}") };
        }
    }
    let why = root_cause(error);
    if error.is_connect() {
        Trouble::Unreachable { why }
    } else if error.is_timeout() {
        Trouble::Unreachable { why: format!("no answer within {} s", READ_TIMEOUT.as_secs()) }
    } else {
        Trouble::Broken { why }
    }
}

/// The innermost reason of an error, in words.
fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// The first reason of a kind; an I/O error may hold one that is not its source.
fn find_cause<'e, T: std::error::Error + 'static>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e T> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        if let Some(inner) = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref)
            && let Some(found) = find_cause::<T>(inner)
        {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// The body of an upload: what `parts` yields, counted, and watched.
pub(super) fn counted_body(
    registries: &Registries,
    parts: impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static,
    progress: &Arc<Progress>,
) -> reqwest::Body {
    let meter = Arc::clone(&registries.shared.meter);
    let progress = Arc::clone(progress);
    reqwest::Body::wrap_stream(parts.inspect(move |part| {
        if let Ok(part) = part {
            meter.sent(part.len());
            progress.moved();
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::*;

    async fn allowed(from: &str, scheme: Scheme, to: &str) -> Result<String, Trouble> {
        let options = Options {
            insecure: vec!["insecure.lan:5000".to_owned()],
            private_hosts: vec!["10.9.9.9".to_owned()],
            ..Options::default()
        };
        let client = Registries::new(options);
        let host = Host::new(from, &client.shared.insecure);
        client.safe(&host, scheme, Url::parse(to).unwrap()).await.map(|url| url.to_string())
    }

    #[tokio::test]
    async fn a_registry_on_the_internet_leads_to_the_internet_only() {
        // An address, so that no name has to be resolved.
        let public = "140.82.112.33";
        for to in [
            "https://storage.test/blob?signature=x",
            "https://8.8.8.8/x",
            "https://140.82.112.33/v2/x",
            "https://10.9.9.9/listed",
            "https://insecure.lan:5000/listed",
        ] {
            assert_eq!(allowed(public, Scheme::Https, to).await.as_deref(), Ok(to));
        }
        for to in [
            "http://storage.test/x",
            "https://10.0.0.1/x",
            "https://127.0.0.1/x",
            "https://localhost:5000/x",
            "https://[::1]/x",
            "https://169.254.169.254/latest/meta-data/",
            "https://metadata.google.internal/x",
            "https://user:word@storage.test/x",
            "http://140.82.112.33:8080/v2/x",
            "ftp://storage.test/x",
        ] {
            let refused = allowed(public, Scheme::Https, to).await;
            assert!(matches!(refused, Err(Trouble::UnsafeTarget { .. })), "{to} {refused:?}");
        }
        // What a proxy in front of a registry writes that does not know of its TLS.
        let same = allowed(public, Scheme::Https, "http://140.82.112.33/v2/x?y=z").await;
        assert_eq!(same.as_deref(), Ok("https://140.82.112.33/v2/x?y=z"));
        let same = allowed("10.1.1.1:8443", Scheme::Https, "http://10.1.1.1/v2/x").await;
        assert_eq!(same.as_deref(), Ok("https://10.1.1.1:8443/v2/x"));
    }

    #[tokio::test]
    async fn a_private_registry_may_lead_to_private_storage_but_not_to_this_link() {
        for (from, scheme) in [("10.1.1.1", Scheme::Https), ("127.0.0.1:5000", Scheme::Http)] {
            assert!(allowed(from, scheme, "https://10.0.0.1/x").await.is_ok(), "{from}");
            assert!(allowed(from, scheme, "https://169.254.169.254/x").await.is_err(), "{from}");
        }
        assert!(allowed("127.0.0.1:5000", Scheme::Http, "http://127.0.0.1:5001/x").await.is_ok());
        assert!(allowed("10.1.1.1", Scheme::Https, "http://10.0.0.1/x").await.is_err());
    }

    #[tokio::test]
    async fn each_place_is_reached_in_its_own_way() {
        let client = Registries::new(Options { insecure: vec!["insecure.lan".to_owned()], ..Options::default() });
        let route = |from: &str, scheme, to: &str| {
            let (client, host) = (client.clone(), Host::new(from, &client.shared.insecure));
            let to = Url::parse(to).unwrap();
            async move { client.route(&host, scheme, &to).await.ok() }
        };
        let public = "140.82.112.33";
        for (from, scheme, to, wanted) in [
            (public, Scheme::Https, "https://140.82.112.33/v2/", Some(Route::Verified)),
            (public, Scheme::Https, "https://storage.test/", Some(Route::Guarded)),
            (public, Scheme::Https, "https://insecure.lan/", Some(Route::Lenient)),
            (public, Scheme::Https, "https://10.0.0.1/", None),
            ("10.1.1.1", Scheme::Https, "https://storage.lan/", Some(Route::Verified)),
            ("127.0.0.1:1", Scheme::Http, "http://127.0.0.1:1/v2/", Some(Route::Direct)),
            ("127.0.0.1:1", Scheme::Http, "http://127.0.0.1:2/", Some(Route::Direct)),
            ("insecure.lan", Scheme::Http, "http://insecure.lan/v2/", Some(Route::Lenient)),
        ] {
            assert_eq!(route(from, scheme, to).await, wanted, "{from} {to}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_is_given_up_when_nothing_moves() {
        let progress = Arc::new(Progress::new());
        let moving = async {
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_secs(50)).await;
                progress.moved();
            }
            progress.completed();
            Instant::now()
        };
        let (completed, stalled) = tokio::join!(moving, async {
            let trouble = progress.stalled().await;
            (Instant::now(), trouble)
        });
        // It took more than eight minutes, and then as long as an answer may take.
        assert_eq!(stalled.0 - completed, COMMIT_TIMEOUT);
        assert!(matches!(stalled.1, Trouble::Broken { .. }));
    }
}
