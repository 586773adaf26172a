//! What only a file has: permissions, other processes, and being killed.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use testbed::postgres::Postgres;
use tidegate::ledger::Audit;
use tidegate::ledger::{Filter, Ledger, LedgerError, Opened};
use tidegate::promotion::event::Event;
use tidegate::promotion::run::Run;
use tidegate::promotion::state::State;

use super::place::{Place, client};
use super::story::{COMMIT, ENVIRONMENT, SCOPE, Seen, opening, visit};

#[tokio::test]
async fn folder_and_file_are_made_for_their_owner_alone() {
    let place = Place::sqlite();
    place.ready().await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(&place.file()), 0o600);
    // Nothing is left beside it: the file alone is the ledger.
    let folder = place.file().parent().unwrap().to_owned();
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 1);
}

#[tokio::test]
async fn what_is_no_ledger_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "not a database, but long enough to look at ".repeat(50)).unwrap();
    let error = client(&format!("sqlite:{}", text.display())).prepare().await.unwrap_err();
    assert!(matches!(&error, LedgerError::Corrupt(why) if why.contains("notes.txt")), "{error:?}");
    assert!(std::fs::read_to_string(&text).unwrap().starts_with("not a database"));
    for path in [folder.path().to_owned(), text.join("below")] {
        let error = client(&format!("sqlite:{}", path.display())).prepare().await.unwrap_err();
        assert!(matches!(error, LedgerError::Refused(_)), "{error:?}");
    }
}

/// What a child of these tests does, and where.
const CHILD: &str = "LEDGER_TEST_CHILD";

fn child(test: &str, address: &str, variables: &[(&str, &str)]) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("ledger::sqlite::{test}"), "--nocapture"])
        .env(CHILD, address)
        .envs(variables.iter().copied())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

async fn audit(ledger: &dyn Ledger) {
    let mut audit = Audit::default();
    for run in ledger.recorded().await.unwrap() {
        audit.take(&ledger.entries(&run).await.unwrap());
    }
    assert_eq!(audit.finish(true, &ledger.heads().await.unwrap()).breaks, []);
}

/// Does nothing but for a parent.
#[tokio::test]
async fn a_child_takes_numbers() {
    let Ok(address) = std::env::var(CHILD) else { return };
    let ledger = client(&address);
    for _ in 0..5 {
        let mut seen = Seen::new(&*ledger).await;
        seen.sequence(&*ledger, "api").await;
        seen.append(&*ledger, &[visit(1)]).await;
    }
}

#[tokio::test]
async fn many_processes_share_the_file() {
    let place = Place::sqlite();
    let ledger = place.ready().await;
    let address = format!("sqlite:{}", place.file().display());
    let children: Vec<_> = (0..4).map(|_| child("a_child_takes_numbers", &address, &[])).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let numbers: BTreeSet<_> = ledger
        .past(&Filter { service: Some("api".into()), ..Filter::default() })
        .await
        .unwrap()
        .iter()
        .map(|past| past.sequence)
        .collect();
    assert_eq!(numbers, (1..=20).map(Some).collect());
    audit(&*ledger).await;
}

#[tokio::test]
async fn a_process_that_is_killed_leaves_the_file_whole() {
    let place = Place::sqlite();
    let ledger = place.ready().await;
    let address = format!("sqlite:{}", place.file().display());
    for milliseconds in [20, 40, 60, 80, 100, 120] {
        let mut child = child("a_child_takes_numbers", &address, &[]);
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        audit(&*ledger).await;
    }
    let next = ledger.peek_sequence(SCOPE, ENVIRONMENT, "api").await.unwrap();
    assert_eq!(Seen::new(&*ledger).await.sequence(&*ledger, "api").await, next);
}

/// Does nothing but for a parent: brings the run of a workflow to its end, from wherever it is.
#[tokio::test]
async fn a_child_finishes_a_run() {
    let Ok(address) = std::env::var(CHILD) else { return };
    let ledger = client(&address);
    ledger.prepare().await.unwrap();
    let records = match ledger.open(opening(Some("9")), COMMIT).await.unwrap() {
        Opened::New(records) | Opened::Resumed(records) => records,
        Opened::Finished(_) => return,
    };
    let mut seen = Seen { run: Run::fold(&records).unwrap() };
    let number = seen.run.visits.len() as u64 + 1;
    seen.append(&*ledger, &[visit(number)]).await;
    let fence = seen.acquire(&*ledger).await;
    if seen.run.candidate("api").unwrap().sequence.is_none() {
        seen.sequence(&*ledger, "api").await;
    }
    ledger.renew(&fence).await.unwrap();
    seen.release(&*ledger, &fence).await;
    seen.end(&*ledger, State::CompletedSuccessfully).await;
}

/// Kills a child at every point before and after a transaction, and lets another one go on.
async fn crash_everywhere(address: impl AsyncFn() -> String) {
    let log = tempfile::NamedTempFile::new().unwrap();
    let whole = address().await;
    let variables = [("TIDEGATE_CRASH_LOG", log.path().to_str().unwrap())];
    assert!(child("a_child_finishes_a_run", &whole, &variables).wait().unwrap().success());
    let points = std::fs::read_to_string(log.path()).unwrap();
    for what in
        ["look at the schema", "migrate", "open", "append", "acquire", "take a sequence number", "renew", "release"]
    {
        assert!(points.contains(&format!(" ledger begin {what}\n")), "{points}");
        assert!(points.contains(&format!(" ledger commit {what}\n")), "{points}");
    }
    for point in 1..=points.lines().count() {
        let address = address().await;
        let number = point.to_string();
        let mut killed = child("a_child_finishes_a_run", &address, &[("TIDEGATE_CRASH_AT", &number)]);
        assert!(!killed.wait().unwrap().success(), "point {point}");
        assert!(child("a_child_finishes_a_run", &address, &[]).wait().unwrap().success(), "after point {point}");
        let ledger = client(&address);
        let runs = ledger.recorded().await.unwrap();
        assert_eq!(runs.len(), 1, "after point {point}");
        let records = ledger.load(&runs[0]).await.unwrap();
        let numbers: Vec<_> =
            records.iter().filter(|record| matches!(record.event, Event::SequenceTaken { .. })).collect();
        assert_eq!(numbers.len(), 1, "after point {point}");
        assert_eq!(ledger.peek_sequence(SCOPE, ENVIRONMENT, "api").await.unwrap(), 2);
        assert_eq!(Run::fold(&records).unwrap().state, State::CompletedSuccessfully);
        audit(&*ledger).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_point_is_recovered_from() {
    let folder = tempfile::tempdir().unwrap();
    let files = std::sync::atomic::AtomicU32::new(0);
    crash_everywhere(async || {
        let number = files.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        format!("sqlite:{}", folder.path().join(format!("{number}.sqlite")).display())
    })
    .await;
    let databases = std::sync::Mutex::new(Vec::new());
    crash_everywhere(async || {
        let database = Postgres::shared().database();
        let url = database.url();
        databases.lock().unwrap().push(database);
        url
    })
    .await;
}
