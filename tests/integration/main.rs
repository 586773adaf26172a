//! Black-box tests: the real binary, and the rooms against real counterparts.

mod config;
// Marked so that the lints know its helpers for tests, too.
#[cfg(test)]
mod crashed;
mod ledger;
mod promotion;
// Marked so that the lints know its helpers for tests, too.
#[cfg(test)]
mod registry;
// Marked so that the lints know its helpers for tests, too.
#[cfg(test)]
mod github;
// The same.
#[cfg(test)]
mod tree;
