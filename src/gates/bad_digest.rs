//! A digest that an earlier run found bad here is not promoted again, unless somebody says that it was not to blame.

use async_trait::async_trait;

use super::{Candidate, Gate, Look, Subject};
use crate::ledger::Filter;
use crate::promotion::fault::{Code, Fault};
use crate::promotion::state::State;

/// A service's digest has not turned out bad here.
pub(super) struct BadDigest {
    candidate: Candidate,
}

impl BadDigest {
    /// One for each service with an image.
    pub(super) fn of(subject: &Subject) -> impl Iterator<Item = Box<dyn Gate>> {
        let candidates = subject.candidates.iter().filter(|candidate| candidate.digest.is_some());
        candidates.map(|candidate| Box::new(Self { candidate: candidate.clone() }) as Box<dyn Gate>)
    }
}

#[async_trait]
impl Gate for BadDigest {
    fn name(&self) -> String {
        "bad-digest".to_owned()
    }

    fn services(&self) -> Vec<String> {
        vec![self.candidate.service.clone()]
    }

    fn code(&self) -> Code {
        Code::DigestBad
    }

    fn override_word(&self) -> Option<&'static str> {
        Some("bad-digest")
    }

    fn is_seen_again(&self) -> bool {
        true
    }

    fn is_quiet(&self) -> bool {
        true
    }

    async fn look(&self, subject: &Subject) -> Result<Look, Fault> {
        let Candidate { service, digest: Some(digest), .. } = &self.candidate else {
            return Err(Fault::defect("a digest was asked for, and there is none"));
        };
        let wanted = "a digest that no run found bad here";
        let marks = subject.ledger.bad_digests(&subject.scope, &subject.environment, service).await?;
        let Some(mark) = marks.into_iter().find(|mark| mark.digest == *digest) else {
            return Ok(Look::open(format!("nothing bad is known of {}", digest.short()), wanted));
        };
        // Somebody passed over the mark since, and it lived: the mark was wrong, or what was to blame is gone.
        let history = Filter::history(&subject.scope, &subject.environment);
        let filter = Filter { service: Some(service.clone()), ..history };
        let past = subject.ledger.past(&filter).await?;
        let lived = past.iter().find(|past| {
            past.operation == "promote"
                && past.state == State::CompletedSuccessfully
                && past.digest.as_ref() == Some(digest)
                && past.opened_at > mark.at
        });
        Ok(match lived {
            Some(past) => {
                Look::open(format!("run {} found it bad, and it lives since run {}", mark.run, past.run), wanted)
            }
            None => Look::closed(
                format!(
                    "run {} found {} bad at {}: {}",
                    mark.run,
                    digest.short(),
                    mark.at.format("%Y-%m-%d %H:%M UTC"),
                    mark.because
                ),
                wanted,
            ),
        })
    }
}
