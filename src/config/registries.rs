//! `registries`: who we are to registries, beside the inputs and the docker configuration.

use super::secret::{Secret, SecretText};
use super::section::section;

section! {
    /// A login at a registry.
    pub struct RegistryCredentials from RawRegistryCredentials {
        /// The user.
        required username: SecretText => Secret,
        /// The password, or a token.
        required password: SecretText => Secret,
    }
}
