//! Validation by the real program: images with each defect, and what is said of them.

#![allow(clippy::unwrap_used, reason = "what cannot be had fails the test")]

// Marked so that the lints know its helpers for tests, too.
#[cfg(test)]
mod attestations;
#[cfg(test)]
mod content;
#[cfg(test)]
mod defects;
#[cfg(test)]
mod evasions;
#[cfg(test)]
mod fuzzed;
#[cfg(test)]
mod layers;
#[cfg(test)]
mod scan;
#[cfg(test)]
mod scene;
#[cfg(test)]
mod signature;
#[cfg(test)]
mod upstream;
