//! Names of people and bots on GitHub.

use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

/// A login. GitHub does not tell `Octocat` from `octocat`, and neither does this: two spellings are one person.
#[derive(Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Login(String);

impl Login {
    /// The login as it was written, without a leading `@`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let text = text.trim();
        Self(text.strip_prefix('@').unwrap_or(text).to_owned())
    }

    /// The text, as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is an App's, e.g. `github-actions[bot]`.
    #[must_use]
    pub fn is_bot(&self) -> bool {
        self.0.to_ascii_lowercase().ends_with("[bot]")
    }

    fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl PartialEq for Login {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Login {}

impl Hash for Login {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.folded().hash(state);
    }
}

impl PartialOrd for Login {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Login {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.folded().cmp(&other.folded())
    }
}

impl From<String> for Login {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl From<Login> for String {
    fn from(login: Login) -> Self {
        login.0
    }
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use super::*;

    #[test]
    fn two_spellings_are_one_person() {
        assert_eq!(Login::new("Octocat"), Login::new(" @octoCAT "));
        assert_ne!(Login::new("octocat"), Login::new("octocat2"));
        assert_eq!(["a", "A", "@a"].map(Login::new).into_iter().collect::<BTreeSet<_>>().len(), 1);
        assert_eq!(["a", "A", "@a"].map(Login::new).into_iter().collect::<HashSet<_>>().len(), 1);
        assert_eq!(Login::new("@Octocat").to_string(), "Octocat");
        assert!(Login::new("Renovate[bot]").is_bot() && !Login::new("bot").is_bot());
    }
}
