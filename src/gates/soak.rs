//! The digest has lived long enough, verified, in the environment that it comes from.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{TimeDelta, Utc};

use super::{Gate, Look, Subject, together};
use crate::ledger::{Filter, Past};
use crate::promotion::digest::Digest;
use crate::promotion::fault::{Code, Fault};
use crate::promotion::state::State;

/// Every digest has lived so long where it comes from.
pub(super) struct Soak {
    time: Duration,
}

impl Soak {
    pub(super) const fn new(time: Duration) -> Self {
        Self { time }
    }
}

#[async_trait]
impl Gate for Soak {
    fn name(&self) -> String {
        "soak".to_owned()
    }

    fn code(&self) -> Code {
        Code::NotSoaked
    }

    async fn look(&self, subject: &Subject) -> Result<Look, Fault> {
        let Some(from) = &subject.settings.from else {
            return Err(Fault::defect("a soak time without an environment to soak in"));
        };
        let mut looks = Vec::new();
        for candidate in &subject.candidates {
            let Some(digest) = &candidate.digest else { continue };
            let filter = Filter { service: Some(candidate.service.clone()), ..Filter::history(&subject.scope, from) };
            let past = subject.ledger.past(&filter).await?;
            looks.push(look(&past, digest, from, &candidate.service, self.time));
        }
        Ok(together(looks))
    }
}

/// What the past of the environment says, the newest first.
fn look(past: &[Past], digest: &Digest, from: &str, service: &str, time: Duration) -> Look {
    let shown = humantime::format_duration(time);
    let wanted = format!("{shown} in {from}, verified");
    match lives_since(past, digest) {
        None => Look::closed(
            format!("no run brought {} of {service} to {from} and found it to live", digest.short()),
            wanted,
        )
        .with_fix(format!("promote it to {from} with this program and this ledger first")),
        Some(since) => {
            let lived = (Utc::now() - since).max(TimeDelta::zero());
            let text = format!(
                "{service} lives in {from} since {}, for {}",
                since.format("%Y-%m-%d %H:%M UTC"),
                humantime::format_duration(Duration::from_secs(lived.num_seconds().unsigned_abs()))
            );
            if lived.to_std().is_ok_and(|lived| lived >= time) {
                Look::open(text, wanted)
            } else {
                let until = TimeDelta::from_std(time).map_or(since, |time| since + time);
                Look::closed(text, wanted)
                    .with_fix(format!("run this again after {}", until.format("%Y-%m-%d %H:%M UTC")))
            }
        }
    }
}

/// Since when a digest lives in an environment: the end of the oldest successful run that brought it, with none after it
/// that brought another, or may have.
fn lives_since(past: &[Past], digest: &Digest) -> Option<chrono::DateTime<Utc>> {
    let mut since = None;
    for one in past.iter().filter(|one| one.changed_the_world || one.moved) {
        let lived = one.state == State::CompletedSuccessfully && one.digest.as_ref() == Some(digest);
        if !lived {
            break;
        }
        since = one.ended_at;
    }
    since
}

#[cfg(test)]
mod tests {
    use super::*;

    fn past(hours_ago: i64, state: State, of: &str) -> Past {
        let at = Utc::now() - TimeDelta::hours(hours_ago);
        Past {
            run: format!("{}-0123456789ab", at.timestamp()).parse().unwrap(),
            environment: "staging".to_owned(),
            service: "api".to_owned(),
            sequence: Some(1),
            operation: "promote".to_owned(),
            state,
            ended: true,
            ended_at: Some(at),
            changed_the_world: true,
            moved: true,
            digest: Some(Digest::sha256(of.as_bytes())),
            previous: None,
            version: None,
            rolls_back: None,
            opened_at: at,
            updated_at: at,
        }
    }

    #[test]
    fn only_an_unbroken_verified_life_counts() {
        let good = State::CompletedSuccessfully;
        let cases: [(&str, Vec<Past>, bool); 6] = [
            ("never there", vec![], false),
            ("long enough", vec![past(3, good, "new"), past(9, good, "old")], true),
            ("not long enough", vec![past(1, good, "new")], false),
            ("brought twice", vec![past(1, good, "new"), past(3, good, "new")], true),
            ("gone in between", vec![past(1, good, "new"), past(2, good, "old"), past(5, good, "new")], false),
            ("failed since", vec![past(1, State::Failed, "new"), past(5, good, "new")], false),
        ];
        for (name, past, open) in cases {
            let look = look(&past, &Digest::sha256(b"new"), "staging", "api", Duration::from_secs(7200));
            assert_eq!(look.sight == super::super::Sight::Open, open, "{name}: {look:?}");
        }
    }
}
