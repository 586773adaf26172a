//! What the probes said, for people and for the record.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::text;
use crate::promotion::health::{Grade, Health, Phase, Sample, quantile};
use crate::promotion::run::Run;
use crate::promotion::untrusted::{code, line, markdown};
use crate::promotion::window;

/// The most cells of a chart: more ticks than that are not shown.
const CELLS: usize = 60;

/// The bars of a chart, the lowest first.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A share in hundredths of a percent, as it is written in outputs.
#[must_use]
pub(super) fn percent(basis_points: u32) -> String {
    match (basis_points / 100, basis_points % 100) {
        (whole, 0) => whole.to_string(),
        (whole, part) => format!("{whole}.{part:02}"),
    }
}

/// What is said of samples while they come in.
pub(super) fn lines(run: &Run, phase: Phase, samples: &[Sample]) -> Vec<String> {
    let mut probes: Vec<&str> = Vec::new();
    for sample in samples {
        if !probes.contains(&sample.probe.as_str()) {
            probes.push(&sample.probe);
        }
    }
    let told: Vec<String> = probes
        .iter()
        .map(|probe| {
            let of: Vec<&Sample> = samples.iter().filter(|sample| sample.probe == *probe).collect();
            let passed = of.iter().filter(|sample| sample.grade == Grade::Pass).count();
            let median = quantile(of.iter().map(|sample| sample.ms).collect(), 50).unwrap_or_default();
            let note = of.iter().find_map(|sample| sample.note.as_deref());
            let note = note.map(|note| format!(" ({})", line(note, 200))).unwrap_or_default();
            format!("{} {passed}/{}, {median} ms{note}", line(probe, 100), of.len())
        })
        .collect();
    let planned = run.health.watched.iter().map(|one| one.rules.ticks).max().unwrap_or_default();
    let phase = match phase {
        Phase::Tick(number) => format!("tick {number} of {planned}"),
        other => other.to_string(),
    };
    vec![format!("{phase}: {}", told.join("; "))]
}

/// The section of the job summary; nothing where nothing was asked.
pub(super) fn section(out: &mut String, run: &Run) {
    let health = &run.health;
    let probes = health.probes();
    if probes.is_empty() {
        return;
    }
    let _ = writeln!(out, "### Health\n");
    if let Some((verdict, because)) = &health.verdict {
        let mark = match verdict {
            Health::Healthy => "💚",
            Health::Inconclusive => "❔",
            Health::Unhealthy => "💔",
        };
        let rate = health.success_rate().map(|rate| format!(", {} % of the samples passed", percent(rate)));
        let _ = writeln!(out, "{mark} {verdict}{}: {}\n", rate.unwrap_or_default(), markdown(because, 1000));
    }
    let _ = writeln!(
        out,
        "| | Probe | Before | Asked | Passed | Failed | Not asked | p50 | p95 | max | Ticks | Last trouble |\n|---|---|---|---|---|---|---|---|---|---|---|---|"
    );
    for probe in &probes {
        let asked = Counted::of(run, probe);
        let mark = match asked.worst {
            _ if asked.samples == 0 => "➖",
            Grade::Pass => "✅",
            Grade::Error => "❔",
            Grade::Fail => "❌",
        };
        let before = match &health.baseline {
            Some(baseline) if baseline.iter().any(|sample| sample.probe == *probe) => {
                if health.was_failing(probe) {
                    "❌".to_owned()
                } else {
                    "✅".to_owned()
                }
            }
            _ => "–".to_owned(),
        };
        let trouble = health.after_deployment(probe).filter_map(|sample| sample.note.as_deref()).last();
        let critical = health.watched.iter().find(|one| one.probe == *probe).is_none_or(|one| one.critical);
        let _ = writeln!(
            out,
            "| {mark} | {}{} | {before} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            code(probe, 100),
            if critical { "" } else { " (not critical)" },
            asked.attempts,
            asked.passed,
            asked.failed,
            asked.samples - asked.passed - asked.failed,
            milliseconds(asked.p50),
            milliseconds(asked.p95),
            milliseconds(asked.max),
            chart(run, probe),
            trouble.map(|note| markdown(note, 240)).unwrap_or_default(),
        );
    }
    if !health.ticks.is_empty() {
        let _ = writeln!(
            out,
            "\nEach sign is a tick: as high as its median took against the slowest; `✗` failed, `?` could not be asked."
        );
    }
    let _ = writeln!(out);
}

fn milliseconds(ms: Option<u32>) -> String {
    ms.map_or_else(|| "–".to_owned(), |ms| text::millis(u64::from(ms)))
}

/// A probe's samples after the deployment, counted.
pub(super) struct Counted {
    samples: usize,
    pub(super) attempts: u64,
    pub(super) passed: usize,
    pub(super) failed: usize,
    worst: Grade,
    pub(super) p50: Option<u32>,
    p95: Option<u32>,
    pub(super) max: Option<u32>,
}

impl Counted {
    pub(super) fn of(run: &Run, probe: &str) -> Self {
        let samples: Vec<&Sample> = run.health.after_deployment(probe).collect();
        let count = |grade| samples.iter().filter(|sample| sample.grade == grade).count();
        let times = || samples.iter().map(|sample| sample.ms).collect::<Vec<_>>();
        // What the window tolerates is no trouble.
        let judged = run.health.watched.iter().find(|one| one.probe == probe);
        let judged = judged.and_then(|one| window::judge(&one.rules, &run.health.in_window(probe)).verdict);
        let worst = match judged {
            Some(Health::Healthy) => Grade::Pass,
            Some(Health::Inconclusive) => Grade::Error,
            Some(Health::Unhealthy) => Grade::Fail,
            None => samples.iter().map(|sample| sample.grade).max().unwrap_or(Grade::Pass),
        };
        Self {
            samples: samples.len(),
            attempts: samples.iter().map(|sample| u64::from(sample.attempts)).sum(),
            passed: count(Grade::Pass),
            failed: count(Grade::Fail),
            worst,
            p50: quantile(times(), 50),
            p95: quantile(times(), 95),
            max: times().into_iter().max(),
        }
    }
}

/// A probe's window as a row of bars.
fn chart(run: &Run, probe: &str) -> String {
    let ticks = run.health.in_window(probe);
    let median = |tick: &Vec<(Grade, u32)>| quantile(tick.iter().map(|(_, ms)| *ms).collect(), 50).unwrap_or_default();
    let slowest = ticks.iter().map(median).max().unwrap_or_default().max(1);
    let bar = |tick: &Vec<(Grade, u32)>| {
        let of = |grade| tick.iter().filter(|(one, _)| *one == grade).count() * 2 > tick.len();
        if of(Grade::Fail) {
            '✗'
        } else if of(Grade::Error) {
            '?'
        } else {
            let height = u64::from(median(tick)) * (BARS.len() as u64 - 1) / u64::from(slowest);
            BARS[usize::try_from(height).unwrap_or_default().min(BARS.len() - 1)]
        }
    };
    let skipped = ticks.len().saturating_sub(CELLS);
    let bars: String = ticks.iter().skip(skipped).map(bar).collect();
    if bars.is_empty() { String::new() } else { code(&bars, CELLS) }
}

/// The probes in the deployment record, by name.
pub(super) fn record(run: &Run) -> Value {
    let health = &run.health;
    let one = |probe: &str| {
        let asked = Counted::of(run, probe);
        json!({
            "status": match asked.worst {
                _ if asked.samples == 0 => "skipped",
                Grade::Pass => "passed",
                Grade::Error => "unknown",
                Grade::Fail => "failed",
            },
            "attempts": asked.attempts,
            "samples": asked.samples,
            "passed": asked.passed,
            "failed": asked.failed,
            "p50_ms": asked.p50,
            "p95_ms": asked.p95,
            "max_ms": asked.max,
            "failed_before": health.baseline.as_ref().map(|_| health.was_failing(probe)),
        })
    };
    let probes: Map<String, Value> = health.probes().into_iter().map(|probe| (probe.to_owned(), one(probe))).collect();
    Value::Object(probes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promotion::event::{Event, Record};
    use crate::promotion::health::Watched;
    use crate::promotion::window::Rules;
    use crate::report::outputs::tests::a_run;

    fn a_watched_run() -> Run {
        let mut run = a_run();
        let mut write = |event: Event| {
            let text = serde_json::to_string(&event).unwrap();
            assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
            let (id, seq, at) = (run.id.clone(), run.seq + 1, run.updated_at);
            let record = Record { run: id, seq, at, previous: String::new(), hash: "2".repeat(64), text, event };
            run.apply(&record).unwrap();
        };
        let sample = |grade, ms| Sample {
            probe: "api".to_owned(),
            grade,
            ms,
            attempts: 1,
            note: (grade == Grade::Fail).then(|| "<b>|no".to_owned()),
        };
        let rules = Rules {
            ticks: 3,
            samples: 2,
            consecutive_failures: 3,
            success_rate: 5_000,
            flaps: 9,
            flapping_fails: false,
            slowest: None,
        };
        write(Event::Probed { phase: Phase::Baseline, samples: vec![sample(Grade::Pass, 5)] });
        write(Event::Probed { phase: Phase::Check, samples: vec![Sample { attempts: 3, ..sample(Grade::Pass, 20) }] });
        write(Event::WatchBegun {
            every_ms: 1_000,
            probes: vec![Watched { probe: "api".to_owned(), critical: true, rules }],
        });
        for (number, grade) in [(1, Grade::Pass), (2, Grade::Fail), (3, Grade::Pass)] {
            write(Event::Probed {
                phase: Phase::Tick(number),
                samples: vec![sample(grade, 10 * number), sample(grade, 12 * number)],
            });
        }
        write(Event::HealthJudged { health: Health::Healthy, because: "x".to_owned() });
        run
    }

    #[test]
    fn the_table_shows_attempts_times_and_a_chart() {
        let run = a_watched_run();
        let mut out = String::new();
        section(&mut out, &run);
        let row = out.lines().find(|row| row.contains("`api`")).unwrap();
        assert!(row.starts_with("| ✅ | `api` | ✅ | 9 | 5 | 2 | 0 | 20 ms | 36 ms | 36 ms | `▃✗█` |"), "{row}");
        assert!(row.ends_with("&#60;b&#62;\\|no |"), "{row}");
        assert!(out.contains("💚 healthy, 66.66 % of the samples passed"), "{out}");
        assert_eq!(record(&run)["api"]["status"], "passed");
        assert_eq!(record(&run)["api"]["attempts"], 9);
    }

    #[test]
    fn ticks_are_told_while_they_come() {
        let run = a_watched_run();
        let told = lines(&run, Phase::Tick(2), &run.health.ticks[1]);
        assert_eq!(told, ["tick 2 of 3: api 0/2, 20 ms (<b>|no)"]);
    }
}
