//! Runs GitHub workflows from their YAML.
//!
//! Jobs run in the order of `needs`, side by side where they can; `if`, `with`, `env`, `outputs`, matrices and calls of
//! reusable workflows are evaluated as GitHub documents it; `run` steps are run by bash, Tidegate's own action as the
//! runner runs it ([`testbed::runner`]), and every other action by a stand-in of its name ([`stand_in`]). Environments
//! pause a job until they are reviewed, artifacts and outputs are carried over, tokens have the permissions that the
//! workflow says.
//!
//! Whatever is not known, be it a key, an event, an action, a context in the wrong place or a name that nothing declares,
//! panics with a clear message: what would silently be nothing on GitHub is a failed test here.

pub mod availability;
pub mod expression;
pub mod files;
mod job;
pub mod look;
mod machine;
pub mod model;
mod outcome;
mod permissions;
pub mod stand_in;
mod workflow;

pub use machine::{Event, Gate, Machine, Review, Waiting};
pub use outcome::{JobEnd, Run, StepEnd, Verdict};
