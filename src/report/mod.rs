//! What people and machines are told of a run: pure functions over its fold.

pub mod comparison;
mod deployments;
pub mod failure;
mod health;
pub mod lines;
pub mod outputs;
pub mod plan;
pub mod policy_input;
pub mod record;
pub mod request;
pub mod sarif;
pub mod summary;
mod text;
