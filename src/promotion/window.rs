//! The verdict over a window of probes: a pure function of the samples.
//!
//! A tick asks a probe several times. The rule of consecutive failures counts ticks, because samples of one tick hang
//! together; the rule of the success rate counts samples. A tick fails when more than half of its samples do. What could
//! not be asked is neither good nor bad: as long as it could not change the verdict it does no harm, and where it could,
//! the verdict is `inconclusive`.

use serde::{Deserialize, Serialize};

use super::health::{Grade, Health};

/// By which rules a probe is judged in its window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Rules {
    /// How many ticks are planned; at least 1.
    pub ticks: u32,
    /// How often the probe is asked in a tick; at least 1.
    pub samples: u32,
    /// So many ticks in a row may not fail.
    pub consecutive_failures: u32,
    /// The share of all planned samples that must pass, in hundredths of a percent.
    pub success_rate: u32,
    /// So many changes between well and unwell are flapping.
    pub flaps: u32,
    /// Whether flapping is a failure.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flapping_fails: bool,
    /// How slow it may be, in milliseconds, by the median; measured against what it was before the deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slowest: Option<u32>,
}

/// What is known of a window so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The verdict; none while it can still be another.
    pub verdict: Option<Health>,
    /// Why.
    pub because: String,
    /// Whether it changes between well and unwell too often.
    pub flapping: bool,
}

/// How a tick went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tick {
    Good,
    Unknown,
    Bad,
}

impl Rules {
    /// All planned samples.
    #[must_use]
    pub const fn planned(&self) -> u32 {
        self.ticks.saturating_mul(self.samples)
    }

    /// How many of them may fail.
    #[must_use]
    pub fn tolerated(&self) -> u32 {
        let planned = u64::from(self.planned());
        let needed = (planned * u64::from(self.success_rate)).div_ceil(10_000);
        u32::try_from(planned.saturating_sub(needed)).unwrap_or(u32::MAX)
    }

    /// How a tick went, whatever is missing in it counting as not known.
    fn tick(&self, samples: &[(Grade, u32)]) -> Tick {
        let count = |grade: Grade| samples.iter().filter(|(one, _)| *one == grade).count() as u64;
        let planned = u64::from(self.samples).max(samples.len() as u64);
        let (bad, good) = (count(Grade::Fail), count(Grade::Pass));
        if bad * 2 > planned {
            Tick::Bad
        } else if (planned - good) * 2 > planned {
            Tick::Unknown
        } else {
            Tick::Good
        }
    }
}

/// The longest row of ticks for which something holds.
fn longest(ticks: &[Tick], holds: impl Fn(Tick) -> bool) -> u32 {
    let (mut longest, mut row) = (0, 0);
    for tick in ticks {
        row = if holds(*tick) { row + 1 } else { 0 };
        longest = longest.max(row);
    }
    longest
}

/// The row of ticks at the end for which something holds.
fn trailing(ticks: &[Tick], holds: impl Fn(Tick) -> bool) -> u32 {
    u32::try_from(ticks.iter().rev().take_while(|tick| holds(**tick)).count()).unwrap_or(u32::MAX)
}

/// Judges one probe by its samples so far: one list for each tick that is over, in order.
///
/// The verdict is given as soon as it cannot change, and `healthy` never before the window is over. It is monotone: a
/// sample that fails instead of passing never makes the verdict better (flapping aside, where that counts as a failure: a
/// probe that is always down does not flap).
#[must_use]
pub fn judge(rules: &Rules, window: &[Vec<(Grade, u32)>]) -> Judgement {
    let ticks: Vec<Tick> = window.iter().map(|tick| rules.tick(tick)).collect();
    let count = |grade: Grade| {
        u32::try_from(window.iter().flatten().filter(|(one, _)| *one == grade).count()).unwrap_or(u32::MAX)
    };
    let (passed, failed) = (count(Grade::Pass), count(Grade::Fail));
    let over = ticks.len() as u64 >= u64::from(rules.ticks);
    let (tolerated, planned) = (rules.tolerated(), rules.planned());
    let row = longest(&ticks, |tick| tick == Tick::Bad);
    let changes = changes(&ticks);
    let flapping = changes >= rules.flaps;
    let told = |verdict, because: String| Judgement { verdict, because, flapping };

    if failed > tolerated {
        return told(Some(Health::Unhealthy), format!("{failed} of {planned} samples failed, and {tolerated} may"));
    }
    if row >= rules.consecutive_failures {
        return told(Some(Health::Unhealthy), format!("{row} ticks in a row failed"));
    }
    if flapping && rules.flapping_fails {
        return told(Some(Health::Unhealthy), format!("it changed between well and unwell {changes} times"));
    }
    if !over {
        return told(None, format!("{passed} passed, {failed} failed"));
    }
    let unknown = planned.saturating_sub(passed).saturating_sub(failed);
    if let Some(slowest) = rules.slowest {
        let slow = |unknown_as: u32| median(window, unknown, unknown_as) > slowest;
        if slow(0) {
            return told(Some(Health::Unhealthy), format!("its median took longer than {slowest} ms"));
        }
        if slow(u32::MAX) {
            return told(Some(Health::Inconclusive), format!("{unknown} of {planned} samples could not be taken"));
        }
    }
    let possible = longest(&ticks, |tick| tick != Tick::Good);
    if failed + unknown > tolerated || possible >= rules.consecutive_failures {
        return told(
            Some(Health::Inconclusive),
            format!("{unknown} of {planned} samples could not be taken: too many to tell"),
        );
    }
    let seen = if failed == 0 {
        format!("no failure in {passed} samples")
    } else {
        format!("{failed} failures in {planned} samples, and {tolerated} may be")
    };
    told(Some(Health::Healthy), seen)
}

/// Whether a window can still come to `unhealthy`: where it cannot, and not to `healthy` either, there is nothing left to
/// watch.
#[must_use]
pub fn is_lost(rules: &Rules, window: &[Vec<(Grade, u32)>]) -> bool {
    let ticks: Vec<Tick> = window.iter().map(|tick| rules.tick(tick)).collect();
    let left = rules.ticks.saturating_sub(u32::try_from(ticks.len()).unwrap_or(u32::MAX));
    let count = |grade: Grade| window.iter().flatten().filter(|(one, _)| *one == grade).count() as u64;
    let seen = u64::from(rules.samples) * ticks.len() as u64;
    let unknown = seen.saturating_sub(count(Grade::Pass) + count(Grade::Fail));
    let tolerated = u64::from(rules.tolerated());
    let no_health = count(Grade::Fail) + unknown > tolerated
        || longest(&ticks, |tick| tick != Tick::Good) >= rules.consecutive_failures;
    let may_fail = count(Grade::Fail) + u64::from(left) * u64::from(rules.samples) > tolerated
        || trailing(&ticks, |tick| tick == Tick::Bad) + left >= rules.consecutive_failures
        // It has failed already.
        || longest(&ticks, |tick| tick == Tick::Bad) >= rules.consecutive_failures
        || rules.slowest.is_some()
        || rules.flapping_fails;
    no_health && !may_fail
}

/// How often ticks change between well and unwell; those of which it is not known are passed over.
fn changes(ticks: &[Tick]) -> u32 {
    let known: Vec<Tick> = ticks.iter().copied().filter(|tick| *tick != Tick::Unknown).collect();
    u32::try_from(known.windows(2).filter(|pair| pair[0] != pair[1]).count()).unwrap_or(u32::MAX)
}

/// The median over all planned samples: what failed took forever, what is not known took `unknown_as`.
fn median(window: &[Vec<(Grade, u32)>], unknown: u32, unknown_as: u32) -> u32 {
    let known = window.iter().flatten().filter_map(|(grade, ms)| match grade {
        Grade::Pass => Some(*ms),
        Grade::Fail => Some(u32::MAX),
        Grade::Error => None,
    });
    let unknown = std::iter::repeat_n(unknown_as, unknown as usize);
    super::health::quantile(known.chain(unknown).collect(), 50).unwrap_or(0)
}

/// The worst verdict of several probes: `unhealthy` as soon as one is, any other when all are decided.
#[must_use]
pub fn worst(verdicts: impl IntoIterator<Item = Option<Health>>) -> Option<Health> {
    let verdicts: Vec<Option<Health>> = verdicts.into_iter().collect();
    if verdicts.contains(&Some(Health::Unhealthy)) {
        return Some(Health::Unhealthy);
    }
    if verdicts.is_empty() {
        // Nothing was asked, so nothing is known; that is not success.
        return Some(Health::Inconclusive);
    }
    verdicts.into_iter().collect::<Option<Vec<Health>>>()?.into_iter().max()
}

/// What a window by these rules can detect and what it cannot, for people who choose them.
#[must_use]
pub fn sensitivity(rules: &Rules) -> Vec<String> {
    let (planned, tolerated) = (rules.planned(), rules.tolerated());
    let percent = |share: f64| {
        let value = share * 100.0;
        if value > 0.0 && value < 0.1 {
            "less than 0.1%".to_owned()
        } else if value > 99.9 && value < 100.0 {
            "more than 99.9%".to_owned()
        } else {
            format!("{value:.1}%")
        }
    };
    let exceeds = |rate: f64| 1.0 - at_most(tolerated, planned, rate);
    let tolerates = match tolerated {
        0 => "no failure".to_owned(),
        1 => "1 failure".to_owned(),
        many => format!("{many} failures"),
    };
    let mut said = vec![
        format!(
            "{planned} samples at {}.{:02}% tolerate {tolerates}",
            rules.success_rate / 100,
            rules.success_rate % 100
        ),
        format!(
            "a candidate that fails 10% of the time is found out with {}, 20% with {}, 50% with {}",
            percent(exceeds(0.1)),
            percent(exceeds(0.2)),
            percent(exceeds(0.5))
        ),
        format!("one that is fine, but of whose samples 1% go astray, is taken back with {}", percent(exceeds(0.01))),
    ];
    if tolerated == 0 && planned < 20 {
        said.push("a single stray failure takes it back: raise `samples`, or watch longer".to_owned());
    }
    let least = rules.consecutive_failures.saturating_mul(rules.samples / 2 + 1);
    if rules.consecutive_failures > rules.ticks {
        said.push("`consecutive-failures` never decides: there are fewer ticks".to_owned());
    } else if least > tolerated + 1 {
        said.push("`success-rate` decides before `consecutive-failures` can".to_owned());
    }
    said
}

/// The probability of at most `k` successes in `n` trials, each with probability `p` (binomial distribution).
fn at_most(k: u32, n: u32, p: f64) -> f64 {
    let mut term = (1.0 - p).powf(f64::from(n));
    let mut sum = term;
    for i in 0..k.min(n) {
        term *= f64::from(n - i) / f64::from(i + 1) * p / (1.0 - p);
        sum += term;
    }
    sum.min(1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rules(ticks: u32, samples: u32) -> Rules {
        Rules {
            ticks,
            samples,
            consecutive_failures: 3,
            success_rate: 9_500,
            flaps: 4,
            flapping_fails: false,
            slowest: None,
        }
    }

    /// A window drawn: `+` passes, `-` fails, `?` could not be asked; a space ends a tick.
    fn window(drawn: &str) -> Vec<Vec<(Grade, u32)>> {
        let grade = |c| match c {
            '+' => Grade::Pass,
            '-' => Grade::Fail,
            _ => Grade::Error,
        };
        drawn.split_whitespace().map(|tick| tick.chars().map(|c| (grade(c), 10)).collect()).collect()
    }

    fn classic(drawn: &str) -> Option<Health> {
        let spaced: Vec<String> = drawn.chars().map(|c| c.to_string()).collect();
        judge(&rules(10, 1), &window(&spaced.join(" "))).verdict
    }

    #[test]
    fn the_exact_table_of_ten_ticks_of_one_sample() {
        // 95% of 10 tolerate nothing: the first failure decides, long before three in a row.
        assert_eq!(rules(10, 1).tolerated(), 0);
        for (drawn, verdict) in [
            ("", None),
            ("+++++++++", None),
            ("++++++++++", Some(Health::Healthy)),
            ("-", Some(Health::Unhealthy)),
            ("+++++++++-", Some(Health::Unhealthy)),
            ("?", None),
            ("?+++++++++", Some(Health::Inconclusive)),
            ("?????????-", Some(Health::Unhealthy)),
            ("??????????", Some(Health::Inconclusive)),
        ] {
            assert_eq!(classic(drawn), verdict, "{drawn}");
        }
    }

    #[test]
    fn the_exact_table_of_six_samples_a_tick() {
        let rules = rules(10, 6);
        assert_eq!((rules.planned(), rules.tolerated()), (60, 3));
        let good = "++++++ ".repeat(7);
        for (drawn, verdict) in [
            ("-+++++ +-++++ ++-+++".to_owned() + " " + &good, Some(Health::Healthy)),
            ("-+++++ +-++++ ++-+++ +++-++".to_owned(), Some(Health::Unhealthy)),
            ("---+++".to_owned(), None),
            ("----++".to_owned(), Some(Health::Unhealthy)),
            ("??????".to_owned(), None),
            // Three that could not be asked would be tolerated as failures: they do no harm.
            ("???+++ ++++++ ++++++ ".to_owned() + &good, Some(Health::Healthy)),
            ("???+++ -+++++ ++++++ ".to_owned() + &good, Some(Health::Inconclusive)),
            // A tick that is missing altogether is not known.
            ("++++++ ".repeat(9) + "+++", Some(Health::Healthy)),
            ("++++++ ".repeat(9) + "++", Some(Health::Inconclusive)),
        ] {
            assert_eq!(judge(&rules, &window(&drawn)).verdict, verdict, "{drawn}");
        }
    }

    /// The defaults, five minutes of six samples every 30 seconds, over a service that does something at certain seconds.
    /// When it is decided, and how.
    fn by_the_clock(grade: impl Fn(u32) -> Grade) -> (Option<Health>, u32) {
        let rules = rules(10, 6);
        let mut ticks = Vec::new();
        for tick in 1..=rules.ticks {
            // Samples are spread over the first five seconds of a tick.
            ticks.push((0..rules.samples).map(|sample| (grade(30 * tick + 5 * sample / 6), 20)).collect::<Vec<_>>());
            let verdict = judge(&rules, &ticks).verdict;
            if verdict.is_some() {
                return (verdict, tick);
            }
        }
        (None, rules.ticks)
    }

    #[test]
    fn five_minutes_by_the_clock() {
        use Grade::{Error, Fail, Pass};
        use Health::{Healthy, Inconclusive, Unhealthy};
        type Does = fn(u32) -> Grade;
        let table: [(&str, Does, Health, u32); 10] = [
            ("it lives", |_| Pass, Healthy, 10),
            ("it is down from the start", |_| Fail, Unhealthy, 1),
            ("it fails after four minutes", |second| if second < 240 { Pass } else { Fail }, Unhealthy, 8),
            ("it fails at the very end", |second| if second < 300 { Pass } else { Fail }, Unhealthy, 10),
            ("one answer goes astray", |second| if second == 122 { Fail } else { Pass }, Healthy, 10),
            ("two seconds of every minute", |second| if second % 60 < 2 { Fail } else { Pass }, Unhealthy, 4),
            ("it flaps by the half minute", |second| if second / 30 % 2 == 0 { Pass } else { Fail }, Unhealthy, 1),
            // What is not looked at is not seen: the plan says so.
            ("an outage between two ticks", |second| if (36..60).contains(&second) { Fail } else { Pass }, Healthy, 10),
            ("we are cut off for a whole tick", |second| if second / 30 == 3 { Error } else { Pass }, Inconclusive, 10),
            ("we are cut off, and then it dies", |second| if second < 240 { Error } else { Fail }, Unhealthy, 8),
        ];
        for (what, does, verdict, tick) in table {
            assert_eq!(by_the_clock(does), (Some(verdict), tick), "{what}");
        }
    }

    #[test]
    fn three_ticks_in_a_row_fail_where_the_rate_alone_would_not() {
        let lenient = Rules { success_rate: 5_000, ..rules(10, 1) };
        let judged = |drawn: &str| judge(&lenient, &window(drawn)).verdict;
        assert_eq!(judged("- - +"), None);
        assert_eq!(judged("+ - - -"), Some(Health::Unhealthy));
        assert_eq!(judged("- ? - + + + + + + +"), Some(Health::Inconclusive));
        assert_eq!(judged("- - + - - + + + + +"), Some(Health::Healthy));
        // A tick fails when more than half of its samples do.
        let halves = Rules { samples: 2, ..lenient };
        assert_eq!(judge(&halves, &window("-+ -+ -+ ++ ++ ++ ++ ++ ++ ++")).verdict, Some(Health::Healthy));
    }

    #[test]
    fn flapping_is_seen_and_may_be_a_failure() {
        let lenient = Rules { success_rate: 0, consecutive_failures: 9, ..rules(10, 1) };
        let drawn = "+ - + - + + + + + +";
        let judged = judge(&lenient, &window(drawn));
        assert_eq!((judged.verdict, judged.flapping), (Some(Health::Healthy), true));
        let strict = Rules { flapping_fails: true, ..lenient };
        assert_eq!(judge(&strict, &window(drawn)).verdict, Some(Health::Unhealthy));
        // What could not be asked is no change.
        assert!(!judge(&strict, &window("+ ? + ? + ? + ? + ?")).flapping);
    }

    #[test]
    fn it_may_not_become_slow() {
        let rules = Rules { slowest: Some(300), ..rules(2, 2) };
        let took = |ms: [u32; 4]| {
            let one = |ms| (Grade::Pass, ms);
            vec![vec![one(ms[0]), one(ms[1])], vec![one(ms[2]), one(ms[3])]]
        };
        assert_eq!(judge(&rules, &took([100, 300, 900, 900])).verdict, Some(Health::Healthy));
        assert_eq!(judge(&rules, &took([100, 301, 301, 900])).verdict, Some(Health::Unhealthy));
    }

    #[test]
    fn a_window_that_cannot_be_told_any_more_is_given_up() {
        let rules = rules(3, 1);
        // Any further failure would decide it.
        assert!(!is_lost(&rules, &window("? ?")));
        assert!(is_lost(&rules, &window("? ? ?")));
        assert!(!is_lost(&rules, &window("+ +")));
        // One that has failed is not lost, however well it goes after that.
        let lenient = Rules { ticks: 6, consecutive_failures: 2, success_rate: 540, ..rules };
        assert_eq!(judge(&lenient, &window("- - + + +")).verdict, Some(Health::Unhealthy));
        assert!(!is_lost(&lenient, &window("- - + + +")));
    }

    #[test]
    fn the_worst_probe_decides() {
        use Health::{Healthy, Inconclusive, Unhealthy};
        assert_eq!(worst([]), Some(Inconclusive));
        assert_eq!(worst([Some(Healthy), None]), None);
        assert_eq!(worst([Some(Inconclusive), None]), None);
        assert_eq!(worst([Some(Unhealthy), None]), Some(Unhealthy));
        assert_eq!(worst([Some(Healthy), Some(Inconclusive)]), Some(Inconclusive));
        assert_eq!(worst([Some(Healthy), Some(Healthy)]), Some(Healthy));
    }

    #[test]
    fn what_can_be_detected_is_the_exact_binomial() {
        // The same numbers as in the table of the manual.
        for (n, k, p, wanted) in
            [(10, 0, 0.01, 9.6), (10, 0, 0.1, 65.1), (20, 1, 0.02, 6.0), (60, 3, 0.1, 86.3), (100, 5, 0.1, 94.2)]
        {
            let found = (1.0 - at_most(k, n, p)) * 100.0;
            assert!((found - wanted).abs() < 0.1, "{n} {k} {p}: {found}");
        }
        let said = sensitivity(&rules(10, 1));
        assert_eq!(said[0], "10 samples at 95.00% tolerate no failure");
        assert!(said.iter().any(|line| line.contains("a single stray failure")), "{said:?}");
        let said = sensitivity(&rules(10, 6));
        assert_eq!(said[0], "60 samples at 95.00% tolerate 3 failures");
        assert!(said.iter().any(|line| line.contains("decides before")), "{said:?}");
    }

    fn grade() -> impl Strategy<Value = Grade> {
        prop_oneof![6 => Just(Grade::Pass), 1 => Just(Grade::Error), 2 => Just(Grade::Fail)]
    }

    prop_compose! {
        fn watched()(
            ticks in 1..8u32, samples in 1..5u32, consecutive_failures in 1..5u32, success_rate in 0..=10_000u32,
            slowest in proptest::option::of(1..200u32), flaps in 1..5u32,
        )(
            window in proptest::collection::vec(
                proptest::collection::vec((grade(), 0..300u32), samples as usize), ticks as usize
            ),
            rules in Just(Rules {
                ticks, samples, consecutive_failures, success_rate, flaps, flapping_fails: false, slowest,
            }),
        ) -> (Rules, Vec<Vec<(Grade, u32)>>) {
            (rules, window)
        }
    }

    proptest! {
        /// Whatever fails instead, and however much: the verdict never becomes better.
        #[test]
        fn more_failures_never_turn_fail_into_pass(
            (rules, window) in watched(), worse in proptest::collection::vec((0..8usize, 0..5usize), 1..10),
        ) {
            let mut after = window.clone();
            for (tick, sample) in worse {
                let tick = tick % after.len();
                let sample = sample % after[tick].len();
                after[tick][sample].0 = Grade::Fail;
            }
            let (before, after) = (judge(&rules, &window).verdict, judge(&rules, &after).verdict);
            prop_assert!(after.unwrap() >= before.unwrap(), "{before:?} became {after:?}");
        }

        /// What is decided early is what the whole window comes to, whatever comes after.
        #[test]
        fn an_early_verdict_is_the_final_one((rules, window) in watched(), seen in 0..8usize) {
            let seen = &window[..seen.min(window.len())];
            let early = judge(&rules, seen).verdict;
            let whole = judge(&rules, &window).verdict;
            prop_assert!(whole.is_some());
            if seen.len() < window.len() {
                prop_assert!(early != Some(Health::Healthy), "passed early");
                if early.is_some() {
                    prop_assert_eq!(early, whole);
                }
                if is_lost(&rules, seen) {
                    prop_assert_eq!(whole, Some(Health::Inconclusive));
                }
            }
        }

        /// Less is known, and the verdict is no certainty that there was not before.
        #[test]
        fn what_is_not_known_never_decides((rules, window) in watched()) {
            let unknown: Vec<Vec<(Grade, u32)>> =
                window.iter().map(|tick| tick.iter().map(|_| (Grade::Error, 0)).collect()).collect();
            let verdict = judge(&rules, &unknown).verdict.unwrap();
            let anything_goes = rules.tolerated() >= rules.planned() && rules.consecutive_failures > rules.ticks;
            prop_assert!(verdict == Health::Inconclusive || anything_goes);
        }
    }
}
