//! What a promotion changes, in commits and pull requests: for people who are asked about it.

use futures_util::future::join_all;

use super::work::Work;
use crate::github::Hub;
use crate::github::commits::{Commit, PullRequest};
use crate::promotion::digest::Digest;
use crate::promotion::run::Run;
use crate::report::request::Change;

/// How many commits are shown, and asked for their pull requests.
const SHOWN: usize = 10;

/// What changes for each service, as far as it can be told. What cannot be is left out: nobody is kept from answering.
pub(super) async fn changes(work: &Work<'_>, hub: &Hub) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    for (service, image) in work.images() {
        let run = work.visit.run();
        let to = run.candidate(&service).and_then(|one| one.facts.as_ref()).and_then(|facts| facts.revision());
        let from = match image.previous() {
            Some(previous) => revision_of(work, &service, previous).await,
            None => None,
        };
        let (Some(from), Some(to)) = (from, to) else { continue };
        // Services of one repository mostly change together.
        if let Some(known) = changes.iter_mut().find(|one| one.from == from && one.to == to) {
            known.services.push(service);
        } else if let Some(change) = change(hub, &service, &from, to).await {
            changes.push(change);
        }
    }
    changes
}

async fn change(hub: &Hub, service: &str, from: &str, to: &str) -> Option<Change> {
    let compared = match hub.github.compare(&hub.repository, from, to, 1).await {
        Ok(compared) => compared,
        Err(error) => {
            tracing::debug!(%error, "what changes cannot be told: {error}");
            return None;
        }
    };
    let shown: Vec<Commit> = compared.commits.iter().rev().take(SHOWN).cloned().collect();
    let asked = shown.iter().map(|commit| hub.github.pull_requests_of(&hub.repository, &commit.sha));
    let mut pulls: Vec<PullRequest> = join_all(asked).await.into_iter().filter_map(Result::ok).flatten().collect();
    pulls.sort_by_key(|pull| std::cmp::Reverse(pull.number));
    pulls.dedup_by_key(|pull| pull.number);
    Some(Change {
        services: vec![service.to_owned()],
        from: from.to_owned(),
        to: to.to_owned(),
        url: compared.url,
        ahead: compared.ahead,
        behind: compared.behind,
        commits: shown.into_iter().map(|commit| (commit.sha, commit.message, commit.url)).collect(),
        pulls: pulls
            .into_iter()
            .filter(|pull| pull.is_merged)
            .map(|pull| (pull.number, pull.title, pull.url))
            .collect(),
    })
}

/// The commit that a digest was built from, where the run that brought it is known.
async fn revision_of(work: &Work<'_>, service: &str, digest: &Digest) -> Option<String> {
    let past = work.past(service).await.ok()?;
    let brought = past.into_iter().find(|past| past.digest.as_ref() == Some(digest))?;
    let records = work.visit.ledger().load(&brought.run).await.ok()?;
    let other = Run::fold(&records).ok()?;
    let facts = other.candidate(service)?.facts.as_ref()?;
    facts.revision().map(str::to_owned)
}
