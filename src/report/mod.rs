//! What people and machines are told of a run: pure functions over its fold.

pub mod aftermath;
pub mod compliance;
mod deployments;
pub mod document;
pub mod errors;
pub mod failure;
mod health;
pub mod lines;
pub mod metrics;
pub mod outputs;
pub mod plan;
pub mod record;
pub mod request;
#[cfg(test)]
mod shown;
pub mod status;
pub mod summary;
mod text;
pub mod traces;
