//! `audit`: where the trail goes.

use std::time::Duration;

use super::check::Checker;
use super::literal::Lit;
use super::names::{ArchiveAddress, Region, UrlSyntax};
use super::path::Path;
use super::secret::{Secret, SecretText};
use super::section::section;
use super::template::{Filled, Template};
use super::time::PositiveDuration;

section! {
    /// Where the audit trail goes, beside the ledger.
    pub struct Audit from RawAudit, finish audit => Audit {
        /// Object storage that it is archived in: `s3://bucket/prefix`, `gs://…` or `az://account/container/…`.
        optional archive: Lit<ArchiveAddress> => String,
        /// The address of an S3-compatible storage. Default: that of AWS.
        optional endpoint: Filled<UrlSyntax> => Template,
        /// The region of an S3 bucket. Default: that of the step's environment.
        optional region: Lit<Region> => String,
        /// Credentials for the storage. Default: those of the step's environment.
        optional credentials: RawArchiveCredentials => ArchiveCredentials,
        /// Whether it is uploaded as an artifact of the workflow run. Default: true.
        default(true) artifact: bool,
        /// How long the artifact stays; the repository's own limit may be shorter. Default: `365d`.
        default(Duration::from_secs(365 * 86_400)) artifact_retention: Lit<PositiveDuration> => Duration,
    }
}

section! {
    /// Credentials for object storage.
    pub struct ArchiveCredentials from RawArchiveCredentials {
        /// The access key's id; for Azure the account's name.
        required access_key_id: SecretText => Secret,
        /// The secret key.
        required secret_access_key: SecretText => Secret,
    }
}

fn audit(audit: Audit, written: &[String], at: &Path, checker: &mut Checker<'_>) -> Option<Audit> {
    let mut good = true;
    let s3 = audit.archive.as_ref().is_some_and(|address| address.starts_with("s3://"));
    if audit.archive.is_none() {
        good &= checker.belongs(at, written, &["credentials"], &["archive"]);
    }
    if !s3 {
        good &= checker.belongs(at, written, &["endpoint", "region"], &["archive: s3://…"]);
    }
    if !audit.artifact {
        good &= checker.belongs(at, written, &["artifact-retention"], &["artifact: true"]);
    }
    good.then_some(audit)
}
