//! An artifact of the workflow run, by the protocol of `@actions/artifact` 2 and later (actions/toolkit,
//! packages/artifact): what the runner gives an action is enough, no Node is needed.
//!
//! The protocol is not documented, and GitHub Enterprise Server does not have it. So nothing depends on it: where it is
//! not there, or says no, the files are in the workspace, and `actions/upload-artifact` takes them from there.

use std::io::{Cursor, Write as _};
use std::time::Duration;

use ::http::{HeaderValue, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use reqwest::{Client, Method, Request};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;
use zip::write::SimpleFileOptions;

use super::Item;
use crate::http;
use crate::promotion::digest::Digest;
use crate::promotion::fault::{Code, Fault};
use crate::promotion::retry::{RetryClass, RetryPolicy};
use crate::promotion::untrusted::line;

/// The version of the protocol in which an artifact is a zip file.
const VERSION: u32 = 4;

/// The service's methods.
const SERVICE: &str = "/twirp/github.actions.results.api.v1.ArtifactService/";

/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(30);

/// How much of an answer is read.
const ANSWER: usize = 64 << 10;

/// What is not allowed in an artifact's name.
const FORBIDDEN: [char; 11] = ['"', ':', '<', '>', '|', '*', '?', '\r', '\n', '\\', '/'];

/// The service that keeps a workflow run's artifacts.
#[derive(Debug)]
pub struct Artifacts {
    origin: Url,
    token: SecretString,
    /// The ids of the workflow run and its job there.
    ids: (String, String),
    retry: RetryPolicy,
}

impl Artifacts {
    /// The service of this job; none where the runner does not name it, as on GitHub Enterprise Server.
    ///
    /// # Errors
    /// What the runner gives is not what it should be.
    pub fn of(
        token: Option<&str>,
        results: Option<&str>,
        server: &str,
        retry: RetryPolicy,
    ) -> Result<Option<Self>, Fault> {
        let (Some(token), Some(results)) = (token, results) else { return Ok(None) };
        if !has_service(server) {
            return Ok(None);
        }
        let wrong = |why: &str| Fault::new(Code::ArchiveFailed, format!("no artifact can be uploaded: {why}"));
        let mut origin = Url::parse(results).map_err(|_| wrong("ACTIONS_RESULTS_URL is not an address"))?;
        origin.set_path("/");
        origin.set_query(None);
        let ids = ids(token).ok_or_else(|| wrong("ACTIONS_RUNTIME_TOKEN does not name the job"))?;
        Ok(Some(Self { origin, token: SecretString::from(token), ids, retry }))
    }

    /// Uploads files as one artifact. It is kept until `expires`, or for as long as the repository allows.
    ///
    /// # Errors
    /// [`Code::ArchiveFailed`], with what the service says.
    pub async fn upload(&self, name: &str, items: &[Item], expires: DateTime<Utc>) -> Result<String, Fault> {
        let failed =
            |why: String| Fault::new(Code::ArchiveFailed, format!("artifact `{name}` cannot be uploaded: {why}"));
        let client =
            http::builder().timeout(REQUEST).build().map_err(|error| failed(error.without_url().to_string()))?;
        let zip = zipped(items).map_err(|error| failed(error.to_string()))?;
        let name: String = name.chars().map(|c| if FORBIDDEN.contains(&c) { '-' } else { c }).collect();
        let ids =
            json!({ "workflow_run_backend_id": self.ids.0, "workflow_job_run_backend_id": self.ids.1, "name": name });
        let mut create = ids.clone();
        create["version"] = VERSION.into();
        create["expires_at"] = expires.to_rfc3339_opts(chrono::SecondsFormat::Secs, true).into();
        let created: Created = self.ask(&client, "CreateArtifact", &create).await.map_err(&failed)?;
        let place = Url::parse(&created.signed_upload_url).ok().filter(|_| created.ok);
        let place = place.ok_or_else(|| failed("the service gives no place to upload to".to_owned()))?;
        self.put(&client, &place, &zip).await.map_err(&failed)?;
        let mut finalize = ids;
        finalize["size"] = zip.len().to_string().into();
        finalize["hash"] = Digest::sha256(&zip).to_string().into();
        let finalized: Finalized = self.ask(&client, "FinalizeArtifact", &finalize).await.map_err(&failed)?;
        if finalized.ok { Ok(finalized.artifact_id) } else { Err(failed("the service did not finalise it".to_owned())) }
    }

    async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        client: &Client,
        method: &str,
        body: &Value,
    ) -> Result<T, String> {
        let url = self.origin.join(&format!("{SERVICE}{method}")).map_err(|error| error.to_string())?;
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", self.token.expose_secret()))
            .map_err(|_| "the runner's token cannot stand in a header".to_owned())?;
        bearer.set_sensitive(true);
        let answer = self
            .patiently(client, || {
                let mut request = Request::new(Method::POST, url.clone());
                request.headers_mut().insert(header::AUTHORIZATION, bearer.clone());
                request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                *request.body_mut() = Some(body.to_string().into());
                request
            })
            .await?;
        let bytes = http::body(answer, ANSWER).await.map_err(|error| error.to_string())?;
        serde_json::from_slice(&bytes).map_err(|_| format!("the answer to {method} is not one of its kind"))
    }

    async fn put(&self, client: &Client, place: &Url, zip: &Bytes) -> Result<(), String> {
        self.patiently(client, || {
            let mut request = Request::new(Method::PUT, place.clone());
            request.headers_mut().insert("x-ms-blob-type", HeaderValue::from_static("BlockBlob"));
            request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/zip"));
            *request.body_mut() = Some(zip.clone().into());
            request
        })
        .await
        .map(drop)
    }

    async fn patiently(&self, client: &Client, request: impl Fn() -> Request) -> Result<reqwest::Response, String> {
        let mut attempt = 1;
        loop {
            let (why, class) = match http::execute(client, request()).await {
                Ok(answer) if answer.status().is_success() => return Ok(answer),
                Ok(answer) => {
                    let status = answer.status();
                    let after = http::retry_after::asked(answer.headers()).filter(|wait| *wait < REQUEST);
                    let passing = status.is_server_error() || status.as_u16() == 429;
                    let said = String::from_utf8_lossy(&http::excerpt(answer, 1024).await).into_owned();
                    let class = if passing { RetryClass::Passing { after } } else { RetryClass::Final };
                    (format!("the service answers {status}: {}", line(&said, 200)), class)
                }
                Err(error) => (format!("the service cannot be reached: {error}"), RetryClass::Passing { after: None }),
            };
            match self.retry.wait(attempt, class, rand::random()) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Err(why),
            }
            attempt += 1;
        }
    }
}

#[derive(Deserialize)]
struct Created {
    ok: bool,
    #[serde(default)]
    signed_upload_url: String,
}

#[derive(Deserialize)]
struct Finalized {
    ok: bool,
    #[serde(default)]
    artifact_id: String,
}

/// Whether a server has the service: github.com, and GitHub's cloud under names of customers; not Enterprise Server.
fn has_service(server: &str) -> bool {
    let Some(host) = Url::parse(server).ok().and_then(|url| url.host_str().map(str::to_ascii_lowercase)) else {
        return false;
    };
    host == "github.com" || host.ends_with(".ghe.com") || host == "localhost" || host.ends_with(".localhost")
}

/// The ids that the runner's token names in its scope: `Actions.Results:{run}:{job}`. The token is GitHub's, for GitHub:
/// it verifies it.
fn ids(token: &str) -> Option<(String, String)> {
    #[derive(Deserialize)]
    struct Claims {
        scp: String,
    }
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Claims = serde_json::from_slice(&payload).ok()?;
    let scope = claims.scp.split(' ').find_map(|scope| scope.strip_prefix("Actions.Results:"))?;
    let (run, job) = scope.split_once(':')?;
    Some((run.to_owned(), job.to_owned()))
}

fn zipped(items: &[Item]) -> zip::result::ZipResult<Bytes> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    for item in items {
        zip.start_file(item.name.as_str(), options)?;
        zip.write_all(&item.content)?;
    }
    Ok(zip.finish()?.into_inner().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_job_is_named_by_the_token() {
        let token = |scope: &str| {
            let payload = URL_SAFE_NO_PAD.encode(json!({ "scp": scope, "exp": 1 }).to_string());
            format!("e30.{payload}.c2ln")
        };
        let named = ids(&token("Actions.ExampleScope Actions.Results:ce7f54c7:ca395085"));
        assert_eq!(named, Some(("ce7f54c7".to_owned(), "ca395085".to_owned())));
        for bad in [token("Actions.Results:x"), token(""), "a.b.c".to_owned(), String::new()] {
            assert_eq!(ids(&bad), None, "{bad}");
        }
    }

    #[test]
    fn enterprise_server_has_no_such_service() {
        let policy = RetryPolicy::default();
        let none = Artifacts::of(Some("x"), Some("https://results.test/"), "https://github.acme.test", policy);
        assert!(none.unwrap().is_none());
        assert!(Artifacts::of(Some("x"), Some("https://results.test/"), "https://github.com", policy).is_err());
        assert!(Artifacts::of(None, None, "https://github.com", policy).unwrap().is_none());
    }
}
