//! GitHub's own record of which digest runs where.

use http::Method;
use serde::Serialize;
use serde_json::json;

use super::client::GitHub;
use super::error::GitHubError;
use super::repository::RepositoryName;
use super::text;
use crate::promotion::digest::Digest;

const CLASS: &str = "github/artifact-metadata";

/// Whether a digest runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Runs {
    /// It does.
    Deployed,
    /// It did.
    Decommissioned,
}

/// That a digest runs in an environment. GitHub keeps one record for each environment and deployment name, and replaces
/// it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeploymentRecord {
    /// The artifact's name: the image without tag and digest.
    pub name: String,
    /// Its digest, which must be SHA-256.
    pub digest: Digest,
    /// Its version.
    pub version: Option<String>,
    /// Whether it runs.
    pub runs: Runs,
    /// The environment.
    pub environment: String,
    /// What it runs as: the service.
    pub deployment_name: String,
}

impl GitHub {
    /// Records that a digest runs in an environment (GitHub docs, "Create an artifact deployment record";
    /// artifact-metadata: write). Only for repositories of organisations on github.com.
    ///
    /// # Errors
    /// What GitHub says; [`GitHubError::Absent`] where it has no such records.
    pub async fn record_deployment(
        &self,
        repository: &RepositoryName,
        record: &DeploymentRecord,
    ) -> Result<(), GitHubError> {
        if record.digest.algorithm() != "sha256" {
            return Err(GitHubError::Invalid(format!("GitHub records SHA-256 digests only, not {}", record.digest)));
        }
        let repository_name = repository.to_string();
        let mut body = json!({
            "name": text::cut(&record.name, 256),
            "digest": record.digest,
            "status": record.runs,
            "logical_environment": text::cut(&record.environment, 128),
            "deployment_name": text::cut(&record.deployment_name, 256),
            "github_repository": repository_name.split_once('/').map_or("", |(_, name)| name),
        });
        if let Some(version) = &record.version {
            body["version"] = json!(text::cut(version, 100));
        }
        let what = format!("recording in {} what runs in {}", repository.owner(), record.environment);
        let path = ["orgs", repository.owner(), "artifacts", "metadata", "deployment-record"];
        let request = self
            .request(Method::POST, &path, CLASS, what)?
            .needs("artifact-metadata", "write")
            .json(&body)?
            // The same record again replaces itself.
            .harmless();
        self.send(&request).await?;
        Ok(())
    }
}
