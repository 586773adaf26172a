//! The calls of Lambda's API (AWS Lambda API Reference, 2015-03-31): signed, repeated where that is safe, bounded.

use std::time::{Duration, SystemTime};

use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use reqwest::{Client, Method, Request};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::Url;

use super::Access;
use super::credentials::{self, Credentials};
use super::error::AwsError;
use super::model::{Alias, CodeModel, ConfigurationModel, Function, FunctionModel, Invoked, VersionsModel};
use crate::http as stack;
use crate::promotion::fault::{Code, Fault};
use crate::promotion::retry::{RetryClass, RetryPolicy};
use crate::promotion::untrusted::line;

/// The version of the API, as its paths begin.
const API: &str = "2015-03-31";

/// How long one request may take; an invocation may run as long.
const TIMEOUT: Duration = Duration::from_secs(120);

/// The most that is read of an answer (an invocation answers at most 6 MB).
const BODY: usize = 8 * 1024 * 1024;

/// The most that is read of a package.
const PACKAGE: usize = 256 * 1024 * 1024;

/// How many pages of versions are read, of 50 each.
const PAGES: usize = 200;

/// Lambda's API in one region.
pub struct Lambda {
    client: Client,
    base: Url,
    region: String,
    credentials: Credentials,
    retry: RetryPolicy,
}

struct Answer {
    error: Option<String>,
    body: Bytes,
}

impl Lambda {
    /// # Errors
    /// No region, an address that is none.
    pub fn new(access: &Access<'_>) -> Result<Self, Fault> {
        let own = |name: &str| access.secrets.plain(name);
        let region =
            access.region.map(ToOwned::to_owned).or_else(|| own("AWS_REGION")).or_else(|| own("AWS_DEFAULT_REGION"));
        let region = region.ok_or_else(|| {
            Fault::new(Code::ConfigurationInvalid, format!("`{}` has no region", access.section))
                .with_fix("add `region`, or give the step `AWS_REGION` under `env:`")
        })?;
        let invalid = |why: String| {
            Fault::new(Code::ConfigurationInvalid, format!("the `endpoint` of `{}` {why}", access.section))
        };
        let endpoint = access.endpoint.map(|template| {
            let text = template.render(serde_json::Map::new()).map_err(|error| invalid(error.to_string()))?;
            text.parse::<Url>().map_err(|error| invalid(format!("is no address: {error}")))
        });
        let endpoint = endpoint.transpose()?;
        let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        let base = match &endpoint {
            Some(url) => url.clone(),
            None => format!("https://lambda.{region}.{suffix}").parse().map_err(|error| invalid(format!("{error}")))?,
        };
        let client = stack::builder().build().map_err(|error| invalid(error.to_string()))?;
        let sts = match endpoint {
            Some(url) => url,
            None => format!("https://sts.{region}.{suffix}").parse().map_err(|error| invalid(format!("{error}")))?,
        };
        let credentials = Credentials::new(access, client.clone(), sts);
        Ok(Self { client, base, region, credentials, retry: access.retry })
    }

    /// Whether we can say who we are.
    ///
    /// # Errors
    /// Something that is needed for it is not set.
    pub fn check(&self) -> Result<(), Fault> {
        self.credentials.check()
    }

    fn url(&self, path: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.base.clone();
        // A base without a host is refused by the configuration.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push(API).push("functions").extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    /// A function, or one of its versions.
    ///
    /// # Errors
    /// What AWS says, or that it says nothing.
    pub async fn function(&self, name: &str, version: Option<&str>) -> Result<Function, AwsError> {
        let query: Vec<(&str, &str)> = version.map(|version| ("Qualifier", version)).into_iter().collect();
        let model: FunctionModel = self.ask(Method::GET, self.url(&[name], &query), None).await?;
        let CodeModel { image_uri, resolved_image_uri, location } = model.code;
        Ok(Function { image: image_uri, resolved: resolved_image_uri, location, ..model.configuration.into() })
    }

    /// All published versions, the oldest first.
    ///
    /// # Errors
    /// What AWS says, or that it says nothing.
    pub async fn versions(&self, name: &str) -> Result<Vec<Function>, AwsError> {
        let mut all = Vec::new();
        let mut marker: Option<String> = None;
        for _ in 0..PAGES {
            let query: Vec<(&str, &str)> = marker.iter().map(|marker| ("Marker", marker.as_str())).collect();
            let page: VersionsModel = self.ask(Method::GET, self.url(&[name, "versions"], &query), None).await?;
            let published = page.versions.into_iter().map(Function::from);
            all.extend(published.filter(|one| one.version.as_deref() != Some("$LATEST")));
            match page.next_marker {
                Some(next) => marker = Some(next),
                None => break,
            }
        }
        Ok(all)
    }

    /// Gives the function other code.
    ///
    /// # Errors
    /// What AWS says, or that it says nothing.
    pub async fn update_code(&self, name: &str, code: Value, revision: Option<&str>) -> Result<(), AwsError> {
        let mut body = code;
        if let Some(revision) = revision {
            body["RevisionId"] = revision.into();
        }
        let _: Value = self.ask(Method::PUT, self.url(&[name, "code"], &[]), Some(&body)).await?;
        Ok(())
    }

    /// Publishes the code as it is, if it is this. Without a change AWS gives the version that is there.
    ///
    /// # Errors
    /// What AWS says, or that it says nothing.
    pub async fn publish(&self, name: &str, checksum: &str, text: &str) -> Result<String, AwsError> {
        let body = json!({ "CodeSha256": checksum, "Description": text });
        let model: ConfigurationModel = self.ask(Method::POST, self.url(&[name, "versions"], &[]), Some(&body)).await?;
        model.version.ok_or_else(|| AwsError::Nonsense("a version was published, and has no number".to_owned()))
    }

    /// An alias; none where there is none.
    ///
    /// # Errors
    /// What AWS says, or that it says nothing.
    pub async fn alias(&self, name: &str, alias: &str) -> Result<Option<Alias>, AwsError> {
        match self.ask(Method::GET, self.url(&[name, "aliases", alias], &[]), None).await {
            Ok(alias) => Ok(Some(alias)),
            // A function that is not there is not there either; it is asked for by itself.
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes an alias.
    ///
    /// # Errors
    /// What AWS says, or that it says nothing.
    pub async fn create_alias(&self, name: &str, alias: &str, version: &str) -> Result<(), AwsError> {
        let body = json!({ "Name": alias, "FunctionVersion": version });
        let _: Value = self.ask(Method::POST, self.url(&[name, "aliases"], &[]), Some(&body)).await?;
        Ok(())
    }

    /// Moves an alias, and shares its traffic by these weights.
    ///
    /// # Errors
    /// What AWS says, or that it says nothing.
    pub async fn update_alias(
        &self,
        name: &str,
        alias: &str,
        version: &str,
        weights: Value,
        revision: Option<&str>,
    ) -> Result<Alias, AwsError> {
        let mut body = json!({ "FunctionVersion": version, "RoutingConfig": { "AdditionalVersionWeights": weights } });
        if let Some(revision) = revision {
            body["RevisionId"] = revision.into();
        }
        self.ask(Method::PUT, self.url(&[name, "aliases", alias], &[]), Some(&body)).await
    }

    /// Invokes a function, or one of its versions or aliases, and waits for what it gives.
    ///
    /// # Errors
    /// What AWS says, or that it says nothing.
    pub async fn invoke(&self, name: &str, version: Option<&str>, payload: &Value) -> Result<Invoked, AwsError> {
        let query: Vec<(&str, &str)> = version.map(|version| ("Qualifier", version)).into_iter().collect();
        // It may do something: what has perhaps begun is not begun again.
        let url = self.url(&[name, "invocations"], &query);
        let answer = self.send(Method::POST, url, Some(payload), Again::UnlessBegun).await?;
        let body = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        Ok(Invoked { error: answer.error, body })
    }

    /// The package of a function, from where AWS says that it is.
    ///
    /// # Errors
    /// What AWS says, or that it says nothing.
    pub async fn download(&self, function: &Function) -> Result<Bytes, AwsError> {
        let nowhere = || AwsError::Nonsense("it is not said where the function's package is".to_owned());
        let url: Url = function.location.as_deref().and_then(|url| url.parse().ok()).ok_or_else(nowhere)?;
        let away = |why: String| AwsError::Away { why: format!("its package: {why}"), tried: Vec::new() };
        let answer = stack::execute(&self.client, Request::new(Method::GET, url)).await;
        let answer = answer.map_err(|error| away(error.to_string()))?;
        if !answer.status().is_success() {
            return Err(away(format!("it is answered {}", answer.status().as_u16())));
        }
        stack::body(answer, PACKAGE).await.map_err(|error| away(error.to_string()))
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, url: Url, body: Option<&Value>) -> Result<T, AwsError> {
        let answer = self.send(method, url, body, Again::Always).await?;
        serde_json::from_slice(&answer.body).map_err(|error| {
            let beginning = String::from_utf8_lossy(&answer.body[..answer.body.len().min(300)]).into_owned();
            AwsError::Nonsense(format!("the answer is not its API's ({error}): {}", line(&beginning, 200)))
        })
    }

    /// Sends until it is answered. Every change names the revision that it is about, or comes to the same when it is
    /// repeated; so it may be.
    async fn send(&self, method: Method, url: Url, body: Option<&Value>, again: Again) -> Result<Answer, AwsError> {
        let mut tried = Vec::new();
        let mut attempt = 1;
        loop {
            let (why, after) = match self.once(&method, &url, body).await {
                Ok(answer) => return Ok(answer),
                Err(Passing::No(error)) => return Err(error),
                Err(Passing::Yes { why, begun: true, .. }) if again == Again::UnlessBegun => {
                    return Err(AwsError::Away { why, tried });
                }
                Err(Passing::Yes { why, after, .. }) => (why, after),
            };
            let Some(wait) = self.retry.wait(attempt, RetryClass::Passing { after }, rand::random()) else {
                return Err(AwsError::Away { why, tried });
            };
            tried.push(format!("attempt {attempt}: {why}"));
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }

    async fn once(&self, method: &Method, url: &Url, body: Option<&Value>) -> Result<Answer, Passing> {
        let own = |fault: Fault| Passing::No(AwsError::Own(Box::new(fault)));
        let request = self.signed(method, url, body).await.map_err(own)?;
        let passing = |why: String, after| Passing::Yes { why, after, begun: true };
        let sent = async {
            let answer = stack::execute(&self.client, request).await.map_err(|error| Passing::Yes {
                why: error.to_string(),
                after: None,
                begun: !error.is_connect(),
            })?;
            let status = answer.status();
            let header =
                |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned);
            let (error, kind) = (header("x-amz-function-error"), header("x-amzn-errortype"));
            let after = stack::retry_after::asked(answer.headers());
            let body = stack::body(answer, BODY).await.map_err(|error| passing(error.to_string(), None))?;
            if status.is_success() {
                return Ok(Answer { error, body });
            }
            let model: Value = serde_json::from_slice(&body).unwrap_or_default();
            let message = ["message", "Message"].iter().find_map(|name| model.get(name)?.as_str());
            let message = message.map_or_else(|| String::from_utf8_lossy(&body).into_owned(), ToOwned::to_owned);
            let message = line(&message, 300);
            let kind = kind.or_else(|| Some(model.get("__type")?.as_str()?.to_owned())).unwrap_or_default();
            let kind = kind.split([':', '#']).next().unwrap_or_default().to_owned();
            // A conflict is an update that is still under way.
            let passes = status.is_server_error() || status.as_u16() == 429 || kind == "ResourceConflictException";
            if passes {
                let why = format!("{kind} ({}): {message}", status.as_u16());
                return Err(Passing::Yes { why, after, begun: status.is_server_error() });
            }
            Err(Passing::No(AwsError::Refused { status: status.as_u16(), kind, message }))
        };
        tokio::time::timeout(TIMEOUT, sent)
            .await
            .unwrap_or_else(|_| Err(passing(format!("no answer within {}", humantime::format_duration(TIMEOUT)), None)))
    }

    /// A request with its signature (AWS Signature Version 4).
    async fn signed(&self, method: &Method, url: &Url, body: Option<&Value>) -> Result<Request, Fault> {
        let keys = self.credentials.get().await?;
        let unsignable =
            |error: &dyn std::fmt::Display| Fault::defect(format!("a request that cannot be signed: {error}"));
        let bytes: Bytes = body.map(|body| body.to_string().into()).unwrap_or_default();
        let host = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (Some(host), None) => host.to_owned(),
            (None, _) => return Err(unsignable(&"it has no host")),
        };
        let identity = keys.into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(credentials::SERVICE)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| unsignable(&error))?
            .into();
        let headers = [("host", host.as_str()), ("content-type", "application/json")];
        let signable =
            SignableRequest::new(method.as_str(), url.as_str(), headers.into_iter(), SignableBody::Bytes(&bytes))
                .map_err(|error| unsignable(&error))?;
        let (instructions, _) = sign(signable, &parameters).map_err(|error| unsignable(&error))?.into_parts();
        let (signed, _) = instructions.into_parts();
        let mut request = Request::new(method.clone(), url.clone());
        let all = request.headers_mut();
        all.insert(HOST, HeaderValue::from_str(&host).map_err(|error| unsignable(&error))?);
        all.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for header in signed {
            let mut value = HeaderValue::from_str(header.value()).map_err(|error| unsignable(&error))?;
            value.set_sensitive(true);
            all.insert(HeaderName::from_static(header.name()), value);
        }
        *request.body_mut() = Some(bytes.into());
        Ok(request)
    }
}

/// When a request is sent again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    /// Whenever what failed may pass.
    Always,
    /// Only where it is known that nothing has begun.
    UnlessBegun,
}

/// Whether what failed may pass.
enum Passing {
    Yes {
        why: String,
        after: Option<Duration>,
        /// Whether what was asked for may have begun.
        begun: bool,
    },
    No(AwsError),
}
