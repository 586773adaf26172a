//! Why something that was asked of GitHub was not done.

use std::time::Duration;

use super::limits::Limit;
use super::permission::Needs;
use crate::promotion::fault::{Code, Fault};

/// Why something that was asked of GitHub was not done. No variant carries the token, or an address with a signature.
///
/// `what` says in every one of them what was going on, e.g. `reading the check runs of acme/api`.
#[derive(Debug, thiserror::Error)]
pub enum GitHubError {
    /// What was asked for cannot be: the caller's own values are not usable.
    #[error("{0}")]
    Invalid(String),
    /// The connection failed, or nothing came in time.
    #[error("GitHub cannot be reached while {what}: {why}")]
    Unreachable {
        /// What was going on.
        what: String,
        /// Why.
        why: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// GitHub answered with a failure of its own (5xx).
    #[error("GitHub fails while {what}: it answers {status}{}", quoted(.message))]
    Failing {
        /// What was going on.
        what: String,
        /// The status.
        status: u16,
        /// What it says (untrusted).
        message: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// A rate limit is reached, and waiting for it would take longer than there is time.
    #[error("GitHub's {limit} rate limit is reached while {what}, for another {}", humantime::format_duration(whole(.wait)))]
    Throttled {
        /// What was going on.
        what: String,
        /// Which limit.
        limit: Limit,
        /// How long it lasts.
        wait: Duration,
    },
    /// The deadline came first: it was not sent, or it only read.
    #[error("the time ran out while {what}: {why}")]
    OutOfTime {
        /// What was going on.
        what: String,
        /// What took the time.
        why: String,
    },
    /// GitHub does not accept the token, or there is none.
    #[error("{}", refusal_of_token(.what, *.given, *.expired))]
    TokenRefused {
        /// What was going on.
        what: String,
        /// Whether there is a token.
        given: bool,
        /// Whether the same token was accepted before.
        expired: bool,
    },
    /// The token may not do this.
    #[error("the token lacks {needs} for {what}{}", quoted(.message))]
    Forbidden {
        /// What was going on.
        what: String,
        /// What it needs.
        needs: Needs,
        /// What GitHub says (untrusted).
        message: String,
    },
    /// It does not exist; or the token may not see it, which GitHub does not tell apart.
    #[error("not found while {what}: it does not exist, or the token may not see it for lack of {needs}")]
    Absent {
        /// What was going on.
        what: String,
        /// What the token needs in order to see it.
        needs: Needs,
    },
    /// GitHub does not accept the request (any other 4xx).
    #[error("GitHub refuses {what}: it answers {status}{}", quoted(.message))]
    Refused {
        /// What was going on.
        what: String,
        /// The status.
        status: u16,
        /// What it says (untrusted).
        message: String,
    },
    /// The answer is not one that GitHub's API gives.
    #[error("GitHub's answer makes no sense while {what}: {why}")]
    Nonsense {
        /// What was going on.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// It redirects in a way that is not followed.
    #[error("GitHub's answer is not followed while {what}: it redirects {why}")]
    Redirected {
        /// What was going on.
        what: String,
        /// How it redirects.
        why: &'static str,
    },
    /// A list could not be read to its end, or ended before its time.
    #[error("the list is not complete while {what}: {why}")]
    Incomplete {
        /// What was going on.
        what: String,
        /// What is missing.
        why: String,
    },
    /// It may or may not have been done, and GitHub could not be got to tell.
    #[error("it is not known whether GitHub has done it while {what}: {why}")]
    Uncertain {
        /// What was going on.
        what: String,
        /// Why it is not known.
        why: String,
    },
}

impl GitHubError {
    /// Whether a request that ended like this may have been carried out: a 502 to a POST says nothing about the POST.
    #[must_use]
    pub const fn may_have_been_done(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Failing { .. }
                | Self::Nonsense { .. }
                | Self::Incomplete { .. }
                | Self::Uncertain { .. }
        )
    }

    /// Whether it does not exist, or cannot be seen.
    #[must_use]
    pub const fn is_absent(&self) -> bool {
        matches!(self, Self::Absent { .. })
    }

    /// Whether GitHub refused it with this status.
    #[must_use]
    pub const fn is_refused_with(&self, wanted: u16) -> bool {
        matches!(self, Self::Refused { status, .. } if *status == wanted)
    }
}

impl From<GitHubError> for Fault {
    fn from(error: GitHubError) -> Self {
        let message = error.to_string();
        match error {
            GitHubError::Invalid(_) => Self::new(Code::InputInvalid, message),
            GitHubError::Unreachable { attempts, .. } => {
                Self::new(Code::GithubUnreachable, message).after_trying(times(attempts))
            }
            GitHubError::Failing { attempts, .. } => {
                Self::new(Code::GithubFailed, message).after_trying(times(attempts))
            }
            GitHubError::Throttled { .. } => Self::new(Code::GithubThrottled, message),
            GitHubError::OutOfTime { .. } => Self::new(Code::DeadlinePassed, message),
            GitHubError::TokenRefused { given: true, expired: true, .. } => {
                Self::new(Code::GithubTokenExpired, message)
            }
            GitHubError::TokenRefused { .. } => Self::new(Code::GithubTokenRefused, message),
            GitHubError::Forbidden { needs, .. } => {
                Self::new(Code::TokenLacksPermission, message).with_fix(needs.advice())
            }
            GitHubError::Absent { needs, .. } => {
                let fix = format!("check the name; if it is right, {}", needs.advice());
                Self::new(Code::GithubAbsent, message).with_fix(fix)
            }
            GitHubError::Refused { .. } => Self::new(Code::GithubRefused, message),
            GitHubError::Nonsense { .. } | GitHubError::Redirected { .. } | GitHubError::Incomplete { .. } => {
                Self::new(Code::GithubNonsense, message)
            }
            GitHubError::Uncertain { .. } => Self::new(Code::GithubUncertain, message),
        }
    }
}

fn quoted(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(" (\"{message}\")") }
}

fn whole(time: &Duration) -> Duration {
    Duration::from_secs(time.as_secs().max(1))
}

fn times(attempts: u32) -> String {
    if attempts == 1 { "once".to_owned() } else { format!("{attempts} times") }
}

fn refusal_of_token(what: &str, given: bool, expired: bool) -> String {
    match (given, expired) {
        (false, _) => format!("GitHub asks for a token while {what}, and there is none"),
        (true, true) => format!("the token has expired: GitHub accepted it before and does not while {what}"),
        (true, false) => format!("GitHub does not accept the token while {what}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what() -> String {
        "creating a deployment in acme/api".to_owned()
    }

    #[test]
    fn a_fault_names_the_permission_and_what_to_do() {
        let needs = Needs::of_header("deployments=write");
        let error = GitHubError::Forbidden { what: what(), needs, message: "Resource not accessible".to_owned() };
        let fault = Fault::from(error);
        assert_eq!(
            fault.message,
            "the token lacks `deployments: write` for creating a deployment in acme/api (\"Resource not accessible\")"
        );
        assert!(fault.fix.starts_with("add `deployments: write` under `permissions:`"), "{}", fault.fix);
        let absent = Fault::from(GitHubError::Absent { what: what(), needs: Needs::one("actions", "read") });
        assert!(absent.fix.starts_with("check the name; if it is right, add `actions: read`"), "{}", absent.fix);
    }

    #[test]
    fn an_expired_token_is_not_a_wrong_one() {
        let fault = |given, expired| Fault::from(GitHubError::TokenRefused { what: what(), given, expired });
        assert_eq!(fault(true, true).code, Code::GithubTokenExpired);
        assert_eq!(fault(true, false).code, Code::GithubTokenRefused);
        assert!(fault(false, false).message.contains("there is none"));
    }

    #[test]
    fn only_what_was_refused_was_surely_not_done() {
        let done = |error: GitHubError| error.may_have_been_done();
        assert!(done(GitHubError::Failing { what: what(), status: 502, message: String::new(), attempts: 1 }));
        assert!(done(GitHubError::Nonsense { what: what(), why: String::new() }));
        assert!(!done(GitHubError::Refused { what: what(), status: 422, message: String::new() }));
        assert!(!done(GitHubError::OutOfTime { what: what(), why: String::new() }));
        assert!(!done(GitHubError::Redirected { what: what(), why: "to nowhere" }));
        assert!(!done(GitHubError::Throttled { what: what(), limit: Limit::Primary, wait: Duration::from_secs(1) }));
    }
}
