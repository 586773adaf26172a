//! How a request reaches a registry: one attempt, with its turn, its credentials and its redirects.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderValue, LOCATION};
use tokio::time::Instant;

use super::Registries;
use super::address::{Scheme, same_origin};
use super::answer::Answer;
use super::ask::{Ask, Payload, Target};
use super::auth::shown;
use super::class::Class;
use super::clients::network_trouble;
use super::error::{Asked, Trouble};
use super::host::Greeting;
use super::login::{Authorization, secret_header};
use super::progress::Progress;
use super::targets::{home_route, join};
use crate::http::execute;

/// The redirects that are followed one after another.
const MAX_REDIRECTS: usize = 5;

/// A header by which a registry shows that it is one.
const API_VERSION: &str = "docker-distribution-api-version";

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
    pub(super) async fn shoot(
        &self,
        class: Class,
        client: &reqwest::Client,
        request: reqwest::Request,
    ) -> Result<reqwest::Response, Trouble> {
        tracing::trace!(class = class.name(), method = %request.method(), url = %shown(request.url()), "request");
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
