//! GitHub's description of its API, cut down to what is used, and made strict.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::installed;

/// The operations that are used.
pub(super) const OPERATIONS: [&str; 38] = [
    "GET /orgs/{org}/teams/{team_slug}/members",
    "GET /orgs/{org}/teams/{team_slug}/memberships/{username}",
    "GET /repos/{owner}/{repo}",
    "GET /repos/{owner}/{repo}/actions/runs",
    "GET /repos/{owner}/{repo}/actions/runs/{run_id}",
    "GET /repos/{owner}/{repo}/actions/runs/{run_id}/approvals",
    "GET /repos/{owner}/{repo}/actions/runs/{run_id}/attempts/{attempt_number}/jobs",
    "GET /repos/{owner}/{repo}/actions/runs/{run_id}/jobs",
    "GET /repos/{owner}/{repo}/actions/runs/{run_id}/pending_deployments",
    "GET /repos/{owner}/{repo}/actions/workflows/{workflow_id}/runs",
    "GET /repos/{owner}/{repo}/attestations/{subject_digest}",
    "GET /repos/{owner}/{repo}/branches/{branch}",
    "GET /repos/{owner}/{repo}/check-runs/{check_run_id}",
    "GET /repos/{owner}/{repo}/commits/{commit_sha}/pulls",
    "GET /repos/{owner}/{repo}/commits/{ref}",
    "GET /repos/{owner}/{repo}/commits/{ref}/check-runs",
    "GET /repos/{owner}/{repo}/commits/{ref}/status",
    "GET /repos/{owner}/{repo}/compare/{basehead}",
    "GET /repos/{owner}/{repo}/deployments",
    "GET /repos/{owner}/{repo}/deployments/{deployment_id}/statuses",
    "GET /repos/{owner}/{repo}/environments/{environment_name}",
    "GET /repos/{owner}/{repo}/environments/{environment_name}/deployment-branch-policies",
    "GET /repos/{owner}/{repo}/environments/{environment_name}/deployment_protection_rules",
    "GET /repos/{owner}/{repo}/issues",
    "GET /repos/{owner}/{repo}/issues/{issue_number}",
    "GET /repos/{owner}/{repo}/issues/{issue_number}/comments",
    "GET /repos/{owner}/{repo}/rules/branches/{branch}",
    "GET /user",
    "PATCH /repos/{owner}/{repo}/issues/{issue_number}",
    "POST /orgs/{org}/artifacts/metadata/deployment-record",
    "POST /repos/{owner}/{repo}/actions/runs/{run_id}/cancel",
    "POST /repos/{owner}/{repo}/actions/workflows/{workflow_id}/dispatches",
    "POST /repos/{owner}/{repo}/deployments",
    "POST /repos/{owner}/{repo}/deployments/{deployment_id}/statuses",
    "POST /repos/{owner}/{repo}/dispatches",
    "POST /repos/{owner}/{repo}/issues",
    "POST /repos/{owner}/{repo}/issues/{issue_number}/comments",
    "POST /repos/{owner}/{repo}/statuses/{sha}",
];

/// An operation with the names that its query may hold.
pub(super) struct Operation {
    method: String,
    segments: Vec<String>,
    pub(super) names: BTreeSet<String>,
}

impl Operation {
    /// Whether a request is one of these.
    pub(super) fn matches(&self, method: &str, segments: &[&str]) -> bool {
        let fits = |(own, other): (&String, &&str)| own.starts_with('{') || own == other;
        self.method == method && self.segments.len() == segments.len() && self.segments.iter().zip(segments).all(fits)
    }
}

/// The whole description.
pub(super) fn published() -> Value {
    let text = std::fs::read(installed("api.github.com.json")).expect("the description can be read");
    serde_json::from_slice(&text).expect("the description is JSON")
}

/// The description, cut down to what is used, and made strict.
pub(super) fn cut(published: &Value) -> Value {
    let mut paths = Map::new();
    for operation in OPERATIONS {
        let (method, path) = operation.split_once(' ').expect("an operation is a method and a path");
        let method = method.to_ascii_lowercase();
        let mut found = published["paths"][path][&method].clone();
        assert!(found.is_object(), "{operation} is not in the description");
        // The examples are half of the description.
        without_examples(&mut found);
        if let Some(contents) = found.pointer_mut("/requestBody/content").and_then(Value::as_object_mut) {
            for content in contents.values_mut() {
                forbid_unknown_fields(&mut content["schema"]);
            }
        }
        paths.entry(path).or_insert_with(|| json!({}))[method] = found;
    }
    let mut components = json!({});
    let mut open = vec![Value::Object(paths.clone())];
    while let Some(part) = open.pop() {
        for reference in references(&part) {
            let mut names = reference.rsplit('/');
            let (name, kind) = (names.next().unwrap_or_default(), names.next().unwrap_or_default());
            if components[kind][name].is_null() {
                let mut component = published["components"][kind][name].clone();
                without_examples(&mut component);
                open.push(component.clone());
                components[kind][name] = component;
            }
        }
    }
    let mut whole = json!({"openapi": published["openapi"], "info": published["info"], "paths": paths});
    whole["components"] = components;
    make_null_explicit(&mut whole);
    whole
}

fn references(part: &Value) -> Vec<String> {
    match part {
        Value::Object(fields) => {
            let own = fields.get("$ref").and_then(Value::as_str).map(str::to_owned);
            own.into_iter().chain(fields.values().flat_map(references)).collect()
        }
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

fn without_examples(part: &mut Value) {
    match part {
        Value::Object(fields) => {
            fields.remove("examples");
            fields.values_mut().for_each(without_examples);
        }
        Value::Array(items) => items.iter_mut().for_each(without_examples),
        _ => {}
    }
}

/// Forbids fields that a request's schema does not name, also inside of it.
fn forbid_unknown_fields(schema: &mut Value) {
    if let Some(fields) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        fields.values_mut().for_each(forbid_unknown_fields);
        if schema.get("additionalProperties").is_none() {
            schema["additionalProperties"] = json!(false);
        }
    }
    for name in ["oneOf", "anyOf"] {
        if let Some(choices) = schema.get_mut(name).and_then(Value::as_array_mut) {
            choices.iter_mut().for_each(forbid_unknown_fields);
        }
    }
    if let Some(items) = schema.get_mut("items") {
        forbid_unknown_fields(items);
    }
}

/// Writes `nullable` out where there is no `type`: prism's validator refuses such a schema, says so to nobody, and then
/// lets everything pass.
fn make_null_explicit(part: &mut Value) {
    match part {
        Value::Object(fields) => {
            fields.values_mut().for_each(make_null_explicit);
            if fields.get("nullable") == Some(&json!(true)) && !fields.contains_key("type") {
                fields.remove("nullable");
                let rest = Value::Object(std::mem::take(fields));
                fields.insert("anyOf".to_owned(), json!([rest, {"enum": [null]}]));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(make_null_explicit),
        _ => {}
    }
}

/// The operations with the names that their queries may hold.
pub(super) fn operations(description: &Value) -> Vec<Operation> {
    let operation = |text: &&str| {
        let (method, path) = text.split_once(' ').expect("an operation is a method and a path");
        let parameters = &description["paths"][path][method.to_ascii_lowercase()]["parameters"];
        let resolve = |parameter: &Value| match parameter["$ref"].as_str() {
            Some(reference) => description.pointer(&reference[1..]).cloned().unwrap_or_default(),
            None => parameter.clone(),
        };
        let of_query = parameters.as_array().into_iter().flatten().map(resolve).filter(|one| one["in"] == "query");
        let names = of_query.filter_map(|one| one["name"].as_str().map(str::to_owned)).collect();
        let segments = path.split('/').map(str::to_owned).collect();
        Operation { method: method.to_owned(), segments, names }
    };
    OPERATIONS.iter().map(operation).collect()
}
