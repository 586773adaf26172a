//! `signature`: the image is signed by whoever must have signed it.
//!
//! A signature counts for the digest that it names: the image's as a whole, or that of each platform. An attestation is
//! a signature of what it says, not of the image, and does not count.

use async_trait::async_trait;

use super::{Check, Name, Observation, Subject};
use crate::config::{CheckName, Signature as Policy, Signer};
use crate::promotion::digest::Digest;
use crate::promotion::fault::{Code, Fault};
use crate::registry::Attachment;
use crate::scan::document;
use crate::signature::trust::{Log, Trust, Wanted, key};
use crate::signature::{COSIGN_SIGN, Proven, material};

/// Somebody who must have signed has signed the digest.
#[derive(Debug)]
pub(super) struct Signature;

/// How many reasons are told of why nothing counts.
const TOLD: usize = 3;

#[async_trait]
impl Check for Signature {
    fn name(&self) -> Name {
        Name::Chosen(CheckName::Signature)
    }

    async fn look(&self, subject: &Subject<'_>) -> Result<Vec<Observation>, Fault> {
        let Some(policy) = &subject.policy.policy.signature else {
            return Ok(vec![Observation::nothing("nobody is said who has to sign")]);
        };
        let trust = trust(policy.trust_root.as_deref(), subject)?;
        let keys = match &policy.signer {
            Signer::Keys(paths) => read_keys(paths, subject)?,
            Signer::Identity(_) => Vec::new(),
        };
        let wanted_signer = match &policy.signer {
            Signer::Identity(identity) => {
                let log = if policy.transparency_log { Log::Required } else { Log::Unasked };
                Wanted::Identity { identity, log }
            }
            Signer::Keys(_) => Wanted::Keys { keys: &keys, log: policy.transparency_log },
        };
        let attachments = subject.evidence.attachments(subject).await?;
        let proof = |digest: &Digest| prove(&trust, &attachments, digest, wanted_signer);
        Ok(each(subject, &wanted(policy), "sign the digest, e.g. `cosign sign --yes", proof))
    }
}

/// Looks for a proof for the image as a whole, or else for each platform.
pub(super) fn each(
    subject: &Subject<'_>,
    wanted: &str,
    fix: &str,
    proof: impl Fn(&Digest) -> Result<String, Vec<String>>,
) -> Vec<Observation> {
    let root = &subject.inspection.root.digest;
    let of_the_root = match proof(root) {
        Ok(seen) => return vec![Observation::good(seen, wanted)],
        Err(why) => why,
    };
    let fix = format!("{fix} {}@{root}`; `force` does not pass it", subject.repository);
    let bad = |why: Vec<String>| Observation::bad(told(&why), wanted, fix.clone()).unforceable();
    let platforms: Vec<_> = subject.inspection.platforms.iter().filter(|one| one.manifest.digest != *root).collect();
    let each: Vec<_> = platforms.iter().map(|platform| (*platform, proof(&platform.manifest.digest))).collect();
    if each.iter().all(|(_, proof)| proof.is_err()) {
        let why = each.into_iter().filter_map(|(_, proof)| proof.err()).flatten();
        return vec![bad(of_the_root.into_iter().chain(why).collect())];
    }
    each.into_iter()
        .map(|(platform, proof)| proof.map_or_else(&bad, |seen| Observation::good(seen, wanted)).of(platform))
        .collect()
}

/// Reasons, each once.
fn told(why: &[String]) -> String {
    let mut once: Vec<&String> = Vec::new();
    for one in why {
        if !once.contains(&one) {
            once.push(one);
        }
    }
    if once.is_empty() {
        return "nothing that could prove it".to_owned();
    }
    let shown: Vec<&str> = once.iter().take(TOLD).map(|one| one.as_str()).collect();
    let more = once.len().saturating_sub(TOLD);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("nothing that proves it: {}{more}", shown.join("; "))
}

/// The trust root that the policy names, or the ones that are built in.
pub(super) fn trust(path: Option<&str>, subject: &Subject<'_>) -> Result<Trust, Fault> {
    let Some(path) = path else { return Trust::built_in().map_err(|error| Fault::defect(error.to_string())) };
    let invalid = |why: String| {
        Fault::new(Code::ConfigurationInvalid, format!("{path}: {why}"))
            .with_fix("name a file with a trust root as Sigstore distributes it (`trusted_root.json`)")
    };
    let bytes = document::read_file(&subject.workspace.join(path)).map_err(|error| invalid(error.to_string()))?;
    let text = document::text(&bytes).map_err(|error| invalid(error.to_string()))?;
    Trust::of_file(&text).map_err(|error| invalid(error.to_string()))
}

fn read_keys(
    paths: &[String],
    subject: &Subject<'_>,
) -> Result<Vec<(String, sigstore_verify::types::DerPublicKey)>, Fault> {
    paths
        .iter()
        .map(|path| {
            let invalid = |why: String| {
                Fault::new(Code::ConfigurationInvalid, format!("{path}: {why}"))
                    .with_fix("name a file with a public key in PEM, e.g. `cosign.pub`, and check it out before this step")
            };
            let bytes = document::read_file(&subject.workspace.join(path)).map_err(|error| invalid(error.to_string()))?;
            let text = document::text(&bytes).map_err(|error| invalid(error.to_string()))?;
            Ok((path.clone(), key(&text).map_err(invalid)?))
        })
        .collect()
}

fn prove(
    trust: &Trust,
    attachments: &[Attachment],
    digest: &Digest,
    wanted: Wanted<'_>,
) -> Result<String, Vec<String>> {
    let mut why = Vec::new();
    for attachment in attachments.iter().filter(|attachment| attachment.subject == *digest) {
        let Some(offer) = material::offer(attachment) else { continue };
        match offer.and_then(|offer| trust.prove(&offer, digest, wanted)) {
            Ok(Proven { statement: Some(statement), .. }) if statement.predicate_type != COSIGN_SIGN => {}
            Ok(Proven { signer, issuer, .. }) => {
                let issuer = issuer.map(|issuer| format!(", vouched for by {issuer}")).unwrap_or_default();
                return Ok(format!("{} signed by {signer}{issuer}", digest.short()));
            }
            Err(error) => why.push(error),
        }
    }
    Err(why)
}

fn wanted(policy: &Policy) -> String {
    let log = if policy.transparency_log { ", in a transparency log" } else { "" };
    match &policy.signer {
        Signer::Identity(identity) => {
            format!("a signature by {} of {}{log}", identity.subject.text(), identity.issuer.text())
        }
        Signer::Keys(paths) => format!("a signature by the key {}{log}", paths.join(" or ")),
    }
}
