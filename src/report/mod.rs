//! What people and machines are told of a run: pure functions over its fold.

pub mod outputs;
pub mod record;
pub mod summary;
mod text;
