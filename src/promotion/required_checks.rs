//! Whether everything that has to be green for a commit is green. Pure: what GitHub tells is given.
//!
//! Sources of the rules: GitHub's documentation on status checks (a check passes when it is successful, neutral or
//! skipped), on rulesets and on protected branches (which checks are required, and from which app).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chrono::{DateTime, Utc};

/// A check run, as GitHub tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckRun {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// The commit it is for.
    pub commit: String,
    /// The app that made it.
    pub app: Option<u64>,
    /// The app's slug.
    pub app_slug: Option<String>,
    /// The check suite it belongs to: in GitHub Actions one for each workflow run.
    pub suite: Option<u64>,
    /// `completed`, or anything else while it is not.
    pub status: String,
    /// How it ended.
    pub conclusion: Option<String>,
    /// When it began.
    pub started_at: Option<DateTime<Utc>>,
    /// Its web address.
    pub url: Option<String>,
}

/// A commit status, as GitHub tells it: the newest of its context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Its id; a newer one is greater.
    pub id: u64,
    /// What it is about.
    pub context: String,
    /// `success`, `pending`, `failure`, `error`, or what a later GitHub may say.
    pub state: String,
    /// The address of the details.
    pub url: Option<String>,
}

/// A check that has to be green.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Requirement {
    /// The name of the check run, or the context of the commit status.
    pub name: String,
    /// The app that it must come from; any where there is none.
    pub app: Option<u64>,
}

/// Which checks have to be green.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// These, by name.
    pub required: BTreeSet<Requirement>,
    /// And every other one that there is.
    pub everything: bool,
    /// But never these, by name.
    pub ignored: BTreeSet<String>,
    /// Whether a skipped check run is a failure. GitHub's own rule is that it is not; but a job is also skipped when one
    /// that it needs has failed.
    pub skipped_fails: bool,
    /// Whether a neutral check run is a failure.
    pub neutral_fails: bool,
    /// Whether it is all right that there is nothing to be green.
    pub nothing_passes: bool,
}

/// What was seen of a commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// The commit.
    pub commit: String,
    /// All its check runs, older ones of the same name too.
    pub runs: Vec<CheckRun>,
    /// All its commit statuses.
    pub statuses: Vec<Status>,
    /// Which workflow a check suite is a run of, as far as it is known. Two workflows may have a job of the same name:
    /// then both must be green, while of two runs of one workflow the newer one counts.
    pub workflows: BTreeMap<u64, u64>,
}

/// What is ours, and so is not waited for: a job that waits for itself waits for ever.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Own {
    /// Our check runs, by id.
    pub runs: BTreeSet<u64>,
    /// The check suite of our workflow run: of it only what has ended counts, because the rest may be waiting for us.
    pub suites: BTreeSet<u64>,
    /// The contexts of the commit statuses that we set.
    pub contexts: BTreeSet<String>,
}

/// How one check stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Light {
    /// It is green.
    Green,
    /// It is under way.
    Running,
    /// It is not there (yet): a workflow that was filtered out by paths never reports, and a job that needs another has
    /// no check run until that one has ended.
    Missing,
    /// It is red.
    Red,
}

/// One check with what was seen of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its name.
    pub name: String,
    /// The app that it must come from.
    pub app: Option<u64>,
    /// Whether it is required by name.
    pub required: bool,
    /// How it stands.
    pub light: Light,
    /// What was seen, e.g. `check run: failure` (may quote GitHub: untrusted).
    pub seen: String,
    /// The address of the details.
    pub url: Option<String>,
}

/// How all of them stand together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// All are green.
    Passed,
    /// One is red.
    Failed,
    /// None is red, and some are under way or missing: worth waiting until the deadline.
    Waiting,
    /// There is nothing that has to be green, and that is not all right.
    Nothing,
}

/// The judgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// How all of them stand together.
    pub standing: Standing,
    /// Every check that counts, by name.
    pub items: Vec<Item>,
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.app {
            None => f.write_str(&self.name),
            Some(app) => write!(f, "{} of app {app}", self.name),
        }
    }
}

/// Judges the checks of a commit.
#[must_use]
pub fn judge(wanted: &Wanted, observed: &Observed, own: &Own) -> Judgement {
    let seen = Seen::of(wanted, observed, own);
    let mut items: Vec<Item> = wanted
        .required
        .iter()
        .filter(|requirement| !wanted.ignored.contains(&requirement.name))
        .map(|requirement| seen.look_for(requirement))
        .collect();
    if wanted.everything {
        items.extend(seen.others(&wanted.required));
    }
    items.sort_by(|a, b| (&a.name, a.app).cmp(&(&b.name, b.app)));
    let worst = items.iter().map(|item| item.light).max();
    let standing = match worst {
        Some(Light::Red) => Standing::Failed,
        Some(Light::Missing | Light::Running) => Standing::Waiting,
        Some(Light::Green) => Standing::Passed,
        None if wanted.nothing_passes => Standing::Passed,
        None => Standing::Nothing,
    };
    Judgement { standing, items }
}

/// One thing that was seen under a name.
#[derive(Debug, Clone)]
struct Sight {
    name: String,
    /// The app; none for a commit status, of which GitHub does not tell it.
    app: Option<u64>,
    light: Light,
    seen: String,
    url: Option<String>,
}

/// What was seen, with only what counts left.
struct Seen {
    runs: Vec<Sight>,
    statuses: Vec<Sight>,
    /// The names of what is ours and under way.
    ours: BTreeSet<String>,
}

impl Own {
    fn holds(&self, run: &CheckRun) -> bool {
        let under_way_beside_us = run.suite.is_some_and(|suite| self.suites.contains(&suite)) && !run.has_ended();
        self.runs.contains(&run.id) || under_way_beside_us
    }
}

impl CheckRun {
    fn has_ended(&self) -> bool {
        self.status == "completed"
    }
}

impl Seen {
    fn of(wanted: &Wanted, observed: &Observed, own: &Own) -> Self {
        // Of one app's runs of one name in one workflow the newest counts.
        let mut newest: BTreeMap<(&str, Option<u64>, Option<u64>), &CheckRun> = BTreeMap::new();
        let mut ours = BTreeSet::new();
        for run in &observed.runs {
            if run.commit != observed.commit || wanted.ignored.contains(&run.name) {
                continue;
            }
            if own.holds(run) {
                ours.insert(run.name.clone());
                continue;
            }
            let workflow = run.suite.and_then(|suite| observed.workflows.get(&suite).copied());
            let slot = newest.entry((&run.name, run.app, workflow)).or_insert(run);
            if (slot.started_at, slot.id) < (run.started_at, run.id) {
                *slot = run;
            }
        }
        let mut statuses: BTreeMap<String, &Status> = BTreeMap::new();
        for status in &observed.statuses {
            let ours = own.contexts.iter().any(|context| context.eq_ignore_ascii_case(&status.context));
            if ours || wanted.ignored.contains(&status.context) {
                continue;
            }
            let slot = statuses.entry(status.context.to_ascii_lowercase()).or_insert(status);
            if slot.id < status.id {
                *slot = status;
            }
        }
        Self {
            runs: newest.into_values().map(|run| sight_of_run(run, wanted)).collect(),
            statuses: statuses.into_values().map(sight_of_status).collect(),
            ours,
        }
    }

    /// A check run and a commit status may have one name: then both must be green.
    fn look_for(&self, requirement: &Requirement) -> Item {
        let of_app = |sight: &&Sight| requirement.app.is_none() || sight.app == requirement.app;
        let runs = self.runs.iter().filter(|sight| sight.name == requirement.name).filter(of_app);
        let statuses: Vec<&Sight> =
            self.statuses.iter().filter(|sight| sight.name.eq_ignore_ascii_case(&requirement.name)).collect();
        let unbound = requirement.app.is_some() && !statuses.is_empty();
        let counted = statuses.into_iter().filter(|_| requirement.app.is_none());
        let sights: Vec<&Sight> = runs.chain(counted).collect();
        let mut item = Item {
            name: requirement.name.clone(),
            app: requirement.app,
            required: true,
            light: Light::Missing,
            seen: "nothing".to_owned(),
            url: None,
        };
        if self.ours.contains(&requirement.name) {
            item.seen = "only our own workflow run, which is under way".to_owned();
        }
        if unbound {
            item.seen = "only a commit status, of which GitHub does not tell the app".to_owned();
        }
        if !sights.is_empty() {
            combine(&mut item, &sights);
        }
        item
    }

    /// What is there and is not required by name.
    fn others(&self, required: &BTreeSet<Requirement>) -> Vec<Item> {
        let mut by_name: BTreeMap<&str, Vec<&Sight>> = BTreeMap::new();
        for sight in self.runs.iter().chain(&self.statuses) {
            let covers = |requirement: &Requirement| {
                let same = requirement.name.eq_ignore_ascii_case(&sight.name);
                same && (requirement.app.is_none() || requirement.app == sight.app)
            };
            if !required.iter().any(covers) {
                by_name.entry(&sight.name).or_default().push(sight);
            }
        }
        let item = |(name, sights): (&str, Vec<&Sight>)| {
            let mut item = Item {
                name: name.to_owned(),
                app: None,
                required: false,
                light: Light::Missing,
                seen: String::new(),
                url: None,
            };
            combine(&mut item, &sights);
            item
        };
        by_name.into_iter().map(item).collect()
    }
}

/// All sights of one name: the worst decides, and is the one that is shown.
fn combine(item: &mut Item, sights: &[&Sight]) {
    if let Some(worst) = sights.iter().max_by_key(|sight| sight.light) {
        item.light = worst.light;
        item.url.clone_from(&worst.url);
        item.seen = match sights.len() {
            1 => worst.seen.clone(),
            count => format!("{} (the worst of {count})", worst.seen),
        };
    }
}

fn sight_of_run(run: &CheckRun, wanted: &Wanted) -> Sight {
    let conclusion = run.conclusion.as_deref().unwrap_or("no conclusion");
    let (light, seen) = match conclusion {
        _ if !run.has_ended() => (Light::Running, run.status.as_str()),
        "success" => (Light::Green, conclusion),
        "neutral" if !wanted.neutral_fails => (Light::Green, conclusion),
        "skipped" if !wanted.skipped_fails => (Light::Green, conclusion),
        // Every other word is a no, also one that GitHub has not said yet.
        _ => (Light::Red, conclusion),
    };
    Sight { name: run.name.clone(), app: run.app, light, seen: format!("check run: {seen}"), url: run.url.clone() }
}

fn sight_of_status(status: &Status) -> Sight {
    let light = match status.state.as_str() {
        "success" => Light::Green,
        "pending" => Light::Running,
        _ => Light::Red,
    };
    let seen = format!("commit status: {}", status.state);
    Sight { name: status.context.clone(), app: None, light, seen, url: status.url.clone() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ACTIONS: u64 = 15_368;

    fn run(id: u64, name: &str, outcome: &str) -> CheckRun {
        let running = matches!(outcome, "queued" | "in_progress" | "waiting" | "requested" | "pending" | "dreaming");
        CheckRun {
            id,
            name: name.to_owned(),
            commit: "c0".to_owned(),
            app: Some(ACTIONS),
            app_slug: None,
            suite: Some(id),
            status: if running { outcome } else { "completed" }.to_owned(),
            conclusion: (!running && !outcome.is_empty()).then(|| outcome.to_owned()),
            started_at: DateTime::from_timestamp(1_000 + i64::try_from(id).unwrap(), 0),
            url: None,
        }
    }

    fn status(id: u64, context: &str, state: &str) -> Status {
        Status { id, context: context.to_owned(), state: state.to_owned(), url: None }
    }

    fn require(names: &[&str]) -> Wanted {
        let required = names.iter().map(|name| Requirement { name: (*name).to_owned(), app: None }).collect();
        Wanted { required, ..Wanted::default() }
    }

    fn observed(runs: Vec<CheckRun>, statuses: Vec<Status>) -> Observed {
        Observed { commit: "c0".to_owned(), runs, statuses, workflows: BTreeMap::new() }
    }

    fn standing(wanted: &Wanted, observed: &Observed) -> Standing {
        judge(wanted, observed, &Own::default()).standing
    }

    #[test]
    fn words_and_their_lights() {
        let table = [
            ("success", Standing::Passed),
            ("neutral", Standing::Passed),
            ("skipped", Standing::Passed),
            ("failure", Standing::Failed),
            ("cancelled", Standing::Failed),
            ("timed_out", Standing::Failed),
            ("action_required", Standing::Failed),
            ("stale", Standing::Failed),
            ("startup_failure", Standing::Failed),
            ("a_word_of_next_year", Standing::Failed),
            ("", Standing::Failed),
            ("queued", Standing::Waiting),
            ("in_progress", Standing::Waiting),
            ("waiting", Standing::Waiting),
            ("requested", Standing::Waiting),
            ("pending", Standing::Waiting),
            ("dreaming", Standing::Waiting),
        ];
        for (word, expected) in table {
            assert_eq!(
                standing(&require(&["build"]), &observed(vec![run(1, "build", word)], vec![])),
                expected,
                "{word}"
            );
        }
        let strict = Wanted { skipped_fails: true, ..require(&["build"]) };
        assert_eq!(standing(&strict, &observed(vec![run(1, "build", "skipped")], vec![])), Standing::Failed);
        for (word, expected) in [
            ("success", Standing::Passed),
            ("pending", Standing::Waiting),
            ("failure", Standing::Failed),
            ("error", Standing::Failed),
            ("odd", Standing::Failed),
        ] {
            assert_eq!(standing(&require(&["ci"]), &observed(vec![], vec![status(1, "CI", word)])), expected, "{word}");
        }
    }

    #[test]
    fn what_is_missing_is_waited_for_and_nothing_is_not_green() {
        assert_eq!(standing(&require(&["build"]), &observed(vec![], vec![])), Standing::Waiting);
        assert_eq!(
            standing(&require(&["build"]), &observed(vec![run(1, "Build", "success")], vec![])),
            Standing::Waiting
        );
        assert_eq!(
            standing(&Wanted::default(), &observed(vec![run(1, "build", "success")], vec![])),
            Standing::Nothing
        );
        let everything = Wanted { everything: true, ..Wanted::default() };
        assert_eq!(standing(&everything, &observed(vec![], vec![])), Standing::Nothing);
        let relaxed = Wanted { nothing_passes: true, ..everything };
        assert_eq!(standing(&relaxed, &observed(vec![], vec![])), Standing::Passed);
        let all_ignored = Wanted { ignored: ["build".to_owned()].into(), ..require(&["build"]) };
        assert_eq!(standing(&all_ignored, &observed(vec![run(1, "build", "failure")], vec![])), Standing::Nothing);
    }

    #[test]
    fn a_run_and_a_status_of_one_name_must_both_be_green() {
        let both = |run_word, status_word| {
            standing(&require(&["ci"]), &observed(vec![run(1, "ci", run_word)], vec![status(1, "ci", status_word)]))
        };
        assert_eq!(both("success", "success"), Standing::Passed);
        assert_eq!(both("success", "failure"), Standing::Failed);
        assert_eq!(both("failure", "success"), Standing::Failed);
        assert_eq!(both("success", "pending"), Standing::Waiting);
    }

    #[test]
    fn the_app_is_held_to() {
        let bound = |app| Wanted {
            required: [Requirement { name: "build".to_owned(), app: Some(app) }].into(),
            ..Wanted::default()
        };
        let seen = observed(vec![run(1, "build", "success")], vec![]);
        assert_eq!(standing(&bound(ACTIONS), &seen), Standing::Passed);
        assert_eq!(standing(&bound(7), &seen), Standing::Waiting);
        let judgement = judge(&bound(7), &observed(vec![], vec![status(1, "build", "success")]), &Own::default());
        assert_eq!(judgement.standing, Standing::Waiting);
        assert!(judgement.items[0].seen.contains("does not tell the app"));
    }

    #[test]
    fn the_newest_counts_and_siblings_of_other_workflows_too() {
        let again = vec![run(1, "build", "failure"), run(2, "build", "success")];
        assert_eq!(standing(&require(&["build"]), &observed(again.clone(), vec![])), Standing::Passed);
        let mut siblings = observed(again, vec![]);
        siblings.workflows = [(1, 100), (2, 100)].into();
        assert_eq!(standing(&require(&["build"]), &siblings), Standing::Passed);
        siblings.workflows = [(1, 100), (2, 200)].into();
        assert_eq!(standing(&require(&["build"]), &siblings), Standing::Failed);
        let mut late = run(9, "build", "failure");
        late.started_at = DateTime::from_timestamp(1, 0);
        assert_eq!(
            standing(&require(&["build"]), &observed(vec![late, run(2, "build", "success")], vec![])),
            Standing::Passed
        );
        let statuses = vec![status(5, "ci", "success"), status(4, "CI", "failure")];
        assert_eq!(standing(&require(&["ci"]), &observed(vec![], statuses)), Standing::Passed);
    }

    #[test]
    fn we_do_not_wait_for_ourselves() {
        let runs = vec![run(1, "build", "success"), run(2, "promote", "in_progress"), run(3, "after", "queued")];
        let everything = Wanted { everything: true, ..Wanted::default() };
        let seen = observed(runs, vec![status(1, "tidegate/production", "pending")]);
        assert_eq!(standing(&everything, &seen), Standing::Waiting);
        let own = Own { runs: [2].into(), suites: [3].into(), contexts: ["Tidegate/production".to_owned()].into() };
        let judgement = judge(&everything, &seen, &own);
        assert_eq!(judgement.standing, Standing::Passed);
        assert_eq!(judgement.items.len(), 1);
        let required = judge(&require(&["promote"]), &seen, &own);
        assert_eq!(required.standing, Standing::Waiting);
        assert!(required.items[0].seen.contains("our own workflow run"));
    }

    #[test]
    fn a_job_beside_us_counts_once_it_has_ended() {
        let own = Own { runs: [2].into(), suites: [3].into(), ..Own::default() };
        let beside = |word| {
            let test = CheckRun { suite: Some(3), ..run(1, "test", word) };
            judge(&require(&["test"]), &observed(vec![test], vec![]), &own).standing
        };
        assert_eq!(beside("success"), Standing::Passed);
        assert_eq!(beside("failure"), Standing::Failed);
        assert_eq!(beside("in_progress"), Standing::Waiting);
    }

    #[test]
    fn checks_of_another_commit_do_not_count() {
        let other = CheckRun { commit: "c1".to_owned(), ..run(1, "build", "success") };
        assert_eq!(standing(&require(&["build"]), &observed(vec![other], vec![])), Standing::Waiting);
    }

    #[test]
    fn everything_includes_what_is_not_required() {
        let everything = Wanted { everything: true, ..require(&["build"]) };
        let seen = observed(vec![run(1, "build", "success"), run(2, "lint", "failure")], vec![]);
        let judgement = judge(&everything, &seen, &Own::default());
        assert_eq!(judgement.standing, Standing::Failed);
        let shown: Vec<(&str, bool)> = judgement.items.iter().map(|item| (item.name.as_str(), item.required)).collect();
        assert_eq!(shown, [("build", true), ("lint", false)]);
        assert_eq!(standing(&require(&["build"]), &seen), Standing::Passed);
    }

    fn any_run() -> impl Strategy<Value = CheckRun> {
        let word = "success|neutral|skipped|failure|stale|queued|in_progress|odd";
        (1u64..30, "[abc]", word, 1u64..5, prop::bool::weighted(0.9)).prop_map(|(id, name, word, suite, here)| {
            CheckRun { suite: Some(suite), commit: if here { "c0" } else { "c1" }.to_owned(), ..run(id, &name, &word) }
        })
    }

    proptest! {
        #[test]
        fn passed_means_that_every_required_check_was_seen_green(
            runs in prop::collection::vec(any_run(), 0..12), everything in any::<bool>(),
        ) {
            let wanted = Wanted { everything, ..require(&["a", "b"]) };
            let judgement = judge(&wanted, &observed(runs.clone(), vec![]), &Own::default());
            if judgement.standing == Standing::Passed {
                for name in ["a", "b"] {
                    let green = |run: &CheckRun| {
                        run.name == name && run.commit == "c0" && run.status == "completed"
                            && matches!(run.conclusion.as_deref(), Some("success" | "neutral" | "skipped"))
                    };
                    prop_assert!(runs.iter().any(green));
                }
            }
            // The order in which GitHub lists them decides nothing.
            let mut once = runs;
            once.sort_by_key(|run| run.id);
            once.dedup_by_key(|run| run.id);
            let mut back = once.clone();
            back.reverse();
            prop_assert_eq!(
                judge(&wanted, &observed(once, vec![]), &Own::default()),
                judge(&wanted, &observed(back, vec![]), &Own::default())
            );
        }

        #[test]
        fn a_red_newest_run_never_passes(runs in prop::collection::vec(any_run(), 0..8)) {
            let mut runs = runs;
            runs.push(run(1_000, "a", "failure"));
            let judgement = judge(&require(&["a"]), &observed(runs, vec![]), &Own::default());
            prop_assert_eq!(judgement.standing, Standing::Failed);
        }
    }
}
