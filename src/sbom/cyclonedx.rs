//! CycloneDX in JSON (<https://cyclonedx.org/docs/1.6/json/>).

use serde::Deserialize;

use super::{Bill, Package};
use crate::config::SbomFormat;

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    components: Vec<Component>,
}

#[derive(Deserialize)]
struct Component {
    name: String,
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    purl: Option<String>,
    #[serde(default)]
    licenses: Option<Vec<Choice>>,
    #[serde(default)]
    components: Option<Vec<Component>>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    license: Option<License>,
    #[serde(default)]
    expression: Option<String>,
}

#[derive(Deserialize)]
struct License {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    name: Option<String>,
}

pub(super) fn read(text: &str) -> Result<Bill, String> {
    let document: Document =
        serde_json::from_str(text).map_err(|error| format!("it is CycloneDX, and malformed: {error}"))?;
    let mut packages = Vec::new();
    document.components.into_iter().for_each(|component| list(component, &mut packages));
    Ok(Bill { format: SbomFormat::Cyclonedx, subjects: Vec::new(), packages })
}

/// Lists a component, and those inside it; JSON is not read deeper than they can be.
fn list(component: Component, packages: &mut Vec<Package>) {
    let licenses = component.licenses.unwrap_or_default().into_iter();
    let named = |license: License| license.id.or(license.name);
    let licenses = licenses.filter_map(|one| one.expression.or_else(|| one.license.and_then(named)));
    packages.push(Package {
        name: component.name,
        version: component.version.unwrap_or_default(),
        purl: component.purl,
        licenses: licenses.collect(),
    });
    component.components.into_iter().flatten().for_each(|inner| list(inner, packages));
}
