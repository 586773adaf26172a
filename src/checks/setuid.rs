//! `setuid`: files that run with the rights of their owner or group, whoever starts them.

use async_trait::async_trait;

use super::contents::each;
use super::{Check, Name, Observation, Subject};
use crate::config::CheckName;
use crate::promotion::fault::Fault;

/// Each platform's image has only such files with setuid or setgid as are allowed.
#[derive(Debug)]
pub(super) struct Setuid;

/// How many files are named.
const NAMED: usize = 10;

#[async_trait]
impl Check for Setuid {
    fn name(&self) -> Name {
        Name::Chosen(CheckName::Setuid)
    }

    fn reads_layers(&self) -> bool {
        true
    }

    async fn look(&self, subject: &Subject<'_>) -> Result<Vec<Observation>, Fault> {
        let allowed: Vec<String> =
            subject.policy.policy.content.setuid.as_ref().map(|one| one.allow.clone()).unwrap_or_default();
        let wanted = match allowed.as_slice() {
            [] => "no file with setuid or setgid".to_owned(),
            allowed => format!("none with setuid or setgid but {}", allowed.join(", ")),
        };
        each(subject, &wanted, |contents| {
            let is_allowed = |name: &str| allowed.iter().any(|one| one.trim_start_matches('/') == name);
            let found: Vec<String> = contents
                .privileged
                .iter()
                .filter(|(name, _)| !is_allowed(name))
                .map(|(name, mode)| format!("/{name} ({mode:o})"))
                .collect();
            if found.is_empty() {
                return Observation::good("none", wanted.clone());
            }
            let more = found.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let shown = found.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
            let fix = "remove the files or their mode (`RUN chmod a-s …`), or allow them in `content.setuid.allow`";
            Observation::bad(format!("{shown}{more}"), wanted.clone(), fix)
        })
        .await
    }
}
