//! No other deployment to the environment is in progress on GitHub.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{TimeDelta, Utc};

use super::{Gate, Look, Subject};
use crate::config::Deployments as Rule;
use crate::github::deployments::DeploymentState;
use crate::promotion::fault::{Code, Fault};

/// How many of the newest deployments are looked at.
const LOOKED_AT: usize = 10;

/// Nobody else deploys there.
pub(super) struct Deployments {
    rule: Rule,
}

impl Deployments {
    pub(super) const fn new(rule: Rule) -> Self {
        Self { rule }
    }
}

#[async_trait]
impl Gate for Deployments {
    fn name(&self) -> String {
        "deployments".to_owned()
    }

    fn code(&self) -> Code {
        Code::DeploymentInProgress
    }

    fn wait(&self) -> Duration {
        self.rule.wait
    }

    async fn look(&self, subject: &Subject) -> Result<Look, Fault> {
        let hub = subject.hub()?;
        let name = subject.environment_on_github();
        let wanted = "no other deployment in progress";
        let own = own_deployment(subject).await?;
        let oldest = Utc::now() - TimeDelta::from_std(self.rule.abandoned_after).unwrap_or(TimeDelta::MAX);
        let mut others = Vec::new();
        for deployment in hub.github.deployments(&hub.repository, name, LOOKED_AT).await? {
            let ours = own == Some(deployment.id)
                || deployment.payload.as_ref().is_some_and(|payload| payload.run == subject.run);
            if ours || deployment.created_at < oldest {
                continue;
            }
            let state = hub.github.deployment_state(&hub.repository, deployment.id).await?;
            match state {
                // One that nobody has said anything of yet is about to begin.
                Some(state) if !state.is_under_way() => {
                    // What was before one that has ended has ended too, or was left behind.
                    if state == DeploymentState::Success {
                        break;
                    }
                }
                state => others.push(format!(
                    "deployment {} of {} is {}",
                    deployment.id,
                    super::short(&deployment.commit),
                    state.as_ref().map_or("new", DeploymentState::name)
                )),
            }
        }
        Ok(if others.is_empty() {
            Look::open(format!("nothing is under way to {name}"), wanted)
        } else {
            Look::not_yet(others.join("; "), wanted)
        })
    }
}

/// The deployment that GitHub made for this very job, because it names an `environment`.
async fn own_deployment(subject: &Subject) -> Result<Option<u64>, Fault> {
    match (subject.hub()?, subject.job.check_run) {
        (hub, Some(id)) => Ok(hub.github.own_check(&hub.repository, id).await?.deployment),
        (_, None) => Ok(None),
    }
}
