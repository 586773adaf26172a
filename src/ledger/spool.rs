//! Going on while the database is away.
//!
//! Once a run has changed the world it is never abandoned, so its events must go somewhere: into a chained file, from
//! which the next visit imports them. Before that, a database that is away stops the run.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::chain::Entry;
use super::spool_file::{Spool, files_in, read, remove, sealed, take, unusable};
use super::{Acquired, BadDigest, Fence, Filter, Head, Ledger, LedgerError, Opened, Past};
use crate::promotion::event::{Event, Opening, Record};
use crate::promotion::fault::{Code, Fault};
use crate::promotion::identity::DeploymentId;
use crate::promotion::retry::{RetryClass, RetryPolicy};
use crate::promotion::run::Run;

/// How patiently a database that is away is asked again.
const WHEN_AWAY: RetryPolicy =
    RetryPolicy { attempts: 4, initial: Duration::from_millis(500), factor: 2.0, max: Duration::from_secs(3) };

/// After this long it is not asked again.
const PATIENCE: Duration = Duration::from_secs(15);

/// A ledger that goes on in a file when the one behind it is away.
///
/// Whether it may is decided by the run itself: as soon as an intent to change the world is in the ledger
/// ([`Run::changed_the_world`]). From the first event in the file on, all of the run's events go there, so that the
/// database never has a later one before an earlier one. Calls that can be answered by the database alone (opening,
/// sequence numbers, leases, the past) are answered by it or not at all. Calls that are safe to repeat are repeated for
/// a while first.
#[derive(Debug)]
pub struct Spooling {
    inner: Arc<dyn Ledger>,
    folder: PathBuf,
    runs: Mutex<HashMap<DeploymentId, Watched>>,
    haste: AtomicBool,
}

/// A run that went through here, as it is.
#[derive(Debug)]
struct Watched {
    run: Run,
    spool: Option<Spool>,
}

/// What became of a spool file.
#[derive(Debug)]
pub struct Imported {
    /// The file. It is gone where the import succeeded.
    pub file: PathBuf,
    /// How many events came into the ledger, or why none did.
    pub events: Result<u64, LedgerError>,
}

impl Imported {
    /// The fault, where the file's events could not be taken in.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        let error = self.events.as_ref().err()?;
        Some(Fault::new(Code::SpoolRefused, format!("{} cannot be imported: {error}", self.file.display())))
    }
}

/// An answer that is still to come.
type Answer<'a, T> = BoxFuture<'a, Result<T, LedgerError>>;

/// Where the answer to a call stands after its attempts.
enum Away {
    /// The ledger answers, and says no.
    No(LedgerError),
    /// It is away; these records of the call may be in it, exactly so.
    Away { why: String, in_doubt: Option<Vec<Record>> },
}

impl From<Away> for LedgerError {
    fn from(away: Away) -> Self {
        match away {
            Away::No(error) => error,
            Away::Away { why, in_doubt: Some(records) } => Self::InDoubt { why, records },
            Away::Away { why, in_doubt: None } => Self::Unreachable(why),
        }
    }
}

/// Asks again while the ledger is away, for a while, unless in haste. A call is never cut off: what it did would then not
/// be known.
async fn patiently<'a, T>(haste: &AtomicBool, call: impl Fn() -> Answer<'a, T> + Send + Sync) -> Result<T, Away> {
    let begin = Instant::now();
    let mut in_doubt = None;
    let mut attempt = 1;
    loop {
        let why = match call().await {
            Ok(answer) => return Ok(answer),
            Err(LedgerError::Unreachable(why)) => why,
            // A later attempt that got so far has seen that an earlier one did not.
            Err(LedgerError::InDoubt { why, records }) => {
                in_doubt = Some(records);
                why
            }
            Err(error) => return Err(Away::No(error)),
        };
        let wait = WHEN_AWAY.wait(attempt, RetryClass::Passing { after: None }, rand::random());
        match wait.filter(|_| begin.elapsed() < PATIENCE && !haste.load(Ordering::Relaxed)) {
            Some(wait) => sleep(wait).await,
            None => return Err(Away::Away { why, in_doubt }),
        }
        attempt += 1;
    }
}

impl Spooling {
    /// A ledger that goes on in files in `folder` when `inner` is away. The folder is made when it is needed.
    #[must_use]
    pub fn new(inner: Arc<dyn Ledger>, folder: PathBuf) -> Self {
        Self { inner, folder, runs: Mutex::default(), haste: AtomicBool::new(false) }
    }

    /// From now on a ledger that is away is asked once, and not again: there is no time.
    pub fn hurry(&self) {
        self.haste.store(true, Ordering::Relaxed);
    }

    /// The files that this object has put events into and that are not imported yet.
    pub async fn files(&self) -> Vec<PathBuf> {
        let runs = self.runs.lock().await;
        let mut files: Vec<_> =
            runs.values().filter_map(|watched| watched.spool.as_ref()).map(|spool| spool.path.clone()).collect();
        files.sort();
        files
    }

    /// Imports every file of the folder into the ledger: at the beginning of a visit, and at its end. Runs that were
    /// imported have a new head and must be loaded again.
    ///
    /// A file is removed once its events are in the ledger, and kept where they cannot be: because the run has other
    /// events there, is not in this ledger, or the file is damaged. A last line that was cut off in the middle is
    /// passed over: nobody was told that it was recorded. Files that another process writes are left alone.
    ///
    /// # Errors
    /// [`LedgerError::Unreachable`] when the ledger is away; [`LedgerError::Corrupt`] when the folder cannot be read.
    pub async fn import_all(&self) -> Result<Vec<Imported>, LedgerError> {
        let mut runs = self.runs.lock().await;
        let mut imported = Vec::new();
        for file in files_in(&self.folder).map_err(|error| unusable(&self.folder, &error))? {
            let ours = runs.values_mut().find_map(|watched| {
                let Watched { run, spool: Some(spool) } = watched else { return None };
                (spool.path == file).then_some((run, spool))
            });
            let (events, run) = match ours {
                Some((run, spool)) => (self.import_ours(run, spool).await.map(Some), Some(run.id.clone())),
                None => (self.import_file(&file).await, None),
            };
            match events {
                Ok(None) => {}
                Ok(Some(events)) => {
                    run.and_then(|run| runs.remove(&run));
                    imported.push(Imported { file, events: Ok(events) });
                }
                Err(error @ (LedgerError::Unreachable(_) | LedgerError::InDoubt { .. })) => return Err(error),
                Err(error) => imported.push(Imported { file, events: Err(error) }),
            }
        }
        Ok(imported)
    }

    /// Imports a file that is being written here. If it cannot be imported the run goes on in it.
    async fn import_ours(&self, run: &mut Run, spool: &mut Spool) -> Result<u64, LedgerError> {
        match patiently(&self.haste, || self.inner.import(&spool.records)).await.map_err(LedgerError::from) {
            Ok(events) => {
                remove(&spool.path)?;
                Ok(events)
            }
            Err(LedgerError::InDoubt { why, records }) => {
                // The ledger may have it, with an event of its own at the end: that one comes next here too.
                spool.keep(run, records.into_iter().skip_while(|record| record.seq <= run.seq).collect())?;
                Err(LedgerError::Unreachable(why))
            }
            Err(error) => Err(error),
        }
    }

    /// Imports a file that somebody else has left; `None` when it is in use or gone.
    async fn import_file(&self, path: &Path) -> Result<Option<u64>, LedgerError> {
        let Some(file) = take(path).map_err(|error| unusable(path, &error))? else { return Ok(None) };
        let records = read(&file).map_err(|why| LedgerError::Corrupt(format!("{}: {why}", path.display())))?;
        let events = patiently(&self.haste, || self.inner.import(&records)).await?;
        // It is ours alone until it is gone, so that nothing new is removed with it.
        remove(path)?;
        drop(file);
        Ok(Some(events))
    }

    /// Keeps a run as its records tell it.
    async fn watch(&self, records: &[Record]) {
        if let Ok(run) = Run::fold(records) {
            let mut runs = self.runs.lock().await;
            let spool = runs.remove(&run.id).and_then(|watched| watched.spool);
            runs.insert(run.id.clone(), Watched { run, spool });
        }
    }

    /// What is in a run's file after a place. An event that was in doubt may be in the ledger too.
    async fn spooled_after(&self, run: &DeploymentId, after: u64) -> Vec<Record> {
        let runs = self.runs.lock().await;
        let spool = runs.get(run).and_then(|watched| watched.spool.as_ref());
        spool.map_or_else(Vec::new, |spool| spool.records.iter().filter(|record| record.seq > after).cloned().collect())
    }

    /// Answers a call that adds records to a run: by the ledger, or, where the run may go on without it, by the file.
    async fn add<'a>(
        &self,
        head: &Head,
        events: &[Event],
        call: impl Fn() -> Answer<'a, Vec<Record>> + Send + Sync,
    ) -> Result<Vec<Record>, LedgerError> {
        let mut runs = self.runs.lock().await;
        if let Some(Watched { run, spool: Some(spool) }) = runs.get_mut(&head.run) {
            return spool.add(run, head, events);
        }
        match patiently(&self.haste, call).await {
            Ok(records) => {
                follow(&mut runs, &records);
                Ok(records)
            }
            Err(Away::Away { why, in_doubt }) => match runs.get_mut(&head.run) {
                Some(Watched { run, spool }) if run.changed_the_world() && Head::of(run) == *head => {
                    let told = |error: LedgerError| LedgerError::Unreachable(format!("{why}; and {error}"));
                    let records = in_doubt.map_or_else(|| sealed(run, events), Ok)?;
                    let mut new = Spool::create(&self.folder, &head.run).map_err(told)?;
                    let records = new.keep(run, records).map_err(told)?;
                    *spool = Some(new);
                    Ok(records)
                }
                _ => Err(Away::Away { why, in_doubt }.into()),
            },
            Err(no) => Err(no.into()),
        }
    }

    /// Answers a call that only the ledger can answer, for a run whose events are not in a file.
    async fn ask<'a, T>(
        &self,
        head: &Head,
        call: impl Fn() -> Answer<'a, T> + Send + Sync,
        record: impl Fn(&T) -> Option<&Record> + Send,
    ) -> Result<T, LedgerError> {
        let mut runs = self.runs.lock().await;
        if runs.get(&head.run).is_some_and(|watched| watched.spool.is_some()) {
            return Err(LedgerError::Unreachable(format!("the events of run {} go into a file", head.run)));
        }
        let answer = patiently(&self.haste, call).await?;
        follow(&mut runs, record(&answer).map_or(&[], std::slice::from_ref));
        Ok(answer)
    }
}

/// Takes records that were just added into the run that is watched. One that does not follow it means that the run is
/// not known well enough to go on without its ledger.
fn follow(runs: &mut HashMap<DeploymentId, Watched>, records: &[Record]) {
    for record in records {
        if runs.get_mut(&record.run).is_some_and(|watched| watched.run.apply(record).is_err()) {
            runs.remove(&record.run);
        }
    }
}

#[async_trait]
impl Ledger for Spooling {
    async fn exists(&self) -> Result<bool, LedgerError> {
        self.inner.exists().await
    }

    async fn prepare(&self) -> Result<(), LedgerError> {
        self.inner.prepare().await
    }

    async fn open(&self, opening: Opening, commit: &str) -> Result<Opened, LedgerError> {
        let opened = self.inner.open(opening, commit).await?;
        let (Opened::New(records) | Opened::Resumed(records) | Opened::Finished(records)) = &opened;
        self.watch(records).await;
        Ok(opened)
    }

    async fn load(&self, run: &DeploymentId) -> Result<Vec<Record>, LedgerError> {
        let mut records = self.inner.load(run).await?;
        records.extend(self.spooled_after(run, records.last().map_or(0, |last| last.seq)).await);
        self.watch(&records).await;
        Ok(records)
    }

    async fn entries(&self, run: &DeploymentId) -> Result<Vec<Entry>, LedgerError> {
        let mut entries = self.inner.entries(run).await?;
        let spooled = self.spooled_after(run, entries.last().map_or(0, |last| last.seq)).await;
        entries.extend(spooled.iter().map(Entry::from));
        Ok(entries)
    }

    async fn append(&self, head: &Head, fence: Option<&Fence>, events: &[Event]) -> Result<Vec<Record>, LedgerError> {
        self.add(head, events, || self.inner.append(head, fence, events)).await
    }

    async fn take_sequence(&self, head: &Head, fence: Option<&Fence>, service: &str) -> Result<Record, LedgerError> {
        self.ask(head, || self.inner.take_sequence(head, fence, service), |record| Some(record)).await
    }

    async fn peek_sequence(&self, scope: &str, environment: &str, service: &str) -> Result<u64, LedgerError> {
        self.inner.peek_sequence(scope, environment, service).await
    }

    async fn acquire(&self, head: &Head) -> Result<Acquired, LedgerError> {
        self.ask(
            head,
            || self.inner.acquire(head),
            |acquired| match acquired {
                Acquired::Taken(record) => Some(&**record),
                Acquired::Held { .. } => None,
            },
        )
        .await
    }

    async fn renew(&self, fence: &Fence) -> Result<(), LedgerError> {
        self.inner.renew(fence).await
    }

    async fn release(&self, head: &Head, fence: &Fence) -> Result<Record, LedgerError> {
        let released = [Event::LeaseReleased { token: fence.token }];
        let call = || self.inner.release(head, fence).map(|record| Ok(vec![record?])).boxed();
        let mut records = self.add(head, &released, call).await?;
        records.pop().ok_or_else(|| LedgerError::Conflict(head.run.clone()))
    }

    async fn lease(
        &self,
        scope: &str,
        environment: &str,
    ) -> Result<Option<(DeploymentId, DateTime<Utc>)>, LedgerError> {
        self.inner.lease(scope, environment).await
    }

    async fn past(&self, filter: &Filter) -> Result<Vec<Past>, LedgerError> {
        self.inner.past(filter).await
    }

    async fn bad_digests(&self, scope: &str, environment: &str, service: &str) -> Result<Vec<BadDigest>, LedgerError> {
        self.inner.bad_digests(scope, environment, service).await
    }

    async fn runs(&self, filter: &Filter) -> Result<Vec<DeploymentId>, LedgerError> {
        self.inner.runs(filter).await
    }

    async fn unsettled(&self, scope: &str, environment: &str) -> Result<Vec<Run>, LedgerError> {
        self.inner.unsettled(scope, environment).await
    }

    async fn recorded(&self) -> Result<Vec<DeploymentId>, LedgerError> {
        self.inner.recorded().await
    }

    async fn heads(&self) -> Result<Vec<Head>, LedgerError> {
        self.inner.heads().await
    }

    async fn import(&self, records: &[Record]) -> Result<u64, LedgerError> {
        self.inner.import(records).await
    }

    async fn rebuild(&self) -> Result<(), LedgerError> {
        self.inner.rebuild().await
    }
}
