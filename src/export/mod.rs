//! What leaves the machine when a visit is over: the trail's archive, the workflow run's artifact, the trace.
//!
//! | file | what it does |
//! |---|---|
//! | `storage` | object storage: S3 and what speaks like it, Azure, Google Cloud |
//! | `artifact` | artifacts of GitHub Actions |
//! | `otlp` | traces, to where OpenTelemetry's variables say |
//!
//! Nothing here changes the verdict of a run: the ledger has everything that would be sent.

pub mod artifact;
pub mod otlp;
pub mod storage;

use bytes::Bytes;

/// A file on its way.
#[derive(Debug, Clone)]
pub struct Item {
    /// Its name, without folders.
    pub name: String,
    /// Its content.
    pub content: Bytes,
}
