//! Why a call of Lambda's API has no good answer.

use crate::promotion::fault::{Code, Fault};

/// Why a call has no good answer.
#[derive(Debug)]
pub enum AwsError {
    /// AWS says no.
    Refused {
        /// The status of its answer.
        status: u16,
        /// Its own name for it.
        kind: String,
        /// Why.
        message: String,
    },
    /// It cannot be reached, or fails, after every retry.
    Away {
        /// What it came to in the end.
        why: String,
        /// The attempts before.
        tried: Vec<String>,
    },
    /// What it answers is not its API's.
    Nonsense(String),
    /// Our own credentials, or a request that cannot be made.
    Own(Box<Fault>),
}

impl AwsError {
    /// The fault that it is, in a call about something.
    pub fn fault(self, about: &str) -> Fault {
        match self {
            Self::Own(fault) => *fault,
            Self::Away { why, tried } => {
                let fault = Fault::new(Code::DriverUnreachable, format!("AWS Lambda ({about}): {why}"));
                tried.into_iter().fold(fault, Fault::after_trying)
            }
            Self::Nonsense(why) => Fault::new(Code::DriverNonsense, format!("AWS Lambda ({about}): {why}")),
            Self::Refused { status, kind, message } => {
                let text = format!("AWS Lambda ({about}) says {kind} ({status}): {message}");
                match (status, kind.as_str()) {
                    (412, _) => Fault::new(Code::DeploymentFailed, text)
                        .with_fix("somebody else has changed the function meanwhile: look who, then promote again"),
                    (_, "AccessDeniedException" | "AccessDenied") => Fault::new(Code::DriverDenied, text),
                    (401 | 403, _) => Fault::new(Code::DriverRefused, text),
                    (404, _) => Fault::new(Code::DriverAbsent, text),
                    _ => Fault::new(Code::DeploymentFailed, text),
                }
            }
        }
    }

    /// Whether the function was changed since it was looked at.
    pub const fn is_outdated(&self) -> bool {
        matches!(self, Self::Refused { status: 412, .. })
    }

    pub(super) const fn is_absent(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }
}
