//! What is deployed, what runs, and in which order: pure.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::image::Reference;

/// What a driver puts in place: an image, or a version that the driver knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Release {
    /// The image's digest; for a package the checksum of its code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Where the image is pulled from, by digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Reference>,
    /// The version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

impl Release {
    /// Whether nothing is known of it.
    #[must_use]
    pub const fn is_unknown(&self) -> bool {
        self.digest.is_none() && self.version.is_none()
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.digest, &self.version) {
            (Some(digest), _) => digest.fmt(f),
            (None, Some(version)) => write!(f, "version {version}"),
            (None, None) => f.write_str("what the driver finds"),
        }
    }
}

/// What runs in one place, as the driver says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Running {
    /// Where: a host, an alias; nothing where there is only one place.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub at: String,
    /// The digest that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The version that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.at.is_empty() {
            write!(f, "{}: ", self.at)?;
        }
        match (&self.digest, &self.version) {
            (Some(digest), Some(version)) => write!(f, "{digest} (version {version})"),
            (Some(digest), None) => digest.fmt(f),
            (None, Some(version)) => write!(f, "version {version}"),
            (None, None) => f.write_str("nothing"),
        }
    }
}

/// The one release that runs everywhere; none where nothing runs, or not the same everywhere.
#[must_use]
pub fn uniform(running: &[Running]) -> Option<Release> {
    let (first, others) = running.split_first()?;
    let same = others.iter().all(|one| (&one.digest, &one.version) == (&first.digest, &first.version));
    let release = Release { digest: first.digest.clone(), image: None, version: first.version.clone() };
    (same && !release.is_unknown()).then_some(release)
}

/// What runs and is not what should: one text for each place. `names` are all digests under which the release may run:
/// its own, and those of its platforms' manifests. A place of which nothing is known differs too.
#[must_use]
pub fn differences(wanted: &Release, names: &[Digest], running: &[Running]) -> Vec<String> {
    let is_it = |one: &Running| match (&wanted.digest, &one.digest, &wanted.version, &one.version) {
        (Some(digest), Some(found), ..) => digest == found || names.contains(found),
        // The digest is the name where both are known; a version counts only where it is all that can be compared.
        (_, _, Some(version), Some(found)) => version == found,
        // A driver that was given a digest may know it as its version.
        (Some(digest), None, _, Some(found)) => digest.as_str() == found,
        (None, _, None, _) => true,
        _ => false,
    };
    running.iter().filter(|one| !is_it(one)).map(ToString::to_string).collect()
}

/// What a driver needs to follow what it has begun: recorded at once, so that another visit can follow it too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Handle {
    /// What the other side calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Where a person can look at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Values of the answer that later calls use, and no others.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub response: serde_json::Map<String, serde_json::Value>,
}

/// How a deployment or its rollback went well.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Deployed {
    /// Whether this was found by looking, after a visit that was cut off.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub found: bool,
    /// The state that the other side has told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The version that the other side has told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What the other side has said to people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Where a person can look at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// What runs since; empty where the driver cannot tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub running: Vec<Running>,
}

/// The order in which services are deployed: those of a wave at once, each after all that it needs. Needs that are not
/// among the services are met by what is there. Services that need each other (which a configuration cannot say) come
/// last, together.
#[must_use]
pub fn waves(services: &[(String, Vec<String>)]) -> Vec<Vec<String>> {
    let known: BTreeSet<&str> = services.iter().map(|(name, _)| name.as_str()).collect();
    let mut done: BTreeSet<&str> = BTreeSet::new();
    let mut waves = Vec::new();
    while done.len() < known.len() {
        let open = services.iter().filter(|(name, _)| !done.contains(name.as_str()));
        let met =
            |needs: &[String]| needs.iter().all(|need| !known.contains(need.as_str()) || done.contains(need.as_str()));
        let mut wave: Vec<&str> = open.clone().filter(|(_, needs)| met(needs)).map(|(name, _)| name.as_str()).collect();
        if wave.is_empty() {
            wave = open.map(|(name, _)| name.as_str()).collect();
        }
        waves.push(wave.iter().map(|name| (*name).to_owned()).collect());
        done.extend(wave);
    }
    waves
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn digest(text: &str) -> Digest {
        Digest::sha256(text.as_bytes())
    }

    fn image(text: &str) -> Release {
        Release { digest: Some(digest(text)), ..Release::default() }
    }

    fn running(at: &str, text: Option<&str>, version: Option<&str>) -> Running {
        Running { at: at.to_owned(), digest: text.map(digest), version: version.map(ToOwned::to_owned) }
    }

    #[test]
    fn what_runs_is_held_against_what_should() {
        let wanted = image("a");
        assert!(
            differences(&wanted, &[], &[running("h1", Some("a"), None), running("h2", Some("a"), None)]).is_empty()
        );
        assert_eq!(
            differences(&wanted, &[], &[running("h1", Some("a"), None), running("h2", Some("b"), None)]).len(),
            1
        );
        // A platform's manifest is another name of the same image.
        assert!(differences(&wanted, &[digest("p")], &[running("", Some("p"), None)]).is_empty());
        // A digest that differs is not made good by a version.
        let both = Release { version: Some("1".to_owned()), ..image("a") };
        assert_eq!(differences(&both, &[], &[running("", Some("b"), Some("1"))]).len(), 1);
        assert!(differences(&both, &[], &[running("", None, Some("1"))]).is_empty());
        assert!(differences(&wanted, &[], &[running("", None, Some(digest("a").as_str()))]).is_empty());
        let version = Release { version: Some("2".to_owned()), ..Release::default() };
        assert_eq!(differences(&version, &[], &[running("", None, Some("1"))]), ["version 1"]);
        // A host on which nothing runs differs.
        assert_eq!(differences(&version, &[], &[running("h1", None, None)]), ["h1: nothing"]);
        // Where the driver was to choose, anything that it has chosen is right.
        assert!(differences(&Release::default(), &[], &[running("", None, Some("1"))]).is_empty());
    }

    #[test]
    fn one_release_runs_everywhere_or_none_does() {
        assert_eq!(uniform(&[running("h1", Some("a"), None), running("h2", Some("a"), None)]), Some(image("a")));
        assert_eq!(uniform(&[running("h1", Some("a"), None), running("h2", Some("b"), None)]), None);
        assert_eq!(uniform(&[running("h1", None, None)]), None);
        assert_eq!(uniform(&[]), None);
    }

    #[test]
    fn waves_follow_the_needs() {
        let services = |list: &[(&str, &[&str])]| -> Vec<(String, Vec<String>)> {
            let owned = |needs: &[&str]| needs.iter().map(|need| (*need).to_owned()).collect();
            list.iter().map(|(name, needs)| ((*name).to_owned(), owned(needs))).collect()
        };
        let three = services(&[("web", &["api"]), ("api", &["db"]), ("worker", &["api"]), ("docs", &[])]);
        assert_eq!(waves(&three), [vec!["api", "docs"], vec!["web", "worker"]]);
        assert_eq!(waves(&services(&[("a", &["b"]), ("b", &["a"])])), [vec!["a", "b"]]);
        assert!(waves(&[]).is_empty());
    }

    proptest! {
        #[test]
        fn every_service_comes_once_and_after_its_needs(edges in proptest::collection::vec((0usize..8, 0usize..8), 0..20)) {
            let name = |number: usize| format!("s{number}");
            // Only needs of smaller numbers: no circles.
            let needs = |of: usize| edges.iter().filter(|(a, b)| *a == of && b < a).map(|(_, b)| name(*b)).collect::<Vec<_>>();
            let services: Vec<(String, Vec<String>)> = (0..8).rev().map(|one| (name(one), needs(one))).collect();
            let waves = waves(&services);
            let place = |service: &str| waves.iter().position(|wave| wave.iter().any(|one| one == service));
            prop_assert_eq!(waves.iter().map(Vec::len).sum::<usize>(), 8);
            for (service, needs) in &services {
                for need in needs {
                    prop_assert!(place(need) < place(service));
                }
            }
        }
    }
}
