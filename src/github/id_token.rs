//! The OpenID Connect token of the job: who GitHub says we are, to somebody outside of GitHub (GitHub docs, "OpenID
//! Connect reference"). The runner gives the address and the key to ask with, where the job has `id-token: write`.

use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use reqwest::{Client, Method, Request};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::Url;

use crate::config::SecretReader;
use crate::http as stack;
use crate::promotion::fault::{Code, Fault};
use crate::promotion::untrusted::line;

/// How often it is asked.
const ATTEMPTS: u32 = 4;

/// The wait before it is asked again; twice as long each time.
const WAIT: Duration = Duration::from_millis(500);

/// The most that is read of the answer.
const BODY: usize = 64 * 1024;

#[derive(Deserialize)]
struct Model {
    value: String,
}

/// Where the job's token is had, and with what.
///
/// # Errors
/// The job may not have one.
pub fn source(secrets: &SecretReader) -> Result<(Url, SecretString), Fault> {
    let absent = || {
        Fault::new(Code::TokenLacksPermission, "the job has no OpenID Connect token to give")
            .with_fix("add `id-token: write` under `permissions:` of the job")
    };
    let url = secrets.plain("ACTIONS_ID_TOKEN_REQUEST_URL").ok_or_else(absent)?;
    let token = secrets.variable("ACTIONS_ID_TOKEN_REQUEST_TOKEN").ok_or_else(absent)?;
    Ok((url.parse().map_err(|_| absent())?, token))
}

/// Asks for the job's token for an audience.
///
/// # Errors
/// GitHub does not give one.
pub async fn ask(http: &Client, url: &Url, token: &SecretString, audience: &str) -> Result<SecretString, Fault> {
    let mut url = url.clone();
    url.query_pairs_mut().append_pair("audience", audience);
    let mut attempt = 1;
    loop {
        match once(http, &url, token).await {
            Ok(token) => return Ok(token),
            Err((fault, true)) if attempt < ATTEMPTS => {
                tracing::debug!(%fault, attempt, "asking for the job's token again");
                tokio::time::sleep(WAIT * 2u32.pow(attempt)).await;
                attempt += 1;
            }
            Err((fault, _)) => return Err(fault),
        }
    }
}

/// Asks once; with what failed, whether it may pass.
async fn once(http: &Client, url: &Url, token: &SecretString) -> Result<SecretString, (Fault, bool)> {
    let said = |code, why: &str| Fault::new(code, format!("GitHub gives no OpenID Connect token: {why}"));
    let mut request = Request::new(Method::GET, url.clone());
    let mut bearer = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()))
        .map_err(|_| (said(Code::TokenLacksPermission, "the key to ask with is not usable"), false))?;
    bearer.set_sensitive(true);
    request.headers_mut().insert(AUTHORIZATION, bearer);
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json; api-version=2.0"));
    *request.timeout_mut() = Some(Duration::from_secs(30));
    let answer = stack::execute(http, request)
        .await
        .map_err(|error| (said(Code::GithubUnreachable, &error.to_string()), true))?;
    let status = answer.status();
    if !status.is_success() {
        let says = String::from_utf8_lossy(&stack::excerpt(answer, 1000).await).into_owned();
        let why = format!("it answers {}: {}", status.as_u16(), line(&says, 200));
        let code = if status.is_server_error() { Code::GithubFailed } else { Code::TokenLacksPermission };
        return Err((said(code, &why), status.is_server_error() || status.as_u16() == 429));
    }
    let body =
        stack::body(answer, BODY).await.map_err(|error| (said(Code::GithubUnreachable, &error.to_string()), true))?;
    let model: Model =
        serde_json::from_slice(&body).map_err(|_| (said(Code::GithubNonsense, "the answer has none"), false))?;
    Ok(model.value.into())
}
