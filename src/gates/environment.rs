//! The environment exists on GitHub, and is protected as the configuration demands.

use async_trait::async_trait;

use super::{Gate, Look, Subject};
use crate::config::{DeployBranches, Protection as Demand};
use crate::promotion::environment_review::{Branches, Protection};
use crate::promotion::fault::{Code, Fault};

/// The environment is protected.
pub(super) struct Protected {
    demand: Demand,
}

impl Protected {
    pub(super) const fn new(demand: Demand) -> Self {
        Self { demand }
    }
}

#[async_trait]
impl Gate for Protected {
    fn name(&self) -> String {
        "environment".to_owned()
    }

    fn code(&self) -> Code {
        Code::EnvironmentUnprotected
    }

    async fn look(&self, subject: &Subject) -> Result<Look, Fault> {
        let hub = subject.hub()?;
        let name = self.demand.name.as_deref().unwrap_or_else(|| subject.environment_on_github());
        let found = hub.github.environment(&hub.repository, name).await?;
        Ok(match found {
            None => {
                Look::closed(format!("the environment {name} is not there, or the token may not see it"), "it is there")
            }
            Some(found) => look(&self.demand, name, &found.protection),
        })
    }
}

fn look(demand: &Demand, name: &str, protection: &Protection) -> Look {
    let mut missing: Vec<String> = Vec::new();
    let reviewers = protection.reviewers.as_ref();
    if demand.reviewers && reviewers.is_none_or(|found| found.users.is_empty() && found.teams.is_empty()) {
        missing.push("has no required reviewers".to_owned());
    }
    if demand.prevent_self_review && !reviewers.is_some_and(|found| found.prevent_self_review) {
        missing.push("lets people approve what they started".to_owned());
    }
    if let Some(wanted) = demand.wait_timer {
        let found = u64::from(protection.wait_timer.unwrap_or_default()) * 60;
        if found < wanted.as_secs() {
            missing.push(format!("has a wait timer of {} minutes", found / 60));
        }
    }
    match (demand.branches, protection.branches) {
        (None, _)
        | (Some(DeployBranches::Protected), Some(Branches::Protected))
        | (Some(DeployBranches::Restricted), Some(Branches::Protected | Branches::Named)) => {}
        (Some(DeployBranches::Protected), Some(Branches::Named)) => {
            missing.push("lets branches through by their names, protected or not".to_owned());
        }
        (Some(_), None) => missing.push("lets every branch through".to_owned()),
    }
    let wanted = wanted(demand);
    if missing.is_empty() {
        Look::open(format!("the environment {name} is protected so"), wanted)
    } else {
        Look::closed(format!("the environment {name} {}", missing.join(", ")), wanted)
    }
}

fn wanted(demand: &Demand) -> String {
    let mut wanted = vec!["it is there".to_owned()];
    if demand.reviewers {
        wanted.push("required reviewers".to_owned());
    }
    if demand.prevent_self_review {
        wanted.push("no review of one's own".to_owned());
    }
    if let Some(timer) = demand.wait_timer {
        wanted.push(format!("a wait timer of {}", humantime::format_duration(timer)));
    }
    match demand.branches {
        Some(DeployBranches::Protected) => wanted.push("protected branches only".to_owned()),
        Some(DeployBranches::Restricted) => wanted.push("certain branches only".to_owned()),
        None => {}
    }
    wanted.join(", ")
}
