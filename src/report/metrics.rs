//! Metrics of a run, in OpenMetrics text (version 1.0.0).

use std::fmt::Write as _;

use super::outputs;
use crate::promotion::check::Verdict;
use crate::promotion::event::Conclusion;
use crate::promotion::run::Run;

/// What the process has used.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// Processor time, in seconds.
    pub cpu: f64,
    /// The most memory that it ever had, in bytes.
    pub memory: u64,
}

/// The metrics of a run, and of the process that this visit was, where that is known.
#[must_use]
pub fn metrics(run: &Run, usage: Option<Usage>) -> String {
    let mut out = String::new();
    let common = format!(
        "repository=\"{}\",environment=\"{}\",operation=\"{}\"",
        label(&run.opening.scope),
        label(&run.opening.environment),
        run.opening.operation
    );
    let mut family = |name: &str, kind: &str, unit: &str, help: &str, samples: Vec<(String, String)>| {
        if samples.is_empty() {
            return;
        }
        let _ = writeln!(out, "# TYPE {name} {kind}");
        if !unit.is_empty() {
            let _ = writeln!(out, "# UNIT {name} {unit}");
        }
        let _ = writeln!(out, "# HELP {name} {help}");
        // A counter's sample has a suffix that its family has not.
        let suffix = if kind == "counter" { "_total" } else { "" };
        for (labels, value) in samples {
            let separator = if labels.is_empty() { "" } else { "," };
            let _ = writeln!(out, "{name}{suffix}{{{common}{separator}{labels}}} {value}");
        }
    };
    let one = |value: String| vec![(String::new(), value)];
    let until = run.ended.as_ref().map_or(run.updated_at, |ended| ended.at);
    let seconds = |from: chrono::DateTime<chrono::Utc>, to: chrono::DateTime<chrono::Utc>| {
        let millis = (to - from).num_milliseconds().max(0);
        format!("{}.{:03}", millis / 1000, millis % 1000)
    };
    family(
        "tidegate_run_started_timestamp_seconds",
        "gauge",
        "seconds",
        "When the run was opened.",
        one(seconds(chrono::DateTime::UNIX_EPOCH, run.opened_at)),
    );
    family(
        "tidegate_run_duration_seconds",
        "gauge",
        "seconds",
        "From its opening to its end, or to its last event.",
        one(seconds(run.opened_at, until)),
    );
    let succeeded = u8::from(outputs::status(run) == "SUCCESS");
    family("tidegate_run_succeeded", "gauge", "", "1 where the run has succeeded.", one(succeeded.to_string()));
    family("tidegate_run_visits", "gauge", "", "Executions on the run.", one(run.visits.len().to_string()));
    let numbers = run.candidates.iter().filter_map(|candidate| {
        Some((format!("service=\"{}\"", label(&candidate.service)), candidate.sequence?.to_string()))
    });
    family("tidegate_sequence_number", "gauge", "", "The number in the environment.", numbers.collect());
    let stages = run.stages.iter().filter_map(|stage| {
        let labels = format!(
            "stage=\"{}\",visit=\"{}\",conclusion=\"{}\"",
            stage.stage,
            stage.visit,
            stage.conclusion.map_or("cut-off", Conclusion::name)
        );
        Some((labels, seconds(stage.started_at, stage.ended_at?)))
    });
    family("tidegate_stage_duration_seconds", "gauge", "seconds", "How long a stage took.", distinct(stages.collect()));
    let traffic = run.traffic();
    let requests =
        traffic.requests.iter().map(|(class, count)| (format!("class=\"{}\"", label(class)), count.to_string()));
    family("tidegate_requests", "counter", "", "HTTP requests by what they were for.", requests.collect());
    family(
        "tidegate_received_bytes",
        "counter",
        "bytes",
        "Bytes of bodies received.",
        one(traffic.received.to_string()),
    );
    family("tidegate_sent_bytes", "counter", "bytes", "Bytes of bodies sent.", one(traffic.sent.to_string()));
    family("tidegate_retries", "counter", "", "Attempts that were repeated.", one(run.retries.len().to_string()));
    let faults = run.faults_by_severity();
    let faults = crate::promotion::fault::Severity::ALL.into_iter().map(|severity| {
        (format!("severity=\"{severity}\""), faults.get(&severity).copied().unwrap_or_default().to_string())
    });
    family("tidegate_faults", "counter", "", "Faults by severity.", faults.collect());
    let categories = run.faults_by_category();
    let categories = categories.iter().map(|(category, count)| (format!("category=\"{category}\""), count.to_string()));
    family("tidegate_faults_by_category", "counter", "", "Faults by category.", categories.collect());
    let verdicts = [Verdict::Pass, Verdict::Warn, Verdict::Fail, Verdict::Skipped].into_iter().map(|verdict| {
        let count = run.findings.iter().filter(|finding| finding.verdict == verdict).count();
        (format!("verdict=\"{}\"", verdict.name()), count.to_string())
    });
    family("tidegate_checks", "gauge", "", "Checks by verdict.", verdicts.collect());
    if let Some(usage) = usage {
        family(
            "tidegate_cpu_seconds",
            "counter",
            "seconds",
            "Processor time of this visit.",
            one(format!("{:.2}", usage.cpu)),
        );
        family(
            "tidegate_memory_peak_bytes",
            "gauge",
            "bytes",
            "The most memory that this visit had.",
            one(usage.memory.to_string()),
        );
    }
    out.push_str("# EOF\n");
    out
}

/// A label's value: backslash, quote and line feed escaped (OpenMetrics 1.0.0, "Escaping").
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Of samples with the same labels the last: a stage may be begun twice in a visit.
fn distinct(samples: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut distinct: Vec<(String, String)> = Vec::new();
    for sample in samples {
        match distinct.iter_mut().find(|known| known.0 == sample.0) {
            Some(known) => *known = sample,
            None => distinct.push(sample),
        }
    }
    distinct
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promotion::stories::{hostile, outcomes};

    /// Whether a text is OpenMetrics, as far as its grammar says (OpenMetrics 1.0.0, "ABNF").
    fn check(text: &str) {
        let sample =
            regex::Regex::new(r#"^([a-z_]+)\{((?:[a-z_]+="(?:[^"\\\n]|\\\\|\\"|\\n)*",?)*)\} ([0-9.]+)$"#).unwrap();
        let mut family = String::new();
        let mut seen = std::collections::BTreeSet::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                family = rest.split(' ').next().unwrap().to_owned();
                assert!(seen.insert(family.clone()), "{family} is there twice");
            } else if !line.starts_with('#') {
                let found = sample.captures(line).unwrap_or_else(|| panic!("{line}"));
                assert_eq!(found[1].trim_end_matches("_total"), family);
                assert!(seen.insert(format!("{} {}", &found[1], &found[2])), "{line} is there twice");
            }
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn metrics_are_open_metrics() {
        for (_, story) in outcomes() {
            check(&metrics(&story.run, Some(Usage { cpu: 1.25, memory: 1 << 20 })));
        }
        check(&metrics(&hostile().run, None));
    }

    #[test]
    fn what_happened_is_counted() {
        let stories = outcomes();
        let of = |wanted: &str| metrics(&stories.iter().find(|(name, _)| *name == wanted).unwrap().1.run, None);
        assert!(of("succeeded").contains(
            "tidegate_run_succeeded{repository=\"acme/api\",environment=\"production\",operation=\"promote\"} 1"
        ));
        assert!(of("registry unreachable").contains("operation=\"promote\"} 1\n# TYPE tidegate_faults counter"));
        assert!(of("validation failed").contains("verdict=\"fail\"} 1"));
    }
}
