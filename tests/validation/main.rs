//! Validation by the real program: images with each defect, and what is said of them.

#![allow(clippy::unwrap_used, reason = "what cannot be had fails the test")]

// Marked so that the lints know its helpers for tests, too.
#[cfg(test)]
mod scan;
#[cfg(test)]
mod scene;
