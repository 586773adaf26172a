//! Issues about failures: one for each service and environment, updated by the next failure and closed by the next success.

use super::target::Target;
use super::visit::Visit;
use crate::config::Github;
use crate::github::issues::{ClosedAs, NewIssue, Which};
use crate::github::{GitHubError, Hub};
use crate::promotion::event::Event;
use crate::promotion::fault::{Exit, Fault, Severity};
use crate::promotion::marker::Marker;
use crate::promotion::run::Run;
use crate::report::failure;

/// The label by which they are found.
const LABEL: &str = "tidegate-failure";

/// Opens, updates or closes the issues that the end of a run asks for. That it cannot be done is recorded, and stops
/// nothing.
///
/// # Errors
/// What the ledger says.
pub(super) async fn tell(visit: &mut Visit, target: &Target, hub: Option<&Hub>) -> Result<(), Fault> {
    let settings = target.github().clone();
    let Some(hub) = Hub::to_write(hub) else { return Ok(()) };
    // Who is asked to take something back is told before the run is over.
    let asked = visit.run().rollback.asked.is_some().then_some(Exit::RollbackFailed);
    let Some(exit) = visit.run().ended.as_ref().map(|ended| ended.exit).or(asked) else { return Ok(()) };
    if !settings.issues || target.configuration.is_none() {
        return Ok(());
    }
    for service in visit.run().opening.services.clone() {
        let told = match exit {
            Exit::Done => close(visit.run(), hub, &service).await,
            Exit::Failed | Exit::RolledBack | Exit::RollbackFailed | Exit::Inconclusive
                if failure::concerns(visit.run(), &service) =>
            {
                open(visit.run(), hub, &settings, &service).await
            }
            // Bad input, a closed gate, a no: nothing was begun.
            _ => Ok(()),
        };
        if let Err(error) = told {
            let fault = Fault::from(error);
            let fix = format!("{}; or turn them off with `github: {{ issues: false }}`", fault.fix);
            visit.note(Event::Faulted(Box::new(fault.at_severity(Severity::Low).with_fix(fix)))).await?;
            break;
        }
    }
    Ok(())
}

fn marker(run: &Run, service: &str) -> Marker {
    Marker::new("failure").with("environment", run.opening.environment.as_str()).with("service", service)
}

async fn open(run: &Run, hub: &Hub, settings: &Github, service: &str) -> Result<(), GitHubError> {
    let marker = marker(run, service);
    let new = NewIssue {
        title: failure::title(run, service),
        body: failure::body(run, service),
        label: LABEL.to_owned(),
        labels: settings.labels.clone(),
        assignees: Vec::new(),
        marker: marker.clone(),
    };
    let (issue, is_new) = hub.github.open_issue(&hub.repository, &new).await?;
    if is_new {
        return Ok(());
    }
    hub.github.rewrite_issue(&hub.repository, issue.number, &new.title, &marker, &new.body).await?;
    let again = Marker::new("failed-again").with("run", run.id.as_str());
    hub.github.comment(&hub.repository, issue.number, &again, &failure::again(run)).await
}

async fn close(run: &Run, hub: &Hub, service: &str) -> Result<(), GitHubError> {
    let found = hub.github.find_issue(&hub.repository, LABEL, &marker(run, service), Which::Open).await?;
    let Some(issue) = found else { return Ok(()) };
    let mark = Marker::new("recovered").with("run", run.id.as_str());
    hub.github.comment(&hub.repository, issue.number, &mark, &failure::recovered(run)).await?;
    hub.github.close_issue(&hub.repository, issue.number, ClosedAs::Completed).await
}
