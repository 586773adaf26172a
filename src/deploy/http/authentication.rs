//! Who we are to a deployment API.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Request};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use super::super::Kit;
use super::client::{root_cause, shown};
use crate::config::{Authentication, ClientAuthentication, OAuth, SecretReader};
use crate::github::id_token;
use crate::http as stack;
use crate::promotion::fault::{Code, Fault};
use crate::promotion::retry::{RetryClass, RetryPolicy};
use crate::promotion::untrusted::line;

/// How many attempts more than others a token endpoint gets: one that is down for a minute stops no deployment.
const MORE_ATTEMPTS: u32 = 4;

/// How long before its end a token is no longer used.
const MARGIN: Duration = Duration::from_secs(30);

/// How long a token is kept whose end nobody has told.
const UNTOLD: Duration = Duration::from_secs(300);

/// How long one request for a token may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The most that is read of an answer with a token.
const BODY: usize = 256 * 1024;

/// Knows who we are, and keeps the token as long as it lasts.
pub(super) struct Authenticator {
    kind: Option<Authentication>,
    http: reqwest::Client,
    secrets: SecretReader,
    retry: RetryPolicy,
    token: Mutex<Option<Token>>,
}

struct Token {
    authorization: HeaderValue,
    until: Instant,
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authenticator")
    }
}

#[derive(Deserialize)]
struct TokenModel {
    access_token: Option<String>,
    token_type: Option<String>,
    expires_in: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct ErrorModel {
    error: String,
    error_description: Option<String>,
}

impl Authenticator {
    pub(super) fn new(kind: Option<Authentication>, http: reqwest::Client, kit: &Kit) -> Self {
        let retry = RetryPolicy { attempts: kit.retry.attempts + MORE_ATTEMPTS, ..kit.retry };
        Self { kind, http, secrets: kit.secrets.clone(), retry, token: Mutex::default() }
    }

    /// Whether all that is needed for it is there.
    ///
    /// # Errors
    /// A secret that is not set; a job that may not have GitHub's token.
    pub(super) fn check(&self) -> Result<(), Fault> {
        match &self.kind {
            None => {}
            Some(Authentication::Bearer(secret)) => {
                bearer(self.secrets.resolve(secret)?.expose_secret())?;
            }
            Some(Authentication::Basic(basic)) => {
                self.secrets.resolve(&basic.user)?;
                self.secrets.resolve(&basic.password)?;
            }
            Some(Authentication::Oauth(oauth)) => {
                self.token_request(oauth)?;
            }
            Some(Authentication::GithubOidc(_)) => {
                id_token::source(&self.secrets)?;
            }
        }
        Ok(())
    }

    /// The header that says who we are; none where nobody asks.
    ///
    /// # Errors
    /// A secret that is not set, a token that cannot be had.
    pub(super) async fn authorization(&self) -> Result<Option<HeaderValue>, Fault> {
        match &self.kind {
            None => Ok(None),
            Some(Authentication::Bearer(secret)) => bearer(self.secrets.resolve(secret)?.expose_secret()).map(Some),
            Some(Authentication::Basic(basic)) => {
                let (user, password) = (self.secrets.resolve(&basic.user)?, self.secrets.resolve(&basic.password)?);
                self.basic(user.expose_secret(), password.expose_secret()).map(Some)
            }
            Some(Authentication::Oauth(oauth)) => self.kept(self.ask_for_token(oauth)).await.map(Some),
            Some(Authentication::GithubOidc(audience)) => self.kept(self.ask_github(audience)).await.map(Some),
        }
    }

    /// Forgets the token; whether there is one that can be had anew.
    pub(super) async fn forget(&self) -> bool {
        self.token.lock().await.take().is_some()
    }

    /// The token as long as it lasts, else a new one. Others wait meanwhile, so that nobody asks twice.
    async fn kept(&self, ask: impl Future<Output = Result<Token, Fault>>) -> Result<HeaderValue, Fault> {
        let mut kept = self.token.lock().await;
        if let Some(token) = kept.as_ref().filter(|token| Instant::now() < token.until) {
            return Ok(token.authorization.clone());
        }
        let token = ask.await?;
        let authorization = token.authorization.clone();
        *kept = Some(token);
        Ok(authorization)
    }

    async fn ask_github(&self, audience: &str) -> Result<Token, Fault> {
        let (url, token) = id_token::source(&self.secrets)?;
        let token = id_token::ask(&self.http, &url, &token, audience).await?;
        self.secrets.hide(token.expose_secret());
        // GitHub's tokens live for five minutes (GitHub docs, "OpenID Connect reference").
        let until = Instant::now() + UNTOLD - MARGIN;
        Ok(Token { authorization: bearer(token.expose_secret())?, until })
    }

    async fn ask_for_token(&self, oauth: &OAuth) -> Result<Token, Fault> {
        let mut tried = Vec::new();
        let mut attempt = 1;
        loop {
            let (fault, class) = match self.token_once(oauth).await {
                Ok(token) => return Ok(token),
                Err(failed) => *failed,
            };
            let Some(wait) = self.retry.wait(attempt, class, rand::random()) else {
                return Err(tried.into_iter().fold(fault, Fault::after_trying));
            };
            tried.push(format!("attempt {attempt}: {}", fault.message));
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }

    /// Asks for a token once (RFC 6749, section 4.4).
    async fn token_once(&self, oauth: &OAuth) -> Result<Token, Box<(Fault, RetryClass)>> {
        let last = |fault: Fault| Box::new((fault, RetryClass::Final));
        let passing = |fault: Fault, after| Box::new((fault, RetryClass::Passing { after }));
        let request = self.token_request(oauth).map_err(last)?;
        let at = shown(request.url());
        let sent = async {
            let answer = stack::execute(&self.http, request).await.map_err(|error| {
                let text = format!("the token endpoint {at}: {}", root_cause(&error));
                passing(Fault::new(Code::DriverUnreachable, text), None)
            })?;
            let (status, after) = (answer.status(), stack::retry_after::asked(answer.headers()));
            let body = stack::body(answer, BODY).await.map_err(|error| {
                passing(Fault::new(Code::DriverUnreachable, format!("the token endpoint {at}: {error}")), None)
            })?;
            if status.is_success() {
                return self.read_token(&at, &body).map_err(last);
            }
            let says = match serde_json::from_slice::<ErrorModel>(&body) {
                Ok(error) => match error.error_description {
                    Some(description) => format!("{} ({description})", error.error),
                    None => error.error,
                },
                Err(_) => String::from_utf8_lossy(&body).into_owned(),
            };
            let text = format!("the token endpoint {at} answers {}: {}", status.as_u16(), line(&says, 300));
            let text = self.secrets.redact(&text);
            if status.is_server_error() || status.as_u16() == 429 {
                return Err(passing(Fault::new(Code::DriverFailed, text), after));
            }
            let fix = "check `client-id` and `client-secret`, and whether the secret is expected in the header or in the body (`client-authentication`)";
            Err(last(Fault::new(Code::DriverRefused, text).with_fix(fix)))
        };
        tokio::time::timeout(TIMEOUT, sent).await.unwrap_or_else(|_| {
            let text =
                format!("the token endpoint {at} does not answer within {}", humantime::format_duration(TIMEOUT));
            Err(passing(Fault::new(Code::DriverUnreachable, text), None))
        })
    }

    fn token_request(&self, oauth: &OAuth) -> Result<Request, Fault> {
        let none = serde_json::Map::new();
        let unusable = |why: String| Fault::new(Code::ConfigurationInvalid, format!("`oauth.token-url` {why}"));
        let url = oauth.token_url.render(&none).map_err(|error| unusable(error.to_string()))?;
        let url: Url = url.parse().map_err(|error| unusable(format!("is no address: {error}")))?;
        let id = self.secrets.resolve(&oauth.client_id)?;
        let secret = self.secrets.resolve(&oauth.client_secret)?;
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        if !oauth.scopes.is_empty() {
            form.append_pair("scope", &oauth.scopes.join(" "));
        }
        if let Some(audience) = &oauth.audience {
            form.append_pair("audience", audience);
        }
        let mut request = Request::new(Method::POST, url);
        match oauth.client_authentication {
            ClientAuthentication::Header => {
                // Both are form-encoded before they are joined (RFC 6749, section 2.3.1).
                let (id, secret) = (form_encoded(&id), form_encoded(&secret));
                request.headers_mut().insert(AUTHORIZATION, self.basic(&id, &secret)?);
            }
            ClientAuthentication::Body => {
                form.append_pair("client_id", id.expose_secret());
                form.append_pair("client_secret", secret.expose_secret());
            }
        }
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        *request.body_mut() = Some(form.finish().into());
        Ok(request)
    }

    fn read_token(&self, at: &str, body: &[u8]) -> Result<Token, Fault> {
        let nonsense = |why: &str| {
            Fault::new(Code::DriverNonsense, format!("the token endpoint {at} answers {why}"))
                .with_fix("check `oauth.token-url`, and that no login page answers in its place")
        };
        let model: TokenModel = serde_json::from_slice(body).map_err(|_| nonsense("no JSON with a token"))?;
        let token = model.access_token.filter(|token| !token.is_empty()).ok_or_else(|| nonsense("without a token"))?;
        if model.token_type.is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
            return Err(nonsense("a token that is no bearer token"));
        }
        self.secrets.hide(&token);
        // Some write the number as text.
        let told = model.expires_in.and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()));
        let lasts = told.map_or(UNTOLD, |seconds| Duration::from_secs(seconds.min(7 * 24 * 3600)));
        let until = Instant::now() + lasts.saturating_sub(MARGIN.min(lasts / 2));
        Ok(Token { authorization: bearer(&token)?, until })
    }

    fn basic(&self, user: &str, password: &str) -> Result<HeaderValue, Fault> {
        let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        self.secrets.hide(&encoded);
        sensitive(&format!("Basic {encoded}"))
    }
}

fn form_encoded(text: &SecretString) -> String {
    url::form_urlencoded::byte_serialize(text.expose_secret().as_bytes()).collect()
}

fn bearer(token: &str) -> Result<HeaderValue, Fault> {
    sensitive(&format!("Bearer {}", token.trim()))
}

fn sensitive(text: &str) -> Result<HeaderValue, Fault> {
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        Fault::new(Code::ConfigurationInvalid, "a credential under `deploy.http` holds what no header can hold")
            .with_fix("check the secret for line breaks and control characters")
    })?;
    value.set_sensitive(true);
    Ok(value)
}
