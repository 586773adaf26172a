//! Stage `approval`: people say yes to the plan, or nobody has to.

use super::work::{Outcome, Trouble, Work};
use crate::promotion::check::Verdict;
use crate::promotion::event::{Consent, Event};
use crate::promotion::fault::Fault;
use crate::promotion::state::State;

/// Gets the plan its yes.
///
/// # Errors
/// What the ledger says.
pub(super) async fn run(work: &mut Work<'_>) -> Result<Outcome, Trouble> {
    // Nobody is asked to approve what cannot be promoted: the validation will refuse it.
    if work.visit.run().worst_verdict() == Verdict::Fail && !work.request.force {
        return Ok(Outcome::skipped("checks fail: nobody is asked"));
    }
    let Some((_, plan)) = work.visit.run().plan.clone() else {
        return Err(Fault::defect("an approval without a plan").into());
    };
    let because = match work.target.configuration {
        Some(_) => "the configuration asks for no approval",
        None => "there is no configuration",
    };
    let consent = Consent::Policy { because: because.to_owned() };
    work.visit.note(Event::Approved { plan, consent }).await?;
    Ok(Outcome::done().entering(State::ApprovalGranted))
}
