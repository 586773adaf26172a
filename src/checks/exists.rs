//! `exists`: everything that the image consists of can be read.

use async_trait::async_trait;

use super::{Check, Name, Observation, Subject};
use crate::promotion::candidate::Platform;
use crate::promotion::fault::Fault;
use crate::registry::Trouble;

/// Every manifest and configuration is there and is what its digest says.
#[derive(Debug)]
pub(super) struct Exists;

const WANTED: &str = "every manifest and configuration readable, with its digest";

#[async_trait]
impl Check for Exists {
    fn name(&self) -> Name {
        Name::Fixed("exists")
    }

    async fn look(&self, subject: &Subject<'_>) -> Result<Vec<Observation>, Fault> {
        let inspection = subject.inspection;
        // What is there and malformed is for `consistent`.
        let missing =
            inspection.problems.iter().filter(|problem| !matches!(problem.error.trouble, Trouble::Malformed { .. }));
        let mut seen: Vec<Observation> = missing
            .map(|problem| {
                let mut observation = Observation::bad(
                    format!("{}: {}", problem.digest, problem.error.trouble),
                    WANTED,
                    "push the image again, whole; a clean-up of untagged versions may have deleted a part of it",
                )
                .unforceable();
                observation.platform = problem
                    .declared
                    .as_ref()
                    .and_then(|one| format!("{}/{}", one.os, one.architecture).parse::<Platform>().ok());
                observation
            })
            .collect();
        if seen.is_empty() {
            let facts = &inspection.facts;
            let seen_text =
                format!("{} manifests below {}, {} blobs named", facts.manifests, inspection.root.digest, facts.blobs);
            seen.push(Observation::good(seen_text, WANTED));
        }
        Ok(seen)
    }
}
