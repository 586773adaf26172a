//! `health`: how a deployment is found to live.

use std::time::Duration;

use indexmap::IndexMap;

use super::check::Checker;
use super::collection::Map;
use super::literal::Lit;
use super::names::Name;
use super::number::{Factor, Whole};
use super::path::Path;
use super::probe::{Probe, RawProbe, RawSmoke, SmokeStep};
use super::section::{section, words};
use super::size::{Percent, PercentSyntax};
use super::time::{AnyDuration, PositiveDuration};

section! {
    /// How a deployment is found to live: it settles, it becomes ready, its probes pass, the smoke test passes, and it
    /// stays well while it is watched.
    pub struct Health from RawHealth, finish health => Health {
        /// How long to wait after the deployment before anything is asked. Default: `0s`.
        default(Duration::ZERO) settle: Lit<AnyDuration> => Duration,
        /// Waiting for the new version to answer. Default: not waited for, beyond the retries of the probes.
        optional readiness: RawReadiness => Readiness,
        /// How often a probe is tried before the window begins. Default: 5.
        default(5) retries: Retries => u32,
        /// How long to wait between two tries. Default: `10s`.
        default(Duration::from_secs(10)) interval: Lit<PositiveDuration> => Duration,
        /// How long to wait for an answer. Default: `10s`.
        default(Duration::from_secs(10)) timeout: Lit<PositiveDuration> => Duration,
        /// How long one probe may take with all its tries. Default: `5m`.
        default(Duration::from_secs(300)) deadline: Lit<PositiveDuration> => Duration,
        /// What is asked, by name.
        default(IndexMap::new()) probes: Map<Name, RawProbe> => IndexMap<String, Probe>,
        /// Requests that are made one after the other, once, before the window.
        default(Vec::new()) smoke: RawSmoke => Vec<SmokeStep>,
        /// Watching it.
        optional monitor: RawMonitor => Monitor,
        /// Whether the probes are asked before the deployment as well, and the smoke test once, so that an outage that
        /// was there already is not blamed on it. Default: true.
        default(true) baseline: bool,
        /// Whether what runs, as the driver tells it, must be what was promoted: asked with the probes, once in each tick.
        /// Default: true where the driver can tell.
        optional running_digest: bool,
    }
}

/// How often something is tried.
pub(super) type Retries = Whole<1, 100>;

/// What is asked beside the probes, by the names that samples give it.
const TAKEN: [&str; 2] = ["smoke", "running-digest"];

fn health(health: Health, _: &[String], at: &Path, checker: &mut Checker<'_>) -> Option<Health> {
    let mut good = true;
    if health.timeout > health.deadline {
        checker.problem(&at.key("timeout"), "is longer than `deadline`", "wait less long, or raise `deadline`");
        good = false;
    }
    for name in TAKEN.iter().filter(|name| health.probes.contains_key(**name)) {
        let message = format!("`{name}` is what another question is called");
        checker.key_problem(&at.keys(["probes", name]), message, "give the probe another name");
        good = false;
    }
    let tells = health.running_digest == Some(true);
    if !tells && !health.probes.values().any(|probe| probe.critical) {
        for (key, asked) in [("monitor", health.monitor.is_some()), ("readiness", health.readiness.is_some())] {
            if asked {
                checker.key_problem(&at.key(key), "has nothing to go by: no probe is critical", "add one that is");
                good = false;
            }
        }
    }
    if let Some(readiness) = &health.readiness
        && readiness.identity
        && !tells
        && !health.probes.is_empty()
        && !health.probes.values().any(|probe: &Probe| probe.critical && probe.identity.is_some())
    {
        checker.key_problem(
            &at.key("readiness"),
            "waits for answers of the new version, and no critical probe has an `identity` to tell it by",
            "give a probe an `identity`, or set `identity: false`",
        );
        good = false;
    }
    good.then_some(health)
}

section! {
    /// Waiting for the new version to answer.
    pub struct Readiness from RawReadiness {
        /// How long at the most. Default: `5m`.
        default(Duration::from_secs(300)) timeout: Lit<PositiveDuration> => Duration,
        /// How many answers in a row every critical probe must give. Default: 3.
        default(3) consecutive: Retries => u32,
        /// Whether the answers of probes with an `identity` must be the new version's. Default: true.
        default(true) identity: bool,
    }
}

words! {
    /// What it does when a probe keeps changing its mind.
    pub enum Flapping {
        /// The verdict is a failure.
        Fail = "fail",
        /// It is shown.
        Warn = "warn",
    }
}

section! {
    /// Watching the deployment for a while. Every probe is asked again and again, several times in each tick.
    pub struct Monitor from RawMonitor, finish monitor => Monitor {
        /// How long. Default: `5m`.
        default(Duration::from_secs(300)) r#for: Lit<PositiveDuration> => Duration,
        /// How long from one tick to the next. Default: `30s`.
        default(Duration::from_secs(30)) every: Lit<PositiveDuration> => Duration,
        /// How often each probe is asked in a tick; 1 is the classic way. Default: 6.
        default(6) samples: Whole<1, 100> => u32,
        /// How many ticks in a row may not fail; a tick fails when more than half of its samples do. Default: 3.
        default(3) consecutive_failures: Whole<1, 1000> => u32,
        /// The share of all samples that must pass. Default: `95%`.
        default(Percent::whole(95)) success_rate: Lit<PercentSyntax<100>> => Percent,
        /// How often a probe may change between well and unwell before it is called flapping. Default: 4.
        default(4) flaps: Whole<1, 1000> => u32,
        /// What flapping does. Default: `warn`.
        default(Flapping::Warn) flapping: Flapping,
        /// How slow it may become against the time before the deployment. It takes `baseline`.
        optional latency: RawLatency => Latency,
    }
}

fn monitor(monitor: Monitor, _: &[String], at: &Path, checker: &mut Checker<'_>) -> Option<Monitor> {
    if monitor.every > monitor.r#for {
        checker.problem(
            &at.key("every"),
            "is longer than `for`: there would be no tick",
            "ask more often, or watch longer",
        );
        return None;
    }
    Some(monitor)
}

section! {
    /// How slow a probe may become, by the median, against the time before the deployment: both must be exceeded.
    pub struct Latency from RawLatency {
        /// So many times slower. Default: 2.
        default(2.0) factor: Factor => f64,
        /// And by so much. Default: `250ms`.
        default(Duration::from_millis(250)) by: Lit<AnyDuration> => Duration,
    }
}
