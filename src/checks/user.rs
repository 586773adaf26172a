//! `user`: whom the image runs as.

use async_trait::async_trait;

use super::{Check, Name, Observation, Subject};
use crate::config::{CheckName, User as Allowed};
use crate::promotion::fault::Fault;
use crate::registry::PlatformInspection;

/// Each platform's image runs as a user that is allowed.
#[derive(Debug)]
pub(super) struct User;

#[async_trait]
impl Check for User {
    fn name(&self) -> Name {
        Name::Chosen(CheckName::User)
    }

    async fn look(&self, subject: &Subject<'_>) -> Result<Vec<Observation>, Fault> {
        let allowed = subject.policy.policy.user.as_ref();
        Ok(subject.inspection.platforms.iter().map(|platform| observe(platform, allowed).of(platform)).collect())
    }
}

fn observe(platform: &PlatformInspection, allowed: Option<&Allowed>) -> Observation {
    // `user:group`; nothing is root (image-spec `config.md`).
    let whole = platform.facts.user.as_deref().unwrap_or("root");
    let user = whole.split(':').next().unwrap_or(whole);
    let root = is_root(user);
    let root_allowed = allowed.is_some_and(|one| one.allow_root);
    let names: Vec<String> = allowed.map(|one| one.allow.iter().map(ToString::to_string).collect()).unwrap_or_default();
    let listed = names.is_empty() || names.iter().any(|name| name == user || name == whole || (root && is_root(name)));
    let good = (!root || root_allowed) && listed;
    let wanted = match (root_allowed, names.is_empty()) {
        (true, true) => "anybody".to_owned(),
        (false, true) => "anybody but root".to_owned(),
        (_, false) => names.join(" or "),
    };
    Observation::either(good, whole, wanted, "add `USER` with a user of its own to the Dockerfile")
}

/// Root by name or by number, however the number is written.
fn is_root(user: &str) -> bool {
    user.is_empty() || user == "root" || user.parse::<u64>().is_ok_and(|number| number == 0)
}
