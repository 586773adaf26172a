//! What probes were asked and what they answered: the words of the stage `verification`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::window::Rules;

/// What one question came to. Ordered: `Pass` is the least, `Fail` the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Grade {
    /// It was answered as it should be.
    Pass,
    /// It could not be asked: the trouble is on our side (name resolution, trust in a certificate, a proxy, a token of
    /// ours), and says nothing of what was deployed.
    Error,
    /// It was answered wrongly, too late, or not at all.
    Fail,
}

/// One question and what it came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Sample {
    /// The probe: its name, or `service/name` where several services have one of that name.
    pub probe: String,
    /// What it came to.
    pub grade: Grade,
    /// How long it took, in milliseconds.
    pub ms: u32,
    /// How often it was asked, where more than once.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub attempts: u32,
    /// What was wrong (may quote the answer: untrusted).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

const fn once() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
const fn is_once(attempts: &u32) -> bool {
    *attempts == 1
}

/// When a question was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Before the deployment, of what ran then.
    Baseline,
    /// After it, until the new version answers.
    Readiness,
    /// Before the window, with retries.
    Check,
    /// The smoke test.
    Smoke,
    /// In the window, in the tick of this number, from 1.
    Tick(u32),
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Baseline => f.write_str("baseline"),
            Self::Readiness => f.write_str("readiness"),
            Self::Check => f.write_str("check"),
            Self::Smoke => f.write_str("smoke test"),
            Self::Tick(number) => write!(f, "tick {number}"),
        }
    }
}

/// A probe that is watched in a window, and by which rules. They are recorded, so that the verdict can be judged again
/// from the events alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Watched {
    /// The probe, as in its samples.
    pub probe: String,
    /// Whether the verdict depends on it.
    pub critical: bool,
    /// Its rules.
    pub rules: Rules,
}

/// Whether what was deployed lives. Ordered: `Healthy` is the least, `Unhealthy` the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// It does.
    Healthy,
    /// It could not be told.
    Inconclusive,
    /// It does not.
    Unhealthy,
}

impl Health {
    /// The name in the outputs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Inconclusive => "inconclusive",
            Self::Unhealthy => "unhealthy",
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Everything that was asked in a run, folded from its events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// Before the deployment; none where it was not asked then.
    pub baseline: Option<Vec<Sample>>,
    /// How often everybody was asked until the new version answered.
    pub readiness: u32,
    /// Whether the new version answered, where that was waited for.
    pub ready: bool,
    /// Before the window.
    pub check: Option<Vec<Sample>>,
    /// The smoke test.
    pub smoke: Option<Vec<Sample>>,
    /// The probes that are watched.
    pub watched: Vec<Watched>,
    /// The ticks of the window, in order.
    pub ticks: Vec<Vec<Sample>>,
    /// The verdict, and why.
    pub verdict: Option<(Health, String)>,
}

impl Asked {
    /// Takes in what was asked.
    pub fn take_in(&mut self, phase: Phase, samples: &[Sample]) {
        match phase {
            Phase::Baseline => self.baseline = Some(samples.to_vec()),
            Phase::Readiness => self.readiness += 1,
            Phase::Check => self.check = Some(samples.to_vec()),
            Phase::Smoke => self.smoke = Some(samples.to_vec()),
            Phase::Tick(_) => self.ticks.push(samples.to_vec()),
        }
    }

    /// The samples of one probe in the window, by tick. Groups of services have windows of their own: ticks in which others
    /// were asked are none of its.
    #[must_use]
    pub fn in_window(&self, probe: &str) -> Vec<Vec<(Grade, u32)>> {
        let of =
            |tick: &Vec<Sample>| tick.iter().filter(|one| one.probe == probe).map(|one| (one.grade, one.ms)).collect();
        self.ticks.iter().map(of).filter(|tick: &Vec<_>| !tick.is_empty()).collect()
    }

    /// Every sample of one probe after the deployment, in order.
    pub fn after_deployment<'a>(&'a self, probe: &'a str) -> impl Iterator<Item = &'a Sample> {
        let phases = self.check.iter().chain(&self.smoke).chain(&self.ticks);
        phases.flatten().filter(move |sample| sample.probe == probe)
    }

    /// The names of everything that was asked, in order.
    #[must_use]
    pub fn probes(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        let phases = self.baseline.iter().chain(&self.check).chain(&self.smoke).chain(&self.ticks);
        for sample in phases.flatten() {
            if !names.contains(&sample.probe.as_str()) {
                names.push(&sample.probe);
            }
        }
        names
    }

    /// The share of samples in the window that passed, in hundredths of a percent; of what was asked before it, where
    /// there was no window. None where nothing was asked.
    #[must_use]
    pub fn success_rate(&self) -> Option<u32> {
        let window: Vec<&Sample> = self.ticks.iter().flatten().collect();
        let before = || self.check.iter().chain(&self.smoke).flatten().collect();
        let samples: Vec<&Sample> = if window.is_empty() { before() } else { window };
        let passed = samples.iter().filter(|sample| sample.grade == Grade::Pass).count();
        (!samples.is_empty()).then(|| u32::try_from(passed * 10_000 / samples.len()).unwrap_or(10_000))
    }

    /// Whether a probe failed already before the deployment: more than half of what it was asked then.
    #[must_use]
    pub fn was_failing(&self, probe: &str) -> bool {
        let Some(baseline) = &self.baseline else { return false };
        let of: Vec<&Sample> = baseline.iter().filter(|sample| sample.probe == probe).collect();
        of.iter().filter(|sample| sample.grade == Grade::Fail).count() * 2 > of.len()
    }

    /// How long a probe took before the deployment, by the median of what passed, in milliseconds.
    #[must_use]
    pub fn baseline_median(&self, probe: &str) -> Option<u32> {
        let baseline = self.baseline.as_ref()?;
        let passed = baseline.iter().filter(|sample| sample.probe == probe && sample.grade == Grade::Pass);
        quantile(passed.map(|sample| sample.ms).collect(), 50)
    }
}

/// The value below which so many percent of the values are (nearest rank); none of no values.
#[must_use]
pub fn quantile(mut values: Vec<u32>, percent: usize) -> Option<u32> {
    values.sort_unstable();
    let rank = (values.len() * percent).div_ceil(100).max(1);
    values.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(grade: Grade, ms: u32) -> Sample {
        Sample { probe: "api".to_owned(), grade, ms, attempts: 1, note: None }
    }

    #[test]
    fn quantiles_are_of_the_nearest_rank() {
        assert_eq!(quantile(Vec::new(), 50), None);
        assert_eq!(quantile(vec![7], 95), Some(7));
        assert_eq!(quantile((1..=100).rev().collect(), 50), Some(50));
        assert_eq!(quantile((1..=100).collect(), 95), Some(95));
        assert_eq!(quantile(vec![1, 2, 3, 4], 100), Some(4));
    }

    #[test]
    fn an_outage_that_was_there_already_is_known() {
        let mut asked = Asked::default();
        assert!(!asked.was_failing("api"));
        asked.take_in(Phase::Baseline, &[sample(Grade::Fail, 1), sample(Grade::Fail, 1), sample(Grade::Pass, 9)]);
        assert!(asked.was_failing("api") && !asked.was_failing("web"));
        assert_eq!(asked.baseline_median("api"), Some(9));
        asked.take_in(Phase::Baseline, &[sample(Grade::Fail, 1), sample(Grade::Pass, 9)]);
        assert!(!asked.was_failing("api"));
    }

    #[test]
    fn the_rate_is_of_the_window_where_there_was_one() {
        let mut asked = Asked::default();
        assert_eq!(asked.success_rate(), None);
        asked.take_in(Phase::Check, &[sample(Grade::Pass, 1)]);
        assert_eq!(asked.success_rate(), Some(10_000));
        asked.take_in(Phase::Tick(1), &[sample(Grade::Pass, 1), sample(Grade::Fail, 1), sample(Grade::Error, 1)]);
        assert_eq!(asked.success_rate(), Some(3_333));
        assert_eq!(asked.in_window("api"), [[(Grade::Pass, 1), (Grade::Fail, 1), (Grade::Error, 1)]]);
    }
}
