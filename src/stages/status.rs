//! The run's state as a commit status, where a configuration, a repository, a commit and a token are given.

use super::target::Target;
use super::visit::Visit;
use crate::github::Hub;
use crate::github::statuses::{CommitState, NewStatus};
use crate::promotion::event::Event;
use crate::promotion::fault::{Code, Fault, Severity};
use crate::promotion::run::Run;
use crate::promotion::state::State;

/// Shows how the run stands. That it cannot be shown is recorded, and stops nothing.
///
/// # Errors
/// What the ledger says.
pub(super) async fn show(visit: &mut Visit, target: &Target, hub: Option<&Hub>) -> Result<(), Fault> {
    let wanted = target.configuration.is_some() && target.github().status;
    let (Some(hub), Some(commit), true) = (Hub::to_write(hub), visit.run().opening.commit.clone(), wanted) else {
        return Ok(());
    };
    let status = status(visit.run());
    let Err(error) = hub.github.set_commit_status(&hub.repository, &commit, &status).await else { return Ok(()) };
    let fault = Fault::from(error);
    let fix = if fault.code == Code::TokenLacksPermission {
        format!("{}; or turn it off with `github: {{ status: false }}`", fault.fix)
    } else {
        fault.fix.clone()
    };
    visit.note(Event::Faulted(Box::new(fault.at_severity(Severity::Low).with_fix(fix)))).await
}

/// What is shown of a run: that it is under way, and how it ended.
fn status(run: &Run) -> NewStatus {
    let (state, text) = match (&run.ended, run.state) {
        (Some(ended), State::CompletedSuccessfully) => (CommitState::Success, ended.state.name()),
        (Some(ended), State::Inconclusive | State::Cancelled) => (CommitState::Error, ended.state.name()),
        (Some(ended), _) => (CommitState::Failure, ended.state.name()),
        (None, State::Interrupted) => (CommitState::Error, State::Interrupted.name()),
        (None, _) => (CommitState::Pending, run.state.name()),
    };
    NewStatus {
        state,
        context: format!("tidegate/{}", run.opening.environment),
        description: format!("{}: {text}", run.id),
        target_url: run.opening.workflow.as_ref().and_then(|workflow| workflow.url.clone()),
    }
}
