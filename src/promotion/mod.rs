//! The domain: states, events, candidates, faults, plan, verdicts. No I/O, and nothing of the other rooms.

pub mod act;
mod answer;
pub mod approval;
pub mod asking;
pub mod candidate;
pub mod check;
mod code;
pub mod comparison;
pub mod deployment;
pub mod digest;
pub mod environment_review;
pub mod event;
pub mod fault;
pub mod gate;
pub mod health;
pub mod identity;
pub mod image;
pub mod login;
pub mod marker;
pub mod migration;
pub mod next;
pub mod opening;
pub mod operation;
pub mod plan;
pub mod required_checks;
pub mod retry;
pub mod run;
pub mod sensitive;
pub mod stage;
pub mod state;
#[cfg(test)]
pub(crate) mod stories;
pub mod traffic;
pub mod untrusted;
pub mod way_back;
pub mod wildcard;
pub mod window;
