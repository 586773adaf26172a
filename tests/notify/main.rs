//! People are told: by the real program over stand-ins and real servers; what they are told fits the published schemas
//! and limits.

#![allow(clippy::unwrap_used, reason = "what cannot be had fails the test")]

mod announced;
mod exported;
mod faults;
mod mails;
mod outcomes;
mod reported;
mod scene;
mod told;
