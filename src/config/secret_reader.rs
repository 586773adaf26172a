//! The secrets that the configuration names, read when something needs them.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;

use super::error::ConfigError;
use super::secret::Secret;
use super::value::{FillError, Json, Value};

/// Finds a variable of the environment by its name.
type Read = dyn Fn(&str) -> Option<String> + Send + Sync;

/// The fewest characters of a text that is hidden: shorter ones would blot out everything.
const HIDDEN: usize = 4;

/// What is shown in a secret's place.
const MARK: &str = "***";

/// Reads secrets from the environment, and has each masked before anybody sees it.
#[derive(Clone)]
pub struct SecretReader {
    read: Arc<Read>,
    mask: Arc<dyn Fn(&str) + Send + Sync>,
    known: Arc<Mutex<Vec<SecretString>>>,
}

impl fmt::Debug for SecretReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretReader")
    }
}

impl SecretReader {
    /// Secrets that `read` finds by their names and `mask` hides.
    pub fn new(
        read: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
        mask: impl Fn(&str) + Send + Sync + 'static,
    ) -> Self {
        Self { read: Arc::new(read), mask: Arc::new(mask), known: Arc::default() }
    }

    /// Nobody's secrets: every one is unset.
    #[must_use]
    pub fn none() -> Self {
        Self::new(|_| None, |_| {})
    }

    /// Reads a secret.
    ///
    /// # Errors
    /// [`crate::promotion::fault::Code::SecretUnset`], naming the variable and the place in the configuration.
    pub fn resolve(&self, secret: &Secret) -> Result<SecretString, ConfigError> {
        let value = secret.resolve(&|name| (self.read)(name))?;
        self.hide(value.expose_secret());
        Ok(value)
    }

    /// Reads a variable that holds a secret and that no configuration names, such as `AWS_SECRET_ACCESS_KEY`; an empty
    /// one is none.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<SecretString> {
        let value = self.plain(name)?;
        self.hide(&value);
        Some(value.into())
    }

    /// Reads a variable that holds no secret, such as `AWS_REGION`; an empty one is none.
    #[must_use]
    pub fn plain(&self, name: &str) -> Option<String> {
        (self.read)(name).filter(|value| !value.trim().is_empty())
    }

    /// The text of a value, given the values of the run. It is treated as secret, because it may be.
    ///
    /// # Errors
    /// See [`Value::fill`].
    pub fn fill<V: Serialize>(&self, value: &Value, values: V) -> Result<SecretString, FillError> {
        match value {
            Value::Template(template) => Ok(template.render(values)?.into()),
            Value::Secret(secret) => Ok(self.resolve(secret)?),
        }
    }

    /// JSON with everything filled in. It may hold secrets: it belongs into a request and nowhere else.
    ///
    /// # Errors
    /// See [`Json::fill`].
    pub fn fill_json<V: Serialize>(&self, json: &Json, values: &V) -> Result<serde_json::Value, FillError> {
        json.fill(values, &|name| {
            let value = (self.read)(name)?;
            self.hide(&value);
            Some(value)
        })
    }

    /// Hides a text that was made of secrets, such as the password inside a database's address, or that a secret gave
    /// us, such as a token.
    pub fn hide(&self, text: &str) {
        (self.mask)(text);
        let mut known = self.known();
        for line in text.split(['\n', '\r']).map(str::trim).filter(|line| line.chars().count() >= HIDDEN) {
            if !known.iter().any(|one| one.expose_secret() == line) {
                known.push(line.into());
            }
        }
        // The longest first, so that no part of a longer one is left over.
        known.sort_by_key(|one| std::cmp::Reverse(one.expose_secret().len()));
    }

    /// A text that others wrote, without the secrets that were read so far.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        let known = self.known();
        known.iter().fold(text.to_owned(), |text, one| {
            if text.contains(one.expose_secret()) { text.replace(one.expose_secret(), MARK) } else { text }
        })
    }

    fn known(&self) -> MutexGuard<'_, Vec<SecretString>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_not_shown() {
        let secrets = SecretReader::new(
            |name| match name {
                "LONG" => Some("hunter2-and-more".to_owned()),
                "SHORT" => Some("hunter2".to_owned()),
                "KEY" => Some("-----BEGIN KEY-----\nabcdef\n-----END KEY-----\n".to_owned()),
                "TINY" => Some("abc".to_owned()),
                "EMPTY" => Some(" ".to_owned()),
                _ => None,
            },
            |_| {},
        );
        assert_eq!(secrets.redact("hunter2"), "hunter2");
        for name in ["SHORT", "LONG", "KEY", "TINY"] {
            assert!(secrets.variable(name).is_some());
        }
        assert!(secrets.variable("EMPTY").is_none() && secrets.variable("OTHER").is_none());
        assert_eq!(secrets.redact("a hunter2-and-more b hunter2 c"), "a *** b *** c");
        assert_eq!(secrets.redact("the key is abcdef, and abc"), "the key is ***, and abc");
    }
}
