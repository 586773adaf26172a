//! Gates, approvals and what is written to GitHub, by the real binary; and commands on hosts over SSH.

// Marked so that the lints know its helpers for tests, too.
#[cfg(test)]
mod ssh;
