//! A token server for the real docker-registry: docker's token flow with signed tokens.
//!
//! It gives JSON Web Tokens (ES256) with the signing certificate in `x5c`, as docker-registry's `auth: token` wants
//! them (distribution, "Token Authentication Implementation"). The in-process registry has a token endpoint of its
//! own, with opaque tokens.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::IntoResponse as _;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{Method, Request, Response, StatusCode};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::authority::{Authority, Certificate};
use crate::fault::{Fault, Rule};
use crate::front::{Caller, Front};
use crate::log::Entry;
use crate::random;
use crate::registry::{Scope, User, basic};
use crate::server::Server;

/// The issuer that the tokens name.
pub(crate) const ISSUER: &str = "testbed token server";
/// The service that the tokens are for.
pub(crate) const SERVICE: &str = "docker-registry";
/// How long tokens are valid. docker-registry accepts them for a minute more.
const LIFETIME: Duration = Duration::from_secs(300);

/// A running token server; it stops when this is dropped.
pub struct TokenServer {
    front: Front,
    server: Server,
    signer: Authority,
}

struct Issuer {
    users: Vec<User>,
    certificate: Certificate,
    key: EcdsaKeyPair,
}

impl TokenServer {
    /// Starts a token server for these users, with TLS when there is an authority.
    pub(crate) fn start(users: Vec<User>, tls: Option<&Authority>) -> Self {
        let signer = Authority::new();
        let certificate = signer.issue();
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, certificate.key_der(), &random)
            .expect("a certificate's key is ECDSA P-256");
        let issuer = Arc::new(Issuer { users, certificate, key });
        let front = Front::new();
        let server = Server::start(tls, {
            let front = front.clone();
            move |request| {
                let (front, issuer) = (front.clone(), Arc::clone(&issuer));
                async move {
                    front.handle(request, Duration::ZERO, |request| async move { Ok(issuer.answer(&request)) }).await
                }
            }
        });
        Self { front, server, signer }
    }

    /// The address of the token endpoint.
    #[must_use]
    pub fn realm(&self) -> String {
        format!("{}://{}/token", self.server.scheme(), self.server.address())
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

    /// Writes the certificate by which the tokens are verified.
    pub(crate) fn write_roots(&self, file: &Path) {
        std::fs::write(file, self.signer.pem()).expect("the token server's certificate is written");
    }
}

impl Issuer {
    fn answer(&self, request: &Request<Body>) -> Response<Body> {
        if request.method() != Method::GET || request.uri().path() != "/token" {
            return StatusCode::METHOD_NOT_ALLOWED.into_response();
        }
        let query: Vec<(String, String)> =
            form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()).into_owned().collect();
        if !query.iter().any(|(name, value)| name == "service" && value == SERVICE) {
            return StatusCode::BAD_REQUEST.into_response();
        }
        let user = basic(request.headers())
            .and_then(|(name, password)| self.users.iter().find(|user| user.name == name && user.password == password));
        let Some(user) = user else {
            let error = json!({"errors": [{"code": "UNAUTHORIZED", "message": "incorrect username or password"}]});
            return (StatusCode::UNAUTHORIZED, axum::Json(error)).into_response();
        };
        let scopes = query.iter().filter(|(name, _)| name == "scope").flat_map(|(_, value)| Scope::parse_all(value));
        let token = self.issue(user, scopes);
        let issued = chrono::Utc::now().to_rfc3339();
        let answer = json!({"token": token, "expires_in": LIFETIME.as_secs(), "issued_at": issued});
        let mut response = axum::Json(answer).into_response();
        response.extensions_mut().insert(Caller(user.name.clone()));
        response
    }

    fn issue(&self, user: &User, scopes: impl Iterator<Item = Scope>) -> String {
        let access: Vec<Value> = scopes
            .map(|scope| {
                let granted: Vec<&String> =
                    scope.actions.iter().filter(|action| user.may(&scope.repository, action)).collect();
                json!({"type": "repository", "name": scope.repository, "actions": granted})
            })
            .collect();
        let now = chrono::Utc::now().timestamp();
        let expires = now + i64::try_from(LIFETIME.as_secs()).unwrap_or(i64::MAX);
        let header = json!({"typ": "JWT", "alg": "ES256", "x5c": [STANDARD.encode(self.certificate.der())]});
        let claims = json!({
            "iss": ISSUER, "sub": user.name, "aud": SERVICE,
            "exp": expires, "nbf": now, "iat": now, "jti": random::hex(8),
            "access": access,
        });
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", encode(&header), encode(&claims));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).expect("the token can be signed");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}
