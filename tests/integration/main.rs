//! Black-box tests: the real binary, and the rooms against real counterparts.

mod config;
mod ledger;
mod registry;
