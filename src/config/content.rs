//! `validate.content`: what must not be in an image, found without a scanner.

use std::time::Duration;

use super::collection::NonEmpty;
use super::literal::Lit;
use super::names::{ContainerPort, FilePath, Line};
use super::section::section;
use super::size::{Percent, PercentSyntax};
use super::validate::{CheckName, Lifetime};
use super::value::VariableName;

section! {
    /// What must not be in an image.
    pub struct Content from RawContent {
        /// The ports that it may expose.
        optional ports: RawPorts => Ports,
        /// Files with setuid or setgid.
        optional setuid: RawSetuid => Setuid,
        /// Secrets in environment variables and history.
        optional secrets: RawSecrets => Secrets,
        /// What it may be built on.
        optional base_image: RawBaseImage => BaseImage,
        /// Whether the database of its packages must be there. Default: false.
        default(false) packages: bool,
        /// The release of its operating system.
        optional end_of_life: RawEndOfLife => EndOfLife,
        /// How much it may grow against the image that it replaces.
        optional growth: RawGrowth => Growth,
    }
}

impl Content {
    /// The checks that the configuration has something to say about.
    pub(super) fn configured(&self) -> impl Iterator<Item = CheckName> {
        [
            (self.ports.is_some(), CheckName::Ports),
            (self.setuid.is_some(), CheckName::Setuid),
            (self.secrets.is_some(), CheckName::Secrets),
            (self.base_image.is_some(), CheckName::BaseImage),
            (self.packages, CheckName::Packages),
            (self.end_of_life.is_some(), CheckName::EndOfLife),
            (self.growth.is_some(), CheckName::Growth),
        ]
        .into_iter()
        .filter_map(|(asked, check)| asked.then_some(check))
    }
}

section! {
    /// The ports that an image may expose.
    pub struct Ports from RawPorts {
        /// They, and no others; an empty list allows none.
        required allow: Vec<Lit<ContainerPort>> => Vec<String>,
    }
}

section! {
    /// Files with setuid or setgid.
    pub struct Setuid from RawSetuid {
        /// Those that may be there, e.g. `/usr/bin/su`. Default: none.
        default(Vec::new()) allow: Vec<Lit<FilePath>> => Vec<String>,
    }
}

section! {
    /// Secrets in environment variables and history.
    pub struct Secrets from RawSecrets {
        /// Variables that look like secrets and are none.
        default(Vec::new()) allow: Vec<Lit<VariableName>> => Vec<String>,
    }
}

section! {
    /// What an image may be built on, by the labels `org.opencontainers.image.base.name` and `….digest`.
    pub struct BaseImage from RawBaseImage {
        /// Names or digests; `*` stands for any text, e.g. `docker.io/library/debian:*`.
        required allow: NonEmpty<Lit<Line>> => Vec<String>,
    }
}

section! {
    /// The release of an image's operating system.
    pub struct EndOfLife from RawEndOfLife {
        /// How long before its end it is an error already. Default: on the day.
        optional before: Lifetime => Duration,
    }
}

section! {
    /// How much an image may grow against the one that it replaces.
    pub struct Growth from RawGrowth, finish growth => Growth {
        /// As a whole, e.g. `20%`.
        optional total: Lit<PercentSyntax<10000>> => Percent,
        /// In its largest layer.
        optional layer: Lit<PercentSyntax<10000>> => Percent,
    }
}

fn growth(
    growth: Growth,
    _: &[String],
    at: &super::path::Path,
    checker: &mut super::check::Checker<'_>,
) -> Option<Growth> {
    if growth.total.is_none() && growth.layer.is_none() {
        checker.key_problem(at, "says neither `total` nor `layer`", "add `total`, e.g. `total: 20%`");
        return None;
    }
    Some(growth)
}
