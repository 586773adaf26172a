//! Who we are to GitHub.

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::client::GitHub;
use super::error::GitHubError;
use crate::promotion::login::Login;

/// How the tokens of an App's installation begin, the job's own among them (GitHub docs, "About authentication to
/// GitHub", token formats).
const OF_INSTALLATIONS: &str = "ghs_";

/// Who we are to GitHub: whose name stands on what we write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// A person, or whoever has a token of their own.
    Person(Login),
    /// An App: `github-actions[bot]` with the job's token, or one that cannot ask for its own name.
    App,
}

/// An account, as GitHub tells it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Account {
    pub(super) login: String,
    #[serde(default, rename = "type")]
    pub(super) kind: String,
}

impl Identity {
    /// Who has this token, where the token itself tells.
    pub(super) fn of_token(token: &SecretString) -> Option<Self> {
        token.expose_secret().starts_with(OF_INSTALLATIONS).then_some(Self::App)
    }

    /// Whether this account may be us. Which App we are cannot be asked with an installation's token, so that every bot
    /// counts then: what it writes must carry our mark besides.
    pub(super) fn may_be(&self, account: Option<&Account>) -> bool {
        match (self, account) {
            (Self::Person(login), Some(account)) => *login == Login::new(&account.login),
            (Self::App, Some(account)) => account.kind == "Bot" || Login::new(&account.login).is_bot(),
            (_, None) => false,
        }
    }
}

impl GitHub {
    pub(super) async fn ask_identity(&self) -> Result<Identity, GitHubError> {
        let request = self.get(&["user"], "github/user", "asking whose token it is")?;
        match self.fetch::<Account>(&request).await {
            Ok(account) => Ok(Identity::Person(Login::new(&account.login))),
            // "Resource not accessible by integration": an App's token of another form.
            Err(GitHubError::Forbidden { .. }) => Ok(Identity::App),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_know_ourselves_and_nobody_else() {
        let account = |login: &str, kind: &str| Account { login: login.to_owned(), kind: kind.to_owned() };
        let person = Identity::Person(Login::new("Ann"));
        assert!(person.may_be(Some(&account("ann", "User"))));
        assert!(!person.may_be(Some(&account("bob", "User"))) && !person.may_be(None));
        assert!(Identity::App.may_be(Some(&account("github-actions[bot]", "Bot"))));
        assert!(!Identity::App.may_be(Some(&account("ann", "User"))) && !Identity::App.may_be(None));
        assert_eq!(Identity::of_token(&"ghs_x".into()), Some(Identity::App));
        assert_eq!(Identity::of_token(&"ghp_x".into()), None);
    }
}
