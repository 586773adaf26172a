//! GitHub: one client, and one file for each resource that is read or written.
//!
//! [`GitHub`] sends; octocrab is the transport beneath it, on the one HTTP stack. What GitHub tells is read with models
//! of our own that take unknown words and missing fields, because GitHub adds to them all the time. What it means for a
//! run is decided in `promotion`, by pure functions.

pub mod approvals;
pub mod artifact_metadata;
pub mod attestations;
pub mod checks;
pub mod commits;
pub mod deployments;
pub mod dispatch;
pub mod environments;
mod hub;
pub mod id_token;
pub mod issues;
pub mod repository;
pub mod runs;
pub mod statuses;
pub mod teams;

mod cache;
mod client;
mod error;
mod identity;
mod limits;
mod pages;
mod permission;
mod request;
mod text;
mod transport;

pub use client::{GitHub, Observer, Settings};
pub use error::GitHubError;
pub use hub::Hub;
pub use identity::Identity;
pub use limits::Limit;
pub use permission::{Needs, Permission};
pub use repository::RepositoryName;
