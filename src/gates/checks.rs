//! Everything that has to be green for the candidate's commit is green.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;

use super::{Gate, Look, Subject, short, together};
use crate::config::{Checks as Rule, CountsAs, RequiredChecks};
use crate::github::Hub;
use crate::github::runs::RunFilter;
use crate::promotion::fault::{Code, Fault};
use crate::promotion::required_checks::{Judgement, Light, Observed, Own, Requirement, Standing, Wanted, judge};
use crate::promotion::wildcard::is_like;

/// How many of the newest workflow runs of a commit are looked at, to tell workflows apart.
const RUNS: usize = 100;

/// The checks of every commit are green.
pub(super) struct Checks {
    rule: Rule,
}

impl Checks {
    pub(super) const fn new(rule: Rule) -> Self {
        Self { rule }
    }

    /// What is required whatever the commit.
    async fn required(&self, hub: &Hub) -> Result<BTreeSet<Requirement>, Fault> {
        if self.rule.required != RequiredChecks::Branch {
            return Ok(BTreeSet::new());
        }
        let branch = match &self.rule.branch {
            Some(branch) => branch.clone(),
            None => hub.github.repository(&hub.repository).await?.default_branch,
        };
        Ok(hub.github.required_checks(&hub.repository, &branch).await?)
    }

    /// What is required, in the words of the rules: with apps by id, and patterns replaced by the names that they stand
    /// for.
    fn wanted(&self, required: &BTreeSet<Requirement>, observed: &Observed) -> Wanted {
        let mut required = required.clone();
        for name in &self.rule.also {
            let app = self.rule.apps.get(name).map(|app| app_id(app, observed));
            required.retain(|known| known.name != *name || app.is_none());
            required.insert(Requirement { name: name.clone(), app });
        }
        let runs = observed.runs.iter().map(|run| run.name.as_str());
        let names = runs.chain(observed.statuses.iter().map(|status| status.context.as_str()));
        let names: BTreeSet<String> =
            names.chain(required.iter().map(|one| one.name.as_str())).map(ToOwned::to_owned).collect();
        let is_ignored = |name: &String| self.rule.ignore.iter().any(|pattern| is_like(pattern, name, true));
        Wanted {
            required,
            everything: self.rule.required == RequiredChecks::All,
            ignored: names.into_iter().filter(is_ignored).collect(),
            skipped_fails: self.rule.treat_skipped_as == CountsAs::Failure,
            neutral_fails: self.rule.treat_neutral_as == CountsAs::Failure,
            nothing_passes: self.rule.allow_none,
        }
    }
}

#[async_trait]
impl Gate for Checks {
    fn name(&self) -> String {
        "checks".to_owned()
    }

    fn code(&self) -> Code {
        Code::ChecksNotGreen
    }

    fn wait(&self) -> Duration {
        self.rule.wait
    }

    fn is_seen_again(&self) -> bool {
        true
    }

    async fn look(&self, subject: &Subject) -> Result<Look, Fault> {
        let hub = subject.hub()?;
        let commits = subject.commits()?;
        let required = self.required(hub).await?;
        let own = own(subject, hub).await?;
        let mut looks = Vec::new();
        for commit in commits.into_keys() {
            let observed = observe(hub, commit).await?;
            let judgement = judge(&self.wanted(&required, &observed), &observed, &own);
            looks.push(look(commit, &judgement));
        }
        Ok(together(looks))
    }
}

/// What is ours: the job's check run, whatever else of our workflow run is under way, and the status that we set.
async fn own(subject: &Subject, hub: &Hub) -> Result<Own, Fault> {
    let suite = match subject.job.workflow_run {
        Some(run) => hub.github.workflow_run(&hub.repository, run).await?.suite,
        None => None,
    };
    Ok(Own {
        runs: subject.job.check_run.into_iter().collect(),
        suites: suite.into_iter().collect(),
        contexts: BTreeSet::from([format!("tidegate/{}", subject.environment)]),
    })
}

async fn observe(hub: &Hub, commit: &str) -> Result<Observed, Fault> {
    let filter = RunFilter { commit: Some(commit.to_owned()), ..RunFilter::default() };
    let (runs, statuses, workflows) = futures_util::try_join!(
        hub.github.check_runs(&hub.repository, commit),
        hub.github.commit_statuses(&hub.repository, commit),
        hub.github.newest_workflow_runs(&hub.repository, &filter, RUNS),
    )?;
    let workflows: BTreeMap<u64, u64> =
        workflows.into_iter().filter_map(|run| Some((run.suite?, run.workflow))).collect();
    Ok(Observed { commit: commit.to_owned(), runs, statuses, workflows })
}

/// The id of an app that is named by id or by slug. One that has made no check of this commit has an id that no app has,
/// so that its check is missing.
fn app_id(app: &str, observed: &Observed) -> u64 {
    let by_slug = || observed.runs.iter().find(|run| run.app_slug.as_deref() == Some(app)).and_then(|run| run.app);
    app.parse().ok().or_else(by_slug).unwrap_or_default()
}

fn look(commit: &str, judgement: &Judgement) -> Look {
    let wanted = "every check is green";
    let bad: Vec<String> = judgement
        .items
        .iter()
        .filter(|item| item.light != Light::Green)
        .map(|item| match item.light {
            Light::Missing => format!("{} is missing ({})", item.name, item.seen),
            _ => format!("{}: {}", item.name, item.seen),
        })
        .collect();
    let of = |text: String| format!("{} of {}", text, short(commit));
    match judgement.standing {
        Standing::Passed if judgement.items.is_empty() => Look::open(of("nothing has to be green".to_owned()), wanted),
        Standing::Passed => {
            let names: Vec<&str> = judgement.items.iter().map(|item| item.name.as_str()).collect();
            Look::open(of(format!("{} green: {}", names.len(), names.join(", "))), wanted)
        }
        Standing::Failed => Look::closed(of(bad.join(", ")), wanted),
        Standing::Waiting => Look::not_yet(of(bad.join(", ")), wanted).with_fix(
            "wait for them, or raise `gates.checks.wait`; a check that never reports for such a commit belongs under `ignore`",
        ),
        Standing::Nothing => Look::not_yet(of("no check has to be green".to_owned()), "at least one check")
            .with_fix("require checks on GitHub, name them under `gates.checks.also`, or set `allow-none`"),
    }
}
