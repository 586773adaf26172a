//! `sbom`: a list of what is in the image is attached to it, and nothing that is denied is on the list.
//!
//! A list counts for the platform that it is attached to, or for all where it is attached to the image as a whole. One
//! in an attestation has to be about what it is attached to.

use async_trait::async_trait;

use super::{Check, Name, Observation, Subject};
use crate::config::{CheckName, Sbom as Policy, SbomFormat};
use crate::promotion::fault::Fault;
use crate::promotion::wildcard::is_like;
use crate::registry::{Attachment, PlatformInspection};
use crate::sbom::{self, Bill, Package, is_denied};
use crate::scan::document;

/// Each platform's image has a list of what is in it.
#[derive(Debug)]
pub(super) struct Sbom;

/// How many packages are named.
const NAMED: usize = 10;

#[async_trait]
impl Check for Sbom {
    fn name(&self) -> Name {
        Name::Chosen(CheckName::Sbom)
    }

    async fn look(&self, subject: &Subject<'_>) -> Result<Vec<Observation>, Fault> {
        let all = Policy {
            formats: SbomFormat::ALL.to_vec(),
            required: true,
            deny_licenses: Vec::new(),
            deny_packages: Vec::new(),
        };
        let policy = subject.policy.policy.sbom.as_ref().unwrap_or(&all);
        let attachments = subject.evidence.attachments(subject).await?;
        let platforms = &subject.inspection.platforms;
        Ok(platforms.iter().map(|platform| observe(subject, platform, &attachments, policy).of(platform)).collect())
    }
}

fn observe(
    subject: &Subject<'_>,
    platform: &PlatformInspection,
    attachments: &[Attachment],
    policy: &Policy,
) -> Observation {
    let wanted = wanted(policy);
    let root = &subject.inspection.root.digest;
    let mut bills: Vec<Bill> = Vec::new();
    // Those that do not count, and those of which nobody knows what is on them.
    let (mut wrong, mut unread) = (Vec::new(), Vec::new());
    for attachment in attachments.iter().filter(|one| one.subject == platform.manifest.digest || one.subject == *root) {
        let told = |why: String| format!("{}: {why}", attachment.manifest.short());
        match read(attachment) {
            Ok(Some(bill)) if !bill.subjects.is_empty() && !bill.subjects.contains(&attachment.subject) => {
                wrong.push(told("it is about another image".to_owned()));
            }
            Ok(Some(bill)) if !policy.formats.contains(&bill.format) => {
                wrong.push(told(format!("{} is not asked for", bill.format)));
            }
            Ok(Some(bill)) if bill.packages.is_empty() => wrong.push(told("it lists nothing".to_owned())),
            Ok(Some(bill)) => bills.push(bill),
            Ok(None) => {}
            // What is no JSON at all may be a signature, or another kind of document.
            Err(why) if looks_like_a_bill(attachment) => unread.push(told(why)),
            Err(_) => {}
        }
    }
    let fix = "let the build attach one (`docker buildx build --sbom=true`, `cosign attest --type spdxjson`)";
    if bills.is_empty() {
        let why: Vec<String> = unread.into_iter().chain(wrong).collect();
        let nothing = why.is_empty();
        let seen = if nothing { "none".to_owned() } else { format!("none that counts: {}", why.join("; ")) };
        if nothing && !policy.required {
            return Observation::nothing(seen);
        }
        return Observation::bad(seen, wanted, fix);
    }
    // What is denied may be on the list that cannot be read.
    let denies = !policy.deny_licenses.is_empty() || !policy.deny_packages.is_empty();
    if denies && !unread.is_empty() {
        return Observation::bad(unread.join("; "), wanted, "attach the list again, or remove it");
    }
    let packages = || bills.iter().flat_map(|bill| &bill.packages);
    let mut denied: Vec<String> = packages().filter_map(|package| denial(package, policy)).collect();
    denied.sort();
    denied.dedup();
    if denied.is_empty() {
        let formats: Vec<&str> = bills.iter().map(|bill| bill.format.name()).collect();
        return Observation::good(format!("{} packages by {}", packages().count(), formats.join(", ")), wanted);
    }
    let more = denied.len().saturating_sub(NAMED);
    denied.truncate(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Observation::bad(
        format!("{}{more}", denied.join(", ")),
        wanted,
        "replace the packages that are named, or allow them",
    )
}

/// The bill in an attachment; none where it is something else.
///
/// # Errors
/// What cannot be read.
fn read(attachment: &Attachment) -> Result<Option<Bill>, String> {
    let bytes = attachment.bytes.as_ref().map_err(ToString::to_string)?;
    let text = document::text(bytes).map_err(|error| error.to_string())?;
    sbom::read(&text)
}

/// Whether an attachment claims to be a bill, so that one that cannot be read is told.
fn looks_like_a_bill(attachment: &Attachment) -> bool {
    attachment.says_to_be(&["spdx", "cyclonedx"])
}

fn denial(package: &Package, policy: &Policy) -> Option<String> {
    let purl = package.purl.as_deref().unwrap_or_default();
    let bare = purl.split(['?', '#']).next().unwrap_or_default();
    let versioned = format!("{}@{}", package.name, package.version);
    let names = [package.name.as_str(), versioned.as_str(), purl, bare];
    let is_denied_package =
        |pattern: &String| names.iter().any(|name| !name.is_empty() && is_like(pattern, name, true));
    if policy.deny_packages.iter().any(is_denied_package) {
        return Some(versioned.trim_end_matches('@').to_owned());
    }
    let denies = |license: &str| policy.deny_licenses.iter().any(|pattern| is_like(pattern, license, false));
    let license = package.licenses.iter().find(|license| is_denied(license, denies))?;
    Some(format!("{} ({license})", versioned.trim_end_matches('@')))
}

fn wanted(policy: &Policy) -> String {
    let formats: Vec<&str> = policy.formats.iter().map(|format| format.name()).collect();
    let mut wanted = format!("a list of packages in {}", formats.join(" or "));
    if !policy.deny_licenses.is_empty() {
        wanted.push_str(&format!(", without the licences {}", policy.deny_licenses.join(", ")));
    }
    if !policy.deny_packages.is_empty() {
        wanted.push_str(&format!(", without the packages {}", policy.deny_packages.join(", ")));
    }
    wanted
}
