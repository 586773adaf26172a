//! What a run does next: pure decisions over the fold.

use super::event::{Conclusion, Decision};
use super::fault::{Code, Exit};
use super::run::Run;
use super::stage::Stage;
use super::state::State;

/// What a visit does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Begin a stage, or take it up again.
    Begin(Stage),
    /// Let the run go; a later visit goes on.
    Leave(Decision),
    /// End the run.
    End(Ending),
    /// The run is over already.
    Over,
}

/// How a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// In which state.
    pub state: State,
    /// With which exit code.
    pub exit: Exit,
    /// What decided it.
    pub reason: Option<Code>,
}

/// What comes next in a run, when the visit is to end after `until`.
///
/// Stages come in their order, each once, and again only where a visit was cut off in it. A stage that failed or
/// errored leads to the report at once. A plan with nothing to do does too.
#[must_use]
pub fn next(run: &Run, until: Option<Stage>) -> Next {
    if run.ended.is_some() {
        return Next::Over;
    }
    let report =
        || if run.conclusion(Stage::Report).is_some() { Next::End(ending(run)) } else { Next::Begin(Stage::Report) };
    for stage in Stage::ALL {
        if stage == Stage::Report {
            return report();
        }
        match run.conclusion(stage) {
            None => return Next::Begin(stage),
            Some(Conclusion::Failed | Conclusion::Errored) => return report(),
            Some(Conclusion::Done | Conclusion::Skipped) => {}
        }
        if stage == Stage::Conditions && run.plan.as_ref().is_some_and(|(plan, _)| plan.stages.is_empty()) {
            return report();
        }
        if until == Some(stage) {
            return Next::Leave(Decision::Proceed);
        }
    }
    report()
}

/// How a run ends, by how its stages ended and what went wrong.
#[must_use]
pub fn ending(run: &Run) -> Ending {
    let failed =
        Stage::ALL.into_iter().any(|stage| run.conclusion(stage).is_some_and(|conclusion| !conclusion.lets_go_on()));
    if !failed {
        return Ending { state: State::CompletedSuccessfully, exit: Exit::Done, reason: None };
    }
    let reason = run.decisive_fault().map(|fault| fault.code);
    let exit = match reason {
        Some(code) if !run.changed_the_world() => code.exit(),
        _ => Exit::Failed,
    };
    Ending { state: State::Failed, exit, reason }
}
