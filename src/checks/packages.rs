//! `packages`: the database of installed packages is there, so that scanners see what is in the image.

use async_trait::async_trait;

use super::contents::each;
use super::{Check, Name, Observation, Subject};
use crate::config::CheckName;
use crate::promotion::fault::Fault;
use crate::registry::Installed;

/// Each platform's image has a database of packages.
#[derive(Debug)]
pub(super) struct Packages;

const WANTED: &str = "a database of installed packages (apk, dpkg or rpm)";

#[async_trait]
impl Check for Packages {
    fn name(&self) -> Name {
        Name::Chosen(CheckName::Packages)
    }

    fn reads_layers(&self) -> bool {
        true
    }

    async fn look(&self, subject: &Subject<'_>) -> Result<Vec<Observation>, Fault> {
        each(subject, WANTED, |contents| {
            let listed: usize = contents
                .databases
                .values()
                .map(|one| match one {
                    Installed::Listed(packages) => packages.len(),
                    Installed::Unread => 0,
                })
                .sum();
            match contents.databases.keys().next() {
                Some(name) if listed > 0 => Observation::good(format!("/{name}: {listed} packages"), WANTED),
                Some(name) => Observation::good(format!("/{name}"), WANTED),
                None => Observation::bad(
                    "none",
                    WANTED,
                    "leave the package manager's database in the image: without it a scanner finds nothing, whatever is there",
                ),
            }
        })
        .await
    }
}
