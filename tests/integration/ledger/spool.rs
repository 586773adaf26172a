//! Going on while the database is away.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use testbed::postgres::{Database, Postgres};
use tidegate::ledger::chain::verify;
use tidegate::ledger::lines::Entries;
use tidegate::ledger::{Ledger, LedgerError, Spooling};
use tidegate::promotion::act::Outcome;
use tidegate::promotion::event::Event;
use tidegate::promotion::fault::{Code, Fault};
use tidegate::promotion::run::Run;
use tidegate::promotion::state::State;

use super::cut::{Line, Way};
use super::place::client;
use super::story::{Seen, intent, visit};

struct Case {
    way: Way,
    _database: Database,
    folder: tempfile::TempDir,
    ledger: Spooling,
}

impl Case {
    async fn new() -> Self {
        let database = Postgres::shared().database();
        let way = Way::to(&database).await;
        let folder = tempfile::tempdir().unwrap();
        let ledger = Spooling::new(client(&way.url), folder.path().join("spool"));
        ledger.prepare().await.unwrap();
        Self { way, _database: database, folder, ledger }
    }

    /// The ledger as the next visit has it.
    fn next_visit(&self) -> Spooling {
        Spooling::new(client(&self.way.url), self.folder.path().join("spool"))
    }

    fn files(&self) -> Vec<std::path::PathBuf> {
        let Ok(folder) = fs::read_dir(self.folder.path().join("spool")) else { return Vec::new() };
        folder.map(|entry| entry.unwrap().path()).collect()
    }

    /// A run that has announced to change the world and holds the lease.
    async fn changed(&self) -> (Seen, tidegate::ledger::Fence) {
        let mut seen = Seen::new(&self.ledger).await;
        let fence = seen.acquire(&self.ledger).await;
        seen.append(&self.ledger, &[visit(1), intent()]).await;
        (seen, fence)
    }
}

fn settled(seen: &Seen) -> Event {
    let (intent, _) = seen.run.unsettled().next().unwrap();
    Event::Settled { intent, outcome: Outcome::TagsMoved { found: false } }
}

async fn import(ledger: &Spooling) -> Result<u64, LedgerError> {
    let mut imported = ledger.import_all().await.unwrap();
    assert_eq!(imported.len(), 1, "{imported:?}");
    let imported = imported.pop().unwrap();
    let code = imported.fault().map(|fault| fault.code);
    assert_eq!(code, imported.events.is_err().then_some(Code::SpoolRefused));
    imported.events
}

/// The run in the ledger verifies and is what was seen, with what an import adds.
async fn is_whole(ledger: &dyn Ledger, seen: &Seen, imported: u64) {
    let entries = ledger.entries(&seen.run.id).await.unwrap();
    assert!(verify(&entries).unwrap().is_some());
    let run = Run::fold(&ledger.load(&seen.run.id).await.unwrap()).unwrap();
    assert_eq!((run.seq, run.imported), (seen.run.seq + 1, imported));
    assert_eq!(entries[entries.len() - 2].hash, seen.run.head);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_the_first_change_a_run_stops() {
    let case = Case::new().await;
    let mut seen = Seen::new(&case.ledger).await;
    seen.append(&case.ledger, &[visit(1)]).await;
    case.way.set(Line::Down);
    // Not even the announcement of the first change gets by: nobody may act on what nobody has recorded.
    let error = case.ledger.append(&seen.head(), None, &[intent()]).await.unwrap_err();
    assert!(matches!(error, LedgerError::Unreachable(_)), "{error:?}");
    assert_eq!(case.files(), Vec::<std::path::PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_it_the_run_goes_on_in_a_file_and_comes_back() {
    let case = Case::new().await;
    let (mut seen, fence) = case.changed().await;
    case.way.set(Line::Down);
    let fault = Fault::new(Code::LedgerUnreachable, "it is away \u{0} \"really\"");
    let head = seen.head();
    let events = [settled(&seen), Event::Faulted(Box::new(fault))];
    seen.append_with(&case.ledger, &fence, &events).await.unwrap();
    assert_eq!(case.ledger.files().await, case.files());

    // The database is back, and does not get a later event before an earlier one.
    case.way.set(Line::Open);
    seen.append(&case.ledger, &[visit(2)]).await;
    assert_eq!(client(&case.way.url).load(&seen.run.id).await.unwrap().len(), 4);
    assert_eq!(case.ledger.append(&head, Some(&fence), &events).await.unwrap().len(), 2);
    let conflict = case.ledger.append(&head, None, &[visit(9)]).await;
    assert!(matches!(conflict, Err(LedgerError::Conflict(_))), "{conflict:?}");
    let illegal = case.ledger.append(&seen.head(), None, &[Event::StateChanged { to: State::RolledBack }]).await;
    assert!(matches!(illegal, Err(LedgerError::Corrupt(_))), "{illegal:?}");
    for refused in [
        case.ledger.acquire(&seen.head()).await.map(drop),
        case.ledger.take_sequence(&seen.head(), None, "api").await.map(drop),
    ] {
        assert!(matches!(refused, Err(LedgerError::Unreachable(_))), "{refused:?}");
    }
    seen.release(&case.ledger, &fence).await;
    let whole = case.ledger.load(&seen.run.id).await.unwrap();
    assert_eq!(Run::fold(&whole).unwrap(), seen.run);

    // Somebody else leaves the file alone while it is written.
    assert!(case.next_visit().import_all().await.unwrap().is_empty());
    let file = case.files().remove(0);
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(&file).unwrap()) & 0o777;
    assert_eq!(mode, 0o600);
    assert!(file.ends_with(format!("{}.jsonl", seen.run.id)));

    assert_eq!(import(&case.ledger).await.unwrap(), 4);
    is_whole(&case.ledger, &seen, 4).await;
    assert_eq!((case.files().len(), case.ledger.files().await.len()), (0, 0));
    assert!(case.ledger.import_all().await.unwrap().is_empty());
    // The lease that was given back in the file is free.
    let mut next = Seen::new(&case.ledger).await;
    next.acquire(&case.ledger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_in_doubt_is_there_once() {
    for line in [Line::LosesAnswer, Line::LosesCommit] {
        let mut case = Case::new().await;
        let (mut seen, fence) = case.changed().await;
        case.way.set(line);
        let event = settled(&seen);
        seen.append_with(&case.ledger, &fence, &[event]).await.unwrap();
        seen.append_with(&case.ledger, &fence, &[visit(2)]).await.unwrap();
        case.way.set(Line::Open);
        // This visit is killed; the next one imports.
        case.ledger = case.next_visit();
        let new = import(&case.ledger).await.unwrap();
        assert_eq!(new, if line == Line::LosesAnswer { 1 } else { 2 });
        is_whole(&case.ledger, &seen, new).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_breaks_off_is_done_again() {
    for line in [Line::LosesAnswer, Line::LosesCommit] {
        let mut case = Case::new().await;
        let (mut seen, _) = case.changed().await;
        case.way.set(Line::Down);
        seen.append(&case.ledger, &[visit(2)]).await;
        case.way.set(line);
        case.ledger = case.next_visit();
        let away = case.ledger.import_all().await.unwrap_err();
        assert!(matches!(away, LedgerError::Unreachable(_) | LedgerError::InDoubt { .. }), "{away:?}");
        assert_eq!(case.files().len(), 1);
        case.way.set(Line::Open);
        assert_eq!(import(&case.ledger).await.unwrap(), u64::from(line == Line::LosesCommit));
        is_whole(&case.ledger, &seen, 1).await;
        assert_eq!(case.files().len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_whose_import_breaks_off_goes_on() {
    for line in [Line::LosesAnswer, Line::LosesCommit] {
        let case = Case::new().await;
        let (mut seen, fence) = case.changed().await;
        case.way.set(Line::Down);
        seen.append(&case.ledger, &[visit(2)]).await;
        case.way.set(line);
        let away = case.ledger.import_all().await.unwrap_err();
        assert!(matches!(away, LedgerError::Unreachable(_)), "{away:?}");
        case.way.set(Line::Open);
        // What the ledger may have added at the end is part of the run now.
        seen.reload(&case.ledger).await;
        let event = settled(&seen);
        seen.append_with(&case.ledger, &fence, &[event]).await.unwrap();
        assert_eq!(case.ledger.files().await.len(), 1);
        let new = import(&case.ledger).await.unwrap();
        assert_eq!(new, if line == Line::LosesAnswer { 1 } else { 3 });
        is_whole(&case.ledger, &seen, new + 1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_passing_weakness_is_not_noticed() {
    let case = Case::new().await;
    let mut seen = Seen::new(&case.ledger).await;
    for line in [Line::LosesAnswer, Line::LosesCommit, Line::Down] {
        case.way.set(line);
        let way = &case.way;
        let back = async {
            tokio::time::sleep(std::time::Duration::from_millis(700)).await;
            way.set(Line::Open);
        };
        let events = [visit(1), intent()];
        tokio::join!(seen.append(&case.ledger, &events), back);
    }
    assert_eq!(case.files().len(), 0);
    assert_eq!(client(&case.way.url).load(&seen.run.id).await.unwrap().len(), 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_does_not_fit_is_kept_and_told() {
    let mut case = Case::new().await;
    let (mut seen, _) = case.changed().await;
    let there = seen.clone();
    case.way.set(Line::Down);
    seen.append(&case.ledger, &[visit(2)]).await;
    case.way.set(Line::Open);
    case.ledger = case.next_visit();
    let file = case.files().remove(0);
    let good = fs::read(&file).unwrap();

    let cases: [(&str, Vec<u8>); 4] = [
        ("edited", String::from_utf8(good.clone()).unwrap().replace("\\\"number\\\":2", "\\\"number\\\":3").into()),
        ("no record", b"hello\n".to_vec()),
        ("no event", String::from_utf8(good.clone()).unwrap().replace("visit-started", "visit-ended").into()),
        ("begins at", {
            let line = String::from_utf8(good.clone()).unwrap().replace("\"seq\":5", "\"seq\":9");
            let mut entry: tidegate::ledger::chain::Entry = serde_json::from_str(&line).unwrap();
            entry.hash = entry.computed_hash();
            format!("{}\n", serde_json::to_string(&entry).unwrap()).into()
        }),
    ];
    for (says, content) in cases {
        fs::write(&file, &content).unwrap();
        let error = import(&case.ledger).await.unwrap_err();
        assert!(matches!(&error, LedgerError::Corrupt(why) if why.contains(says)), "{says}: {error:?}");
        assert_eq!(fs::read(&file).unwrap(), content);
    }
    assert_eq!(client(&case.way.url).load(&seen.run.id).await.unwrap().len(), 4);

    // Somebody has gone on with the run before the file was imported.
    fs::write(&file, &good).unwrap();
    there.clone().append(&*client(&case.way.url), &[visit(7)]).await;
    let error = import(&case.ledger).await.unwrap_err();
    assert!(matches!(error, LedgerError::Conflict(_)), "{error:?}");
    assert_eq!(fs::read(&file).unwrap(), good);

    // Such a file is in nobody's way.
    let (mut other, _) = {
        let mut other = Seen::new(&case.ledger).await;
        other.append(&case.ledger, &[intent()]).await;
        (other, ())
    };
    case.way.set(Line::Down);
    other.append(&case.ledger, &[visit(2)]).await;
    case.way.set(Line::Open);
    let imported = case.ledger.import_all().await.unwrap();
    assert_eq!(imported.iter().filter(|one| one.events.is_ok()).count(), 1);
    assert_eq!(case.files(), [file]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_was_cut_off_was_never_recorded() {
    let mut case = Case::new().await;
    let (mut seen, _) = case.changed().await;
    case.way.set(Line::Down);
    seen.append(&case.ledger, &[visit(2)]).await;
    let before = seen.clone();
    seen.append(&case.ledger, &[visit(3)]).await;
    case.way.set(Line::Open);
    case.ledger = case.next_visit();
    let file = case.files().remove(0);
    let mut content = fs::read(&file).unwrap();
    assert_eq!(Entries::new(content.as_slice()).count(), 2);
    content.truncate(content.len() - 10);
    fs::write(&file, &content).unwrap();
    assert_eq!(import(&case.ledger).await.unwrap(), 1);
    is_whole(&case.ledger, &before, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_cannot_be_used_is_told() {
    let case = Case::new().await;
    let (seen, _) = case.changed().await;
    fs::write(case.folder.path().join("spool"), "a file in its place").unwrap();
    case.way.set(Line::Down);
    let error = case.ledger.append(&seen.head(), None, &[visit(2)]).await.unwrap_err();
    assert!(matches!(&error, LedgerError::Unreachable(why) if why.contains("spool")), "{error:?}");
}

/// Nothing of the above depends on the database: the same on a file.
#[tokio::test]
async fn an_empty_folder_has_nothing_to_import() {
    let folder = tempfile::tempdir().unwrap();
    let ledger: Arc<dyn Ledger> = client(&format!("sqlite:{}", folder.path().join("ledger.sqlite").display()));
    ledger.prepare().await.unwrap();
    let spooling = Spooling::new(ledger, Path::new("/nonexistent/spool").to_owned());
    assert!(spooling.import_all().await.unwrap().is_empty());
    let mut seen = Seen::new(&spooling).await;
    seen.append(&spooling, &[visit(1), intent()]).await;
    seen.reload(&spooling).await;
    assert_eq!(seen.run.seq, 3);
}
