//! Stage `report`: reports are written, people are told.
//!
//! The files themselves are written when the visit is over, because they tell of its end too.

use super::work::{Outcome, Trouble, Work};
use crate::promotion::state::State;

/// Ends the run's work.
///
/// # Errors
/// None so far.
pub(super) async fn run(_work: &mut Work<'_>) -> Result<Outcome, Trouble> {
    Ok(Outcome::done().entering(State::NotificationsSent))
}
