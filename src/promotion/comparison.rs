//! What changes with a promotion: the image that comes, against the one that it replaces. A pure function over two looks.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::candidate::{ImageFacts, Platform, PlatformFacts};
use super::digest::Digest;
use super::sensitive::{has_secret_value, is_secret_name};

/// The most differences that are kept of one image.
const MOST: usize = 200;

/// The longest value that is kept.
const LONGEST: usize = 200;

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Aspect {
    /// A platform that there is an image for.
    Platform,
    /// The compressed size.
    Size,
    /// Layers.
    Layers,
    /// The user.
    User,
    /// ENTRYPOINT.
    Entrypoint,
    /// CMD.
    Command,
    /// A label.
    Label,
    /// An environment variable.
    Environment,
    /// A package, by the bills of materials.
    Package,
    /// A known vulnerability, by the reports of scanners.
    Vulnerability,
}

impl Aspect {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Platform => "platform",
            Self::Size => "size",
            Self::Layers => "layers",
            Self::User => "user",
            Self::Entrypoint => "entrypoint",
            Self::Command => "command",
            Self::Label => "label",
            Self::Environment => "variable",
            Self::Package => "package",
            Self::Vulnerability => "vulnerability",
        }
    }
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Difference {
    /// What is different.
    pub aspect: Aspect,
    /// For which platform, where it is not the same for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Which one of them: the name of a label, a variable, a package (untrusted).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// What it was; none where it is new (untrusted).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What it will be; none where it goes (untrusted).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// What changes with a promotion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Comparison {
    /// What it is compared with.
    pub previous: Digest,
    /// The differences, sorted.
    pub differences: Vec<Difference>,
    /// How many more there are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Named things of an image, e.g. packages by name with their versions, by platform.
pub type Listed = BTreeMap<Platform, BTreeMap<String, String>>;

impl Comparison {
    /// Compares what comes with what it replaces.
    #[must_use]
    pub fn of(previous: &Digest, before: &ImageFacts, after: &ImageFacts) -> Self {
        let mut all = Vec::new();
        let by_platform = |facts: &ImageFacts| -> BTreeMap<Platform, PlatformFacts> {
            facts.platforms.iter().map(|one| (one.platform.clone(), one.clone())).collect()
        };
        let (old, new) = (by_platform(before), by_platform(after));
        for platform in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
            match (old.get(platform), new.get(platform)) {
                (Some(old), Some(new)) => of_platform(platform, old, new, &mut all),
                (old, new) => all.push(Difference {
                    aspect: Aspect::Platform,
                    platform: None,
                    name: platform.to_string(),
                    before: old.map(|one| bytes(one.size)),
                    after: new.map(|one| bytes(one.size)),
                }),
            }
        }
        Self::bounded(previous.clone(), all)
    }

    /// The same, with what else was listed of both: packages, vulnerabilities. What only one of the two is known of is
    /// left out.
    #[must_use]
    pub fn with(self, aspect: Aspect, before: &Listed, after: &Listed) -> Self {
        let mut all = self.differences;
        for (platform, old) in before {
            if let Some(new) = after.get(platform) {
                maps(aspect, platform, old, new, &mut all);
            }
        }
        let known = self.more;
        let bounded = Self::bounded(self.previous, all);
        Self { more: bounded.more + known, ..bounded }
    }

    fn bounded(previous: Digest, all: Vec<Difference>) -> Self {
        let mut differences = common(all);
        differences.sort_by(|one, other| {
            (one.aspect, &one.platform, &one.name).cmp(&(other.aspect, &other.platform, &other.name))
        });
        let more = differences.len().saturating_sub(MOST) as u64;
        differences.truncate(MOST);
        Self { previous, differences, more }
    }
}

/// What is different in the same way for every platform that is compared is told once.
fn common(all: Vec<Difference>) -> Vec<Difference> {
    let platforms: BTreeSet<Platform> = all.iter().filter_map(|one| one.platform.clone()).collect();
    if platforms.len() < 2 {
        return all;
    }
    let without_platform = |one: &Difference| Difference { platform: None, ..one.clone() };
    let mut alike: BTreeMap<Difference, BTreeSet<Option<Platform>>> = BTreeMap::new();
    for one in &all {
        alike.entry(without_platform(one)).or_default().insert(one.platform.clone());
    }
    let everywhere = |one: &BTreeSet<Option<Platform>>| !one.contains(&None) && one.len() == platforms.len();
    alike
        .into_iter()
        .flat_map(|(one, of)| {
            let of = if everywhere(&of) { BTreeSet::from([None]) } else { of };
            of.into_iter().map(move |platform| Difference { platform, ..one.clone() })
        })
        .collect()
}

fn of_platform(platform: &Platform, old: &PlatformFacts, new: &PlatformFacts, all: &mut Vec<Difference>) {
    let mut text = |aspect: Aspect, before: Option<String>, after: Option<String>| {
        if before != after {
            let platform = Some(platform.clone());
            all.push(Difference { aspect, platform, name: String::new(), before: cut(before), after: cut(after) });
        }
    };
    text(Aspect::Size, Some(bytes(old.size)), Some(bytes(new.size)));
    let layers = |facts: &PlatformFacts| facts.layers.iter().map(|layer| layer.digest.clone()).collect::<BTreeSet<_>>();
    let (old_layers, new_layers) = (layers(old), layers(new));
    if old_layers != new_layers {
        let added = new_layers.difference(&old_layers).count();
        let gone = old_layers.difference(&new_layers).count();
        text(
            Aspect::Layers,
            Some(format!("{}", old.layers.len())),
            Some(format!("{} ({added} new, {gone} gone)", new.layers.len())),
        );
    }
    text(Aspect::User, Some(user(old)), Some(user(new)));
    text(Aspect::Entrypoint, words(&old.entrypoint), words(&new.entrypoint));
    text(Aspect::Command, words(&old.command), words(&new.command));
    maps(Aspect::Label, platform, &old.labels, &new.labels, all);
    maps(Aspect::Environment, platform, &variables(old), &variables(new), all);
}

fn maps(
    aspect: Aspect,
    platform: &Platform,
    old: &BTreeMap<String, String>,
    new: &BTreeMap<String, String>,
    all: &mut Vec<Difference>,
) {
    for name in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
        let (before, after) = (old.get(name), new.get(name));
        if before != after {
            let value = |value: Option<&String>| cut(value.map(|value| shown(aspect, name, value)));
            all.push(Difference {
                aspect,
                platform: Some(platform.clone()),
                name: name.clone(),
                before: value(before),
                after: value(after),
            });
        }
    }
}

/// A value, or that there is one, where it looks like a secret.
fn shown(aspect: Aspect, name: &str, value: &str) -> String {
    let secret =
        matches!(aspect, Aspect::Environment | Aspect::Label) && (is_secret_name(name) || has_secret_value(value));
    if secret { "(not shown)".to_owned() } else { value.to_owned() }
}

fn variables(facts: &PlatformFacts) -> BTreeMap<String, String> {
    let pairs = facts.environment.iter().map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn user(facts: &PlatformFacts) -> String {
    facts.user.clone().filter(|user| !user.is_empty()).unwrap_or_else(|| "root".to_owned())
}

fn words(words: &[String]) -> Option<String> {
    (!words.is_empty()).then(|| words.join(" "))
}

fn cut(text: Option<String>) -> Option<String> {
    text.map(
        |text| if text.chars().count() > LONGEST { text.chars().take(LONGEST).chain(['…']).collect() } else { text },
    )
}

fn bytes(size: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "it is shown with one digit behind the point")]
    match size {
        0..1_024 => format!("{size} B"),
        1_024..1_048_576 => format!("{:.1} KiB", size as f64 / 1_024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", size as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", size as f64 / 1_073_741_824.0),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn facts(platforms: &[(&str, u64)], change: impl Fn(&mut PlatformFacts)) -> ImageFacts {
        ImageFacts {
            media_type: "x".to_owned(),
            platforms: platforms
                .iter()
                .map(|(platform, size)| {
                    let mut facts = PlatformFacts {
                        platform: platform.parse().unwrap(),
                        manifest: Digest::sha256(platform.as_bytes()),
                        config: Digest::sha256(b"c"),
                        layers: Vec::new(),
                        size: *size,
                        created: None,
                        labels: BTreeMap::from([("version".to_owned(), "1".to_owned())]),
                        environment: vec!["PATH=/bin".to_owned(), "DB_PASSWORD=hunter2".to_owned()],
                        user: None,
                        entrypoint: Vec::new(),
                        command: vec!["serve".to_owned()],
                    };
                    change(&mut facts);
                    facts
                })
                .collect(),
            manifests: 0,
            blobs: 0,
            bytes: 0,
        }
    }

    #[test]
    fn what_is_added_removed_and_changed() {
        let previous = Digest::sha256(b"before");
        let before = facts(&[("linux/amd64", 100), ("linux/386", 7)], |_| {});
        let after = facts(&[("linux/amd64", 2048), ("linux/arm64", 9)], |facts| {
            facts.labels.insert("version".to_owned(), "2".to_owned());
            facts.environment = vec!["PATH=/bin".to_owned(), "DB_PASSWORD=hunter3".to_owned(), "NEW=1".to_owned()];
            facts.user = Some("65532".to_owned());
            facts.command.clear();
        });
        let comparison = Comparison::of(&previous, &before, &after);
        let told: Vec<String> = comparison
            .differences
            .iter()
            .map(|one| format!("{} {} {:?} {:?}", one.aspect.name(), one.name, one.before, one.after))
            .collect();
        assert_eq!(
            told,
            [
                r#"platform linux/386 Some("7 B") None"#,
                r#"platform linux/arm64 None Some("9 B")"#,
                r#"size  Some("100 B") Some("2.0 KiB")"#,
                r#"user  Some("root") Some("65532")"#,
                r#"command  Some("serve") None"#,
                r#"label version Some("1") Some("2")"#,
                r#"variable DB_PASSWORD Some("(not shown)") Some("(not shown)")"#,
                r#"variable NEW None Some("1")"#,
            ]
        );
    }

    #[test]
    fn what_is_the_same_everywhere_is_told_once() {
        let platforms = [("linux/amd64", 100), ("linux/arm64", 100)];
        let before = facts(&platforms, |_| {});
        let after = facts(&platforms, |facts| {
            facts.user = Some("1".to_owned());
            if facts.platform.architecture == "arm64" {
                facts.size = 101;
            }
        });
        let comparison = Comparison::of(&Digest::sha256(b"x"), &before, &after);
        let told: Vec<_> = comparison.differences.iter().map(|one| (one.aspect, one.platform.is_some())).collect();
        assert_eq!(told, [(Aspect::Size, true), (Aspect::User, false)]);
        let packages = |version: &str| -> Listed {
            let listed = BTreeMap::from([("musl".to_owned(), version.to_owned())]);
            platforms.iter().map(|(platform, _)| (platform.parse().unwrap(), listed.clone())).collect()
        };
        let comparison = comparison.with(Aspect::Package, &packages("1"), &packages("2"));
        assert_eq!(comparison.differences.last().unwrap().name, "musl");
        assert_eq!(comparison.differences.len(), 3);
    }

    proptest! {
        #[test]
        fn nothing_changes_against_itself(size in any::<u64>(), user in proptest::option::of("[a-z]{1,5}")) {
            let one = facts(&[("linux/amd64", size)], |facts| facts.user.clone_from(&user));
            prop_assert!(Comparison::of(&Digest::sha256(b"x"), &one, &one).differences.is_empty());
        }
    }
}
