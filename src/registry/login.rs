//! How a request gets its credentials: challenges met, tokens fetched once for all who wait for them.

use std::sync::Arc;

use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Method, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::Instant;
use url::Url;

use super::Registries;
use super::answer::Answer;
use super::ask::Ask;
use super::auth::{self, Challenge, Scopes, Token};
use super::class::Class;
use super::credentials::Credential;
use super::error::{Asked, Trouble};
use super::host::{Greeting, Host};

/// The most that is read of a token server's answer.
const TOKEN_LIMIT: usize = 64 * 1024;

/// The credentials of one request.
pub(super) struct Authorization {
    pub(super) header: Option<SecretString>,
    /// The token in it, where it is one.
    pub(super) token: Option<Arc<Token>>,
    /// What must never come back in a message.
    pub(super) secrets: Vec<SecretString>,
    /// Whether nobody vouches for us; there may be a token all the same.
    pub(super) anonymous: bool,
}

impl Authorization {
    /// None at all.
    pub(super) const NONE: Self = Self { header: None, token: None, secrets: Vec::new(), anonymous: true };
}

impl Registries {
    /// Takes a challenge in, and tells which scope it names. The request that was answered with it counts as one about
    /// who we are.
    pub(super) async fn meet(&self, ask: &Ask<'_>, answer: Answer) -> Result<Option<String>, Trouble> {
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

    /// The credentials for a request, as far as the registry has said what it wants.
    pub(super) async fn authorization(
        &self,
        ask: &Ask<'_>,
        challenged: Option<Option<String>>,
    ) -> Result<Authorization, Trouble> {
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
                request.headers_mut().insert(CONTENT_TYPE, form_type);
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
pub(super) fn secret_header(secret: &SecretString) -> Result<HeaderValue, Trouble> {
    let mut value = HeaderValue::from_str(secret.expose_secret()).map_err(|_| Trouble::CredentialsRefused {
        says: "the credentials hold a character that cannot be sent".to_owned(),
    })?;
    value.set_sensitive(true);
    Ok(value)
}
