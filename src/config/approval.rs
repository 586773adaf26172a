//! `gates.approval`: who must say yes.

use std::time::Duration;

use super::check::Checker;
use super::gates::People;
use super::literal::Lit;
use super::names::{Approver, ApproverSyntax, EnvironmentName, IssueLabel};
use super::path::Path;
use super::section::{section, words};
use super::time::PositiveDuration;

words! {
    /// Where people say yes.
    pub enum Via {
        /// In the environment's protection on GitHub: the run verifies that its reviewers have approved.
        Environment = "environment",
        /// In an issue that the run opens: `/approve` and `/reject`.
        Issue = "issue",
        /// In both.
        Both = "both",
    }
}

words! {
    /// What a run does while it waits for people.
    pub enum WhilePending {
        /// It waits, and holds its runner.
        Wait = "wait",
        /// It ends, and a later job goes on with it. The ledger must outlive the job.
        Park = "park",
    }
}

section! {
    /// Who must say yes to the plan, and how.
    pub struct Approval from RawApproval, finish approval => Approval {
        /// Where people say yes. Default: `environment`.
        default(Via::Environment) via: Via,
        /// Who may approve in the issue: logins and teams, e.g. `[octocat, "@acme/release"]`. Reading a team's members
        /// takes a token that may.
        default(Vec::new()) approvers: Vec<Lit<ApproverSyntax>> => Vec<Approver>,
        /// How many different people must approve. Default: 1.
        default(1) minimum: People => u32,
        /// How long to wait for them; then the run is cancelled. Default: `24h`.
        default(Duration::from_secs(24 * 3600)) timeout: Lit<PositiveDuration> => Duration,
        /// How often to remind them. Default: never.
        optional reminder: Lit<PositiveDuration> => Duration,
        /// What the run does while it waits. Default: `wait`.
        default(WhilePending::Wait) while_pending: WhilePending,
        /// Whether the approval of who started the run counts. Default: false.
        default(false) allow_self: bool,
        /// Whether an administrator may pass the environment's protection on GitHub. Default: false.
        default(false) allow_admin_bypass: bool,
        /// Whether an approval in the environment must be bound to the plan: the plan was recorded by this workflow
        /// run before the protected job began. Default: false, which shows it as not bound. One in an issue always is.
        default(false) require_binding: bool,
        /// The environment on GitHub whose protection is meant. Default: as under `github`.
        optional environment: Lit<EnvironmentName> => String,
        /// Labels of the issue, beside its own.
        default(Vec::new()) labels: Vec<Lit<IssueLabel>> => Vec<String>,
    }
}

fn approval(approval: Approval, written: &[String], at: &Path, checker: &mut Checker<'_>) -> Option<Approval> {
    let mut good = true;
    let in_issue = approval.via != Via::Environment;
    let in_environment = approval.via != Via::Issue;
    if in_issue && approval.approvers.is_empty() {
        checker.key_problem(
            at,
            "an issue asks for approval, and `approvers` names nobody",
            "name people or teams under `approvers`",
        );
        good = false;
    }
    if !in_issue {
        good &= checker.belongs(at, written, &["approvers", "labels"], &["via: issue", "via: both"]);
    }
    if !in_environment {
        let keys = ["environment", "allow-admin-bypass", "require-binding"];
        good &= checker.belongs(at, written, &keys, &["via: environment", "via: both"]);
    }
    if approval.while_pending == WhilePending::Park && !in_issue {
        checker.problem(
            &at.key("while-pending"),
            "is `park`, and an environment's job has not even begun while people are asked",
            "delete it, or ask in an issue with `via: issue`",
        );
        good = false;
    }
    let users = approval.approvers.iter().filter(|approver| matches!(approver, Approver::User(_))).count();
    if in_issue && good && users == approval.approvers.len() && users < approval.minimum as usize {
        checker.problem(
            &at.key("minimum"),
            format!("is {}, and `approvers` names {users}", approval.minimum),
            "name more approvers, or lower `minimum`",
        );
        good = false;
    }
    if approval.reminder.is_some_and(|reminder| reminder >= approval.timeout) {
        checker.problem(&at.key("reminder"), "comes after `timeout`", "remind earlier, or wait longer");
        good = false;
    }
    good.then_some(approval)
}
