//! Tidegate promotes a tested container image from one environment to the next, and takes it back when it does not
//! live.
//!
//! # The rooms
//!
//! | room | what lives there |
//! |---|---|
//! | [`action`] | the runner's contract: inputs, outputs, workflow commands, job summary, signals |
//! | [`promotion`] | the domain, no I/O: states, events, candidates, faults, plan, verdicts |
//! | [`registry`] | references resolved, images inspected and verified, content copied, tags moved |
//! | [`checks`] | what is validated about an image, one file for each check |
//! | [`scan`] | known vulnerabilities: reports of scanners, exceptions, the decision |
//! | [`config`] | tidegate.yml: raw to checked model, secrets by name, errors with their place and a fix |
//! | [`ledger`] | where events live: PostgreSQL or SQLite, lease, audit chain, outbox, spool |
//! | [`health`] | probes: questions to what was deployed, and what their answers came to |
//! | [`notify`] | who is told what, in which words, and the channels to them |
//! | [`gates`] | what must hold before anything is changed: one file for each gate |
//! | [`export`] | archive, artifact, traces: what leaves the machine when a visit is over |
//! | [`aws`] | Amazon Web Services: credentials, and the calls of Lambda's API |
//! | [`github`] | GitHub: one client, one file for each resource |
//! | [`pace`] | how often others are asked whether something has changed |
//! | [`deploy`] | the drivers that put releases in place |
//! | [`migrate`] | how the application's database is brought forward |
//! | [`http`] | the one HTTP stack |
//! | [`process`] | programs that we run: bounded, and never left behind |
//! | [`ssh`] | commands on hosts that prove who they are |
//!
//! Imports run one way: action → stages → {gates, checks, deploy, health, notify, report} → aws → {github, registry,
//! ledger, config, ssh} → {http, process} → promotion. `promotion` imports none of the others.

pub mod action;
pub mod aws;
pub mod checks;
pub mod config;
mod crashpoint;
pub mod deploy;
pub mod export;
pub mod gates;
pub mod github;
pub mod health;
pub mod http;
pub mod ledger;
pub mod migrate;
pub mod notify;
pub mod pace;
pub mod process;
pub mod promotion;
pub mod registry;
pub mod report;
pub mod scan;
pub mod ssh;
pub mod stages;
