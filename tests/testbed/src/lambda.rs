//! AWS Lambda's API as far as deployments use it, with what other stand-ins get wrong: revisions that are held to, updates
//! that take their time, versions that keep their code, routing that is checked, and answers of invocations.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::response::IntoResponse as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::fault::{Fault, Rule};
use crate::front::Front;
use crate::log::Entry;
use crate::server::Server;

/// The access key's id that is let in.
pub const KEY: &str = "AKIDEXAMPLE";

/// The job's token, for which roles are handed out.
const TOKEN: &str = "the.jobs.token";

/// Code of a function.
#[derive(Debug, Clone, Default)]
struct Code {
    checksum: String,
    image: Option<String>,
    zip: Option<Vec<u8>>,
}

#[derive(Debug, Clone)]
struct Alias {
    version: String,
    weights: BTreeMap<String, f64>,
    revision: u64,
}

#[derive(Debug, Clone, Default)]
struct Function {
    latest: Code,
    revision: u64,
    versions: Vec<Code>,
    aliases: BTreeMap<String, Alias>,
    /// How many looks until the update is there.
    pending: u32,
    failed: bool,
}

#[derive(Default)]
struct World {
    functions: BTreeMap<String, Function>,
    /// How many looks each update takes.
    slow: u32,
    /// Checksums of code that fails when it is invoked.
    broken: Vec<String>,
    /// The same of one function only.
    broken_in: Vec<(String, String)>,
    invoked: Vec<(String, Value)>,
    roles: Vec<String>,
    answer: Value,
    weights: Vec<(String, f64)>,
    url: String,
}

/// A running stand-in; it stops when this is dropped.
pub struct Lambda {
    front: Front,
    server: Server,
    world: Arc<Mutex<World>>,
}

impl Lambda {
    /// Starts it, without functions.
    #[must_use]
    pub fn start() -> Self {
        let (front, world) = (Front::new(), Arc::<Mutex<World>>::default());
        let server = Server::start(None, {
            let (front, world) = (front.clone(), Arc::clone(&world));
            move |request| {
                let (front, world) = (front.clone(), Arc::clone(&world));
                async move {
                    front
                        .handle(request, Duration::ZERO, |request| async move { Ok(answer(request, &world).await) })
                        .await
                }
            }
        });
        let lambda = Self { front, server, world };
        lambda.world().url = lambda.url();
        lambda.world().answer = json!({ "ok": true });
        lambda
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", self.server.scheme(), self.server.address())
    }

    /// Makes a function with the code of an image.
    pub fn image_function(&self, name: &str, image: &str) {
        self.world().functions.insert(name.to_owned(), Function { latest: of_image(image), ..Function::default() });
    }

    /// Makes a function with a package.
    pub fn zip_function(&self, name: &str, zip: &[u8]) {
        self.world().functions.insert(name.to_owned(), Function { latest: of_zip(zip), ..Function::default() });
    }

    /// Each update takes so many looks from now on.
    pub fn takes(&self, looks: u32) {
        self.world().slow = looks;
    }

    /// Code of this image fails when it is invoked.
    pub fn break_image(&self, image: &str) {
        self.world().broken.push(of_image(image).checksum);
    }

    /// This package fails when it is invoked.
    pub fn break_zip(&self, zip: &[u8]) {
        self.world().broken.push(of_zip(zip).checksum);
    }

    /// This package fails when it is invoked as this function.
    pub fn break_zip_of(&self, function: &str, zip: &[u8]) {
        self.world().broken_in.push((function.to_owned(), of_zip(zip).checksum));
    }

    /// The package that an alias is.
    #[must_use]
    pub fn package(&self, function: &str, alias: &str) -> Option<Vec<u8>> {
        let world = self.world();
        world.functions.get(function)?.aliases.get(alias)?;
        world.code(function, Some(alias))?.zip.clone()
    }

    /// Every invocation: the function, and what it was given.
    #[must_use]
    pub fn invoked(&self) -> Vec<(String, Value)> {
        self.world().invoked.clone()
    }

    /// The roles that were taken on, in order.
    #[must_use]
    pub fn roles(&self) -> Vec<String> {
        self.world().roles.clone()
    }

    /// What invocations answer.
    pub fn answers(&self, answer: Value) {
        self.world().answer = answer;
    }

    /// The version that an alias is.
    #[must_use]
    pub fn alias(&self, function: &str, alias: &str) -> Option<String> {
        Some(self.world().functions.get(function)?.aliases.get(alias)?.version.clone())
    }

    /// The image of the latest code.
    #[must_use]
    pub fn image(&self, function: &str) -> Option<String> {
        self.world().functions.get(function)?.latest.image.clone()
    }

    /// How many versions are published.
    #[must_use]
    pub fn versions(&self, function: &str) -> usize {
        self.world().functions.get(function).map_or(0, |function| function.versions.len())
    }

    /// The shares of traffic that aliases have given to new versions, in their order.
    #[must_use]
    pub fn shares(&self) -> Vec<(String, f64)> {
        self.world().weights.clone()
    }

    /// Somebody else changes the function.
    pub fn meddle(&self, function: &str) {
        if let Some(function) = self.world().functions.get_mut(function) {
            function.revision += 1;
            for alias in function.aliases.values_mut() {
                alias.revision += 1;
            }
        }
    }

    /// All requests so far.
    #[must_use]
    pub fn log(&self) -> Vec<Entry> {
        self.front.log.entries()
    }

    /// Makes requests go wrong as the rule says.
    pub fn fault(&self, rule: Rule) -> Fault {
        self.front.rules.add(rule)
    }

    fn world(&self) -> MutexGuard<'_, World> {
        locked(&self.world)
    }
}

fn locked(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

fn of_image(image: &str) -> Code {
    let checksum = image.rsplit("sha256:").next().unwrap_or_default().to_owned();
    Code { checksum, image: Some(image.to_owned()), zip: None }
}

fn of_zip(zip: &[u8]) -> Code {
    Code { checksum: STANDARD.encode(Sha256::digest(zip)), image: None, zip: Some(zip.to_vec()) }
}

fn said(status: u16, body: Value) -> Response<Body> {
    (StatusCode::from_u16(status).expect("a status"), axum::Json(body)).into_response()
}

fn error(status: u16, kind: &str, message: &str) -> Response<Body> {
    let mut response = said(status, json!({ "Type": "User", "message": message }));
    let value = http::HeaderValue::from_str(kind).expect("a kind of error");
    response.headers_mut().insert("x-amzn-errortype", value);
    response
}

async fn answer(request: Request<Body>, world: &Mutex<World>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let path = parts.uri.path().to_owned();
    if let Some(name) = path.strip_prefix("/packages/") {
        let zip = locked(world).functions.get(name).and_then(|function| function.latest.zip.clone());
        return zip.map_or_else(|| StatusCode::NOT_FOUND.into_response(), axum::response::IntoResponse::into_response);
    }
    if path == "/id-token" {
        return axum::Json(json!({ "value": TOKEN })).into_response();
    }
    if parts.method == Method::POST && path == "/" {
        return take_on(&mut locked(world), &bytes);
    }
    let signature = parts.headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let good = signature.starts_with(&format!("AWS4-HMAC-SHA256 Credential={KEY}/"))
        && signature.contains("/lambda/aws4_request")
        && signature.contains("SignedHeaders=")
        && signature.contains("Signature=");
    if !good {
        return error(403, "UnrecognizedClientException", "The security token included in the request is invalid.");
    }
    let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let query: BTreeMap<String, String> =
        url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let segments: Vec<&str> = path.trim_start_matches("/2015-03-31/functions/").split('/').collect();
    let mut world = locked(world);
    let Some(name) = segments.first().filter(|name| world.functions.contains_key(**name)) else {
        return error(
            404,
            "ResourceNotFoundException",
            &format!("Function not found: {}", segments.first().unwrap_or(&"")),
        );
    };
    let name = (*name).to_owned();
    world.call(&parts.method, &name, &segments[1..], query.get("Qualifier").map(String::as_str), &body)
}

/// STS's `AssumeRoleWithWebIdentity`, for whoever shows the token that is handed out here.
fn take_on(world: &mut World, form: &[u8]) -> Response<Body> {
    let fields: BTreeMap<String, String> = url::form_urlencoded::parse(form).into_owned().collect();
    let field = |name: &str| fields.get(name).map_or("", String::as_str);
    if field("Action") != "AssumeRoleWithWebIdentity" || field("WebIdentityToken") != TOKEN {
        let text = "<ErrorResponse><Error><Message>Not authorized</Message></Error></ErrorResponse>";
        return (StatusCode::FORBIDDEN, text).into_response();
    }
    world.roles.push(field("RoleArn").to_owned());
    format!(
        "<AssumeRoleWithWebIdentityResponse><Credentials><AccessKeyId>{KEY}</AccessKeyId><SecretAccessKey>a-secret-key\
         </SecretAccessKey><SessionToken>a-session</SessionToken></Credentials></AssumeRoleWithWebIdentityResponse>"
    )
    .into_response()
}

impl World {
    fn call(
        &mut self,
        method: &Method,
        name: &str,
        rest: &[&str],
        qualifier: Option<&str>,
        body: &Value,
    ) -> Response<Body> {
        match (method.as_str(), rest) {
            ("GET", []) => self.get(name, qualifier),
            ("GET", ["versions"]) => {
                let function = &self.functions[name];
                let all = function.versions.iter().enumerate();
                let all: Vec<Value> = all
                    .map(|(place, code)| json!({ "Version": (place + 1).to_string(), "CodeSha256": code.checksum }))
                    .collect();
                said(200, json!({ "Versions": all }))
            }
            ("PUT", ["code"]) => self.update(name, body),
            ("POST", ["versions"]) => self.publish(name, body),
            ("POST", ["aliases"]) => {
                let alias = body["Name"].as_str().unwrap_or_default().to_owned();
                self.route(name, &alias, body, true)
            }
            ("GET", ["aliases", alias]) => match self.functions[name].aliases.get(*alias) {
                Some(known) => said(200, told(known)),
                None => error(404, "ResourceNotFoundException", "Cannot find alias"),
            },
            ("PUT", ["aliases", alias]) => self.route(name, alias, body, false),
            ("POST", ["invocations"]) => {
                self.invoked.push((name.to_owned(), body.clone()));
                self.invoke(name, qualifier)
            }
            _ => error(404, "ResourceNotFoundException", "no such call"),
        }
    }

    fn code<'w>(&'w self, name: &str, qualifier: Option<&str>) -> Option<&'w Code> {
        let function = &self.functions[name];
        match qualifier {
            None | Some("$LATEST") => Some(&function.latest),
            Some(alias) if function.aliases.contains_key(alias) => {
                function.versions.get(function.aliases[alias].version.parse::<usize>().ok()?.checked_sub(1)?)
            }
            Some(version) => function.versions.get(version.parse::<usize>().ok()?.checked_sub(1)?),
        }
    }

    fn get(&mut self, name: &str, qualifier: Option<&str>) -> Response<Body> {
        let Some(code) = self.code(name, qualifier).cloned() else {
            return error(404, "ResourceNotFoundException", "Function version not found");
        };
        let location = code.zip.as_ref().map(|_| format!("{}/packages/{name}", self.url));
        let Some(function) = self.functions.get_mut(name) else { return StatusCode::NOT_FOUND.into_response() };
        let update = match (function.failed, function.pending) {
            (true, _) => "Failed",
            (false, 0) => "Successful",
            _ => "InProgress",
        };
        function.pending = function.pending.saturating_sub(1);
        said(
            200,
            json!({
                "Configuration": {
                    "FunctionName": name, "Version": qualifier.unwrap_or("$LATEST"), "CodeSha256": code.checksum,
                    "RevisionId": format!("r{}", function.revision), "State": "Active", "LastUpdateStatus": update,
                },
                "Code": { "ImageUri": code.image, "ResolvedImageUri": code.image, "Location": location },
            }),
        )
    }

    fn update(&mut self, name: &str, body: &Value) -> Response<Body> {
        let slow = self.slow;
        let Some(function) = self.functions.get_mut(name) else { return StatusCode::NOT_FOUND.into_response() };
        if function.pending > 0 {
            return error(409, "ResourceConflictException", "An update is in progress for resource");
        }
        if body["RevisionId"].as_str().is_some_and(|revision| revision != format!("r{}", function.revision)) {
            return error(
                412,
                "PreconditionFailedException",
                "The RevisionId provided does not match the latest RevisionId.",
            );
        }
        function.latest = match (body["ImageUri"].as_str(), body["ZipFile"].as_str()) {
            (Some(image), _) => of_image(image),
            (None, Some(zip)) => of_zip(&STANDARD.decode(zip).unwrap_or_default()),
            (None, None) => of_zip(body["S3Key"].as_str().unwrap_or_default().as_bytes()),
        };
        function.revision += 1;
        function.pending = slow;
        said(200, json!({ "CodeSha256": function.latest.checksum, "LastUpdateStatus": "InProgress" }))
    }

    fn publish(&mut self, name: &str, body: &Value) -> Response<Body> {
        let Some(function) = self.functions.get_mut(name) else { return StatusCode::NOT_FOUND.into_response() };
        if function.pending > 0 {
            return error(409, "ResourceConflictException", "An update is in progress for resource");
        }
        if body["CodeSha256"].as_str().is_some_and(|wanted| wanted != function.latest.checksum) {
            return error(400, "InvalidParameterValueException", "CodeSHA256 is different from current CodeSHA256");
        }
        // Without a change the version that is there is given.
        if function.versions.last().is_none_or(|last| last.checksum != function.latest.checksum) {
            function.versions.push(function.latest.clone());
        }
        let version = function.versions.len().to_string();
        said(201, json!({ "Version": version, "CodeSha256": function.latest.checksum, "State": "Active" }))
    }

    fn route(&mut self, name: &str, alias: &str, body: &Value, new: bool) -> Response<Body> {
        let Some(function) = self.functions.get_mut(name) else { return StatusCode::NOT_FOUND.into_response() };
        let known = function.aliases.get(alias).cloned();
        match (&known, new) {
            (Some(_), true) => return error(409, "ResourceConflictException", "Alias already exists"),
            (None, false) => return error(404, "ResourceNotFoundException", "Cannot find alias"),
            _ => {}
        }
        let revision = known.as_ref().map_or(0, |known| known.revision);
        if body["RevisionId"].as_str().is_some_and(|wanted| wanted != format!("r{revision}")) {
            return error(
                412,
                "PreconditionFailedException",
                "The RevisionId provided does not match the latest RevisionId.",
            );
        }
        let exists = |version: &str| {
            version.parse::<usize>().is_ok_and(|number| (1..=function.versions.len()).contains(&number))
        };
        let version = body["FunctionVersion"].as_str().unwrap_or_default().to_owned();
        let weights: BTreeMap<String, f64> = body["RoutingConfig"]["AdditionalVersionWeights"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(version, weight)| (version.clone(), weight.as_f64().unwrap_or(-1.0)))
            .collect();
        let bad =
            weights.iter().any(|(other, weight)| !exists(other) || *other == version || !(0.0..=1.0).contains(weight));
        if !exists(&version) || bad || weights.len() > 1 {
            return error(400, "InvalidParameterValueException", "the routing is not valid");
        }
        self.weights.extend(weights.clone());
        let now = Alias { version, weights, revision: revision + 1 };
        let answer = told(&now);
        function.aliases.insert(alias.to_owned(), now);
        said(if new { 201 } else { 200 }, answer)
    }

    fn invoke(&mut self, name: &str, qualifier: Option<&str>) -> Response<Body> {
        let Some(code) = self.code(name, qualifier) else {
            return error(404, "ResourceNotFoundException", "Function version not found");
        };
        let broken_here =
            self.broken_in.iter().any(|(function, code_of)| function == name && *code_of == code.checksum);
        if broken_here || self.broken.contains(&code.checksum) {
            let mut response = said(200, json!({ "errorType": "Error", "errorMessage": "it broke" }));
            response.headers_mut().insert("x-amz-function-error", http::HeaderValue::from_static("Unhandled"));
            return response;
        }
        said(200, self.answer.clone())
    }
}

fn told(alias: &Alias) -> Value {
    json!({
        "FunctionVersion": alias.version, "RevisionId": format!("r{}", alias.revision),
        "RoutingConfig": { "AdditionalVersionWeights": alias.weights },
    })
}
