//! What is in an image, by what is attached to it or by its layers, listed by platform, so that two images can be compared.

use super::layers::{Readings, are_read};
use super::scan::is_about;
use super::{Subject, contents};
use crate::config::{CheckName, CheckSeverity};
use crate::promotion::comparison::Listed;
use crate::promotion::digest::Digest;
use crate::promotion::fault::Fault;
use crate::registry::{Attachment, Inspection};
use crate::sbom;
use crate::scan::{self, document};

/// What is in an image, by what is attached to it. A platform about which nothing is attached is not in the lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Packages with their versions.
    pub packages: Listed,
    /// Vulnerabilities with their severities and packages.
    pub vulnerabilities: Listed,
}

/// The packages by the databases in the layers: of the image that is replaced, and of the one that comes. Layers that both
/// have are read once. Nothing where the policy does not ask for databases of packages.
///
/// # Errors
/// What keeps a layer from being read.
pub async fn installed(before: &Subject<'_>, after: &Subject<'_>) -> Result<Option<(Listed, Listed)>, Fault> {
    if after.policy.severity(CheckName::Packages) == CheckSeverity::Off || !are_read(after.policy) {
        return Ok(None);
    }
    let new = after.evidence.layers(after).await?;
    let old = Readings::beside(before, &new).await?;
    Ok(Some((contents::packages(&old, before.inspection), contents::packages(&new, after.inspection))))
}

/// Lists what is attached. What cannot be read is left out: it is the checks' to complain.
#[must_use]
pub fn listing(attachments: &[Attachment], inspection: &Inspection) -> Listing {
    let mut listing = Listing::default();
    for attachment in attachments {
        let Ok(bytes) = &attachment.bytes else { continue };
        let Ok(text) = document::text(bytes) else { continue };
        if let Ok(Some(bill)) = sbom::read(&text) {
            let about = |digest: &Digest| attachment.subject == *digest;
            for platform in &inspection.platforms {
                if about(&platform.manifest.digest) || about(&inspection.root.digest) {
                    let listed = listing.packages.entry(platform.facts.platform.clone()).or_default();
                    listed.extend(bill.packages.iter().map(|one| (one.name.clone(), one.version.clone())));
                }
            }
            continue;
        }
        for report in scan::read(bytes).unwrap_or_default() {
            for platform in inspection.platforms.iter().filter(|platform| is_about(&report, inspection, platform)) {
                let listed = listing.vulnerabilities.entry(platform.facts.platform.clone()).or_default();
                listed.extend(report.vulnerabilities.iter().map(|one| {
                    let place = format!("{}, {} {}", one.severity.name(), one.package, one.version);
                    (one.id.clone(), place.trim_end_matches([',', ' ']).to_owned())
                }));
            }
        }
    }
    listing
}
