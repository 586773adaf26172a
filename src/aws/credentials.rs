//! Who we are to AWS: keys of the configuration or of the step's environment, or a role that is taken on with the job's
//! OpenID Connect token.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials as Keys;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Method, Request};
use secrecy::ExposeSecret as _;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use super::Access;
use crate::config::{Credentials as Configured, SecretReader};
use crate::github::id_token;
use crate::http as stack;
use crate::promotion::fault::{Code, Fault};
use crate::promotion::untrusted::line;

/// The name under which requests are signed.
pub(super) const SERVICE: &str = "lambda";

/// For whom the job's token is (GitHub docs, "Configuring OpenID Connect in Amazon Web Services").
const AUDIENCE: &str = "sts.amazonaws.com";

/// How long the keys of a role are used; they live for an hour.
const LASTS: Duration = Duration::from_secs(50 * 60);

/// The most that is read of an answer.
const BODY: usize = 64 * 1024;

/// Knows who we are, and keeps the keys of a role as long as they last.
pub(super) struct Credentials {
    configured: Option<Configured>,
    role: Option<String>,
    secrets: SecretReader,
    client: Client,
    sts: Url,
    kept: Mutex<Option<(Keys, Instant)>>,
}

impl Credentials {
    pub(super) fn new(access: &Access<'_>, client: Client, sts: Url) -> Self {
        Self {
            configured: access.credentials.cloned(),
            role: access.role.map(ToOwned::to_owned),
            secrets: access.secrets.clone(),
            client,
            sts,
            kept: Mutex::default(),
        }
    }

    /// The keys.
    ///
    /// # Errors
    /// They are not set, or AWS does not give those of the role.
    pub(super) async fn get(&self) -> Result<Keys, Fault> {
        if let Some(keys) = self.given()? {
            return Ok(keys);
        }
        if let Some(role) = &self.role {
            let mut kept = self.kept.lock().await;
            if let Some((keys, _)) = kept.as_ref().filter(|(_, until)| Instant::now() < *until) {
                return Ok(keys.clone());
            }
            let keys = self.take_on(role).await?;
            *kept = Some((keys.clone(), Instant::now() + LASTS));
            return Ok(keys);
        }
        Err(Fault::defect("neither keys nor a role"))
    }

    /// Whether all that is needed for it is there.
    ///
    /// # Errors
    /// What is missing.
    pub(super) fn check(&self) -> Result<(), Fault> {
        match self.given()? {
            Some(_) => Ok(()),
            None => id_token::source(&self.secrets).map(|_| ()),
        }
    }

    /// Keys that are given; nothing where a role is taken on.
    fn given(&self) -> Result<Option<Keys>, Fault> {
        if let Some(configured) = &self.configured {
            let resolve = |secret| self.secrets.resolve(secret).map(|value| value.expose_secret().trim().to_owned());
            let session = configured.session_token.as_ref().map(resolve).transpose()?;
            let (id, secret) = (resolve(&configured.access_key_id)?, resolve(&configured.secret_access_key)?);
            return Ok(Some(Keys::new(id, secret, session, None, "configuration")));
        }
        if self.role.is_some() {
            return Ok(None);
        }
        let absent = || {
            Fault::new(Code::DriverRefused, "there are no credentials of AWS").with_fix(
                "give the step `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY` under `env:` (as `aws-actions/configure-aws-credentials` does), or name `role` or `credentials` in the configuration",
            )
        };
        let id = self.secrets.plain("AWS_ACCESS_KEY_ID").ok_or_else(absent)?;
        let secret = self.secrets.variable("AWS_SECRET_ACCESS_KEY").ok_or_else(absent)?;
        let session = self.secrets.variable("AWS_SESSION_TOKEN").map(|token| token.expose_secret().to_owned());
        Ok(Some(Keys::new(id, secret.expose_secret(), session, None, "environment")))
    }

    /// Takes on a role (AWS STS API Reference, `AssumeRoleWithWebIdentity`).
    async fn take_on(&self, role: &str) -> Result<Keys, Fault> {
        let (url, key) = id_token::source(&self.secrets)?;
        let token = id_token::ask(&self.client, &url, &key, AUDIENCE).await?;
        self.secrets.hide(token.expose_secret());
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("Action", "AssumeRoleWithWebIdentity")
            .append_pair("Version", "2011-06-15")
            .append_pair("RoleArn", role)
            .append_pair("RoleSessionName", "tidegate")
            .append_pair("WebIdentityToken", token.expose_secret())
            .finish();
        let mut request = Request::new(Method::POST, self.sts.clone());
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("text/xml"));
        *request.body_mut() = Some(form.into());
        *request.timeout_mut() = Some(Duration::from_secs(30));
        let said = |code, why: &str| Fault::new(code, format!("AWS does not let us take on {role}: {why}"));
        let away = |error: &dyn std::fmt::Display| said(Code::DriverUnreachable, &error.to_string());
        let answer = stack::execute(&self.client, request).await.map_err(|error| away(&error))?;
        let status = answer.status();
        let body = stack::body(answer, BODY).await.map_err(|error| away(&error))?;
        let text = String::from_utf8_lossy(&body).into_owned();
        if !status.is_success() {
            let why = element(&text, "Message").unwrap_or(&text);
            let fault = said(Code::DriverRefused, &format!("{} ({})", line(why, 300), status.as_u16()));
            return Err(fault.with_fix("check the role's trust policy: it must name this repository and environment"));
        }
        let read = |name: &str| element(&text, name).map(ToOwned::to_owned);
        let (Some(id), Some(secret), Some(session)) =
            (read("AccessKeyId"), read("SecretAccessKey"), read("SessionToken"))
        else {
            return Err(said(Code::DriverNonsense, "the answer has no keys"));
        };
        self.secrets.hide(&secret);
        self.secrets.hide(&session);
        Ok(Keys::new(id, secret, Some(session), Some(SystemTime::now() + LASTS), "role"))
    }
}

/// The text of an element of STS's answer, which has each name once.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, after) = xml.split_once(&format!("<{name}>"))?;
    Some(after.split_once(&format!("</{name}>"))?.0.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_sts_is_read() {
        let xml = "<R><Credentials><AccessKeyId>ASIA</AccessKeyId><SessionToken> t/= </SessionToken></Credentials></R>";
        assert_eq!((element(xml, "AccessKeyId"), element(xml, "SessionToken")), (Some("ASIA"), Some("t/=")));
        assert_eq!(element(xml, "SecretAccessKey"), None);
    }
}
