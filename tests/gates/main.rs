//! Gates, approvals and what is written to GitHub, by the real binary; and commands on hosts over SSH.

// Each is marked so that the lints know its helpers for tests, too.
#[cfg(test)]
mod approvals;
#[cfg(test)]
mod gates;
#[cfg(test)]
mod scene;
#[cfg(test)]
mod shown;
#[cfg(test)]
mod ssh;
#[cfg(test)]
mod told;
