//! Hosts that are reached over SSH.

use super::collection::{NonEmpty, OneOrMany};
use super::literal::Lit;
use super::names::{HostKey, UserSyntax};
use super::number::Port;
use super::secret::{Secret, SecretText};
use super::section::section;
use super::template::{Filled, Template, TemplateText};

section! {
    /// How to get to hosts over SSH.
    pub struct Ssh from RawSsh {
        /// The hosts.
        required hosts: OneOrMany<TemplateText> => Vec<Template>,
        /// The user there.
        required user: Filled<UserSyntax> => Template,
        /// The private key, as it is or in base64.
        required key: SecretText => Secret,
        /// The passphrase of the key.
        optional passphrase: SecretText => Secret,
        /// The keys that the hosts may show: fingerprints (`SHA256:…`) or lines of `known_hosts`. An unknown host is
        /// never trusted.
        required host_keys: NonEmpty<Lit<HostKey>> => Vec<String>,
        /// The port. Default: 22.
        default(22) port: Port => u16,
    }
}
