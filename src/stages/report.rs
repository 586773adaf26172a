//! Stage `report`: reports are written, people are told.
//!
//! The files themselves are written when the visit is over, because they tell of its end too.

use super::work::{Outcome, Trouble, Work};
use crate::promotion::state::State;

/// Ends the run's work.
///
/// # Errors
/// What the ledger says. That somebody could not be told is recorded, and no error.
pub(super) async fn run(work: &mut Work<'_>) -> Result<Outcome, Trouble> {
    work.visit.finish_telling().await?;
    Ok(Outcome::done().entering(State::NotificationsSent))
}
