//! Promotions by the real program, as the runner runs it: what it does to registries and ledgers, and what it leaves.

#![allow(clippy::unwrap_used, reason = "what cannot be had fails the test")]

mod audited;
mod configured;
mod counted;
mod forced;
mod locked;
mod real;
mod rebuilt;
mod recovered;
mod refused;
mod rehearsed;
mod resumed;
pub(crate) mod scene;
mod shown;
mod signalled;
mod spooled;
mod told;
mod unconfigured;
