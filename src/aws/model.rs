//! What Lambda's API says of functions, versions and aliases (AWS Lambda API Reference, 2015-03-31).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// What is known of a function, or of one of its versions.
#[derive(Debug, Clone, Default)]
pub struct Function {
    /// The version's number.
    pub version: Option<String>,
    /// `CodeSha256`.
    pub checksum: String,
    /// What it was when it was looked at; a change names it.
    pub revision: Option<String>,
    /// Its state, and that of its last update.
    pub state: String,
    pub(super) update: String,
    /// What AWS says about that.
    pub reason: String,
    /// The image that it was given.
    pub image: Option<String>,
    /// The same by digest.
    pub resolved: Option<String>,
    /// Where its package can be had.
    pub(super) location: Option<String>,
}

impl Function {
    /// `State` and `LastUpdateStatus` are left out by stand-ins, and by AWS for old functions.
    pub fn is_settled(&self) -> bool {
        matches!(self.state.as_str(), "Active" | "Inactive" | "") && matches!(self.update.as_str(), "Successful" | "")
    }

    /// Whether its last update came to nothing.
    pub fn has_failed(&self) -> bool {
        self.state == "Failed" || self.update == "Failed"
    }
}

/// An alias.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Alias {
    /// The version that it is.
    #[serde(rename = "FunctionVersion")]
    pub version: String,
    /// What it was when it was looked at; a change names it.
    #[serde(rename = "RevisionId")]
    pub revision: Option<String>,
    /// The shares of the traffic that go to other versions.
    #[serde(rename = "RoutingConfig", default, deserialize_with = "weights")]
    pub weights: BTreeMap<String, f64>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Routing {
    #[serde(rename = "AdditionalVersionWeights")]
    weights: Option<BTreeMap<String, f64>>,
}

fn weights<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, f64>, D::Error> {
    Ok(Option::<Routing>::deserialize(deserializer)?.and_then(|routing| routing.weights).unwrap_or_default())
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct ConfigurationModel {
    pub(super) version: Option<String>,
    pub(super) code_sha256: String,
    pub(super) revision_id: Option<String>,
    pub(super) state: String,
    pub(super) state_reason: String,
    pub(super) last_update_status: String,
    pub(super) last_update_status_reason: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct CodeModel {
    pub(super) image_uri: Option<String>,
    pub(super) resolved_image_uri: Option<String>,
    pub(super) location: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct FunctionModel {
    pub(super) configuration: ConfigurationModel,
    #[serde(default)]
    pub(super) code: CodeModel,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct VersionsModel {
    pub(super) versions: Vec<ConfigurationModel>,
    pub(super) next_marker: Option<String>,
}

impl From<ConfigurationModel> for Function {
    fn from(model: ConfigurationModel) -> Self {
        let reasons = [model.last_update_status_reason, model.state_reason];
        Self {
            version: model.version,
            checksum: model.code_sha256,
            revision: model.revision_id,
            state: model.state,
            update: model.last_update_status,
            reason: reasons.into_iter().filter(|reason| !reason.is_empty()).collect::<Vec<_>>().join("; "),
            ..Self::default()
        }
    }
}

/// What an invocation answers.
#[derive(Debug)]
pub struct Invoked {
    /// `X-Amz-Function-Error`.
    pub error: Option<String>,
    /// What it gives; null where that is no JSON.
    pub body: Value,
}
