//! The secrets that the configuration names, read when something needs them.

use std::fmt;
use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};

use crate::config::Secret;
use crate::promotion::fault::Fault;

/// Finds a variable of the environment by its name.
pub type Read = dyn Fn(&str) -> Option<String> + Send + Sync;

/// Reads secrets from the environment, and has each masked before anybody sees it.
#[derive(Clone)]
pub struct Secrets {
    read: Arc<Read>,
    mask: Arc<dyn Fn(&str) + Send + Sync>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

impl Secrets {
    /// Secrets that `read` finds by their names and `mask` hides.
    pub fn new(
        read: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
        mask: impl Fn(&str) + Send + Sync + 'static,
    ) -> Self {
        Self { read: Arc::new(read), mask: Arc::new(mask) }
    }

    /// Nobody's secrets: every one is unset.
    #[must_use]
    pub fn none() -> Self {
        Self::new(|_| None, |_| {})
    }

    /// Finds secrets by their variables' names, and has each masked.
    #[must_use]
    pub fn by_name(&self) -> Arc<Read> {
        let (read, mask) = (Arc::clone(&self.read), Arc::clone(&self.mask));
        Arc::new(move |name| {
            let value = read(name)?;
            mask(&value);
            Some(value)
        })
    }

    /// Reads a secret.
    ///
    /// # Errors
    /// [`crate::promotion::fault::Code::SecretUnset`], naming the variable and the place in the configuration.
    pub fn resolve(&self, secret: &Secret) -> Result<SecretString, Fault> {
        let value = secret.resolve(&|name| (self.read)(name))?;
        (self.mask)(value.expose_secret());
        Ok(value)
    }
}
