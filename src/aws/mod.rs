//! Amazon Web Services: who we are there, and the calls of Lambda's API.
//!
//! | file | what it does |
//! |---|---|
//! | `credentials` | who we are: keys that are given, or a role that is taken on |
//! | `lambda` | the calls of Lambda's API, signed, repeated, bounded |
//! | `model` | what it says of functions |
//! | `error` | why there is no good answer |

mod credentials;
mod error;
mod lambda;
mod model;

use crate::config::{Credentials as Keys, SecretReader, Template};
use crate::promotion::retry::RetryPolicy;

pub use self::error::AwsError;
pub use self::lambda::Lambda;
pub use self::model::{Alias, Function, Invoked};

/// How AWS is reached, as a section of the configuration says.
#[derive(Debug, Clone)]
pub struct Access<'a> {
    /// The section, as faults call it: `deploy.lambda`, or a probe's name.
    pub section: &'a str,
    /// The region; none for that of the step's environment.
    pub region: Option<&'a str>,
    /// The role to take on.
    pub role: Option<&'a str>,
    /// Keys instead of those of the step's environment.
    pub credentials: Option<&'a Keys>,
    /// The address of the API, where it is not AWS's own.
    pub endpoint: Option<&'a Template>,
    /// Where secrets are found.
    pub secrets: &'a SecretReader,
    /// How patiently requests are tried again.
    pub retry: RetryPolicy,
}
