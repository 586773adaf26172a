//! `validate`: what an image must be like.

use std::collections::BTreeSet;
use std::time::Duration;

use indexmap::IndexMap;

use super::check::Checker;
use super::collection::{Map, NonEmpty};
use super::content::{Content, RawContent};
use super::image::PlatformSyntax;
use super::literal::Lit;
use super::matching::{AnyPattern, Pattern};
use super::names::{Line, UserName};
use super::path::Path;
use super::scan::{RawScan, Scan};
use super::section::{section, words};
use super::signature::{Provenance, RawProvenance, RawSignature, Signature};
use super::size::{Size, SizeSyntax};
use super::time::PositiveDuration;
use crate::promotion::candidate::Platform;

words! {
    /// A check of an image whose severity can be chosen. That the image exists and is consistent cannot: without it
    /// nothing can be promoted.
    pub enum CheckName {
        /// CMD and ENTRYPOINT are present and sane.
        Command = "command",
        /// The platforms that are asked for are there.
        Platforms = "platforms",
        /// The image and its layers are neither too small nor too large.
        Size = "size",
        /// The labels that are asked for are there.
        Labels = "labels",
        /// The metadata that is asked for is there.
        Metadata = "metadata",
        /// The image is not too old.
        Age = "age",
        /// The image runs as an allowed user.
        User = "user",
        /// The layers are intact.
        Layers = "layers",
        /// Known vulnerabilities.
        Scan = "scan",
        /// The image is signed.
        Signature = "signature",
        /// The image was built where it should have been.
        Provenance = "provenance",
        /// The image has a list of what is in it.
        Sbom = "sbom",
        /// The ports that the image exposes.
        Ports = "ports",
        /// Files with setuid or setgid.
        Setuid = "setuid",
        /// Secrets in environment variables and history.
        Secrets = "secrets",
        /// What the image was built on.
        BaseImage = "base-image",
        /// The database of installed packages.
        Packages = "packages",
        /// The age of the operating system's release.
        EndOfLife = "end-of-life",
        /// How much the image has grown.
        Growth = "growth",
    }
}

words! {
    /// What a check that does not pass does to the run.
    pub enum CheckSeverity {
        /// It fails the validation.
        Fail = "fail",
        /// It is shown.
        Warn = "warn",
        /// It does not run.
        Off = "off",
    }
}

words! {
    /// A set of severities for the checks that `severity` does not name.
    pub enum Profile {
        /// Only what makes an image one.
        Minimal = "minimal",
        /// What every image should have is shown where it is missing.
        Standard = "standard",
        /// What a security team asks for is required.
        Strict = "strict",
    }
}

impl Profile {
    /// What a check does that the configuration says nothing about.
    #[must_use]
    pub const fn severity(self, check: CheckName) -> CheckSeverity {
        use CheckName as C;
        match (self, check) {
            (_, C::Command) => CheckSeverity::Fail,
            (Self::Minimal, _) => CheckSeverity::Off,
            (Self::Standard, C::Layers)
            | (Self::Strict, C::Layers | C::User | C::Scan | C::Signature | C::Provenance) => CheckSeverity::Fail,
            (Self::Standard, C::User | C::Secrets | C::EndOfLife) => CheckSeverity::Warn,
            (Self::Strict, C::Sbom | C::Secrets | C::Setuid | C::EndOfLife) => CheckSeverity::Fail,
            (Self::Strict, C::Metadata | C::Packages) => CheckSeverity::Warn,
            (Self::Standard | Self::Strict, _) => CheckSeverity::Off,
        }
    }
}

words! {
    /// How layers are checked.
    pub enum Layers {
        /// By what the manifests declare.
        Headers = "headers",
        /// By reading every byte: digest, decompression, and the digest of what comes out.
        Deep = "deep",
    }
}

words! {
    /// Fields of an image's configuration (image-spec, `config.md`).
    pub enum MetadataField {
        /// When it was built.
        Created = "created",
        /// Who built it.
        Author = "author",
        /// How it was built.
        History = "history",
        /// The directory that it runs in.
        WorkingDirectory = "working-directory",
        /// The signal that stops it.
        StopSignal = "stop-signal",
    }
}

/// What an image must be like.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Validate {
    /// The checks that the configuration has something to say about.
    pub configured: BTreeSet<CheckName>,
    /// What each check is to do.
    #[serde(flatten)]
    pub policy: Policy,
}

impl Validate {
    /// What a check that does not pass does to the run: as `severity` says; else it fails where the configuration asks
    /// for something; else as the profile says.
    #[must_use]
    pub fn severity(&self, check: CheckName) -> CheckSeverity {
        match self.policy.severity.get(&check) {
            Some(severity) => *severity,
            None if self.configured.contains(&check) => CheckSeverity::Fail,
            None => self.policy.profile.severity(check),
        }
    }

    /// What the checks do, in words.
    #[must_use]
    pub fn text(&self) -> String {
        let of = |severity: CheckSeverity| -> String {
            let names = CheckName::ALL.iter().filter(|check| self.severity(**check) == severity);
            let names: Vec<&str> = names.map(|check| check.name()).collect();
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        };
        format!(
            "profile {}; these checks fail: exists, consistent, {}; warn: {}; are off: {}",
            self.policy.profile,
            of(CheckSeverity::Fail),
            of(CheckSeverity::Warn),
            of(CheckSeverity::Off)
        )
    }
}

section! {
    /// What an image must be like. What is asked for here fails the run where it is missing, unless `severity` says
    /// otherwise.
    pub struct Policy from RawValidate, finish validate => Validate {
        /// The severities of checks that nothing is said about. Default: `standard`.
        default(Profile::Standard) profile: Profile,
        /// The severity of single checks, e.g. `user: warn`.
        default(IndexMap::new()) severity: Map<CheckName, CheckSeverity> => IndexMap<CheckName, CheckSeverity>,
        /// The platforms that must be there, e.g. `[linux/amd64, linux/arm64]`.
        default(Vec::new()) platforms: NonEmpty<Lit<PlatformSyntax>> => Vec<Platform>,
        /// How large an image may be, for each platform, compressed.
        optional size: RawSizeLimits => SizeLimits,
        /// Labels that must be there.
        default(Vec::new()) labels: Vec<Lit<Line>> => Vec<String>,
        /// Labels that must be there with a value in which this pattern is found.
        default(IndexMap::new()) label_values: Map<Line, Lit<AnyPattern>> => IndexMap<String, Pattern>,
        /// Fields of the image's configuration that must be there.
        default(Vec::new()) metadata: NonEmpty<MetadataField> => Vec<MetadataField>,
        /// What the image runs.
        always command: RawCommandPolicy => CommandPolicy,
        /// How old the image may be.
        optional age: RawAge => Age,
        /// The user that it runs as.
        optional user: RawUser => User,
        /// How layers are checked. Default: `headers`, or `deep` with the profile `strict`.
        optional layers: Layers,
        /// Known vulnerabilities.
        optional scan: RawScan => Scan,
        /// Who must have signed the image. `force` does not pass it.
        optional signature: RawSignature => Signature,
        /// Where and from what the image must have been built. `force` does not pass it.
        optional provenance: RawProvenance => Provenance,
        /// The list of what is in the image.
        optional sbom: RawSbom => Sbom,
        /// What must not be in the image.
        always content: RawContent => Content,
    }
}

impl Policy {
    /// How layers are checked.
    #[must_use]
    pub fn layers(&self) -> Layers {
        self.layers.unwrap_or(if self.profile == Profile::Strict { Layers::Deep } else { Layers::Headers })
    }
}

fn validate(policy: Policy, written: &[String], at: &Path, checker: &mut Checker<'_>) -> Option<Validate> {
    let mut configured: BTreeSet<CheckName> =
        CheckName::ALL.iter().copied().filter(|check| written.iter().any(|key| key == check.name())).collect();
    if written.iter().any(|key| key == "label-values") {
        configured.insert(CheckName::Labels);
    }
    configured.extend(policy.content.configured());
    let mut good = true;
    for (check, without) in
        [(CheckName::Signature, policy.signature.is_none()), (CheckName::Provenance, policy.provenance.is_none())]
    {
        let asked = policy.severity.get(&check).copied().unwrap_or_else(|| policy.profile.severity(check));
        if without && asked == CheckSeverity::Fail {
            checker.key_problem(
                at,
                format!("`{check}` has to be there, and nothing says whose: presence alone proves nothing"),
                format!("add `{check}`, or set `severity: {{ {check}: off }}`"),
            );
            good = false;
        }
    }
    good.then_some(Validate { configured, policy })
}

section! {
    /// Limits of size.
    pub struct SizeLimits from RawSizeLimits, finish size => SizeLimits {
        /// The least for the image.
        optional min: Lit<SizeSyntax> => Size,
        /// The most for the image.
        optional max: Lit<SizeSyntax> => Size,
        /// Limits for each layer.
        always layer: RawLayerLimits => LayerLimits,
    }
}

section! {
    /// Limits of size for each layer.
    pub struct LayerLimits from RawLayerLimits, finish layer => LayerLimits {
        /// The least.
        optional min: Lit<SizeSyntax> => Size,
        /// The most.
        optional max: Lit<SizeSyntax> => Size,
    }
}

fn size(limits: SizeLimits, _: &[String], at: &Path, checker: &mut Checker<'_>) -> Option<SizeLimits> {
    in_order(limits.min, limits.max, at, checker).then_some(limits)
}

fn layer(limits: LayerLimits, _: &[String], at: &Path, checker: &mut Checker<'_>) -> Option<LayerLimits> {
    in_order(limits.min, limits.max, at, checker).then_some(limits)
}

fn in_order(min: Option<Size>, max: Option<Size>, at: &Path, checker: &mut Checker<'_>) -> bool {
    let good = min.zip(max).is_none_or(|(min, max)| min <= max);
    if !good {
        checker.problem(&at.key("max"), "is less than `min`", "let `max` be at least `min`");
    }
    good
}

section! {
    /// What an image runs: CMD and ENTRYPOINT.
    pub struct CommandPolicy from RawCommandPolicy {
        /// Whether it may run through a shell (`/bin/sh -c …`). Default: true.
        default(true) allow_shell: bool,
        /// A pattern that must be found in the whole command, its words divided by spaces.
        optional pattern: Lit<AnyPattern> => Pattern,
    }
}

section! {
    /// How old an image may be, by its `created`.
    pub struct Age from RawAge {
        /// The most.
        required max: Lit<PositiveDuration> => Duration,
    }
}

section! {
    /// The user that an image runs as.
    pub struct User from RawUser {
        /// Whether it may be root. Default: false.
        default(false) allow_root: bool,
        /// The users that it may be, by name or number. Default: any.
        default(Vec::new()) allow: Vec<Lit<UserName>> => Vec<String>,
    }
}

words! {
    /// Formats of software bills of materials.
    pub enum SbomFormat {
        /// SPDX.
        Spdx = "spdx",
        /// CycloneDX.
        Cyclonedx = "cyclonedx",
    }
}

section! {
    /// The list of what is in the image.
    pub struct Sbom from RawSbom {
        /// The formats that will do. Default: all that are known.
        default(SbomFormat::ALL.to_vec()) formats: NonEmpty<SbomFormat> => Vec<SbomFormat>,
        /// Whether it must be there. Default: true.
        default(true) required: bool,
        /// Licences that must not be in it, as SPDX names them; `*` stands for any text, e.g. `AGPL-*`.
        default(Vec::new()) deny_licenses: Vec<Lit<Line>> => Vec<String>,
        /// Packages that must not be in it: names or package URLs; `*` stands for any text.
        default(Vec::new()) deny_packages: Vec<Lit<Line>> => Vec<String>,
    }
}

/// How old something may be.
pub(super) type Lifetime = Lit<PositiveDuration>;

/// A day.
pub(super) const DAY: Duration = Duration::from_secs(86_400);
