//! What a SLSA provenance says, held against a policy (<https://slsa.dev/spec/v1.0/provenance>, and 0.2 before).
//!
//! What Fulcio has put into the certificate is believed more than what the builder wrote: where both tell, both have to
//! be what is wanted.

use serde_json::Value;
use sigstore_verify::crypto::FulcioCiClaims;

use super::Proven;
use crate::config::Provenance;

/// Whether a predicate is a provenance.
#[must_use]
pub fn is_provenance(predicate_type: &str) -> bool {
    predicate_type.starts_with("https://slsa.dev/provenance/")
}

/// What a provenance says of where something was built.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Told {
    sources: Vec<String>,
    references: Vec<String>,
    builder: Option<String>,
}

/// Holds a proven provenance against the policy; tells what it says.
///
/// # Errors
/// Why it is not what is wanted.
pub fn judge(proven: &Proven, policy: &Provenance) -> Result<String, String> {
    let Some(statement) = &proven.statement else { return Err("it is no attestation".to_owned()) };
    if !is_provenance(&statement.predicate_type) {
        return Err(format!("it is no provenance (`{}`)", statement.predicate_type));
    }
    let told = told(&statement.predicate, &proven.claims);
    let wanted = plain(&policy.source);
    match told.sources.iter().find(|source| !source.eq_ignore_ascii_case(&wanted)) {
        Some(other) => return Err(format!("it was built from `{other}`")),
        None if told.sources.is_empty() => return Err("it does not say from which repository".to_owned()),
        None => {}
    }
    if let Some(pattern) = &policy.reference {
        match told.references.iter().find(|reference| !pattern.matches(reference)) {
            Some(other) => return Err(format!("it was built from the ref `{other}`")),
            None if told.references.is_empty() => return Err("it does not say from which ref".to_owned()),
            None => {}
        }
    }
    let builder = told.builder.unwrap_or_default();
    if let Some(pattern) = &policy.builder
        && !pattern.matches(&builder)
    {
        return Err(format!("its builder is `{builder}`"));
    }
    let reference = told.references.first().map(|reference| format!(" at {reference}")).unwrap_or_default();
    Ok(format!("built from {wanted}{reference}, signed by {}", proven.signer))
}

fn told(predicate: &Value, claims: &FulcioCiClaims) -> Told {
    let text = |pointer: &str| predicate.pointer(pointer).and_then(Value::as_str).map(ToOwned::to_owned);
    let mut told = Told::default();
    told.sources.extend(claims.source_repository_uri.as_deref().map(plain));
    told.references.extend(claims.source_repository_ref.clone());
    // Version 1 as GitHub fills it in, and as the SLSA generators do; version 0.2.
    for (source, reference) in [
        ("/buildDefinition/externalParameters/workflow/repository", Some("/buildDefinition/externalParameters/workflow/ref")),
        ("/buildDefinition/externalParameters/source/uri", None),
        ("/invocation/configSource/uri", None),
    ] {
        let Some(source) = text(source) else { continue };
        told.sources.push(plain(&source));
        told.references.extend(reference.and_then(text).or_else(|| ref_of(&source)));
    }
    told.builder = text("/runDetails/builder/id").or_else(|| text("/builder/id"));
    told
}

/// The address of a repository, without what tells how and at which ref it is fetched.
fn plain(uri: &str) -> String {
    let uri = uri.trim().strip_prefix("git+").unwrap_or(uri.trim());
    let uri = uri.split_once('@').map_or(uri, |(address, _)| address);
    let uri = uri.trim_end_matches('/');
    uri.strip_suffix(".git").unwrap_or(uri).to_owned()
}

fn ref_of(uri: &str) -> Option<String> {
    uri.split_once('@').map(|(_, reference)| reference.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_form_tells_source_ref_and_builder() {
        let github = json!({
            "buildDefinition": {"externalParameters": {"workflow": {
                "ref": "refs/heads/main", "repository": "https://github.com/acme/api", "path": ".github/workflows/x.yml"}}},
            "runDetails": {"builder": {"id": "https://github.com/acme/api/.github/workflows/x.yml@refs/heads/main"}},
        });
        let generator = json!({
            "buildDefinition": {"externalParameters": {"source": {"uri": "git+https://github.com/acme/api@refs/heads/main"}}},
            "runDetails": {"builder": {"id": "b"}},
        });
        let before = json!({
            "builder": {"id": "b"},
            "invocation": {"configSource": {"uri": "git+https://github.com/acme/api.git@refs/heads/main"}},
        });
        for predicate in [github, generator, before] {
            let told = told(&predicate, &FulcioCiClaims::default());
            assert_eq!(told.sources, ["https://github.com/acme/api"], "{predicate}");
            assert_eq!(told.references, ["refs/heads/main"]);
            assert!(told.builder.is_some());
        }
        assert_eq!(told(&json!({"buildDefinition": 7}), &FulcioCiClaims::default()), Told::default());
    }
}
