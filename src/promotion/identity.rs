//! Who a run is: its deployment id and its key.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::digest::Digest;

/// A run's id: `{unix-seconds}-{12 hexadecimal digits of the commit}`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct DeploymentId(String);

/// A text that is not a deployment id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a deployment id; it looks like `1732185300-0123456789ab`, and is the output `deployment-id` of an earlier step"
)]
pub struct InvalidDeploymentId(String);

impl DeploymentId {
    /// The id of a run that begins at `at` for `commit` (any text that begins with 12 hexadecimal digits).
    #[must_use]
    pub fn new(at: DateTime<Utc>, commit: &str) -> Self {
        let digits: String =
            commit.chars().filter(char::is_ascii_hexdigit).take(12).collect::<String>().to_ascii_lowercase();
        Self(format!("{}-{digits:0<12}", at.timestamp().max(0)))
    }

    /// The id in the next second, for when this one is taken.
    #[must_use]
    pub fn next_second(&self) -> Self {
        let (seconds, commit) = self.0.split_once('-').unwrap_or((&self.0, ""));
        Self(format!("{}-{commit}", seconds.parse::<i64>().unwrap_or_default() + 1))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DeploymentId {
    type Err = InvalidDeploymentId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let good = text.split_once('-').is_some_and(|(seconds, commit)| {
            (1..=12).contains(&seconds.len())
                && seconds.bytes().all(|b| b.is_ascii_digit())
                && commit.len() == 12
                && commit.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        });
        if good { Ok(Self(text.to_owned())) } else { Err(InvalidDeploymentId(text.chars().take(100).collect())) }
    }
}

impl TryFrom<String> for DeploymentId {
    type Error = InvalidDeploymentId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<DeploymentId> for String {
    fn from(id: DeploymentId) -> Self {
        id.0
    }
}

impl fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What makes two executions the same run: repository, workflow run, operation, environment and the set of services or
/// targets; never the attempt, the job or the digest, so that "re-run failed jobs" goes on instead of starting over.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct RunKey(String);

impl RunKey {
    /// The key of a run.
    #[must_use]
    pub fn new<'a>(
        repository: &str,
        workflow_run: &str,
        operation: &str,
        environment: &str,
        services: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let mut services: Vec<&str> = services.into_iter().collect();
        services.sort_unstable();
        services.dedup();
        // JSON keeps the parts apart whatever they hold.
        let text = serde_json::json!([repository, workflow_run, operation, environment, services]).to_string();
        Self(Digest::sha256(text.as_bytes()).hex().to_owned())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_made_of_time_and_commit() {
        let at = DateTime::from_timestamp(1_732_185_300, 0).unwrap();
        let id = DeploymentId::new(at, "ABC123def4567890");
        assert_eq!(id.as_str(), "1732185300-abc123def456");
        assert_eq!(id.next_second().as_str(), "1732185301-abc123def456");
        assert_eq!("1732185300-abc123def456".parse(), Ok(id));
        for text in ["", "1-2", "x-abc123def456", "1732185300-ABC123DEF456", "1732185300-abc123def4567"] {
            assert!(text.parse::<DeploymentId>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_key_knows_sets_and_keeps_parts_apart() {
        let key = |services: &[&str]| RunKey::new("acme/api", "1", "promote", "production", services.iter().copied());
        assert_eq!(key(&["a", "b"]), key(&["b", "a", "a"]));
        assert_ne!(key(&["a", "b"]), key(&["a"]));
        assert_ne!(key(&["a,b"]), key(&["a", "b"]));
    }
}
