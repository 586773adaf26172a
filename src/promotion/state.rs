//! The states of a run and the one table of their legal transitions.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::stage::Stage;

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The run exists; nothing was looked at.
    Initializing,
    /// Gates are evaluated and the image is looked at.
    ValidatingConditions,
    /// People are asked.
    PendingApproval,
    /// Enough people said yes, or nobody had to be asked.
    ApprovalGranted,
    /// The image is validated.
    ValidationRunning,
    /// Every check passed, or was overruled by `force`.
    ValidationPassed,
    /// A check failed.
    ValidationFailed,
    /// Bytes and tags are put in place.
    PromotionRunning,
    /// The same, again, after a passing fault.
    PromotionRetrying,
    /// Bytes or tags could not be put in place.
    PromotionFailed,
    /// Every tag points to the digest.
    PromotionSucceeded,
    /// Database migrations run.
    Migrating,
    /// The driver deploys.
    TriggeringDeployment,
    /// Probes and window.
    Verifying,
    /// The last known good digest is put back.
    RollingBack,
    /// It is back, and was verified.
    RolledBack,
    /// It could not be put back: a human is needed.
    RollbackFailed,
    /// Reports are written.
    GeneratingReports,
    /// Everybody was told.
    NotificationsSent,
    /// The end: done.
    CompletedSuccessfully,
    /// The end: the candidate is bad, or could not be put in place.
    Failed,
    /// The end: stopped on purpose.
    Cancelled,
    /// The end: people said no, or nobody answered in time.
    Rejected,
    /// The end: it could not be told whether the candidate lives.
    Inconclusive,
    /// Stopped by a signal or a crash; the next visit goes on.
    Interrupted,
}

impl State {
    /// All states.
    pub const ALL: [Self; 25] = [
        Self::Initializing,
        Self::ValidatingConditions,
        Self::PendingApproval,
        Self::ApprovalGranted,
        Self::ValidationRunning,
        Self::ValidationPassed,
        Self::ValidationFailed,
        Self::PromotionRunning,
        Self::PromotionRetrying,
        Self::PromotionFailed,
        Self::PromotionSucceeded,
        Self::Migrating,
        Self::TriggeringDeployment,
        Self::Verifying,
        Self::RollingBack,
        Self::RolledBack,
        Self::RollbackFailed,
        Self::GeneratingReports,
        Self::NotificationsSent,
        Self::CompletedSuccessfully,
        Self::Failed,
        Self::Cancelled,
        Self::Rejected,
        Self::Inconclusive,
        Self::Interrupted,
    ];

    /// The states in which a run may end.
    pub const FINAL: [Self; 7] = [
        Self::CompletedSuccessfully,
        Self::Failed,
        Self::Cancelled,
        Self::Rejected,
        Self::Inconclusive,
        Self::RolledBack,
        Self::RollbackFailed,
    ];

    /// The name in the ledger and the outputs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Initializing => "initializing",
            Self::ValidatingConditions => "validating-conditions",
            Self::PendingApproval => "pending-approval",
            Self::ApprovalGranted => "approval-granted",
            Self::ValidationRunning => "validation-running",
            Self::ValidationPassed => "validation-passed",
            Self::ValidationFailed => "validation-failed",
            Self::PromotionRunning => "promotion-running",
            Self::PromotionRetrying => "promotion-retrying",
            Self::PromotionFailed => "promotion-failed",
            Self::PromotionSucceeded => "promotion-succeeded",
            Self::Migrating => "migrating",
            Self::TriggeringDeployment => "triggering-deployment",
            Self::Verifying => "verifying",
            Self::RollingBack => "rolling-back",
            Self::RolledBack => "rolled-back",
            Self::RollbackFailed => "rollback-failed",
            Self::GeneratingReports => "generating-reports",
            Self::NotificationsSent => "notifications-sent",
            Self::CompletedSuccessfully => "completed-successfully",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Rejected => "rejected",
            Self::Inconclusive => "inconclusive",
            Self::Interrupted => "interrupted",
        }
    }

    /// The states that may follow this one: the one table of legal transitions.
    ///
    /// `interrupted` is reached from every state that does work and leads back to every one of them, because the
    /// next visit takes up the stage that was under way. `failed`, `cancelled` and `inconclusive` may end any work,
    /// with or without reports before them.
    #[must_use]
    pub const fn successors(self) -> &'static [Self] {
        use State as S;
        match self {
            S::Initializing => {
                &[S::ValidatingConditions, S::GeneratingReports, S::Failed, S::Cancelled, S::Interrupted]
            }
            S::ValidatingConditions => &[
                S::PendingApproval,
                S::ApprovalGranted,
                S::ValidationRunning,
                S::RollingBack,
                S::Verifying,
                S::GeneratingReports,
                S::Failed,
                S::Cancelled,
                S::Inconclusive,
                S::Interrupted,
            ],
            S::PendingApproval => &[
                S::ApprovalGranted,
                S::ValidatingConditions,
                S::GeneratingReports,
                S::Rejected,
                S::Failed,
                S::Cancelled,
                S::Interrupted,
            ],
            S::ApprovalGranted => &[
                S::ValidationRunning,
                S::ValidatingConditions,
                S::GeneratingReports,
                S::Failed,
                S::Cancelled,
                S::Interrupted,
            ],
            S::ValidationRunning => &[
                S::ValidationPassed,
                S::ValidationFailed,
                S::GeneratingReports,
                S::Failed,
                S::Cancelled,
                S::Interrupted,
            ],
            S::ValidationFailed => {
                &[S::ValidationPassed, S::GeneratingReports, S::Failed, S::Cancelled, S::Interrupted]
            }
            S::ValidationPassed => &[
                S::PromotionRunning,
                S::ValidatingConditions,
                S::ValidationRunning,
                S::GeneratingReports,
                S::Failed,
                S::Cancelled,
                S::Interrupted,
            ],
            S::PromotionRunning => &[
                S::PromotionRetrying,
                S::PromotionFailed,
                S::PromotionSucceeded,
                S::GeneratingReports,
                S::Failed,
                S::Cancelled,
                S::Interrupted,
            ],
            S::PromotionRetrying => &[
                S::PromotionRunning,
                S::PromotionFailed,
                S::PromotionSucceeded,
                S::GeneratingReports,
                S::Failed,
                S::Cancelled,
                S::Interrupted,
            ],
            S::PromotionFailed => &[S::RollingBack, S::GeneratingReports, S::Failed, S::Cancelled, S::Interrupted],
            S::PromotionSucceeded => &[
                S::Migrating,
                S::TriggeringDeployment,
                S::Verifying,
                S::RollingBack,
                S::GeneratingReports,
                S::Failed,
                S::Interrupted,
            ],
            S::Migrating => &[
                S::TriggeringDeployment,
                S::Verifying,
                S::RollingBack,
                S::GeneratingReports,
                S::Failed,
                S::Inconclusive,
                S::Interrupted,
            ],
            S::TriggeringDeployment => {
                &[S::Verifying, S::RollingBack, S::GeneratingReports, S::Failed, S::Inconclusive, S::Interrupted]
            }
            S::Verifying => &[
                S::RollingBack,
                S::RolledBack,
                S::RollbackFailed,
                S::GeneratingReports,
                S::Failed,
                S::Inconclusive,
                S::Interrupted,
            ],
            S::RollingBack => &[S::RolledBack, S::RollbackFailed, S::Verifying, S::Interrupted],
            S::RolledBack | S::RollbackFailed => &[S::GeneratingReports, S::Failed, S::Interrupted],
            // The report may come before the deployment (its notifications then tell of the promotion alone) or last.
            S::GeneratingReports => &[
                S::NotificationsSent,
                S::CompletedSuccessfully,
                S::Failed,
                S::Cancelled,
                S::Rejected,
                S::Inconclusive,
                S::RolledBack,
                S::RollbackFailed,
                S::Interrupted,
            ],
            S::NotificationsSent => &[
                S::GeneratingReports,
                S::Migrating,
                S::TriggeringDeployment,
                S::Verifying,
                S::CompletedSuccessfully,
                S::Failed,
                S::Cancelled,
                S::Rejected,
                S::Inconclusive,
                S::RolledBack,
                S::RollbackFailed,
                S::Interrupted,
            ],
            S::Interrupted => &[
                S::Initializing,
                S::ValidatingConditions,
                S::PendingApproval,
                S::ApprovalGranted,
                S::ValidationRunning,
                S::ValidationPassed,
                S::ValidationFailed,
                S::PromotionRunning,
                S::PromotionRetrying,
                S::PromotionFailed,
                S::PromotionSucceeded,
                S::Migrating,
                S::TriggeringDeployment,
                S::Verifying,
                S::RollingBack,
                S::RolledBack,
                S::RollbackFailed,
                S::GeneratingReports,
                S::NotificationsSent,
                // Cut off between its last stage and its end, it has only the end to come.
                S::CompletedSuccessfully,
                S::Failed,
                S::Cancelled,
                S::Rejected,
                S::Inconclusive,
                // The visit that went on was cut off as well.
                S::Interrupted,
            ],
            S::CompletedSuccessfully | S::Failed | S::Cancelled | S::Rejected | S::Inconclusive => &[],
        }
    }

    /// Whether `next` may follow this state.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        self.successors().contains(&next)
    }

    /// The state in which a stage does its work.
    #[must_use]
    pub const fn working(stage: Stage) -> Self {
        match stage {
            Stage::Conditions => Self::ValidatingConditions,
            Stage::Approval => Self::PendingApproval,
            Stage::Validation => Self::ValidationRunning,
            Stage::Copy => Self::PromotionRunning,
            Stage::Migration => Self::Migrating,
            Stage::Deployment => Self::TriggeringDeployment,
            Stage::Verification => Self::Verifying,
            Stage::Report => Self::GeneratingReports,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn reachable(from: State) -> BTreeSet<State> {
        let mut seen = BTreeSet::from([from]);
        let mut open = vec![from];
        while let Some(state) = open.pop() {
            for next in state.successors() {
                if seen.insert(*next) {
                    open.push(*next);
                }
            }
        }
        seen
    }

    #[test]
    fn every_state_is_reached_and_every_way_leads_to_an_end() {
        let all: BTreeSet<State> = State::ALL.into_iter().collect();
        assert_eq!(reachable(State::Initializing), all);
        for state in State::ALL {
            assert!(State::FINAL.iter().any(|end| reachable(state).contains(end)), "{state} has no end");
            assert_eq!(state.may_become(state), state == State::Interrupted, "{state}");
            let named = serde_json::to_value(state).unwrap();
            assert_eq!(named, state.name());
        }
    }

    #[test]
    fn an_end_is_an_end_but_what_was_rolled_back_may_still_be_reported() {
        for state in
            [State::CompletedSuccessfully, State::Failed, State::Cancelled, State::Rejected, State::Inconclusive]
        {
            assert!(state.successors().is_empty(), "{state} goes on");
        }
        assert!(State::RolledBack.may_become(State::GeneratingReports));
        assert!(State::RollbackFailed.may_become(State::GeneratingReports));
    }

    #[test]
    fn nothing_is_changed_before_it_was_validated_and_nobody_is_asked_after_it_was_changed() {
        for state in State::ALL {
            if state.may_become(State::PromotionRunning) {
                assert!(
                    matches!(state, State::ValidationPassed | State::PromotionRetrying | State::Interrupted),
                    "{state}"
                );
            }
            if state.may_become(State::PendingApproval) {
                assert!(matches!(state, State::ValidatingConditions | State::Interrupted), "{state}");
            }
        }
    }

    #[test]
    fn work_that_is_interrupted_can_be_taken_up_again() {
        for stage in Stage::ALL {
            let state = State::working(stage);
            assert!(state.may_become(State::Interrupted) && State::Interrupted.may_become(state), "{state}");
        }
    }

    #[test]
    fn the_report_may_come_before_the_deployment() {
        let way = [
            State::PromotionSucceeded,
            State::GeneratingReports,
            State::NotificationsSent,
            State::TriggeringDeployment,
            State::Verifying,
            State::GeneratingReports,
            State::NotificationsSent,
            State::CompletedSuccessfully,
        ];
        for pair in way.windows(2) {
            assert!(pair[0].may_become(pair[1]), "{} does not become {}", pair[0], pair[1]);
        }
    }
}
