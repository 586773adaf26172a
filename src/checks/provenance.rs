//! `provenance`: the image was built where, and from what, it must have been.
//!
//! A SLSA provenance counts when it is signed by the identity that is wanted, about this digest (the image's, or each
//! platform's), and says what is wanted. It is looked for among what is attached to the image, and then at GitHub.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::signature::{each, trust};
use super::{Check, Name, Observation, Subject};
use crate::config::{AttestationSource, CheckName, Provenance as Policy};
use crate::promotion::digest::Digest;
use crate::promotion::fault::Fault;
use crate::signature::material::{self, Offer};
use crate::signature::provenance::{is_provenance, judge};
use crate::signature::trust::{Log, Trust, Wanted};

/// Whoever built the image says so, and is believed.
#[derive(Debug)]
pub(super) struct Provenance;

#[async_trait]
impl Check for Provenance {
    fn name(&self) -> Name {
        Name::Chosen(CheckName::Provenance)
    }

    async fn look(&self, subject: &Subject<'_>) -> Result<Vec<Observation>, Fault> {
        let Some(policy) = &subject.policy.policy.provenance else {
            return Ok(vec![Observation::nothing("it is not said where it has to be built")]);
        };
        let trust = trust(policy.trust_root.as_deref(), subject)?;
        let mut offers: BTreeMap<Digest, Vec<Result<Offer, String>>> = BTreeMap::new();
        if policy.from.contains(&AttestationSource::Registry) {
            for attachment in subject.evidence.attachments(subject).await?.iter() {
                if let Some(offer) = material::offer(attachment) {
                    offers.entry(attachment.subject.clone()).or_default().push(offer);
                }
            }
        }
        let look = |offers: &BTreeMap<Digest, Vec<Result<Offer, String>>>| {
            each(subject, &wanted(policy), "let the build attest, e.g. by `actions/attest-build-provenance`, then compare `gh attestation verify oci://", |digest| {
                prove(&trust, offers.get(digest).map_or(&[][..], Vec::as_slice), digest, policy)
            })
        };
        let seen = look(&offers);
        if !policy.from.contains(&AttestationSource::Github) || seen.iter().all(Observation::is_good) {
            return Ok(seen);
        }
        // Asked only where what is attached does not prove it: that costs a request for each digest.
        let mut digests = vec![subject.inspection.root.digest.clone()];
        digests.extend(subject.inspection.platforms.iter().map(|platform| platform.manifest.digest.clone()));
        digests.dedup();
        for digest in digests {
            let Some(found) = subject.evidence.attestations(subject, &digest, &policy.source).await? else {
                offers.entry(digest).or_default().push(Err("GitHub is not asked, for there is no token".to_owned()));
                continue;
            };
            let found = found.iter().map(|bundle| Offer::of_json(bundle));
            offers.entry(digest).or_default().extend(found);
        }
        Ok(look(&offers))
    }
}

fn prove(
    trust: &Trust,
    offers: &[Result<Offer, String>],
    digest: &Digest,
    policy: &Policy,
) -> Result<String, Vec<String>> {
    let wanted = Wanted::Identity { identity: &policy.signer, log: Log::AsTheRoot };
    let mut why = Vec::new();
    for offer in offers {
        let offer = match offer {
            Ok(offer) => offer,
            Err(error) => {
                why.push(error.clone());
                continue;
            }
        };
        // Signatures and attestations of other kinds are not what is looked for, whoever made them.
        let of_its_kind =
            offer.statement().is_ok_and(|statement| statement.is_some_and(|one| is_provenance(&one.predicate_type)));
        if !of_its_kind {
            continue;
        }
        match trust.prove(offer, digest, wanted).and_then(|proven| judge(&proven, policy)) {
            Ok(seen) => return Ok(format!("{}: {seen}", digest.short())),
            Err(error) => why.push(error),
        }
    }
    Err(why)
}

fn wanted(policy: &Policy) -> String {
    let mut wanted = format!("a provenance that says it was built from {}", policy.source);
    if let Some(reference) = &policy.reference {
        wanted.push_str(&format!(", at a ref like `{}`", reference.as_str()));
    }
    if let Some(builder) = &policy.builder {
        wanted.push_str(&format!(", by a builder like `{}`", builder.as_str()));
    }
    wanted.push_str(&format!(", signed by {} of {}", policy.signer.subject.text(), policy.signer.issuer.text()));
    wanted
}
