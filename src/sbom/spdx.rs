//! SPDX 2.x in JSON (<https://spdx.github.io/spdx-spec/v2.3/>).

use serde::Deserialize;

use super::{Bill, Package};
use crate::config::SbomFormat;

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    packages: Vec<RawPackage>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawPackage {
    name: String,
    #[serde(default)]
    version_info: Option<String>,
    #[serde(default)]
    license_concluded: Option<String>,
    #[serde(default)]
    license_declared: Option<String>,
    #[serde(default)]
    external_refs: Option<Vec<Reference>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    #[serde(default)]
    reference_type: String,
    #[serde(default)]
    reference_locator: String,
}

pub(super) fn read(text: &str) -> Result<Bill, String> {
    let document: Document =
        serde_json::from_str(text).map_err(|error| format!("it is SPDX, and malformed: {error}"))?;
    let packages = document.packages.into_iter().map(|package| {
        let said = |text: Option<String>| text.filter(|text| !matches!(text.as_str(), "" | "NOASSERTION" | "NONE"));
        let licenses = [said(package.license_concluded), said(package.license_declared)];
        let mut licenses: Vec<String> = licenses.into_iter().flatten().collect();
        licenses.dedup();
        let mut references = package.external_refs.unwrap_or_default().into_iter();
        Package {
            name: package.name,
            version: package.version_info.unwrap_or_default(),
            purl: references.find(|one| one.reference_type == "purl").map(|one| one.reference_locator),
            licenses,
        }
    });
    Ok(Bill { format: SbomFormat::Spdx, subjects: Vec::new(), packages: packages.collect() })
}
