//! A database whose connection breaks at the worst moment.

use std::sync::{Arc, Mutex};

use testbed::postgres::{Database, Postgres};
use tidegate::ledger::LedgerError;
use tidegate::promotion::event::Event;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use super::place::client;
use super::story::{COMMIT, ENVIRONMENT, SCOPE, Seen, opening, visit};

/// What becomes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// Everything passes.
    Open,
    /// Nothing does.
    Down,
    /// The next COMMIT never reaches the server; then nothing passes.
    LosesCommit,
    /// The next COMMIT is done and its answer never comes back; then nothing passes.
    LosesAnswer,
}

/// A way to the database that can be cut.
pub(crate) struct Way {
    pub(crate) url: String,
    line: Arc<Mutex<Line>>,
    open: Arc<Mutex<Vec<AbortHandle>>>,
}

impl Way {
    pub(crate) async fn to(database: &Database) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let there = database.port();
        let url = database.url().replace(&format!(":{there}/"), &format!(":{port}/"));
        let line = Arc::new(Mutex::new(Line::Open));
        let open: Arc<Mutex<Vec<AbortHandle>>> = Arc::default();
        let way = Self { url, line: Arc::clone(&line), open: Arc::clone(&open) };
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                if *line.lock().unwrap() != Line::Down {
                    let task = tokio::spawn(carry(client, there, Arc::clone(&line)));
                    open.lock().unwrap().push(task.abort_handle());
                }
            }
        });
        way
    }

    pub(crate) fn set(&self, line: Line) {
        *self.line.lock().unwrap() = line;
        if line == Line::Down {
            self.open.lock().unwrap().drain(..).for_each(|task| task.abort());
        }
    }
}

async fn carry(mut client: TcpStream, port: u16, line: Arc<Mutex<Line>>) {
    let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut up, mut down) = (vec![0; 65536], vec![0; 65536]);
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(read @ 1..) = read else { return };
                let commits = up[..read].windows(7).any(|part| part == b"COMMIT\0");
                let now = *line.lock().unwrap();
                if commits && now == Line::LosesCommit {
                    *line.lock().unwrap() = Line::Down;
                    return;
                }
                server.write_all(&up[..read]).await.unwrap();
                if commits && now == Line::LosesAnswer {
                    let _ = server.read(&mut down).await;
                    *line.lock().unwrap() = Line::Down;
                    return;
                }
            }
            read = server.read(&mut down) => {
                let Ok(read @ 1..) = read else { return };
                if client.write_all(&down[..read]).await.is_err() {
                    return;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_have_been_done_is_told_exactly() {
    let database = Postgres::shared().database();
    let way = Way::to(&database).await;
    let ledger = client(&way.url);
    ledger.prepare().await.unwrap();
    let mut seen = Seen::new(&*ledger).await;

    for (line, done) in [(Line::LosesAnswer, true), (Line::LosesCommit, false)] {
        way.set(line);
        let (head, events) = (seen.head(), [visit(1), visit(2)]);
        let error = ledger.append(&head, None, &events).await.unwrap_err();
        let LedgerError::InDoubt { records, .. } = &error else { panic!("{error:?}") };
        assert!(!error.to_string().contains(database.password()), "{error}");
        let away = ledger.load(&head.run).await.unwrap_err();
        assert!(matches!(away, LedgerError::Unreachable(_)), "{away:?}");
        let away = ledger.append(&head, None, &events).await.unwrap_err();
        assert!(matches!(away, LedgerError::Unreachable(_)), "{away:?}");

        way.set(Line::Open);
        let there = ledger.load(&head.run).await.unwrap();
        assert_eq!(there.ends_with(records), done);
        let again = ledger.append(&head, None, &events).await.unwrap();
        assert_eq!(again == *records, done);
        seen.take_in(&again);
        assert_eq!(ledger.load(&head.run).await.unwrap().len() as u64, seen.run.seq);
    }

    // Every other call that writes.
    way.set(Line::LosesAnswer);
    let head = seen.head();
    let error = ledger.take_sequence(&head, None, "api").await.unwrap_err();
    assert!(matches!(error, LedgerError::InDoubt { records, .. } if records.len() == 1));
    way.set(Line::Open);
    assert_eq!(seen.sequence(&*ledger, "api").await, 1);
    assert_eq!(ledger.peek_sequence(SCOPE, ENVIRONMENT, "api").await.unwrap(), 2);

    way.set(Line::LosesAnswer);
    assert!(matches!(ledger.acquire(&seen.head()).await, Err(LedgerError::InDoubt { .. })));
    way.set(Line::Open);
    let fence = seen.acquire(&*ledger).await;
    assert_eq!(fence.token, 1);

    way.set(Line::LosesAnswer);
    assert!(matches!(ledger.renew(&fence).await, Err(LedgerError::Unreachable(_))));
    way.set(Line::LosesAnswer);
    assert!(matches!(ledger.release(&seen.head(), &fence).await, Err(LedgerError::InDoubt { .. })));
    way.set(Line::Open);
    seen.release(&*ledger, &fence).await;

    way.set(Line::LosesAnswer);
    let error = ledger.open(opening(Some("5")), COMMIT).await.unwrap_err();
    let LedgerError::InDoubt { records, .. } = error else { panic!("{error:?}") };
    way.set(Line::Open);
    let tidegate::ledger::Opened::New(opened) = ledger.open(opening(Some("5")), COMMIT).await.unwrap() else {
        panic!("not new")
    };
    assert_eq!(opened, records);

    // A connection that breaks while nobody uses it harms nobody.
    way.set(Line::Down);
    way.set(Line::Open);
    seen.append(&*ledger, &[Event::Interrupted { cause: "SIGTERM".into() }]).await;
}
