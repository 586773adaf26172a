//! Teams and who is in them.
//!
//! The token that GitHub makes for a job cannot read them, whatever its permissions: `members: read` is an
//! organisation's to give, to an App or to a person.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::client::GitHub;
use super::error::GitHubError;
use super::identity::Account;
use super::pages::Shape;
use crate::promotion::login::Login;

const CLASS: &str = "github/teams";

/// A team: `@organisation/slug`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TeamName {
    organisation: String,
    slug: String,
}

impl FromStr for TeamName {
    type Err = GitHubError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bare = text.strip_prefix('@').unwrap_or(text);
        match bare.split_once('/') {
            Some((organisation, slug)) if !organisation.is_empty() && !slug.is_empty() && !slug.contains('/') => {
                Ok(Self { organisation: organisation.to_owned(), slug: slug.to_ascii_lowercase() })
            }
            _ => Err(GitHubError::Invalid(format!(
                "`{}` is not a team: write `@organisation/team`",
                text.escape_debug()
            ))),
        }
    }
}

impl fmt::Display for TeamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}/{}", self.organisation, self.slug)
    }
}

impl GitHub {
    /// The members of a team and of the teams below it (GitHub docs, "List team members"; members: read).
    ///
    /// # Errors
    /// What GitHub says; for the job's own token always, with the advice which token to give instead.
    pub async fn team_members(&self, team: &TeamName) -> Result<BTreeSet<Login>, GitHubError> {
        let what = format!("reading the members of the team {team}");
        let path = ["orgs", &team.organisation, "teams", &team.slug, "members"];
        let request = self.get(&path, CLASS, what)?.needs("members", "read");
        let accounts: Vec<Account> = self.all(&request, Shape::Bare).await?;
        Ok(accounts.iter().map(|account| Login::new(&account.login)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn teams_have_an_organisation() {
        assert_eq!("@acme/Release".parse::<TeamName>().unwrap().to_string(), "@acme/release");
        assert_eq!("acme/release".parse::<TeamName>().unwrap().to_string(), "@acme/release");
        for bad in ["", "acme", "@acme", "/x", "acme/", "a/b/c"] {
            assert!(bad.parse::<TeamName>().is_err(), "{bad}");
        }
    }
}
