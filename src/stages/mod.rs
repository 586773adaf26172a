//! The stages of a run, one file each, and the visits that advance it through them.
//!
//! | file | what it does |
//! |---|---|
//! | `conditions`, `approval`, `validation`, `copy`, `migration`, `deployment`, `verification`, `report` | the stages |
//! | `drivers`, `driving`, `take_back` | who deploys; deployments under way, and taken back |
//! | `promote`, `recover`, `audit`, `verify`, `reporting`, `announce` | the operations |
//! | `rollback`, `way_back` | what was deployed is taken back by a run of its own; what that goes back to |
//! | `open`, `lease`, `advance`, `visit` | one execution on a run: its beginning, its right, its way, what it records |
//! | `request`, `target`, `work` | what is asked, where it goes, with what |
//! | `probes`, `baseline`, `values` | what is asked of what was deployed, and of what ran before; what templates may use |
//! | `gates`, `sources`, `targets` | that the world is still as the run knows it |
//! | `awaited` | people are asked to take back what a run cannot |
//! | `asking`, `reviewed`, `changes` | how people say yes, and what they are told |
//! | `status`, `deployment_status`, `failure` | what GitHub is shown |
//! | `watch` | a job beside one that waits for reviewers |
//! | `audience`, `attend`, `logs`, `files` | who listens, and what is left behind |

mod advance;
pub mod announce;
mod approval;
mod asking;
mod attend;
pub mod audience;
pub mod audit;
mod awaited;
mod baseline;
mod changes;
mod conditions;
mod copy;
mod deployment;
mod deployment_status;
mod drivers;
mod driving;
mod failure;
pub mod files;
mod gates;
mod lease;
pub mod logs;
mod migration;
mod open;
mod probes;
mod promote;
mod recover;
mod report;
pub mod reporting;
pub mod request;
mod reviewed;
mod rollback;
mod sources;
mod status;
mod take_back;
pub mod target;
mod targets;
mod validation;
mod values;
mod verification;
mod verify;
mod visit;
pub mod watch;
mod way_back;
mod work;

pub use open::interrupt;
pub use promote::{plan, promote};
pub use recover::{Recovered, Recovery, Settling, recover};
pub use validation::foreseen;
pub use work::Tools;
