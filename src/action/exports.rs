//! What leaves the machine when a visit is over, put together from the job and the configuration.

use std::time::Duration;

use chrono::{TimeDelta, Utc};

use super::console::annotate;
use super::run::Desk;
use crate::config::{Configuration, SecretReader};
use crate::export::Item;
use crate::export::artifact::Artifacts;
use crate::export::otlp::Collector;
use crate::export::storage::Archive;
use crate::ledger::chain::Entry;
use crate::promotion::event::Record;
use crate::promotion::fault::{Code, Fault};
use crate::promotion::retry::RetryPolicy;
use crate::promotion::run::Run;
use crate::report;
use crate::stages::files::Files;

/// The longest that an artifact may be kept.
const LONGEST: Duration = Duration::from_secs(400 * 86_400);

/// Where the trail and the trace go.
pub(super) struct Exports {
    archive: Option<Archive>,
    artifacts: Option<(Artifacts, Duration)>,
    collector: Option<Collector>,
}

impl Exports {
    /// What the configuration and the environment ask for. Nothing is connected to yet.
    ///
    /// # Errors
    /// A secret of the archive that is not set: told before anything is done.
    pub(super) fn of(
        desk: &Desk,
        configuration: Option<&Configuration>,
        secrets: &SecretReader,
    ) -> Result<Self, Fault> {
        let get = |name: &str| desk.environment.get(name).map(ToOwned::to_owned);
        let collector = Collector::of(&get).unwrap_or_else(|why| {
            annotate(&desk.printer, &untraced(&why));
            None
        });
        let Some(configuration) = configuration else { return Ok(Self { archive: None, artifacts: None, collector }) };
        let (audit, retry) = (configuration.audit(), configuration.retry());
        let archive = Archive::of(audit, &|secret| Ok(secrets.resolve(secret)?), retry)?;
        let artifacts = if audit.artifact { artifacts(desk, retry) } else { None };
        let kept = retention(audit.artifact_retention, get("GITHUB_RETENTION_DAYS").as_deref());
        Ok(Self { archive, artifacts: artifacts.map(|artifacts| (artifacts, kept)), collector })
    }

    /// Sends what there is of a run. What cannot be sent is told, and changes nothing.
    pub(super) async fn send(&self, desk: &Desk, run: &Run, records: &[Record]) {
        let trail: Vec<Entry> = records.iter().filter(|record| record.run == run.id).map(Entry::from).collect();
        let items: Vec<Item> = match Files::contents(run, &trail, super::usage::usage()) {
            Ok(contents) => contents
                .into_iter()
                .map(|(name, content)| Item { name: name.to_owned(), content: content.into() })
                .collect(),
            Err(error) => {
                tracing::warn!(%error, "the trail cannot be put together: {error}");
                return;
            }
        };
        if let Some(archive) = &self.archive {
            match archive.keep(run, &items).await {
                Ok(()) => desk.printer.text(&format!("{}: the trail is archived in {}", run.id, archive.place(run))),
                Err(fault) => annotate(&desk.printer, &fault),
            }
        }
        if let Some((artifacts, kept)) = &self.artifacts {
            let visit = run.visits.last().map_or(1, |visit| visit.opening.number);
            // An artifact's name is taken once in a workflow run.
            let name =
                if visit > 1 { format!("tidegate-{}-visit-{visit}", run.id) } else { format!("tidegate-{}", run.id) };
            let expires = Utc::now() + TimeDelta::from_std(*kept).unwrap_or_default();
            match artifacts.upload(&name, &items, expires).await {
                Ok(id) => desk.printer.text(&format!("{}: the trail is artifact {name} ({id})", run.id)),
                Err(fault) => annotate(
                    &desk.printer,
                    &fault.with_fix("upload the folder that `log-path` names with `actions/upload-artifact`"),
                ),
            }
        }
        if let Some(collector) = &self.collector
            && let Err(why) = collector.send(&report::traces::traces(run)).await
        {
            annotate(&desk.printer, &untraced(&why));
        }
    }
}

fn untraced(why: &str) -> Fault {
    let text = format!("no trace is sent to the OpenTelemetry collector: {why}");
    Fault::new(Code::ArchiveFailed, text).with_fix("check OTEL_EXPORTER_OTLP_ENDPOINT and the collector")
}

fn artifacts(desk: &Desk, retry: RetryPolicy) -> Option<Artifacts> {
    let get = |name: &str| desk.environment.get(name);
    let (token, results) = (get("ACTIONS_RUNTIME_TOKEN"), get("ACTIONS_RESULTS_URL"));
    Artifacts::of(token, results, &desk.context.server_url, retry).unwrap_or_else(|fault| {
        annotate(&desk.printer, &fault);
        None
    })
}

/// How long an artifact is kept: as long as asked, and no longer than the repository allows.
fn retention(asked: Duration, allowed: Option<&str>) -> Duration {
    let allowed = allowed.and_then(|days| days.parse::<u64>().ok()).filter(|days| *days > 0);
    let allowed = allowed.map_or(LONGEST, |days| Duration::from_secs(days * 86_400));
    asked.min(allowed).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_artifact_is_kept_as_long_as_the_repository_allows() {
        let days = |days: u64| Duration::from_secs(days * 86_400);
        assert_eq!(retention(days(365), Some("90")), days(90));
        assert_eq!(retention(days(30), Some("90")), days(30));
        assert_eq!(retention(days(365), None), days(365));
        assert_eq!(retention(days(365), Some("never")), days(365));
    }
}
