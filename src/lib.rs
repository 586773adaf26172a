//! Tidegate promotes a tested container image from one environment to the next, and takes it back when it does not
//! live.
//!
//! # The rooms
//!
//! | room | what lives there |
//! |---|---|
//! | [`action`] | the runner's contract: inputs, outputs, workflow commands, job summary, signals |
//! | [`promotion`] | the domain, no I/O: states, events, candidates, faults, plan, verdicts |
//! | [`ledger`] | where events live: PostgreSQL or SQLite, lease, audit chain, outbox, spool |
//! | [`github`] | GitHub: one client, one file for each resource |
//! | [`http`] | the one HTTP stack |
//!
//! Imports run one way: action → stages → {gates, checks, deploy, health, notify, report} → {github, registry, ledger,
//! config} → http → promotion. `promotion` imports none of the others.

pub mod action;
mod crashpoint;
pub mod github;
pub mod http;
pub mod ledger;
pub mod promotion;
pub mod report;
