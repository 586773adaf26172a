//! Tables: made, guarded, rebuilt.

use std::time::Duration;

use tidegate::ledger::{Filter, LedgerError, Opened};
use tidegate::promotion::event::{Event, Opening};
use tidegate::promotion::fault::{Code, Fault};
use tidegate::promotion::run::Run;

use super::{at_once, audit, full};
use crate::ledger::place::Place;
use crate::ledger::story::{ENVIRONMENT, SCOPE, Seen, opening, visit};

pub(crate) async fn dropped_tables_are_rebuilt_to_the_byte(place: Place) {
    let ledger = full(&place).await;
    let before = place.derived().await;
    assert!(before.values().all(|rows| !rows.is_empty()), "{before:?}");
    ledger.rebuild().await.unwrap();
    assert_eq!(place.derived().await, before);

    place.drop_derived().await;
    let ledger = place.client();
    ledger.prepare().await.unwrap();
    assert!(ledger.runs(&Filter::default()).await.is_err());
    ledger.rebuild().await.unwrap();
    assert_eq!(place.derived().await, before);

    // Rows that somebody has edited or added are put right too.
    place.run("UPDATE {}candidate SET status = 'SUCCESS', moved = (1 = 1)").await.unwrap();
    place.run("INSERT INTO {}counter VALUES ('acme/shop', 'production', 'ghost', 7)").await.unwrap();
    place.run("DELETE FROM {}fault").await.unwrap();
    ledger.rebuild().await.unwrap();
    assert_eq!(place.derived().await, before);
    assert_eq!(ledger.peek_sequence(SCOPE, ENVIRONMENT, "api").await.unwrap(), 3);
    let mut next = Seen::new(&*ledger).await;
    assert_eq!(next.acquire(&*ledger).await.token, 3);
    audit(&*ledger).await;
}

pub(crate) async fn a_rebuild_keeps_a_live_lease(place: Place) {
    let ledger = place.ready().await;
    let mut seen = Seen::new(&*ledger).await;
    let fence = seen.acquire(&*ledger).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    ledger.renew(&fence).await.unwrap();
    let before = place.derived().await;
    ledger.rebuild().await.unwrap();
    assert_eq!(place.derived().await, before);
    seen.append_with(&*ledger, &fence, &[visit(1)]).await.unwrap();
}

pub(crate) async fn many_migrate_at_once(place: Place) {
    let all = at_once(&place, 5, |_, ledger| async move { ledger.prepare().await }).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    let versions = place.rows("SELECT version, name FROM {}migration ORDER BY version").await;
    let names: Vec<_> = versions.iter().map(|row| row[1].clone().unwrap()).collect();
    assert_eq!(names, ["0001_event", "0002_derived"]);
    Seen::new(&*place.ready().await).await;
}

pub(crate) async fn a_newer_schema_is_refused(place: Place) {
    place.ready().await;
    place.run("INSERT INTO {}migration VALUES (99, 'from the future', '2030-01-01T00:00:00.000Z')").await.unwrap();
    let error = place.client().prepare().await.unwrap_err();
    assert!(matches!(error, LedgerError::TooNew { found: 99, known: 2 }), "{error}");
    let fault = Fault::from(error);
    assert!(fault.fix.contains("version"), "{fault:?}");
}

pub(crate) async fn events_are_only_ever_added(place: Place) {
    let ledger = full(&place).await;
    for sql in [
        "UPDATE {}event SET text = '{}' WHERE seq = 1",
        "UPDATE {}event SET at = '2001-01-01T00:00:00.000Z'",
        "DELETE FROM {}event WHERE seq = 2",
        "DELETE FROM {}event",
    ] {
        let error = place.run(&sql.replace("'{}'", "'x'")).await.unwrap_err().to_string();
        assert!(error.contains("only ever added to"), "{sql}: {error}");
    }
    if matches!(place, Place::Postgres { .. }) {
        let error = place.run("TRUNCATE {}event").await.unwrap_err().to_string();
        assert!(error.contains("only ever added to"), "{error}");
    }
    audit(&*ledger).await;
}

pub(crate) async fn any_text_is_kept(place: Place) {
    let ledger = place.ready().await;
    let nasty =
        "NUL \u{0}, quotes '\"\\, \\u0000, $1, {}, %s, line\nbreak, \u{202e}\u{1f980}\u{fffd}, ; DROP TABLE run --";
    let opening = Opening {
        requestor: nasty.into(),
        reason: Some(nasty.into()),
        environment: nasty.into(),
        services: vec![nasty.into()],
        ..opening(None)
    };
    let Opened::New(records) = ledger.open(opening, nasty).await.unwrap() else { panic!("not new") };
    let mut seen = Seen { run: Run::fold(&records).unwrap() };
    seen.sequence(&*ledger, nasty).await;
    seen.append(
        &*ledger,
        &[
            Event::Faulted(Box::new(Fault::new(Code::RegistryNonsense, nasty).about(nasty))),
            Event::NotificationQueued { topic: nasty.into(), channel: nasty.into() },
        ],
    )
    .await;
    let loaded = place.client().load(&seen.run.id).await.unwrap();
    assert_eq!(Run::fold(&loaded).unwrap(), seen.run);
    assert_eq!(seen.run.opening.requestor, nasty);
    assert_eq!(ledger.peek_sequence(SCOPE, nasty, nasty).await.unwrap(), 2);
    let before = place.derived().await;
    ledger.rebuild().await.unwrap();
    assert_eq!(place.derived().await, before);
    audit(&*ledger).await;
}

pub(crate) async fn a_rebuild_waits_for_writers_and_they_for_it(place: Place) {
    let ledger = full(&place).await;
    at_once(&place, 8, |number, ledger| async move {
        if number % 4 == 0 {
            for _ in 0..3 {
                ledger.rebuild().await.unwrap();
            }
            return;
        }
        let mut seen = Seen::new(&*ledger).await;
        for _ in 0..5 {
            seen.append(&*ledger, &[visit(1)]).await;
        }
        seen.sequence(&*ledger, "api").await;
    })
    .await;
    let before = place.derived().await;
    ledger.rebuild().await.unwrap();
    assert_eq!(place.derived().await, before);
    assert_eq!(ledger.peek_sequence(SCOPE, ENVIRONMENT, "api").await.unwrap(), 9);
    audit(&*ledger).await;
}
