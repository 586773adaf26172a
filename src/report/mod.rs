//! What people and machines are told of a run: pure functions over its fold.

mod deployments;
pub mod failure;
mod health;
pub mod lines;
pub mod outputs;
pub mod plan;
pub mod record;
pub mod request;
pub mod summary;
mod text;
